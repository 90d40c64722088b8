//! What is read of others, on input that nobody meant: the corpora of the fuzzer, and mutations of them by a fixed seed.
//! `make fuzz` looks further: docs/fuzzing.md.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use targets::{TARGETS, Target};

/// How many mutations of a corpus are tried at most, and for how long: whichever is first. Few are tried where a machine
/// is busy, and that is no failure.
const MUTATIONS: u32 = 4000;
const TIME: Duration = Duration::from_millis(400);
/// How long an input is made at most.
const LONGEST: usize = 2048;
const SEED: u64 = 0x5eed_0053;

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let file = corpus::path(Path::new(env!("CARGO_MANIFEST_DIR")), target.name);
    corpus::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn check(target: &Target, input: &[u8]) {
    if catch_unwind(|| (target.check)(input)).is_err() {
        panic!("the target {} does not bear this line of fuzz/corpus/{0}:\n{}", target.name, input.escape_ascii());
    }
}

#[test]
fn every_input_of_every_corpus_is_borne() {
    for target in &TARGETS {
        inputs(target).iter().for_each(|input| check(target, input));
    }
}

#[test]
fn mutations_of_the_corpora_are_borne() {
    for (seed, target) in (SEED..).zip(&TARGETS) {
        let corpus = inputs(target);
        let mut chance = Chance(seed);
        let since = Instant::now();
        for _ in 0..MUTATIONS {
            if since.elapsed() > TIME {
                break;
            }
            let mutated = mutated(&corpus, target.words, &mut chance);
            check(target, &mutated);
        }
    }
}

#[test]
fn corpora_are_there_for_every_target_and_small() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut found: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .collect();
    found.sort();
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, TARGETS.map(|target| target.name));
    assert!(found.iter().map(|(_, size)| size).sum::<u64>() < 100_000, "{found:?}");
}

/// Numbers that are always the same (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % bound.max(1)
    }
}

/// An input of the corpus with one to six things changed.
fn mutated(corpus: &[Vec<u8>], words: &[&str], chance: &mut Chance) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(input.len() + 1);
        let end = (at + 1 + chance.below(12)).min(input.len());
        match chance.below(8) {
            0 => drop(input.drain(at..end)),
            1 => input.insert(at, u8::try_from(chance.below(256)).unwrap()),
            2 => drop(input.splice(at..at, words[chance.below(words.len())].bytes())),
            3 => drop(input.splice(at..end, words[chance.below(words.len())].bytes())),
            4 => {
                let copied = input[at..end].to_vec();
                let to = chance.below(input.len() + 1);
                drop(input.splice(to..to, copied));
            }
            5 => {
                let other = &corpus[chance.below(corpus.len())];
                input.truncate(at);
                input.extend_from_slice(&other[chance.below(other.len() + 1)..]);
            }
            6 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << chance.below(8)),
            _ => input
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = b"\0\n\"\\/:@.,=$%{}[]\x1b\xff "[chance.below(19)]),
        }
    }
    input.truncate(LONGEST);
    input
}
