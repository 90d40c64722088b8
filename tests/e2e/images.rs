//! The images of the tests: a static busybox, and what they would run.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::oci::{Command, Entry, Layout, architecture};
use crate::registry::{Certificates, USER};
use crate::tls::{Authority, LOOPBACK};

/// The application of the images prints its arguments, makes a result of them, and fails when they say so.
const APP: &[u8] = b"#!/bin/sh
echo \"app: $*\"
if [ -d /tekton/results ]; then printf %s \"$*\" >/tekton/results/greeting; fi
case $* in *'fail with 7') exit 7 ;; esac
";

/// The application of the image with a user of its own says who it is and what became of a file in its root.
const WHO: &str =
    "echo uid $(/bin/busybox id -u); if echo >/written; then echo written; else echo read-only; fi 2>/dev/null";

/// Writes the layout that all tests use: `app`, `echo` and `poor` (ENTRYPOINT and CMD), `held` (runs until it is ended),
/// `cmd-only`, `nothing` (neither) and `index` (this machine's platform among others, and an attestation). And what pods
/// are made of: `scratch` (one static program, and no variable), `user` (a UID of its own) and `by-cmd` (CMD alone).
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
    let held = Command { entrypoint: &["/bin/sh", "-c", "echo started; exec sleep 600"], cmd: &[] };
    let held = layout.image(architecture(), held, &layers);
    layout.tag("held", &held);
    // What exists in a root that holds nothing else.
    let poor = Command { entrypoint: &["/busybox", "echo", "hello"], cmd: &["world"] };
    let poor = layout.image(architecture(), poor, &layers);
    layout.tag("poor", &poor);
    let cmd_only = layout.image(architecture(), Command { cmd: &["/bin/echo", "cmd"], ..Command::default() }, &layers);
    layout.tag("cmd-only", &cmd_only);
    let nothing = layout.image(architecture(), Command::default(), &layers);
    layout.tag("nothing", &nothing);
    let alone = layout.layer(&[program("echo")]);
    let scratch = Command { entrypoint: &["/echo", "from"], cmd: &["scratch"] };
    let scratch = layout.image_with(json!({}), architecture(), scratch, &[alone]);
    layout.tag("scratch", &scratch);
    let user = Command { entrypoint: &["/bin/sh", "-c", WHO], cmd: &[] };
    let user = layout.image_with(json!({"User": "1234:1234"}), architecture(), user, &layers);
    layout.tag("user", &user);
    let by_cmd = Command { cmd: &["/bin/busybox", "echo", "by CMD"], ..Command::default() };
    let by_cmd = layout.image(architecture(), by_cmd, &layers);
    layout.tag("by-cmd", &by_cmd);
    let foreign = layout.image("s390x", Command { entrypoint: &["/foreign"], ..Command::default() }, &layers);
    let attestation = layout.attestation(&echo);
    let index = layout.index(&[foreign.clone(), echo, attestation]);
    layout.tag("index", &index);
    let elsewhere = layout.index(&[foreign]);
    layout.tag("elsewhere", &elsewhere);
    layout
}

/// A certificate of an authority for loopback, and the authority's own, as files in a directory.
pub fn certificates(dir: &Path, authority: &Authority) -> Certificates {
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

/// A docker `config.json` in a directory: one user and password for a registry by its names.
pub fn docker_config(dir: &Path, hosts: &[&str], password: &str) {
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    write_config(dir, &hosts.iter().map(|host| ((*host).to_owned(), json!({"auth": auth}))).collect());
}

/// A docker `config.json` as a login leaves it that was answered with an identity token.
pub fn docker_config_with_identity(dir: &Path, host: &str, token: &str) {
    let auth = STANDARD.encode(format!("{USER}:"));
    write_config(dir, &json!({host: {"auth": auth, "identitytoken": token}}));
}

fn write_config(dir: &Path, auths: &Value) {
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("config.json"), json!({"auths": auths}).to_string()).expect("config.json");
}
