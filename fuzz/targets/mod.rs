//! What is fuzzed: readers of what others wrote, each with the properties that hold of every input.
//!
//! A target panics where one does not. They are run by `fuzz/src/main.rs`, which is guided by coverage, and by
//! `tests/hostile_input.rs`, which repeats the corpus and a few mutations of it.

mod command_line;
mod credentials;
mod image;
mod messages;
mod node;
mod registry;
mod step;

use std::error::Error;

use entrypoint::sys::cause::chain;

/// One thing that is fuzzed.
pub(crate) struct Target {
    /// Its name, and that of its corpus.
    pub(crate) name: &'static str,
    /// Panics unless everything holds that must hold of this input.
    pub(crate) check: fn(&[u8]),
    /// Words that mean something to the reader: a fuzzer's dictionary.
    pub(crate) words: &'static [&'static str],
}

/// Every target, by name.
pub(crate) const TARGETS: [Target; 21] = [
    step::CEL,
    registry::CHALLENGE,
    image::CONFIG,
    credentials::DOCKER_CONFIG,
    credentials::DOCKER_KEY,
    credentials::DOCKERCFG,
    command_line::DURATION,
    command_line::FLAGS,
    node::HOSTS_TOML,
    image::IMAGE_ID,
    messages::LOOKUP_DOCUMENT,
    image::MANIFEST,
    node::MOUNTINFO,
    node::PROXY,
    image::REFERENCE,
    node::REGISTRIES_CONF,
    registry::RETRY_AFTER,
    step::SUBSTITUTION,
    messages::TERMINATION_MESSAGE,
    registry::TOKEN_URL,
    step::WHEN,
];

/// A password that stands where passwords stand in what the targets make of their input.
const PASSWORD: &str = "hunter2";

/// The longest sentence, in bytes: more is of no use to anybody, and a termination message has 4096 for everything.
const SENTENCE: usize = 4096;

/// What is told to people has an end, and cannot disguise a line of the log.
fn check_told(text: &str) {
    assert!(text.len() <= SENTENCE, "{} bytes are told: {:?}", text.len(), text.get(..200));
    assert!(!text.contains(char::is_control), "a control character is told: {text:?}");
}

/// The same of an error with its causes.
fn check_error(error: &(dyn Error + 'static)) {
    check_told(&chain(error));
}

/// The same of one that may have been shown a password.
fn check_keeps(text: &str) {
    check_told(text);
    assert!(!text.contains(PASSWORD), "the password is told: {text:?}");
}

/// The first line, if it is text, and everything behind it.
fn headed(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (head, rest) = data.split_at(end);
    Some((std::str::from_utf8(head).ok()?, rest.get(1..).unwrap_or_default()))
}

/// The lines of a text, as many as are asked for; those that are missing are empty.
fn lines<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let mut lines = std::str::from_utf8(data).ok()?.splitn(N, '\n');
    Some([(); N].map(|()| lines.next().unwrap_or("")))
}
