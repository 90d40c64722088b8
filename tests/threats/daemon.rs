//! What a daemon answers, and what it is shown.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::place::{PASSWORD, Place};
use crate::server::{Answer, Bound, Reply, Request, Server};
use crate::step::entrypoint;

/// What `resolve` says of a daemon's image; the daemon answers the ping, and this.
fn asked(answer: impl Into<Reply>) -> (String, Vec<Request>) {
    let reply = answer.into();
    let daemon = Server::handler(Bound::new(), None, move |request: &Request| -> Reply {
        if request.path().ends_with("_ping") {
            Answer::new(200).header("Api-Version", "1.44").body("OK").into()
        } else {
            reply.clone()
        }
    });
    let place = Place::new();
    let docker = place.docker_config("registry.example");
    let output = Command::new(entrypoint())
        .args(["resolve", "registry.example/team/tool:v1", "-source", "docker"])
        .env_clear()
        .envs([("DOCKER_HOST", format!("tcp://{}", daemon.host())), ("DOCKER_CONFIG", docker)])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (told, daemon.requests())
}

#[test]
fn a_daemon_is_shown_no_credential_and_puts_no_control_character_into_a_log() {
    let hostile = "a\u{1b}[2J\u{9b}1m\r\nforged\u{202e}z";
    let image = json!({"Id": format!("sha256:{}", "0".repeat(64)), "Os": hostile, "Architecture": hostile,
        "RepoTags": [hostile], "RepoDigests": [hostile], "Config": {"Entrypoint": ["/bin/\u{1b}[2J"]}});
    let endless = Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n{\"Id\":\"".to_vec(), vec![b'x'; 0x10000]);
    for answer in [
        Answer::json(image.to_string()).into(),
        Answer::json(json!({"message": hostile}).to_string()).with_status(404).into(),
        Answer::json(json!({"message": hostile}).to_string()).with_status(500).into(),
        endless,
    ] {
        let (told, requests) = asked(answer);
        assert!(told.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{told:?}");
        assert!(told.len() < 8000 && !told.lines().any(|line| line.starts_with("forged")), "{told}");
        assert!(requests.len() > 1);
        for request in requests {
            let all = format!("{request:?}");
            assert!(request.header("Authorization").is_none() && request.header("X-Registry-Auth").is_none(), "{all}");
            assert!(!all.contains(PASSWORD), "{all}");
        }
    }
}
