//! The Pods that are for a cluster (`tests/e2e/kind`, `docs/debug-pod.md`), as far as podman can play them: with the registry, the images and the
//! mounted secret of the tests in the place of those there, and without anything that asks the cluster.

use std::fs;

use serde_json::{Value, json};

use crate::podman::{Pod, Podman};
use crate::skip;
use crate::taskrun::{OURS, annotate, certificate, parts, private};
use crate::world::World;

/// What the tests give all containers: the authority of their registry, and its password.
const GIVEN: [(&str, &str); 2] = [("trust", "/trust"), ("docker", "/docker")];

/// A Pod of a file, or of a page's blocks of YAML.
fn manifest(file: &str, name: &str) -> Value {
    let path = skip::repository().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let texts: Vec<&str> = if file.ends_with(".md") { blocks.collect() } else { vec![&text] };
    let objects = |text: &str| -> Vec<Value> { serde_saphyr::from_multiple(text).expect("YAML") };
    let mut all = texts.into_iter().flat_map(objects);
    all.find(|pod| pod["metadata"]["name"] == name).unwrap_or_else(|| panic!("no Pod {name} in {file}"))
}

/// The Pod in the world of the tests.
fn here(mut pod: Value, world: &World) -> Value {
    let spec = &mut pod["spec"];
    spec["hostNetwork"] = json!(true);
    let host =
        |name: &str, path: &str| json!({"name": name, "hostPath": {"path": world.path(path), "type": "Directory"}});
    if spec["volumes"].is_null() {
        spec["volumes"] = json!([]);
    }
    let volumes = spec["volumes"].as_array_mut().expect("a list");
    volumes.retain(|volume| volume["secret"].is_null());
    for volume in volumes.iter_mut().filter(|volume| !volume["downwardAPI"].is_null()) {
        *volume = host(volume["name"].as_str().expect("a name"), "downward");
    }
    volumes.extend(GIVEN.map(|(name, _)| host(name, name)));
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            contain(container, world);
        }
    }
    pod
}

/// A container in the world of the tests.
fn contain(container: &mut Value, world: &World) {
    let ours = container["image"].as_str().is_some_and(|image| image.contains("/ci/entrypoint:"));
    container["image"] = if ours { json!(OURS) } else { json!(private(world, "app")) };
    container["imagePullPolicy"] = json!("Never");
    container["env"] = json!([
        {"name": "DOCKER_CONFIG", "value": "/docker"},
        {"name": "SSL_CERT_FILE", "value": "/trust/authority.pem"},
    ]);
    if container["volumeMounts"].is_null() {
        container["volumeMounts"] = json!([]);
    }
    let mounts = container["volumeMounts"].as_array_mut().expect("a list");
    mounts.retain(|mount| mount["name"] != "docker");
    mounts.extend(GIVEN.map(|(name, path)| json!({"name": name, "mountPath": path, "readOnly": true})));
    let mapped = "localhost:30500=http://registry.entrypoint-e2e.svc.cluster.local:5000";
    for key in ["command", "args"] {
        let Some(words) = container[key].as_array_mut() else { continue };
        words.retain(|word| word != "-image_registry_map_only");
        for word in words {
            *word = json!(match word.as_str().expect("text") {
                // Nobody tells what runs, where there is no cluster.
                "-image_pin_strict" => "-image_pin=registry".to_owned(),
                text => text
                    .replace(mapped, &certificate(world))
                    .replace("-image_registry_map", "-image_registry_certificate")
                    .replace("localhost:30500/ci/tool:1", &private(world, "app"))
                    .replace("registry.example.org/private/tool:1", &private(world, "app")),
            });
        }
    }
}

fn play<'p>(podman: &'p Podman, world: &World, file: &str, name: &str) -> Pod<'p> {
    podman.play(&here(manifest(file, name), world))
}

#[test]
fn the_steps_that_are_for_a_cluster_run_here_too_and_tell_which_image_it_was() {
    let Some((podman, world)) = parts("the pods of tests/e2e/kind") else { return };
    let pod = play(&podman, &world, "tests/e2e/kind/steps.yaml", "steps");
    world.registry.wait_for_answer(0, "GET /v2/ci/app/blobs/sha256:");
    assert_eq!(pod.log("step-tool"), "", "it waits for the annotation");
    annotate(&world, &[("ready", "READY")]);
    let codes: Vec<i32> = pod.wait().into_values().collect();
    let logs = ["step-tool", "step-show"].map(|step| pod.log(step));
    assert_eq!(codes, [0, 0], "{logs:#?}");
    assert_eq!(logs[0], "app: --greet world\n");
    let document: Value = serde_json::from_str(&logs[1]).expect("image.json");
    assert_eq!(document["requested"]["written"], json!(private(&world, "app")));
    assert_eq!(document["command"]["pinnedBy"], "registry");
}

#[test]
fn resolve_as_it_is_for_a_cluster_finds_the_image_by_the_mounted_secret() {
    let Some((podman, world)) = parts("the pods of tests/e2e/kind") else { return };
    let pod = play(&podman, &world, "tests/e2e/kind/resolve.yaml", "resolve-with-a-mounted-secret");
    let code = pod.wait()["resolve"];
    let log = pod.log("resolve");
    assert_eq!(code, 0, "{log}");
    let told: Value = serde_json::from_str(&log).expect("one object");
    assert_eq!(told["command"], json!(["/opt/app", "--greet", "from", "resolve"]));
    assert!(
        told["credential"].as_str().is_some_and(|told| told.starts_with("docker config /docker/config.json")),
        "{log}"
    );
}

#[test]
fn the_pods_of_the_page_for_people_do_what_it_says() {
    let Some((podman, world)) = parts("the pods of docs/debug-pod.md") else { return };
    let pod = play(&podman, &world, "docs/debug-pod.md", "resolve");
    let code = pod.wait()["resolve"];
    let log = pod.log("resolve");
    assert!(code == 0 && log.contains("Command     /opt/app --greet world\n"), "{code} {log}");
    drop(pod);
    let pod = play(&podman, &world, "docs/debug-pod.md", "tool");
    let code = pod.wait()["tool"];
    assert_eq!((code, pod.log("tool").as_str()), (0, "app: --greet --verbose\n"));
}
