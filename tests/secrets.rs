//! Whatever a registry or a proxy makes of a password that it was shown: `resolve` does not repeat it, in any form.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::json;

#[path = "support/server.rs"]
mod server;
#[path = "support/step.rs"]
mod step;

use server::{Answer, Bound, Server};

const USER: &str = "me";
/// It can be a host's name.
const PASSWORD: &str = "Zq7-hunter2-horse-battery-staple9";
/// So much of it is not repeated either, in bytes.
const PART: usize = 12;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn pair() -> String {
    STANDARD.encode(format!("{USER}:{PASSWORD}"))
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// An error of a registry.
fn error(code: &str, message: &str) -> Answer {
    Answer::json(json!({"errors": [{"code": code, "message": message}]}).to_string()).with_status(403)
}

fn says(message: &str) -> Answer {
    error("DENIED", &format!("you showed {message}"))
}

/// Every way in which the password is repeated, by its name.
fn answers() -> Vec<(&'static str, Answer)> {
    let to = |url: String| Answer::new(307).header("Location", url);
    let each = |form: &dyn Fn(u8) -> String| PASSWORD.bytes().map(form).collect::<String>();
    let challenge = |text: String| Answer::new(401).header("WWW-Authenticate", text);
    let platform = json!({"os": "linux", "architecture": PASSWORD});
    // Too long a pause to be begun.
    let limit = || Answer::new(429).header("Retry-After", "99");
    let digest = format!("sha256:{}", "0".repeat(64));
    let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
        "platform": platform});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    let odd = json!({"schemaVersion": 2, "mediaType": PASSWORD, "artifactType": PASSWORD,
        "config": {"mediaType": PASSWORD, "digest": PASSWORD, "size": 1}, "layers": []});
    vec![
        ("a redirect", to(format!("ftp://x.example/{PASSWORD}"))),
        ("a redirect that is no URL", to(format!("ht tp://x.example/{PASSWORD}"))),
        ("a redirect to a host", to(format!("http://{}.invalid/", PASSWORD.to_lowercase()))),
        ("a redirect to a path of its own", to(format!("/{}", pair()))),
        ("a realm", challenge(format!("Bearer realm=\"ftp://x.example/{PASSWORD}\""))),
        ("a realm's host", challenge(format!("Bearer realm=\"http://{PASSWORD}.invalid/\""))),
        ("a scheme", challenge(format!("{PASSWORD} realm=\"x\""))),
        ("a media type in a header", Answer::new(200).header("Content-Type", PASSWORD).body(PASSWORD)),
        ("media types", Answer::json(odd.to_string())),
        ("a platform", Answer::json(index.to_string()).header("Content-Type", INDEX)),
        ("a limit", limit().header("RateLimit-Limit", PASSWORD).header("Docker-RateLimit-Source", PASSWORD)),
        ("a limit's name", limit().header(&format!("X-RateLimit-{PASSWORD}"), "1").header("X-RateLimit", pair())),
        ("parts of limits", limit().header("X-RateLimit-A", &PASSWORD[..11]).header("X-RateLimit-B", &PASSWORD[11..])),
        ("words", says(PASSWORD)),
        ("the pair", says(&pair())),
        ("a part", says(&PASSWORD[..PASSWORD.len() - 3])),
        ("a part of the pair", says(&pair()[..30])),
        ("code and message", error(&PASSWORD[..16], &PASSWORD[16..])),
        ("short parts", error(&PASSWORD[..11], &format!("{} {}", &PASSWORD[11..22], &PASSWORD[22..]))),
        ("base64", says(&STANDARD.encode(PASSWORD))),
        ("base64 behind a byte", says(&STANDARD.encode(format!("x{PASSWORD}")))),
        ("base64 behind two bytes", says(&STANDARD.encode(format!("xy{PASSWORD}")))),
        ("hex", says(&hex(PASSWORD))),
        ("spaces", says(&each(&|byte| format!("{} ", char::from(byte))))),
        ("capitals", says(&PASSWORD.to_uppercase())),
        ("percent signs", says(&each(&|byte| format!("%{byte:02x}")))),
        ("percent signs twice", says(&each(&|byte| format!("%25{byte:02x}")))),
    ]
}

/// Letters and digits in lower case.
fn squeezed(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Runs to the end; what it printed has no part of the secret in any form.
fn told(name: &str, secret: &str, command: &mut Command) -> String {
    let output = command.env_remove("RUST_BACKTRACE").stdin(Stdio::null()).output().unwrap();
    let both = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert_eq!(output.status.code(), Some(1), "{name}: {both}");
    let plain = |text: &str| {
        let mut text = text.to_owned();
        (0x20..0x7f_u8).for_each(|byte| text = text.replace(&format!("%{byte:02x}"), &char::from(byte).to_string()));
        text
    };
    let texts = [both.clone(), plain(&both), plain(&plain(&both))].map(|text| squeezed(&text));
    for at in 0..=secret.len() - PART {
        let part = &secret[at..at + PART];
        let mut forms = vec![squeezed(part), hex(part)];
        // What of its base64 does not depend on what stands before or behind.
        forms.extend((0..3).map(|before| {
            let text = STANDARD_NO_PAD.encode(format!("{}{part}", "x".repeat(before)));
            squeezed(&text[(before * 8_usize).div_ceil(6)..(before + PART) * 8 / 6])
        }));
        for form in forms {
            assert!(texts.iter().all(|text| !text.contains(&form)), "{name}: {form} of {part} in {both}");
        }
    }
    both
}

#[test]
fn a_registry_that_repeats_a_password_is_not_repeated() {
    for (name, answer) in answers() {
        let registry = Server::handler(Bound::new(), None, move |_| answer.clone());
        let dir = tempfile::tempdir().unwrap();
        let host = registry.host();
        let config = json!({"auths": {&host: {"auth": pair()}}});
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        for output in ["text", "json"] {
            let mut command = Command::new(step::entrypoint());
            command.args(["resolve", &format!("{host}/a/b:1"), "-o", output]);
            let told = told(name, PASSWORD, command.env_clear().env("DOCKER_CONFIG", dir.path()));
            assert!(told.contains("cannot look up the command of image"), "{name}: {told}");
        }
        let shown = registry.requests().iter().any(|request| request.header("Authorization").is_some());
        assert!(shown, "{name}: nobody was shown the password");
    }
}

#[test]
fn a_proxy_that_repeats_its_password_is_not_repeated() {
    for (name, answer) in answers() {
        let proxy = Server::handler(Bound::new(), None, move |_| answer.clone());
        for output in ["text", "json"] {
            let mut command = Command::new(step::entrypoint());
            let map = ["-image_registry_map", "reg.test=http://reg2.test", "-image_registry_map_only"];
            command.args(["resolve", "reg.test/a/b:1", "-o", output]).args(map);
            command.env_clear().env("http_proxy", format!("http://{USER}:{PASSWORD}@{}", proxy.host()));
            told(name, PASSWORD, &mut command);
        }
        let shown = proxy.requests().iter().any(|request| request.header("Proxy-Authorization").is_some());
        assert!(shown, "{name}: nobody was shown the password");
    }
}
