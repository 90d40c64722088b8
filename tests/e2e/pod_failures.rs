//! Pods of real containers in which a lookup fails: what the step leaves, and that the next one is released.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::podman::Podman;
use crate::taskrun::{FAILED, Step, TaskRun, files, parts, with_image};
use crate::world::World;

/// Plays a step whose lookup fails, and one behind it: exit code 1, `.err`, a message with its reason, one sentence, which
/// is returned; the step behind it is skipped; and no secret stands anywhere.
fn fails(podman: &Podman, world: &World, step: Step, happens: impl FnOnce()) -> String {
    let task = TaskRun {
        steps: vec![step, Step::script("echo must not run")],
        mounts: vec![("docker", "/docker")],
        env: vec![("DOCKER_CONFIG".to_owned(), "/docker".to_owned())],
        world,
    };
    let pod = task.start(podman);
    happens();
    let codes = pod.wait();
    let logs = task.logs(&pod);
    assert_eq!(codes.into_values().collect::<Vec<_>>(), [1, 1], "{logs:#?}");
    let [sentence] = logs[0].lines().collect::<Vec<_>>()[..] else { panic!("one sentence: {logs:#?}") };
    assert!(sentence.contains(" cannot look up the command of image "), "{sentence}");
    let message = task.message(0);
    assert_eq!(message[..2], ["StartedAt", "Reason=ImageLookupFailed"]);
    let told = message[2].strip_prefix("entrypoint/error=").expect("the sentence");
    assert!(sentence.contains(told.trim_end_matches("...")), "{sentence} {told}");
    assert_eq!((files(&pod, "run-0"), files(&pod, "run-1")), (with_image(&FAILED), FAILED.map(str::to_owned).into()));
    assert_eq!(task.message(1), ["StartedAt", "Reason=Skipped"]);
    assert!(logs[1].ends_with(" Skipping step because a previous step failed\n"), "{logs:#?}");
    task.keeps_secrets(&pod, &[]);
    sentence.to_owned()
}

#[test]
fn in_a_pod_a_wrong_password_fails_the_step() {
    let Some((podman, world)) = parts("a pod with a wrong password") else { return };
    world.forget_password();
    let sentence = fails(&podman, &world, Step::looked_up(&world), || ());
    assert!(sentence.contains("401") && sentence.contains("docker config /docker/config.json"), "{sentence}");
}

#[test]
fn in_a_pod_a_registry_that_is_stopped_fails_the_step() {
    let Some((podman, mut world)) = parts("a pod without its registry") else { return };
    world.registry.stop();
    let sentence = fails(&podman, &world, Step::looked_up(&world), || ());
    assert!(sentence.contains("connection refused"), "{sentence}");
}

#[test]
fn in_a_pod_a_lookup_that_is_killed_fails_the_step() {
    let Some((podman, world)) = parts("a pod whose lookup is killed") else { return };
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("its address").to_string();
    let sentence = fails(&podman, &world, Step::looked_up_at(&host), || {
        // It has connected, so it is in the middle of its work.
        let connection = silent.accept().expect("the lookup");
        let status = Command::new("kill").args(["-9", &lookup_of(&host).to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
        drop(connection);
    });
    assert!(sentence.contains("killed by SIGKILL"), "{sentence}");
}

/// The process that looks up at this place: the one whose parent has the same command line, because it was forked.
fn lookup_of(host: &str) -> i32 {
    let command_line = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let parent = |pid: i32| -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    let processes =
        fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes
        .filter(|pid| command_line(*pid).contains(&format!("{host}/ci/app:1")))
        .find(|pid| parent(*pid).is_some_and(|parent| command_line(parent) == command_line(*pid)))
        .expect("the lookup's process")
}
