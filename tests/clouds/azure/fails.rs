//! What fails is told in a line of its source, in time; and the answers that nobody can use.

use super::PURPOSE;
use super::emulator::{TENANT, Tokens};
use super::{TEAM, registry};
use crate::server::{Answer, Reply};
use crate::world::{Run, Told, World};

pub const SECRET: &str = "Azure client secret of application";
pub const TOKEN: &str = "Azure workload identity";
pub const MANAGED: &str = "Azure managed identity";

/// The lookup failed, and the note of the source has these words. The row of the table goes to whoever looks.
#[allow(clippy::print_stderr, reason = "the table is for people, who ask for it by --nocapture")]
pub fn fails(case: &str, run: Run<'_>, source: &str, words: &[&str]) -> Told {
    let told = run.told();
    let said = told.failed();
    let line = said.lines().find(|line| line.trim().starts_with(source)).map(str::trim);
    let line = line.unwrap_or_else(|| panic!("{case}: nothing of {source} in {said}"));
    for word in words {
        assert!(line.contains(word), "{case}: {word:?} is not in {line}");
    }
    assert!(!line.contains("Trace ID") && !line.contains("7a7a7a7a"), "{case}: {line}");
    eprintln!("| {case} | {} ms | {line} |", told.took.as_millis());
    told
}

/// A registry that exchanges nobody's token.
pub fn closed(world: &World) {
    registry(world, TEAM, &Tokens::new(world, &[]));
}

pub fn answered(status: u16, body: &str) -> Reply {
    Answer::new(status).header("Content-Type", "application/json").body(body).into()
}

pub fn html(status: u16) -> Reply {
    Answer::new(status).header("Content-Type", "text/html").body("<html><title>Sign in</title></html>").into()
}

pub fn endless() -> Reply {
    Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"".to_vec(), vec![b'a'; 4096])
}

/// A head and no more.
pub fn half() -> Reply {
    Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"access_".to_vec())
}

pub fn redirect() -> Reply {
    Answer::new(302).header("Location", "https://evil.example/").into()
}

#[test]
fn variables_of_what_is_not_known_here_are_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    closed(&world);
    let run = world.resolve(TEAM).envs(&[
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_CERTIFICATE_PATH", "/certificate.pem"),
        ("AZURE_USERNAME", "ann"),
        ("AZURE_PASSWORD", "hunter2hunter2"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ("MSI_ENDPOINT", "http://127.0.0.1/"),
    ]);
    let told =
        fails("variables", run, MANAGED, &["MSI_ENDPOINT and its like name the managed identity of Cloud Shell"]);
    for sentence in [
        "AZURE_CLIENT_CERTIFICATE_PATH: not used: a login with a certificate is not known here",
        "AZURE_USERNAME and AZURE_PASSWORD: not used: a login as a person",
        "AZURE_FEDERATED_TOKEN_FILE: not asked: AZURE_FEDERATED_TOKEN_FILE is set, but not AZURE_CLIENT_ID; the service",
    ] {
        assert!(told.stdout.contains(sentence), "{sentence}: {told:#?}");
    }
    assert!(!told.failed().contains("hunter2"));
}
