//! What holds of every termination message: it is the JSON that was meant, it is read again, and it is never too long.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use entrypoint::go_json;
use entrypoint::outcome::ERROR_KEY;
use entrypoint::report::compression::{self, PREFIX};
use entrypoint::report::existing::Existing;
use entrypoint::report::message::{Entry, EntryKind, LIMIT, encode, fit};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

/// Text that is rich in what JSON, HTML and Unicode make special.
fn text() -> impl Strategy<Value = String> {
    let special = select(
        "\"\\/<>&\u{8}\u{c}\n\r\t\0\u{1b}\u{7f}\u{80}\u{2028}\u{2029}\u{fffd}\u{1f600}[]{},:"
            .chars()
            .collect::<Vec<_>>(),
    );
    vec(prop_oneof![any::<char>(), special, proptest::char::range(' ', '~')], 0..60)
        .prop_map(|letters| letters.into_iter().collect())
}

/// Bytes that mostly are text.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..80), text().prop_map(String::into_bytes)]
}

fn kind() -> impl Strategy<Value = EntryKind> {
    select(vec![
        EntryKind::TASK_RESULT,
        EntryKind::INTERNAL,
        EntryKind::STEP_RESULT,
        EntryKind::STEP_ARTIFACTS,
        EntryKind::TASK_ARTIFACTS,
    ])
}

fn entry() -> impl Strategy<Value = Entry> {
    let key = prop_oneof![text(), Just(ERROR_KEY.to_owned())];
    (kind(), key, bytes()).prop_map(|(kind, key, value)| Entry::new(kind, &key, &value))
}

/// Entries, some of them long.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let long = (kind(), text(), bytes(), 1..80_usize)
        .prop_map(|(kind, key, value, times)| Entry::new(kind, &key, &value.repeat(times)));
    vec(prop_oneof![3 => entry(), 1 => long], 0..12)
}

/// What may stand in a termination file: bytes, JSON that is nearly a message, messages, and cut or damaged ones.
fn content() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&str; 16] = [
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"key\":",
        "\"value\":",
        "\"type\":",
        "\"k\"",
        "1",
        "-7",
        "null",
        "\"TaskRunResult\"",
        "\"\\ud800\"",
        "tknz:",
        " ",
    ];
    let nearly = vec(select(PIECES.to_vec()), 0..30).prop_map(|pieces| pieces.concat().into_bytes());
    let encoded = entries().prop_map(|entries| encode(&entries).into_bytes());
    let compressed = entries().prop_map(|entries| shorter(encode(&entries)).into_bytes());
    let prefixed = bytes().prop_map(|bytes| [PREFIX.as_bytes(), &bytes].concat());
    let damaged = (prop_oneof![encoded, compressed], any::<usize>(), any::<u8>(), any::<bool>()).prop_map(
        |(mut content, at, byte, cut)| {
            let at = at % content.len();
            if cut {
                content.truncate(at);
            } else {
                content[at] = byte;
            }
            content
        },
    );
    prop_oneof![bytes(), nearly, prefixed, damaged]
}

proptest! {
    #[test]
    fn a_message_is_the_json_that_was_meant(entries in entries()) {
        let json = encode(&entries);
        let parsed: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(parsed.len(), entries.len());
        for (parsed, entry) in parsed.iter().zip(&entries) {
            prop_assert_eq!(parsed["key"].as_str(), Some(entry.key.as_str()));
            prop_assert_eq!(parsed["value"].as_str(), Some(entry.value.as_str()));
            prop_assert_eq!(parsed.keys().collect::<Vec<_>>(), ["key", "value", "type"]);
        }
        let existing = Existing::parse(json.as_bytes());
        prop_assert_eq!(existing.entries(), entries);
    }

    #[test]
    fn a_string_without_anything_special_is_that_of_any_encoder(text in "[ !#-%'-;=?-\\[\\]-~]{0,60}") {
        let mut json = String::new();
        go_json::push_string(&mut json, &text);
        prop_assert_eq!(json, serde_json::to_string(&text).unwrap());
    }

    #[test]
    fn a_string_differs_from_that_of_other_encoders_only_where_go_escapes_more(text in text()) {
        let mut json = String::new();
        go_json::push_string(&mut json, &text);
        let more = [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
        let expected = more
            .into_iter()
            .fold(serde_json::to_string(&text).unwrap(), |json, (character, escape)| json.replace(character, escape));
        prop_assert_eq!(json, expected);
    }

    #[test]
    fn bytes_become_as_many_replacement_characters_as_are_offending(bytes in bytes()) {
        let text = go_json::text(&bytes);
        let valid: usize = bytes.utf8_chunks().map(|chunk| chunk.valid().chars().count()).sum();
        let offending: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
        prop_assert_eq!(text.chars().count(), valid + offending);
    }

    #[test]
    fn whatever_stands_in_the_file_is_read_or_refused_and_what_is_read_is_a_message(content in content()) {
        let existing = Existing::parse(&content);
        let json = encode(existing.entries());
        let again = Existing::parse(json.as_bytes());
        prop_assert_eq!(again.entries(), existing.entries());
    }

    #[test]
    fn a_message_never_is_too_long_and_holds_everything_that_is_needed(
        existing in entries(), own in entries(), compress in any::<bool>(),
    ) {
        let whole: Vec<Entry> = existing.iter().chain(&own).cloned().collect();
        let needed: Vec<Entry> = existing.iter().chain(own.iter().filter(|entry| !is_sentence(entry))).cloned().collect();
        match fit(&existing, &own, compress) {
            Ok(message) => {
                prop_assert!(message.len() <= LIMIT);
                prop_assert!(compress || !message.starts_with(PREFIX));
                let read = Existing::parse(message.as_bytes());
                prop_assert!(read.entries() == whole || read.entries() == needed);
            }
            Err(error) => {
                prop_assert!(encode(&needed).len() > LIMIT);
                prop_assert!(error.details().len() < 20_000);
            }
        }
    }

    #[test]
    fn what_is_compressed_is_shorter_and_read_again(
        json in prop_oneof![text(), entries().prop_map(|entries| encode(&entries))]
    ) {
        if let Some(message) = compression::compress(&json) {
            prop_assert!(message.len() < json.len());
            let encoded = message.strip_prefix(PREFIX).unwrap();
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')));
            prop_assert_eq!(compression::decompress(encoded.as_bytes()).unwrap(), json.into_bytes());
        }
    }

    #[test]
    fn nothing_that_is_no_compressed_message_does_harm(encoded in bytes()) {
        if let Ok(json) = compression::decompress(&encoded) {
            prop_assert!(json.len() <= compression::LIMIT);
        }
    }
}

/// The compressed form where there is one.
fn shorter(json: String) -> String {
    compression::compress(&json).unwrap_or(json)
}

/// Whether an entry of ours may be left out.
fn is_sentence(entry: &Entry) -> bool {
    entry.kind == EntryKind::INTERNAL && entry.key == ERROR_KEY
}
