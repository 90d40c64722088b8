//! A pod of real containers, made as Tekton makes it: our image prepares, three steps hand on to each other, the second
//! runs what a private image's config says, the third fails.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::podman::{Pod, Podman};
use crate::registry::{PASSWORD, Registry};
use crate::tls::Authority;
use crate::{images, skip};

const PURPOSE: &str = "a pod of real containers";
const OURS: &str = "localhost/entrypoint:e2e";
const BUSYBOX: &str = "localhost/busybox:e2e";
const STEPS: [&str; 3] = ["step-a", "step-b", "step-c"];

/// Waits until somebody lets it go, so that the order of events is the test's to decide.
const HELD: &str = "echo held; until [ -e /gate/open ]; do /bin/busybox sleep 0.05; done; echo let go";

/// The manifest of the pod. `dir` holds what kubelet or a person would provide: termination files, the gate, the pull
/// secret, the authority.
fn manifest(dir: &Path, host: &str) -> Value {
    let private = format!("{host}/private/app:1");
    let volumes = volumes(dir);
    let steps: Vec<Value> = STEPS
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let (image, command): (&str, Vec<String>) = match index {
                0 => (BUSYBOX, words(&["-entrypoint", "/bin/sh", "--", "-c", HELD])),
                1 => {
                    let certificate = format!("{host}=/trust/authority.pem");
                    let lookup = ["-image", &private, "-image_registry_certificate", &certificate, "--"];
                    (&private, words(&lookup))
                }
                _ => (BUSYBOX, words(&["-entrypoint", "/bin/sh", "--", "-c", "echo failing; exit 3"])),
            };
            step(index, name, image, &command)
        })
        .collect();
    let init = ["/ko-app/entrypoint", "init", "/ko-app/entrypoint", "/tekton/bin/entrypoint"];
    let init = [&init[..], &STEPS].concat();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "e2e"},
        "spec": {
            "hostNetwork": true, "restartPolicy": "Never", "volumes": volumes,
            "initContainers": [{
                "name": "prepare", "image": OURS, "imagePullPolicy": "Never", "workingDir": "/",
                "command": init,
                "volumeMounts": [mount("bin", "/tekton/bin", false), mount("steps", "/tekton/steps", false)],
            }],
            "containers": steps,
        },
    })
}

fn volumes(dir: &Path) -> Vec<Value> {
    let empty = ["bin", "steps", "results", "run-0", "run-1", "run-2"];
    let empty = empty.iter().map(|name| json!({"name": format!("e2e-{name}"), "emptyDir": {}}));
    let host = |name: &str, kind: &str| json!({"name": format!("e2e-{name}"), "hostPath": {"path": dir.join(name), "type": kind}});
    let files = (0..STEPS.len()).map(|index| host(&format!("termination-{index}"), "File"));
    empty.chain(files).chain(["gate", "docker", "trust"].map(|name| host(name, "Directory"))).collect()
}

/// A step's container, with the flags in Tekton's order.
fn step(index: usize, name: &str, image: &str, command: &[String]) -> Value {
    let mut arguments = Vec::new();
    if let Some(previous) = index.checked_sub(1) {
        arguments.extend(["-wait_file".to_owned(), format!("/tekton/run/{previous}/out")]);
    }
    arguments.extend(["-post_file".to_owned(), format!("/tekton/run/{index}/out")]);
    arguments.extend(words(&["-termination_path", "/tekton/termination", "-step_metadata_dir"]));
    arguments.extend([format!("/tekton/run/{index}/status"), "-results".to_owned(), "greeting".to_owned()]);
    arguments.extend_from_slice(command);
    let mut mounts = vec![
        mount("bin", "/tekton/bin", true),
        mount("steps", "/tekton/steps", true),
        mount("results", "/tekton/results", false),
        mount(&format!("termination-{index}"), "/tekton/termination", false),
        mount("gate", "/gate", true),
        mount("docker", "/docker", true),
        mount("trust", "/trust", true),
    ];
    mounts
        .extend((0..STEPS.len()).map(|run| mount(&format!("run-{run}"), &format!("/tekton/run/{run}"), run != index)));
    json!({
        "name": name, "image": image, "imagePullPolicy": "Never",
        "command": ["/tekton/bin/entrypoint"], "args": arguments,
        "env": [{"name": "DOCKER_CONFIG", "value": "/docker"}], "volumeMounts": mounts,
    })
}

fn mount(volume: &str, path: &str, read_only: bool) -> Value {
    json!({"name": format!("e2e-{volume}"), "mountPath": path, "readOnly": read_only})
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The images of the pod, the private one also in the registry, and what the pod's host provides.
fn prepare(dir: &Path, podman: &Podman, registry: &Registry, busybox: &Path) {
    let layout = images::layout(&dir.join("layout"), busybox);
    registry.push(layout.dir(), "app", "private/app:1");
    podman.load(layout.dir(), "app", &format!("{}/private/app:1", registry.host()));
    podman.load(layout.dir(), "app", BUSYBOX);

    // The last stage of the Dockerfile that is shipped, with the program under test in the place of a compiler's.
    let build = dir.join("build");
    fs::create_dir_all(build.join("out")).expect("a directory");
    fs::copy(skip::entrypoint(), build.join("out/entrypoint")).expect("the program");
    let context = format!("build={}", build.display());
    let dockerfile = skip::repository().join("Dockerfile").display().to_string();
    let options = ["--target", "release", "--build-context", &context, "--file", &dockerfile];
    podman.build(&build, &options, OURS);

    for name in ["gate", "trust"] {
        fs::create_dir(dir.join(name)).expect("a directory");
    }
    fs::copy(dir.join("authority.pem"), dir.join("trust/authority.pem")).expect("the authority");
    images::docker_config(&dir.join("docker"), &[registry.host()], PASSWORD);
    for index in 0..STEPS.len() {
        fs::write(dir.join(format!("termination-{index}")), "").expect("a termination file");
    }
}

/// The entries of a termination message, as `key=value`, without the time of `StartedAt`.
fn message(dir: &Path, index: usize) -> Vec<String> {
    let written = fs::read_to_string(dir.join(format!("termination-{index}"))).expect("the message");
    let entries: Vec<Value> = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let show = |entry: &Value| match text(&entry["key"]) {
        key if key == "StartedAt" => key,
        key => format!("{key}={}", text(&entry["value"])),
    };
    entries.iter().map(show).collect()
}

/// What is in a volume: names below it, sorted; a directory's with a slash.
fn files(pod: &Pod, volume: &str) -> Vec<String> {
    fn walk(dir: &Path, below: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("the volume is there").map(|entry| entry.expect("an entry")) {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                found.push(format!("{name}/"));
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(&pod.volume(&format!("e2e-{volume}")), "", &mut found);
    found.sort();
    found
}

#[test]
fn a_pod_runs_its_steps_in_order_and_one_of_them_runs_what_a_private_image_says() {
    let Some(busybox) = skip::busybox() else { return skip::skip(&format!("{PURPOSE}: needs a static busybox")) };
    let Some(podman) = Podman::new(PURPOSE, &busybox) else { return };
    if !Registry::available(PURPOSE) {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let registry = Registry::start(dir, &images::certificates(dir, &Authority::new("the tests' authority")));
    prepare(dir, &podman, &registry, &busybox);
    let ours = podman.inspect_image(OURS);
    assert_eq!(
        (&ours["Config"]["User"], &ours["Config"]["Entrypoint"]),
        (&json!("65532:65532"), &json!(["/ko-app/entrypoint"]))
    );

    let requests_before = registry.requests().len();
    let pod = podman.play(&manifest(dir, registry.host()));
    // step-a ends only when it is let go, and that happens only after the registry has answered step-b: the lookup was
    // done while the step waited.
    registry.wait_for_answer(requests_before, "GET /v2/private/app/manifests/1 ");
    registry.wait_for_answer(requests_before, "GET /v2/private/app/blobs/sha256:");
    assert!(files(&pod, "run-0").iter().all(|name| !name.starts_with("out")), "step-a runs still");
    assert!(files(&pod, "run-1").iter().all(|name| !name.starts_with("out")), "step-b waits still");
    fs::write(dir.join("gate/open"), "").expect("the gate");

    let codes = pod.wait();
    let logs: Vec<String> = STEPS.iter().map(|name| pod.log(name)).collect();
    assert_eq!(codes.into_values().collect::<Vec<_>>(), [0, 0, 3], "{logs:#?}");
    assert_eq!(logs, ["held\nlet go\n", "app: --greet world\n", "failing\n"]);

    let status = ["status/", "status/artifacts/", "status/exitCode", "status/results/"];
    assert_eq!(files(&pod, "run-0"), [&["out"], &status[..]].concat());
    assert_eq!(files(&pod, "run-1"), [&["out"], &status[..]].concat());
    assert_eq!(files(&pod, "run-2"), ["out.err", "status/", "status/artifacts/", "status/results/"]);
    for run in ["e2e-run-0", "e2e-run-1"] {
        assert_eq!(fs::read_to_string(pod.volume(run).join("status/exitCode")).expect("exitCode"), "0");
        assert_eq!(fs::read_to_string(pod.volume(run).join("out")).expect("the post file"), "");
    }
    assert_eq!(message(dir, 0), ["StartedAt"]);
    // The result is written by the looked-up step, and every step from then on reports it.
    assert_eq!(message(dir, 1), ["greeting=--greet world", "StartedAt"]);
    assert_eq!(message(dir, 2), ["greeting=--greet world", "StartedAt"]);
    let links = pod.volume("e2e-steps");
    for (index, name) in STEPS.iter().enumerate() {
        for link in [(*name).to_owned(), index.to_string()] {
            let target = fs::read_link(links.join(link)).expect("a link");
            assert_eq!(target, Path::new(&format!("/tekton/run/{index}/status")));
        }
    }
}
