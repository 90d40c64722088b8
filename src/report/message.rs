//! The termination message: its entries, its bytes, its limit. Pure: `termination` reads and writes the file, `existing`
//! understands what stands in it.
//!
//! Tekton's `pkg/result/result.go` and `pkg/termination/write.go` have the schema: a JSON array without whitespace, of
//! objects with the members `key`, `value`, `resourceName` (if not empty) and `type` (if not zero), in this order.

use super::compression;
use crate::go_json;
use crate::outcome::{ERROR_KEY, SIGNAL_KEY};

/// How many bytes a termination message may have: kubelet reads no more.
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
pub const LIMIT: usize = 4096;

/// What an entry is: Tekton's number for it. A message that stands in the file already may hold any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryKind(pub(super) i64);

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
    pub(super) fn named(name: &str) -> Self {
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
    pub(super) resource_name: String,
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
        self.kind == EntryKind::INTERNAL && matches!(self.key.as_str(), ERROR_KEY | SIGNAL_KEY)
    }

    /// What it is, for the person who is told how much room it takes.
    fn in_words(&self) -> String {
        let key = &self.key;
        match self.kind {
            EntryKind::STEP_RESULT => format!("step result {key:?}"),
            EntryKind::STEP_ARTIFACTS | EntryKind::TASK_ARTIFACTS => format!("provenance {key:?}"),
            _ => format!("result {key:?}"),
        }
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

/// The message that keeps what stood in the file and adds our own entries behind it; with `compress` in its compressed
/// form, where that is shorter. When it does not fit, what only we tell (the sentence of an own failure) is left out;
/// results are never cut.
///
/// # Errors
/// [`TooLarge`] when it does not fit even so.
pub fn fit(existing: &[Entry], own: &[Entry], compress: bool) -> Result<String, TooLarge> {
    let form = |json: String| if compress { shorter(json) } else { json };
    let whole = form(encode(existing.iter().chain(own)));
    if whole.len() <= LIMIT {
        return Ok(whole);
    }
    let json = encode(existing.iter().chain(own.iter().filter(|entry| !entry.is_optional())));
    let uncompressed = json.len();
    let needed = form(json);
    if needed.len() <= LIMIT {
        return Ok(needed);
    }
    Err(TooLarge {
        size: needed.len(),
        uncompressed,
        compress,
        existing: existing.iter().map(Entry::size).sum(),
        results: own
            .iter()
            .filter(|entry| entry.kind != EntryKind::INTERNAL)
            .map(|entry| (entry.in_words(), entry.size()))
            .collect(),
    })
}

/// An entry that nobody depends on: it is left out of a message that would be longer with it than `limit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spare {
    /// The entry.
    pub entry: Entry,
    /// How many bytes the message may have with it.
    pub limit: usize,
}

/// A message that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The message.
    pub text: String,
    /// How many bytes it would have had with the entry that was left out.
    pub left_out: Option<usize>,
}

/// The same with a spare entry in front of our own, where any of those with its name comes behind it and so wins. It is
/// left out before anything else is.
///
/// # Errors
/// [`TooLarge`] when it does not fit even without it.
pub fn fit_with(existing: &[Entry], spare: Option<&Spare>, own: &[Entry], compress: bool) -> Result<Fitted, TooLarge> {
    let mut left_out = None;
    if let Some(Spare { entry, limit }) = spare {
        let json = encode(existing.iter().chain([entry]).chain(own));
        let text = if compress { shorter(json) } else { json };
        if text.len() <= *limit {
            return Ok(Fitted { text, left_out: None });
        }
        left_out = Some(text.len());
    }
    fit(existing, own, compress).map(|text| Fitted { text, left_out })
}

/// The message or its compressed form, whichever is shorter. What no controller would take out again stays as it is.
fn shorter(json: String) -> String {
    let compressed = if json.len() <= compression::LIMIT { compression::compress(&json) } else { None };
    compressed.unwrap_or(json)
}

/// Tekton's own text for a message above [`LIMIT`], which people and programs look for.
pub const TOO_LARGE: &str = "Termination message is above max allowed size 4096, caused by large task result.";

/// A message above [`LIMIT`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{TOO_LARGE}")]
pub struct TooLarge {
    /// Bytes of the message.
    size: usize,
    /// Bytes of the message before it was compressed.
    uncompressed: usize,
    /// Whether it was to be compressed.
    compress: bool,
    /// How many bytes were there before us.
    existing: usize,
    /// How many bytes each result takes. These three are counted before anything is compressed.
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
            results.iter().take(SHOWN).map(|(what, size)| format!("{what} takes {size}")).collect();
        if results.len() > SHOWN {
            let rest: usize = results.iter().skip(SHOWN).map(|(_, size)| size).sum();
            parts.push(format!("{} more results take {rest}", results.len() - SHOWN));
        }
        if self.existing > 0 {
            parts.push(format!("what stood there before takes {}", self.existing));
        }
        let size = if self.size < self.uncompressed {
            format!("{} bytes, compressed from {}", self.size, self.uncompressed)
        } else if self.compress && self.size > compression::LIMIT {
            format!("{} bytes, and no more than {} can be compressed", self.size, compression::LIMIT)
        } else {
            format!("{} bytes", self.size)
        };
        format!("The termination message would have {size}: {}", parts.join(", "))
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

    /// Entries whose message has exactly this size.
    fn sized(size: usize) -> Vec<Entry> {
        let rest = encode(&[task_result("r", b""), started_at()]).len();
        vec![task_result("r", &vec![b'x'; size - rest]), started_at()]
    }

    #[test]
    fn the_limit_is_4096_bytes_and_not_one_more() {
        assert_eq!(fit(&[], &sized(4096), false).unwrap().len(), 4096);
        let error = fit(&[], &sized(4097), false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Termination message is above max allowed size 4096, caused by large task result."
        );
        assert!(error.has_results());
    }

    #[test]
    fn escapes_count_toward_the_limit() {
        assert!(fit(&[], &[task_result("r", &[b'x'; 1000])], false).is_ok());
        assert!(fit(&[], &[task_result("r", &[b'<'; 1000])], false).is_err());
        assert!(fit(&[], &[task_result("r", &[0xff; 1400])], false).is_err());
    }

    #[test]
    fn the_sentence_of_an_own_failure_is_left_out_when_it_does_not_fit() {
        let sentence = Entry::internal(ERROR_KEY, "why");
        let mut own = sized(4096);
        own.push(sentence.clone());
        assert_eq!(fit(&[], &own, false).unwrap(), encode(&sized(4096)));

        let mut own = sized(4000);
        own.push(sentence);
        assert_eq!(fit(&[], &own, false).unwrap(), encode(&own));
    }

    #[test]
    fn a_result_that_is_named_as_the_sentence_is_not_left_out() {
        let mut own = sized(4096);
        own.push(task_result(ERROR_KEY, b"v"));
        assert!(fit(&[], &own, false).is_err());
    }

    #[test]
    fn what_is_too_large_is_named_with_its_size_the_largest_first() {
        let existing = vec![Entry::internal("StartedAt", "x")];
        let own = vec![task_result("small", b"v"), task_result("large", &[b'x'; 4100]), started_at()];
        let size = encode(existing.iter().chain(&own)).len();
        assert_eq!(
            fit(&existing, &own, false).unwrap_err().details(),
            format!(
                "The termination message would have {size} bytes: result \"large\" takes 4135, result \"small\" takes 36, \
                 what stood there before takes 40"
            )
        );
    }

    #[test]
    fn ten_thousand_results_are_named_in_one_short_line() {
        let own: Vec<_> = (0..10_000).map(|n| task_result(&format!("result-{n:05}"), b"v")).collect();
        let details = fit(&[], &own, false).unwrap_err().details();
        assert!(details.ends_with("9980 more results take 429140"), "{details}");
        assert!(details.len() < 1_000, "{details}");
    }

    #[test]
    fn a_spare_entry_is_left_out_before_anything_else_is_cut_or_refused() {
        let spare = |limit| Some(Spare { entry: Entry::new(EntryKind::STEP_RESULT, "image", b"v"), limit });
        let sentence = Entry::internal(ERROR_KEY, "why");
        const ADDED: usize = r#"{"key":"image","value":"v","type":4},"#.len();
        for (own, limit, fits) in [
            (sized(4096 - ADDED), 4096, true),
            (sized(4097 - ADDED), 4096, false),
            (sized(1000), 1000 + ADDED, true),
            (sized(1000), 999 + ADDED, false),
            (sized(4097), 4096, false),
        ] {
            let size = encode(&own).len();
            let fitted = fit_with(&[], spare(limit).as_ref(), &own, false);
            assert_eq!(fitted.is_err(), size > 4096, "{size}");
            let Ok(Fitted { text, left_out }) = fitted else { continue };
            assert_eq!(left_out, (!fits).then_some(size + ADDED), "{size} of {limit}");
            let in_front = r#"[{"key":"image","value":"v","type":4},"#;
            assert_eq!(text.starts_with(in_front), fits, "in front, so that others of its name win: {text}");
            assert_eq!(text.len(), if fits { size + ADDED } else { size });
        }
        // It goes before the sentence that is not needed either.
        let own: Vec<_> = sized(4096 - 60).into_iter().chain([sentence]).collect();
        let Fitted { text, left_out } = fit_with(&[], spare(4096).as_ref(), &own, false).unwrap();
        assert!(left_out.is_some() && text == encode(&own), "{text}");
    }

    #[test]
    fn a_message_that_is_too_large_without_any_result_says_so() {
        let existing = vec![task_result("old", &[b'x'; 4096])];
        let error = fit(&existing, &[started_at()], false).unwrap_err();
        assert!(!error.has_results());
        assert_eq!(
            error.details(),
            "The termination message would have 4195 bytes: what stood there before takes 4129"
        );
    }
}
