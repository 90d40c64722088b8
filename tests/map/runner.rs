//! The flow of a runner's container hooks, with a real registry: images are pushed to a service by its name and named by a
//! port of the node, so that `localhost` is the registry for the node and nobody for the pod.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::kube_api::Cluster;
use crate::netns::{Netns, Running};
use crate::oci::{self, Entry, Layout, architecture};
use crate::skip;

/// The service's address, which the node has, and its name.
const SERVICE: (&str, &str) = ("10.96.0.10", "registry");
const AT_SERVICE: &str = "10.96.0.10:5000";
/// How kubelet pulls from it.
const ON_NODE: &str = "localhost:30500";
const USER: &str = "ci";
const PASSWORD: &str = "correct-horse";
const VARIABLES: [(&str, &str); 3] = [
    ("ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_HOST", "registry"),
    ("ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_PORT", "5000"),
    ("ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_NODE_PORT", "30500"),
];

/// A node with a registry as a service in it, and a pod whose root has the program and a shell.
struct World {
    node: Netns,
    pod: Netns,
    dir: tempfile::TempDir,
    _registry: Running,
}

impl World {
    /// The image `team/tool:1` is pushed to the registry by its service's name. With a password it is for whoever has it.
    fn new(purpose: &str, password: bool) -> Option<Self> {
        let wanted = [
            ("docker-registry", "docker-registry"),
            ("skopeo", "skopeo"),
            ("htpasswd", "apache2-utils"),
            ("busybox", "busybox-static"),
            ("chroot", "coreutils"),
        ];
        if !Netns::available(purpose) || !skip::programs(purpose, &wanted) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (node, pod) = (Netns::new(&[]), Netns::new(&[SERVICE]));
        node.join("10.42.0.1/24", &pod, "10.42.0.2/24");
        node.ip(&["addr", "add", &format!("{}/32", SERVICE.0), "dev", "lo"]);
        let registry = node.start(registry(dir.path(), password), AT_SERVICE);
        node.forward("127.0.0.1:30500", AT_SERVICE);
        let root = dir.path().join("root");
        for directory in ["etc", "bin", "run"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("etc/hosts"), format!("127.0.0.1 localhost\n{} {}\n", SERVICE.0, SERVICE.1)).unwrap();
        for (program, name) in [(skip::entrypoint(), "entrypoint"), (skip::busybox().unwrap(), "bin/busybox")] {
            fs::write(root.join(name), "").unwrap();
            pod.bind(&program, &root.join(name));
        }
        let cluster = Self { node, pod, dir, _registry: registry };
        cluster.push();
        Some(cluster)
    }

    /// Builds the image and pushes it, as a builder in the cluster does.
    fn push(&self) {
        let layout = self.dir.path().join("layout");
        let mut image = Layout::create(&layout);
        let layer = image.layer(&[Entry { path: "greeting", mode: 0o644, content: Some(b"hello") }]);
        let command = oci::Command { entrypoint: &["/bin/busybox", "echo", "from", "the"], cmd: &["registry"] };
        let descriptor = image.image(architecture(), command, &[layer]);
        image.tag("1", &descriptor);
        let done = self.skopeo(
            &self.pod,
            &[
                "copy",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--dest-creds",
                &format!("{USER}:{PASSWORD}"),
                &format!("oci:{}:1", layout.display()),
                "docker://registry:5000/team/tool:1",
            ],
        );
        assert!(done.status.success(), "{done:?}");
    }

    fn skopeo(&self, at: &Netns, args: &[&str]) -> Output {
        let mut command = Command::new(skip::program("skopeo").unwrap());
        command.args(args).stdin(Stdio::null());
        at.inside(move || command.output().unwrap())
    }

    /// What a runtime in this network would find under the image's name.
    fn pulls(&self, at: &Netns) -> bool {
        let creds = format!("{USER}:{PASSWORD}");
        let image = format!("docker://{ON_NODE}/team/tool:1");
        self.skopeo(at, &["inspect", "--tls-verify=false", "--creds", &creds, &image]).status.success()
    }

    /// The program in the pod, with nothing in its environment but these variables.
    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let mut command = Command::new(skip::program("chroot").unwrap());
        command.arg(self.path("")).arg("/entrypoint").args(args);
        command.env_clear().envs(env.iter().copied()).stdin(Stdio::null());
        let output = self.pod.inside(move || command.output().unwrap());
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        for text in [&stdout, &stderr] {
            assert!(!text.contains(PASSWORD), "{text}");
        }
        (output.status.code(), stdout, stderr)
    }

    /// A path of the pod's root, from outside.
    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join("root").join(inside)
    }
}

/// A registry over plain http that listens at the service's address.
fn registry(dir: &Path, password: bool) -> Command {
    let mut config = json!({
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": dir.join("storage")}},
        "http": {"addr": AT_SERVICE},
    });
    if password {
        let output = Command::new(skip::program("htpasswd").unwrap()).args(["-Bbn", USER, PASSWORD]).output().unwrap();
        fs::write(dir.join("htpasswd"), output.stdout).unwrap();
        config["auth"] = json!({"htpasswd": {"realm": "tests", "path": dir.join("htpasswd")}});
    }
    let file = dir.join("config.yml");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(skip::program("docker-registry").unwrap());
    command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
    command
}

#[test]
fn an_image_that_is_pushed_to_a_service_and_named_by_the_nodes_port_runs_with_only_the_runners_variables() {
    let Some(cluster) = World::new("the runner's registry", false) else { return };
    assert!(cluster.pulls(&cluster.node), "for kubelet localhost is the registry");
    assert!(!cluster.pulls(&cluster.pod), "for the pod it is nobody");
    let image = format!("{ON_NODE}/team/tool:1");

    let without = cluster.run(&["run-image", &image], &[]);
    assert!(without.0 == Some(1) && without.2.contains("cannot ask the registry localhost:30500"), "{without:?}");

    assert_eq!(
        cluster.run(&["run-image", &image], &VARIABLES),
        (Some(0), "from the registry\n".to_owned(), String::new())
    );
    let step = ["-image", &image, "-post_file", "/run/out", "-termination_path", "/run/message"];
    let step = [&step[..], &["-step_metadata_dir", "/run/status", "--", "step"]].concat();
    assert_eq!(cluster.run(&step, &VARIABLES), (Some(0), "from the step\n".to_owned(), String::new()));
    assert!(cluster.path("run/out").exists());

    let (code, story, stderr) = cluster.run(&["resolve", &image], &VARIABLES);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{story}");
    let start = format!("Image       {image}\nFound at    registry:5000/team/tool:1 ({})\n", VARIABLES[0].0);
    assert!(story.starts_with(&start), "{story}");
    assert!(!story.contains("https://"), "it is asked over http at once: {story}");
}

#[test]
fn the_other_spellings_of_the_variables_lead_to_the_same_registry() {
    let Some(cluster) = World::new("the runner's registry by its other names", false) else { return };
    let prefix = "ACTIONS_RUNNER_CONTAINER_HOOKS_";
    let local = ["LOCAL_REGISTRY_HOST", "LOCAL_REGISTRY_PORT", "LOCAL_REGISTRY_NODE_PORT"];
    let push = ["K8S_REGISTRY_HOST_PUSH", "K8S_REGISTRY_HOST_PULL"];
    let sets = [
        local.iter().zip(["registry", "5000", "30500"]).map(|(n, v)| (format!("{prefix}{n}"), v)).collect::<Vec<_>>(),
        push.iter().zip(["registry:5000", ON_NODE]).map(|(n, v)| (format!("{prefix}{n}"), v)).collect(),
    ];
    for set in sets {
        let env: Vec<(&str, &str)> = set.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        for image in [format!("{ON_NODE}/team/tool:1"), "127.0.0.1:30500/team/tool:1".to_owned()] {
            let ended = cluster.run(&["run-image", &image], &env);
            assert_eq!(ended, (Some(0), "from the registry\n".to_owned(), String::new()), "{env:?} {image}");
        }
    }
}

#[test]
fn a_registry_behind_a_map_by_http_is_shown_the_pull_secret_that_is_for_it() {
    let Some(cluster) = World::new("a password behind a map", true) else { return };
    let image = format!("{ON_NODE}/team/tool:1");
    let map = format!("-image_registry_map={ON_NODE}=http://registry:5000");

    // The runner's variables alone: nobody is shown anything.
    let (code, _, stderr) = cluster.run(&["resolve", &image], &VARIABLES);
    let hint = format!("shows nobody a credential: -image_registry_map {ON_NODE}=http://registry:5000 does");
    assert!(code == Some(1) && stderr.contains(&hint), "{stderr}");
    // The map alone: there is nothing to show.
    let (code, _, stderr) = cluster.run(&["resolve", &image, &map], &[]);
    assert!(
        code == Some(1) && stderr.contains("the registry registry:5000 does not show team/tool without"),
        "{stderr}"
    );

    let secrets = |key: &'static str| {
        let cluster = Cluster::new().service_account("ci", "builder", &["regcred"]);
        let cluster = cluster.allow("ci/builder", "serviceaccounts", &["builder"]);
        cluster.allow("ci/builder", "secrets", &["regcred"]).pull_secret("ci", "regcred", key, USER, PASSWORD)
    };
    for (key, found) in [("registry:5000", true), (ON_NODE, false)] {
        // Its port is the pod's.
        let api = cluster.pod.keep(move || secrets(key).start());
        fs::create_dir_all(cluster.path("account")).unwrap();
        api.mount(&cluster.path("account"), "ci", "builder");
        let own = api.env();
        let env: Vec<(&str, &str)> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (code, story, stderr) = cluster.run(&["resolve", &image, &map, "-service_account_dir", "/account"], &env);
        assert_eq!(code, Some(if found { 0 } else { 1 }), "{key}: {story}{stderr}");
        let used = "Credential  pull secret ci/regcred of the service account, key \"registry:5000\"\n";
        assert_eq!(story.contains(used), found, "{story}");
    }
}

#[test]
fn a_clouds_identity_is_for_the_place_and_not_for_what_the_image_names() {
    let Some(cluster) = World::new("a cloud behind a map", false) else { return };
    let cloud = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let none = "-image_credential_helpers=";
    let map = format!("-image_registry_map={cloud}=http://registry:5000");
    let (code, story, _) = cluster.run(&["resolve", &format!("{cloud}/team/tool:1"), &map, none], &[]);
    assert!(code == Some(0) && !story.contains(" identity: "), "{story}");
    // There is no way out of this network.
    let map = format!("-image_registry_map={ON_NODE}={cloud}");
    let (code, story, _) = cluster.run(&["resolve", &format!("{ON_NODE}/team/tool:1"), &map, none], &[]);
    assert!(code == Some(1) && story.contains(" identity: not asked: "), "{story}");
}
