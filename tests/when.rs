//! When expressions, from outside: the built binary runs its step, skips it, or fails. Whatever an expression does to the
//! process that evaluates it, the step is reported.
//!
//! Expected values are those of Tekton's entrypoint unless the test's name says that they are ours.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[cfg(feature = "cel")]
#[path = "when/cel.rs"]
mod cel;
#[cfg(feature = "cel")]
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;

use step::{Ended, Step};

const SKIPPED: &str = "INFO Step was skipped due to when expressions were evaluated to false.";

/// A step with these expressions, that says so when it runs.
fn step_when(expressions: &str) -> Ended {
    Step::new().flags(["-when_expressions", expressions]).sh("echo ran")
}

/// A message of these entries behind `StartedAt`.
fn message(entries: &[(&str, &str)]) -> String {
    let entries = [("StartedAt", "T")].iter().chain(entries);
    let entries: Vec<String> = entries
        .map(|(key, value)| format!(r#"{{"key":"{key}","value":{},"type":3}}"#, serde_json::to_string(value).unwrap()))
        .collect();
    format!("[{}]", entries.join(","))
}

/// The last line of the log without its time.
fn last_line(ended: &Ended) -> &str {
    ended.stderr.lines().last().and_then(|line| line.get(20..)).unwrap_or_default()
}

#[track_caller]
fn assert_ran(ended: &Ended, expressions: &str) {
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "ran\n"), "{expressions}: {ended:#?}");
    assert_eq!((ended.post, ended.err), (true, false), "{expressions}: {ended:#?}");
    assert_eq!(ended.exit_code.as_deref(), Some("0"), "{expressions}: {ended:#?}");
    assert_eq!(ended.message.as_deref(), Some(message(&[]).as_str()), "{expressions}: {ended:#?}");
    assert_eq!(ended.stderr, "", "{expressions}");
}

#[track_caller]
fn assert_skipped(ended: &Ended, expressions: &str) {
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, ""), "{expressions}: {ended:#?}");
    assert_eq!((ended.post, ended.err), (true, false), "{expressions}: {ended:#?}");
    assert_eq!(ended.exit_code.as_deref(), Some("0"), "{expressions}: {ended:#?}");
    assert_eq!(ended.message, Some(message(&[("Reason", "Skipped")])), "{expressions}: {ended:#?}");
    assert_eq!(last_line(ended), SKIPPED, "{expressions}");
}

/// The step failed before it ran; its sentence has this part.
#[track_caller]
fn assert_failed(ended: &Ended, part: &str) {
    assert_eq!((ended.code(), ended.stdout.as_str()), (1, ""), "{part}: {ended:#?}");
    assert_eq!((ended.post, ended.err), (false, true), "{part}: {ended:#?}");
    assert_eq!(ended.exit_code, None, "{part}: {ended:#?}");
    let sentence = last_line(ended);
    assert!(sentence.contains(part), "{part}: {sentence}");
    if sentence.len() <= 512 {
        assert_eq!(ended.message, Some(message(&[("entrypoint/error", sentence)])), "{ended:#?}");
    }
}

#[test]
fn a_step_runs_only_when_every_input_stands_in_its_relation_to_the_values() {
    for expressions in [
        "",
        "null",
        "[]",
        "[null]",
        "[{}]",
        r#"[{"input":"a","operator":"in","values":["a","b"]}]"#,
        r#"[{"input":"c","operator":"notin","values":["a","b"]}]"#,
        r#"[{"input":"","operator":"in","values":[""]}]"#,
        r#"[{"input":"","operator":"notin"}]"#,
        r#"[{"input":"c","operator":"equals","values":["a"]}]"#,
        r#"[{"input":"c","values":["a"]}]"#,
        r#"[{"INPUT":"a","Operator":"in","VALUES":["a"],"more":{}}]"#,
        r#"[{"input":"a","operator":"in","values":["a"]},{"input":"b","operator":"notin","values":["a"]}]"#,
    ] {
        assert_ran(&step_when(expressions), expressions);
    }
    for expressions in [
        r#"[{"input":"c","operator":"in","values":["a","b"]}]"#,
        r#"[{"input":"a","operator":"notin","values":["a","b"]}]"#,
        r#"[{"input":"a","operator":"in"}]"#,
        r#"[{"input":"a","operator":"in","values":null}]"#,
        r#"[{"input":"a","operator":"IN","values":["a"]}]"#,
        r#"[{"input":"a","values":["a"]}]"#,
        r#"[{"values":[null]}]"#,
        r#"[{"input":"a","operator":"in","values":["a"]},{"input":"a","operator":"in","values":["b"]}]"#,
    ] {
        assert_skipped(&step_when(expressions), expressions);
    }
}

#[test]
fn results_of_a_step_that_was_skipped_are_not_reported() {
    let skip = r#"[{"input":"a","operator":"in"}]"#;
    let ended = Step::new().flags(["-results", "digest", "-when_expressions", skip]).sh("echo ran");
    assert_skipped(&ended, skip);
}

#[test]
fn a_text_that_is_no_json_fails_the_step_before_its_wait_and_releases_the_next_as_ours_does() {
    for (expressions, words) in [
        ("[", "unexpected end of JSON input: -when_expressions must be a JSON list"),
        ("[]x", "invalid character 'x' after top-level value: -when_expressions must be"),
        ("{}", "json: cannot unmarshal object into Go value of type types.WhenExpressions: "),
        (
            r#"[{"input":1}]"#,
            "json: cannot unmarshal number into Go struct field WhenExpression.input of type string: ",
        ),
    ] {
        let step = Step::new();
        let never = step.path("never").display().to_string();
        let ended = step.flags(["-wait_file", &never, "-when_expressions", expressions]).sh("echo ran");
        assert_failed(&ended, words);
        assert!(last_line(&ended).starts_with(words), "{ended:#?}");
    }
}

#[cfg(not(feature = "cel"))]
#[test]
fn without_cel_only_what_is_written_in_it_fails() {
    let ended = step_when(r#"[{"cel":"'a' == 'a'"}]"#);
    assert_failed(
        &ended,
        "Error executing command: the CEL expression 'a' == 'a' cannot be evaluated: this entrypoint was",
    );
}
