//! Section 7: a person in the container decides whether a step runs, and how a failed one ends.

use std::fs;
use std::process::Child;

use super::{SH, assert_left, internal, lines, message};
use crate::step::{Ended, Step, eventually, send};

const BEFORE: [&str; 3] = [
    "debug before step breakpoint has taken effect, waiting for user's decision:",
    "1) continue, use cmd: /tekton/debug/scripts/debug-beforestep-continue",
    "2) fail-continue, use cmd: /tekton/debug/scripts/debug-beforestep-fail-continue",
];
const FAILED: [&str; 4] = [
    "INFO Skipping writing to PostFile",
    "debug onFailure breakpoint has taken effect, waiting for user's decision:",
    "1) continue, use cmd: /tekton/debug/scripts/debug-continue",
    "2) fail-continue, use cmd: /tekton/debug/scripts/debug-fail-continue",
];

/// The log, its times cut off; only the first line of a question has one.
fn said(log: &str) -> Vec<&str> {
    let timed = |line: &str| line.starts_with(|first: char| first.is_ascii_digit()) && !line[1..].starts_with(')');
    log.lines().map(|line| if timed(line) { lines(line)[0] } else { line }).collect()
}

/// Starts a step that fails with 3, and returns it once it waits for a person.
fn paused_after_failure(step: &Step) -> Child {
    let child = step.start(&[SH[0], SH[1], "-breakpoint_on_failure", SH[2], "-c", "exit 3"]);
    eventually("the message", || fs::read_to_string(step.path("termination")).is_ok_and(|text| text.ends_with(']')));
    child
}

fn answered(answer: &str) -> Ended {
    let step = Step::new();
    let child = paused_after_failure(&step);
    assert!(!step.path("out").exists() && !step.path("out.err").exists(), "a post file before the answer");
    fs::write(step.path("out.breakpointexit"), answer).unwrap();
    step.finish(child)
}

#[test]
fn a_step_waits_for_the_person_before_it_runs() {
    let step = Step::new().flags(["-debug_before_step"]);
    let ran = step.path("ran");
    let child = step.start(&[SH[0], SH[1], SH[2], "-c", &format!("touch {}", ran.display())]);
    eventually("the directories", || step.path("status/artifacts").exists());
    assert!(!ran.exists());
    fs::write(step.path("out.beforestepexit"), "0\n").unwrap();
    let ended = step.finish(child);
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(said(&ended.stderr), BEFORE);
}

#[test]
fn a_person_who_is_against_it_skips_the_step() {
    for flags in [&["-debug_before_step"][..], &["-debug_before_step", "-breakpoint_on_failure"]] {
        let step = Step::new().flags(flags.iter().copied());
        let child = step.start(&[SH[0], SH[1], SH[2], "-c", "echo ran"]);
        fs::write(step.path("out.beforestepexit.err"), "1\n").unwrap();
        let answer = step.path("out.beforestepexit").display().to_string();
        let ended = step.finish(child);
        assert_left(&ended, 1, false, None, &[]);
        let waiting = format!(
            "error occurred while waiting for {answer} : before step breakpoint error file, user decided to skip the \
             current step execution"
        );
        let refused = "Skipping execute step script because before step breakpoint fail-continue";
        assert_eq!(said(&ended.stderr), [&BEFORE[..], &[&waiting, refused]].concat());
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_failed_step_ends_with_the_code_of_the_person_who_releases_the_next_one() {
    for (answer, code) in [("0\n", 0), ("1\n", 1), ("42", 42)] {
        let ended = answered(answer);
        assert_eq!(ended.code(), code);
        // The scripts of the controller make the post file.
        assert!(!ended.post && !ended.err && ended.exit_code.is_none(), "{ended:#?}");
        assert_eq!(ended.message, Some(message(&[])));
        let exit = format!("Breakpoint exiting with exit code {}", answer.trim_end());
        assert_eq!(said(&ended.stderr), [&FAILED[..], &[&exit]].concat());
    }
}

#[test]
fn an_answer_that_is_no_number_ends_the_step_with_0() {
    let ended = answered("yes\n");
    assert_eq!(ended.code(), 0);
    let unread =
        "error occurred while reading breakpoint exit code : \"yes\" is not a whole number; the step ends with 0";
    assert_eq!(said(&ended.stderr)[4..], ["Breakpoint exiting with exit code yes", unread]);
}

#[test]
fn an_answer_that_is_made_before_it_is_written_is_not_read_empty() {
    let step = Step::new();
    let child = paused_after_failure(&step);
    let file = fs::File::create(step.path("out.breakpointexit")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::io::Write::write_all(&mut &file, b"9\n").unwrap();
    assert_eq!(step.finish(child).code(), 9);
}

#[test]
fn an_answer_that_stays_empty_ends_the_step_with_0() {
    assert_eq!(answered("").code(), 0);
}

#[test]
fn a_step_that_may_fail_is_asked_about_all_the_same() {
    let step = Step::new().flags(["-on_error", "continue"]);
    let child = paused_after_failure(&step);
    fs::write(step.path("out.breakpointexit"), "5\n").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.err, ended.exit_code.as_deref()), (5, false, false, None));
    assert_eq!(ended.message, Some(message(&[])));
}

#[test]
fn a_program_that_cannot_be_started_is_asked_about_too_with_its_reason_as_ours_does() {
    let step = Step::new().flags(["-breakpoint_on_failure"]);
    let child = step.start(&["-entrypoint", "/no/such/program", "--"]);
    fs::write(step.path("out.breakpointexit"), "6\n").unwrap();
    let ended = step.finish(child);
    let reason = "Error executing command: fork/exec /no/such/program: no such file or directory: there is no such file in \
                  this step's image";
    assert_eq!((ended.code(), ended.post, ended.err), (6, false, false));
    assert_eq!(ended.message, Some(message(&[internal("entrypoint/error", reason)])));
    assert_eq!(said(&ended.stderr)[0], reason);
}

#[test]
fn what_succeeds_times_out_or_is_skipped_is_nobody_s_decision() {
    let ended = Step::new().flags(["-breakpoint_on_failure"]).sh("exit 0");
    assert_left(&ended, 0, true, Some("0"), &[]);
    let ended = Step::new().flags(["-breakpoint_on_failure", "-timeout", "10ms"]).sh("sleep 60");
    assert_left(&ended, 1, false, None, &[internal("Reason", "TimeoutExceeded")]);
}

#[test]
fn a_signal_at_a_breakpoint_releases_the_next_step_as_ours_does() {
    let step = Step::new();
    let child = paused_after_failure(&step);
    send(i32::try_from(child.id()).unwrap(), libc::SIGTERM);
    let ended = step.finish(child);
    assert!(ended.err && !ended.post, "{ended:#?}");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(libc::SIGTERM));
    assert!(ended.stderr.contains("SIGTERM ended the step at its breakpoint"), "{}", ended.stderr);

    let step = Step::new().flags(["-debug_before_step"]);
    let child = step.start(&[SH[0], SH[1], SH[2], "-c", "echo ran"]);
    eventually("the directories", || step.path("status/artifacts").exists());
    send(i32::try_from(child.id()).unwrap(), libc::SIGTERM);
    let ended = step.finish(child);
    assert!(ended.err && ended.message.is_some_and(|message| message.contains("Interrupted")));
    assert_eq!(ended.stdout, "");
}
