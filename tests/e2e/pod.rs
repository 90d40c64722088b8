//! Pods of real containers in which a step runs what a private image's config says: by a docker config, by the pull
//! secrets of a cluster, and by `run-image` under a controller that knows nothing of it.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::kube_api::{Cluster, KubeApi, token};
use crate::registry::{PASSWORD, USER};
use crate::taskrun::{FAILED, HELD, OURS, SUCCEEDED, Step, TaskRun, files, parts, runs_still, step_name, with_image};
use crate::world::World;

const ACCOUNT: (&str, &str) = ("account", "/var/run/secrets/kubernetes.io/serviceaccount");
const MANIFEST: &str = "GET /v2/ci/app/manifests/1 ";
const BLOB: &str = "GET /v2/ci/app/blobs/sha256:";
/// What a lookup asks the API server.
const CALLS: [&str; 3] = [
    "GET /api/v1/namespaces/ci/pods/taskrun-pod",
    "GET /api/v1/namespaces/ci/serviceaccounts/builder",
    "GET /api/v1/namespaces/ci/secrets/regcred",
];

/// Starts a cluster in which `ci/builder` may get the pull secret `regcred`, and writes what kubelet mounts for it.
fn start(cluster: Cluster, world: &World) -> KubeApi {
    let api = cluster
        .pull_secret("ci", "regcred", world.host(), USER, PASSWORD)
        .allow("ci/builder", "secrets", &["regcred"])
        .allow("ci/builder", "serviceaccounts", &["builder"])
        .start();
    fs::create_dir(world.path(ACCOUNT.0)).expect("a directory");
    api.mount(&world.path(ACCOUNT.0), "ci", "builder");
    api
}

#[test]
fn a_pod_runs_its_steps_in_order_and_one_of_them_runs_what_a_private_image_says() {
    let Some((podman, world)) = parts("a pod of real containers") else { return };
    let ours = podman.inspect_image(OURS);
    assert_eq!(
        (&ours["Config"]["User"], &ours["Config"]["Entrypoint"]),
        (&json!("65532:65532"), &json!(["/ko-app/entrypoint"]))
    );

    let task = TaskRun {
        steps: vec![Step::script(HELD), Step::looked_up(&world), Step::script("echo failing; exit 3")],
        mounts: vec![("docker", "/docker")],
        env: vec![("DOCKER_CONFIG".to_owned(), "/docker".to_owned())],
        world: &world,
    };
    let requests_before = world.registry.requests().len();
    let pod = task.start(&podman);
    // step-a ends only when it is let go, and that happens only after the registry has answered step-b: the lookup was
    // done while the step waited.
    world.registry.wait_for_answer(requests_before, MANIFEST);
    world.registry.wait_for_answer(requests_before, BLOB);
    assert!(runs_still(&pod, 0) && runs_still(&pod, 1), "step-a runs, step-b waits");
    task.let_go();

    let codes = pod.wait();
    let logs = task.logs(&pod);
    assert_eq!(codes.into_values().collect::<Vec<_>>(), [0, 0, 3], "{logs:#?}");
    assert_eq!(logs, ["held\nlet go\n", "app: --greet world\n", "failing\n"]);

    assert_eq!(files(&pod, "run-0"), SUCCEEDED);
    assert_eq!(files(&pod, "run-1"), with_image(&SUCCEEDED));
    assert_eq!(files(&pod, "run-2"), FAILED);
    for run in ["e2e-run-0", "e2e-run-1"] {
        assert_eq!(fs::read_to_string(pod.volume(run).join("status/exitCode")).expect("exitCode"), "0");
        assert_eq!(fs::read_to_string(pod.volume(run).join("out")).expect("the post file"), "");
    }
    assert_eq!(task.message(0), ["StartedAt"]);
    // The result is written by the looked-up step, and every step from then on reports it.
    assert_eq!(task.message(1), ["greeting=--greet world", "StartedAt"]);
    assert_eq!(task.message(2), ["greeting=--greet world", "StartedAt"]);
    let links = pod.volume("e2e-steps");
    for index in 0..3 {
        for link in [step_name(index), index.to_string()] {
            let target = fs::read_link(links.join(link)).expect("a link");
            assert_eq!(target, Path::new(&format!("/tekton/run/{index}/status")));
        }
    }
    task.keeps_secrets(&pod, &[]);
}

#[test]
fn the_service_account_s_pull_secret_opens_the_registry_while_the_step_waits() {
    let Some((podman, world)) = parts("a pod with a pull secret of its cluster") else { return };
    let api = start(Cluster::new().service_account("ci", "builder", &["regcred"]), &world);
    let task = TaskRun {
        steps: vec![Step::script(HELD), Step::looked_up(&world)],
        mounts: vec![ACCOUNT],
        env: api.env().into(),
        world: &world,
    };
    let requests_before = world.registry.requests().len();
    let pod = task.start(&podman);
    world.registry.wait_for_answer(requests_before, MANIFEST);
    world.registry.wait_for_answer(requests_before, BLOB);
    assert!(runs_still(&pod, 0) && runs_still(&pod, 1), "step-a runs, step-b waits");
    task.let_go();

    let codes = pod.wait();
    let logs = task.logs(&pod);
    assert_eq!(codes.into_values().collect::<Vec<_>>(), [0, 0], "{logs:#?}");
    assert_eq!(logs, ["held\nlet go\n", "app: --greet world\n"]);
    // One lookup, in which the pod itself may not be read.
    assert_eq!(api.lines(), CALLS);
    assert_eq!(files(&pod, "run-0"), SUCCEEDED);
    assert_eq!(files(&pod, "run-1"), with_image(&SUCCEEDED));
    assert_eq!(task.message(0), ["StartedAt"]);
    assert_eq!(task.message(1), ["greeting=--greet world", "StartedAt"]);
    task.keeps_secrets(&pod, &[token("ci", "builder")]);
}

#[test]
fn run_image_runs_what_a_private_image_says_under_a_controller_that_knows_nothing_of_it() {
    let Some((podman, world)) = parts("run-image in a pod") else { return };
    let cluster = Cluster::new().service_account("ci", "builder", &[]).pod("ci", "taskrun-pod", &["regcred"]);
    let api = start(cluster.allow("ci/builder", "pods", &["taskrun-pod"]), &world);
    let task = TaskRun {
        steps: vec![
            Step::script(HELD),
            Step::run_image(&world, &["from", "the", "step"]),
            Step::run_image(&world, &["fail", "with", "7"]),
        ],
        mounts: vec![ACCOUNT],
        env: api.env().into(),
        world: &world,
    };
    let pod = task.start(&podman);
    assert!(runs_still(&pod, 0) && runs_still(&pod, 1) && runs_still(&pod, 2), "step-a runs, the others wait");
    assert_eq!(api.lines(), [""; 0], "nobody is asked before the step's turn: to Tekton, run-image is the step");
    task.let_go();

    let codes = pod.wait();
    let logs = task.logs(&pod);
    assert_eq!(codes.into_values().collect::<Vec<_>>(), [0, 0, 7], "{logs:#?}");
    assert_eq!(logs, ["held\nlet go\n", "app: --greet from the step\n", "app: --greet fail with 7\n"]);
    assert_eq!(api.lines(), [CALLS, CALLS].concat());
    assert_eq!(files(&pod, "run-0"), SUCCEEDED);
    assert_eq!(files(&pod, "run-1"), SUCCEEDED);
    assert_eq!(files(&pod, "run-2"), FAILED);
    assert_eq!(task.message(1), ["greeting=--greet from the step", "StartedAt"]);
    assert_eq!(task.message(2), ["greeting=--greet fail with 7", "StartedAt"]);
    task.keeps_secrets(&pod, &[token("ci", "builder")]);
}
