//! A target under libFuzzer, guided by coverage: `scripts/fuzz` says how it is built and run.
//!
//! `FUZZ_TARGET` names the target. With `FUZZ_UNPACK` and a directory nothing is run: its corpus is placed there, a file
//! for each input, and beside it, with `.dict` appended, its words. With `FUZZ_PACK` what is in the directory becomes the
//! corpus.
#![no_main]

mod corpus;
#[path = "../targets/mod.rs"]
mod targets;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

use targets::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = env::var("FUZZ_TARGET").unwrap_or_default();
        let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("FUZZ_TARGET must be one of {}", names.join(" "));
            process::exit(2);
        };
        TARGET.get_or_init(|| target);
        let own = corpus::path(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")), target.name);
        if let Some(directory) = env::var_os("FUZZ_UNPACK").map(PathBuf::from) {
            unpack(target, &own, &directory);
            process::exit(0);
        }
        if let Some(directory) = env::var_os("FUZZ_PACK").map(PathBuf::from) {
            pack(&own, &directory);
            process::exit(0);
        }
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.check)(data);
        }
    }
);

fn unpack(target: &Target, own: &Path, directory: &Path) {
    fs::create_dir_all(directory).expect("a directory for the corpus");
    for (index, input) in corpus::read(own).expect("a corpus").iter().enumerate() {
        fs::write(directory.join(format!("{index:04}")), input).expect("an input");
    }
    let escaped = |word: &&str| {
        let letters: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{letters}\"\n")
    };
    fs::write(directory.with_extension("dict"), target.words.iter().map(escaped).collect::<String>())
        .expect("the words");
}

fn pack(own: &Path, directory: &Path) {
    let inputs = fs::read_dir(directory).expect("a directory with inputs");
    let inputs = inputs.map(|entry| fs::read(entry.expect("an entry").path()).expect("an input"));
    corpus::write(own, inputs.collect()).expect("a corpus");
}
