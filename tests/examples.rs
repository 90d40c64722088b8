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
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;

#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;

use server::{Answer, Bound, Server};
use step::{Step, entrypoint};

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
    if !skip::programs("kubectl's kustomize", &[("kubectl", "kubectl")]) {
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

const DAEMON: &str = "docker-3f6c1a52-8d6e-4a55-9a0b-0d6f3a1c2b4d";

/// Runs the script of the first Task; what it has created stands in `daemon.yaml` of the directory.
fn certificates(dir: &Path) -> Vec<Value> {
    let all = applied();
    let start = of_kind(&all, "Task").into_iter().find(|task| name(task) == "docker-daemon-start").unwrap();
    let step = &start["spec"]["steps"][0];
    let variables = names(&step["env"]);
    let values = [
        ("DAEMON_NAME", DAEMON.to_owned()),
        ("RUN_NAME", "ci-with-docker-build-x7k2p".to_owned()),
        ("RUN_UID", "3f6c1a52-8d6e-4a55-9a0b-0d6f3a1c2b4d".to_owned()),
        ("NAMESPACE", "docker-builds".to_owned()),
        ("MANIFESTS", example().display().to_string()),
        ("WORK", dir.display().to_string()),
    ];
    assert_eq!(variables, values.iter().map(|(name, _)| *name).collect());
    let output = Command::new("/bin/sh")
        .args(["-c", text(&step["script"])])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(values)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&fs::read_to_string(dir.join("daemon.yaml")).unwrap())
}

/// Writes what a Secret holds, as kubelet would mount it.
fn mount(secret: &Value, dir: &Path) {
    fs::create_dir(dir).unwrap();
    for (file, content) in secret["data"].as_object().unwrap() {
        let mut base64 = Command::new("base64")
            .arg("-d")
            .stdin(std::process::Stdio::piped())
            .stdout(fs::File::create(dir.join(file)).unwrap())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut base64.stdin.take().unwrap(), text(content).as_bytes()).unwrap();
        assert!(base64.wait().unwrap().success());
    }
}

/// A server that shows the daemon's certificate, and lets nobody in without one of the same authority.
fn daemon(certs: &Path) -> Server {
    let pem = |name: &str| fs::read(certs.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pem("cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_slice(&pem("key.pem")).unwrap(),
        )
        .unwrap();
    Server::handler(Bound::new(), Some(Arc::new(config)), |request| match request.path() {
        "/_ping" => Answer::new(200).header("Api-Version", "1.51").body("OK"),
        _ => Answer::new(404),
    })
}

#[test]
fn the_certificates_of_the_first_task_let_the_others_wait_for_the_daemon() {
    let tools = [("openssl", "openssl"), ("base64", "coreutils"), ("unshare", "util-linux"), ("mount", "mount")];
    if !skip::root("names of a pod's own") || !skip::programs("the example's certificates", &tools) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let created = certificates(dir.path());
    for word in created.iter().flat_map(every_text) {
        for placeholder in ["DAEMON_NAME", "RUN_NAME", "RUN_UID", "CA_PEM", "_KEY", "SERVER_PEM", "CLIENT_PEM"] {
            assert!(!word.contains(placeholder), "{word}");
        }
    }
    assert!(!dir.path().join("ca.key").exists(), "nobody can sign anything more");
    let secrets = of_kind(&created, "Secret");
    let (server, client) = (dir.path().join("server"), dir.path().join("client"));
    mount(secrets[0], &server);
    mount(secrets[1], &client);
    let daemon = daemon(&server);
    let waiting = |certs: &Path| {
        let step = Step::new().flags(["-wait_endpoints", "docker", "-wait_endpoints_timeout", "2s"]);
        fs::write(step.path("hosts"), format!("127.0.0.1 {DAEMON}\n")).unwrap();
        let hosts = step.path("hosts").display().to_string();
        step.under(&["unshare", "-m", "sh", "-c", r#"mount --bind "$1" /etc/hosts; shift; exec "$@""#, "sh", &hosts])
            .env("DOCKER_HOST", &format!("tcp://{DAEMON}:{}", daemon.address().port()))
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", &certs.display().to_string())
            .run(&["-entrypoint", "/bin/echo", "--", "ran"])
    };
    let ended = waiting(&client);
    assert_eq!((ended.code(), &*ended.stdout, &*ended.stderr), (0, "ran\n", ""), "{ended:#?}");
    // A Task that has only the authority's certificate stays outside.
    let stranger = dir.path().join("stranger");
    fs::create_dir(&stranger).unwrap();
    fs::copy(client.join("ca.pem"), stranger.join("ca.pem")).unwrap();
    let ended = waiting(&stranger);
    assert_eq!((ended.code(), ended.err, &*ended.stdout), (1, true, ""), "{ended:#?}");
    assert!(ended.stderr.contains("wants to be shown a certificate"), "{}", ended.stderr);
}

/// Docker's engine as `daemon.yaml` starts it, but for its directories and its port.
struct Engine {
    child: std::process::Child,
    data: PathBuf,
}

impl Engine {
    fn start(daemon: &[Value], dir: &Path, host: &str) -> Self {
        let container = &only(daemon, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let certs = dir.join("server").display().to_string();
        let args = texts(&container["args"]);
        let args = args[1..].iter().map(|arg| arg.replace("/certs", &certs).replace("0.0.0.0:2376", host));
        let data = dir.join("data");
        let child = Command::new(skip::program("dockerd").unwrap())
            .args(args)
            .arg(format!("--data-root={}", data.display()))
            .arg(format!("--exec-root={}", dir.join("exec").display()))
            .arg(format!("--pidfile={}", dir.join("pid").display()))
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"])
            // It looks for containerd and runc in PATH.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdout(std::process::Stdio::null())
            .stderr(fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, data }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // By SIGTERM: the engine takes its own containerd with it.
        step::send(i32::try_from(self.child.id()).unwrap(), 15);
        let _ = self.child.wait();
        // Its storage mounts its directory on itself.
        let _ = Command::new("umount").arg(&self.data).stderr(std::process::Stdio::null()).status();
    }
}

/// The words behind the program's name of a step, with what Tekton puts in.
fn words(task: &str, step: &str, values: &[(&str, &str)]) -> Vec<String> {
    let all = applied();
    let task = of_kind(&all, "Task").into_iter().find(|found| name(found) == task).unwrap();
    let step = list(&task["spec"]["steps"]).iter().find(|found| found["name"] == step).unwrap();
    let words = [texts(&step["command"]), texts(&step["args"])].concat();
    assert_eq!(words[0], "/tekton/bin/entrypoint");
    let put_in = |word: &str| {
        values.iter().fold(word.to_owned(), |word, (name, value)| word.replace(&format!("$({name})"), value))
    };
    words[1..].iter().map(|word| put_in(word)).collect()
}

#[test]
fn with_a_real_engine_that_starts_late_an_image_is_built_and_looked_up_over_tls_and_never_pushed() {
    let purpose = "the example with Docker's engine";
    let tools = [
        ("openssl", "openssl"),
        ("base64", "coreutils"),
        ("unshare", "util-linux"),
        ("mount", "mount"),
        ("dockerd", "docker.io"),
        ("containerd", "containerd"),
        ("docker", "docker.io"),
    ];
    if !skip::root(purpose) || !skip::programs(purpose, &tools) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let created = certificates(dir.path());
    let secrets = of_kind(&created, "Secret");
    mount(secrets[0], &dir.path().join("server"));
    mount(secrets[1], &dir.path().join("client"));
    fs::write(path("hosts"), format!("127.0.0.1 {DAEMON}\n")).unwrap();
    // What the example builds on is in a registry, which is not here.
    let dockerfile = fs::read_to_string(example().join("app/Dockerfile")).unwrap();
    let lines = dockerfile.lines().map(|line| if line.starts_with("FROM ") { "FROM scratch" } else { line });
    fs::create_dir(path("source")).unwrap();
    fs::write(path("source/Dockerfile"), lines.collect::<Vec<_>>().join("\n")).unwrap();

    let host = Bound::new().host();
    let port = host.rsplit_once(':').unwrap().1;
    let of_a_task = || {
        Step::new()
            .under(&[
                "unshare",
                "-m",
                "sh",
                "-c",
                r#"mount --bind "$1" /etc/hosts; shift; exec "$@""#,
                "sh",
                &path("hosts"),
            ])
            .env("DOCKER_HOST", &format!("tcp://{DAEMON}:{port}"))
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", &path("client"))
            .env("DOCKER_BUILDKIT", "0")
            .env("HOME", &path(""))
    };
    let program = entrypoint().display().to_string();
    let inner =
        [format!("-termination_path={}", path("termination")), format!("-step_metadata_dir={}", path("waited"))];
    let values = [("params.image", "app:1"), ("params.daemon", DAEMON), ("workspaces.source.path", &path("source"))];

    // The step that builds is there before the daemon is.
    let build = words("docker-build", "build", &values);
    let build: Vec<String> = build.into_iter().filter(|word| !word.starts_with("-step_metadata_dir")).collect();
    let line: Vec<&str> = ["-entrypoint", &program, "--"]
        .into_iter()
        .chain(inner.iter().map(String::as_str))
        .chain(build.iter().map(String::as_str))
        .collect();
    let step = of_a_task();
    let mut child = step.start(&line);
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut log, &mut first).unwrap();
    assert!(
        first.contains(&format!("waiting for docker: no answer from the daemon at tcp://{DAEMON}:{port}")),
        "{first}"
    );
    let engine = Engine::start(&created, dir.path(), &host);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut log, &mut rest).unwrap();
    let ended = step.finish(child);
    let engines = fs::read_to_string(path("log")).unwrap_or_default();
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}\n{rest}\n{engines}");

    // The second step of the test: what a step of this image would run.
    let resolve = words("docker-test", "what-it-runs", &values);
    let line: Vec<&str> =
        ["-entrypoint", &program, "--"].into_iter().chain(resolve.iter().map(String::as_str)).collect();
    let ended = of_a_task().run(&line);
    assert_eq!(ended.code(), 0, "{ended:#?}");
    assert!(ended.stdout.contains("Command     /bin/echo 'built here and' 'never pushed'\n"), "{}", ended.stdout);

    // And a step that is given the image alone.
    let flags = ["-wait_endpoints", "docker", "-image", "app:1", "-image_sources", "docker", "--"];
    let ended = of_a_task().run(&flags);
    assert_eq!((ended.code(), &*ended.stdout, &*ended.stderr), (0, "built here and never pushed\n", ""), "{ended:#?}");
    drop(engine);
}
