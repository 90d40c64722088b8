//! Every form of an `imageID`: what agrees with the tag's answer costs no request more than a lookup without pinning.

use serde_json::json;

use crate::world::{Content, Image, World, failed, ran_silently, ran_with_warning, reads, report, says, verdict};

/// What a lookup asks for that follows a tag to the image of this machine.
const AS_EVER: [&str; 3] = ["manifests/v1", "manifests/<new manifest>", "blobs/<new config>"];

/// Runs the step of a pod whose status has this identity, in a registry where `v1` leads to the index `new`.
fn agrees(form: impl Fn(&World, &Image) -> String, compared: &str) {
    let mut world = World::new();
    let new = world.image("new");
    let id = form(&world, &new);
    let registry = world.serve(Content::tagged(&new));
    let api = world.pod(&id);
    let ended = world.run(&api, &[]);
    ran_silently(&ended, &new);
    assert_eq!(world.asked(&registry), AS_EVER, "{id}");
    assert_eq!(reads(&api), 1, "{id}");
    says(&ended, &verdict("same", Some(compared), "pod-status"));
    says(
        &ended,
        &json!({
            "requested": {"written": world.tagged(), "reference": world.tagged()},
            "runtime": {"container": "step-build", "image": world.tagged(), "imageID": id},
            "leadsTo": {"kind": "index", "digest": new.index},
            "command": {"from": "registry", "registry": world.host},
            "digests": {"index": new.index, "manifest": new.manifest, "config": new.config},
        }),
    );
}

#[test]
fn the_index_that_the_tag_leads_to_costs_no_further_request() {
    agrees(|world, new| world.named(&new.index), "index");
}

#[test]
fn the_manifest_that_the_platform_would_choose_costs_no_further_request() {
    agrees(|world, new| world.named(&new.manifest), "manifest");
}

#[test]
fn dockers_own_words_before_a_name_change_nothing() {
    agrees(|world, new| format!("docker-pullable://{}", world.named(&new.index)), "index");
}

#[test]
fn the_tag_s_own_config_is_known_by_its_digest_alone() {
    agrees(|_, new| new.config.clone(), "config");
}

#[test]
fn sixty_four_digits_alone_are_the_config_where_they_are_its_digest() {
    agrees(|_, new| new.config.replace("sha256:", ""), "config");
}

#[test]
fn an_id_of_docker_is_the_config_or_the_index_where_it_is_one_of_them() {
    agrees(|_, new| format!("docker://{}", new.config), "config");
    agrees(|_, new| format!("docker://{}", new.index), "index");
    agrees(|_, new| format!("docker://{}", new.manifest), "manifest");
}

#[test]
fn the_tag_s_index_under_the_name_of_another_repository_is_the_same_bytes() {
    agrees(|_, new| format!("mirror.example/hub/tool@{}", new.index), "index");
}

#[test]
fn a_single_manifest_that_the_tag_leads_to_costs_no_further_request() {
    let mut world = World::new();
    let new = world.image("new");
    let registry = world.serve(Content::default().tag(&new.manifest).image(&new));
    let api = world.pod(&world.named(&new.manifest));
    let ended = world.run(&api, &[]);
    ran_silently(&ended, &new);
    assert_eq!(world.asked(&registry), ["manifests/v1", "blobs/<new config>"]);
    says(&ended, &verdict("same", Some("manifest"), "pod-status"));
    says(&ended, &json!({"leadsTo": {"kind": "manifest", "digest": new.manifest}, "digests": {"index": null}}));
}

#[test]
fn another_image_of_the_tags_index_is_fetched_instead_of_the_one_that_would_be_chosen() {
    let (mut world, old, new) = World::of_two();
    // Two for this machine: the runtime has chosen the second.
    let children = [&new.children[0], &old.children[0]].map(Clone::clone);
    let both = world.index("both", &children);
    let registry = world.serve(Content::default().tag(&both).image(&new).image(&old));
    let api = world.pod(&world.named(&old.manifest));
    let ended = world.run(&api, &[]);
    ran_silently(&ended, &old);
    assert_eq!(world.asked(&registry), ["manifests/v1", "manifests/<old manifest>", "blobs/<old config>"]);
    says(&ended, &verdict("same", Some("manifest"), "pod-status"));
    says(&ended, &json!({"digests": {"index": both, "manifest": old.manifest, "config": old.config}}));
}

#[test]
fn a_reference_with_a_digest_says_itself_which_image_it_is() {
    let (world, _, new) = World::of_two();
    let registry = world.serve(Content::default().image(&new));
    let written = world.named(&new.index);
    let api = world.cluster(&written).container("ci", "taskrun-pod", "step-build", &written, (&written, &written));
    let ended = world.run(&api.start(), &["-image", &written]);
    ran_silently(&ended, &new);
    let asked = ["manifests/<new index>", "manifests/<new manifest>", "blobs/<new config>"];
    assert_eq!(world.asked(&registry), asked, "what is written is asked for");
    says(&ended, &json!({"match": "same", "compared": "index", "requested": {"written": written}}));
}

#[test]
fn what_is_no_digest_is_followed_nowhere_and_kept_as_it_is() {
    let long = format!("registry.example/{}@sha256:0", "a/".repeat(4096));
    for id in ["registry.example/team/tool:v1", "\u{1b}[31m\"\\\n", "sha256:abc", "containerd://sha256:0", &long] {
        for pin in [&[][..], &["-image_pin=pod-status"], &["-image_pin_strict"]] {
            let mut world = World::new();
            let new = world.image("new");
            let registry = world.serve(Content::tagged(&new));
            let ended = world.run(&world.pod(id), pin);
            match pin {
                [] => ran_silently(&ended, &new),
                ["-image_pin_strict"] => failed(&ended, &["step-build", "which is not a digest"]),
                _ => ran_with_warning(&ended, &new, &["step-build", "which is not a digest"]),
            }
            assert!(!ended.stderr.contains('\u{1b}') && ended.stderr.len() < 4096, "{}", ended.stderr);
            if pin != ["-image_pin_strict"] {
                assert_eq!(world.asked(&registry), AS_EVER);
                says(&ended, &verdict("unknown", None, "registry"));
            }
            let report = report(&ended);
            let kept = report["runtime"]["imageID"].as_str().unwrap();
            assert!(kept == id || (id.len() > 1024 && kept.len() < 1040), "{kept}");
        }
    }
}
