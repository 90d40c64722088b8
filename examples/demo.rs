//! The main job, shown on loopback: two steps start together; the second waits for the first, and while it waits its
//! command is looked up at a private registry with the identity of the pod. `demo ENTRYPOINT`, or `make run`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a program for people, which starts programs and tells a story"
)]

#[path = "../tests/support/kube_api.rs"]
mod kube_api;
#[path = "../tests/support/oci.rs"]
mod oci;
#[path = "demo/registry.rs"]
mod registry;
#[path = "../tests/support/server.rs"]
mod server;
#[path = "../tests/support/tls.rs"]
mod tls;
#[path = "demo/witness.rs"]
mod witness;

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use kube_api::Cluster;
use oci::{Layout, architecture};
use registry::Registry;
use server::{Bound, Reply, Request, Server};
use tls::{Authority, LOOPBACK};
use witness::{Event, Witness};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// A step's exit code, or none where a signal ended it.
type Ended = std::io::Result<Option<i32>>;

const NAMESPACE: &str = "demo";
const ACCOUNT: &str = "builder";
const USERNAME: &str = "team";
const PASSWORD: &str = "only the pull secret knows";
/// What the image runs: its ENTRYPOINT and, because the step gives no arguments, its CMD.
const ENTRYPOINT: [&str; 2] = ["/bin/echo", "hello from the image's ENTRYPOINT"];
const CMD: [&str; 2] = ["and", "its CMD"];
const PRINTED: &str = "hello from the image's ENTRYPOINT and its CMD\n";
/// The first step's work: it lasts until the second step's command was looked up, so that the order is no accident.
const WORK: &str = "echo working; until [ -e \"$0\" ]; do sleep 0.02; done; echo done";
/// How long anything may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(30);

const REGISTRY: &str = "registry";
const API: &str = "Kubernetes API";

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [entrypoint] = &arguments[..] else {
        eprintln!("usage: demo ENTRYPOINT (the program to show)");
        return ExitCode::FAILURE;
    };
    match demo(entrypoint) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the two steps and tells what happened. Whether everything was as it should be.
fn demo(entrypoint: &Path) -> Result<bool> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let witness = Arc::new(Witness::new());
    let world = World::start(dir, &witness)?;
    println!("Two steps of one pod are started at the same time. Nobody gave the second one a command.\n");

    let gate = dir.join("looked-up");
    let first = Step { index: 0, dir };
    let mut command = first.command(entrypoint);
    let first_child = first.start(command.args(["-entrypoint", "/bin/sh", "--", "-c", WORK]).arg(&gate))?;
    let second = Step { index: 1, dir };
    let mut command = second.command(entrypoint);
    let second_child = second.start(world.looked_up(&mut command))?;
    let ends = [first_child, second_child].map(|child| watch(child, &witness));

    // The last thing that a lookup asks for is the image's config, which is a blob.
    let ended = |event: &Event| event.who == "step 2";
    let config =
        |event: &Event| event.who == REGISTRY && event.what.contains("/blobs/") && event.what.ends_with(" 200");
    let answered = witness.wait_for(PATIENCE, |event| config(event) || ended(event));
    File::create(&gate)?;
    let mut codes = Vec::new();
    for end in ends {
        codes.push(end.join().map_err(|_| "a thread of the demo panicked")??);
    }

    println!("\nWhat happened:\n");
    let events = witness.all();
    for Event { at, who, what } in &events {
        println!("  {:>8.1} ms  {who:<14}  {what}", at.as_secs_f64() * 1e3);
    }
    println!("\nWhat the steps printed:\n");
    let printed = [first.printed()?, second.printed()?];
    for (step, (stdout, stderr)) in ["step 1", "step 2"].iter().zip(&printed) {
        for line in stdout.lines().chain(stderr.lines()) {
            println!("  {step}  {line}");
        }
    }
    println!("\nWhat they left:\n");
    let files = [first.files()?, second.files()?].concat();
    for (name, content) in &files {
        println!("  {name:<22}  {}", if content.is_empty() { "(empty)" } else { content });
    }

    println!("\nAs it should be?\n");
    let position = |such: &dyn Fn(&Event) -> bool| events.iter().position(such);
    let looked_up = position(&config);
    let first_done = position(&|event| event.who == "step 1");
    let before = |one: Option<usize>, other: Option<usize>| one.zip(other).is_some_and(|(one, other)| one < other);
    let told = format!("{printed:?}{files:?}");
    let file = |name: &str| files.iter().find(|(found, _)| found == name).map(|(_, content)| content.as_str());
    let checks = [
        ("the second step's command was looked up while the first worked", answered && before(looked_up, first_done)),
        (
            "under the pull secret of the pod's service account",
            events.iter().any(|event| event.what.contains(USERNAME)),
        ),
        ("and ran when the first was done", before(first_done, position(&ended)) && printed[1].0 == PRINTED),
        ("both ended well", codes == [Some(0), Some(0)]),
        ("both post files are there", file("run/0/out") == Some("") && file("run/1/out") == Some("")),
        ("and both exit codes", ["run/0/status/exitCode", "run/1/status/exitCode"].map(file) == [Some("0"); 2]),
        (
            "and both messages",
            ["termination-0", "termination-1"].map(file).iter().flatten().filter(|m| m.contains("StartedAt")).count()
                == 2,
        ),
        ("no secret was printed", !told.contains(PASSWORD) && !told.contains(&world.token)),
    ];
    for (what, holds) in &checks {
        println!("  {}  {what}", if *holds { "yes" } else { "NO " });
    }
    Ok(checks.iter().all(|(_, holds)| *holds))
}

/// What the pod's steps can reach: a private registry and the cluster's API, both over TLS with an authority that only
/// the given files know.
struct World {
    registry: Server,
    api: Server,
    authority: PathBuf,
    service_account: PathBuf,
    token: String,
}

impl World {
    fn start(dir: &Path, witness: &Arc<Witness>) -> Result<Self> {
        let authority = Authority::new("the demo's authority");
        let certificate = dir.join("authority.pem");
        fs::write(&certificate, authority.pem())?;

        let mut layout = Layout::create(&dir.join("registry"));
        let image = layout.image(architecture(), oci::Command { entrypoint: &ENTRYPOINT, cmd: &CMD }, &[]);
        layout.tag("1", &image);
        let authorization = format!("Basic {}", STANDARD.encode(format!("{USERNAME}:{PASSWORD}")));
        let registry = Registry { layout: layout.dir().to_owned(), authorization: Some(authorization) };
        let bound = Bound::new();
        // What a cluster's administrator has set up: an account that may read itself and its pull secret.
        let cluster = Cluster::new()
            .service_account(NAMESPACE, ACCOUNT, &["registry-credentials"])
            .pull_secret(NAMESPACE, "registry-credentials", &bound.host(), USERNAME, PASSWORD)
            .allow(&format!("{NAMESPACE}/{ACCOUNT}"), "serviceaccounts", &[ACCOUNT])
            .allow(&format!("{NAMESPACE}/{ACCOUNT}"), "secrets", &["registry-credentials"]);
        let noted = Arc::clone(witness);
        let registry = Server::handler(bound, Some(authority.server(LOOPBACK)), move |request| {
            let answer = Reply::from(registry.answer(request));
            noted.note(REGISTRY, asked(request, &answer));
            answer
        });
        let noted = Arc::clone(witness);
        let api = Server::handler(Bound::new(), Some(authority.server(LOOPBACK)), move |request| {
            let answer = cluster.answer(request);
            noted.note(API, asked(request, &answer));
            answer
        });

        // What kubelet mounts.
        let (service_account, token) = (dir.join("serviceaccount"), kube_api::token(NAMESPACE, ACCOUNT));
        fs::create_dir(&service_account)?;
        authority.write(&service_account);
        fs::write(service_account.join("token"), &token)?;
        fs::write(service_account.join("namespace"), NAMESPACE)?;
        Ok(Self { registry, api, authority: certificate, service_account, token })
    }

    /// The flags of a step that has an image and no command, and the environment that kubelet gives it.
    fn looked_up<'a>(&self, step: &'a mut Command) -> &'a mut Command {
        let (host, api) = (self.registry.host(), self.api.address());
        step.arg("-image").arg(format!("{host}/team/app:1"));
        step.arg("-image_registry_certificate").arg(format!("{host}={}", self.authority.display()));
        step.arg("-service_account_dir").arg(&self.service_account).arg("--");
        step.env("KUBERNETES_SERVICE_HOST", api.ip().to_string());
        step.env("KUBERNETES_SERVICE_PORT", api.port().to_string())
    }
}

/// A request as the story tells it: what was asked, who was said to ask, and the answer's status.
fn asked(request: &Request, answer: &Reply) -> String {
    let status = match answer {
        Reply::Answer(answer) => answer.status(),
        Reply::Raw(_) | Reply::Endless(..) | Reply::Stall(_) | Reply::Close => 0,
    };
    let who = match request.header("Authorization").and_then(|value| value.split_once(' ')) {
        Some(("Basic", proof)) => {
            let decoded = STANDARD.decode(proof).unwrap_or_default();
            let decoded = String::from_utf8_lossy(&decoded);
            format!("as {}, with a password", decoded.split(':').next().unwrap_or_default())
        }
        Some(("Bearer", _)) => "with the pod's token".to_owned(),
        Some((scheme, _)) => format!("with {scheme}"),
        None => "anonymously".to_owned(),
    };
    // A digest is as long as a line: its beginning tells it from others.
    let line = request.line();
    let line = line
        .split_once("sha256:")
        .map_or(line.clone(), |(start, hex)| format!("{start}sha256:{}...", hex.chars().take(8).collect::<String>()));
    format!("{line}, {who}: {status}")
}

/// A step of the pod, and where its files are.
struct Step<'a> {
    index: usize,
    dir: &'a Path,
}

impl Step<'_> {
    fn run(&self, index: usize) -> PathBuf {
        self.dir.join(format!("run/{index}"))
    }

    fn log(&self, stream: &str) -> PathBuf {
        self.dir.join(format!("{stream}-{}", self.index))
    }

    /// The flags that every step has.
    fn command(&self, entrypoint: &Path) -> Command {
        let mut command = Command::new(entrypoint);
        if let Some(previous) = self.index.checked_sub(1) {
            command.arg("-wait_file").arg(self.run(previous).join("out"));
        }
        command.arg("-post_file").arg(self.run(self.index).join("out"));
        command.arg("-termination_path").arg(self.dir.join(format!("termination-{}", self.index)));
        command.arg("-step_metadata_dir").arg(self.run(self.index).join("status"));
        command
    }

    /// Starts it, and shows its command line with the demo's directory left out.
    fn start(&self, command: &mut Command) -> Result<(&'static str, Child)> {
        fs::create_dir_all(self.run(self.index))?;
        let name = if self.index == 0 { "step 1" } else { "step 2" };
        let arguments: Vec<String> = command.get_args().map(|argument| quoted(&argument.to_string_lossy())).collect();
        let line = arguments.join(" ").replace(&format!("{}/", self.dir.display()), "");
        // What every step has on the first line, what is this one's own on the next.
        let own = ["-entrypoint ", "-image "].iter().find_map(|flag| line.find(flag)).unwrap_or(line.len());
        let (common, own) = line.split_at(own);
        println!("  {name}  entrypoint {common}\n          {own}\n");
        let (stdout, stderr) = (File::create(self.log("stdout"))?, File::create(self.log("stderr"))?);
        let child = command.env_remove("DOCKER_CONFIG").stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn()?;
        Ok((name, child))
    }

    fn printed(&self) -> Result<(String, String)> {
        Ok((fs::read_to_string(self.log("stdout"))?, fs::read_to_string(self.log("stderr"))?))
    }

    /// The files that the step has written, with their contents.
    fn files(&self) -> Result<Vec<(String, String)>> {
        let run = format!("run/{}", self.index);
        let names = [
            format!("{run}/out"),
            format!("{run}/out.err"),
            format!("{run}/status/exitCode"),
            format!("termination-{}", self.index),
        ];
        let there = names.into_iter().filter(|name| self.dir.join(name).exists());
        there.map(|name| Ok((name.clone(), fs::read_to_string(self.dir.join(name))?))).collect()
    }
}

/// A word as a shell would need it.
fn quoted(word: &str) -> String {
    if word.contains([' ', '"', '$', ';']) { format!("'{word}'") } else { word.to_owned() }
}

/// Notes the end of a step; its exit code.
fn watch((name, mut child): (&'static str, Child), witness: &Arc<Witness>) -> thread::JoinHandle<Ended> {
    let witness = Arc::clone(witness);
    thread::spawn(move || {
        let status = child.wait()?;
        witness.note(name, format!("ended: {status}"));
        Ok(status.code())
    })
}
