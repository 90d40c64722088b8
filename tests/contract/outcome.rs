//! Section 11: what each way to end leaves.

use super::{SH, assert_failed, assert_left, in_tekton, internal, lines};
use crate::step::{Step, eventually, send};

#[test]
fn a_step_that_succeeds_is_silent() {
    let ended = Step::new().sh("echo out; echo err >&2");
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn a_step_that_fails_passes_its_exit_code_on_and_is_silent() {
    for code in [1, 2, 127, 255] {
        let ended = Step::new().sh(&format!("exit {code}"));
        assert_left(&ended, code, false, None, &[]);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn a_step_that_dies_of_a_signal_exits_with_255() {
    for signal in ["TERM", "KILL", "SEGV"] {
        let ended = Step::new().sh(&format!("kill -{signal} $$"));
        assert_left(&ended, 255, false, None, &[]);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn a_step_that_may_fail_releases_the_next_one_and_tells_its_code() {
    let ended = Step::new().flags(["-on_error", "continue"]).sh("exit 3");
    assert_left(&ended, 0, true, Some("3"), &[internal("ExitCode", "3")]);
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_step_that_may_fail_and_dies_of_a_signal_tells_minus_one() {
    let ended = Step::new().flags(["-on_error", "continue"]).sh("kill -KILL $$");
    assert_left(&ended, 0, true, Some("-1"), &[internal("ExitCode", "-1")]);
}

#[test]
fn a_step_that_may_fail_and_does_not_is_an_ordinary_success() {
    let ended = Step::new().flags(["-on_error", "continue"]).sh("exit 0");
    assert_left(&ended, 0, true, Some("0"), &[]);
}

#[test]
fn any_other_word_for_on_error_means_stop() {
    for word in ["stopAndFail", "", "Continue", "garbage"] {
        let ended = Step::new().flags(["-on_error", word]).sh("exit 3");
        assert_left(&ended, 3, false, None, &[]);
    }
}

#[test]
fn a_step_whose_time_is_up_fails_whether_it_may_or_not() {
    for on_error in ["stopAndFail", "continue"] {
        let ended = Step::new().flags(["-on_error", on_error, "-timeout", "50ms"]).sh("exec sleep 1000");
        assert_left(&ended, 1, false, None, &[internal("Reason", "TimeoutExceeded")]);
        assert_eq!(lines(&ended.stderr), ["context deadline exceeded"]);
    }
}

#[test]
fn a_timeout_of_zero_and_one_that_is_not_reached_change_nothing() {
    for timeout in ["0", "0s", "1h0m0s"] {
        let ended = Step::new().flags(["-timeout", timeout]).sh("exit 0");
        assert_left(&ended, 0, true, Some("0"), &[]);
    }
}

#[test]
fn a_step_whose_time_is_up_before_it_starts_does_not_run() {
    let ended = Step::new().flags(["-timeout", "1ns"]).sh("echo ran");
    assert_left(&ended, 1, false, None, &[internal("Reason", "TimeoutExceeded")]);
    assert_eq!((lines(&ended.stderr), ended.stdout.as_str()), (vec!["context deadline exceeded"], ""));
}

/// Runs a script that is stopped after a second, with so much time to end by itself.
fn stopped(grace: &str, script: &str) -> crate::step::Ended {
    Step::new().flags(["-timeout", "1s", "-stop_grace", grace]).sh(script)
}

#[test]
fn a_step_that_is_stopped_may_end_by_itself_as_ours_does() {
    let ended = stopped("60s", "trap 'echo cleaned; exit 5' TERM; while :; do sleep 0.05; done");
    assert_left(&ended, 1, false, None, &[internal("Reason", "TimeoutExceeded")]);
    assert_eq!(ended.stdout, "cleaned\n");
    let ended = stopped("60s", "trap 'exit 0' TERM; while :; do sleep 0.05; done");
    assert_left(&ended, 0, true, Some("0"), &[]);
    // The whole group is asked: the shell only waits for its child, which would end by itself at some time.
    let child = "(trap 'echo child; exit' TERM; for try in $(seq 1200); do sleep 0.05; done)";
    let ended = stopped("60s", &format!("trap : TERM; {child} & wait; wait; exit 5"));
    assert_left(&ended, 1, false, None, &[internal("Reason", "TimeoutExceeded")]);
    assert_eq!(ended.stdout, "child\n");
}

#[test]
fn a_step_that_does_not_end_within_its_grace_is_killed_as_ours_does() {
    let ended = stopped("100ms", "trap 'echo asked' TERM; while :; do sleep 0.05; done");
    assert_left(&ended, 1, false, None, &[internal("Reason", "TimeoutExceeded")]);
    assert_eq!(ended.stdout, "asked\n", "once");
}

#[test]
fn without_a_grace_a_step_is_killed_at_once() {
    for grace in ["0", "0s"] {
        let ended = stopped(grace, "trap 'echo asked' TERM; while :; do sleep 0.05; done");
        assert_left(&ended, 1, false, None, &[internal("Reason", "TimeoutExceeded")]);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_negative_timeout_fails_the_step_at_its_turn() {
    for on_error in ["stopAndFail", "continue"] {
        let ended = Step::new().flags(["-on_error", on_error, "-timeout", "-1s"]).sh("echo ran");
        assert_failed(&ended, "Error executing command: negative timeout specified");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_cancelled_step_exits_with_9() {
    let Some(step) = in_tekton() else { return };
    std::fs::create_dir(step.path("tekton/downward")).unwrap();
    let (cancel, started) = (step.path("tekton/downward/cancel"), step.path("started"));
    std::fs::write(&cancel, "").unwrap();
    let child = step.start(&[&SH[..], &["-c", &format!("touch {}; exec sleep 1000", started.display())]].concat());
    eventually("the step runs", || started.exists());
    std::fs::write(&cancel, "CANCEL").unwrap();
    let ended = step.finish(child);
    assert_left(&ended, 9, false, Some("killed"), &[internal("Reason", "Cancelled")]);
    assert_eq!(lines(&ended.stderr).last(), Some(&"Step was cancelled"));
}

#[test]
fn a_cancelled_step_may_end_by_itself_within_its_grace_as_ours_does() {
    let Some(step) = in_tekton() else { return };
    std::fs::create_dir(step.path("tekton/downward")).unwrap();
    let (cancel, started) = (step.path("tekton/downward/cancel"), step.path("started"));
    let script = format!("trap 'echo cleaned; exit 5' TERM; : >{}; while :; do sleep 0.05; done", started.display());
    let child = step.start(&[&["-stop_grace", "60s"], &SH[..], &["-c", &script]].concat());
    eventually("the step runs", || started.exists());
    std::fs::write(&cancel, "CANCEL").unwrap();
    let ended = step.finish(child);
    assert_left(&ended, 9, false, Some("killed"), &[internal("Reason", "Cancelled")]);
    assert_eq!(ended.stdout, "cleaned\n");
}

#[test]
fn a_step_after_a_failed_one_is_skipped_even_if_it_may_fail() {
    for on_error in ["stopAndFail", "continue"] {
        let step = Step::new();
        let previous = step.path("previous");
        std::fs::write(step.path("previous.err"), "").unwrap();
        let ended =
            step.flags(["-on_error", on_error, "-wait_file", &previous.display().to_string()]).sh("echo ran; exit 3");
        assert_left(&ended, 1, false, None, &[internal("Reason", "Skipped")]);
        assert_eq!(lines(&ended.stderr), ["Skipping step because a previous step failed"]);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_step_that_cannot_start_fails_even_if_it_may() {
    let ended = Step::new().flags(["-on_error", "continue", "-entrypoint", "/no/such/program", "--"]).run(&[]);
    assert_failed(
        &ended,
        "Error executing command: fork/exec /no/such/program: no such file or directory: there is no such file in this \
         step's image",
    );
}

#[test]
fn a_wrong_command_line_releases_the_next_step_as_ours_does() {
    // Tekton exits with 2 too, and leaves neither post file nor message: the next step would wait for ever.
    let ended = Step::new().run(&["-nope", "-entrypoint", "/bin/true", "--", "-post_file", "/elsewhere"]);
    let sentence = "flag provided but not defined: -nope";
    assert_left(&ended, 2, false, None, &[internal("entrypoint/error", sentence)]);
    assert_eq!(lines(&ended.stderr).first(), Some(&sentence));
}

#[test]
fn a_wrong_command_line_is_searched_for_its_files_behind_the_mistake_too() {
    let step = Step::new();
    let out = step.path("late").display().to_string();
    let (late, err) = (step.path("late.err"), step.path("out.err"));
    let child = step.start(&["-timeout", "soon", "-post_file", &out, "--"]);
    let status = child.wait_with_output().unwrap().status;
    assert_eq!((status.code(), late.exists(), err.exists()), (Some(2), true, false));
}

#[test]
fn a_flag_that_is_not_built_yet_is_refused_and_releases_the_next_step() {
    let ended = Step::new().flags(["-enable_spire"]).sh("echo ran");
    let sentence = "-enable_spire asks for results that are signed by SPIRE, which this entrypoint cannot do, so nothing was \
                    run: leave enforce-nonfalsifiability off, or use Tekton's own entrypoint";
    assert_left(&ended, 2, false, None, &[internal("entrypoint/error", sentence)]);
    assert_eq!(lines(&ended.stderr).first(), Some(&sentence));
    assert_eq!(ended.stdout, "");
}

#[test]
fn spires_flags_with_nothing_to_sign_change_nothing() {
    let socket = "unix:///spiffe-workload-api/spire-agent.sock";
    for flags in [&["-enable_spire=false"][..], &["-spire_socket_path", socket], &["-spire_socket_path="]] {
        let ended = Step::new().flags(flags.iter().copied()).sh("echo ran");
        assert_left(&ended, 0, true, Some("0"), &[]);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("ran\n", ""));
    }
}

#[test]
fn help_is_no_failure_and_reports_nothing() {
    for flag in ["-h", "-help", "--help"] {
        let ended = Step::new().run(&[flag]);
        assert_eq!((ended.code(), ended.post, ended.err, ended.message), (0, false, false, None));
    }
}

#[test]
fn a_metadata_directory_that_cannot_be_made_fails_the_step_and_releases_the_next_as_ours_does() {
    // Tekton writes the message `[]` and no post file.
    let step = Step::new();
    std::fs::write(step.path("file"), "").unwrap();
    let metadata = step.path("file/status");
    let ended = step.flags(["-step_metadata_dir", &metadata.display().to_string()]).sh("echo ran");
    assert_failed(
        &ended,
        &format!(
            "Error executing command: mkdir {}/results: not a directory (-step_metadata_dir must be a directory that \
             the step's user may write to)",
            metadata.display()
        ),
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_wrong_command_line_releases_the_next_step_also_when_nobody_reads_the_log() {
    let step = Step::new();
    // More than a pipe holds: saying it lasts until somebody reads.
    let unknown = format!("-{}", "x".repeat(100_000));
    let child = step.start(&[&unknown]);
    eventually("the next step is released", || step.path("out.err").exists());
    assert_eq!(step.finish(child).code(), 2);
}

/// A log that is full from the start: saying a line lasts until somebody reads.
const FULL_LOG: [&str; 3] = ["/bin/sh", "-c", "head -c 65536 /dev/zero >&2; exec \"$0\" \"$@\""];

#[test]
fn a_step_that_is_not_wanted_releases_the_next_step_also_when_nobody_reads_the_log() {
    let never = r#"[{"input":"a","operator":"in","values":["b"]}]"#;
    let step = Step::new().under(&FULL_LOG).flags(["-when_expressions", never]);
    let child = step.start(&["-entrypoint", "/bin/true"]);
    eventually("the next step is released", || step.path("out").exists());
    assert_eq!(step.finish(child).code(), 0);
}

#[test]
fn a_signal_ends_a_step_that_has_something_to_say_also_when_nobody_reads_the_log() {
    for (flag, argument, sign) in [
        ("-on_error=continue", "exit 3 $(steps.none.results.none)", "out.lock"),
        ("-debug_before_step", "exit 3", "out.lock"),
        ("-breakpoint_on_failure", "exit 3", "termination"),
    ] {
        let step = Step::new().under(&FULL_LOG).flags([flag]);
        let child = step.start(&[SH[0], SH[1], SH[2], "-c", argument]);
        eventually("it is on its way", || step.path(sign).exists());
        send(child.id().cast_signed(), libc::SIGTERM);
        eventually("the next step is released", || step.path("out.err").exists());
        let ended = step.finish(child);
        assert!(ended.stderr.contains("SIGTERM ended the step "), "{flag}: {ended:#?}");
        assert_eq!(ended.status.code(), None, "{flag}");
    }
}
