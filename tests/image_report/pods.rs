//! What a step in a pod leaves of its image: what kubelet reports of its container, beside what the registry says, and the
//! warning where the command is not that of the image which runs.

use serde_json::{Value, json};

use super::kube_api::{Cluster, KubeApi};
use super::steps::{Left, World, run, says};

const CONTAINER: &str = "step-tool";

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// A cluster in which kubelet reports this `imageID` of the step's container, if `ci/builder` may read its pod.
fn cluster(world: &World, id: &str, may_read: bool) -> KubeApi {
    let asked = world.name("team/tool:v1");
    let cluster = Cluster::new()
        .service_account("ci", "builder", &[])
        .allow("ci/builder", "serviceaccounts", &["builder"])
        .pod("ci", "taskrun-pod", &[])
        .container("ci", "taskrun-pod", CONTAINER, &asked, (&asked, id));
    if may_read { cluster.allow("ci/builder", "pods", &["taskrun-pod"]).start() } else { cluster.start() }
}

fn run_in(world: &World, api: &KubeApi, flags: &[&str]) -> Left {
    let account = world.dir.path().join("account");
    std::fs::create_dir_all(&account).unwrap();
    api.mount(&account, "ci", "builder");
    let account = account.display().to_string();
    let own = ["-service_account_dir", &account, "-image_container", CONTAINER, "-image_report_result", "image"];
    let step = world.step("team/tool:v1", &own).flags(flags.iter().copied());
    run(api.env().iter().fold(step, |step, (name, value)| step.env(name, value)), "exit 0")
}

fn id(world: &World, digest: &str) -> String {
    format!("{}@{digest}", world.name("team/tool"))
}

#[test]
fn what_kubelet_reports_is_told_verbatim_and_compared_with_where_the_name_leads() {
    let world = World::new();
    let leads_to = json!({"kind": "index", "digest": world.index["digest"]});
    for (reported, verdict, compared, manifest) in [
        (&world.index, "same", "index", &world.image),
        (&world.image, "same", "manifest", &world.image),
        (&world.old, "moved", "manifest", &world.old),
    ] {
        let id = id(&world, digest(reported));
        let left = run_in(&world, &cluster(&world, &id, true), &[]);
        left.ended(0, 0);
        let runtime = json!({"container": CONTAINER, "image": world.name("team/tool:v1"), "imageID": id});
        let command = json!({"from": "registry", "registry": world.registry.host(), "pinnedBy": "pod-status"});
        let document = left.image();
        says(&document, &json!({"runtime": runtime, "match": verdict, "compared": compared, "leadsTo": leads_to}));
        says(&document, &json!({"command": command, "notes": []}));
        assert_eq!(document["digests"]["manifest"], manifest["digest"], "{document:#}");
    }
}

#[test]
fn an_image_that_runs_and_cannot_be_looked_up_is_warned_of_once() {
    let world = World::new();
    let id = id(&world, &format!("sha256:{}", "0".repeat(64)));
    let left = run_in(&world, &cluster(&world, &id, true), &[]);
    left.ended(0, 1);
    let said = format!(
        " WARN The command of image {} is not taken from what the container runs: ",
        world.name("team/tool:v1")
    );
    assert!(left.stderr.contains(&said) && left.stderr.contains(&id), "{}", left.stderr);
    let instead =
        format!("; used instead: what {} has under that name now, {}; ", world.registry.host(), digest(&world.image));
    assert!(left.stderr.contains(&instead), "{}", left.stderr);
    let document = left.image();
    says(&document, &json!({"match": "moved"}));
    assert_eq!(document["command"]["pinnedBy"], "registry");
    assert_eq!(document["notes"].as_array().unwrap().len(), 1, "{document:#}");

    let left = run_in(&world, &cluster(&world, &id, true), &["-image_pin_strict"]);
    assert!(left.stderr.contains("-image_pin_strict takes nothing but"), "{}", left.stderr);
    says(&left.image(), &json!({"match": "unknown", "command": null}));
    assert_eq!(left.image()["runtime"]["imageID"], id);
}

#[test]
fn a_status_that_may_not_be_read_is_told_and_warned_of_only_where_it_was_asked_for() {
    let world = World::new();
    let api = cluster(&world, &id(&world, digest(&world.index)), false);
    for (flags, lines) in [(&[][..], 0), (&["-image_pin", "pod-status"], 1), (&["-image_pin", "registry"], 0)] {
        let left = run_in(&world, &api, flags);
        left.ended(0, lines);
        let document = left.image();
        says(&document, &json!({"runtime": null, "match": "unknown"}));
        assert_eq!(document["command"]["pinnedBy"], "registry");
        let warned = left.stderr.contains("a Role with get on pods is needed; used instead: what ");
        assert_eq!(warned, lines == 1, "{}", left.stderr);
        let asked = !flags.contains(&"registry");
        assert_eq!(document["notes"].to_string().contains("a Role with get on pods"), asked, "{document:#}");
    }
}

#[test]
fn a_status_that_comes_too_late_is_told_with_an_empty_image_id() {
    let world = World::new();
    let api = cluster(&world, "", true);
    for (flags, lines) in [(&[][..], 0), (&["-image_pin", "pod-status"], 1)] {
        let left = run_in(&world, &api, flags);
        left.ended(0, lines);
        let document = left.image();
        assert_eq!(document["runtime"]["imageID"], "", "{document:#}");
        says(&document, &json!({"match": "unknown", "because": "the runtime had not said yet what it runs"}));
    }
}

#[test]
fn a_command_that_a_cache_had_is_told_as_the_caches() {
    let world = World::new();
    let api = cluster(&world, &id(&world, digest(&world.index)), true);
    let cache = world.dir.path().join("cache");
    std::fs::create_dir(&cache).unwrap();
    let directory = cache.display().to_string();
    for from in ["registry", "cache"] {
        let left = run_in(&world, &api, &["-image_cache_dir", &directory]);
        left.ended(0, 0);
        let document = left.image();
        assert_eq!(document["command"]["from"], from, "{document:#}");
        if from == "cache" {
            let command = json!({"from": "cache", "directory": directory, "pinnedBy": "pod-status"});
            says(&document, &json!({"command": command}));
        }
    }
}
