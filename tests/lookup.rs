//! The looked-up step from outside: the built binary, loopback registries, and what every failure leaves behind.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

use std::net::TcpListener;
use std::path::PathBuf;

#[path = "support/oci.rs"]
mod oci;
#[path = "../examples/demo/registry.rs"]
#[allow(unreachable_pub, reason = "shared with the demo")]
mod registry;
#[path = "support/server.rs"]
mod server;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;

use oci::{Command, Layout, architecture};
use registry::Registry;
use server::{Answer, Bound, Reply, Request, Server};
use step::{Ended, Step, eventually, only_child};
use tls::{Authority, LOOPBACK};

/// A registry over TLS on loopback, and the files that a step needs to ask it.
struct World {
    dir: tempfile::TempDir,
    layout: Layout,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&dir.path().join("layout"));
        let authority = Authority::new("the tests' authority");
        authority.write(dir.path());
        Self { dir, layout, authority }
    }

    /// Adds an image that echoes.
    fn echo(mut self, tag: &str) -> Self {
        let image = self.layout.image(
            architecture(),
            Command { entrypoint: &["/bin/echo", "from", "the"], cmd: &["image"] },
            &[],
        );
        self.layout.tag(tag, &image);
        self
    }

    /// Serves the layout; `wanted` is the `Authorization` that is asked for.
    fn serve(&self, wanted: Option<&str>) -> Server {
        let registry = Registry { layout: self.layout.dir().to_owned(), authorization: wanted.map(str::to_owned) };
        self.serve_with(move |request| registry.answer(request).into())
    }

    fn serve_with(&self, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::handler(Bound::new(), Some(self.authority.server(LOOPBACK)), answer)
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// A step that looks its command up, told to trust the tests' authority.
    fn step(&self, host: &str, image: &str) -> Step {
        let certificate = format!("{host}={}", self.ca().display());
        Step::new().flags(["-image", &format!("{host}/{image}"), "-image_registry_certificate", &certificate])
    }
}

/// What every failed lookup leaves: `.err`, exit code 1, a message with its reason, one sentence, once in the log when
/// it happened and once at the step's turn; and the next step is released by it.
fn fails_with(step: Step, parts: &[&str]) {
    let next = Step::new().flags(["-wait_file", &step.path("out").display().to_string()]);
    let waiting = next.start(&["-entrypoint", "/bin/true", "--"]);
    let child = step.start(&["--"]);
    // The next step first: to read what this one left is to remove its directory, post file and all.
    let next = next.finish(waiting);
    assert_eq!((next.code(), next.err), (1, true), "the next step is released: {next:#?}");
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.err, &ended.exit_code), (1, false, true, &None), "{ended:#?}");
    let message = ended.message.as_deref().expect("a message");
    assert!(message.contains(r#"{"key":"Reason","value":"ImageLookupFailed","type":3}"#), "{message}");
    let last = ended.stderr.lines().last().expect("a line");
    assert!(last.contains(" cannot look up the command of image "), "{last}");
    for part in parts {
        assert!(last.contains(part), "no {part:?} in: {last}");
    }
}

fn ran(ended: &Ended, stdout: &str) {
    assert_eq!((ended.code(), ended.post, ended.stdout.as_str()), (0, true, stdout), "{ended:#?}");
    assert_eq!(ended.exit_code.as_deref(), Some("0"));
    assert_eq!(ended.message.as_deref(), Some(r#"[{"key":"StartedAt","value":"T","type":3}]"#));
    assert_eq!(ended.stderr, "", "a success is silent");
}

/// The process that looks up for a step, as soon as it is there.
fn lookup_of(step: &std::process::Child) -> i32 {
    let mut lookup = None;
    eventually("the lookup's process is there", || {
        lookup = only_child(step.id());
        lookup.is_some()
    });
    lookup.unwrap()
}

/// The first line of a step's log, as soon as it is there.
fn first_line(child: &mut std::process::Child) -> String {
    let mut line = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    // What follows is not read: the pipe is left open, so that writing to it does not fail.
    std::mem::forget(stderr);
    line
}

#[test]
fn a_step_runs_what_its_image_says() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    ran(&world.step(&registry.host(), "team/tool:v1").run(&["--"]), "from the image\n");
}

#[test]
fn a_step_s_own_arguments_replace_the_image_s_cmd() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    ran(&world.step(&registry.host(), "team/tool:v1").run(&["--", "step"]), "from the step\n");
}

#[test]
fn the_lookup_happens_while_the_step_waits() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    let step = world.step(&registry.host(), "team/tool:v1");
    let before = step.path("before");
    let step = step.flags(["-wait_file", &before.display().to_string()]);
    let child = step.start(&["--"]);
    eventually("the config was fetched", || registry.lines().iter().any(|line| line.contains("/blobs/")));
    eventually("the lookup's process is gone", || only_child(child.id()).is_none());
    std::fs::write(before, "").unwrap();
    ran(&step.finish(child), "from the image\n");
}

#[test]
fn docker_s_config_opens_a_private_registry_and_no_output_holds_the_password() {
    let world = World::new().echo("v1");
    // user:hunter2
    let registry = world.serve(Some("Basic dXNlcjpodW50ZXIy"));
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpodW50ZXIy"}}}}}}"#, registry.host());
    std::fs::write(world.dir.path().join("config.json"), config).unwrap();
    let docker_config = world.dir.path().display().to_string();
    let step = world.step(&registry.host(), "team/tool:v1").env("DOCKER_CONFIG", &docker_config);
    ran(&step.run(&["--"]), "from the image\n");

    let wrong = world.serve(Some("Basic something-else"));
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpodW50ZXIy"}}}}}}"#, wrong.host());
    std::fs::write(world.dir.path().join("config.json"), config).unwrap();
    let step = world.step(&wrong.host(), "team/tool:v1").env("DOCKER_CONFIG", &docker_config);
    let ended = step.run(&["--"]);
    for secret in ["hunter2", "dXNlcjpodW50ZXIy"] {
        assert!(!format!("{ended:?}").contains(secret), "{ended:#?}");
    }
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains("401") && last.contains("tried: ") && last.contains("config.json"), "{last}");
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let (world, host) = (World::new(), Bound::new().host());
    fails_with(world.step(&host, "team/tool:v1"), &[&host, "refused"]);
}

#[test]
fn an_unknown_authority_is_named_with_the_flag_that_makes_it_known() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    let image = format!("{}/team/tool:v1", registry.host());
    let flag = format!("-image_registry_certificate {}=", registry.host());
    fails_with(Step::new().flags(["-image", &image]), &[&flag]);
}

#[test]
fn a_registry_of_an_unknown_authority_is_believed_where_the_flag_says_so() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    let image = format!("{}/team/tool:v1", registry.host());
    let step = Step::new().flags(["-image", &image, "-image_skip_tls_verify_registry", &registry.host()]);
    ran(&step.run(&["--"]), "from the image\n");
}

#[test]
fn an_authority_of_the_environment_is_trusted_and_a_file_that_adds_none_is_told() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    let step = || Step::new().flags(["-image", &format!("{}/team/tool:v1", registry.host())]);
    ran(&step().env("SSL_CERT_FILE", &world.ca().display().to_string()).run(&["--"]), "from the image\n");
    fails_with(
        step().env("SSL_CERT_FILE", "/absent/ca.pem"),
        &["not trusted here", "SSL_CERT_FILE=/absent/ca.pem: adds no trusted certificate"],
    );
}

#[test]
fn the_platform_of_the_flag_is_asked_for_instead_of_the_machines_own() {
    let mut world = World::new();
    let foreign = world.layout.image("riscv64", Command { entrypoint: &["/bin/echo", "riscv64"], cmd: &[] }, &[]);
    let index = world.layout.index(&[foreign]);
    world.layout.tag("v1", &index);
    let registry = world.serve(None);
    let step = || world.step(&registry.host(), "team/tool:v1");
    ran(&step().flags(["-image_platform", "linux/riscv64"]).run(&["--"]), "riscv64\n");
    fails_with(step().flags(["-image_platform", "linux/s390x"]), &["not there for linux/s390x", "linux/riscv64"]);
}

#[test]
fn a_proxy_that_never_answers_is_named_when_the_time_is_up() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://ci:hunter2@{}", proxy.local_addr().unwrap());
    let step = Step::new().flags(["-image", "registry.example/team/tool:v1", "-image_lookup_timeout", "500ms"]);
    let step = step.env("HTTPS_PROXY", &address);
    let named = format!("proxy http://{} (HTTPS_PROXY): in between", proxy.local_addr().unwrap());
    fails_with(step, &["no answer from registry.example within 500ms", &named]);
}

#[test]
fn a_registry_that_asks_for_a_password_we_do_not_have_is_told_with_every_source() {
    let world = World::new().echo("v1");
    let registry = world.serve(Some("Basic dXNlcjpodW50ZXIy"));
    fails_with(world.step(&registry.host(), "team/tool:v1"), &["401", "-image_pull_secrets; tried: ", "docker"]);
}

#[test]
fn an_image_that_is_not_there_is_told() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    fails_with(world.step(&registry.host(), "team/tool:v2"), &["404", "team/tool:v2"]);
}

#[test]
fn a_manifest_that_lies_about_its_digest_is_refused() {
    let world = World::new();
    let registry = world.serve_with(|_| {
        Answer::new(200).header("Content-Type", "application/vnd.oci.image.manifest.v1+json").body("{}").into()
    });
    let digest = format!("team/tool@sha256:{}", "0".repeat(64));
    fails_with(world.step(&registry.host(), &digest), &["digest", &"0".repeat(64)]);
}

#[test]
fn an_index_without_our_platform_says_what_it_has() {
    let mut world = World::new();
    let image = world.layout.image("riscv64", Command { entrypoint: &["/x"], cmd: &[] }, &[]);
    let index = world.layout.index(&[image]);
    world.layout.tag("v1", &index);
    let registry = world.serve(None);
    fails_with(world.step(&registry.host(), "team/tool:v1"), &["linux/riscv64"]);
}

#[test]
fn an_image_with_neither_entrypoint_nor_cmd_shows_what_to_add() {
    let mut world = World::new();
    let image = world.layout.image(architecture(), Command::default(), &[]);
    world.layout.tag("v1", &image);
    let registry = world.serve(None);
    let step = world.step(&registry.host(), "team/tool:v1");
    let ended = step.run(&["--", "an", "argument"]);
    assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
    assert!(ended.message.as_deref().unwrap().contains("ImageLookupFailed"), "{ended:#?}");
    assert!(ended.stderr.contains("neither ENTRYPOINT nor CMD") && ended.stderr.contains("command: ["), "{ended:#?}");
}

#[test]
fn a_reference_that_is_none_is_shown() {
    fails_with(Step::new().flags(["-image", "registry.example.com/UPPER"]), &["UPPER"]);
}

#[test]
fn a_registry_that_never_answers_costs_the_attempt_and_not_more() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let world = World::new();
    fails_with(
        world.step(&host, "team/tool:v1").flags(["-image_lookup_timeout", "500ms"]),
        &[&host, "500ms", "-image_lookup_timeout"],
    );
}

#[test]
fn an_attempt_that_runs_out_of_time_tells_what_it_has_met() {
    let world = World::new();
    let server = world.serve_with(|_| Answer::new(503).into());
    let host = server.host();
    fails_with(
        world.step(&host, "team/tool:v1").flags(["-image_lookup_timeout", "2s"]),
        &["within 2s (-image_lookup_timeout)", &format!("{host}: asked again for the manifest after 1 s: 503")],
    );
}

#[test]
fn a_lookup_that_is_killed_is_a_failed_lookup() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let world = World::new();
    let step = world.step(&host, "team/tool:v1");
    let child = step.start(&["--"]);
    let lookup = lookup_of(&child);
    // The connection has been made: it is in the middle of its work.
    drop(silent.accept().unwrap());
    step::send(lookup, libc::SIGKILL);
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
    assert!(ended.message.as_deref().unwrap().contains("ImageLookupFailed"), "{ended:#?}");
    assert!(ended.stderr.contains("killed by SIGKILL"), "{ended:#?}");
}

#[test]
fn a_failed_lookup_is_logged_when_it_happens_and_a_skip_wins_over_it() {
    let host = Bound::new().host();
    let world = World::new();
    let step = world.step(&host, "team/tool:v1");
    let before = step.path("before");
    let step = step.flags(["-wait_file", &before.display().to_string()]);
    let mut child = step.start(&["--"]);
    let line = first_line(&mut child);
    assert!(line.contains(" WARN cannot look up the command of image "), "{line}");
    std::fs::write(before.with_extension("err"), "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
    assert!(ended.message.as_deref().unwrap().contains(r#""Reason","value":"Skipped""#), "{ended:#?}");
}

#[test]
fn a_registry_that_comes_up_while_the_step_waits_is_asked_again() {
    let world = World::new().echo("v1");
    let address = Bound::new().host();
    let step = world.step(&address, "team/tool:v1");
    let before = step.path("before");
    let step = step.flags(["-wait_file", &before.display().to_string()]);
    let mut child = step.start(&["--"]);
    let first = first_line(&mut child);
    assert!(first.contains("connection refused"), "{first}");
    let registry = Registry { layout: world.layout.dir().to_owned(), authorization: None };
    let tls = Some(world.authority.server(LOOPBACK));
    let registry = Server::handler(Bound::to(&address), tls, move |request| registry.answer(request));
    eventually("the registry is asked again", || registry.lines().iter().any(|line| line.contains("/blobs/")));
    std::fs::write(before, "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.stdout.as_str()), (0, true, "from the image\n"), "{ended:#?}");
}

#[test]
fn one_last_attempt_is_made_at_the_step_s_turn() {
    // The second attempt would come after a second at the earliest; the turn comes before, and brings it.
    let world = World::new().echo("v1");
    let address = Bound::new().host();
    let step = world.step(&address, "team/tool:v1");
    let before = step.path("before");
    let step = step.flags(["-wait_file", &before.display().to_string()]);
    let mut child = step.start(&["--"]);
    first_line(&mut child);
    let registry = Registry { layout: world.layout.dir().to_owned(), authorization: None };
    let tls = Some(world.authority.server(LOOPBACK));
    let _registry = Server::handler(Bound::to(&address), tls, move |request| registry.answer(request));
    std::fs::write(before, "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.stdout.as_str()), (0, true, "from the image\n"), "{ended:#?}");
}

#[test]
fn a_signal_in_mid_lookup_ends_the_step_and_the_lookup() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let world = World::new();
    let step = world.step(&host, "team/tool:v1");
    let child = step.start(&["--"]);
    let lookup = lookup_of(&child);
    let connection = silent.accept().unwrap();
    step::send(i32::try_from(child.id()).unwrap(), libc::SIGTERM);
    let ended = step.finish(child);
    assert!(ended.err && ended.message.as_deref().unwrap().contains("Interrupted"), "{ended:#?}");
    assert!(ended.stderr.contains("SIGTERM ended the step while the command of image "), "{}", ended.stderr);
    let gone = format!("/proc/{}", lookup);
    eventually("the lookup's process is gone", || !std::path::Path::new(&gone).exists());
    drop(connection);
}

/// `run-image`, as a wrapper or a pod template calls it.
fn run_image(world: &World, host: &str, image: &str, rest: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(step::entrypoint());
    let certificate = format!("{host}={}", world.ca().display());
    command.args(["run-image", &format!("{host}/{image}"), "-image_registry_certificate", &certificate]).args(rest);
    command.env_clear().current_dir(world.dir.path());
    command
}

#[test]
fn run_image_becomes_what_the_image_says_and_writes_no_file() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    for (rest, expected) in [(&[][..], "from the image\n"), (&["--", "a", "b"], "from the a b\n")] {
        let output = run_image(&world, &registry.host(), "team/tool:v1", rest).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!((String::from_utf8_lossy(&output.stdout), output.stderr.len()), (expected.into(), 0));
    }
    let mut files: Vec<_> =
        std::fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["ca.crt", "layout"], "nothing was written");
}

#[test]
fn run_image_is_the_step_with_its_signals_its_exit_code_and_its_process() {
    use std::os::unix::process::ExitStatusExt;
    let mut world = World::new();
    let image = world.layout.image(architecture(), Command { entrypoint: &["/bin/sh", "-c"], cmd: &["exit 7"] }, &[]);
    world.layout.tag("v1", &image);
    let registry = world.serve(None);
    let run = |rest: &[&str]| run_image(&world, &registry.host(), "team/tool:v1", rest).output().unwrap();
    assert_eq!(run(&[]).status.code(), Some(7));
    assert_eq!(run(&["--", "kill -USR1 $$"]).status.signal(), Some(libc::SIGUSR1));
    let signals = run(&["--", "exec /bin/cat /proc/self/status"]);
    let signals = String::from_utf8_lossy(&signals.stdout).into_owned();
    assert!(signals.contains("SigBlk:\t0000000000000000"), "{signals}");
    let ignored = signals.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & (1 << (libc::SIGPIPE - 1)), 0, "{signals}");
    let mut child = run_image(&world, &registry.host(), "team/tool:v1", &["--", "echo $$"]);
    let child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), pid.to_string());
}

#[test]
fn run_image_works_in_tekton_s_own_order_of_arguments() {
    let world = World::new().echo("v1");
    let registry = world.serve(None);
    let certificate = format!("{}={}", registry.host(), world.ca().display());
    let entrypoint = step::entrypoint().to_str().unwrap();
    let image = format!("{}/team/tool:v1", registry.host());
    let step = Step::new();
    let ended = step.run(&[
        "-entrypoint",
        entrypoint,
        "--",
        "run-image",
        &image,
        "-image_registry_certificate",
        &certificate,
        "--",
        "step",
    ]);
    ran(&ended, "from the step\n");
}

#[test]
fn run_image_that_fails_says_one_sentence_and_exits_with_1() {
    let (world, host) = (World::new(), Bound::new().host());
    let output = run_image(&world, &host, "team/tool:v1", &["--"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("cannot look up the command of image ") && stderr.contains("refused"), "{stderr}");
}

#[test]
fn run_image_dies_of_a_signal_in_mid_lookup() {
    use std::os::unix::process::ExitStatusExt;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (world, host) = (World::new(), silent.local_addr().unwrap().to_string());
    let child = run_image(&world, &host, "team/tool:v1", &["--"]).spawn().unwrap();
    let connection = silent.accept().unwrap();
    step::send(i32::try_from(child.id()).unwrap(), libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGTERM));
    drop(connection);
}
