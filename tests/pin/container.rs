//! Which of the pod's containers the step is: another one's image is never run instead.

use std::fs;

use serde_json::json;

use crate::kube_api::{Cluster, KubeApi, uid};
use crate::skip;
use crate::step::Ended;
use crate::world::{
    Content, Image, World, failed, notes_say, ran, ran_silently, ran_with_warning, says, unreadable, verdict,
};

/// A pod of two containers with one image: `step-build` has the old one of that tag still, `step-test` the new one.
fn two(world: &World, old: &Image, new: &Image) -> Cluster {
    let image = world.tagged();
    let named = world.named(&new.index);
    world.cluster(&world.named(&old.index)).container("ci", "taskrun-pod", "step-test", &image, (&image, &named))
}

/// Runs a step whose termination path kubelet would have mounted for a container. The message is in kubelet's file then.
fn mounted(world: &World, api: &KubeApi, pod_uid: &str, container: &str, flags: &[&str]) -> Option<Ended> {
    let purpose = "the container by the mount of the termination path";
    if !skip::root(purpose) || !skip::programs(purpose, &[("unshare", "util-linux"), ("mount", "mount")]) {
        return None;
    }
    let step = world.step(api).flags(flags.iter().copied());
    let kubelets = step.path("kubelet/pods").join(pod_uid).join("containers").join(container).join("5d1e2f3a");
    fs::create_dir_all(kubelets.parent().unwrap()).unwrap();
    fs::write(&kubelets, "").unwrap();
    let over = step.path("termination");
    fs::write(&over, "").unwrap();
    let mount = r#"mount --bind "$0" "$1" && shift && exec "$@""#;
    let [kubelets, over] = [&kubelets, &over].map(|path| path.to_str().unwrap());
    Some(step.under(&["unshare", "-m", "sh", "-c", mount, kubelets, over]).run(&["--"]))
}

#[test]
fn the_container_of_the_flag_is_the_steps() {
    for (name, is_old) in [("step-build", true), ("step-test", false)] {
        let (world, old, new) = World::of_two();
        let registry = world.serve(Content::tagged(&new).image(&old));
        let api = two(&world, &old, &new).start();
        let ended = world.run(&api, &["-image_container", name]);
        ran_silently(&ended, if is_old { &old } else { &new });
        assert_eq!(registry.lines().len(), if is_old { 4 } else { 3 });
        says(&ended, &json!({"runtime": {"container": name}, "command": {"pinnedBy": "pod-status"}}));
    }
}

#[test]
fn the_container_of_kubelets_mount_is_the_steps() {
    for (name, is_old) in [("step-build", true), ("step-test", false)] {
        let (world, old, new) = World::of_two();
        let _registry = world.serve(Content::tagged(&new).image(&old));
        let api = two(&world, &old, &new).start();
        let Some(ended) = mounted(&world, &api, &uid("taskrun-pod"), name, &[]) else { return };
        ran_silently(&ended, if is_old { &old } else { &new });
        says(&ended, &json!({"runtime": {"container": name}, "command": {"pinnedBy": "pod-status"}}));
    }
}

#[test]
fn the_flag_wins_over_the_mount() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let api = two(&world, &old, &new).start();
    let flags = ["-image_container", "step-build"];
    let Some(ended) = mounted(&world, &api, &uid("taskrun-pod"), "step-test", &flags) else { return };
    ran_silently(&ended, &old);
}

#[test]
fn a_mount_of_another_pod_is_not_believed() {
    // The one container that has the image is not taken instead.
    for strict in [false, true] {
        let (world, old, new) = World::of_two();
        let _registry = world.serve(Content::tagged(&new));
        let api = world.pod(&world.named(&old.index));
        let other = "11111111-0000-4000-8000-000000000000";
        let flags: &[&str] = if strict { &["-image_pin_strict"] } else { &["-image_pin=pod-status"] };
        let Some(ended) = mounted(&world, &api, other, "step-build", flags) else { return };
        let parts = [other, &uid("taskrun-pod")];
        match strict {
            true => refused_behind_a_mount(&ended, &parts),
            false => {
                ran_with_warning(&ended, &new, &parts);
                says(&ended, &verdict("unknown", None, "registry"));
                says(&ended, &json!({"runtime": null}));
            }
        }
    }
}

/// As `failed`, of a step whose message is not where the test would read it.
#[track_caller]
fn refused_behind_a_mount(ended: &Ended, parts: &[&str]) {
    assert_eq!((ended.code(), ended.post, ended.err, ended.stdout.as_str()), (1, false, true, ""), "{ended:#?}");
    let last = ended.stderr.lines().last().expect("a line");
    for part in parts.iter().chain(&["cannot look up the command of image "]) {
        assert!(last.contains(part), "no {part:?} in: {last}");
    }
}

#[test]
fn without_a_name_the_one_container_with_the_image_is_the_steps() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let named = world.named(&new.index);
    let api = world
        .cluster(&world.named(&old.index))
        .container("ci", "taskrun-pod", "sidecar", "registry.example/sidecar:1", (&world.tagged(), &named))
        .start();
    let ended = world.run(&api, &[]);
    ran_silently(&ended, &old);
    says(&ended, &json!({"runtime": {"container": "step-build"}}));
}

#[test]
fn of_two_containers_with_one_image_and_no_name_none_is_guessed() {
    let sentence = "-image_container=NAME says it";
    for (flags, warned) in [(&[][..], false), (&["-image_pin=pod-status"], true)] {
        let (world, old, new) = World::of_two();
        let registry = world.serve(Content::tagged(&new));
        let ended = world.run(&two(&world, &old, &new).start(), flags);
        match warned {
            true => ran_with_warning(&ended, &new, &[sentence, "step-build, step-test"]),
            false => ran_silently(&ended, &new),
        }
        assert_eq!(world.asked(&registry), ["manifests/v1", "manifests/<new manifest>", "blobs/<new config>"]);
        says(&ended, &verdict("unknown", None, "registry"));
        says(&ended, &json!({"runtime": null}));
        notes_say(&ended, sentence);
    }
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let ended = world.run(&two(&world, &old, &new).start(), &["-image_pin_strict"]);
    failed(&ended, &[sentence, "step-build, step-test"]);
}

#[test]
fn a_container_that_the_pod_has_not_is_not_mended_by_the_image() {
    let sentence = "-image_container=step-x: the pod has no such container (it has step-build)";
    let run = |flags: &[&str]| {
        let (world, old, new) = World::of_two();
        let _registry = world.serve(Content::tagged(&new).image(&old));
        let api = world.pod(&world.named(&old.index));
        (world.run(&api, &[&["-image_container=step-x"], flags].concat()), new)
    };
    let (ended, new) = run(&[]);
    ran(&ended, &new);
    says(&ended, &verdict("unknown", None, "registry"));
    notes_say(&ended, sentence);
    let (ended, new) = run(&["-image_pin=pod-status"]);
    ran_with_warning(&ended, &new, &[sentence]);
    failed(&run(&["-image_pin_strict"]).0, &[sentence]);
}

#[test]
fn nothing_that_another_pod_of_the_same_name_says_counts() {
    let other = "11111111-0000-4000-8000-000000000000";
    let run = |flags: &[&str]| {
        let (world, old, new) = World::of_two();
        let _registry = world.serve(Content::tagged(&new).image(&old));
        let api = world.cluster(&world.named(&old.index)).pod_uid("ci", "taskrun-pod", other).start();
        (world.run(&api, flags), new)
    };
    let (ended, new) = run(&[]);
    ran_silently(&ended, &new);
    says(&ended, &verdict("unknown", None, "registry"));
    says(&ended, &json!({"runtime": null}));
    notes_say(&ended, other);
    let (ended, new) = run(&["-image_pin=pod-status"]);
    ran_with_warning(&ended, &new, &[other, &uid("taskrun-pod")]);
    failed(&run(&["-image_pin_strict"]).0, &[other, &uid("taskrun-pod")]);
}

#[test]
fn a_container_of_the_initialisation_is_found_by_its_name() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let image = world.tagged();
    let named = world.named(&old.index);
    let api = unreadable()
        .allow("ci/builder", "pods", &["taskrun-pod"])
        .init_container("ci", "taskrun-pod", "prepare", &image, (&image, &named))
        .start();
    let ended = world.run(&api, &["-image_container=prepare"]);
    ran_silently(&ended, &old);
    says(&ended, &json!({"runtime": {"container": "prepare"}}));
}
