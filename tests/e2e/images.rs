//! The images of the tests: a static busybox, and what they would run.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::oci::{Command, Entry, Layout, architecture};
use crate::registry::{Certificates, USER};
use crate::tls::{Authority, LOOPBACK};

/// What the application of the images prints: its arguments.
const APP: &[u8] =
    b"#!/bin/sh\necho \"app: $*\"\nif [ -d /tekton/results ]; then printf %s \"$*\" >/tekton/results/greeting; fi\n";

/// Writes the layout that all tests use: `app` and `echo` (ENTRYPOINT and CMD), `cmd-only`, `nothing` (neither) and `index` (this
/// machine's platform among others, and an attestation).
pub fn layout(dir: &Path, busybox: &Path) -> Layout {
    let busybox = fs::read(busybox).expect("busybox");
    let mut layout = Layout::create(dir);
    let program = |path| Entry { path, mode: 0o755, content: Some(&busybox) };
    let directory = |path| Entry { path, mode: 0o755, content: None };
    let base = layout.layer(&[directory("bin/"), program("bin/busybox"), program("bin/sh"), directory("tekton/")]);
    let app = layout.layer(&[directory("opt/"), Entry { path: "opt/app", mode: 0o755, content: Some(APP) }]);
    let layers: [Value; 2] = [base, app];

    let command = Command { entrypoint: &["/opt/app", "--greet"], cmd: &["world"] };
    let image = layout.image(architecture(), command, &layers);
    layout.tag("app", &image);
    // What exists on the machine too, for the tests that run without a container.
    let echo = Command { entrypoint: &["/bin/echo", "hello"], cmd: &["world"] };
    let echo = layout.image(architecture(), echo, &layers);
    layout.tag("echo", &echo);
    let cmd_only = layout.image(architecture(), Command { cmd: &["/bin/echo", "cmd"], ..Command::default() }, &layers);
    layout.tag("cmd-only", &cmd_only);
    let nothing = layout.image(architecture(), Command::default(), &layers);
    layout.tag("nothing", &nothing);
    let foreign = layout.image("s390x", Command { entrypoint: &["/foreign"], ..Command::default() }, &layers);
    let attestation = layout.attestation(&echo);
    let index = layout.index(&[foreign.clone(), echo, attestation]);
    layout.tag("index", &index);
    let elsewhere = layout.index(&[foreign]);
    layout.tag("elsewhere", &elsewhere);
    layout
}

/// A certificate for loopback, and the authority that signed it, as files in a directory.
pub fn certificates(dir: &Path) -> Certificates {
    let authority = Authority::new("the tests' authority");
    let leaf = authority.leaf(LOOPBACK);
    let file = |name: &str, pem: &str| {
        let path = dir.join(name);
        fs::write(&path, pem).expect("a file");
        path
    };
    Certificates {
        certificate: file("server.pem", &leaf.certificate_pem),
        key: file("server.key", &leaf.key_pem),
        authority: file("authority.pem", &authority.pem()),
    }
}

/// A docker `config.json` in a directory: one user and password for one registry.
pub fn docker_config(dir: &Path, host: &str, password: &str) {
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("config.json"), json!({"auths": {host: {"auth": auth}}}).to_string()).expect("config.json");
}
