//! The contract, from outside: the built binary is given flags and files, and leaves exit code, log and files.
//!
//! Expected values are those of Tekton's entrypoint unless the test's name says that they are ours. Times are replaced
//! by `T` in messages, and cut off the lines of the log.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

mod bad_input;
mod breakpoint;
mod command;
mod credentials;
mod disks;
mod files;
mod message;
mod outcome;
mod reports;
mod results;
mod setup;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/step.rs"]
mod step;
mod substitution;
#[path = "../support/tekton.rs"]
mod tekton;
mod wait;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use step::Ended;
use tekton::in_tekton;

/// The entry that every message has.
const STARTED_AT: &str = r#"{"key":"StartedAt","value":"T","type":3}"#;
const SH: [&str; 3] = ["-entrypoint", "/bin/sh", "--"];

/// The lines of the log without their times, which are looked at here.
fn lines(log: &str) -> Vec<&str> {
    let without_time = |line| {
        let line: &str = line;
        let shape: String =
            line.chars().take(20).map(|character| if character.is_ascii_digit() { '0' } else { character }).collect();
        assert_eq!(shape, "0000/00/00 00:00:00 ", "a line of the log starts with local date and time: {line}");
        line.get(20..).unwrap_or_default()
    };
    log.lines().map(without_time).collect()
}

/// An entry of ours.
fn internal(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{key}","value":{},"type":3}}"#, serde_json::to_string(value).expect("text"))
}

/// A message of our own entries behind `StartedAt`.
fn message(entries: &[String]) -> String {
    let entries: Vec<&str> = [STARTED_AT].into_iter().chain(entries.iter().map(String::as_str)).collect();
    format!("[{}]", entries.join(","))
}

/// What a run must leave: exit code, post file, `exitCode`, entries of the message behind `StartedAt`.
#[track_caller]
fn assert_left(ended: &Ended, code: i32, post: bool, exit_code: Option<&str>, entries: &[String]) {
    assert_eq!(ended.code(), code, "the exit code: {ended:#?}");
    assert_eq!((ended.post, ended.err), (post, !post), "the post files: {ended:#?}");
    assert_eq!(ended.exit_code.as_deref(), exit_code, "the file exitCode: {ended:#?}");
    assert_eq!(ended.message.as_deref(), Some(message(entries).as_str()), "the message: {ended:#?}");
}

/// The step failed before it ran: `.err`, exit code 1, and one line, which is also in the message.
#[track_caller]
fn assert_failed(ended: &Ended, line: &str) {
    assert_left(ended, 1, false, None, &[internal("entrypoint/error", line)]);
    assert_eq!(lines(&ended.stderr), [line]);
}

/// Makes an executable file.
fn executable(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).expect("a scratch file");
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a mode");
}
