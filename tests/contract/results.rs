//! Section 12: task results, which stand below `/tekton/results`.

use std::fs;

use super::{assert_left, in_tekton, internal, lines, message};

/// The message of these results (as JSON objects) and `StartedAt` with more entries.
fn with_results(results: &[&str], entries: &[String]) -> String {
    let rest = message(entries);
    format!("[{},{}", results.join(","), rest.trim_start_matches('['))
}

#[test]
fn results_are_reported_verbatim_in_the_order_asked_for_and_missing_ones_left_out() {
    let Some(step) = in_tekton() else { return };
    let ended = step
        .flags(["-results", "b,missing,,a"])
        .sh(r"cd /tekton/results; printf 'one\n\n' >a; printf '<&>\377\342\202' >b; echo no >unasked");
    let results = [
        "{\"key\":\"b\",\"value\":\"\\u003c\\u0026\\u003e\u{fffd}\u{fffd}\u{fffd}\",\"type\":1}",
        r#"{"key":"a","value":"one\n\n","type":1}"#,
    ];
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
    assert_eq!(ended.message, Some(with_results(&results, &[])));
    assert_eq!(ended.stderr, "");
}

#[test]
fn what_a_step_prints_may_be_a_result() {
    let Some(step) = in_tekton() else { return };
    let ended = step.flags(["-results", "r", "-stdout_path", "/tekton/results/r"]).sh("echo printed");
    let r = r#"{"key":"r","value":"printed\n","type":1}"#;
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "printed\n"), "{ended:#?}");
    assert_eq!(ended.message, Some(with_results(&[r], &[])));
}

#[test]
fn results_are_reported_of_steps_that_failed_too() {
    let r = r#"{"key":"r","value":"v","type":1}"#;
    let reason = [internal("Reason", "TimeoutExceeded")];
    let code = [internal("ExitCode", "3")];
    let rows: [(&[&str], &str, &[String]); 3] = [
        (&[], "exit 3", &[]),
        (&["-timeout", "1s"], "exec sleep 1000", &reason),
        (&["-on_error", "continue"], "exit 3", &code),
    ];
    for (flags, end, entries) in rows {
        let Some(step) = in_tekton() else { return };
        let ended = step
            .flags(["-results", "r"])
            .flags(flags.iter().copied())
            .sh(&format!("printf v >/tekton/results/r; {end}"));
        assert_eq!(ended.message, Some(with_results(&[r], entries)), "{ended:#?}");
    }
}

#[test]
fn results_are_not_reported_by_a_skipped_step() {
    let Some(step) = in_tekton() else { return };
    fs::write(step.path("tekton/results/r"), "v").unwrap();
    fs::write(step.path("tekton/previous.err"), "").unwrap();
    let ended = step.flags(["-results", "r", "-wait_file", "/tekton/previous"]).sh("true");
    assert_left(&ended, 1, false, None, &[internal("Reason", "Skipped")]);
}

#[test]
fn results_of_earlier_steps_are_reported_again() {
    let Some(step) = in_tekton() else { return };
    fs::write(step.path("tekton/results/r"), "early").unwrap();
    let ended = step.flags(["-results", "r"]).sh("true");
    assert_eq!(ended.message, Some(with_results(&[r#"{"key":"r","value":"early","type":1}"#], &[])));
}

#[test]
fn a_list_whose_first_name_is_empty_names_nothing() {
    for list in ["", ",r"] {
        let Some(step) = in_tekton() else { return };
        fs::write(step.path("tekton/results/r"), "v").unwrap();
        let ended = step.flags(["-results", list]).sh("true");
        assert_left(&ended, 0, true, Some("0"), &[]);
    }
}

#[test]
fn a_result_that_is_a_directory_fails_the_step_and_the_next_is_skipped_as_ours_does() {
    // Tekton has written the post file of a success by then.
    for (flags, end) in [(&[][..], "true"), (&["-on_error", "continue"], "exit 3"), (&[], "exit 3")] {
        let Some(step) = in_tekton() else { return };
        let ended =
            step.flags(["-results", "r"]).flags(flags.iter().copied()).sh(&format!("mkdir /tekton/results/r; {end}"));
        let line = "Result \"r\" cannot be read: \"/tekton/results/r\" is a directory, and must be a regular file";
        assert_left(&ended, 1, false, None, &[internal("entrypoint/error", line)]);
        assert_eq!(lines(&ended.stderr), [line]);
    }
}

#[test]
fn results_that_do_not_fit_fail_the_step_and_the_controller_learns_why_as_ours_does() {
    // Tekton has written the post file of a success by then, and gives no reason.
    let Some(step) = in_tekton() else { return };
    let ended = step
        .flags(["-results", "small,large"])
        .sh("cd /tekton/results; printf v >small; head -c 4090 /dev/zero | tr '\\0' x >large");
    assert_left(&ended, 1, false, None, &[internal("Reason", "ResultsTooLarge")]);
    let lines = lines(&ended.stderr);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].ends_with(r#"result "large" takes 4125, result "small" takes 36; no result is reported"#),
        "{lines:?}"
    );
    assert_eq!(lines[1], "Termination message is above max allowed size 4096, caused by large task result.");
}

#[test]
fn a_message_of_4096_bytes_is_reported_and_one_of_4097_is_not() {
    let rest = r#"[{"key":"r","value":"","type":1},{"key":"StartedAt","value":"2026-11-21T05:55:02.402Z","type":3}]"#;
    for (size, fits) in [(4096, true), (4097, false)] {
        let Some(step) = in_tekton() else { return };
        fs::write(step.path("tekton/results/r"), "x".repeat(size - rest.len())).unwrap();
        let termination = step.path("termination");
        let child = step.env("TZ", "UTC").flags(["-results", "r"]);
        let status = child.start(&["-entrypoint", "/bin/true", "--"]).wait_with_output().unwrap().status;
        assert_eq!(status.code(), Some(i32::from(!fits)));
        assert_eq!(fs::read(termination).unwrap().len() == size, fits);
        assert_eq!((child.path("out").exists(), child.path("out.err").exists()), (fits, !fits));
    }
}
