//! The termination message: its entries, its bytes, its limit. Pure: `termination` reads and writes the file.
//!
//! Tekton's `pkg/result/result.go` and `pkg/termination/write.go` have the schema: a JSON array without whitespace, of
//! objects with the members `key`, `value`, `resourceName` (if not empty) and `type` (if not zero), in this order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Unexpected, Visitor};

use crate::go_json;
use crate::outcome::ERROR_KEY;

/// How many bytes a termination message may have: kubelet reads no more.
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
pub const LIMIT: usize = 4096;

/// What a compressed message starts with. Such a message is recognised, but not read yet.
const COMPRESSED: &str = "tknz:";

/// What an entry is: Tekton's number for it. A message that stands in the file already may hold any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryKind(i64);

impl EntryKind {
    /// The result of a Task.
    pub const TASK_RESULT: Self = Self(1);
    /// For the controller alone: when the step started, why and how it ended.
    pub const INTERNAL: Self = Self(3);
    /// The result of a step.
    pub const STEP_RESULT: Self = Self(4);
    /// The provenance of a step's artifacts.
    pub const STEP_ARTIFACTS: Self = Self(5);
    /// The provenance of a Task's artifacts.
    pub const TASK_ARTIFACTS: Self = Self(6);
    /// What Tekton makes of a name that it does not know.
    const UNKNOWN: Self = Self(10);

    /// The kind that has this name: messages may name kinds instead of numbering them.
    fn named(name: &str) -> Self {
        match name {
            "TaskRunResult" => Self::TASK_RESULT,
            "InternalTektonResult" => Self::INTERNAL,
            "StepResult" => Self::STEP_RESULT,
            "StepArtifactsResult" => Self::STEP_ARTIFACTS,
            "TaskRunArtifactsResult" => Self::TASK_ARTIFACTS,
            _ => Self::UNKNOWN,
        }
    }
}

/// One entry of a termination message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name of a result, or what an internal entry tells.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it is.
    pub kind: EntryKind,
    /// Never set by us; kept when it stands in the file.
    resource_name: String,
}

impl Entry {
    /// An entry whose value may be any bytes: those that are not UTF-8 become U+FFFD, as Go has it.
    #[must_use]
    pub fn new(kind: EntryKind, key: &str, value: &[u8]) -> Self {
        Self { key: key.to_owned(), value: go_json::text(value).into_owned(), kind, resource_name: String::new() }
    }

    /// An entry for the controller.
    #[must_use]
    pub fn internal(key: &str, value: &str) -> Self {
        Self::new(EntryKind::INTERNAL, key, value.as_bytes())
    }

    /// Whether the controller misses nothing that it needs when this entry is left out.
    fn is_optional(&self) -> bool {
        self.kind == EntryKind::INTERNAL && self.key == ERROR_KEY
    }

    fn push_json(&self, json: &mut String) {
        json.push_str("{\"key\":");
        go_json::push_string(json, &self.key);
        json.push_str(",\"value\":");
        go_json::push_string(json, &self.value);
        if !self.resource_name.is_empty() {
            json.push_str(",\"resourceName\":");
            go_json::push_string(json, &self.resource_name);
        }
        if self.kind != EntryKind::default() {
            json.push_str(",\"type\":");
            json.push_str(&self.kind.0.to_string());
        }
        json.push('}');
    }

    /// How many bytes of a message the entry takes.
    fn size(&self) -> usize {
        let mut json = String::new();
        self.push_json(&mut json);
        json.len()
    }
}

/// The message with these entries. Duplicates stay: the controller takes the last one of each key.
#[must_use]
pub fn encode<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let mut json = String::from("[");
    for (index, entry) in entries.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        entry.push_json(&mut json);
    }
    json.push(']');
    json
}

/// The message that keeps what stood in the file and adds our own entries behind it. When it does not fit, the
/// sentence of an own failure is left out; results are never cut.
///
/// # Errors
/// [`TooLarge`] when it does not fit even so.
pub fn fit(existing: &[Entry], own: &[Entry]) -> Result<String, TooLarge> {
    let whole = encode(existing.iter().chain(own));
    if whole.len() <= LIMIT {
        return Ok(whole);
    }
    let needed = encode(existing.iter().chain(own.iter().filter(|entry| !entry.is_optional())));
    if needed.len() <= LIMIT {
        return Ok(needed);
    }
    Err(TooLarge {
        size: needed.len(),
        existing: existing.iter().map(Entry::size).sum(),
        results: own
            .iter()
            .filter(|entry| entry.kind != EntryKind::INTERNAL)
            .map(|entry| (entry.key.clone(), entry.size()))
            .collect(),
    })
}

/// Tekton's own text for a message above [`LIMIT`], which people and programs look for.
pub const TOO_LARGE: &str = "Termination message is above max allowed size 4096, caused by large task result.";

/// A message above [`LIMIT`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{TOO_LARGE}")]
pub struct TooLarge {
    /// Bytes of the message.
    size: usize,
    /// How many of them were there before us.
    existing: usize,
    /// How many of them each result takes.
    results: Vec<(String, usize)>,
}

impl TooLarge {
    /// Whether leaving out the results would make the message shorter.
    #[must_use]
    pub fn has_results(&self) -> bool {
        !self.results.is_empty()
    }

    /// What takes how much of the message, the largest first: the sentence to say beside the error.
    #[must_use]
    pub fn details(&self) -> String {
        const SHOWN: usize = 20;
        let mut results: Vec<_> = self.results.iter().collect();
        results.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        let mut parts: Vec<String> =
            results.iter().take(SHOWN).map(|(name, size)| format!("result {name:?} takes {size}")).collect();
        if results.len() > SHOWN {
            let rest: usize = results.iter().skip(SHOWN).map(|(_, size)| size).sum();
            parts.push(format!("{} more results take {rest}", results.len() - SHOWN));
        }
        if self.existing > 0 {
            parts.push(format!("what stood there before takes {}", self.existing));
        }
        format!("The termination message would have {} bytes: {}", self.size, parts.join(", "))
    }
}

/// What stands in a termination message file before we write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Existing {
    /// A message, or nothing: these entries are kept.
    Entries(Vec<Entry>),
    /// A compressed message, which this version does not read: it will be overwritten.
    Compressed,
    /// Anything else, a step's own text for example: it will be overwritten, as Tekton has it.
    Unreadable,
}

impl Existing {
    /// Reads the content of the file as Go would: members in any case and order, kinds as numbers or names, the last of
    /// two equal members.
    #[must_use]
    pub fn parse(content: &[u8]) -> Self {
        let text = go_json::text(content);
        let text = text.trim();
        if text.is_empty() {
            return Self::Entries(Vec::new());
        }
        if text.starts_with(COMPRESSED) {
            return Self::Compressed;
        }
        match serde_json::from_str::<Option<Vec<Entry>>>(&go_json::without_lone_surrogates(text)) {
            Ok(entries) => Self::Entries(entries.unwrap_or_default()),
            Err(_) => Self::Unreadable,
        }
    }

    /// The entries that are kept.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match self {
            Self::Entries(entries) => entries,
            Self::Compressed | Self::Unreadable => &[],
        }
    }
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
    use super::*;

    fn started_at() -> Entry {
        Entry::internal("StartedAt", "2026-11-21T05:55:02.402Z")
    }

    fn task_result(name: &str, value: &[u8]) -> Entry {
        Entry::new(EntryKind::TASK_RESULT, name, value)
    }

    fn reencoded(content: &[u8]) -> Option<String> {
        match Existing::parse(content) {
            Existing::Entries(entries) => Some(encode(&entries)),
            Existing::Compressed | Existing::Unreadable => None,
        }
    }

    #[test]
    fn messages_have_tektons_bytes() {
        for (entries, expected) in [
            (vec![], "[]"),
            (vec![started_at()], r#"[{"key":"StartedAt","value":"2026-11-21T05:55:02.402Z","type":3}]"#),
            (
                vec![started_at(), Entry::internal("ExitCode", "-1")],
                r#"[{"key":"StartedAt","value":"2026-11-21T05:55:02.402Z","type":3},{"key":"ExitCode","value":"-1","type":3}]"#,
            ),
            (
                vec![
                    task_result("foo", b"abc\n"),
                    Entry::new(EntryKind::STEP_RESULT, "sr", b"val"),
                    started_at(),
                    Entry::new(EntryKind::STEP_ARTIFACTS, "/tekton/run/0/status/artifacts/provenance.json", b"{}\n"),
                    Entry::new(EntryKind::TASK_ARTIFACTS, "/tekton/artifacts/provenance.json", b"{\"outputs\":[]}\n"),
                ],
                concat!(
                    r#"[{"key":"foo","value":"abc\n","type":1},{"key":"sr","value":"val","type":4},"#,
                    r#"{"key":"StartedAt","value":"2026-11-21T05:55:02.402Z","type":3},"#,
                    r#"{"key":"/tekton/run/0/status/artifacts/provenance.json","value":"{}\n","type":5},"#,
                    r#"{"key":"/tekton/artifacts/provenance.json","value":"{\"outputs\":[]}\n","type":6}]"#,
                ),
            ),
            (
                vec![task_result("bytes", b"<&>\x00\xff\xe2\x82")],
                "[{\"key\":\"bytes\",\"value\":\"\\u003c\\u0026\\u003e\\u0000\u{fffd}\u{fffd}\u{fffd}\",\"type\":1}]",
            ),
        ] {
            assert_eq!(encode(&entries), expected);
        }
    }

    #[test]
    fn any_message_survives_the_way_through_a_json_parser_and_through_our_own() {
        // A small generator of odd values: every pair of 40 bytes that matter to JSON, to UTF-8 or to HTML.
        let odd: Vec<u8> = (0..=0x22).chain([b'\\', b'<', b'/', b'u', 0x7f, 0x80, 0xc3, 0xe2, 0xed, 0xff]).collect();
        for first in &odd {
            let value: Vec<u8> = odd.iter().flat_map(|second| [*first, *second, b'a']).collect();
            let entries = vec![task_result("r", &value), started_at()];
            let json = encode(&entries);
            let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(parsed[0]["value"].as_str().unwrap(), go_json::text(&value));
            assert_eq!(parsed[0]["type"], 1);
            assert_eq!(Existing::parse(json.as_bytes()), Existing::Entries(entries));
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
        ] {
            assert_eq!(Existing::parse(content), Existing::Unreadable, "{}", content.escape_ascii());
            assert_eq!(Existing::parse(content).entries(), []);
        }
    }

    #[test]
    fn a_compressed_message_is_recognised() {
        assert_eq!(Existing::parse(b"tknz:i44FBAAA//8"), Existing::Compressed);
        assert_eq!(Existing::parse(b" \ntknz:"), Existing::Compressed);
    }

    #[test]
    fn deeply_nested_unknown_members_do_not_exhaust_the_stack() {
        let deep = format!(r#"[{{"key":"k","x":{}{}}}]"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(reencoded(deep.as_bytes()).as_deref(), Some(r#"[{"key":"k","value":""}]"#));
        assert_eq!(Existing::parse("[".repeat(200_000).as_bytes()), Existing::Unreadable);
    }

    /// Entries whose message has exactly this size.
    fn sized(size: usize) -> Vec<Entry> {
        let rest = encode(&[task_result("r", b""), started_at()]).len();
        vec![task_result("r", &vec![b'x'; size - rest]), started_at()]
    }

    #[test]
    fn the_limit_is_4096_bytes_and_not_one_more() {
        assert_eq!(fit(&[], &sized(4096)).unwrap().len(), 4096);
        let error = fit(&[], &sized(4097)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Termination message is above max allowed size 4096, caused by large task result."
        );
        assert!(error.has_results());
    }

    #[test]
    fn escapes_count_toward_the_limit() {
        assert!(fit(&[], &[task_result("r", &[b'x'; 1000])]).is_ok());
        assert!(fit(&[], &[task_result("r", &[b'<'; 1000])]).is_err());
        assert!(fit(&[], &[task_result("r", &[0xff; 1400])]).is_err());
    }

    #[test]
    fn the_sentence_of_an_own_failure_is_left_out_when_it_does_not_fit() {
        let sentence = Entry::internal(ERROR_KEY, "why");
        let mut own = sized(4096);
        own.push(sentence.clone());
        assert_eq!(fit(&[], &own).unwrap(), encode(&sized(4096)));

        let mut own = sized(4000);
        own.push(sentence);
        assert_eq!(fit(&[], &own).unwrap(), encode(&own));
    }

    #[test]
    fn a_result_that_is_named_as_the_sentence_is_not_left_out() {
        let mut own = sized(4096);
        own.push(task_result(ERROR_KEY, b"v"));
        assert!(fit(&[], &own).is_err());
    }

    #[test]
    fn what_is_too_large_is_named_with_its_size_the_largest_first() {
        let existing = vec![Entry::internal("StartedAt", "x")];
        let own = vec![task_result("small", b"v"), task_result("large", &[b'x'; 4100]), started_at()];
        let size = encode(existing.iter().chain(&own)).len();
        assert_eq!(
            fit(&existing, &own).unwrap_err().details(),
            format!(
                "The termination message would have {size} bytes: result \"large\" takes 4135, result \"small\" takes 36, \
                 what stood there before takes 40"
            )
        );
    }

    #[test]
    fn ten_thousand_results_are_named_in_one_short_line() {
        let own: Vec<_> = (0..10_000).map(|n| task_result(&format!("result-{n:05}"), b"v")).collect();
        let details = fit(&[], &own).unwrap_err().details();
        assert!(details.ends_with("9980 more results take 429140"), "{details}");
        assert!(details.len() < 1_000, "{details}");
    }

    #[test]
    fn a_message_that_is_too_large_without_any_result_says_so() {
        let existing = vec![task_result("old", &[b'x'; 4096])];
        let error = fit(&existing, &[started_at()]).unwrap_err();
        assert!(!error.has_results());
        assert_eq!(
            error.details(),
            "The termination message would have 4195 bytes: what stood there before takes 4129"
        );
    }
}
