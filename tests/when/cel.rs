//! Expressions in CEL.

use std::path::Path;

use super::{assert_failed, assert_ran, assert_skipped, last_line, message, skip, step_when};
use crate::step::{Step, eventually, only_child, send};

/// The expressions that have only a text in CEL.
fn in_cel(texts: &[&str]) -> String {
    let expressions: Vec<_> = texts.iter().map(|text| serde_json::json!({ "cel": text })).collect();
    serde_json::Value::from(expressions).to_string()
}

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
        assert_ran(&step_when(&in_cel(texts)), &in_cel(texts));
    }
    for texts in [
        &["false"][..],
        &["'main' == 'other'"],
        &["true", "false"],
        // Nothing is looked at behind the first that is false.
        &["false", "1 / 0 == 1"],
        &["1 > 2", "not an expression"],
    ] {
        assert_skipped(&step_when(&in_cel(texts)), &in_cel(texts));
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
        assert_failed(&step_when(&in_cel(&[text])), part);
        let ended = Step::new().flags(["-on_error", "continue", "-when_expressions", &in_cel(&[text])]).sh("echo ran");
        assert_failed(&ended, part);
    }
}

#[test]
fn an_expression_that_kills_its_process_fails_the_step_and_no_more_as_ours_does() {
    let deep = format!("{}true", "!".repeat(90_000));
    let doubled = format!("size(['{}']{}[0]) > 0", "a".repeat(1 << 12), ".map(x, x + x)".repeat(30));
    for text in [deep, doubled] {
        let ended = step_when(&in_cel(&[&text]));
        assert_failed(&ended, "Error executing command: the process for the CEL expressions was killed by SIG");
        assert!(last_line(&ended).ends_with("they are nested too deeply, or need too much memory"), "{ended:#?}");
    }
}

#[test]
fn an_expression_without_an_end_is_ended_by_the_steps_own_limit() {
    let ended = Step::new().flags(["-timeout", "300ms", "-when_expressions", &in_cel(&[&endless()])]).sh("echo ran");
    assert_eq!((ended.code(), ended.post, ended.err), (1, false, true), "{ended:#?}");
    assert_eq!(ended.message, Some(message(&[("Reason", "TimeoutExceeded")])), "{ended:#?}");
    assert_eq!(ended.stdout, "", "{ended:#?}");
}

#[test]
fn a_signal_ends_the_step_and_the_evaluation_as_ours_does() {
    let step = Step::new().flags(["-when_expressions", &in_cel(&[&endless()])]);
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
    assert_ran(&step_when(&in_cel(&texts)), "time zones");
}

#[test]
fn an_evaluation_leaves_no_process_and_no_variable_to_the_step() {
    let text = "timestamp('2024-07-01T12:00:00Z').getHours('UTC') == 12";
    let ended =
        Step::new().flags(["-when_expressions", &in_cel(&[text])]).sh("echo ${TZ-none}; ls /proc/self/fd | wc -l");
    let plain = Step::new().sh("echo ${TZ-none}; ls /proc/self/fd | wc -l");
    assert_eq!((ended.code(), &ended.stdout), (0, &plain.stdout), "{ended:#?}");
}
