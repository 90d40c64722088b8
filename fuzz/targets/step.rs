//! What steps say of themselves and of each other: when expressions, CEL, references and what they stand for.

use std::ops::Range;

use entrypoint::go_json;
use entrypoint::step::substitution::provenance::Provenance;
use entrypoint::step::substitution::reference::{self, ArtifactReference, Part, ResultReference};
use entrypoint::step::substitution::value::{Selected, Value};
use entrypoint::step::when::fuzzing::cel_holds;
use entrypoint::step::when::{WhenError, WhenExpression, parse};
use serde::de::IgnoredAny;

use super::{Target, check_error, check_told};

pub(super) const WHEN: Target = Target {
    name: "when",
    check: when,
    words: &[
        "[{",
        "},{",
        "\"input\":",
        "\"operator\":\"in\"",
        "\"values\":[",
        "\"cel\":\"",
        "\"Cel\":",
        "value\u{17f}",
        "null",
        "true",
        "\\ud83d\\ude00",
        "\\u0041",
        "-0.5e+3",
    ],
};

/// What is read is JSON, and can be written and read again; what is JSON is refused for its types or its depth alone.
fn when(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let repaired = go_json::without_lone_surrogates(text);
    let is_json = serde_json::from_str::<IgnoredAny>(&repaired).is_ok();
    match parse(text) {
        Ok(expressions) => {
            assert!(is_json || text.is_empty(), "{text:?}");
            let written = written(&expressions);
            assert_eq!(parse(&written).expect("the same"), expressions, "{written}");
        }
        Err(error) => {
            check_error(&error);
            let WhenError::Json(cause) = &error else { panic!("{error}") };
            let told = cause.to_string();
            // What is too deep may be no JSON further on.
            if !told.contains("exceeded max depth") {
                assert_eq!(is_json, told.contains("cannot unmarshal"), "{told}: {text:?}");
            }
        }
    }
}

fn written(expressions: &[WhenExpression]) -> String {
    let string = |text: &str| {
        let mut json = String::new();
        go_json::push_string(&mut json, text);
        json
    };
    let one = |own: &WhenExpression| {
        let values: Vec<_> = own.values.iter().map(|value| string(value)).collect();
        format!(
            "{{\"input\":{},\"operator\":{},\"values\":[{}],\"cel\":{}}}",
            string(&own.input),
            string(&own.operator),
            values.join(","),
            string(&own.cel)
        )
    };
    format!("[{}]", expressions.iter().map(one).collect::<Vec<_>>().join(","))
}

pub(super) const CEL: Target = Target {
    name: "cel",
    check: cel,
    words: &[
        " in ",
        " == ",
        " != ",
        " && ",
        " || ",
        " ? ",
        " : ",
        "!",
        "'a'",
        "r'\\d'",
        "b'\\xff'",
        "[1, 2]",
        "{'a': 1}",
        "1u",
        "-1",
        "1.5",
        "9223372036854775807",
        ".matches('",
        ".size()",
        ".startsWith('a')",
        ".all(x, ",
        ".exists(x, ",
        ".exists_one(x, ",
        ".map(x, ",
        ".filter(x, ",
        "has(",
        "timestamp('2026-11-21T00:00:00Z')",
        "duration('1h')",
        ".getHours('",
        "int(",
        "uint(",
        "double(",
        "string(",
        "bytes(",
        "dyn(",
        "type(",
        "true",
        "false",
        "null",
        "'''",
        "google.protobuf.Duration",
    ],
};

/// The longest expression that is tried: what takes long is killed in the program, and is no finding.
const LONGEST: usize = 160;

/// An expression is true, false, or has no value for a reason that can be told; in brackets it is the same, and negated
/// it is the opposite.
fn cel(data: &[u8]) {
    let Some(text) = std::str::from_utf8(data).ok().filter(|text| text.len() <= LONGEST) else { return };
    // As in the program, each macro multiplies what follows from the ones around it: two are enough.
    let loops = [".all(", ".exists", ".map(", ".filter("].iter().map(|name| text.matches(name).count()).sum::<usize>();
    if loops > 2 {
        return;
    }
    let found = cel_holds(text);
    if let Err(error) = &found {
        check_told(error);
    }
    // A comment would take the bracket.
    if text.contains("//") {
        return;
    }
    if let Ok(holds) = found {
        assert_eq!(cel_holds(&format!("({text})")), Ok(holds), "{text:?}");
        assert_eq!(cel_holds(&format!("!({text})")), Ok(!holds), "{text:?}");
        assert_eq!(cel_holds(&format!("({text}) && true")), Ok(holds), "{text:?}");
    }
}

pub(super) const SUBSTITUTION: Target = Target {
    name: "substitution",
    check: substitution,
    words: &[
        "$(steps.",
        ".results.",
        ".outputs.",
        ".inputs.",
        ")",
        "[0]",
        "[*]",
        "[1*]",
        "[]",
        "[18446744073709551616]",
        "{\"outputs\":[{\"name\":\"a\",\"values\":[{\"uri\":\"u\",\"digest\":{\"sha256\":\"d\"}}]}]}",
        "\"inputs\":[",
        "buildOutput",
        "null",
        "[\"a\",\"b\"]",
        "{\"k\":\"v\"}",
        "\\ud800",
    ],
};

/// Bytes as a text with references, as the file of a result, and as a provenance.
fn substitution(data: &[u8]) {
    assert_eq!(reference::results(data), results_by_trying(data));
    assert_eq!(reference::artifacts(data), artifacts_by_trying(data));
    let value = Value::read(data.to_vec());
    check_value(&value, data);
    for range in reference::results(data) {
        let written = &data[range];
        let shown = reference::shown(written);
        check_told(&shown);
        assert!(!shown.contains(char::is_whitespace) && shown.matches("$(").count() == 1, "{shown}");
        match ResultReference::parse(written) {
            Ok(reference) => {
                assert!(!reference.step.contains(&b'.') && !reference.result.contains(&b'.'));
                let _ = value.select(&reference.part);
            }
            Err(error) => check_error(&error),
        }
    }
    let provenance = match Provenance::read(data) {
        Ok(provenance) => provenance,
        Err(error) => {
            check_error(&error);
            Provenance::default()
        }
    };
    for range in reference::artifacts(data) {
        assert!(ArtifactReference::parse(&data[range]).is_some());
    }
    for name in ["a", "buildOutput", ""] {
        for direction in [reference::Direction::Inputs, reference::Direction::Outputs] {
            let reference = ArtifactReference { step: b"s", direction, name: name.as_bytes() };
            if let Some(values) = provenance.values(&reference) {
                serde_json::from_str::<IgnoredAny>(values).expect("JSON");
            }
        }
    }
}

/// What a value has is what is selected of it, and all of it.
fn check_value(value: &Value, data: &[u8]) {
    match value {
        Value::Text(text) => {
            assert_eq!(value.select(&Part::Whole), Ok(Selected::Text(text)));
            assert!(
                text == data
                    || serde_json::from_str::<IgnoredAny>(&go_json::without_lone_surrogates(&go_json::text(data)))
                        .is_ok()
            );
            value.select(&Part::Element(0)).expect_err("a string has no elements");
        }
        Value::List(words) => {
            for (index, word) in (0..).zip(words) {
                assert_eq!(value.select(&Part::Element(index)), Ok(Selected::Text(word.as_bytes())));
            }
            let error = value.select(&Part::Element(words.len() as u64)).expect_err("no more");
            check_error(&error);
            let all = value.select(&Part::All);
            assert_eq!(all, Ok(if words.is_empty() { Selected::Text(b"") } else { Selected::Words(words) }));
        }
        Value::Map(map) => {
            for (key, word) in map {
                assert_eq!(value.select(&Part::Key(key.as_bytes())), Ok(Selected::Text(word.as_bytes())));
            }
        }
    }
}

/// What the expression for results finds, tried place by place: the shortest way from the first start.
fn results_by_trying(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if !rest.starts_with(b"$(steps.") {
            at += 1;
            continue;
        }
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let middle = (8..line.len()).find(|middle| line[*middle..].starts_with(b".results."));
        let end = middle.and_then(|middle| (middle + 9..line.len()).find(|end| line[*end] == b')'));
        match end {
            Some(end) => {
                found.push(at..at + end + 1);
                at += end + 1;
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
        let is_one = |end: &usize| {
            let parts: Vec<&[u8]> = text[at..*end].split(|byte| *byte == b'.').collect();
            matches!(parts.as_slice(), [b"$(steps", step, b"inputs" | b"outputs", name]
                if !step.is_empty() && name.len() > 1 && name.iter().position(|byte| *byte == b')') == Some(name.len() - 1))
        };
        let end = if text[at..].starts_with(b"$(steps.") { (at + 1..=text.len()).find(is_one) } else { None };
        match end {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    found
}
