//! The scenarios for a cluster: the script says so when there is none, and its manifests are whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::manifests::{is_least, is_understood, is_whole, list, name, objects, our_command_lines};
use crate::skip;

fn dir() -> PathBuf {
    skip::repository().join("tests/e2e/kind")
}

/// The files with manifests, and what is in them.
fn files() -> Vec<(String, Vec<Value>)> {
    let names = fs::read_dir(dir()).expect("the directory").map(|entry| entry.expect("an entry").path());
    let yaml = names.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read = |path: PathBuf| {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let all = objects(&fs::read_to_string(&path).expect("the file"), &file);
        (file, all)
    };
    let mut files: Vec<_> = yaml.map(read).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

fn run(kubeconfig: Option<&str>) -> Output {
    let mut run = Command::new(dir().join("run"));
    match kubeconfig {
        Some(file) => run.env("KUBECONFIG", file),
        None => run.env_remove("KUBECONFIG"),
    };
    run.output().expect("the script starts")
}

#[test]
fn without_a_cluster_the_script_says_loudly_that_it_did_not_run_and_that_is_no_failure() {
    for kubeconfig in [None, Some("")] {
        let output = run(kubeconfig);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert!(stderr.contains("*** NOT RUN: tests/e2e/kind: no cluster was given"), "{stderr}");
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_a_failure_and_nothing_is_built() {
    let wanted = [("kubectl", "kubernetes-client"), ("htpasswd", "apache2-utils"), ("podman", "podman")];
    if !skip::programs("a cluster that does not answer", &wanted) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    // A port that nobody listens on: the loopback's first.
    let config = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {}}]}"#;
    let file = dir.path().join("config");
    fs::write(&file, config).expect("a file");
    let output = run(file.to_str());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
    assert!(stderr.contains("FAILED: the cluster of KUBECONFIG does not answer"), "{stderr}");
}

#[test]
fn every_manifest_is_applied_by_the_script_and_told_of_on_the_page() {
    let script = fs::read_to_string(dir().join("run")).expect("run");
    let page = fs::read_to_string(dir().join("README.md")).expect("README.md");
    let files = files();
    assert_eq!(files.len(), 5);
    for (file, _) in &files {
        assert!(script.contains(&format!("-f {file}")), "{file} is not applied");
        assert!(page.contains(&format!("| `{file}` |")), "{file} is not told of");
    }
    assert!(page.contains("**Never run against a cluster so far.**"));
}

#[test]
fn every_manifest_is_whole_and_the_program_knows_its_flags() {
    let files = files();
    let all: Vec<Value> = files.iter().flat_map(|(_, all)| all.clone()).collect();
    let script = fs::read_to_string(dir().join("run")).expect("run");
    let mut lines = 0;
    for (file, objects) in &files {
        for object in objects {
            assert_eq!(object["metadata"]["namespace"], "entrypoint-e2e", "{file}: {}", name(object));
            is_whole(object, &all, file);
            for secret in
                list(&object["spec"]["volumes"]).iter().filter_map(|volume| volume["secret"]["secretName"].as_str())
            {
                assert!(script.contains(&format!("create secret generic {secret} ")), "{file}: nobody makes {secret}");
            }
            for line in our_command_lines(object) {
                is_understood(&line, file);
                lines += 1;
            }
        }
    }
    // prepare, two steps, three times resolve, run-image.
    assert_eq!(lines, 7);
}

#[test]
fn one_account_may_read_what_a_lookup_needs_and_the_other_may_read_nothing() {
    let all: Vec<Value> = files().into_iter().flat_map(|(_, all)| all).collect();
    let of_kind = |kind: &str| -> Vec<&Value> { all.iter().filter(|object| object["kind"] == kind).collect() };
    let [role] = of_kind("Role")[..] else { panic!("one Role") };
    is_least(role, "rbac.yaml");
    let accounts: BTreeSet<&str> = of_kind("ServiceAccount").into_iter().map(name).collect();
    assert_eq!(accounts, ["outsider", "reader"].into());
    let [binding] = of_kind("RoleBinding")[..] else { panic!("one RoleBinding") };
    assert_eq!(list(&binding["subjects"]).len(), 1);
    assert_eq!(binding["subjects"][0]["name"], "reader");
}
