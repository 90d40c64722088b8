//! Sections 11, 14 and 15: post file, `exitCode` and directories: names, content, modes, and what is said without them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{assert_left, lines};
use crate::step::Step;

#[test]
fn files_have_mode_0666_and_directories_0777_less_the_umask() {
    for (umask, file, directory) in [("022", 0o644, 0o755), ("027", 0o640, 0o750), ("0", 0o666, 0o777)] {
        let step = Step::new();
        let status = step.path("new/status");
        let out = step.path("new/run/out");
        let text = |path: &std::path::Path| path.display().to_string();
        let script = format!(r#"umask {umask}; exec "$@""#);
        let step = step.under(&["sh", "-c", &script, "sh"]);
        let flags = ["-step_metadata_dir", &text(&status), "-post_file", &text(&out), "-entrypoint", "/bin/true", "--"];
        assert!(step.start(&flags).wait_with_output().unwrap().status.success());
        let mode = |path: &str| fs::metadata(step.path(path)).unwrap().permissions().mode() & 0o7777;
        for path in ["termination", "new/run/out", "new/status/exitCode"] {
            assert_eq!(mode(path), file, "{path} with umask {umask}");
        }
        for path in ["new", "new/run", "new/status", "new/status/results", "new/status/artifacts"] {
            assert_eq!(mode(path), directory, "{path} with umask {umask}");
        }
    }
}

#[test]
fn a_post_file_is_empty_also_when_it_was_there_before() {
    for (script, name) in [("true", "out"), ("false", "out.err")] {
        let step = Step::new();
        let path = step.path(name);
        fs::write(&path, "before").unwrap();
        let script = ["-entrypoint", "/bin/sh", "--", "-c", script];
        step.start(&script).wait_with_output().unwrap();
        assert_eq!(fs::read(path).unwrap(), b"");
    }
}

#[test]
fn the_exit_code_has_no_newline_and_overwrites_a_longer_one() {
    let step = Step::new();
    fs::create_dir(step.path("status")).unwrap();
    fs::write(step.path("status/exitCode"), "killed\n").unwrap();
    let ended = step.sh("true");
    assert_eq!(ended.exit_code.as_deref(), Some("0"));
}

#[test]
fn results_and_artifacts_have_directories_before_the_step_starts() {
    let step = Step::new();
    let status = step.path("status").display().to_string();
    let ended = step.sh(&format!("cd {status} && echo *"));
    assert_eq!(ended.stdout, "artifacts results\n");
}

#[test]
fn without_a_post_file_none_is_written() {
    let ended = Step::new().flags(["-post_file", ""]).sh("exit 3");
    assert_eq!((ended.code(), ended.post, ended.err), (3, false, false), "{ended:#?}");
}

#[test]
fn an_empty_metadata_directory_is_the_working_directory() {
    let step = Step::new();
    let scratch = step.path("").display().to_string();
    let work = step.path("work");
    fs::create_dir(&work).unwrap();
    let step = step.under(&["sh", "-c", r#"cd "$1/work"; shift; exec "$@""#, "sh", &scratch]);
    let flags = ["-step_metadata_dir", "", "-entrypoint", "/bin/true", "--"];
    assert!(step.start(&flags).wait_with_output().unwrap().status.success());
    assert_eq!(fs::read(work.join("exitCode")).unwrap(), b"0");
    assert!(work.join("results").is_dir() && work.join("artifacts").is_dir());
}

#[test]
fn files_with_relative_names_stand_in_the_working_directory() {
    let step = Step::new();
    let scratch = step.path("").display().to_string();
    let step = step.under(&["sh", "-c", r#"cd "$1"; shift; exec "$@""#, "sh", &scratch]);
    let flags = ["-post_file", "o", "-termination_path", "t", "-entrypoint", "/bin/true", "--"];
    assert!(step.start(&flags).wait_with_output().unwrap().status.success());
    assert!(step.path("o").exists() && step.path("t").exists());
}

#[test]
fn a_post_file_that_cannot_be_made_fails_the_step_and_the_rest_is_written() {
    let step = Step::new();
    fs::write(step.path("file"), "").unwrap();
    let (out, dir) = (step.path("file/0/out"), step.path("file/0"));
    let err = step.path("file/0/out.err");
    let ended = step.flags(["-post_file", &out.display().to_string()]).sh("true");
    assert_eq!((ended.code(), ended.exit_code.as_deref()), (1, Some("0")), "{ended:#?}");
    assert_eq!(ended.message.as_deref(), Some(r#"[{"key":"StartedAt","value":"T","type":3}]"#));
    let cause = format!("making the directory {dir:?}: not a directory");
    assert_eq!(
        lines(&ended.stderr),
        [
            format!("Creating {out:?}: {cause}"),
            format!(
                "Creating {err:?}: {cause}; the steps after this one are not told how it ended: they take it for dead, or \
                 wait until they are stopped"
            ),
        ]
    );
}

#[test]
fn an_exit_code_that_cannot_be_written_fails_the_step_and_releases_the_next() {
    let step = Step::new();
    fs::create_dir_all(step.path("status/exitCode")).unwrap();
    let path = step.path("status/exitCode");
    let ended = step.sh("true");
    assert_left(&ended, 1, false, None, &[]);
    assert_eq!(lines(&ended.stderr), [format!("Creating {path:?}: is a directory")]);
}

#[test]
fn the_log_has_local_time_on_standard_error() {
    let utc = Step::new().env("TZ", "UTC0").run(&["-entrypoint", "/no/program", "--"]);
    let east = Step::new().env("TZ", "XST-14").run(&["-entrypoint", "/no/program", "--"]);
    let hour = |log: &str| -> i32 { log[11..13].parse().unwrap() };
    let ahead = (hour(&east.stderr) - hour(&utc.stderr)).rem_euclid(24);
    // Between the two runs an hour may have begun.
    assert!(ahead == 14 || ahead == 15, "{}{}", utc.stderr, east.stderr);
    assert_eq!((utc.stdout.as_str(), east.stdout.as_str()), ("", ""));
}
