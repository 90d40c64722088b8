//! The lines of the pages for a cluster, run as they stand there, with an API server of the tests in the place of a cluster.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::api::{Api, Change};
use crate::lines::{marked, pages};
use crate::manifests::is_least;
use crate::marks::{Block, blocks};
use crate::{kubectl, skip};

const ACCOUNT: &str = "/api/v1/namespaces/ci";
const CONTROLLER: &str = "/apis/apps/v1/namespaces/tekton-pipelines/deployments/tekton-pipelines-controller";

/// What is in a cluster before anybody types something: a Tekton, and the pod of a TaskRun that is kept.
fn cluster() -> Api {
    let controller = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "tekton-pipelines-controller", "namespace": "tekton-pipelines", "generation": 1},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "tekton-pipelines-controller",
            "args": ["-entrypoint-image", "ghcr.io/tektoncd/entrypoint:v1.0.0", "-nop-image", "nop:1"]}]}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "tool-run-pod", "namespace": "ci", "labels": {"tekton.dev/task": "tool"}},
        "spec": {"containers": [{"name": "step-tool", "image": "tool:1"}],
            "volumes": [{"name": "bin", "emptyDir": {}}, {"name": "kube-api-access-x", "projected": {"sources": []}}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "step-tool", "imageID": "tool@sha256:0",
            "state": {"terminated": {"exitCode": 1, "message": "cannot look up"}}}]},
    });
    Api::with(&[(CONTROLLER, controller), (&format!("{ACCOUNT}/pods/tool-run-pod"), pod)])
}

/// Runs a block in a directory, with the API server in the place of a cluster and this program in `PATH`. Gives what it printed.
fn play(block: &Block, api: &Api, dir: &Path) -> String {
    let bin = dir.join("bin");
    if !bin.exists() {
        fs::create_dir(&bin).expect("a directory");
        symlink(skip::entrypoint(), bin.join("entrypoint")).expect("a link");
        fs::write(dir.join("kubeconfig"), api.kubeconfig()).expect("a file");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &block.text]).current_dir(dir).stdin(Stdio::null());
    shell.env("PATH", path).env("HOME", dir).env("KUBECONFIG", dir.join("kubeconfig"));
    let output = shell.output().expect("bash starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "line {}: {}\n{stderr}", block.line, block.text);
    String::from_utf8(output.stdout).expect("text")
}

/// What a page's blocks change, and what they print, each as it stands there. `None` is a skip.
fn played(test: &str, page: &str, prepare: impl Fn(&Path)) -> Option<(Vec<Change>, Vec<String>)> {
    if !skip::programs("the lines of the pages", &[("kubectl", "kubernetes-client"), ("bash", "bash")]) {
        return None;
    }
    // Debian's kubectl has no `debug` and no `wait` that take these flags, and no newer one can be asked for.
    if !kubectl::is_recent() && page != "docs/doctor.md" {
        eprintln!("kubectl is older than 1.32: {page} is not run with it");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    prepare(dir.path());
    let api = cluster();
    let (mut changes, mut printed) = (Vec::new(), Vec::new());
    for (name, block) in marked(test) {
        assert_eq!(name, page, "line {}: {test} does not run this page", block.line);
        printed.push(play(&block, &api, dir.path()));
        changes.extend(api.changes());
    }
    api.finish();
    Some((changes, printed))
}

/// The YAML block of a page that has these words in it.
fn manifest(page: &str, words: &str) -> String {
    let (_, text) = pages().into_iter().find(|(name, _)| name == page).expect("the page");
    let found = blocks(&text).into_iter().find(|block| block.info == "yaml" && block.text.contains(words));
    found.unwrap_or_else(|| panic!("{page}: no {words}")).text
}

fn lines(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.line.as_str()).collect()
}

/// What pods are to run, and as whom: every one that was made.
fn pods(changes: &[Change]) -> Vec<(Value, Value)> {
    let made = changes.iter().filter(|change| change.line == "POST pods");
    made.map(|change| {
        let spec = &change.body["spec"];
        (spec["serviceAccountName"].clone(), spec["containers"][0]["args"].clone())
    })
    .collect()
}

#[test]
fn debug_pod() {
    let page = "docs/debug-pod.md";
    let prepare = |dir: &Path| {
        fs::write(dir.join("resolve.yaml"), manifest(page, "name: resolve")).expect("a file");
    };
    let Some((changes, printed)) = played("cluster::played::debug_pod", page, prepare) else { return };
    let review = "POST selfsubjectaccessreviews";
    let debug = "PATCH pods/tool-run-pod/ephemeralcontainers";
    let (post, delete) = ("POST pods", "DELETE pods/resolve");
    let expected =
        [post, delete, post, delete, post, delete, post, "DELETE pods/doctor", debug, debug, review, review, review];
    assert_eq!(lines(&changes), expected);

    let image = "registry.example.org/private/tool:1";
    let builder = json!("builder");
    let expected = [
        (builder.clone(), json!(["resolve", image])),
        (builder.clone(), json!(["resolve", image, "-o", "json", "--", "--verbose"])),
        (builder.clone(), json!(["resolve", image])),
        (builder, json!(["doctor", image])),
    ];
    assert_eq!(pods(&changes), expected);

    let debugged: Vec<&Value> = changes
        .iter()
        .filter(|change| change.line == debug)
        .map(|change| &change.body["spec"]["ephemeralContainers"][0])
        .collect();
    for container in &debugged {
        assert_eq!(container["command"], json!(["/ko-app/entrypoint", "resolve", image]), "{container}");
    }
    assert_eq!(debugged[0]["volumeMounts"], Value::Null);
    let token = json!([{"name": "kube-api-access-x", "readOnly": true,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]);
    assert_eq!(debugged[1]["volumeMounts"], token);

    let asked: Vec<_> = changes.iter().filter(|change| change.line == review).collect();
    let attributes = asked.iter().map(|change| &change.body["spec"]["resourceAttributes"]);
    let asked_for: Vec<_> = attributes.map(|of| (&of["verb"], &of["resource"], &of["name"])).collect();
    let get = json!("get");
    let expected = [("secrets", json!("regcred")), ("serviceaccounts", json!("builder")), ("pods", Value::Null)];
    for ((verb, resource, name), (expected, of)) in asked_for.into_iter().zip(&expected) {
        assert_eq!((verb, resource, name), (&get, &json!(expected), of));
    }
    assert!(asked.iter().all(|change| change.as_user.as_deref() == Some("system:serviceaccount:ci:builder")));

    assert!(printed[0].contains("what it says\n"), "{printed:?}");
    assert_eq!(printed[1], "", "it goes to a file");
    assert!(printed.contains(&"yes\nyes\nyes\n".to_owned()), "{printed:?}");
    let told = "what it says\nstep-tool\ttool@sha256:0\tcannot look up\n";
    assert_eq!(printed.last().map(String::as_str), Some(told));
}

#[test]
fn install_tekton() {
    let page = "docs/install-tekton.md";
    let Some((changes, printed)) = played("cluster::played::install_tekton", page, |_| {}) else { return };
    assert_eq!(lines(&changes), ["PATCH deployments/tekton-pipelines-controller", "POST taskruns"]);
    // The first line says where the image stands, and the second puts ours there.
    assert_eq!(printed[0], "1:-entrypoint-image\n2-ghcr.io/tektoncd/entrypoint:v1.0.0\n");
    assert_eq!(changes[0].body[0]["path"], "/spec/template/spec/containers/0/args/1");
    assert_eq!(changes[1].body["spec"], json!({"serviceAccountName": "builder", "taskRef": {"name": "tool"}}));
    assert!(printed[2].ends_with("what it says\n"), "{printed:?}");
}

#[test]
fn doctors_rights() {
    let page = "docs/doctor.md";
    let Some((changes, _)) = played("cluster::played::doctors_rights", page, |_| {}) else { return };
    assert_eq!(lines(&changes), ["POST roles", "POST rolebindings", "POST roles", "POST rolebindings"]);
    for pair in changes.chunks(2) {
        is_least(&pair[0].body, page);
        assert_eq!(pair[1].body["roleRef"]["name"], pair[0].body["metadata"]["name"]);
        let builder = json!([{"kind": "ServiceAccount", "name": "builder", "namespace": "ci"}]);
        assert_eq!(pair[1].body["subjects"], builder);
    }
}

#[test]
fn a_pipeline_with_a_daemon() {
    let page = "examples/tep-0130/README.md";
    let prepare = |dir: &Path| {
        symlink(skip::repository().join("examples"), dir.join("examples")).expect("a link");
    };
    let Some((changes, printed)) = played("cluster::played::a_pipeline_with_a_daemon", page, prepare) else { return };
    // Everything that is applied, and the run: what the files say.
    let kinds: Vec<&str> = changes.iter().map(|change| change.body["kind"].as_str().expect("a kind")).collect();
    let expected = "Namespace ServiceAccount ServiceAccount Role RoleBinding ConfigMap ConfigMap Pipeline Task Task Task Task \
        PipelineRun";
    assert_eq!(kinds.join(" "), expected, "{printed:?}");
    assert!(changes.iter().all(|change| change.line.starts_with("POST ")), "{changes:#?}");
}
