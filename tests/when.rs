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

/// The expressions that have only a text in CEL.
#[cfg(feature = "cel")]
fn cel(texts: &[&str]) -> String {
    let expressions: Vec<_> = texts.iter().map(|text| serde_json::json!({ "cel": text })).collect();
    serde_json::Value::from(expressions).to_string()
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

#[cfg(feature = "cel")]
mod with_cel {
    use std::path::Path;

    use super::*;
    use crate::step::{eventually, only_child, send};

    /// An expression that takes longer than anybody waits: a hundred to the power of eight.
    fn endless() -> String {
        let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let list = format!("[{}]", numbers.join(","));
        let all = |inner: String, name: char| format!("{list}.all({name}, {inner})");
        ('a'..='h').fold("true".to_owned(), all)
    }

    #[test]
    fn a_step_runs_only_when_everything_in_cel_is_true() {
        for texts in [
            &["true"][..],
            &["'main' == 'main'"],
            &["'main' in ['main', 'release']", "'v1.2'.matches('^v[0-9]')"],
            &["size('') == 0 ? true : 1 / 0 == 1"],
            &["true", "true"],
        ] {
            assert_ran(&step_when(&cel(texts)), &cel(texts));
        }
        for texts in [
            &["false"][..],
            &["'main' == 'other'"],
            &["true", "false"],
            // Nothing is looked at behind the first that is false.
            &["false", "1 / 0 == 1"],
            &["1 > 2", "not an expression"],
        ] {
            assert_skipped(&step_when(&cel(texts)), &cel(texts));
        }
    }

    #[test]
    fn cel_and_values_must_both_hold_and_cel_is_looked_at_first() {
        let both = r#"[{"input":"a","operator":"in","values":["a"],"cel":"1 == 1"}]"#;
        assert_ran(&step_when(both), both);
        for one in [
            r#"[{"input":"a","operator":"in","values":["b"],"cel":"1 == 1"}]"#,
            r#"[{"input":"a","operator":"in","values":["a"],"cel":"1 == 2"}]"#,
            r#"[{"cel":"true"},{"input":"a","operator":"in","values":["b"]}]"#,
        ] {
            assert_skipped(&step_when(one), one);
        }
        let ended = step_when(r#"[{"input":"a","operator":"in","values":["b"]},{"cel":"1 / 0 == 1"}]"#);
        assert_failed(&ended, "Error executing command: division by zero, in the CEL expression 1 / 0 == 1");
    }

    #[test]
    fn an_expression_without_a_boolean_value_fails_the_step() {
        for (text, part) in [
            ("'main'", "Error executing command: the CEL expression 'main' is not evaluated to a boolean"),
            ("main == 'main'", "Error executing command: undeclared reference to 'main' (in container '')"),
            ("1 == '1'", "Error executing command: found no matching overload for '_==_' applied to '(int, string)'"),
            ("{'a': 1}.b == 1", "Error executing command: no such key: b"),
            ("[1][3] == 1", "Error executing command: index out of bounds: 3"),
            ("1 +", "Error executing command: Syntax error: "),
            (" ", "Error executing command: Syntax error: "),
        ] {
            assert_failed(&step_when(&cel(&[text])), part);
            let ended = Step::new().flags(["-on_error", "continue", "-when_expressions", &cel(&[text])]).sh("echo ran");
            assert_failed(&ended, part);
        }
    }

    #[test]
    fn an_expression_that_kills_its_process_fails_the_step_and_no_more_as_ours_does() {
        let deep = format!("{}true", "!".repeat(90_000));
        let doubled = format!("size(['{}']{}[0]) > 0", "a".repeat(1 << 12), ".map(x, x + x)".repeat(30));
        for text in [deep, doubled] {
            let ended = step_when(&cel(&[&text]));
            assert_failed(&ended, "Error executing command: the process for the CEL expressions was killed by SIG");
            assert!(last_line(&ended).ends_with("they are nested too deeply, or need too much memory"), "{ended:#?}");
        }
    }

    #[test]
    fn an_expression_without_an_end_is_ended_by_the_steps_own_limit() {
        let ended = Step::new().flags(["-timeout", "300ms", "-when_expressions", &cel(&[&endless()])]).sh("echo ran");
        assert_eq!((ended.code(), ended.post, ended.err), (1, false, true), "{ended:#?}");
        assert_eq!(ended.message, Some(message(&[("Reason", "TimeoutExceeded")])), "{ended:#?}");
        assert_eq!(ended.stdout, "", "{ended:#?}");
    }

    #[test]
    fn a_signal_ends_the_step_and_the_evaluation_as_ours_does() {
        let step = Step::new().flags(["-when_expressions", &cel(&[&endless()])]);
        let child = step.start(&["-entrypoint", "/bin/true", "--"]);
        let mut evaluation = None;
        eventually("an evaluation", || {
            evaluation = only_child(child.id());
            evaluation.is_some()
        });
        send(child.id().try_into().unwrap(), libc::SIGTERM);
        let ended = step.finish(child);
        assert!(ended.err && !ended.post, "{ended:#?}");
        let sentence = last_line(&ended);
        assert!(
            sentence.starts_with("SIGTERM ended the step while its when expressions were being evaluated"),
            "{sentence}"
        );
        let process = format!("/proc/{}/cmdline", evaluation.unwrap());
        eventually("the end of the evaluation", || {
            std::fs::read(&process).is_ok_and(|line| line.is_empty()) || !Path::new(&process).exists()
        });
    }

    #[test]
    fn time_zones_are_those_of_the_steps_image() {
        if !Path::new("/usr/share/zoneinfo/America/New_York").exists() {
            skip::skip("time zones of CEL: there are none here (Debian: apt-get install tzdata)");
            return;
        }
        let texts = [
            "timestamp('2024-07-01T12:00:00Z').getHours('America/New_York') == 8",
            "timestamp('2024-01-01T12:00:00Z').getHours('America/New_York') == 7",
            "timestamp('2024-01-01T20:00:00Z').getDate('Asia/Tokyo') == 2",
            "timestamp('2024-01-01T00:15:00Z').getMinutes('Asia/Kolkata') == 45",
            "timestamp('2150-07-01T12:00:00Z').getHours('America/New_York') == 8",
            "timestamp('2024-01-01T12:00:00Z').getHours() == 12",
        ];
        assert_ran(&step_when(&cel(&texts)), "time zones");
    }

    #[test]
    fn an_evaluation_leaves_no_process_and_no_variable_to_the_step() {
        let text = "timestamp('2024-07-01T12:00:00Z').getHours('UTC') == 12";
        let ended =
            Step::new().flags(["-when_expressions", &cel(&[text])]).sh("echo ${TZ-none}; ls /proc/self/fd | wc -l");
        let plain = Step::new().sh("echo ${TZ-none}; ls /proc/self/fd | wc -l");
        assert_eq!((ended.code(), &ended.stdout), (0, &plain.stdout), "{ended:#?}");
    }
}
