//! Real containers: podman with storage and settings of its own, so that nothing of the machine's is touched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::registry::{run, tool};
use super::skip;

/// How long the containers of a pod may take before the test is given up. No test passes sooner or later by it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Strips the resource limits that podman asks for and that some machines, lacking `CAP_SYS_RESOURCE`, cannot grant,
/// from a container's description before runc reads it. Used only where podman cannot run a container without.
const RUNTIME_WITHOUT_LIMITS: &str = r#"#!/bin/sh
bundle=. previous= strip=
for word; do
    case $previous in --bundle | -b) bundle=$word ;; esac
    case $word in --bundle=*) bundle=${word#*=} ;; create | run) strip=yes ;; esac
    previous=$word
done
[ -z "$strip" ] || sed -i \
    -e 's/"rlimits":\[[^]]*\],//' -e 's/,"rlimits":\[[^]]*\]//' \
    -e 's/"oomScoreAdj":-[0-9]*,//' -e 's/,"oomScoreAdj":-[0-9]*//' "$bundle/config.json"
exec runc "$@"
"#;

/// A podman of the test's own.
pub struct Podman {
    dir: TempDir,
}

impl Podman {
    /// A podman that can run containers here, or `None`, and then the test is skipped. `busybox` is used to try it.
    pub fn new(purpose: &str, busybox: &Path) -> Option<Self> {
        let wanted = [("podman", "podman"), ("buildah", "buildah"), ("skopeo", "skopeo"), ("conmon", "conmon")];
        if !skip::root(purpose) || !skip::programs(purpose, &wanted) {
            return None;
        }
        let podman = Self { dir: TempDir::new().expect("a directory") };
        let context = podman.dir.path().join("probe");
        fs::create_dir(&context).expect("a directory");
        fs::copy(busybox, context.join("busybox")).expect("busybox");
        fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY busybox /busybox\n").expect("a Dockerfile");

        podman.configure(None);
        podman.build(&context, &[], "localhost/probe");
        let probe = ["run", "--rm", "--network", "host", "--pull", "never", "localhost/probe", "/busybox", "true"];
        let plain = podman.tool("podman").args(probe).stdin(Stdio::null()).output().expect("podman starts");
        if plain.status.success() {
            return Some(podman);
        }
        let wrapper = podman.dir.path().join("runtime");
        fs::write(&wrapper, RUNTIME_WITHOUT_LIMITS).expect("the wrapper");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("the wrapper is executable");
        podman.configure(Some(&wrapper));
        let wrapped = podman.tool("podman").args(probe).stdin(Stdio::null()).output().expect("podman starts");
        if wrapped.status.success() {
            return Some(podman);
        }
        let said = |stderr: &[u8]| String::from_utf8_lossy(stderr).lines().next().unwrap_or_default().to_owned();
        let (plain, wrapped) = (said(&plain.stderr), said(&wrapped.stderr));
        skip::skip(&format!("{purpose}: podman runs no container here: {plain}; without limits: {wrapped}"));
        None
    }

    fn configure(&self, runtime: Option<&Path>) {
        let dir = self.dir.path();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            dir.join("graph"),
            dir.join("run")
        );
        fs::write(dir.join("storage.conf"), storage).expect("storage.conf");
        // Temporary files and locks of its own too: by default all podmans of a user share them, and the reset of one takes
        // them from under the containers of another.
        let mut containers = format!(
            "[engine]\nevents_logger = \"file\"\ncgroup_manager = \"cgroupfs\"\nlock_type = \"file\"\ntmp_dir = {:?}\n",
            dir.join("tmp")
        );
        if let Some(runtime) = runtime {
            containers += &format!("runtime = \"unlimited\"\n[engine.runtimes]\nunlimited = [{runtime:?}]\n");
        }
        containers += "[network]\nnetwork_backend = \"netavark\"\n";
        fs::write(dir.join("containers.conf"), containers).expect("containers.conf");
    }

    /// A command of the containers family, in this podman's world.
    fn tool(&self, name: &str) -> Command {
        let mut command = tool(name);
        command
            // Where a container runs out of memory, its monitor leaves a file in the directory that it was started in.
            .current_dir(self.dir.path())
            .env("CONTAINERS_CONF", self.dir.path().join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.dir.path().join("storage.conf"));
        command
    }

    /// Builds an image from a directory's Dockerfile, with more options.
    pub fn build(&self, context: &Path, options: &[&str], name: &str) {
        run(self
            .tool("buildah")
            .args(["bud", "--quiet", "--network", "none"])
            .args(options)
            .args(["-t", name])
            .arg(context));
    }

    /// Brings an image of a layout into the storage, under a name.
    pub fn load(&self, layout: &Path, tag: &str, name: &str) {
        run(self
            .tool("skopeo")
            .args(["copy", "--quiet", "--insecure-policy"])
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("containers-storage:{name}")));
    }

    /// Pulls an image from a registry, as kubelet does with a pull secret: `credentials` is `USER:PASSWORD`, `authorities` a
    /// directory with the registry's own in a file `*.crt`.
    pub fn pull(&self, image: &str, credentials: &str, authorities: &Path) {
        let mut pull = self.tool("podman");
        pull.args(["pull", "--quiet", "--creds", credentials, "--cert-dir"]).arg(authorities).arg(image);
        run(&mut pull);
    }

    /// Writes an image into an OCI layout, as it would go to a registry.
    pub fn push(&self, name: &str, layout: &Path) {
        run(self
            .tool("buildah")
            .args(["push", "--quiet", "--format", "oci", name])
            .arg(format!("oci:{}:1", layout.display())));
    }

    /// Runs a container until it has ended: the options, the image and its arguments. It shares the machine's network.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.tool("podman");
        command.args(["run", "--rm", "--network", "host", "--pull", "never"]).args(arguments);
        command.stdin(Stdio::null()).output().expect("podman starts")
    }

    /// What podman knows about an image.
    pub fn inspect_image(&self, name: &str) -> Value {
        let described = run(self.tool("podman").args(["image", "inspect", name]));
        serde_json::from_str::<Value>(&described).expect("JSON")[0].take()
    }

    /// Starts a pod: when this returns, its init containers have succeeded and its containers were started.
    pub fn play(&self, pod: &Value) -> Pod<'_> {
        let name = pod["metadata"]["name"].as_str().expect("a pod has a name").to_owned();
        let names = |list: &Value| -> Vec<String> {
            let named = list.as_array().into_iter().flatten();
            named.map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
        };
        let manifest = self.dir.path().join(format!("{name}.yaml"));
        fs::write(&manifest, pod.to_string()).expect("the manifest");
        let containers = names(&pod["spec"]["containers"]);
        let volumes = names(&pod["spec"]["volumes"]);
        let played = Pod { podman: self, name, containers, volumes };
        run(self.tool("podman").args(["kube", "play", "--network", "host"]).arg(&manifest));
        played
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let quiet = |command: &mut Command| {
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        quiet(self.tool("podman").args(["system", "reset", "--force"]));
        // The storage driver mounts its directory on itself; what is mounted cannot be removed.
        for mount in ["graph/overlay", "graph"] {
            let mount = self.dir.path().join(mount);
            if mount.exists() {
                quiet(Command::new("umount").arg(mount));
            }
        }
    }
}

/// A pod that was started. It and its volumes are removed when this is dropped.
pub struct Pod<'a> {
    podman: &'a Podman,
    name: String,
    containers: Vec<String>,
    volumes: Vec<String>,
}

impl Pod<'_> {
    /// Waits until every container has ended; their exit codes. A pod that does not end fails the test with what its
    /// containers are doing.
    pub fn wait(&self) -> BTreeMap<&str, i32> {
        let mut waits: Vec<Command> = Vec::new();
        for container in &self.containers {
            let mut wait = self.podman.tool("podman");
            wait.args(["wait", &format!("{}-{container}", self.name)]);
            waits.push(wait);
        }
        let (send, receive) = channel();
        // Not joined: where the pod does not end, this does not before the pod is removed.
        thread::spawn(move || {
            let codes: Vec<String> = waits.iter_mut().map(run).collect();
            let _ = send.send(codes);
        });
        match receive.recv_timeout(PATIENCE) {
            Ok(codes) => {
                let codes = codes.iter().map(|code| code.trim().parse().expect("an exit code"));
                self.containers.iter().map(String::as_str).zip(codes).collect()
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("given up on pod {} after {PATIENCE:?}: it does not end\n{}", self.name, self.state())
            }
            Err(RecvTimeoutError::Disconnected) => panic!("podman wait failed\n{}", self.state()),
        }
    }

    /// Ends the pod as kubelet does that is asked to delete it: SIGTERM to every container, and SIGKILL to what has not
    /// ended in two minutes.
    pub fn stop(&self) {
        run(self.podman.tool("podman").args(["pod", "stop", "--time", "120", &self.name]));
    }

    /// A container's first process, as this machine numbers it.
    pub fn pid(&self, container: &str) -> i32 {
        let name = format!("{}-{container}", self.name);
        let pid = run(self.podman.tool("podman").args(["inspect", "--format", "{{.State.Pid}}", &name]));
        pid.trim().parse().expect("a process id")
    }

    /// What the containers are doing, and what they have printed.
    fn state(&self) -> String {
        let mut list = self.podman.tool("podman");
        let mut text = run(list.args(["ps", "--all", "--format", "{{.Names}}: {{.Status}}"]));
        for container in &self.containers {
            text += &format!("--- log of {container}\n{}", self.log(container));
        }
        text
    }

    /// What a container has printed, stdout and stderr.
    pub fn log(&self, container: &str) -> String {
        let name = format!("{}-{container}", self.name);
        let logs =
            self.podman.tool("podman").args(["logs", &name]).stdin(Stdio::null()).output().expect("podman starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&logs.stdout) + &text(&logs.stderr)
    }

    /// The directory of the host in which an emptyDir's files are.
    pub fn volume(&self, name: &str) -> PathBuf {
        let mut inspect = self.podman.tool("podman");
        PathBuf::from(run(inspect.args(["volume", "inspect", "--format", "{{.Mountpoint}}", name])).trim())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let mut remove = vec![vec![
            "pod".to_owned(),
            "rm".to_owned(),
            "--force".to_owned(),
            "--time=0".to_owned(),
            self.name.clone(),
        ]];
        remove.extend(
            self.volumes
                .iter()
                .map(|volume| vec!["volume".to_owned(), "rm".to_owned(), "--force".to_owned(), volume.clone()]),
        );
        for arguments in remove {
            let _ = self
                .podman
                .tool("podman")
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
