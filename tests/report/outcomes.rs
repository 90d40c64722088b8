//! Every row of the table: what an outcome leaves behind, with each way in which its end can be meant.

use entrypoint::outcome::{ChildExit, NotRunKind, Outcome};
use entrypoint::spec::{EndSpec, OnError};

use super::pod::{Ended, Pod, STARTED_AT, failure, internal, message};
use super::{SUCCESS, TOO_LARGE};

/// What a row says, with the entries behind `StartedAt`.
struct Row {
    exit: u8,
    exit_code: Option<&'static str>,
    entries: Vec<String>,
    post: Post,
    line: Option<&'static str>,
}

/// Which post file is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Post {
    Success,
    Err,
    /// A person at a breakpoint makes one.
    None,
}

const STOP: EndSpec = EndSpec { on_error: OnError::StopAndFail, breakpoint_on_failure: false, signal_exit_code: false };
const CONTINUE: EndSpec = EndSpec { on_error: OnError::Continue, ..STOP };
const BREAK: EndSpec = EndSpec { breakpoint_on_failure: true, ..STOP };
const BREAK_CONTINUE: EndSpec = EndSpec { breakpoint_on_failure: true, ..CONTINUE };
const SIGNAL: EndSpec = EndSpec { signal_exit_code: true, ..STOP };
const SIGNAL_CONTINUE: EndSpec = EndSpec { signal_exit_code: true, ..CONTINUE };
const SIGNAL_BREAK: EndSpec = EndSpec { signal_exit_code: true, ..BREAK_CONTINUE };

const EVERY_END: [EndSpec; 7] = [STOP, CONTINUE, BREAK, BREAK_CONTINUE, SIGNAL, SIGNAL_CONTINUE, SIGNAL_BREAK];

const WHY: &str = "because of this";

fn not_run(kind: NotRunKind) -> Outcome {
    Outcome::not_run(kind, WHY)
}

fn reason(value: &str) -> String {
    internal("Reason", value)
}

fn exit_code(value: &str) -> String {
    internal("ExitCode", value)
}

fn killed() -> String {
    internal("entrypoint/signal", "SIGKILL")
}

#[track_caller]
fn assert_row(outcome: &Outcome, end: EndSpec, row: &Row) {
    let mut expected = vec![STARTED_AT];
    expected.extend(row.entries.iter().map(String::as_str));
    assert_eq!(
        Pod::new().end(end).report(outcome),
        Ended {
            exit: row.exit,
            lines: row.line.map(str::to_owned).into_iter().collect(),
            message: message(&expected),
            exit_code: row.exit_code.map(str::to_owned),
            post: row.post == Post::Success,
            err: row.post == Post::Err,
        },
        "{outcome:?} {end:?}"
    );
    assert_eq!(outcome.breaks(end), row.post == Post::None, "{outcome:?} {end:?}");
}

#[test]
fn an_outcome_that_no_flag_changes_leaves_the_files_of_its_row() {
    let line = Some(WHY);
    let rows = [
        (SUCCESS, Row { exit: 0, exit_code: Some("0"), entries: vec![], post: Post::Success, line: None }),
        (
            Outcome::NothingToRun,
            Row { exit: 0, exit_code: Some("0"), entries: vec![], post: Post::Success, line: None },
        ),
        (
            Outcome::NotWanted,
            Row { exit: 0, exit_code: Some("0"), entries: vec![reason("Skipped")], post: Post::Success, line: None },
        ),
        (
            Outcome::Refused,
            Row {
                exit: 1,
                exit_code: None,
                entries: vec![],
                post: Post::Err,
                line: Some("Skipping execute step script because before step breakpoint fail-continue"),
            },
        ),
        (
            Outcome::Skipped,
            Row {
                exit: 1,
                exit_code: None,
                entries: vec![reason("Skipped")],
                post: Post::Err,
                line: Some("Skipping step because a previous step failed"),
            },
        ),
        (
            Outcome::Cancelled,
            Row {
                exit: 9,
                exit_code: Some("killed"),
                entries: vec![reason("Cancelled")],
                post: Post::Err,
                line: Some("Step was cancelled"),
            },
        ),
        (
            Outcome::TimedOut,
            Row {
                exit: 1,
                exit_code: None,
                entries: vec![reason("TimeoutExceeded")],
                post: Post::Err,
                line: Some("context deadline exceeded"),
            },
        ),
        (
            not_run(NotRunKind::Usage),
            Row { exit: 2, exit_code: None, entries: vec![failure(WHY)], post: Post::Err, line },
        ),
        (
            not_run(NotRunKind::Interrupted(15)),
            Row { exit: 2, exit_code: None, entries: vec![reason("Interrupted"), failure(WHY)], post: Post::Err, line },
        ),
        (
            not_run(NotRunKind::PredecessorDied),
            Row { exit: 1, exit_code: None, entries: vec![reason("Skipped"), failure(WHY)], post: Post::Err, line },
        ),
    ];
    for (outcome, row) in rows {
        for end in EVERY_END {
            assert_row(&outcome, end, &row);
        }
    }
}

#[test]
fn a_failure_around_the_step_is_softened_by_nothing_and_breaks() {
    for (kind, exit, entries) in [
        (NotRunKind::Other, 1, vec![failure(WHY)]),
        (NotRunKind::Substitution, 2, vec![failure(WHY)]),
        (NotRunKind::ImageLookup, 1, vec![reason("ImageLookupFailed"), failure(WHY)]),
        (NotRunKind::Endpoint, 1, vec![reason("EndpointNotReady"), failure(WHY)]),
    ] {
        for end in EVERY_END {
            let post = if end.breakpoint_on_failure { Post::None } else { Post::Err };
            let row = Row { exit, exit_code: None, entries: entries.clone(), post, line: Some(WHY) };
            assert_row(&not_run(kind), end, &row);
        }
    }
}

#[test]
fn a_step_that_failed_leaves_the_files_of_its_row() {
    let three = Outcome::Ran(ChildExit::Code(3));
    let last = Outcome::Ran(ChildExit::Code(255));
    let signal = Outcome::Ran(ChildExit::Signal(9));
    let told = Some("The step's process was killed by SIGKILL");
    let silent = |exit, exit_code, entries, post| Row { exit, exit_code, entries, post, line: None };
    let rows = [
        (&three, STOP, silent(3, None, vec![], Post::Err)),
        (&last, STOP, silent(255, None, vec![], Post::Err)),
        (&signal, STOP, silent(255, None, vec![], Post::Err)),
        (&three, CONTINUE, silent(0, Some("3"), vec![exit_code("3")], Post::Success)),
        (&last, CONTINUE, silent(0, Some("255"), vec![exit_code("255")], Post::Success)),
        (&signal, CONTINUE, silent(0, Some("-1"), vec![exit_code("-1")], Post::Success)),
        // A breakpoint wins over `continue`, and nothing is told of the code: a person has the last word.
        (&three, BREAK, silent(3, None, vec![], Post::None)),
        (&signal, BREAK, silent(255, None, vec![], Post::None)),
        (&three, BREAK_CONTINUE, silent(3, None, vec![], Post::None)),
        (&signal, BREAK_CONTINUE, silent(255, None, vec![], Post::None)),
        // Only a death by signal is told otherwise.
        (&three, SIGNAL, silent(3, None, vec![], Post::Err)),
        (&three, SIGNAL_CONTINUE, silent(0, Some("3"), vec![exit_code("3")], Post::Success)),
        (&signal, SIGNAL, Row { line: told, ..silent(137, None, vec![killed()], Post::Err) }),
        (
            &signal,
            SIGNAL_CONTINUE,
            Row { line: told, ..silent(0, Some("137"), vec![exit_code("137"), killed()], Post::Success) },
        ),
        (&signal, SIGNAL_BREAK, Row { line: told, ..silent(137, None, vec![killed()], Post::None) }),
    ];
    for (outcome, end, row) in rows {
        assert_row(outcome, end, &row);
    }
}

#[test]
fn a_real_time_signal_is_told_by_its_number() {
    let ended = Pod::new().end(SIGNAL).report(&Outcome::Ran(ChildExit::Signal(64)));
    assert_eq!(ended.exit, 192);
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("entrypoint/signal", "signal 64")]));
}

#[test]
fn results_and_artifacts_are_read_of_every_step_whose_turn_came_but_for_skipped_ones() {
    let result = r#"{"key":"r","value":"v","type":1}"#;
    // With the turn, and without it.
    let rows = [
        (SUCCESS, true, true),
        (Outcome::Ran(ChildExit::Code(3)), true, true),
        (Outcome::Ran(ChildExit::Signal(9)), true, true),
        (Outcome::NothingToRun, true, true),
        (Outcome::TimedOut, true, true),
        (Outcome::Cancelled, true, true),
        (Outcome::Refused, true, true),
        (Outcome::Skipped, false, false),
        (Outcome::NotWanted, false, false),
        (not_run(NotRunKind::Other), true, false),
        (not_run(NotRunKind::ImageLookup), false, false),
        (not_run(NotRunKind::Endpoint), false, false),
        (not_run(NotRunKind::PredecessorDied), false, false),
        (not_run(NotRunKind::Substitution), false, false),
        (not_run(NotRunKind::Interrupted(15)), false, false),
        (not_run(NotRunKind::Usage), false, false),
    ];
    for (outcome, with_turn, without_turn) in rows {
        for (turn, read) in [(true, with_turn), (false, without_turn)] {
            let mut pod = Pod::new().result("r", "v").task_artifacts("{}");
            pod.turn = turn;
            let message = pod.report(&outcome).message.unwrap();
            assert_eq!(message.contains(result), read, "{outcome:?}: {message}");
            assert_eq!(
                message.ends_with(r#"provenance.json","value":"{}","type":6}]"#),
                read,
                "{outcome:?}: {message}"
            );
        }
    }
}

#[test]
fn why_a_step_never_ran_is_told_also_when_its_results_do_not_fit_or_cannot_be_read() {
    let ended = Pod::new().result("r", "x".repeat(5000)).report(&not_run(NotRunKind::Other));
    assert_eq!(ended.message, message(&[STARTED_AT, &reason("ResultsTooLarge"), &failure(WHY)]));
    assert_eq!((ended.exit, ended.err), (1, true));
    assert_eq!((ended.lines.len(), ended.lines.last().map(String::as_str)), (3, Some(TOO_LARGE)));

    let ended = Pod::new().directory_as_result("r").report(&not_run(NotRunKind::Other));
    assert_eq!(ended.message, message(&[STARTED_AT, &failure(WHY)]));
    assert_eq!((ended.exit, ended.err, ended.lines.len()), (1, true, 2), "{:?}", ended.lines);
}

#[test]
fn at_a_breakpoint_a_failed_step_waits_for_a_person_unless_its_results_do_not_fit() {
    let outcome = Outcome::Ran(ChildExit::Code(3));
    let ended = Pod::new().directory_as_result("r").end(BREAK).report(&outcome);
    assert_eq!((ended.exit, ended.exit_code, ended.post, ended.err), (1, None, false, false));
    // Tekton asks nobody either, and leaves no post file: the next step would wait for ever.
    let ended = Pod::new().result("r", "x".repeat(5000)).end(BREAK).report(&outcome);
    assert_eq!((ended.exit, ended.exit_code, ended.post, ended.err), (1, None, false, true));
    // A step that succeeded is no failure of its own: the next one is skipped, and nobody is asked.
    let ended = Pod::new().directory_as_result("r").end(BREAK).report(&SUCCESS);
    assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
}

#[test]
fn the_signal_gives_way_when_the_message_is_nearly_full() {
    // Without the flag Tekton's own message would fit.
    let existing = format!(r#"{{"key":"old","value":"{}"}}"#, "x".repeat(4000));
    let pod = Pod::new().existing(format!("[{existing}]")).end(SIGNAL);
    let ended = pod.report(&Outcome::Ran(ChildExit::Signal(9)));
    assert_eq!(ended.message, message(&[&existing, STARTED_AT]));
    assert_eq!(ended.exit, 137);
}
