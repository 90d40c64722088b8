//! What stands in a termination message file before we write: a message of somebody else, or anything.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Unexpected, Visitor};

use super::compression::{self, DecompressError};
use super::message::{Entry, EntryKind};
use crate::go_json;

/// What stands in a termination message file before we write.
#[derive(Debug)]
pub enum Existing {
    /// A message, or nothing: these entries are kept.
    Entries(Vec<Entry>),
    /// Anything else, a step's own text for example: it will be overwritten, as Tekton has it.
    Unreadable(NotAMessage),
}

/// Why a text is no message. The text itself is not shown: it is the step's.
#[derive(Debug, thiserror::Error)]
pub enum NotAMessage {
    /// It starts as a compressed message.
    #[error(transparent)]
    Compressed(#[from] DecompressError),
    /// It is not the JSON of a message.
    #[error("it is no JSON array of entries: {what} at line {line}, column {column}")]
    Json {
        /// What is wrong, in a word or two.
        what: &'static str,
        /// Where, counted from 1.
        line: usize,
        /// Where, counted from 1.
        column: usize,
    },
}

impl From<serde_json::Error> for NotAMessage {
    fn from(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Data => "something else",
            Category::Eof => "the end",
            Category::Syntax | Category::Io => "no JSON",
        };
        Self::Json { what, line: error.line(), column: error.column() }
    }
}

impl Existing {
    /// Reads the content of the file as Go would: members in any case and order, kinds as numbers or names, the last of
    /// two equal members. A compressed message is one whether or not ours will be.
    #[must_use]
    pub fn parse(content: &[u8]) -> Self {
        if go_json::text(content).trim().is_empty() {
            return Self::Entries(Vec::new());
        }
        let entries = match content.strip_prefix(compression::PREFIX.as_bytes()) {
            Some(encoded) => {
                compression::decompress(encoded).map_err(NotAMessage::from).and_then(|json| entries(&json))
            }
            None => entries(content),
        };
        entries.map_or_else(Self::Unreadable, Self::Entries)
    }

    /// The entries that are kept.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match self {
            Self::Entries(entries) => entries,
            Self::Unreadable(_) => &[],
        }
    }
}

fn entries(json: &[u8]) -> Result<Vec<Entry>, NotAMessage> {
    let text = go_json::text(json);
    Ok(serde_json::from_str::<Option<Vec<Entry>>>(&go_json::without_lone_surrogates(&text))?.unwrap_or_default())
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or null")
            }

            fn visit_unit<E>(self) -> Result<Entry, E> {
                Ok(Entry::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Entry, A::Error> {
                let mut entry = Entry::default();
                while let Some(name) = members.next_key::<String>()? {
                    // A null leaves a string as it is, and makes a kind zero.
                    if name.eq_ignore_ascii_case("key") {
                        set(&mut entry.key, members.next_value()?);
                    } else if name.eq_ignore_ascii_case("value") {
                        set(&mut entry.value, members.next_value()?);
                    } else if name.eq_ignore_ascii_case("resourceName") {
                        set(&mut entry.resource_name, members.next_value()?);
                    } else if name.eq_ignore_ascii_case("type") {
                        entry.kind = members.next_value::<Option<EntryKind>>()?.unwrap_or_default();
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(entry)
            }
        }

        fn set(member: &mut String, value: Option<String>) {
            if let Some(value) = value {
                *member = value;
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

impl<'de> Deserialize<'de> for EntryKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;

        impl Visitor<'_> for KindVisitor {
            type Value = EntryKind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or the name of a kind")
            }

            fn visit_i64<E>(self, number: i64) -> Result<EntryKind, E> {
                Ok(EntryKind(number))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<EntryKind, E> {
                i64::try_from(number).map(EntryKind).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E>(self, name: &str) -> Result<EntryKind, E> {
                Ok(EntryKind::named(name))
            }
        }

        deserializer.deserialize_any(KindVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::encode;
    use super::*;
    use crate::sys::cause::chain;

    /// The message of the entries that are kept; none where the text is no message.
    fn reencoded(content: &[u8]) -> Option<String> {
        match Existing::parse(content) {
            Existing::Entries(entries) => Some(encode(&entries)),
            Existing::Unreadable(_) => None,
        }
    }

    #[test]
    fn any_message_survives_the_way_through_a_json_parser_and_through_our_own() {
        // A small generator of odd values: every pair of 40 bytes that matter to JSON, to UTF-8 or to HTML.
        let odd: Vec<u8> = (0..=0x22).chain([b'\\', b'<', b'/', b'u', 0x7f, 0x80, 0xc3, 0xe2, 0xed, 0xff]).collect();
        for first in &odd {
            let value: Vec<u8> = odd.iter().flat_map(|second| [*first, *second, b'a']).collect();
            let entries = vec![
                Entry::new(EntryKind::TASK_RESULT, "r", &value),
                Entry::internal("StartedAt", "2026-11-21T05:55:02.402Z"),
            ];
            let json = encode(&entries);
            let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(parsed[0]["value"].as_str().unwrap(), go_json::text(&value));
            assert_eq!(parsed[0]["type"], 1);
            assert_eq!(Existing::parse(json.as_bytes()).entries(), entries);
            assert_eq!(Existing::parse(compression::compress(&json).unwrap().as_bytes()).entries(), entries);
        }
    }

    #[test]
    fn entries_that_stood_in_the_file_are_kept_in_our_form() {
        for (content, expected) in [
            (&b""[..], "[]"),
            (b" \n\t", "[]"),
            ("\u{a0}\u{2003}".as_bytes(), "[]"),
            (b"[]", "[]"),
            (b"null", "[]"),
            (b" [ { } ] \n", r#"[{"key":"","value":""}]"#),
            (b"[null]", r#"[{"key":"","value":""}]"#),
            (br#"[{"type":4,"value":"v","key":"k"}]"#, r#"[{"key":"k","value":"v","type":4}]"#),
            (br#"[{"KEY":"k","Value":"v","TYPE":0}]"#, r#"[{"key":"k","value":"v"}]"#),
            (br#"[{"key":"a","key":"b","value":"v","value":null}]"#, r#"[{"key":"b","value":"v"}]"#),
            (br#"[{"key":"k","type":"TaskRunResult"}]"#, r#"[{"key":"k","value":"","type":1}]"#),
            (br#"[{"key":"k","type":"InternalTektonResult"}]"#, r#"[{"key":"k","value":"","type":3}]"#),
            (br#"[{"key":"k","type":"StepResult"}]"#, r#"[{"key":"k","value":"","type":4}]"#),
            (br#"[{"key":"k","type":"StepArtifactsResult"}]"#, r#"[{"key":"k","value":"","type":5}]"#),
            (br#"[{"key":"k","type":"TaskRunArtifactsResult"}]"#, r#"[{"key":"k","value":"","type":6}]"#),
            (br#"[{"key":"k","type":"1"}]"#, r#"[{"key":"k","value":"","type":10}]"#),
            (br#"[{"key":"k","type":-7}]"#, r#"[{"key":"k","value":"","type":-7}]"#),
            (br#"[{"key":"k","type":3,"type":null}]"#, r#"[{"key":"k","value":""}]"#),
            (
                br#"[{"key":"k","resourceName":"r","other":{"deep":[1e999,"\ud800"]},"type":2}]"#,
                r#"[{"key":"k","value":"","resourceName":"r","type":2}]"#,
            ),
            (br#"[{"key":"\ud83d\ude00\ud83d"}]"#, "[{\"key\":\"\u{1f600}\u{fffd}\",\"value\":\"\"}]"),
            (b"[{\"key\":\"\xe2\x82\"}]", "[{\"key\":\"\u{fffd}\u{fffd}\",\"value\":\"\"}]"),
        ] {
            assert_eq!(reencoded(content).as_deref(), Some(expected), "{}", content.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_message_is_not_kept() {
        for content in [
            &b"hello"[..],
            b"{}",
            b"\"text\"",
            b"7",
            b"[",
            b"[1]",
            b"[[]]",
            b"[{}] tail",
            b"[{}],",
            br#"[{"key":1}]"#,
            br#"[{"value":{}}]"#,
            br#"[{"type":1.5}]"#,
            br#"[{"type":18446744073709551615}]"#,
            br#"[{"type":true}]"#,
            b"[{\"key\":\"a\nb\"}]",
            b"\xff",
            b"\0",
            // Blank only to those who know Unicode.
            b"\xc2\xa0[]",
            b"tknz:",
            b" tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA",
            // Compressed, and nothing in it.
            b"tknz:AwA",
        ] {
            assert_eq!(reencoded(content), None, "{}", content.escape_ascii());
            assert_eq!(Existing::parse(content).entries(), []);
        }
    }

    #[test]
    fn a_compressed_message_is_read() {
        for message in [
            "tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA",
            "tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA\n",
        ] {
            assert_eq!(reencoded(message.as_bytes()).as_deref(), Some(r#"[{"key":"old","value":"1","type":1}]"#));
        }
    }

    #[test]
    fn it_is_told_why_a_text_is_no_message_without_showing_the_text() {
        for (content, expected) in [
            ("secret", "it is no JSON array of entries: no JSON at line 1, column 1"),
            ("[{\"key\":\"secret", "it is no JSON array of entries: the end at line 1, column 15"),
            ("[\n\"secret\"]", "it is no JSON array of entries: something else at line 2, column 8"),
            ("tknz:secret!", "base64 decode: Invalid symbol 33, offset 6."),
            ("tknz:AwA", "it is no JSON array of entries: the end at line 1, column 0"),
        ] {
            let Existing::Unreadable(error) = Existing::parse(content.as_bytes()) else {
                panic!("a message: {content}")
            };
            assert_eq!(chain(&error), expected, "{content}");
        }
    }

    #[test]
    fn deeply_nested_unknown_members_do_not_exhaust_the_stack() {
        let deep = format!(r#"[{{"key":"k","x":{}{}}}]"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(reencoded(deep.as_bytes()).as_deref(), Some(r#"[{"key":"k","value":""}]"#));
        assert_eq!(reencoded("[".repeat(200_000).as_bytes()), None);
    }
}
