//! Sources one after the other, of which one has the tag and another what the runtime runs.

use serde_json::json;

use crate::oci::architecture;
use crate::server::{Answer, Bound, Request, Server};
use crate::world::{Content, Image, World, ran_silently, ran_with_warning, says};

/// A Docker daemon that has this image under the tag.
fn daemon(world: &World, image: &Image, name: &str) -> Server {
    let document = json!({
        "Id": image.config, "RepoTags": [world.tagged()], "RepoDigests": [world.named(&image.index)], "Os": "linux",
        "Architecture": architecture(), "Size": 7, "Config": {"Entrypoint": ["/bin/echo", name]},
    })
    .to_string();
    Server::handler(Bound::new(), None, move |request: &Request| match request.path() {
        "/_ping" => Answer::new(200).header("Api-Version", "1.41").header("Content-Type", "text/plain").body("OK"),
        _ => Answer::json(document.clone()),
    })
}

fn run(world: &World, daemon: &Server, running: &str, flags: &[&str]) -> crate::step::Ended {
    let api = world.pod(running);
    world.step(&api).env("DOCKER_HOST", &format!("tcp://{}", daemon.host())).flags(flags.iter().copied()).run(&["--"])
}

#[test]
fn a_tag_that_has_moved_in_the_registry_does_not_hide_what_runs_from_the_daemon_that_has_it() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).lacks(format!("manifests/{}", old.index)));
    let docker = daemon(&world, &old, "old");
    let ended = run(&world, &docker, &world.named(&old.index), &["-image_sources", "registry,docker"]);
    ran_silently(&ended, &old);
    assert_eq!(world.asked(&registry)[..2], ["manifests/v1", "manifests/<old index>"]);
    says(&ended, &json!({"command": {"from": "daemon", "pinnedBy": "pod-status"}}));
}

#[test]
fn a_daemon_with_another_image_of_the_name_does_not_hide_what_runs_from_the_registry() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new));
    let docker = daemon(&world, &old, "old");
    let flags = ["-image_sources", "docker,registry", "-image_pin", "pod-status"];
    let ended = run(&world, &docker, &world.named(&new.index), &flags);
    ran_silently(&ended, &new);
    says(&ended, &json!({"match": "same", "command": {"from": "registry", "pinnedBy": "pod-status"}}));
}

#[test]
fn where_no_source_has_what_runs_the_first_is_used_with_a_warning() {
    let (mut world, old, new) = World::of_two();
    let gone = world.image("gone");
    let _registry = world.serve(Content::tagged(&new).lacks(format!("manifests/{}", gone.index)));
    let docker = daemon(&world, &old, "old");
    let ended = run(&world, &docker, &world.named(&gone.index), &["-image_sources", "registry,docker"]);
    ran_with_warning(&ended, &new, &[&gone.index, " does not have in team/tool: 404"]);
    says(&ended, &json!({"command": {"from": "registry", "pinnedBy": "registry"}}));
}
