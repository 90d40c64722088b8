//! The programs whose files these are: containerd, and skopeo for podman. What they ask, in which order, is asked here too.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::server::{Answer, Bound, Request, Server};
use super::{Node, REGISTRY, skip};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Servers that have nothing, and what they were asked for, in order.
struct Servers(Vec<Server>, std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl Servers {
    fn new(count: usize) -> Self {
        let asked = std::sync::Arc::default();
        let server = |index: usize| {
            let asked: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::clone(&asked);
            Server::handler(Bound::new(), None, move |request: &Request| {
                // The root tells a client whether it must log in.
                if request.path() == "/v2/" {
                    return Answer::new(200);
                }
                asked.lock().unwrap().push(format!("{index} {}", request.target));
                Answer::new(404)
            })
        };
        Self((0..count).map(server).collect(), asked)
    }

    /// A text with `{0}` and so on for the servers' addresses.
    fn named(&self, text: &str) -> String {
        let hosts = self.0.iter().enumerate();
        hosts.fold(text.to_owned(), |text, (index, server)| text.replace(&format!("{{{index}}}"), &server.host()))
    }

    /// The manifests that were asked for since this was asked last, each once in a row.
    fn manifests(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.1.lock().unwrap());
        asked.retain(|line| line.contains("/manifests/"));
        asked.dedup();
        asked
    }
}

/// A containerd of the test's own, which runs nothing.
struct Containerd {
    child: Child,
    socket: String,
}

impl Containerd {
    fn start(directory: &Path) -> Self {
        let socket = directory.join("c.sock").display().to_string();
        let config = format!(
            "version = 2\nroot = '{0}/root'\nstate = '{0}/state'\ndisabled_plugins = ['io.containerd.grpc.v1.cri', \
             'io.containerd.internal.v1.opt']\n[grpc]\naddress = '{socket}'\n[ttrpc]\naddress = '{socket}.ttrpc'\n",
            directory.display()
        );
        fs::write(directory.join("containerd.toml"), config).unwrap();
        let mut command = Command::new(skip::program("containerd").unwrap());
        command.arg("--config").arg(directory.join("containerd.toml"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, socket }
    }

    /// Asks for an image that nobody has. Until the daemon listens there is no answer: its client is told to wait.
    fn pull(&self, tree: &Path, image: &str) {
        let mut command = Command::new(skip::program("ctr").unwrap());
        command.args(["--address", &self.socket, "--connect-timeout", "60s", "images", "pull", "--hosts-dir"]);
        let output = command.arg(tree).arg(image).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("failed to resolve reference"), "{said}");
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn containerd_asks_the_same_places_in_the_same_order() {
    const PURPOSE: &str = "hosts.toml as containerd reads it";
    if !skip::root(PURPOSE) || !skip::programs(PURPOSE, &[("containerd", "containerd"), ("ctr", "containerd")]) {
        return;
    }
    let (node, servers) = (Node::new(), Servers::new(3));
    let containerd = Containerd::start(node.directory.path());
    for (registry, file) in [
        (REGISTRY, "server = 'http://{0}/x'\n[host.'http://{2}/v2/proxy']\noverride_path = true\n[host.'http://{1}']"),
        (REGISTRY, "server = 'http://{0}'\n[host.'http://{2}']\ncapabilities = ['pull']\n[host.'http://{1}/a/v2']"),
        (REGISTRY, "server = 'http://{0}'\n[host.'http://{1}']\ncapabilities = ['push']\n[host.'http://{2}'.header]"),
        (
            REGISTRY,
            "server = 'http://{0}'\ncapabilities = ['pull', 'resolve']\nskip_verify = true\n[host.'http://{1}']",
        ),
        (REGISTRY, "server = 'http://{0}'\n[host.'http://{1}'.header]\n[host.'http://{2}']\n[other]\nx = 1"),
        ("docker.io", "server = 'http://{1}'\n[host.'http://{0}/one']"),
        ("_default", "server = 'http://{1}'\n[host.'http://{0}/one']"),
        ("r.example_5000_", "server = 'http://{1}'\n[host.'http://{0}']"),
        ("r.example:5000", "server = 'http://{2}'\n[host.'http://{0}']"),
    ] {
        node.hosts_toml(registry, &servers.named(file));
        let image = match registry {
            "docker.io" => "docker.io/ci/app",
            "_default" => "other.example/ci/app",
            REGISTRY => "r.example/ci/app",
            _ => "r.example:5000/ci/app",
        };
        for image in [format!("{image}:1"), format!("{image}@{DIGEST}")] {
            containerd.pull(&node.path("certs.d"), &image);
            let theirs = servers.manifests();
            node.ask("certs.d", &image);
            assert!(!theirs.is_empty(), "{registry} {image}");
            assert_eq!(servers.manifests(), theirs, "{registry} {image}: {file}");
        }
    }
}

#[test]
fn skopeo_asks_the_same_places_in_the_same_order() {
    const PURPOSE: &str = "registries.conf as podman reads it";
    if !skip::programs(PURPOSE, &[("skopeo", "skopeo")]) {
        return;
    }
    let (node, servers) = (Node::new(), Servers::new(3));
    let own = "location = '{0}'\ninsecure = true\n";
    let mirrors = "[[registry.mirror]]\nlocation = '{2}/m'\ninsecure = true\n[[registry.mirror]]\nlocation = '{1}'\ninsecure = true\n";
    for (file, image) in [
        (format!("[[registry]]\nprefix = 'r.example'\n{own}{mirrors}"), "r.example/ci/app"),
        (format!("[[registry]]\nprefix = 'r.example/ci'\n{own}{mirrors}"), "r.example/ci/app"),
        (
            format!("[[registry]]\nprefix = 'r.example'\nmirror-by-digest-only = true\n{own}{mirrors}"),
            "r.example/ci/app",
        ),
        (
            format!("[[registry]]\nprefix = 'r.example'\n{own}{mirrors}pull-from-mirror = 'digest-only'"),
            "r.example/ci/app",
        ),
        (
            format!("[[registry]]\nprefix = 'r.example'\n{own}{mirrors}pull-from-mirror = 'tag-only'"),
            "r.example/ci/app",
        ),
        (format!("[[registry]]\nprefix = 'docker.io'\n{own}{mirrors}"), "busybox"),
        (format!("[[registry]]\nprefix = 'docker.io/library'\n{own}{mirrors}"), "docker.io/busybox"),
        (format!("[[registry]]\nprefix = '*.example'\n{own}{mirrors}"), "a.r.example/ci/app"),
        (
            format!(
                "[[registry]]\nprefix = 'r.example'\nlocation = '{{1}}'\ninsecure = true\n[[registry]]\nprefix = '*.example'\n{own}"
            ),
            "r.example/ci/app",
        ),
        (
            format!(
                "[[registry]]\nprefix = 'r.example'\nlocation = '{{1}}'\ninsecure = true\n[[registry]]\nprefix = 'r.example'\n{own}"
            ),
            "r.example/ci/app",
        ),
    ] {
        node.write("registries.conf", &servers.named(&file));
        // A directory of additions is always looked for.
        fs::create_dir_all(node.path("none.d")).unwrap();
        for image in [format!("{image}:1"), format!("{image}@{DIGEST}")] {
            let mut command = Command::new(skip::program("skopeo").unwrap());
            command.env("HOME", node.directory.path()).arg("--registries-conf").arg(node.path("registries.conf"));
            command.arg("--insecure-policy").args(["inspect", "--raw", "--no-creds", &format!("docker://{image}")]);
            let output = command.stdin(Stdio::null()).output().unwrap();
            let theirs = servers.manifests();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!theirs.is_empty(), "{image}: {file}: {said}");
            node.ask("registries.conf", &image);
            assert_eq!(servers.manifests(), theirs, "{image}: {file}: {said}");
        }
    }
}
