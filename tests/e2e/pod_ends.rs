//! Pods of real containers and the ways in which a step ends: what it leaves, and what becomes of the steps behind it.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::podman::{Pod, Podman};
use crate::skip;
use crate::step::eventually;
use crate::taskrun::{FAILED, SUCCEEDED, Step, TaskRun, annotate, files, parts, runs_still};
use crate::world::World;

/// Never ends by itself, and has a child that has left its group and its session.
const ENDLESS: &str = "/bin/busybox setsid /bin/busybox sleep 100000 & echo started; exec /bin/busybox sleep 100000";

/// A task of scripts: what is given by kubelet, and nothing by anybody else.
fn task(world: &World, steps: Vec<Step>) -> TaskRun<'_> {
    TaskRun { world, steps, mounts: Vec::new(), env: Vec::new() }
}

/// The exit codes of all steps, and what they have printed.
fn ended(task: &TaskRun, pod: &Pod) -> (Vec<i32>, Vec<String>) {
    (pod.wait().into_values().collect(), task.logs(pod))
}

fn starts<'p>(task: &TaskRun, podman: &'p Podman, printed: &str) -> Pod<'p> {
    let pod = task.start(podman);
    eventually("the first step runs", || {
        let log = pod.log("step-a");
        if log.contains(printed) { Ok(()) } else { Err(log) }
    });
    pod
}

/// What a skipped step says, in its log and in its message.
fn was_skipped(task: &TaskRun, pod: &Pod, index: usize) {
    assert!(pod.log(&crate::taskrun::step_name(index)).ends_with(" Skipping step because a previous step failed\n"));
    assert_eq!(task.message(index), ["StartedAt", "Reason=Skipped"]);
    assert_eq!(files(pod, &format!("run-{index}")), FAILED);
}

/// The file `exitCode` of a step.
fn exit_code(pod: &Pod, index: usize) -> String {
    fs::read_to_string(pod.volume(&format!("e2e-run-{index}")).join("status/exitCode")).expect("exitCode")
}

#[test]
fn in_a_pod_the_steps_behind_a_failed_one_are_skipped_and_none_waits_for_ever() {
    let Some((podman, world)) = parts("a pod with a step that fails") else { return };
    let never = || Step::script("echo must not run");
    let task = task(&world, vec![Step::script("echo first"), Step::script("echo failing; exit 42"), never(), never()]);
    let pod = task.start(&podman);
    let (codes, logs) = ended(&task, &pod);
    assert_eq!(codes, [0, 42, 1, 1], "{logs:#?}");
    assert_eq!(logs[..2], ["first\n", "failing\n"]);
    assert_eq!(
        (files(&pod, "run-0"), files(&pod, "run-1")),
        (SUCCEEDED.map(str::to_owned).into(), FAILED.map(str::to_owned).into())
    );
    assert_eq!(task.message(1), ["StartedAt"]);
    was_skipped(&task, &pod, 2);
    was_skipped(&task, &pod, 3);
}

#[test]
fn in_a_pod_a_step_that_may_fail_stops_nobody_and_the_next_can_read_its_exit_code() {
    let Some((podman, world)) = parts("a pod with a step that may fail") else { return };
    let next = "read -r code </tekton/steps/step-a/exitCode || :; echo after $code; read -r code </tekton/steps/0/exitCode || :; echo $code";
    let steps = vec![Step::script("exit 6").with(&["-on_error", "continue"]), Step::script(next)];
    let task = task(&world, steps);
    let pod = task.start(&podman);
    let (codes, logs) = ended(&task, &pod);
    assert_eq!((codes, logs), (vec![0, 0], vec![String::new(), "after 6\n6\n".to_owned()]));
    assert_eq!(exit_code(&pod, 0), "6");
    assert_eq!(task.message(0), ["StartedAt", "ExitCode=6"]);
    assert_eq!(
        (files(&pod, "run-0"), files(&pod, "run-1")),
        (SUCCEEDED.map(str::to_owned).into(), SUCCEEDED.map(str::to_owned).into())
    );
}

#[test]
fn in_a_pod_results_stand_in_the_messages_and_in_the_arguments_of_later_steps() {
    let Some((podman, world)) = parts("a pod with results") else { return };
    let writes = "printf %s 4f2a >/tekton/steps/step-a/results/commit; printf %s 'of <all>' >/tekton/results/greeting";
    let mut reads = Step::script("echo \"$0 $1\"");
    reads = reads.then(&["built", "$(steps.a.results.commit)"]);
    let task = task(&world, vec![Step::script(writes).with(&["-step_results", "commit,absent"]), reads]);
    let pod = task.start(&podman);
    let (codes, logs) = ended(&task, &pod);
    assert_eq!((codes, logs), (vec![0, 0], vec![String::new(), "built 4f2a\n".to_owned()]));
    let entries = task.entries(0);
    assert_eq!(entries[0], json!({"key": "greeting", "value": "of <all>", "type": 1}));
    assert_eq!(entries[1], json!({"key": "commit", "value": "4f2a", "type": 4}));
    assert_eq!((&entries[2]["key"], &entries[2]["type"], entries.len()), (&json!("StartedAt"), &json!(3), 3));
    assert_eq!(task.message(1), ["greeting=of <all>", "StartedAt"]);
}

#[test]
fn in_a_pod_a_step_whose_time_is_up_is_killed_and_the_next_is_skipped() {
    let Some((podman, world)) = parts("a pod with a time limit") else { return };
    let task = task(&world, vec![Step::script(ENDLESS).with(&["-timeout", "1s"]), Step::script("echo must not run")]);
    let pod = task.start(&podman);
    let (codes, logs) = ended(&task, &pod);
    assert_eq!(codes, [1, 1], "{logs:#?}");
    assert!(logs[0].starts_with("started\n") && logs[0].contains("context deadline exceeded"), "{logs:#?}");
    assert_eq!(task.message(0), ["StartedAt", "Reason=TimeoutExceeded"]);
    assert_eq!(files(&pod, "run-0"), FAILED);
    was_skipped(&task, &pod, 1);
}

#[test]
fn in_a_pod_the_cancel_file_ends_the_step_that_runs_and_the_ones_that_wait() {
    let Some((podman, world)) = parts("a pod that is cancelled") else { return };
    let task = task(&world, vec![Step::script(ENDLESS).when_ready(), Step::script("echo must not run")]);
    annotate(&world, &[("ready", "READY")]);
    let pod = starts(&task, &podman, "started");
    assert!(runs_still(&pod, 0) && runs_still(&pod, 1), "step-a runs, step-b waits");
    annotate(&world, &[("ready", "READY"), ("cancel", "CANCEL")]);
    let (codes, logs) = ended(&task, &pod);
    assert_eq!(codes, [9, 1], "{logs:#?}");
    assert_eq!(task.message(0), ["StartedAt", "Reason=Cancelled"]);
    assert_eq!(exit_code(&pod, 0), "killed");
    was_skipped(&task, &pod, 1);
}

#[test]
fn a_pod_that_is_stopped_lets_its_step_end_by_itself_and_no_step_is_left_without_a_post_file() {
    let Some((podman, world)) = parts("a pod that is stopped") else { return };
    let tidy = "trap 'echo tidied up; exit 5' TERM; echo started; while :; do /bin/busybox sleep 0.05; done";
    let task = task(&world, vec![Step::script(tidy), Step::script("echo must not run")]);
    let pod = starts(&task, &podman, "started");
    assert!(runs_still(&pod, 1), "step-b waits");
    pod.stop();
    let (codes, logs) = ended(&task, &pod);
    assert!(codes[0] == 5 && logs[0].starts_with("started\ntidied up\n"), "{codes:?} {logs:#?}");
    assert_eq!(
        (files(&pod, "run-0"), files(&pod, "run-1")),
        (FAILED.map(str::to_owned).into(), FAILED.map(str::to_owned).into())
    );
    // Podman asks the containers to end one after the other or at once: the second hears the signal, or that the first failed.
    let reason = if codes[1] == 2 { "Reason=Interrupted" } else { "Reason=Skipped" };
    assert_eq!(task.message(1)[..2], ["StartedAt", reason], "{codes:?} {logs:#?}");
    assert!([1, 2].contains(&codes[1]) && !logs[1].contains("must not run"), "{codes:?} {logs:#?}");
}

#[test]
fn in_a_pod_the_step_behind_a_supervisor_that_was_killed_is_told_by_its_lock_and_does_not_wait_for_ever() {
    let Some((podman, world)) = parts("a pod whose supervisor is killed") else { return };
    let never = || Step::script("echo must not run");
    let task = task(&world, vec![Step::script(ENDLESS), never(), never()]);
    let pod = starts(&task, &podman, "started");
    assert!((0..3).all(|index| runs_still(&pod, index)), "step-a runs, the others wait");
    // As the out-of-memory killer ends a container: its PID 1 at once, and everything else with it.
    let killed = Command::new("kill").args(["-9", &pod.pid("step-a").to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let (codes, logs) = ended(&task, &pod);
    assert_eq!(codes, [137, 1, 1], "{logs:#?}");
    let sentence = "previous step failed: step a (number 0) ended without a report: its entrypoint was killed";
    assert!(logs[1].contains(sentence), "{logs:#?}");
    assert_eq!(fs::read_to_string(world.path("termination-0")).expect("a file"), "", "it had no time to say anything");
    let message = task.message(1);
    assert_eq!(message[..2], ["StartedAt", "Reason=Skipped"]);
    assert!(message[2].starts_with("entrypoint/error=Skipping step because "), "{message:?}");
    assert_eq!(files(&pod, "run-1"), FAILED);
    was_skipped(&task, &pod, 2);
}

#[test]
fn in_a_pod_a_step_that_takes_more_memory_than_its_container_may_fails_and_releases_the_next() {
    let Some((podman, world)) = parts("a pod with a memory limit") else { return };
    let limits = json!({"resources": {"limits": {"memory": "64Mi"}}});
    let greedy = "exec /bin/busybox dd if=/dev/zero of=/dev/null bs=512M count=1";
    let task = task(&world, vec![Step::script(greedy).contained(limits), Step::script("echo must not run")]);
    let pod = task.start(&podman);
    let (codes, logs) = ended(&task, &pod);
    if codes == [0, 0] {
        skip::skip("a step that takes too much memory: no limit of memory is kept here");
        return;
    }
    // The kernel takes the greedy one, and not the supervisor beside it.
    assert!(codes == [255, 1] && !logs[1].contains("must not run"), "{codes:?} {logs:#?}");
    assert_eq!(files(&pod, "run-0"), FAILED);
    was_skipped(&task, &pod, 1);
}
