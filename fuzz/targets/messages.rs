//! What is read of this program's own earlier words, which others may have had in their hands: the document of a lookup's
//! child, and the termination message that stands in its file.

use entrypoint::image::JsonError;
use entrypoint::lookup::{Failure, Found};
use entrypoint::report::compression::{self, PREFIX};
use entrypoint::report::existing::Existing;
use entrypoint::report::message::{Entry, EntryKind, LIMIT, encode, fit};
use entrypoint::sys::cause::chain;

use super::{Target, check_error};

pub(super) const LOOKUP_DOCUMENT: Target = Target {
    name: "lookup_document",
    check: lookup_document,
    words: &[
        "{\"Ok\":{",
        "{\"Err\":{",
        "\"image\":\"\"",
        "\"reason\":\"\"",
        "\"retryable\":true",
        "\"runtime\":\"NotAsked\"",
        "\"runtime\":{\"Reported\":{",
        "\"running\":{",
        "\"notes\":[",
        "{\"source\":\"\",\"outcome\":\"\"}",
        "\"requests\":{\"listed\":[],\"left_out\":0}",
        "\"wanted\":null",
        "\"retry_after\":{\"secs\":7,\"nanos\":0}",
        "\"agreement\":{\"verdict\":\"same\",\"compared\":null,\"because\":\"NotAsked\"}",
        "\"pinned_by\":\"registry\"",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ],
};

/// Whatever a child says is a document or a sentence why not. A document is written as it was read.
fn lookup_document(data: &[u8]) {
    match serde_json::from_slice::<Result<Found, Failure>>(data) {
        Ok(document) => {
            let json = serde_json::to_vec(&document).expect("JSON");
            let again: Result<Found, Failure> = serde_json::from_slice(&json).expect("the same");
            assert_eq!(again, document);
        }
        // As the supervisor tells it.
        Err(error) => check_error(&JsonError::from(error)),
    }
}

pub(super) const TERMINATION_MESSAGE: Target = Target {
    name: "termination_message",
    check: termination_message,
    words: &[
        "[{",
        "\"key\":",
        "\"value\":",
        "\"type\":",
        "\"resourceName\":",
        "\"TaskRunResult\"",
        "null",
        "tknz:",
        "tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA",
        "\\ud83d",
        "\\ude00",
        "},{",
        "\u{a0}",
    ],
};

/// What stands in the file is kept, all of it, or told to be nothing. What is made of it is never too long.
fn termination_message(data: &[u8]) {
    let existing = Existing::parse(data);
    if let Existing::Unreadable(error) = &existing {
        check_error(error);
    }
    let kept = existing.entries();
    let json = encode(kept);
    assert_eq!(Existing::parse(json.as_bytes()).entries(), kept, "{json}");
    serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
    // To compress takes a hundred times as long as everything else.
    let sampled = data.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte)) % 16 == 0;
    if let Some(compressed) = sampled.then(|| compression::compress(&json)).flatten() {
        assert!(compressed.len() < json.len());
        let encoded = compressed.strip_prefix(PREFIX).expect("the prefix");
        assert_eq!(compression::decompress(encoded.as_bytes()).as_deref(), Ok(json.as_bytes()));
    }
    let own = [
        Entry::internal("StartedAt", "2026-11-21T05:55:02.402Z"),
        Entry::new(EntryKind::TASK_RESULT, "r", data.get(..64).unwrap_or(data)),
    ];
    for compress in if sampled { &[false, true][..] } else { &[false] } {
        match fit(kept, &own, *compress) {
            Ok(message) => {
                assert!(message.len() <= LIMIT);
                let all: Vec<_> = kept.iter().chain(&own).cloned().collect();
                assert_eq!(Existing::parse(message.as_bytes()).entries(), all);
            }
            Err(error) => assert!(chain(&error).len() < LIMIT && !error.details().contains(char::is_control)),
        }
    }
}
