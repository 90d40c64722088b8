//! Pods as Tekton's controller writes them, of real containers: our image prepares, then steps hand on to each other.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::podman::{Pod, Podman};
use crate::registry::{PASSWORD, Registry, USER};
use crate::release;
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

/// A step: its container's image and what else stands in the container, and what stands behind Tekton's own flags.
pub struct Step {
    image: String,
    arguments: Vec<String>,
    container: Value,
}

impl Step {
    /// A step that runs a script with busybox's shell.
    pub fn script(script: &str) -> Self {
        Self::new(BUSYBOX.to_owned(), &["-entrypoint", "/bin/sh", "--", "-c", script])
    }

    /// A step of the private image whose command is looked up.
    pub fn looked_up(world: &World) -> Self {
        Self::looked_up_as(world, "app")
    }

    /// The same of another of the world's images.
    pub fn looked_up_as(world: &World, name: &str) -> Self {
        let image = private(world, name);
        let arguments = ["-image", &image, "-image_registry_certificate", &certificate(world), "--"];
        Self::new(image.clone(), &arguments)
    }

    /// A step whose command is to be asked of whoever answers at this place.
    pub fn looked_up_at(host: &str) -> Self {
        Self::new(BUSYBOX.to_owned(), &["-image", &format!("{host}/ci/app:1"), "--"])
    }

    /// A step of the private image as an unmodified controller writes it for a Task whose `command` is
    /// `[/tekton/bin/entrypoint, run-image, IMAGE, flags, --]`.
    pub fn run_image(world: &World, args: &[&str]) -> Self {
        let image = private(world, "app");
        let certificate = certificate(world);
        let command = ["run-image", &image, "-image_registry_certificate", &certificate, "--"];
        let arguments = [&["-entrypoint", "/tekton/bin/entrypoint", "--"], &command[..], args].concat();
        Self::new(image.clone(), &arguments)
    }

    fn new(image: String, arguments: &[&str]) -> Self {
        Self { image, arguments: words(arguments), container: json!({}) }
    }

    /// With more of Tekton's flags, or of ours.
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.arguments.splice(0..0, words(flags));
        self
    }

    /// With more arguments.
    pub fn then(mut self, args: &[&str]) -> Self {
        self.arguments.extend(words(args));
        self
    }

    /// As the first step of a Task with sidecars, which waits until they are ready.
    pub fn when_ready(self) -> Self {
        self.with(&["-wait_file", "/tekton/downward/ready", "-wait_file_content"])
    }

    /// In a container of which more is said: `securityContext`, `resources`.
    pub fn contained(mut self, more: Value) -> Self {
        self.container = more;
        self
    }
}

/// A private image's name.
pub fn private(world: &World, name: &str) -> String {
    format!("{}/ci/{name}:1", world.host())
}

/// The value of `-image_registry_certificate` in a pod.
pub fn certificate(world: &World) -> String {
    format!("{}=/trust/authority.pem", world.host())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What a pod of real containers needs: podman, and a registry with the private image; `None` is a skip.
pub fn parts(purpose: &str) -> Option<(Podman, World)> {
    parts_with(purpose, &["app"])
}

/// The same with other images, which are pulled with the password, as kubelet would.
pub fn parts_with(purpose: &str, images: &[&str]) -> Option<(Podman, World)> {
    if !Registry::available(purpose) {
        return None;
    }
    let Some(busybox) = skip::busybox() else {
        skip::skip(&format!("{purpose}: needs a static busybox (Debian: apt-get install busybox-static)"));
        return None;
    };
    let podman = Podman::new(purpose, &busybox)?;
    let world = World::with_password(images)?;
    for name in images {
        podman.pull(&private(&world, name), &format!("{USER}:{PASSWORD}"), &world.path("cert-dir"));
    }
    podman.load(&world.path("layout"), "app", BUSYBOX);

    release::build(&podman, &world.path("."), &[], OURS);

    for name in ["gate", "trust"] {
        fs::create_dir(world.path(name)).expect("a directory");
    }
    fs::copy(world.path("authority.pem"), world.path("trust/authority.pem")).expect("the authority");
    let downward = world.path("downward");
    fs::create_dir(&downward).expect("a directory");
    for name in ["ready", "cancel"] {
        symlink(Path::new("..data").join(name), downward.join(name)).expect("a link");
    }
    annotate(&world, &[]);
    Some((podman, world))
}

/// Gives the files of the downward volume their content (`ready`, `cancel`), and the others none, as kubelet does: a
/// new directory, to which the link that all files go through is then turned in one step.
pub fn annotate(world: &World, annotations: &[(&str, &str)]) {
    let downward = world.path("downward");
    let version = (0..).map(|number| format!("..version-{number}")).find(|name| !downward.join(name).exists());
    let version = version.expect("there are numbers enough");
    fs::create_dir(downward.join(&version)).expect("a directory");
    for name in ["ready", "cancel"] {
        let content = annotations.iter().find(|(annotated, _)| *annotated == name).map_or("", |(_, content)| content);
        fs::write(downward.join(&version).join(name), content).expect("a file");
    }
    symlink(&version, downward.join("..data_tmp")).expect("a link");
    fs::rename(downward.join("..data_tmp"), downward.join("..data")).expect("the link is turned");
}

impl TaskRun<'_> {
    /// Starts the pod: its steps were started together when this returns.
    pub fn start<'p>(&self, podman: &'p Podman) -> Pod<'p> {
        for index in 0..self.steps.len() {
            let file = self.world.path(&format!("termination-{index}"));
            fs::write(&file, "").expect("a termination file");
            // Kubelet's mode: the step may have any user.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("the file is ours");
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
                "initContainers": [self.for_everybody(), {
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
        let always = [("gate", "/gate"), ("trust", "/trust"), ("downward", "/tekton/downward")];
        always.into_iter().chain(self.mounts.iter().copied())
    }

    /// The pod's emptyDirs.
    fn empty(&self) -> impl Iterator<Item = String> {
        let runs = (0..self.steps.len()).map(|index| format!("run-{index}"));
        ["bin", "steps", "results", "shared"].map(str::to_owned).into_iter().chain(runs)
    }

    /// What kubelet does before the first container: an emptyDir may be written to by everybody. Podman gives it to the user
    /// of the first container that mounts it.
    fn for_everybody(&self) -> Value {
        let mounts: Vec<Value> = self.empty().map(|name| mount(&name, &format!("/volumes/{name}"), false)).collect();
        json!({
            "name": "kubelet", "image": BUSYBOX, "imagePullPolicy": "Never", "volumeMounts": mounts,
            "command": ["/bin/sh", "-c", "/bin/busybox chmod 0777 /volumes/*"],
        })
    }

    fn volumes(&self) -> Vec<Value> {
        let host = |name: &str, kind: &str| json!({"name": format!("e2e-{name}"), "hostPath": {"path": self.world.path(name), "type": kind}});
        let empty = self.empty().map(|name| json!({"name": format!("e2e-{name}"), "emptyDir": {}}));
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
            mount("shared", "/shared", false),
            mount(&format!("termination-{index}"), "/tekton/termination", false),
        ];
        mounts.extend(self.directories().map(|(name, path)| mount(name, path, true)));
        let run = |run: usize| mount(&format!("run-{run}"), &format!("/tekton/run/{run}"), run != index);
        mounts.extend((0..self.steps.len()).map(run));
        let env: Vec<Value> = self.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let mut container = json!({
            "name": step_name(index), "image": step.image, "imagePullPolicy": "Never",
            "command": ["/tekton/bin/entrypoint"], "args": arguments, "env": env, "volumeMounts": mounts,
        });
        for (name, value) in step.container.as_object().into_iter().flatten() {
            container[name] = value.clone();
        }
        container
    }

    /// The entries of a termination message.
    pub fn entries(&self, index: usize) -> Vec<Value> {
        let path = self.world.path(&format!("termination-{index}"));
        let written = fs::read_to_string(path).expect("the message");
        serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"))
    }

    /// When a step's turn came.
    pub fn started_at(&self, index: usize) -> String {
        let entries = self.entries(index);
        let started = entries.iter().find(|entry| entry["key"] == "StartedAt").expect("StartedAt");
        started["value"].as_str().expect("text").to_owned()
    }

    /// The entries of a termination message, as `key=value`, without the time of `StartedAt`.
    pub fn message(&self, index: usize) -> Vec<String> {
        let entries = self.entries(index);
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
    format!("step-{}", ["a", "b", "c", "d"][index])
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
