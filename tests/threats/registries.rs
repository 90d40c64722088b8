//! What a registry answers to have a log, a terminal or a step misled.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::oci::architecture;
use crate::place::Place;
use crate::server::{Answer, Request, Server};
use crate::step::{Step, entrypoint};

/// What moves a cursor, ends a line, hides or turns what follows.
const HOSTILE: &str =
    "a\u{1b}[2J\u{1b}]0;title\u{7}\r\n2026/11/21 05:56:16 forged\u{9b}31m\u{202e}desrever\u{2066}\u{2028}z\u{0}";

/// Whether a text is fit for a terminal and a log.
fn is_plain(text: &str) -> bool {
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().all(|c| c == '\n' || !c.is_control() && !turns(c))
        && !text.lines().any(|line| line.ends_with(" forged"))
}

/// A registry whose image has this config.
fn with_config(place: &Place, config: Vec<u8>) -> Server {
    let digest = entrypoint_digest(&config);
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()},
        "annotations": {HOSTILE: HOSTILE}});
    place.serve(move |request: &Request| {
        if request.path().contains("/blobs/") {
            Answer::new(200).body(config.clone())
        } else {
            Answer::new(200)
                .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                .body(manifest.to_string())
        }
    })
}

fn entrypoint_digest(content: &[u8]) -> String {
    entrypoint::image::Digest::of(content).to_string()
}

/// What `resolve` and a step say of this registry's image.
fn told(place: &Place, server: &Server) -> (String, crate::step::Ended) {
    let host = server.host();
    let mut resolve = Command::new(entrypoint());
    resolve.args(["resolve", &format!("{host}/team/tool:v1")]).args(place.flags(&host)).env_clear();
    let output = resolve.stdin(Stdio::null()).output().unwrap();
    let resolved = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    let step = place.step(&host);
    let next = Step::new().flags(["-wait_file", &step.path("out").display().to_string()]);
    let waiting = next.start(&["-entrypoint", "/bin/true", "--"]);
    let child = step.start(&["--"]);
    let next = next.finish(waiting);
    let ended = step.finish(child);
    assert_eq!((next.post, next.err), (ended.post, ended.err), "the next step is released: {next:#?}");
    (resolved, ended)
}

#[test]
fn nothing_that_a_registry_says_moves_a_cursor_or_forges_a_line() {
    let header: String = HOSTILE.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')).collect();
    let errors = json!({"errors": [{"code": HOSTILE, "message": HOSTILE, "detail": HOSTILE}]}).to_string();
    let config = |entrypoint: serde_json::Value| {
        json!({"os": "linux", "architecture": architecture(), "config": {"Entrypoint": entrypoint}}).to_string()
    };
    let place = Place::new();
    let answers = [
        Answer::new(404).body(errors.clone()),
        Answer::new(500).body(HOSTILE),
        Answer::new(401).header("WWW-Authenticate", format!("{header} realm=\"{header}\"")),
        Answer::new(401).header("WWW-Authenticate", format!("Bearer realm=\"https://{header}/\"")),
        Answer::new(302).header("Location", format!("ftp://{header}")),
        Answer::new(429).header("Retry-After", "99999").header("RateLimit-Limit", header.clone()).body(errors),
        Answer::new(200).header("Content-Type", header).body(HOSTILE),
        Answer::json(
            json!({"schemaVersion": 2, "mediaType": HOSTILE, "manifests": [{"mediaType": HOSTILE}]}).to_string(),
        ),
    ];
    let servers = answers.into_iter().map(|answer| place.serve(move |_: &Request| answer.clone()));
    let of_config = [
        config(json!([HOSTILE])),
        config(json!(["/nowhere\u{1b}[2J\u{202e}x"])),
        json!({"os": HOSTILE, "architecture": HOSTILE}).to_string(),
    ];
    let of_config: Vec<_> = of_config.map(|config| with_config(&place, config.into_bytes())).into();
    for (number, server) in servers.chain(of_config).enumerate() {
        let (resolved, ended) = told(&place, &server);
        assert!(is_plain(&resolved), "{number}: {resolved:?}");
        assert!(is_plain(&ended.stderr), "{number}: {:?}", ended.stderr);
        let message: serde_json::Value = serde_json::from_str(ended.message.as_deref().unwrap()).unwrap();
        for entry in message.as_array().unwrap() {
            assert!(is_plain(entry["value"].as_str().unwrap()), "{number}: {entry:?}");
        }
        assert!(ended.err, "{number}: {ended:#?}");
    }
}

#[test]
fn a_config_that_cannot_be_a_command_fails_the_step_in_a_sentence() {
    let place = Place::new();
    let config = |entrypoint: serde_json::Value| {
        json!({"os": "linux", "architecture": architecture(), "config": {"Entrypoint": entrypoint}}).to_string()
    };
    for (entrypoint, part) in [
        (json!(["/bin/true", "with\u{0}nul"]), "NUL"),
        (json!([""]), "error executing command"),
        // Not a list, and still one word.
        (json!("a string"), "executable file not found"),
        (json!([1, 2]), "cannot look up the command"),
        (json!({"a": "b"}), "cannot look up the command"),
        (json!([["/bin/true"]]), "cannot look up the command"),
        (json!(vec!["x".repeat(200); 100_000]), "cannot look up the command"),
    ] {
        let server = with_config(&place, config(entrypoint.clone()).into_bytes());
        let (resolved, ended) = told(&place, &server);
        let shown: String = entrypoint.to_string().chars().take(60).collect();
        assert!((ended.code(), ended.post, ended.err) == (1, false, true), "{shown}: {ended:#?}");
        assert!(ended.stderr.to_lowercase().contains(&part.to_lowercase()), "{shown}: {}", ended.stderr);
        assert!(ended.stderr.len() < 2000 && resolved.len() < 2_000_000, "{shown}: {} bytes", ended.stderr.len());
    }
    // Many words are a command, as long as the kernel takes them.
    let many: Vec<String> = ["/bin/true".to_owned()].into_iter().chain((0..50_000).map(|_| "x".to_owned())).collect();
    let server = with_config(&place, config(json!(many)).into_bytes());
    let (_, ended) = told(&place, &server);
    assert_eq!((ended.code(), ended.post), (0, true), "{}", ended.stderr);
}

#[test]
fn a_thousand_challenges_are_one_refusal() {
    let place = Place::new();
    let lines = |answer: Answer| {
        (0..90).fold(answer, |answer, number| answer.header("WWW-Authenticate", format!("Scheme{number} realm=\"x\"")))
    };
    let long = (0..1000).map(|number| format!("Scheme{number} realm=\"x\"")).collect::<Vec<_>>().join(", ");
    for answer in [lines(Answer::new(401)), Answer::new(401).header("WWW-Authenticate", long)] {
        let server = place.serve(move |_: &Request| answer.clone());
        let (_, ended) = told(&place, &server);
        assert!(ended.err && ended.stderr.lines().all(|line| line.len() < 1500), "{}", ended.stderr);
        assert!(server.lines().len() < 12, "{:?}", server.lines());
    }
}
