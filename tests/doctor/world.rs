//! A registry, a cluster and the files of a pod; and what `doctor` told of them.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kube_api::{self, KubeApi};
use crate::oci::{self, Layout, architecture};
use crate::registry::Registry;
use crate::server::{Bound, Request, Server};
use crate::step;
use crate::tls::{Authority, LOOPBACK};

/// What no output may hold, nor its base64 with a user's name.
pub const PASSWORD: &str = "hunter2-secret";
/// Likewise: a proxy's.
pub const PROXY_PASSWORD: &str = "pr0xy-pa55word";

/// A registry's content, and the files that a pod has.
pub struct World {
    dir: tempfile::TempDir,
    layout: Layout,
    authority: Authority,
}

/// What a run told.
#[derive(Debug)]
pub struct Told {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A row of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub verdict: String,
    pub says: String,
    pub fix: Option<String>,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::create(&dir.path().join("layout"));
        let image = layout.image(architecture(), oci::Command { entrypoint: &["/bin/app"], cmd: &["serve it"] }, &[]);
        layout.tag("v1", &image);
        let nothing = layout.image(architecture(), oci::Command { entrypoint: &[], cmd: &[] }, &[]);
        layout.tag("nothing", &nothing);
        let authority = Authority::new("the tests' authority");
        authority.write(dir.path());
        Self { dir, layout, authority }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What the registry answers, to whoever shows `user:password`, if that is asked for.
    pub fn registry(&self, user: Option<&str>) -> Registry {
        Registry { layout: self.layout.dir().to_owned(), authorization: user.map(basic) }
    }

    /// The registry over TLS.
    pub fn serve(&self, bound: Bound, user: Option<&str>) -> Server {
        let registry = self.registry(user);
        let tls = Some(self.authority.server(LOOPBACK));
        Server::handler(bound, tls, move |request: &Request| registry.answer(request))
    }

    /// The flag that makes the authority known for a registry.
    pub fn trusting(&self, host: &str) -> [String; 2] {
        let file = self.path().join("ca.crt");
        ["-image_registry_certificate".to_owned(), format!("{host}={}", file.display())]
    }

    /// Writes a docker config that has a password for a registry.
    pub fn docker_config(&self, host: &str, user: &str) {
        let config = json!({"auths": {host: {"auth": STANDARD.encode(format!("{user}:{PASSWORD}"))}}});
        std::fs::write(self.path().join("config.json"), config.to_string()).unwrap();
    }

    /// The command, in an empty environment.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(step::entrypoint());
        command.arg("doctor").args(args).env_clear().current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// The same in a pod of a cluster, with what kubelet mounts for `ci/builder`.
    pub fn in_pod<S: AsRef<std::ffi::OsStr>>(&self, api: &KubeApi, args: &[S]) -> Command {
        let mount = self.path().join("account");
        std::fs::create_dir_all(&mount).unwrap();
        if !mount.join("token").exists() {
            api.mount(&mount, "ci", "builder");
        }
        let mut command = self.command(args);
        command.arg("-service_account_dir").arg(mount).envs(api.env());
        command
    }
}

pub fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{PASSWORD}")))
}

/// Runs to the end. Whatever it says, there is no secret in it.
pub fn run(command: &mut Command) -> Told {
    let output = command.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let both = format!("{stdout}{stderr}");
    let pairs = ["me", "you", "them"].map(|user| STANDARD.encode(format!("{user}:{PASSWORD}")));
    let account = kube_api::token("ci", "builder");
    let claims = account.split('.').nth(1).unwrap().to_owned();
    let known = [PASSWORD, PROXY_PASSWORD, &account, &claims, "unsigned"];
    for secret in known.into_iter().chain(pairs.iter().map(String::as_str)) {
        assert!(!both.contains(secret), "{secret} in {both}");
    }
    assert!(!both.contains('\u{1b}'), "no colours: {both}");
    Told { code: output.status.code(), stdout, stderr }
}

/// The same as JSON: the object, and its rows.
pub fn told(command: &mut Command) -> (Told, Value) {
    let told = run(command.args(["-o", "json"]));
    assert_eq!(told.stderr, "", "{told:?}");
    let value = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    (told, value)
}

/// The rows of a check.
pub fn rows(report: &Value, check: &str) -> Vec<Row> {
    let all = report["checks"].as_array().expect("rows").iter().filter(|row| row["check"] == check);
    let text = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    let rows: Vec<Row> = all
        .map(|row| Row {
            verdict: text(row, "verdict").expect("a verdict"),
            says: text(row, "says").expect("a sentence"),
            fix: text(row, "fix"),
        })
        .collect();
    assert!(!rows.is_empty(), "no row of {check}: {report}");
    for row in &rows {
        assert_eq!(row.fix.is_none(), row.verdict == "ok", "{row:?}");
    }
    rows
}

/// The one row of a check: verdict and sentence.
pub fn row(report: &Value, check: &str) -> (String, String) {
    let rows = rows(report, check);
    let [row] = rows.as_slice() else { panic!("{rows:#?}") };
    (row.verdict.clone(), row.says.clone())
}

/// A verdict and a sentence, to compare with.
pub fn says(verdict: &str, sentence: impl Into<String>) -> (String, String) {
    (verdict.to_owned(), sentence.into())
}
