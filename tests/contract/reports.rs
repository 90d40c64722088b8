//! Sections 12 and 13: step results, artifacts, compressed messages, the room of a pod, and deaths by signal that are told.

use std::fs;

use super::{STARTED_AT, assert_failed, assert_left, in_tekton, internal, lines};
use crate::step::Step;

/// The entry of a result, or of an artifact.
fn entry(key: &str, value: &str, kind: u8) -> String {
    format!(r#"{{"key":"{key}","value":{},"type":{kind}}}"#, serde_json::to_string(value).unwrap())
}

fn message(entries: &[&str]) -> Option<String> {
    Some(format!("[{}]", entries.join(",")))
}

#[test]
fn task_results_step_results_and_artifacts_are_told_in_tektons_order() {
    let Some(step) = in_tekton() else { return };
    let status = step.path("status").display().to_string();
    let script = format!(
        "printf v >/tekton/results/r; printf s >{status}/results/s; printf '{{}}' >{status}/artifacts/provenance.json
         mkdir /tekton/artifacts; printf '<o>' >/tekton/artifacts/provenance.json; exit 3"
    );
    let flags = ["-results", "r", "-step_results", "s,missing", "-on_error", "continue"];
    let ended = step.flags(flags).sh(&script);
    let expected = [
        &entry("r", "v", 1),
        &entry("s", "s", 4),
        STARTED_AT,
        &internal("ExitCode", "3"),
        &entry(&format!("{status}/artifacts/provenance.json"), "{}", 5),
        r#"{"key":"/tekton/artifacts/provenance.json","value":"\u003co\u003e","type":6}"#,
    ];
    assert_eq!(ended.message, message(&expected), "{ended:#?}");
    assert_eq!((ended.code(), ended.post, &*ended.stderr), (0, true, ""));
}

#[test]
fn the_key_of_a_steps_artifacts_is_the_cleaned_path_also_where_it_is_relative() {
    for (metadata_dir, key) in [
        ("", "artifacts/provenance.json"),
        (".", "artifacts/provenance.json"),
        ("./meta//x/../", "meta/artifacts/provenance.json"),
    ] {
        let step = Step::new();
        let scratch = step.path("").display().to_string();
        fs::create_dir(step.path("work")).unwrap();
        // What the directories are made by follows every part of the name.
        fs::create_dir_all(step.path("work/meta/x")).unwrap();
        let step = step.under(&["sh", "-c", r#"cd "$1/work"; shift; exec "$@""#, "sh", &scratch]);
        let file = format!("{metadata_dir}{}artifacts/provenance.json", if metadata_dir.is_empty() { "" } else { "/" });
        let ended = step.flags(["-step_metadata_dir", metadata_dir]).sh(&format!("printf '{{}}' >{file}"));
        assert_eq!(ended.message, message(&[STARTED_AT, &entry(key, "{}", 5)]), "{ended:#?}");
    }
}

#[test]
fn what_somebody_else_takes_from_the_files_is_not_told() {
    let Some(step) = in_tekton() else { return };
    let flags = ["-results", "r", "-step_results", "s", "-result_from", "sidecar-logs"];
    let script = "cd /tekton; printf v >results/r; mkdir artifacts; printf '{}' >artifacts/provenance.json";
    assert_left(&step.flags(flags).sh(script), 0, true, Some("0"), &[]);

    let step = Step::new();
    let flags = ["-step_results", "s", "-result_from", "sidecar-logs"];
    let path = step.path("status/results/s");
    let ended = step.flags(flags).sh(&format!("mkdir {}", path.display()));
    assert_failed(&ended, &format!("Result \"s\" cannot be read: {path:?} is a directory, and must be a regular file"));
}

#[test]
fn results_are_told_also_of_a_step_that_could_not_start() {
    for (flags, line) in [
        (
            &["-entrypoint", "/no/such/program"][..],
            "Error executing command: fork/exec /no/such/program: no such file or directory: there is no such file in \
             this step's image",
        ),
        (&["-timeout", "-1s", "-entrypoint", "/bin/true"], "Error executing command: negative timeout specified"),
    ] {
        let step = Step::new();
        let status = step.path("status/results");
        fs::create_dir_all(&status).unwrap();
        fs::write(status.join("s"), "v").unwrap();
        let ended = step.flags(["-step_results", "s"]).flags(flags.iter().copied()).run(&["--"]);
        let expected = [&entry("s", "v", 4), STARTED_AT, &internal("entrypoint/error", line)];
        assert_eq!(ended.message, message(&expected), "{ended:#?}");
        assert_eq!((ended.code(), ended.post, ended.err), (1, false, true));
    }
}

#[test]
fn results_are_not_looked_at_where_the_wait_failed() {
    let step = Step::new();
    fs::create_dir_all(step.path("status/results/dir")).unwrap();
    fs::write(step.path("file"), "").unwrap();
    let wait = step.path("file/below").display().to_string();
    let ended = step.flags(["-step_results", "dir", "-wait_file", &wait]).sh("true");
    assert_failed(&ended, &format!("Error executing command: waiting for {wait:?}: stat {wait}: not a directory"));
}

#[test]
fn a_provenance_that_cannot_be_read_fails_the_step_and_the_next_is_skipped_as_ours_does() {
    // Tekton has written the post file of a success by then, and writes no `StartedAt`.
    let step = Step::new();
    let path = step.path("status/artifacts/provenance.json");
    let ended = step.sh(&format!("mkdir {}", path.display()));
    assert_failed(
        &ended,
        &format!("Error while handling step artifacts: {path:?} is a directory, and must be a regular file"),
    );

    let Some(step) = in_tekton() else { return };
    let ended = step.flags(["-on_error", "continue"]).sh("mkdir -p /tekton/artifacts/provenance.json; exit 3");
    assert_failed(
        &ended,
        "Error while handling task artifacts: \"/tekton/artifacts/provenance.json\" is a directory, and must be a \
         regular file",
    );
}

#[test]
fn a_message_is_compressed_only_when_asked_for_and_only_where_that_is_shorter() {
    let write = |size: usize| format!("head -c {size} /dev/zero | tr '\\0' x");
    for (flags, size, compressed) in [
        (&["-compress_termination_message"][..], 20_000, true),
        (&["-compress_termination_message=true"], 1000, true),
        (&["-compress_termination_message"], 0, false),
        (&["-compress_termination_message=false"], 1000, false),
        (&[], 1000, false),
    ] {
        let step = Step::new();
        let file = step.path("status/results/s").display().to_string();
        let ended =
            step.flags(["-step_results", "s"]).flags(flags.iter().copied()).sh(&format!("{} >{file}", write(size)));
        assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
        let message = ended.message.unwrap();
        assert_eq!(message.starts_with("tknz:"), compressed, "{flags:?} {size}: {message}");
        assert_eq!(message.contains(r#""type":4"#), !compressed, "{flags:?} {size}: {message}");
        assert!(message.len() < 1200 && !message.contains('='), "{message}");
    }
}

#[test]
fn a_message_above_the_share_of_its_pod_is_warned_of_and_written() {
    let Some(step) = in_tekton() else { return };
    let script = "for i in 0 1 2 3; do ln -s x /tekton/steps/$i; ln -s x /tekton/steps/step-$i; done
                  head -c 2000 /dev/zero | tr '\\0' x >/tekton/results/r";
    fs::create_dir(step.path("tekton/steps")).unwrap();
    let ended = step.flags(["-results", "r"]).sh(script);
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
    assert!(ended.message.is_some_and(|message| message.contains(r#""type":1"#)));
    let log = lines(&ended.stderr);
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].starts_with("WARN The termination message has 2"), "{log:?}");
    assert!(
        log[0].contains("2048, the share of each of the pod's 6 containers (4 steps and 2 init containers)"),
        "{log:?}"
    );
}

#[test]
fn how_many_containers_share_the_room_may_be_said() {
    for (containers, warned) in [("3", false), ("7", true)] {
        let step = Step::new();
        let file = step.path("status/results/s").display().to_string();
        let flags = ["-step_results", "s", "-termination_containers", containers];
        let ended = step.flags(flags).sh(&format!("head -c 2000 /dev/zero | tr '\\0' x >{file}"));
        assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
        assert_eq!(ended.stderr.contains("7 containers (as -termination_containers says)"), warned, "{ended:#?}");
    }
}

#[test]
fn a_death_by_signal_is_told_as_128_and_its_number_only_when_asked_for() {
    let signal = internal("entrypoint/signal", "SIGKILL");
    let line = "The step's process was killed by SIGKILL";
    let ended = Step::new().flags(["-signal_exit_code"]).sh("kill -9 $$");
    assert_left(&ended, 137, false, None, std::slice::from_ref(&signal));
    assert_eq!(lines(&ended.stderr), [line]);

    let ended = Step::new().flags(["-signal_exit_code", "-on_error", "continue"]).sh("kill -9 $$");
    assert_left(&ended, 0, true, Some("137"), &[internal("ExitCode", "137"), signal]);
    assert_eq!(lines(&ended.stderr), [line]);

    let ended = Step::new().flags(["-signal_exit_code=false"]).sh("kill -9 $$");
    assert_left(&ended, 255, false, None, &[]);
    let ended = Step::new().flags(["-signal_exit_code"]).sh("exit 137");
    assert_left(&ended, 137, false, None, &[]);
}
