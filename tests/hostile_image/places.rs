//! Other places than the image's registry: maps and mirrors by variables and files, a runner's variables, a daemon.

use serde_json::json;

use crate::oci::architecture;
use crate::pod::{EVIL, Pod, REGISTRY, found_by_the_pull_secret, nobody, unauthorized};
use crate::server::{Answer, Request};

const RUNNER: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_";

#[test]
fn no_variable_and_no_file_of_the_images_maps_a_registry() {
    let Some(pod) = Pod::new() else { return };
    pod.evil_serves(nobody);
    let toml = format!("[[registry]]\nlocation = \"{REGISTRY}\"\n[[registry.mirror]]\nlocation = \"{EVIL}\"\n");
    for path in ["/etc/containers/registries.conf", "/evil/.config/containers/registries.conf", "/evil/registries.conf"]
    {
        pod.world.file(path, &toml);
    }
    let hosts =
        format!("server = \"https://{EVIL}\"\n[host.\"https://{EVIL}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
    for path in ["/etc/containerd/certs.d/registry.example/hosts.toml", "/etc/docker/certs.d/registry.example/ca.crt"] {
        pod.world.file(path, &hosts);
    }
    pod.world.file("/etc/docker/daemon.json", &json!({"registry-mirrors": [format!("https://{EVIL}")]}).to_string());
    let map = format!("{REGISTRY}={EVIL}");
    let run = pod.resolve().env("HOME", "/evil").envs(&[
        ("KANIKO_REGISTRY_MAP", &map),
        ("KANIKO_REGISTRY_MIRROR", EVIL),
        ("REGISTRY_MAP", &map),
        ("REGISTRY_MIRROR", EVIL),
        ("IMAGE_REGISTRY_MAP", &map),
        ("CONTAINERS_REGISTRIES_CONF", "/evil/registries.conf"),
        ("CONTAINERS_REGISTRIES_CONF_DIR", "/evil"),
        ("DOCKER_AUTH_CONFIG", r#"{"auths": {"registry.example": {"auth": "ZXZpbDpvZi10aGUtaW1hZ2U="}}}"#),
    ]);
    let told = run.told();
    found_by_the_pull_secret(&told);
    assert!(!told.stdout.contains("Found at"), "{}", told.stdout);
}

/// What stands in every variable of a runner: what is called this is asked for at evil's.
fn runner(pulled: &str) -> [(String, String); 8] {
    let (host, port) = pulled.split_once(':').unwrap_or((pulled, "443"));
    let _ = host;
    [
        ("REGISTRY_HOST", EVIL),
        ("REGISTRY_PORT", "5000"),
        ("REGISTRY_NODE_PORT", port),
        ("LOCAL_REGISTRY_HOST", EVIL),
        ("LOCAL_REGISTRY_PORT", "5000"),
        ("LOCAL_REGISTRY_NODE_PORT", port),
        ("K8S_REGISTRY_HOST_PUSH", "evil.example:5000"),
        ("K8S_REGISTRY_HOST_PULL", pulled),
    ]
    .map(|(name, value)| (format!("{RUNNER}{name}"), value.to_owned()))
}

#[test]
fn a_runners_variables_lead_names_on_localhost_elsewhere_and_show_nothing_there() {
    let Some(pod) = Pod::new() else { return };
    pod.evil_listens(5000, |_| unauthorized(r#"Basic realm="private""#));
    let own = pod.world.secret("for-the-nodes-port/of+the-pod");
    let entry = |password: &str| json!({"username": "ann", "password": password});
    let config = json!({"auths": {"localhost:30500": entry(&own), "evil.example:5000": entry(&own)}});
    pod.world.file("/docker/config.json", &config.to_string());
    let variables = runner("localhost:30500");
    let mut run = pod.resolve_at("localhost:30500").env("DOCKER_CONFIG", "/docker");
    for (name, value) in &variables {
        run = run.env(name, value);
    }
    run.told().failed();
    let asked = pod.saw_no_secret("evil.example:5000");
    assert!(!asked.is_empty(), "he is asked");
    assert!(pod.world.asked_of("evil.example:5000").iter().all(|request| request.header("Authorization").is_none()));
}

#[test]
fn a_runners_variables_lead_no_other_name_anywhere() {
    for pulled in [REGISTRY, "registry.example:443"] {
        let Some(pod) = Pod::new() else { return };
        pod.evil_listens(5000, nobody);
        let mut run = pod.resolve();
        for (name, value) in runner(pulled) {
            run = run.env(&name, value);
        }
        found_by_the_pull_secret(&run.told());
    }
}

/// A daemon of the image's own choice.
fn daemon(request: &Request) -> Answer {
    match request.path() {
        "/_ping" => Answer::new(200).header("Api-Version", "1.41").body("OK"),
        _ => Answer::json(
            json!({
                "Id": format!("sha256:{}", "a".repeat(64)), "RepoTags": ["registry.example/team/tool:1"], "RepoDigests": [], "Os": "linux",
                "Architecture": architecture(), "Config": {"Entrypoint": ["/bin/tool"], "Cmd": ["of the image's choice"]},
            })
            .to_string(),
        ),
    }
}

#[test]
fn a_daemon_that_the_image_names_is_asked_only_where_argv_has_daemons() {
    for variables in [
        &[("DOCKER_HOST", "tcp://evil.example:2375")][..],
        &[("DOCKER_HOST", "tcp://evil.example:2376"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/docker")],
        &[("CONTAINER_HOST", "tcp://evil.example:2375")],
    ] {
        let Some(pod) = Pod::new() else { return };
        pod.evil_listens(2375, nobody);
        pod.evil_listens(2376, nobody);
        found_by_the_pull_secret(&pod.resolve().envs(variables).told());
    }
}

#[test]
fn a_daemon_that_the_image_names_chooses_its_command_where_argv_has_daemons_and_is_shown_nothing() {
    let Some(pod) = Pod::new() else { return };
    pod.evil_listens(2375, daemon);
    let run = pod.resolve().flags(&["-image_sources", "docker,registry"]).env("DOCKER_HOST", "tcp://evil.example:2375");
    let told = run.told();
    assert!(told.found().contains("of the image's choice"), "{told:#?}");
    let asked = pod.saw_no_secret("evil.example:2375");
    let image = format!("GET /v1.41/images/{REGISTRY}/team/tool:1/json");
    assert_eq!(asked, ["GET /_ping".to_owned(), image]);
    assert_eq!(pod.world.asked_of(REGISTRY).len(), 0);
}
