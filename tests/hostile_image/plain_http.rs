//! A registry over plain http at a private address (docs/adr/0047-plain-http-and-what-is-shown-over-it.md).

use std::process::Command;

use serde_json::json;

use crate::pod::{basic, unauthorized};
use crate::server::Answer;
use crate::skip;
use crate::world::{Run, World};

const REGISTRY: &str = "10.77.0.1:5000";
const PASSWORD: &str = "hunter2-hunter2/in+the-clear";

/// A network in which 10.77.0.1 is this machine's own.
fn world() -> Option<World> {
    let world = World::new("the tests of plain http")?;
    world.inside(|| {
        let mut ip = Command::new(skip::busybox().unwrap());
        assert!(ip.args(["ip", "addr", "add", "10.77.0.1/32", "dev", "lo"]).status().unwrap().success());
    });
    Some(world)
}

/// With a credential for the registry.
fn with_credential(world: &World) -> Run<'_> {
    let config = json!({"auths": {REGISTRY: {"username": "ann", "password": world.secret(PASSWORD)}}});
    world.file("/docker/config.json", &config.to_string());
    world.resolve(REGISTRY).env("DOCKER_CONFIG", "/docker")
}

const WITHHELD: &str = "docker config /docker/config.json, key \"10.77.0.1:5000\": not shown to 10.77.0.1:5000, which speaks \
                        plain http; -image_insecure_registry 10.77.0.1:5000 would allow it";

#[test]
fn an_image_for_everybody_is_found_over_plain_http_at_a_private_address() {
    let Some(world) = world() else { return };
    world.plain(
        REGISTRY,
        world.with_image(|request| {
            assert_eq!(request.header("Authorization"), None);
            None
        }),
    );
    let told = world.resolve(REGISTRY).told();
    assert!(told.found().contains("\nCredential  none was needed\n"), "{told:#?}");
    // A credential for it is kept back.
    let told = with_credential(&world).told();
    let note = "docker config /docker/config.json, key \"10.77.0.1:5000\": not needed by 10.77.0.1:5000";
    assert!(told.found().contains(note), "{told:#?}");
}

#[test]
fn a_credential_is_shown_over_plain_http_only_where_argv_says_so() {
    let Some(world) = world() else { return };
    let opens = basic("ann", PASSWORD);
    world.plain(
        REGISTRY,
        world.with_image(move |request| {
            (request.header("Authorization") != Some(&opens)).then(|| unauthorized(r#"Basic realm="private""#))
        }),
    );
    let said = with_credential(&world).told().failed();
    assert!(said.contains(WITHHELD), "{said}");
    let before = world.asked_of(REGISTRY);
    assert!(!before.is_empty() && before.iter().all(|request| request.header("Authorization").is_none()));
    for flags in
        [["-image_insecure_registry", REGISTRY], ["-image_registry_map", "10.77.0.1:5000=http://10.77.0.1:5000"]]
    {
        let told = with_credential(&world).flags(&flags).told();
        assert!(told.found().contains("\nCredential  docker config /docker/config.json"), "{told:#?}");
    }
}

#[test]
fn a_token_for_nobody_is_had_and_shown_over_plain_http() {
    let Some(world) = world() else { return };
    let challenge = format!(r#"Bearer realm="http://{REGISTRY}/token",service="{REGISTRY}""#);
    world.plain(
        REGISTRY,
        world.with_image(move |request| match (request.path(), request.header("Authorization")) {
            ("/token", shown) => {
                assert_eq!(shown, None, "a token service in plain http is shown nothing");
                Some(Answer::json(json!({"token": "a-token-for-everybody"}).to_string()))
            }
            (_, Some("Bearer a-token-for-everybody")) => None,
            (_, None) => Some(unauthorized(&challenge)),
            (_, Some(other)) => panic!("shown {other}"),
        }),
    );
    let told = world.resolve(REGISTRY).told();
    assert!(told.found().contains("\nCredential  none was needed\n"), "{told:#?}");
    let told = with_credential(&world).told();
    assert!(told.found().contains("not shown to 10.77.0.1:5000, which speaks plain http"), "{told:#?}");
}
