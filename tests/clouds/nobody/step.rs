//! A step whose lookup fails: what it leaves for others to read holds no secret, whoever repeats one.

use std::fs;

use super::{AGENTS, ECR, PURPOSE, SERVICES, docker_config, with_every_identity};
use crate::server::{Answer, Request};
use crate::world::World;

/// Somebody who refuses, and repeats everything that he was shown.
fn repeats(request: &Request) -> Answer {
    let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let body = String::from_utf8_lossy(&request.body);
    let said = format!("refused: {} [{}] {body} {:?}", request.line(), headers.join(", "), request.form());
    let body = serde_json::json!({
        "error": "invalid_request",
        "error_description": said,
        "message": said,
        "errors": [{"code": "DENIED", "message": said}],
    });
    Answer::json(body.to_string()).with_status(400)
}

#[test]
fn a_step_whose_lookup_fails_leaves_a_message_without_a_secret() {
    for (registry, cloud) in
        [("eu.gcr.io", "Google "), (ECR, "Amazon "), ("public.ecr.aws", "Amazon "), ("team.azurecr.io", "Azure ")]
    {
        let Some(world) = World::new(PURPOSE) else { return };
        for agent in AGENTS {
            world.plain(agent, repeats);
        }
        for service in SERVICES {
            world.secure(&[service], repeats);
        }
        let docker = docker_config(&world, registry, "hunter2-hunter2/hunter2+hunter2");
        world.registry(registry, |request| Some(repeats(request).with_status(403)));
        fs::create_dir_all(world.path("/tekton/run/0/status")).unwrap();
        let image = format!("{registry}/team/tool:1");
        let step = world.run(&[
            "-termination_path=/tekton/termination",
            "-post_file=/tekton/run/0/out",
            "-step_metadata_dir=/tekton/run/0/status",
            "-image",
            &image,
            "--",
            "argument",
        ]);
        let told = with_every_identity(&world, step).env("DOCKER_CONFIG", docker).told();
        assert_eq!(told.code, Some(1), "{told:#?}");
        let message = fs::read_to_string(world.path("/tekton/termination")).unwrap();
        for text in [&told.stderr, &message] {
            let start = format!("cannot look up the command of image {image}: ");
            assert!(text.contains(&start) && text.contains("docker config /docker/config.json"), "{text}");
        }
        assert!(told.stderr.contains(cloud), "{}", told.stderr);
        assert!(world.path("/tekton/run/0/out.err").exists(), "the next step is released");
    }
}

#[test]
fn no_test_of_the_clouds_runs_the_program_but_by_the_world() {
    let mut sources = vec![crate::skip::repository().join("tests/clouds")];
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            sources.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let (own, run) = (["skip::entry", "point("].concat(), ["CARGO_", "BIN_EXE"].concat());
        let runs = [own, run].iter().any(|word| text.contains(word.as_str()));
        assert_eq!(runs, path.ends_with("clouds/world.rs"), "{}: World::run looks for secrets", path.display());
    }
}
