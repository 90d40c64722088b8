//! Pods as Tekton's controller writes them, of real containers: our image prepares, then steps hand on to each other.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::podman::{Pod, Podman};
use crate::registry::Registry;
use crate::skip;
use crate::world::World;

pub const OURS: &str = "localhost/entrypoint:e2e";
pub const BUSYBOX: &str = "localhost/busybox:e2e";

/// A shell's script that waits until somebody lets it go, so that the order of events is the test's to decide.
pub const HELD: &str = "echo held; until [ -e /gate/open ]; do /bin/busybox sleep 0.05; done; echo let go";

/// A Task's steps, and what its author, its service account and its node give all of them.
pub struct TaskRun<'w> {
    pub world: &'w World,
    pub steps: Vec<Step>,
    /// Directories of the world and where they are mounted, beside `gate` and `trust`.
    pub mounts: Vec<(&'static str, &'static str)>,
    pub env: Vec<(String, String)>,
}

/// A step: its container's image, and what stands behind Tekton's own flags.
pub struct Step {
    image: String,
    arguments: Vec<String>,
}

impl Step {
    /// A step that runs a script with busybox's shell.
    pub fn script(script: &str) -> Self {
        Self { image: BUSYBOX.to_owned(), arguments: words(&["-entrypoint", "/bin/sh", "--", "-c", script]) }
    }

    /// A step of the private image whose command is looked up.
    pub fn looked_up(world: &World) -> Self {
        let image = private(world);
        let arguments = words(&["-image", &image, "-image_registry_certificate", &certificate(world), "--"]);
        Self { image, arguments }
    }

    /// A step whose command is to be asked of whoever answers at this place.
    pub fn looked_up_at(host: &str) -> Self {
        Self { image: BUSYBOX.to_owned(), arguments: words(&["-image", &format!("{host}/ci/app:1"), "--"]) }
    }

    /// A step of the private image as an unmodified controller writes it for a Task whose `command` is
    /// `[/tekton/bin/entrypoint, run-image, IMAGE, flags, --]`.
    pub fn run_image(world: &World, args: &[&str]) -> Self {
        let image = private(world);
        let certificate = certificate(world);
        let command = ["run-image", &image, "-image_registry_certificate", &certificate, "--"];
        let arguments = [&["-entrypoint", "/tekton/bin/entrypoint", "--"], &command[..], args].concat();
        Self { arguments: words(&arguments), image }
    }
}

/// The private image's name.
fn private(world: &World) -> String {
    format!("{}/ci/app:1", world.host())
}

fn certificate(world: &World) -> String {
    format!("{}=/trust/authority.pem", world.host())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What a pod of real containers needs: podman, and a registry with the private image; `None` is a skip.
pub fn parts(purpose: &str) -> Option<(Podman, World)> {
    if !Registry::available(purpose) {
        return None;
    }
    let Some(busybox) = skip::busybox() else {
        skip::skip(&format!("{purpose}: needs a static busybox (Debian: apt-get install busybox-static)"));
        return None;
    };
    let podman = Podman::new(purpose, &busybox)?;
    let world = World::with_password(&["app"])?;
    let layout = world.path("layout");
    podman.load(&layout, "app", &private(&world));
    podman.load(&layout, "app", BUSYBOX);

    // The last stage of the Dockerfile that is shipped, with the program under test in the place of a compiler's.
    let build = world.path("build");
    fs::create_dir_all(build.join("out")).expect("a directory");
    fs::copy(skip::entrypoint(), build.join("out/entrypoint")).expect("the program");
    let context = format!("build={}", build.display());
    let dockerfile = skip::repository().join("Dockerfile").display().to_string();
    let options = ["--target", "release", "--build-context", &context, "--file", &dockerfile];
    podman.build(&build, &options, OURS);

    for name in ["gate", "trust"] {
        fs::create_dir(world.path(name)).expect("a directory");
    }
    fs::copy(world.path("authority.pem"), world.path("trust/authority.pem")).expect("the authority");
    Some((podman, world))
}

impl TaskRun<'_> {
    /// Starts the pod: its steps were started together when this returns.
    pub fn start<'p>(&self, podman: &'p Podman) -> Pod<'p> {
        for index in 0..self.steps.len() {
            fs::write(self.world.path(&format!("termination-{index}")), "").expect("a termination file");
        }
        podman.play(&self.manifest())
    }

    /// Lets the step that is held go.
    pub fn let_go(&self) {
        fs::write(self.world.path("gate/open"), "").expect("the gate");
    }

    fn manifest(&self) -> Value {
        let init = ["/ko-app/entrypoint", "init", "/ko-app/entrypoint", "/tekton/bin/entrypoint"].map(str::to_owned);
        let init: Vec<String> = init.into_iter().chain((0..self.steps.len()).map(step_name)).collect();
        let steps: Vec<Value> =
            self.steps.iter().enumerate().map(|(index, step)| self.container(index, step)).collect();
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "e2e"},
            "spec": {
                "hostNetwork": true, "restartPolicy": "Never", "volumes": self.volumes(),
                "initContainers": [{
                    "name": "prepare", "image": OURS, "imagePullPolicy": "Never", "workingDir": "/",
                    "command": init,
                    "volumeMounts": [mount("bin", "/tekton/bin", false), mount("steps", "/tekton/steps", false)],
                }],
                "containers": steps,
            },
        })
    }

    /// The directories that a person or kubelet provides.
    fn directories(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        [("gate", "/gate"), ("trust", "/trust")].into_iter().chain(self.mounts.iter().copied())
    }

    fn volumes(&self) -> Vec<Value> {
        let host = |name: &str, kind: &str| json!({"name": format!("e2e-{name}"), "hostPath": {"path": self.world.path(name), "type": kind}});
        let runs = (0..self.steps.len()).map(|index| format!("run-{index}"));
        let empty = ["bin", "steps", "results"].map(str::to_owned).into_iter().chain(runs);
        let empty = empty.map(|name| json!({"name": format!("e2e-{name}"), "emptyDir": {}}));
        let files = (0..self.steps.len()).map(|index| host(&format!("termination-{index}"), "File"));
        empty.chain(files).chain(self.directories().map(|(name, _)| host(name, "Directory"))).collect()
    }

    /// A step's container, with the flags in Tekton's order.
    fn container(&self, index: usize, step: &Step) -> Value {
        let mut arguments = Vec::new();
        if let Some(previous) = index.checked_sub(1) {
            arguments.extend(["-wait_file".to_owned(), format!("/tekton/run/{previous}/out")]);
        }
        arguments.extend(["-post_file".to_owned(), format!("/tekton/run/{index}/out")]);
        arguments.extend(words(&["-termination_path", "/tekton/termination", "-step_metadata_dir"]));
        arguments.extend([format!("/tekton/run/{index}/status"), "-results".to_owned(), "greeting".to_owned()]);
        arguments.extend_from_slice(&step.arguments);
        let mut mounts = vec![
            mount("bin", "/tekton/bin", true),
            mount("steps", "/tekton/steps", true),
            mount("results", "/tekton/results", false),
            mount(&format!("termination-{index}"), "/tekton/termination", false),
        ];
        mounts.extend(self.directories().map(|(name, path)| mount(name, path, true)));
        let run = |run: usize| mount(&format!("run-{run}"), &format!("/tekton/run/{run}"), run != index);
        mounts.extend((0..self.steps.len()).map(run));
        let env: Vec<Value> = self.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({
            "name": step_name(index), "image": step.image, "imagePullPolicy": "Never",
            "command": ["/tekton/bin/entrypoint"], "args": arguments, "env": env, "volumeMounts": mounts,
        })
    }

    /// The entries of a termination message, as `key=value`, without the time of `StartedAt`.
    pub fn message(&self, index: usize) -> Vec<String> {
        let path = self.world.path(&format!("termination-{index}"));
        let written = fs::read_to_string(path).expect("the message");
        let entries: Vec<Value> = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let show = |entry: &Value| match text(&entry["key"]) {
            key if key == "StartedAt" => key,
            key => format!("{key}={}", text(&entry["value"])),
        };
        entries.iter().map(show).collect()
    }

    /// What the steps have printed.
    pub fn logs(&self, pod: &Pod) -> Vec<String> {
        (0..self.steps.len()).map(|index| pod.log(&step_name(index))).collect()
    }

    /// Looks for secrets in everything that the steps have printed and written.
    pub fn keeps_secrets(&self, pod: &Pod, more: &[String]) {
        let secrets = [self.world.secrets(), more.to_vec()].concat();
        let written = self.world.path("written");
        fs::create_dir(&written).expect("a directory");
        for index in 0..self.steps.len() {
            let name = format!("termination-{index}");
            fs::copy(self.world.path(&name), written.join(&name)).expect("the message");
        }
        let runs = (0..self.steps.len()).map(|index| pod.volume(&format!("e2e-run-{index}")));
        // A step that was not run has written no result.
        let results = Some(pod.volume("e2e-results"))
            .filter(|dir| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()));
        let dirs: Vec<_> = runs.chain(results).chain([written]).collect();
        let dirs: Vec<&Path> = dirs.iter().map(AsRef::as_ref).collect();
        crate::world::nowhere(&secrets, self.logs(pod).iter().map(String::as_str), &dirs);
    }
}

/// A step's container.
pub fn step_name(index: usize) -> String {
    format!("step-{}", ["a", "b", "c"][index])
}

fn mount(volume: &str, path: &str, read_only: bool) -> Value {
    json!({"name": format!("e2e-{volume}"), "mountPath": path, "readOnly": read_only})
}

/// What is in a volume: names below it, sorted; a directory's with a slash.
pub fn files(pod: &Pod, volume: &str) -> Vec<String> {
    fn walk(dir: &Path, below: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("the volume is there").map(|entry| entry.expect("an entry")) {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                found.push(format!("{name}/"));
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(&pod.volume(&format!("e2e-{volume}")), "", &mut found);
    found.sort();
    found
}

/// Whether a step has not ended yet.
pub fn runs_still(pod: &Pod, index: usize) -> bool {
    let files = files(pod, &format!("run-{index}"));
    // The lock by which the next step sees that this one lives, and no post file.
    files.iter().filter(|name| name.starts_with("out")).eq(["out.lock"])
}

/// What a step leaves that has succeeded.
pub const SUCCEEDED: [&str; 5] = ["out", "status/", "status/artifacts/", "status/exitCode", "status/results/"];
/// What a step leaves that has failed.
pub const FAILED: [&str; 4] = ["out.err", "status/", "status/artifacts/", "status/results/"];

/// The same of a step whose image was looked up.
pub fn with_image(files: &[&str]) -> Vec<String> {
    let mut files: Vec<String> = files.iter().copied().chain(["status/image.json"]).map(str::to_owned).collect();
    files.sort();
    files
}
