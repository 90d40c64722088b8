//! What must hold of Kubernetes objects, wherever they stand.

use std::collections::BTreeSet;
use std::ffi::OsString;

use entrypoint::cli;
use serde_json::Value;

/// The objects of a YAML text; every one says what it is and has a name.
pub fn objects(text: &str, place: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(!all.is_empty(), "{place}: nothing");
    for object in &all {
        let named = object["metadata"]["name"].is_string() || object["metadata"]["generateName"].is_string();
        assert!(object["apiVersion"].is_string() && object["kind"].is_string() && named, "{place}: {object}");
    }
    all
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(|word| word.as_str().unwrap_or_else(|| panic!("no text: {word}"))).collect()
}

pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// What has containers: the spec of a Pod, of a Deployment's pods, of a Task.
fn pod_spec(object: &Value) -> Option<&Value> {
    let spec = &object["spec"];
    match object["kind"].as_str() {
        Some("Pod" | "Task") => Some(spec),
        Some("TaskRun") if spec["taskSpec"].is_object() => Some(&spec["taskSpec"]),
        Some("Deployment") => Some(&spec["template"]["spec"]),
        _ => None,
    }
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "steps"].into_iter().flat_map(|key| list(&spec[key]))
}

/// The command lines of an object's containers that are this program's, without its own name.
pub fn our_command_lines(object: &Value) -> Vec<Vec<String>> {
    let spec = pod_spec(object);
    let lines = spec.into_iter().flat_map(containers).filter_map(|container| {
        let words = [texts(&container["command"]), texts(&container["args"])].concat();
        let of_image = container["command"].is_null() && container["image"].as_str()?.contains("/entrypoint:");
        let words = if of_image { &words[..] } else { words.split_first().filter(|(first, _)| is_ours(first))?.1 };
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    });
    lines.collect()
}

pub fn is_ours(program: &str) -> bool {
    program == "entrypoint" || program.ends_with("/entrypoint")
}

/// The program understands a command line.
pub fn is_understood(line: &[String], place: &str) {
    let argv: Vec<OsString> =
        ["entrypoint"].into_iter().chain(line.iter().map(String::as_str)).map(OsString::from).collect();
    if let Err(error) = cli::parse(&argv) {
        panic!("{place}: {line:?}: {error}");
    }
}

/// What an object refers to within itself and beside itself exists, and what it declares is used.
pub fn is_whole(object: &Value, all: &[Value], place: &str) {
    let named =
        |kind: &str| -> BTreeSet<&str> { all.iter().filter(|object| object["kind"] == kind).map(name).collect() };
    let place = format!("{place}: {}", name(object));
    let account = &object["spec"]["serviceAccountName"];
    if let Some(account) = account.as_str() {
        assert!(named("ServiceAccount").contains(account), "{place}: no service account {account}");
    }
    if object["kind"] == "RoleBinding" {
        assert!(named("Role").contains(object["roleRef"]["name"].as_str().unwrap_or_default()), "{place}");
        for subject in list(&object["subjects"]) {
            assert!(
                named("ServiceAccount").contains(subject["name"].as_str().unwrap_or_default()),
                "{place}: {subject}"
            );
            assert_eq!(subject["namespace"], object["metadata"]["namespace"], "{place}");
        }
    }
    let Some(spec) = pod_spec(object) else { return };
    let volumes: BTreeSet<&str> = list(&spec["volumes"]).iter().filter_map(|volume| volume["name"].as_str()).collect();
    let mounts = containers(spec).flat_map(|container| list(&container["volumeMounts"]));
    let mounted: BTreeSet<&str> = mounts.filter_map(|mount| mount["name"].as_str()).collect();
    assert_eq!(mounted, volumes, "{place}: volumes and mounts");
    for container in containers(spec) {
        let image = container["image"].as_str().unwrap_or_else(|| panic!("{place}: a container without an image"));
        let version = image.rsplit_once(':').map_or("", |(_, version)| version);
        assert!(
            !version.is_empty() && version != "latest" && !version.contains('/'),
            "{place}: {image} has no version"
        );
    }
}

/// A Role lets nobody do more than get, all secrets and service accounts by their names.
pub fn is_least(role: &Value, place: &str) {
    for rule in list(&role["rules"]) {
        assert_eq!(texts(&rule["verbs"]), ["get"], "{place}: {rule}");
        assert_eq!(texts(&rule["apiGroups"]), [""], "{place}: {rule}");
        for resource in texts(&rule["resources"]) {
            match resource {
                "secrets" | "serviceaccounts" => assert!(!list(&rule["resourceNames"]).is_empty(), "{place}: {rule}"),
                "pods" => {}
                other => panic!("{place}: {other}"),
            }
        }
    }
}
