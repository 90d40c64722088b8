//! The other ways to the same lookup: `run-image`, `resolve`, and what is no way at all.

use std::process::Command;

use serde_json::{Value, json};

use crate::kube_api::Late;
use crate::step::Step;
use crate::world::{Content, World, reads, unreadable};

/// Exit code, stdout, stderr.
fn told(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), stdout, stderr)
}

#[test]
fn run_image_becomes_the_image_that_kubelet_reports() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).image(&old));
    let api = world.pod(&world.named(&old.index));
    let ran = told(world.command(&api, "run-image", &["-image_container", "step-build"]));
    assert_eq!(ran, (Some(0), "old\n".to_owned(), String::new()));
    assert_eq!((registry.lines().len(), reads(&api)), (4, 1));
}

#[test]
fn run_image_warns_where_the_pods_word_was_asked_for_and_is_not_to_be_had() {
    let mut world = World::new();
    let new = world.image("new");
    let _registry = world.serve(Content::tagged(&new));
    let api = unreadable().start();
    let silent = told(world.command(&api, "run-image", &[]));
    assert_eq!(silent, (Some(0), "new\n".to_owned(), String::new()));
    let (code, stdout, stderr) = told(world.command(&api, "run-image", &["-image_pin=pod-status"]));
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(0), "new\n", 1), "{stderr}");
    assert!(stderr.contains("a Role with get on pods is needed"), "{stderr}");
    let (code, stdout, stderr) = told(world.command(&api, "run-image", &["-image_pin_strict"]));
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
    let parts = ["cannot look up the command of image ", "a Role with get on pods is needed"];
    assert!(parts.iter().all(|part| stderr.contains(part)), "{stderr}");
}

#[test]
fn run_image_warns_where_it_becomes_another_image_than_the_container_s() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).lacks(format!("manifests/{}", old.index)));
    let api = world.pod(&world.named(&old.index));
    let (code, stdout, stderr) = told(world.command(&api, "run-image", &[]));
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(0), "new\n", 1), "{stderr}");
    assert!(stderr.contains(" WARN ") && stderr.contains(&old.index) && stderr.contains("404"), "{stderr}");
}

#[test]
fn run_image_waits_for_a_late_status_only_where_it_is_strict() {
    for strict in [false, true] {
        let (world, old, new) = World::of_two();
        let _registry = world.serve(Content::tagged(&new).image(&old));
        let api = world.cluster(&world.named(&old.index)).late("ci", "taskrun-pod", Late::Answers(1)).start();
        let flags = if strict { &["-image_pin_strict"][..] } else { &[] };
        let expected = if strict { "old\n" } else { "new\n" };
        let ran = told(world.command(&api, "run-image", flags));
        assert_eq!(ran, (Some(0), expected.to_owned(), String::new()));
        assert_eq!(reads(&api), if strict { 2 } else { 1 });
    }
}

/// The story of `resolve`.
fn story(world: &World, api: &crate::kube_api::KubeApi, flags: &[&str]) -> Value {
    let (code, stdout, stderr) = told(world.command(api, "resolve", &[&["-o", "json"], flags].concat()));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
}

#[test]
fn resolve_goes_by_the_registry_and_by_the_pod_where_it_is_told_to() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let api = world.pod(&world.named(&old.index));
    let digests = |image: &crate::world::Image| json!({"index": image.index, "manifest": image.manifest, "config": image.config, "repository": null});
    let by_registry = story(&world, &api, &["-image_container", "step-build"]);
    assert_eq!(by_registry["digests"], digests(&new), "{by_registry:#}");
    assert_eq!([&by_registry["runtime"], &by_registry["match"]], [&Value::Null; 2], "nobody asked: {by_registry:#}");
    let by_pod = story(&world, &api, &["-image_pin", "pod-status", "-image_container", "step-build"]);
    assert_eq!(by_pod["digests"], digests(&old), "{by_pod:#}");
    assert_eq!(by_pod["command"], json!(["/bin/echo", "old"]), "{by_pod:#}");
    let of_runtime = json!({"container": "step-build", "image": world.tagged(), "imageID": world.named(&old.index)});
    assert_eq!(by_pod["runtime"], of_runtime);
    let words = ["match", "compared", "pinned_by"].map(|name| by_pod[name].as_str().unwrap_or_default());
    assert_eq!(words, ["moved", "index", "pod-status"], "{by_pod:#}");
    assert_eq!(by_pod["leads_to"], json!({"kind": "index", "digest": new.index}));
    assert_eq!([&by_pod["runtime_unread"], &by_pod["not_followed"]], [&Value::Null; 2]);
    let asked: Vec<&str> = by_pod["requests"].as_array().unwrap().iter().filter_map(|it| it["what"].as_str()).collect();
    assert_eq!(asked, ["pod", "service account", "manifest", "manifest", "manifest", "config"]);
}

#[test]
fn resolve_is_never_in_the_container_that_it_is_told_of() {
    // It runs in a debug pod, mostly: no mount of its own says which container is meant.
    let mut world = World::new();
    let new = world.image("new");
    let _registry = world.serve(Content::tagged(&new));
    let api = world.pod(&world.named(&new.index));
    let flags = ["-image_pin_strict", "-image_container", "step-x"];
    let (code, _, stderr) = told(world.command(&api, "resolve", &flags));
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("the pod has no such container (it has step-build)"), "{stderr}");
}

#[test]
fn the_registrys_word_alone_and_the_pods_alone_exclude_each_other() {
    let ended = Step::new().flags(["-image", "busybox", "-image_pin=registry", "-image_pin_strict"]).run(&["--"]);
    assert_eq!((ended.code(), ended.err, ended.post), (2, true, false), "{ended:#?}");
    assert!(ended.stderr.contains("-image_pin=registry and -image_pin_strict exclude each other"), "{ended:#?}");
    assert_eq!(ended.image, None);
}
