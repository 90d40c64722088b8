//! The image that is released: the last stage of the Dockerfile, with the program under test in the place of a compiler's.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::podman::Podman;
use crate::registry::{run, tool};
use crate::skip;
use crate::taskrun::OURS;
use crate::world::{World, nowhere};

/// The moment that everything in a reproducible image is of: 2026-01-01 00:00 UTC.
const MOMENT: &str = "1767225600";

/// What stands for the licences.
const LICENCES: &str = "What is linked, and under which licences.\n";

/// Builds the image below a directory, with more options of buildah's.
pub fn build(podman: &Podman, dir: &Path, options: &[&str], name: &str) {
    let build = dir.join("build");
    for place in ["out/ko-app", "out/licenses"] {
        fs::create_dir_all(build.join(place)).expect("a directory");
    }
    fs::copy(skip::entrypoint(), build.join("out/ko-app/entrypoint")).expect("the program");
    // What is in the real one is the matter of tests/dependencies.
    fs::write(build.join("out/licenses/entrypoint.txt"), LICENCES).expect("the licences");
    let context = format!("build={}", build.display());
    let dockerfile = skip::repository().join("Dockerfile").display().to_string();
    let stage = ["--target", "release", "--build-context", &context, "--file", &dockerfile];
    podman.build(&build, &[&stage, options].concat(), name);
}

/// A podman and the static busybox that it is tried with; `None` is a skip.
fn podman(purpose: &str) -> Option<Podman> {
    if !skip::programs(purpose, &[("busybox", "busybox-static"), ("tar", "tar")]) {
        return None;
    }
    Podman::new(purpose, &skip::busybox().expect("busybox"))
}

/// An image as it leaves the machine: what a registry would be given.
struct Pushed {
    dir: TempDir,
    digest: String,
}

impl Pushed {
    /// Builds in a directory of its own, and pushes.
    fn build(podman: &Podman, options: &[&str]) -> Self {
        let place = TempDir::new().expect("a directory");
        build(podman, place.path(), options, "localhost/release:1");
        let dir = TempDir::new().expect("a directory");
        podman.push("localhost/release:1", dir.path());
        let index: Value = read(&dir.path().join("index.json"));
        let digest = index["manifests"][0]["digest"].as_str().expect("a digest").to_owned();
        Self { dir, digest }
    }

    fn blob(&self, digest: &Value) -> std::path::PathBuf {
        self.dir.path().join("blobs").join(digest.as_str().expect("a digest").replace(':', "/"))
    }

    fn manifest(&self) -> Value {
        read(&self.blob(&json!(self.digest)))
    }

    fn config(&self) -> Value {
        read(&self.blob(&self.manifest()["config"]["digest"]))
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn two_builds_of_the_image_have_one_digest_and_it_holds_the_program_and_the_licences_alone() {
    let Some(podman) = podman("the image that is released") else { return };
    // Not the version of buildah, either.
    let moment = ["--timestamp", MOMENT, "--identity-label=false"];
    let first = Pushed::build(&podman, &moment);
    let second = Pushed::build(&podman, &moment);
    assert_eq!(first.digest, second.digest);

    let config = first.config();
    assert_eq!(
        config["config"],
        json!({
            "User": "65532:65532",
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": ["/ko-app/entrypoint"],
            "Labels": {
                "org.opencontainers.image.title": "entrypoint",
                "org.opencontainers.image.description": "The in-pod entrypoint of a pipeline step",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.revision": "",
                "org.opencontainers.image.source": "",
            },
        })
    );
    assert_eq!(config["created"], "2026-01-01T00:00:00Z");

    let manifest = first.manifest();
    let [layer] = manifest["layers"].as_array().expect("layers").as_slice() else { panic!("one layer: {manifest}") };
    let listed =
        run(tool("tar").args(["--utc", "--full-time", "--numeric-owner", "-tvf"]).arg(first.blob(&layer["digest"])));
    let listed: Vec<String> =
        listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let size = fs::metadata(skip::entrypoint()).expect("the program").len();
    assert_eq!(
        listed,
        [
            "drwxr-xr-x 0/0 0 2026-01-01 00:00:00 ko-app/".to_owned(),
            format!("-rwxr-xr-x 0/0 {size} 2026-01-01 00:00:00 ko-app/entrypoint"),
            "drwxr-xr-x 0/0 0 2026-01-01 00:00:00 licenses/".to_owned(),
            format!("-rw-r--r-- 0/0 {} 2026-01-01 00:00:00 licenses/entrypoint.txt", LICENCES.len()),
        ]
    );

    // What whoever releases says of it is in it; and a digest is of all that is in it.
    let released = Pushed::build(
        &podman,
        &[&moment[..], &["--build-arg", "REVISION=abc", "--build-arg", "SOURCE=https://git.example.org/e"]].concat(),
    );
    let labels = released.config()["config"]["Labels"].take();
    assert_eq!(labels["org.opencontainers.image.revision"], "abc");
    assert_eq!(labels["org.opencontainers.image.source"], "https://git.example.org/e");
    assert_ne!(released.digest, first.digest);
    assert_ne!(Pushed::build(&podman, &["--timestamp", "1", "--identity-label=false"]).digest, first.digest);
}

#[test]
fn the_image_resolves_as_its_own_user_on_a_read_only_root() {
    let Some(podman) = podman("resolve in the image that is released") else { return };
    let Some(world) = World::with_password(&["app"]) else { return };
    build(&podman, &world.path("."), &[], OURS);
    let mount = |from: &str, to: &str| format!("{}:{to}:ro", world.path(from).display());
    let certificate = format!("{}=/ca.pem", world.host());
    let image = format!("{}/ci/app:1", world.host());
    let options = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--env", "DOCKER_CONFIG=/docker"];
    let volumes = ["-v", &mount("docker", "/docker"), "-v", &mount("authority.pem", "/ca.pem")];
    let command = [OURS, "resolve", &image, "-image_registry_certificate", &certificate, "-o", "json"];
    let output = podman.run(&[&options[..], &volumes, &command].concat());
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["command"], json!(["/opt/app", "--greet", "world"]), "{told}");
    let texts = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    nowhere(&world.secrets(), texts.iter().map(String::as_str), &[]);

    // The root is read-only indeed, and the user is the image's.
    let output = podman.run(&[&options[..], &[OURS, "cp", "/ko-app/entrypoint", "/copy"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("read-only file system"), "{said}");
}
