//! References to what earlier steps left.

use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use entrypoint::host::Env;
use entrypoint::step::substitution;
use entrypoint::step::substitution::provenance::Provenance;
use entrypoint::step::substitution::reference::{self, ArtifactReference, Part, ResultReference};
use entrypoint::step::substitution::value::Value;
use proptest::prelude::*;

/// Bytes in which references, whole and broken, are frequent.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "$(steps.",
            "$(steps.",
            "steps",
            "$(",
            "$",
            ".",
            "a",
            "b/",
            ".results.",
            ".results.",
            ".outputs.",
            ".inputs.",
            ")",
            ")",
            "[0]",
            "[*]",
            "[",
            "]",
            "1",
            "\n",
            " ",
            "é",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// What the expression for results finds, tried place by place: the shortest way from the first start.
fn results_by_trying(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let line = rest.split(|byte| *byte == b'\n').next().unwrap();
        let match_length = line.starts_with(b"$(steps.").then(|| {
            let middle = (8..line.len()).find(|middle| line[*middle..].starts_with(b".results."))?;
            (middle + 9..line.len()).find(|end| line[*end] == b')').map(|end| end + 1)
        });
        match match_length.flatten() {
            Some(length) => {
                found.push(at..at + length);
                at += length;
            }
            None => at += 1,
        }
    }
    found
}

/// The same for artifacts.
fn artifacts_by_trying(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let length = (at + 1..=text.len()).find(|end| {
            let whole = &text[at..*end];
            let parts: Vec<&[u8]> = whole.split(|byte| *byte == b'.').collect();
            matches!(parts.as_slice(), [b"$(steps", step, b"inputs" | b"outputs", name]
                if !step.is_empty() && name.len() > 1 && name.iter().position(|byte| *byte == b')') == Some(name.len() - 1))
        });
        match length {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

proptest! {
    #[test]
    fn references_are_found_where_the_expressions_of_tekton_match(text in text()) {
        prop_assert_eq!(reference::results(&text), results_by_trying(&text));
        prop_assert_eq!(reference::artifacts(&text), artifacts_by_trying(&text));
    }

    #[test]
    fn whatever_is_found_can_be_read_and_shown(text in text()) {
        for range in reference::results(&text) {
            if let Ok(reference) = ResultReference::parse(&text[range.clone()]) {
                prop_assert!(!reference.step.contains(&b'.') && !reference.result.contains(&b'.'));
            }
            let shown = reference::shown(&text[range]);
            prop_assert!(!shown.contains(char::is_whitespace) && shown.matches("$(").count() == 1, "{}", shown);
        }
        for range in reference::artifacts(&text) {
            prop_assert!(ArtifactReference::parse(&text[range]).is_some());
        }
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_a_reference_a_value_or_a_provenance(text in text(), bytes in any::<Vec<u8>>()) {
        for bytes in [text, bytes] {
            let _ = ResultReference::parse(&bytes);
            let _ = ArtifactReference::parse(&bytes);
            let _ = Provenance::read(&bytes);
            let value = Value::read(bytes);
            for part in [Part::Whole, Part::All, Part::Element(u64::MAX), Part::Key(b"k")] {
                let _ = value.select(&part);
            }
        }
    }

    #[test]
    fn a_text_without_references_stays_as_it_is(text in text()) {
        let no_references = reference::results(&text).is_empty() && reference::artifacts(&text).is_empty();
        prop_assume!(no_references && !text.contains(&0));
        let word = OsString::from_vec(text);
        let (mut argv, mut env) = (vec![word.clone()], Env::from_iter([("V", word.clone())]));
        let nowhere = Path::new("/nonexistent");
        substitution::results(&mut env, &mut [], &mut argv, nowhere).unwrap();
        substitution::artifacts(&mut argv, &mut env, nowhere, nowhere, nowhere).unwrap();
        prop_assert_eq!(argv, std::slice::from_ref(&word));
        prop_assert_eq!(env.get("V"), Some(word.as_os_str()));
    }

    #[test]
    fn what_stands_around_references_stays_to_the_byte(
        around in prop::collection::vec(prop::collection::vec(1..=u8::MAX, 0..8), 1..8),
        value in prop::collection::vec(1..=u8::MAX, 0..8),
    ) {
        // A start of a reference by chance would take the next one's end.
        prop_assume!(!around.iter().any(|text| text.contains(&b'$')));
        let value = [b"=".as_slice(), &value].concat();
        let steps = tempfile::tempdir().unwrap();
        fs::create_dir_all(steps.path().join("step-a/results")).unwrap();
        fs::write(steps.path().join("step-a/results/r"), &value).unwrap();
        let mut argv = vec![OsString::from_vec(around.join(b"$(steps.a.results.r)".as_slice()))];
        substitution::results(&mut Env::default(), &mut [], &mut argv, steps.path()).unwrap();
        prop_assert_eq!(argv, [OsString::from_vec(around.join(value.as_slice()))]);
    }
}
