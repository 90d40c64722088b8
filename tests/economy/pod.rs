//! Which pod a step is in decides what it must still show: by its service account's token, by kubelet's mount, by what
//! its own status reports.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::kube_api::{Cluster, KubeApi, uid};
use crate::server::Server;
use crate::skip;
use crate::step::Step;
use crate::world::World;

/// A cluster with the pod of the tokens, whose container `step-build` asks for the image and runs this.
fn cluster(world: &World, registry: &Server, image_id: &str) -> KubeApi {
    let image = format!("{}/team/tool@{}", registry.host(), world.index);
    Cluster::new()
        .service_account("ci", "builder", &[])
        .allow("ci/builder", "serviceaccounts", &["builder"])
        .pod("ci", "taskrun-pod", &[])
        .allow("ci/builder", "pods", &["taskrun-pod"])
        .container("ci", "taskrun-pod", "step-build", &image, (&image, image_id))
        .start()
}

/// A token for another pod of the same service account. Nobody accepts it.
fn token_of(uid: &str) -> String {
    let claims = json!({
        "sub": "system:serviceaccount:ci:builder",
        "kubernetes.io": {
            "namespace": "ci",
            "pod": {"name": "another-pod", "uid": uid},
            "serviceaccount": {"name": "builder", "uid": "x"},
        },
    });
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.unsigned", part(json!({"alg": "none"}).to_string()), part(claims.to_string()))
}

/// A step of the image by its digest, with the files of a service account.
fn step(world: &World, registry: &Server, api: &KubeApi, token: Option<&str>) -> Step {
    let account = world.path("account");
    fs::create_dir_all(&account).unwrap();
    api.mount(&account, "ci", "builder");
    if let Some(token) = token {
        fs::write(account.join("token"), token).unwrap();
    }
    let step = world.step(registry, &world.index).flags(["-service_account_dir", account.to_str().unwrap()]);
    api.env().iter().fold(step, |step, (name, value)| step.env(name, value))
}

#[track_caller]
fn runs(step: Step, registry: &Server, expected: &[&str]) {
    let before = registry.requests().len();
    let ended = step.run(&["--"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "from the image\n"), "{ended:#?}");
    let asked = registry.lines().split_off(before);
    let fits = |(line, expected): (&String, &&str)| line.starts_with(expected);
    assert!(asked.len() == expected.len() && asked.iter().zip(expected).all(fits), "{asked:#?} {ended:#?}");
}

const WHOLE: [&str; 3] = ["GET /v2/team/tool/manifests/", "GET /v2/team/tool/manifests/", "GET /v2/team/tool/blobs/"];
const HEAD: [&str; 1] = ["HEAD /v2/team/tool/manifests/"];

#[test]
fn by_the_token_a_step_knows_what_its_own_pod_has_fetched() {
    let world = World::new();
    let registry = world.serve();
    // What runs is known to nobody here.
    let api = cluster(&world, &registry, "");
    let other = token_of("11111111-0000-4000-8000-000000000000");
    let step = |token| step(&world, &registry, &api, token).flags(["-image_pin", "registry"]);
    runs(step(None), &registry, &WHOLE);
    runs(step(None), &registry, &[]);
    runs(step(Some(&other)), &registry, &HEAD);
    // It has not written it, and shows it each time.
    runs(step(Some(&other)), &registry, &HEAD);
    runs(step(Some("no token")), &registry, &HEAD);
    runs(step(None), &registry, &[]);
}

#[test]
fn what_the_pods_own_status_reports_for_the_repository_need_not_be_shown() {
    let world = World::new();
    let registry = world.serve();
    let other = token_of("11111111-0000-4000-8000-000000000000");
    let named = |repository: &str| format!("{}/{repository}@{}", registry.host(), world.index);
    let [own, elsewhere] = ["team/tool", "team/other"].map(|repository| cluster(&world, &registry, &named(repository)));
    runs(step(&world, &registry, &own, Some(&other)).flags(["-image_pin", "registry"]), &registry, &WHOLE);
    runs(step(&world, &registry, &elsewhere, None), &registry, &HEAD);
    runs(step(&world, &registry, &own, None), &registry, &[]);
    // Who does not go by the pod's word does not read it.
    runs(step(&world, &registry, &own, None).flags(["-image_pin", "registry"]), &registry, &HEAD);
}

#[test]
fn by_kubelets_mount_a_step_without_a_token_knows_what_its_own_pod_has_fetched() {
    let purpose = "the pod by the mount of the termination path";
    if !skip::root(purpose) || !skip::programs(purpose, &[("unshare", "util-linux"), ("mount", "mount")]) {
        return;
    }
    let world = World::new();
    let registry = world.serve();
    let mounted = |pod: &str| {
        let step = world.step(&registry, &world.index);
        let kubelets = step.path("kubelet/pods").join(pod).join("containers/step-build/5d1e2f3a");
        fs::create_dir_all(kubelets.parent().unwrap()).unwrap();
        let over = step.path("termination");
        [&kubelets, &over].into_iter().for_each(|path| fs::write(path, "").unwrap());
        let mount = r#"mount --bind "$0" "$1" && shift && exec "$@""#;
        let [kubelets, over] = [&kubelets, &over].map(|path| path.to_str().unwrap().to_owned());
        step.under(&["unshare", "-m", "sh", "-c", mount, &kubelets, &over])
    };
    let own = uid("taskrun-pod");
    runs(mounted(&own), &registry, &WHOLE);
    runs(mounted(&own), &registry, &[]);
    runs(mounted("11111111-0000-4000-8000-000000000000"), &registry, &HEAD);
}
