//! Section 6: what a step waits for. What it takes to be woken is in `tests/wait.rs`.

use std::fs;
use std::os::unix::fs::symlink;

use entrypoint::step::alive::Alive;

use super::{assert_failed, assert_left, in_tekton, internal, lines};
use crate::step::{Ended, Step};

/// A step that waits for these files of its scratch directory.
fn after(step: Step, files: &[&str], more: &[&str]) -> Ended {
    let files: Vec<String> = files
        .iter()
        .map(|file| if file.is_empty() { String::new() } else { step.path(file).display().to_string() })
        .collect();
    step.flags(["-wait_file", &files.join(",")]).flags(more.iter().copied()).sh("echo ran")
}

fn assert_ran(ended: &Ended) {
    assert_left(ended, 0, true, Some("0"), &[]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("ran\n", ""));
}

fn assert_skipped(ended: &Ended) {
    assert_left(ended, 1, false, None, &[internal("Reason", "Skipped")]);
    assert_eq!(lines(&ended.stderr), ["Skipping step because a previous step failed"]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn nothing_to_wait_for_is_no_wait() {
    for files in ["", ",", ",,"] {
        assert_ran(&Step::new().flags(["-wait_file", files, "-wait_file_content"]).sh("echo ran"));
    }
}

#[test]
fn a_file_that_is_there_releases_the_step_even_when_its_err_is_there_too() {
    let step = Step::new();
    fs::write(step.path("a"), "").unwrap();
    fs::write(step.path("a.err"), "").unwrap();
    assert_ran(&after(step, &["a"], &[]));
}

#[test]
fn all_of_several_files_are_waited_for_in_their_order() {
    let step = Step::new();
    for name in ["a", "b", "c"] {
        fs::write(step.path(name), "").unwrap();
    }
    assert_ran(&after(step, &["a", "", "b", "c"], &[]));

    let step = Step::new();
    fs::write(step.path("a"), "").unwrap();
    fs::write(step.path("b.err"), "").unwrap();
    assert_skipped(&after(step, &["a", "b", "never"], &[]));
}

#[test]
fn a_link_counts_as_what_it_leads_to() {
    let step = Step::new();
    fs::write(step.path("target"), "").unwrap();
    symlink("target", step.path("link")).unwrap();
    assert_ran(&after(step, &["link"], &[]));

    let step = Step::new();
    symlink("nothing", step.path("link")).unwrap();
    fs::write(step.path("link.err"), "").unwrap();
    assert_skipped(&after(step, &["link"], &[]));
}

#[test]
fn a_directory_counts_as_a_file_with_content() {
    let step = Step::new();
    fs::create_dir(step.path("dir")).unwrap();
    assert_ran(&after(step, &["dir"], &["-wait_file_content"]));
}

#[test]
fn content_is_demanded_only_when_asked_for() {
    let empty = || {
        let step = Step::new();
        fs::write(step.path("ready"), "").unwrap();
        fs::write(step.path("ready.err"), "").unwrap();
        step
    };
    assert_ran(&after(empty(), &["ready"], &["-wait_file_content=false"]));
    // The `.err` counts also while a file that is there is still empty.
    assert_skipped(&after(empty(), &["ready"], &["-wait_file_content"]));

    let step = Step::new();
    fs::write(step.path("ready"), "READY").unwrap();
    assert_ran(&after(step, &["ready"], &["-wait_file_content"]));
}

#[test]
fn a_file_that_cannot_be_looked_at_fails_the_step() {
    let step = Step::new();
    fs::write(step.path("file"), "").unwrap();
    let path = step.path("file/out").display().to_string();
    let ended = after(step, &["file/out"], &[]);
    assert_failed(&ended, &format!("Error executing command: waiting for {path:?}: stat {path}: not a directory"));
}

#[test]
fn skipping_goes_on_from_step_to_step() {
    let first = Step::new();
    let second = Step::new();
    fs::write(first.path("previous.err"), "").unwrap();
    let (previous, out) = (first.path("previous"), second.path("first"));
    let flags = [
        "-wait_file".as_ref(),
        previous.as_os_str(),
        "-post_file".as_ref(),
        out.as_os_str(),
        "-entrypoint".as_ref(),
        "/bin/true".as_ref(),
    ];
    let flags = flags.map(|flag: &std::ffi::OsStr| flag.to_str().unwrap());
    assert_eq!(first.run(&flags).code(), 1);
    assert_skipped(&after(second, &["first"], &[]));
}

#[test]
fn a_step_whose_predecessor_died_is_skipped_and_names_it() {
    let Some(step) = in_tekton() else { return };
    let dir = step.path("tekton/run/0");
    drop(Alive::announce(&dir.join("out")).unwrap());
    fs::create_dir_all(step.path("tekton/steps")).unwrap();
    for name in ["step-build", "0"] {
        symlink("/tekton/run/0/status", step.path("tekton/steps").join(name)).unwrap();
    }
    let ended = step.flags(["-wait_file", "/tekton/run/0/out"]).sh("echo ran");
    let line = "Skipping step because a previous step failed: step build (number 0) ended without a report: its entrypoint \
                was killed, perhaps because memory ran out, or it could not write \"/tekton/run/0/out\"; look at the status \
                and the log of container step-build, and raise its memory limit if it was OOMKilled";
    assert_left(&ended, 1, false, None, &[internal("Reason", "Skipped"), internal("entrypoint/error", line)]);
    assert_eq!((ended.stdout.as_str(), lines(&ended.stderr)), ("", vec![line]));
}

#[test]
fn with_a_breakpoint_on_failure_a_step_runs_behind_a_failed_one_and_behind_a_dead_one() {
    let step = Step::new().flags(["-breakpoint_on_failure"]);
    fs::write(step.path("a.err"), "").unwrap();
    assert_ran(&after(step, &["a"], &[]));

    let step = Step::new().flags(["-breakpoint_on_failure"]);
    let file = step.path("a");
    drop(Alive::announce(&file).unwrap());
    let ended = after(step, &["a"], &[]);
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(ended.stdout, "ran\n");
    let [line] = lines(&ended.stderr)[..] else { panic!("{}", ended.stderr) };
    assert!(line.starts_with(&format!("WARN the step that was to write {file:?} ended without a report: ")), "{line}");
    assert!(line.ends_with("; this step runs all the same: -breakpoint_on_failure"), "{line}");
}
