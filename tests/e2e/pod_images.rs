//! Pods whose images were pulled from the registry: with one static program, with a user of its own on a read-only root, with
//! CMD alone, with neither; and what the program does in a pod beside being a step's wrapper.

use std::fs;

use serde_json::json;

use crate::pod_failures::fails;
use crate::taskrun::{
    OURS, SUCCEEDED, Step, TaskRun, annotate, certificate, files, parts_with, private, runs_still, with_image,
};
use crate::world::World;

/// The pull secret, as a Task mounts it: a docker config.
const DOCKER: (&str, &str) = ("docker", "/docker");

fn docker_config() -> (String, String) {
    ("DOCKER_CONFIG".to_owned(), DOCKER.1.to_owned())
}

/// The files that a plain Pod mounts: the authority and the pull secret.
fn mounted(world: &World) -> (serde_json::Value, serde_json::Value) {
    let volume = |name: &str| json!({"name": format!("e2e-{name}"), "hostPath": {"path": world.path(name), "type": "Directory"}});
    let mount = |name: &str, path: &str| json!({"name": format!("e2e-{name}"), "mountPath": path, "readOnly": true});
    (json!([volume("trust"), volume("docker")]), json!([mount("trust", "/trust"), mount("docker", DOCKER.1)]))
}

#[test]
fn no_step_runs_before_the_pod_is_ready_and_then_one_after_the_other_each_what_its_own_image_says() {
    let Some((podman, world)) = parts_with("a pod of many images", &["scratch", "user", "by-cmd", "app"]) else {
        return;
    };
    let read_only = json!({"securityContext": {"readOnlyRootFilesystem": true}});
    let task = TaskRun {
        steps: vec![
            Step::looked_up_as(&world, "scratch").when_ready(),
            Step::looked_up_as(&world, "user").contained(read_only),
            Step::looked_up_as(&world, "by-cmd"),
            Step::looked_up_as(&world, "app"),
        ],
        mounts: vec![DOCKER],
        env: vec![docker_config()],
        world: &world,
    };
    let pod = task.start(&podman);
    // All four have looked up what they would run, and none runs: the file is there, and empty.
    for name in ["scratch", "user", "by-cmd", "app"] {
        world.registry.wait_for_answer(0, &format!("GET /v2/ci/{name}/blobs/sha256:"));
    }
    assert!((0..4).all(|index| runs_still(&pod, index)), "nobody runs before the pod is ready");
    annotate(&world, &[("ready", "READY")]);

    let codes = pod.wait();
    let logs = task.logs(&pod);
    assert_eq!(codes.into_values().collect::<Vec<_>>(), [0, 0, 0, 0], "{logs:#?}");
    assert_eq!(logs, ["from scratch\n", "uid 1234\nread-only\n", "by CMD\n", "app: --greet world\n"]);
    let started: Vec<String> = (0..4).map(|index| task.started_at(index)).collect();
    assert!(started.is_sorted(), "{started:?}");
    for index in 0..3 {
        assert_eq!(files(&pod, &format!("run-{index}")), with_image(&SUCCEEDED));
    }
    task.keeps_secrets(&pod, &[]);
}

#[test]
fn in_a_pod_an_image_with_neither_entrypoint_nor_cmd_fails_its_step_and_releases_the_next() {
    let Some((podman, world)) = parts_with("a pod with an image without a command", &["nothing"]) else { return };
    let sentence = fails(&podman, &world, Step::looked_up_as(&world, "nothing"), || ());
    assert!(sentence.contains("ENTRYPOINT") && sentence.contains("CMD"), "{sentence}");
}

#[test]
fn steps_of_one_image_that_share_a_cache_fetch_its_documents_once() {
    let Some((podman, world)) = parts_with("a pod with a cache", &["app"]) else { return };
    let step = || Step::looked_up(&world).with(&["-image_cache_dir", "/shared/images"]);
    let task = TaskRun {
        steps: vec![Step::script("echo first"), step(), step(), step()],
        mounts: vec![DOCKER],
        env: vec![docker_config()],
        world: &world,
    };
    let before = world.registry.requests().len();
    let pod = task.start(&podman);
    let codes = pod.wait();
    let logs = task.logs(&pod);
    assert_eq!(codes.into_values().collect::<Vec<_>>(), [0, 0, 0, 0], "{logs:#?}");
    assert_eq!(logs[1..], ["app: --greet world\n"; 3]);
    let requests = world.registry.requests().split_off(before);
    let found = |wanted: &str| requests.iter().filter(|line| line.contains(wanted) && line.contains("\" 200 ")).count();
    assert_eq!(found("GET /v2/ci/app/blobs/sha256:"), 1, "{requests:#?}");
    assert_eq!(found("GET /v2/ci/app/manifests/"), 1, "{requests:#?}");
    assert!(pod.volume("e2e-shared").join("images/oci-layout").exists());
    task.keeps_secrets(&pod, &[]);
}

#[test]
fn run_image_as_the_command_of_a_plain_pod_becomes_what_the_private_image_says() {
    let Some((podman, world)) = parts_with("run-image in a plain pod", &["app"]) else { return };
    let (mut volumes, mut mounts) = mounted(&world);
    volumes.as_array_mut().expect("a list").push(json!({"name": "e2e-tools", "emptyDir": {}}));
    let tools = json!({"name": "e2e-tools", "mountPath": "/tools"});
    mounts.as_array_mut().expect("a list").push(tools.clone());
    let image = private(&world, "app");
    let command = ["/tools/entrypoint", "run-image", &image, "-image_registry_certificate", &certificate(&world), "--"];
    let pod = podman.play(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "e2e"},
        "spec": {
            "hostNetwork": true, "restartPolicy": "Never", "volumes": volumes,
            "initContainers": [{
                "name": "tools", "image": OURS, "imagePullPolicy": "Never", "volumeMounts": [tools],
                "command": ["/ko-app/entrypoint", "cp", "/ko-app/entrypoint", "/tools/entrypoint"],
            }],
            "containers": [{
                "name": "app", "image": image, "imagePullPolicy": "Never", "volumeMounts": mounts,
                "command": command, "args": ["please", "fail", "with", "7"],
                "env": [{"name": "DOCKER_CONFIG", "value": DOCKER.1}],
            }],
        },
    }));
    let code = pod.wait()["app"];
    assert_eq!((code, pod.log("app").as_str()), (7, "app: --greet please fail with 7\n"));
}

#[test]
fn resolve_answers_from_our_own_image_as_nobody_on_a_read_only_root() {
    let Some((podman, world)) = parts_with("resolve from the image", &["app"]) else { return };
    let (volumes, mounts) = mounted(&world);
    let image = private(&world, "app");
    let arguments =
        ["resolve", &image, "-image_registry_certificate", &certificate(&world), "-o", "json", "--", "loudly"];
    let pod = podman.play(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "e2e"},
        "spec": {
            "hostNetwork": true, "restartPolicy": "Never", "volumes": volumes,
            "containers": [{
                "name": "resolve", "image": OURS, "imagePullPolicy": "Never", "volumeMounts": mounts, "args": arguments,
                "env": [{"name": "DOCKER_CONFIG", "value": DOCKER.1}],
                "securityContext": {
                    "runAsUser": 65532, "runAsNonRoot": true, "readOnlyRootFilesystem": true,
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }));
    let code = pod.wait()["resolve"];
    let log = pod.log("resolve");
    assert_eq!(code, 0, "{log}");
    let told: serde_json::Value = serde_json::from_str(&log).expect("one object and nothing else");
    assert_eq!(told["command"], json!(["/opt/app", "--greet", "loudly"]));
    assert_eq!(told["credential"], json!(format!("docker config /docker/config.json, key {:?}", world.host())));
    let written = world.path("written");
    fs::create_dir(&written).expect("a directory");
    fs::write(written.join("log"), &log).expect("a file");
    crate::world::nowhere(&world.secrets(), [], &[&written]);
}
