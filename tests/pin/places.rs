//! Places that stand for the image's registry: they are asked until one has what the runtime runs.

use serde_json::json;

use crate::kube_api::KubeApi;
use crate::server::Server;
use crate::step::Ended;
use crate::world::{Content, Image, World, failed, ran_silently, ran_with_warning, says, verdict};

/// A step whose image is asked for at a place first, and then at its own registry.
fn run(world: &World, api: &KubeApi, place: &Server, flags: &[&str]) -> Ended {
    let map = format!("{}={}", world.host, place.host());
    let certificate = format!("{}={}", place.host(), world.ca().display());
    let flags = [&["-image_registry_map", &map, "-image_registry_certificate", &certificate], flags].concat();
    world.run(api, &flags)
}

fn of_three() -> (World, Image, Image, Image) {
    let (mut world, old, new) = World::of_two();
    let older = world.image("older");
    (world, older, old, new)
}

#[test]
fn a_place_with_an_older_tag_and_without_the_image_leaves_it_to_the_next() {
    let (world, older, _, new) = of_three();
    let place = world.serve_elsewhere(Content::tagged(&older).lacks(format!("manifests/{}", new.index)));
    let own = world.serve(Content::tagged(&new));
    let api = world.pod(&world.named(&new.index));
    let ended = run(&world, &api, &place, &[]);
    ran_silently(&ended, &new);
    assert_eq!(world.asked(&place)[..2], ["manifests/v1", "manifests/<new index>"]);
    assert_eq!(world.asked(&own), ["manifests/v1", "manifests/<new manifest>", "blobs/<new config>"]);
    says(&ended, &verdict("same", Some("index"), "pod-status"));
    says(&ended, &json!({"command": {"from": "registry", "registry": world.host}, "leadsTo": {"digest": new.index}}));
}

#[test]
fn a_place_with_the_image_under_its_digest_is_where_it_is_taken_from() {
    let (world, older, old, _) = of_three();
    let place = world.serve_elsewhere(Content::tagged(&older).image(&old));
    let own = world.serve(Content::default());
    let api = world.pod(&world.named(&old.index));
    let ended = run(&world, &api, &place, &[]);
    ran_silently(&ended, &old);
    assert_eq!(
        world.asked(&place),
        ["manifests/v1", "manifests/<old index>", "manifests/<old manifest>", "blobs/<old config>"]
    );
    assert_eq!(own.lines(), [""; 0], "nobody else is asked");
    says(
        &ended,
        &json!({"command": {"from": "mirror", "image": format!("{}/team/tool:v1", place.host()), "pinnedBy": "pod-status"}}),
    );
}

#[test]
fn a_place_without_the_tag_that_has_the_digest_is_enough() {
    let (world, _, old, _) = of_three();
    let place = world.serve_elsewhere(Content::default().image(&old).lacks("manifests/v1"));
    let _own = world.serve(Content::default());
    let api = world.pod(&world.named(&old.index));
    ran_silently(&run(&world, &api, &place, &[]), &old);
}

#[test]
fn where_no_place_has_the_image_the_first_answer_is_used_with_a_warning() {
    for strict in [false, true] {
        let (world, older, old, new) = of_three();
        let gone = format!("manifests/{}", old.index);
        let place = world.serve_elsewhere(Content::tagged(&older).lacks(gone.clone()));
        let own = world.serve(Content::tagged(&new).lacks(gone));
        let api = world.pod(&world.named(&old.index));
        let ended = run(&world, &api, &place, if strict { &["-image_pin_strict"] } else { &[] });
        match strict {
            true => failed(&ended, &[&old.index, &place.host(), &world.host]),
            false => {
                ran_with_warning(&ended, &older, &[&old.index]);
                says(&ended, &json!({"command": {"from": "mirror", "pinnedBy": "registry"}}));
            }
        }
        for server in [&place, &own] {
            assert_eq!(world.asked(server)[..2], ["manifests/v1", "manifests/<old index>"]);
        }
    }
}

#[test]
fn a_place_that_is_dead_leaves_the_pinned_image_to_the_next() {
    let (world, _, old, new) = of_three();
    let mut place = world.serve_elsewhere(Content::default());
    place.stop();
    let own = world.serve(Content::tagged(&new).image(&old));
    let api = world.pod(&world.named(&old.index));
    let ended = run(&world, &api, &place, &[]);
    ran_silently(&ended, &old);
    assert_eq!(world.asked(&own).len(), 4);
}
