//! Files of the image's: docker's and podman's configurations, with helpers of their own.

use serde_json::json;

use crate::pod::{EVIL, Pod, REGISTRY, basic, found_by_the_pull_secret, nobody};

/// A configuration that names helpers for everybody, a proxy, headers, and credentials under other hosts' names.
fn config(pod: &Pod, path: &str) {
    let config = json!({
        "auths": {REGISTRY: {"username": "evil", "password": "of-the-image"}, EVIL: {}},
        "credHelpers": {REGISTRY: "evil", EVIL: "evil"},
        "credsStore": "evil",
        "proxies": {"default": {"httpsProxy": format!("http://{EVIL}:3128")}},
        "HttpHeaders": {"X-Evil": "1"},
        "cliPluginsExtraDirs": ["/evil/bin"],
    });
    pod.world.file(path, &config.to_string());
}

#[test]
fn a_docker_config_of_the_images_adds_its_own_credentials_and_runs_nothing() {
    for (variable, value, path) in [
        ("DOCKER_CONFIG", "/evil", "/evil/config.json"),
        ("HOME", "/evil", "/evil/.docker/config.json"),
        ("HOME", "/evil", "/evil/.config/containers/auth.json"),
        ("REGISTRY_AUTH_FILE", "/evil/auth.json", "/evil/auth.json"),
        ("XDG_RUNTIME_DIR", "/evil", "/evil/containers/auth.json"),
        ("XDG_CONFIG_HOME", "/evil", "/evil/containers/auth.json"),
    ] {
        let Some(pod) = Pod::new() else { return };
        pod.evil_serves(nobody);
        pod.evil_listens(3128, nobody);
        pod.program("/evil/bin/docker-credential-evil");
        config(&pod, path);
        let run = || pod.resolve().env(variable, value).env("PATH", "/evil/bin");
        found_by_the_pull_secret(&run().told());
        assert_eq!(pod.ran(), None, "{variable}");
        // Where the pod has nothing, the image's own credentials are all that is shown.
        let told = run().flags(&["-taskrun_service_account", "nobody"]).told();
        let said = told.failed();
        assert!(said.contains(r#"credHelpers "evil" for "registry.example": not run: "#), "{variable}: {said}");
        assert_eq!(pod.ran(), None, "{variable}");
        let shown = pod.world.asked_of(REGISTRY);
        let shown: Vec<&str> = shown.iter().filter_map(|request| request.header("Authorization")).collect();
        assert_eq!(shown.last().copied(), Some(basic("evil", "of-the-image").as_str()), "{variable}");
        assert!(pod.world.asked_of(REGISTRY).iter().all(|request| request.header("X-Evil").is_none()));
    }
}

#[test]
fn a_helper_that_argv_allows_runs_with_the_registrys_name_and_only_its_own_answer_is_shown() {
    let Some(pod) = Pod::new() else { return };
    pod.program("/evil/bin/docker-credential-evil");
    config(&pod, "/evil/config.json");
    let run = pod.resolve().env("DOCKER_CONFIG", "/evil").env("PATH", "/evil/bin");
    run.flags(&["-image_exec_helpers", "-taskrun_service_account", "nobody"]).told().failed();
    assert_eq!(pod.ran().as_deref(), Some("/evil/bin/docker-credential-evil get registry.example\n"));
    let shown = pod.world.asked_of(REGISTRY);
    let shown: Vec<&str> = shown.iter().filter_map(|request| request.header("Authorization")).collect();
    assert_eq!(shown, [basic("evil", "of-a-helper"), basic("evil", "of-the-image")]);
}
