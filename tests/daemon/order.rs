//! Who is asked, and in which order: `-image_sources`, and a step that waits for its image to be built.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::server::{Answer, Bound, Server};
use super::step::{Step, eventually};
use super::world::{address, asked_for_the_image, command, daemon, digest, failure, image, pong, told};

/// A registry that has nothing.
fn registry_without() -> Server {
    Server::handler(Bound::new(), None, |_| failure(404, "nothing here"))
}

/// `resolve` of `team/tool:1` at a registry, with the daemon's answer to that name.
fn named(registry: &str) -> String {
    let mut image = image();
    image["RepoTags"] = serde_json::json!([format!("{registry}/team/tool:1")]);
    image.to_string()
}

fn daemon_for(registry: &str, answer: Answer) -> Server {
    let path = format!("/v1.41/images/{registry}/team/tool:1/json");
    daemon(vec![
        super::server::on("GET", "/_ping", |_| pong("1.41")),
        super::server::on("GET", path, move |_| answer.clone()),
    ])
}

fn ask(registry: &str, sources: &[&str], docker: &str) -> super::world::Told {
    let image = format!("{registry}/team/tool:1");
    let args: Vec<&str> = ["resolve", &image].into_iter().chain(sources.iter().copied()).collect();
    told(&mut command(&args, &[("DOCKER_HOST", docker)]))
}

#[test]
fn the_next_source_is_asked_only_when_this_one_has_not_got_the_image() {
    let registry = registry_without();
    let server = daemon_for(&registry.host(), Answer::json(named(&registry.host())));
    let story = ask(&registry.host(), &["-image_sources", "registry,docker"], &address(&server)).story();
    assert!(story.contains(&format!("Found in    the Docker daemon at {}", address(&server))), "{story}");
    assert!(story.contains(&format!("  registry {}: the registry {}", registry.host(), registry.host())), "{story}");
    assert!(!registry.requests().is_empty());
    server.finish();

    // The daemon first: the registry is not asked.
    let registry = Server::scripted(Bound::new(), None, Vec::new());
    let server = daemon_for(&registry.host(), Answer::json(named(&registry.host())));
    ask(&registry.host(), &["-image_sources", "docker,registry"], &address(&server)).story();
    server.finish();
    registry.finish();

    // The registry alone, whatever DOCKER_HOST says.
    let registry = registry_without();
    let server = Server::scripted(Bound::new(), None, Vec::new());
    ask(&registry.host(), &[], &address(&server)).sentence();
    ask(&registry.host(), &["-image_sources", "docker", "-source", "registry"], &address(&server)).sentence();
    server.finish();
}

#[test]
fn a_failure_names_every_source_that_was_asked() {
    let registry = registry_without();
    for (sources, first, second) in
        [("registry,docker", "registry ", "; Docker daemon: "), ("docker,registry", "Docker daemon: ", "; registry ")]
    {
        let server = daemon_for(&registry.host(), failure(404, "No such image"));
        let told = ask(&registry.host(), &["-image_sources", sources], &address(&server)).sentence();
        let image = format!("{}/team/tool:1", registry.host());
        let begin = format!("cannot look up the command of image {image}: {first}");
        assert!(told.contains(&begin) && told.contains(second), "{told}");
        assert!(
            told.contains(&format!("the daemon at {} does not have the image {image}", address(&server))),
            "{told}"
        );
        server.finish();
    }
}

#[test]
fn a_step_runs_the_image_that_was_built_into_the_daemon_while_it_waited() {
    let built = Arc::new(AtomicBool::new(false));
    let server = {
        let built = Arc::clone(&built);
        Server::handler(Bound::new(), None, move |request| match request.path() {
            "/_ping" => pong("1.41"),
            "/v1.41/images/localhost/built:1/json" if built.load(Ordering::SeqCst) => {
                let mut image = image();
                image["RepoTags"] = serde_json::json!(["localhost/built:1"]);
                image["Config"] = serde_json::json!({"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo built into it"]});
                Answer::json(image.to_string())
            }
            "/v1.41/images/localhost/built:1/json" => failure(404, "No such image: localhost/built:1"),
            other => panic!("{other}"),
        })
    };
    let step = Step::new().env("DOCKER_HOST", &address(&server));
    let earlier = step.path("earlier");
    let step = step.flags(["-wait_file", &earlier.display().to_string()]);
    let child = step.start(&["-image", "localhost/built:1", "-image_sources", "docker"]);
    eventually("the daemon is asked before the image is built", || server.lines().len() >= 2);
    built.store(true, Ordering::SeqCst);
    std::fs::write(&earlier, "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.stdout.as_str(), ended.post), (0, "built into it\n", true), "{ended:#?}");
}

#[test]
fn run_image_becomes_what_the_daemon_s_image_runs() {
    let mut own = image();
    own["Config"] = serde_json::json!({"Entrypoint": ["/bin/echo"], "Cmd": ["unused"]});
    own["RepoDigests"] = serde_json::json!([format!("team/tool@{}", digest('b'))]);
    let server = daemon(asked_for_the_image(Answer::json(own.to_string())));
    let args = ["run-image", "team/tool:1", "-image_sources=docker", "--", "a", "b"];
    let told = told(&mut command(&args, &[("DOCKER_HOST", &address(&server))]));
    assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (Some(0), "a b\n", ""));
    server.finish();
}
