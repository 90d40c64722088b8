//! Everybody else's registries: who is connected to is known to the last address.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::json;

use super::{PURPOSE, clouds_that_nobody_asks, docker_config, shows, unauthorized, with_every_identity};
use crate::server::Answer;
use crate::skip;
use crate::world::{Run, World};

/// A world in which connections can be seen.
fn world() -> Option<World> {
    if !skip::programs(PURPOSE, &[("strace", "strace")]) {
        return None;
    }
    let world = World::new(PURPOSE)?;
    clouds_that_nobody_asks(&world);
    Some(world)
}

/// Runs to the end, as a pod with every cloud's identity. To whom connections were opened, as `name:port`; somebody
/// without a name by the address.
fn connections(world: &World, run: Run<'_>) -> BTreeSet<String> {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let strace = skip::program("strace").unwrap();
    let under = [strace.to_str().unwrap(), "-f", "-qq", "-e", "trace=connect", "-o", trace.path().to_str().unwrap()];
    with_every_identity(world, run).under(&under).told().found();
    let hosts = fs::read_to_string(world.path("/etc/hosts")).unwrap();
    let names: BTreeMap<&str, &str> = hosts.lines().filter_map(|line| line.split_once(' ')).collect();
    let between = |line: &str, before: &str, behind: &str| {
        let (_, rest) = line.split_once(before)?;
        Some(rest.split_once(behind)?.0.to_owned())
    };
    let trace = fs::read_to_string(trace.path()).unwrap();
    let calls = trace.lines().filter(|line| line.contains("connect("));
    let connection = |line: &str| {
        let address = between(line, "inet_addr(\"", "\")")?;
        let port = between(line, "sin_port=htons(", ")")?;
        Some(format!("{}:{port}", names.get(address.as_str()).unwrap_or(&address.as_str())))
    };
    calls.map(|line| connection(line).unwrap_or_else(|| line.to_owned())).collect()
}

fn set<const N: usize>(connections: [&str; N]) -> BTreeSet<String> {
    connections.map(str::to_owned).into()
}

/// A registry with a token service that gives anybody a token.
fn with_tokens(
    world: &World,
    registry: &'static str,
    service: &'static str,
    auth: &'static str,
    repository: &'static str,
) {
    const TOKEN: &str = "an-anonymous-token/for+everybody";
    world.secret(TOKEN);
    let token = move |request: &crate::server::Request| {
        assert_eq!((request.method.as_str(), request.path()), ("GET", "/token"));
        assert_eq!(request.header("Authorization"), None);
        let scope = format!("repository:{repository}:pull");
        let asked = request.query();
        for (name, value) in [("service", service), ("scope", &scope)] {
            assert!(asked.iter().any(|(own, given)| own == name && given == value), "{name} of {asked:?}");
        }
        Answer::json(json!({"token": TOKEN, "expires_in": 300}).to_string())
    };
    let challenge =
        format!(r#"Bearer realm="https://{auth}/token",service="{service}",scope="repository:{repository}:pull""#);
    let one_place = registry == auth;
    world.registry(registry, move |request| {
        if one_place && request.path() == "/token" {
            return Some(token(request));
        }
        assert!(request.path().starts_with(&format!("/v2/{repository}/")), "{}", request.line());
        match request.header("Authorization") {
            None => Some(unauthorized(&challenge)),
            Some(shown) => {
                assert_eq!(shown, format!("Bearer {TOKEN}"));
                None
            }
        }
    });
    if !one_place {
        world.secure(&[auth], token);
    }
}

#[test]
fn docker_hub_and_its_token_service_are_all_that_is_connected_to() {
    for (image, registry, repository) in [
        ("tool:1", "index.docker.io", "library/tool"),
        ("docker.io/team/tool:1", "index.docker.io", "team/tool"),
        ("registry-1.docker.io/team/tool:1", "registry-1.docker.io", "team/tool"),
    ] {
        let Some(world) = world() else { return };
        with_tokens(&world, registry, "registry.docker.io", "auth.docker.io", repository);
        let connected = connections(&world, world.run(&["resolve", image]));
        assert_eq!(connected, set([&format!("{registry}:443"), "auth.docker.io:443"]), "{image}");
    }
}

#[test]
fn githubs_registry_is_all_that_is_connected_to() {
    let Some(world) = world() else { return };
    with_tokens(&world, "ghcr.io", "ghcr.io", "ghcr.io", "team/tool");
    assert_eq!(connections(&world, world.resolve("ghcr.io")), set(["ghcr.io:443"]));
}

#[test]
fn a_private_registry_is_all_that_is_connected_to() {
    let Some(world) = world() else { return };
    let docker = docker_config(&world, "registry.example", "hunter2-hunter2");
    world.registry("registry.example", |request| {
        (!shows(request, "ann", "hunter2-hunter2")).then(|| unauthorized(r#"Basic realm="private""#))
    });
    let run = world.resolve("registry.example").env("DOCKER_CONFIG", docker);
    assert_eq!(connections(&world, run), set(["registry.example:443"]));
}

#[test]
fn microsofts_public_registry_is_no_registry_of_azures_customers() {
    let Some(world) = world() else { return };
    world.registry("mcr.microsoft.com", |request| {
        assert_eq!(request.header("Authorization"), None);
        None
    });
    assert_eq!(connections(&world, world.resolve("mcr.microsoft.com")), set(["mcr.microsoft.com:443"]));
}
