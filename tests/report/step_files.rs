//! What the step leaves in files of its own: results of Task and step, artifacts.

use std::fs;
use std::os::unix::fs::symlink;

use entrypoint::outcome::{ChildExit, Outcome};

use super::pod::{Ended, Pod, STARTED_AT, failure, internal, message, no_lines};
use super::{SUCCESS, TOO_LARGE};

fn entry(key: &str, value: &str, kind: u8) -> String {
    format!(r#"{{"key":"{key}","value":"{value}","type":{kind}}}"#)
}

/// The entry of a provenance that stands at this path below the pod.
fn provenance(pod: &Pod, path: &str, value: &str, kind: u8) -> String {
    entry(pod.path(path).to_str().unwrap(), value, kind)
}

const OF_STEP: &str = "run/0/status/artifacts/provenance.json";
const OF_TASK: &str = "artifacts/provenance.json";

#[test]
fn results_stand_before_what_is_internal_and_artifacts_behind_it() {
    let pod = Pod::new()
        .existing(r#"[{"key":"old","value":"1"}]"#)
        .result("b", "2\n")
        .step_result("s", "3")
        .result("a", "1")
        .step_artifacts("{}\n")
        .task_artifacts("{\"outputs\":[]}\n");
    let ended = pod.report(&Outcome::TimedOut);
    assert_eq!(
        ended.message,
        message(&[
            r#"{"key":"old","value":"1"}"#,
            &entry("b", r"2\n", 1),
            &entry("a", "1", 1),
            &entry("s", "3", 4),
            STARTED_AT,
            &internal("Reason", "TimeoutExceeded"),
            &provenance(&pod, OF_STEP, r"{}\n", 5),
            &provenance(&pod, OF_TASK, r#"{\"outputs\":[]}\n"#, 6),
        ])
    );
}

#[test]
fn a_step_result_may_have_the_name_of_a_task_result_and_be_asked_for_twice() {
    let pod = Pod::new().result("r", "task").step_result("r", "step").step_result("r", "step");
    let expected = [&entry("r", "task", 1), &entry("r", "step", 4), &entry("r", "step", 4), STARTED_AT];
    assert_eq!(pod.report(&SUCCESS).message, message(&expected));
}

#[test]
fn files_that_are_missing_are_left_out() {
    let mut pod = Pod::new();
    pod.spec.results.task.push("none".to_owned());
    pod.spec.results.step.push("none".to_owned());
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines, ended.message), (0, no_lines(), message(&[STARTED_AT])));
}

#[test]
fn results_that_somebody_else_takes_from_their_files_are_not_told() {
    let mut pod = Pod::new().result("r", "v").step_result("s", "v").step_artifacts("{}").task_artifacts("{}");
    pod.spec.results.in_message = false;
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines, ended.message), (0, no_lines(), message(&[STARTED_AT])));
}

#[test]
fn results_that_somebody_else_takes_may_be_as_large_as_he_likes() {
    let mut pod = Pod::new().result("r", "x".repeat(5000)).step_result("huge", "");
    let huge = fs::File::options().write(true).open(pod.path("run/0/status/results/huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    pod.spec.results.in_message = false;
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines, ended.post), (0, no_lines(), true));
}

#[test]
fn results_that_somebody_else_takes_must_be_files_all_the_same_and_artifacts_need_not() {
    let mut pod = Pod::new().directory_as_result("r");
    pod.spec.results.in_message = false;
    let ended = pod.report(&SUCCESS);
    let path = pod.path("results/r");
    assert_eq!(
        ended.lines,
        [format!("Result \"r\" cannot be read: {path:?} is a directory, and must be a regular file")]
    );
    assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));

    let mut pod = Pod::new();
    fs::create_dir_all(pod.path(OF_TASK)).unwrap();
    pod.spec.results.in_message = false;
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines, ended.post), (0, no_lines(), true));
}

#[test]
fn a_step_result_that_cannot_be_read_fails_the_step_and_the_task_results_are_told() {
    let mut pod = Pod::new().result("r", "v").step_result("first", "v").step_artifacts("{}");
    let path = pod.path("run/0/status/results/dir");
    fs::create_dir(&path).unwrap();
    pod.spec.results.step.push("dir".to_owned());
    let line = format!("Result \"dir\" cannot be read: {path:?} is a directory, and must be a regular file");
    assert_eq!(
        pod.report(&SUCCESS),
        Ended {
            exit: 1,
            lines: vec![line.clone()],
            message: message(&[&entry("r", "v", 1), STARTED_AT, &failure(&line)]),
            exit_code: None,
            post: false,
            err: true,
        }
    );
}

#[test]
fn artifacts_that_cannot_be_read_fail_the_step_in_tektons_words_and_the_results_are_told() {
    for (path, whose) in [(OF_STEP, "step"), (OF_TASK, "task")] {
        let pod = Pod::new().result("r", "v").step_result("s", "v");
        fs::create_dir_all(pod.path(path)).unwrap();
        let line = format!(
            "Error while handling {whose} artifacts: {:?} is a directory, and must be a regular file",
            pod.path(path)
        );
        let results = [&entry("r", "v", 1), &entry("s", "v", 4), STARTED_AT];
        assert_eq!(
            pod.report(&SUCCESS),
            Ended {
                exit: 1,
                lines: vec![line.clone()],
                message: message(&[&results[..], &[&failure(&line)]].concat()),
                exit_code: None,
                post: false,
                err: true,
            }
        );

        let pod = pod.continuing();
        fs::remove_file(pod.path("termination")).unwrap();
        fs::remove_file(pod.path("run/0/out.err")).unwrap();
        let ended = pod.report(&Outcome::Ran(ChildExit::Code(3)));
        assert_eq!(ended.message, message(&[&results[..], &[&failure(&line)]].concat()));
        assert_eq!((ended.exit, ended.exit_code, ended.post, ended.err), (1, None, false, true));
    }
}

#[test]
fn a_provenance_that_is_a_fifo_is_not_waited_for() {
    let pod = Pod::new().task_artifacts("");
    fs::remove_file(pod.path(OF_TASK)).unwrap();
    nix::unistd::mkfifo(&pod.path(OF_TASK), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let ended = pod.report(&SUCCESS);
    assert!(ended.lines[0].ends_with("is a FIFO, and must be a regular file"), "{:?}", ended.lines);
    assert_eq!((ended.exit, ended.err), (1, true));
}

#[test]
fn everything_that_does_not_fit_is_named_with_its_kind_and_its_size() {
    let pod =
        Pod::new().result("r", "v").step_result("s", "x".repeat(3000)).task_artifacts("y".repeat(2000)).existing("[]");
    let ended = pod.report(&SUCCESS);
    let [details, last] = ended.lines.as_slice() else { panic!("{:?}", ended.lines) };
    let path = pod.path(OF_TASK);
    let provenance = provenance(&pod, OF_TASK, &"y".repeat(2000), 6).len();
    assert!(
        details.ends_with(&format!(
            "bytes: step result \"s\" takes 3031, provenance {:?} takes {provenance}, result \"r\" takes 32; no result is \
             reported",
            path.to_str().unwrap(),
        )),
        "{details}"
    );
    assert_eq!(last, TOO_LARGE);
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("Reason", "ResultsTooLarge")]));
    assert_eq!((ended.exit, ended.exit_code, ended.post, ended.err), (1, None, false, true));
}

#[test]
fn a_provenance_above_one_mebibyte_is_named_and_the_controller_gets_the_reason() {
    let pod = Pod::new().result("r", "v").step_artifacts("");
    fs::File::options().write(true).open(pod.path(OF_STEP)).unwrap().set_len(1 << 40).unwrap();
    let ended = pod.report(&SUCCESS);
    let path = pod.path(OF_STEP);
    assert_eq!(
        ended.lines,
        [
            format!("Error while handling step artifacts: {path:?} has 1099511627776 bytes; no result is reported"),
            TOO_LARGE.to_owned()
        ]
    );
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("Reason", "ResultsTooLarge")]));
    assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
}

#[test]
fn a_result_that_is_a_link_out_of_its_directory_is_followed_as_tekton_does() {
    let mut pod = Pod::new();
    fs::write(pod.path("elsewhere"), "v").unwrap();
    symlink("../elsewhere", pod.path("results/link")).unwrap();
    symlink("nowhere", pod.path("results/dangling")).unwrap();
    pod.spec.results.task.extend(["link".to_owned(), "dangling".to_owned()]);
    assert_eq!(pod.report(&SUCCESS).message, message(&[&entry("link", "v", 1), STARTED_AT]));

    symlink("loop", pod.path("results/loop")).unwrap();
    pod.spec.results.task.push("loop".to_owned());
    let ended = pod.report(&SUCCESS);
    let path = pod.path("results/loop");
    assert_eq!(
        ended.lines,
        [format!("Result \"loop\" cannot be read: opening {path:?}: too many levels of symbolic links")]
    );
    assert_eq!(ended.exit, 1);
}

#[test]
fn every_byte_may_stand_in_a_result() {
    let bytes: Vec<u8> = (0..=255).collect();
    let pod = Pod::new().result("bytes", &bytes).step_artifacts(&bytes);
    let ended = pod.report(&SUCCESS);
    let message: serde_json::Value = serde_json::from_str(ended.message.as_deref().unwrap()).unwrap();
    let ascii: String = (0..128).map(char::from).collect();
    let expected = ascii + &"\u{fffd}".repeat(128);
    assert_eq!((message[0]["value"].as_str(), message[2]["value"].as_str()), (Some(&*expected), Some(&*expected)));
}

#[test]
fn ten_thousand_results_are_read_and_named_in_one_short_line() {
    // Names of one file, because making ten thousand takes a disk its time.
    let mut pod = Pod::new().result("r", "v");
    pod.spec.results.task = (0..10_000).map(|n| format!("{n}/../r")).collect();
    let ended = pod.report(&SUCCESS);
    let [details, last] = ended.lines.as_slice() else { panic!("{:?}", ended.lines) };
    assert!(details.contains("9980 more results take") && details.len() < 1200, "{details}");
    assert_eq!(last, TOO_LARGE);
    assert_eq!((ended.exit, ended.err), (1, true));
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("Reason", "ResultsTooLarge")]));

    // Most of them were never written.
    let mut pod = Pod::new().result("r", "v");
    pod.spec.results.task.extend((0..10_000).map(|n| format!("missing-{n}")));
    pod.spec.results.task.push("r".to_owned());
    let result = entry("r", "v", 1);
    assert_eq!(pod.report(&SUCCESS).message, message(&[&result, &result, STARTED_AT]));
}

#[test]
fn equal_keys_in_the_file_and_equal_members_of_an_entry_are_read_as_go_reads_them() {
    let existing = r#"[{"key":"k","value":"1","key":"l","value":"2","type":1},{"key":"l","value":"3","type":1}]"#;
    let ended = Pod::new().existing(existing).result("l", "4").report(&SUCCESS);
    let expected = [&entry("l", "2", 1), &entry("l", "3", 1), &entry("l", "4", 1), STARTED_AT];
    assert_eq!(ended.message, message(&expected));
}
