//! What is done while the disk fails: steps with all their files, setup commands, an image that is looked up.

use std::fs;

use base64::Engine as _;

use super::world::{DISK, command, put};
use crate::oci::{self, Layout, architecture};
use crate::registry::Registry;
use crate::server::{Bound, Server};
use std::process::Command;

/// One run of the program under test.
pub struct Scenario {
    pub name: &'static str,
    /// A step, whose end the next one waits for.
    pub step: bool,
    prepare: fn(),
    args: Vec<String>,
}

impl Scenario {
    /// The disk as the run finds it, and the run.
    pub fn ready(&self) -> Command {
        for directory in ["run/0", "run/1", "home", "tmp", "creds", "results", "steps"] {
            fs::create_dir_all(format!("{DISK}/{directory}")).unwrap();
        }
        (self.prepare)();
        command(&self.args)
    }
}

/// The flags with the files that every step has.
const FILES: [&str; 6] = [
    "-post_file",
    "/tekton/run/0/out",
    "-termination_path",
    "/tekton/termination",
    "-step_metadata_dir",
    "/tekton/run/0/status",
];

fn nothing() {}

fn secrets() {
    put("creds-secrets/s/username", "me");
    put("creds-secrets/s/password", "hunter2");
    put("creds-secrets/s/.dockerconfigjson", r#"{"auths":{"h":{"auth":"eDp5"}}}"#);
    put("creds-secrets/k/ssh-privatekey", "key\n");
}

fn provenance() {
    put("steps/step-a/artifacts/provenance.json", r#"{"outputs":[{"name":"o"}]}"#);
    put("scripts/s", "#!/bin/sh\necho '$(steps.a.outputs.o)'\n");
    fs::set_permissions(format!("{DISK}/scripts/s"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// A step with its files.
pub fn step(name: &'static str, prepare: fn(), flags: &[&str], rest: &[&str]) -> Scenario {
    let args = FILES.iter().chain(flags).chain(rest).map(|&word| word.to_owned()).collect();
    Scenario { name, step: true, prepare, args }
}

fn setup(name: &'static str, prepare: fn(), args: &[&str]) -> Scenario {
    Scenario { name, step: false, prepare, args: args.iter().map(|&word| word.to_owned()).collect() }
}

/// Everything that a step may leave.
const LEAVES: &str = "printf value >/tekton/results/r; printf own >/tekton/run/0/status/results/s; \
     printf '{\"outputs\":[]}' >/tekton/run/0/status/artifacts/provenance.json; echo said; echo wrong >&2";

/// What a step says itself.
const OWN: &str = r#"[{"key":"own","value":"1","type":1}]"#;

/// A program that is placed: more than one buffer.
pub fn program() -> Vec<u8> {
    (0_u32..5_000).flat_map(u32::to_le_bytes).collect()
}

/// A script, and what it is decoded from.
pub const SCRIPT: &str = "#!/bin/sh\necho decoded\n";

/// All of them; the image is asked for at this registry.
pub fn all(registry: &str) -> Vec<Scenario> {
    let sh = |script| ["-entrypoint", "/bin/sh", "--", "-c", script];
    let image = format!("{registry}/team/tool:v1");
    vec![
        step(
            "a step with all files",
            || put("go", ""),
            &[
                "-wait_file",
                "/tekton/go",
                "-results",
                "r",
                "-step_results",
                "s",
                "-timeout",
                "1h",
                "-stdout_path",
                "/tekton/logs/out",
                "-stderr_path",
                "/tekton/logs/err",
            ],
            &sh(LEAVES),
        ),
        step("a step behind its own message", || put("termination", OWN), &["-results", "r"], &sh(LEAVES)),
        step("a failing step", nothing, &["-results", "r"], &sh("printf value >/tekton/results/r; exit 3")),
        step("a failing step that is to continue", nothing, &["-on_error", "continue"], &sh("exit 3")),
        step(
            "a breakpoint",
            // What the scripts of a breakpoint write.
            || ["out.breakpointexit", "out.err"].iter().for_each(|name| put(&format!("run/0/{name}"), "5")),
            &["-breakpoint_on_failure"],
            &sh("exit 3"),
        ),
        step("a skipped step", || put("go.err", ""), &["-wait_file", "/tekton/go"], &sh("exit 0")),
        step("credentials", secrets, &["-basic-git=s=https://h", "-docker-config=s", "-ssh-git=k=h"], &sh("exit 0")),
        step("a script with references", provenance, &[], &["-entrypoint", "/tekton/scripts/s", "--"]),
        step(
            "an image",
            nothing,
            &[
                "-image",
                &image,
                "-image_insecure_registry",
                registry,
                "-image_cache_dir",
                "/tekton/cache",
                "-image_report_result",
                "image",
            ],
            &["--", "exit 0"],
        ),
        setup("cp", || put("program", program()), &["cp", "/tekton/program", "/tekton/bin"]),
        setup("init", || put("program", program()), &["init", "/tekton/program", "/tekton/bin", "step-a", "step-b"]),
        setup(
            "decode-script",
            || put("scripts/s", base64::engine::general_purpose::STANDARD.encode(SCRIPT)),
            &["decode-script", "/tekton/scripts/s"],
        ),
        setup("step-init", nothing, &["step-init", "step-a", "step-b"]),
    ]
}

/// What a registry with the image answers.
pub fn served() -> (Registry, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut layout = Layout::create(&dir.path().join("layout"));
    let image = layout.image(architecture(), oci::Command { entrypoint: &["/bin/sh", "-c"], cmd: &["exit 0"] }, &[]);
    layout.tag("v1", &image);
    (Registry { layout: layout.dir().to_owned(), authorization: None }, dir)
}

/// That registry.
pub fn registry() -> (Server, tempfile::TempDir) {
    let (served, dir) = served();
    (Server::handler(Bound::new(), None, move |request| served.answer(request)), dir)
}
