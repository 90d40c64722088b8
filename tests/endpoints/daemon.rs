//! `docker` as an endpoint: the daemon of the environment, scripted and real.

use super::server::{Answer, Bound, Server, on};
use super::tls::{Authority, LOOPBACK};
use super::{SAYS, fails, fails_in_time, first_line, nowhere, ran, silent, skip, waits_for};

/// What a daemon answers when it is there.
fn pong() -> Answer {
    Answer::new(200).header("Api-Version", "1.41").header("Content-Type", "text/plain").body("OK")
}

#[test]
fn a_daemon_is_waited_for_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("the daemon's authority");
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let daemon = Server::scripted(
        Bound::new(),
        Some(authority.server(LOOPBACK)),
        vec![on("GET", "/_ping", |_| Answer::new(503).body("starting")), on("GET", "/_ping", |_| pong())],
    );
    let step = waits_for("docker")
        .env("DOCKER_HOST", &format!("tcp://{}", daemon.host()))
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", &dir.path().display().to_string());
    ran(&step.run(&SAYS), &[]);
    daemon.finish();
}

#[test]
fn a_daemon_that_is_not_there_is_named_with_what_the_environment_says() {
    let host = nowhere(12);
    let daemon = |host: &str| waits_for("docker").env("DOCKER_HOST", &format!("tcp://{host}"));
    fails_in_time(daemon(&host), "docker", &format!("no answer from the daemon at tcp://{host}"));
    let (_listening, silent) = silent();
    fails_in_time(daemon(&silent), "docker", &format!("no answer from the daemon at tcp://{silent} in time; "));
    let step = waits_for("docker");
    let socket = step.path("docker.sock").display().to_string();
    fails_in_time(step.env("DOCKER_HOST", &format!("unix://{socket}")), "docker", &format!("{socket} is not there: "));
}

#[test]
fn a_daemon_without_an_address_fails_at_once() {
    let sentence = fails(waits_for("docker").env("DOCKER_HOST", "ssh://builder"));
    assert!(sentence.starts_with("cannot wait for docker (-wait_endpoints): "), "{sentence}");
    assert!(sentence.contains("DOCKER_HOST"), "{sentence}");
}

#[test]
fn a_daemon_that_starts_later_releases_the_step() {
    if !skip::root("podman's service") || !skip::programs("podman's service", &[("podman", "podman")]) {
        return;
    }
    let step = waits_for("docker");
    let address = format!("unix://{}", step.path("podman.sock").display());
    let root = step.path("podman");
    let step = step.env("DOCKER_HOST", &address);
    let mut child = step.start(&SAYS);
    let (line, _stderr) = first_line(&mut child);
    assert!(line.starts_with("INFO waiting for docker: ") && line.contains("podman.sock is not there"), "{line}");
    let mut service = std::process::Command::new("podman")
        .args(["--root".as_ref(), root.join("root").as_os_str(), "--runroot".as_ref(), root.join("run").as_os_str()])
        .args(["--storage-driver", "vfs", "system", "service", "--time=0", &address])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ended = step.finish(child);
    service.kill().unwrap();
    service.wait().unwrap();
    assert_eq!((ended.code(), ended.post, ended.stdout.as_str()), (0, true, "ran\n"), "{ended:#?}");
}
