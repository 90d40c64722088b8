//! The example of a pipeline with a Docker daemon of its own: without a cluster, everything that can be known without one.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "examples/running.rs"]
mod running;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;

use step::entrypoint;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tep-0130")
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn read(name: &str) -> Vec<Value> {
    documents(&fs::read_to_string(example().join(name)).unwrap())
}

/// Everything that is applied, and the run.
fn applied() -> Vec<Value> {
    let [kustomization] = <[Value; 1]>::try_from(read("kustomization.yaml")).unwrap();
    let files = texts(&kustomization["resources"]);
    let mut all: Vec<Value> = files.iter().flat_map(|name| read(name)).collect();
    all.extend(read("pipelinerun.yaml"));
    all
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|object| object["kind"] == kind).collect()
}

fn only<'a>(all: &'a [Value], kind: &str) -> &'a Value {
    match of_kind(all, kind)[..] {
        [one] => one,
        ref other => panic!("{} of {kind}", other.len()),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

/// The names of a list of objects.
fn names(value: &Value) -> BTreeSet<&str> {
    list(value).iter().map(|object| text(&object["name"])).collect()
}

fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

/// Every text in a value.
fn every_text(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(all) => all.iter().flat_map(every_text).collect(),
        Value::Object(all) => all.values().flat_map(every_text).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// What Tekton would put something in place of: `params.daemon` of `$(params.daemon)`.
fn references(value: &Value) -> BTreeSet<&str> {
    let inside = every_text(value).into_iter().flat_map(|text| text.split("$(").skip(1));
    let inside = inside.filter_map(|rest| rest.split_once(')')).map(|(reference, _)| reference);
    inside.filter(|reference| ["params.", "context.", "workspaces."].iter().any(|p| reference.starts_with(p))).collect()
}

/// Every `image` in a value.
fn images(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(all) => all.iter().flat_map(images).collect(),
        Value::Object(all) => {
            let own = all.get("image").and_then(Value::as_str).filter(|image| !image.starts_with("$("));
            own.into_iter().chain(all.values().flat_map(images)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[test]
fn every_file_is_one_that_is_looked_at_here() {
    let files = fs::read_dir(example()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let known = [
        "README.md",
        "app",
        "daemon.yaml",
        "kustomization.yaml",
        "namespace.yaml",
        "pipeline.yaml",
        "pipelinerun.yaml",
        "rbac.yaml",
        "tasks.yaml",
    ];
    assert_eq!(files.collect::<BTreeSet<_>>(), known.map(str::to_owned).into());
    let kinds: Vec<String> = applied().iter().map(|object| text(&object["kind"]).to_owned()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "Task").count(), 4, "{kinds:?}");
}

#[test]
fn kubectl_puts_the_files_together() {
    if !skip::programs("kubectl's kustomize", &[("kubectl", "kubernetes-client")]) {
        return;
    }
    let output = Command::new("kubectl").args(["kustomize", &example().display().to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all = documents(&String::from_utf8(output.stdout).unwrap());
    for object in &all {
        if object["kind"] != "Namespace" {
            assert_eq!(object["metadata"]["namespace"], "docker-builds", "{}", name(object));
        }
    }
    assert_eq!(
        of_kind(&all, "ConfigMap").iter().map(|map| name(map)).collect::<Vec<_>>(),
        ["app-source", "docker-daemon"]
    );
    assert_eq!(of_kind(&all, "Task").len(), 4);
}

#[test]
fn a_task_refers_to_what_it_declares_and_uses_all_of_it() {
    for task in of_kind(&applied(), "Task") {
        let spec = &task["spec"];
        let declared: BTreeSet<String> = names(&spec["params"]).iter().map(|name| format!("params.{name}")).collect();
        let used = references(&spec["steps"]).into_iter().chain(references(&spec["volumes"]));
        let used: BTreeSet<&str> = used.chain(references(&spec["stepTemplate"])).collect();
        let params = used.iter().filter(|reference| reference.starts_with("params.")).map(|name| (*name).to_owned());
        assert_eq!(params.collect::<BTreeSet<_>>(), declared, "{}", name(task));
        for workspace in used.iter().filter_map(|reference| reference.strip_prefix("workspaces.")) {
            let known = workspace.strip_suffix(".path").is_some_and(|name| names(&spec["workspaces"]).contains(name));
            assert!(known, "{}: {workspace}", name(task));
        }
        let context = used.iter().filter(|reference| reference.starts_with("context."));
        assert!(context.clone().all(|reference| *reference == "context.taskRun.namespace"), "{}", name(task));
        let mounts = list(&spec["steps"]).iter().chain([&spec["stepTemplate"]]);
        let mounted: BTreeSet<&str> = mounts.flat_map(|step| names(&step["volumeMounts"])).collect();
        assert_eq!(mounted, names(&spec["volumes"]), "{}", name(task));
    }
}

#[test]
fn what_the_pipeline_and_its_run_refer_to_exists() {
    let all = applied();
    let (pipeline, run) = (&only(&all, "Pipeline")["spec"], &only(&all, "PipelineRun")["spec"]);
    let tasks: Vec<&Value> = list(&pipeline["tasks"]).iter().chain(list(&pipeline["finally"])).collect();
    let task_names: BTreeSet<&str> = tasks.iter().map(|task| text(&task["name"])).collect();
    let mut used = BTreeSet::new();
    for step in &tasks {
        let task = of_kind(&all, "Task").into_iter().find(|task| step["taskRef"]["name"] == task["metadata"]["name"]);
        let task = task.unwrap_or_else(|| panic!("no Task for {step}"));
        used.insert(name(task));
        assert_eq!(names(&step["params"]), names(&task["spec"]["params"]), "{}", step["name"]);
        assert_eq!(names(&step["workspaces"]), names(&task["spec"]["workspaces"]), "{}", step["name"]);
        for workspace in list(&step["workspaces"]) {
            assert!(names(&pipeline["workspaces"]).contains(text(&workspace["workspace"])), "{workspace}");
        }
        for reference in references(&step["params"]) {
            assert!(["context.pipelineRun.uid", "context.pipelineRun.name"].contains(&reference), "{reference}");
        }
        for before in texts(&step["runAfter"]) {
            assert!(task_names.contains(before), "{before}");
        }
        // All speak of one daemon.
        let daemon = list(&step["params"]).iter().find(|param| param["name"] == "daemon").unwrap();
        assert_eq!(daemon["value"], "docker-$(context.pipelineRun.uid)");
    }
    assert_eq!(used.len(), of_kind(&all, "Task").len(), "every Task is used");
    assert_eq!(run["pipelineRef"]["name"], only(&all, "Pipeline")["metadata"]["name"]);
    assert_eq!(names(&run["workspaces"]), names(&pipeline["workspaces"]));
    let accounts: BTreeSet<&str> = of_kind(&all, "ServiceAccount").into_iter().map(name).collect();
    let of_tasks = list(&run["taskRunSpecs"]);
    let named = of_tasks.iter().map(|spec| &spec["serviceAccountName"]);
    let named: BTreeSet<&str> = named.chain([&run["taskRunTemplate"]["serviceAccountName"]]).map(text).collect();
    assert_eq!(named, accounts);
    for spec in of_tasks {
        assert!(task_names.contains(text(&spec["pipelineTaskName"])), "{spec}");
    }
    let binding = only(&all, "RoleBinding");
    assert_eq!(binding["roleRef"]["name"], only(&all, "Role")["metadata"]["name"]);
    for subject in list(&binding["subjects"]) {
        assert!(accounts.contains(text(&subject["name"])), "{subject}");
    }
}

#[test]
fn files_that_are_mounted_are_made_of_files_that_exist() {
    let [kustomization] = <[Value; 1]>::try_from(read("kustomization.yaml")).unwrap();
    let maps = list(&kustomization["configMapGenerator"]);
    for file in maps.iter().flat_map(|map| texts(&map["files"])) {
        assert!(example().join(file).is_file(), "{file}");
    }
    let made: BTreeSet<&str> = names(&kustomization["configMapGenerator"]);
    let all = applied();
    let volumes = of_kind(&all, "Task").into_iter().flat_map(|task| list(&task["spec"]["volumes"]));
    let bound = list(&only(&all, "PipelineRun")["spec"]["workspaces"]);
    let wanted = volumes.chain(bound).map(|volume| &volume["configMap"]["name"]).filter_map(Value::as_str);
    assert_eq!(wanted.collect::<BTreeSet<_>>(), made);
    // The names of the Secrets are those of the daemon's.
    let secrets = of_kind(&all, "Task").into_iter().flat_map(|task| list(&task["spec"]["volumes"]));
    let secrets: BTreeSet<&str> = secrets.filter_map(|volume| volume["secret"]["secretName"].as_str()).collect();
    assert_eq!(secrets, ["$(params.daemon)-client"].into());
    let daemon = read("daemon.yaml");
    let created: Vec<&str> = of_kind(&daemon, "Secret").into_iter().map(name).collect();
    assert_eq!(created, ["DAEMON_NAME-server", "DAEMON_NAME-client"]);
}

#[test]
fn the_daemon_belongs_to_the_run_and_the_role_allows_just_that() {
    let daemon = read("daemon.yaml");
    for object in &daemon {
        let owner = serde_json::json!([
            {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "RUN_NAME", "uid": "RUN_UID"}
        ]);
        assert_eq!(object["metadata"]["ownerReferences"], owner, "{}", name(object));
        assert!(object["metadata"]["namespace"].is_null(), "that of the pod that creates it");
    }
    let plural = |object: &Value| match text(&object["kind"]) {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let group = |object: &Value| match text(&object["apiVersion"]).split_once('/') {
        Some((group, _)) => group.to_owned(),
        None => String::new(),
    };
    let needed: BTreeSet<(String, String)> = daemon.iter().map(|object| (group(object), plural(object))).collect();
    let all = applied();
    let mut allowed = BTreeSet::new();
    for rule in list(&only(&all, "Role")["rules"]) {
        for (group, resource) in texts(&rule["apiGroups"])
            .into_iter()
            .flat_map(|group| texts(&rule["resources"]).into_iter().map(move |r| (group, r)))
        {
            let verbs = if resource == "deployments" { &["create", "delete"][..] } else { &["create"] };
            assert_eq!(texts(&rule["verbs"]), verbs, "{resource}");
            allowed.insert((group.to_owned(), resource.to_owned()));
        }
    }
    assert_eq!(allowed, needed);
}

#[test]
fn service_and_policy_mean_the_daemons_pods() {
    let daemon = read("daemon.yaml");
    let (deployment, service) = (&only(&daemon, "Deployment")["spec"], &only(&daemon, "Service")["spec"]);
    let policy = &only(&daemon, "NetworkPolicy")["spec"];
    let labels = deployment["template"]["metadata"]["labels"].as_object().unwrap();
    for selector in
        [&deployment["selector"]["matchLabels"], &service["selector"], &policy["podSelector"]["matchLabels"]]
    {
        let selector = selector.as_object().unwrap();
        assert!(
            !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value)),
            "{selector:?}"
        );
    }
    let container = &deployment["template"]["spec"]["containers"][0];
    assert_eq!(service["ports"][0]["targetPort"], container["ports"][0]["name"]);
    assert_eq!(container["readinessProbe"]["tcpSocket"]["port"], container["ports"][0]["name"]);
    let port = &container["ports"][0]["containerPort"];
    assert_eq!((&service["ports"][0]["port"], &policy["ingress"][0]["ports"][0]["port"]), (port, port));
    assert!(texts(&container["args"]).contains(&format!("--host=tcp://0.0.0.0:{port}").as_str()));
    assert!(texts(&container["args"]).contains(&"--tlsverify"));
    let volumes = &deployment["template"]["spec"]["volumes"];
    assert_eq!(names(&container["volumeMounts"]), names(volumes));
    assert_eq!(volumes[0]["secret"]["secretName"], "DAEMON_NAME-server");
    let secret = of_kind(&daemon, "Secret")[0]["data"].as_object().unwrap().clone();
    for file in texts(&container["args"]).iter().filter_map(|arg| arg.split_once("=/certs/")).map(|(_, file)| file) {
        assert!(secret.contains_key(file), "{file}");
    }
}

#[test]
fn every_image_has_a_version() {
    let all: Vec<Value> = applied().into_iter().chain(read("daemon.yaml")).collect();
    let found: Vec<&str> = all.iter().flat_map(images).collect();
    assert!(found.len() >= 5, "{found:?}");
    let dockerfile = fs::read_to_string(example().join("app/Dockerfile")).unwrap();
    let from = dockerfile.lines().find_map(|line| line.strip_prefix("FROM ")).unwrap();
    for image in found.into_iter().chain([from]) {
        let version = image.rsplit_once(':').map_or("", |(_, version)| version).trim_start_matches('v');
        let numbers = version.split('-').next().unwrap_or_default();
        let whole = numbers.split('.').count() == 3 && numbers.split('.').all(|part| part.parse::<u32>().is_ok());
        assert!(whole, "{image}");
    }
}

/// The command lines of all steps that are the entrypoint's, with `$(...)` as Tekton would leave something there.
fn our_command_lines() -> Vec<Vec<String>> {
    let all = applied();
    let steps = of_kind(&all, "Task").into_iter().flat_map(|task| list(&task["spec"]["steps"]));
    let lines = steps.map(|step| [texts(&step["command"]), texts(&step["args"])].concat());
    let ours = lines.filter(|line| line.first() == Some(&"/tekton/bin/entrypoint"));
    ours.map(|line| line[1..].iter().map(|word| word.replace("$(params.image)", "app:1")).collect()).collect()
}

#[test]
fn the_program_understands_every_flag_of_the_example() {
    let lines = our_command_lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let dir = tempfile::tempdir().unwrap();
    for line in lines {
        // It gets as far as asking for the daemon: a mistake in the flags would be an exit with 2.
        let termination = format!("-termination_path={}", dir.path().join("termination").display());
        let own = if line[0] == "resolve" { Vec::new() } else { vec![termination] };
        let output = Command::new(entrypoint())
            .args(own)
            .args(&line)
            .env_clear()
            .env("DOCKER_HOST", "nowhere://")
            .current_dir(dir.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line:?}: {stderr}");
        assert!(stderr.contains("DOCKER_HOST"), "{line:?}: {stderr}");
        assert_eq!(line.iter().any(|word| word == "-wait_endpoints=docker"), line[0] != "resolve", "{line:?}");
    }
}
