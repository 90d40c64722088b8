//! A real registry: Debian's `docker-registry` on a free loopback port, stopped when it is dropped.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::skip;

/// How long a program on loopback may take before the test is given up. No test passes sooner or later by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the registry's certificate, its key and the authority that signed it are, all PEM.
pub struct Certificates {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

/// The one user that the registry knows.
pub const USER: &str = "ci";
/// Its password.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running registry with TLS and a password.
pub struct Registry {
    child: Option<Child>,
    host: String,
    dir: PathBuf,
    lines: Lines,
}

impl Registry {
    /// Whether the programs for it are here; the test is skipped if not.
    pub fn available(purpose: &str) -> bool {
        let wanted = [("docker-registry", "docker-registry"), ("skopeo", "skopeo"), ("htpasswd", "apache2-utils")];
        skip::programs(purpose, &wanted)
    }

    /// Starts a registry that keeps everything in a directory and asks for the password.
    pub fn start(dir: &Path, certificates: &Certificates) -> Self {
        let password_file = run(tool("htpasswd").args(["-Bbn", USER, PASSWORD]));
        fs::write(dir.join("htpasswd"), password_file).expect("the password file");
        let auth = json!({"htpasswd": {"realm": "tests", "path": dir.join("htpasswd")}});
        Self::start_with(dir, certificates, &auth)
    }

    /// Starts a registry that keeps everything in a directory. `auth` is that part of its configuration.
    /// <https://distribution.github.io/distribution/about/configuration/#auth>
    pub fn start_with(dir: &Path, certificates: &Certificates, auth: &Value) -> Self {
        // What `skopeo --dest-cert-dir` reads.
        fs::create_dir_all(dir.join("cert-dir")).expect("a directory");
        fs::copy(&certificates.authority, dir.join("cert-dir/ca.crt")).expect("the authority");
        // JSON is YAML. Port 0: the kernel picks one, and the registry says which.
        let config = json!({
            "version": 0.1,
            "log": {"level": "info", "formatter": "text"},
            "storage": {"filesystem": {"rootdirectory": dir.join("storage")}},
            "http": {
                "addr": "127.0.0.1:0",
                "tls": {"certificate": certificates.certificate, "key": certificates.key},
            },
            "auth": auth,
        });
        let config_file = dir.join("config.yml");
        fs::write(&config_file, config.to_string()).expect("the configuration");
        let mut child = tool("docker-registry")
            .arg("serve")
            .arg(&config_file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
        let lines = Lines::default();
        lines.collect(child.stdout.take().expect("a pipe"));
        lines.collect(child.stderr.take().expect("a pipe"));
        let mut registry = Self { child: Some(child), host: String::new(), dir: dir.to_owned(), lines };
        let listening = registry.lines.wait_for("the registry listens", |line| line.contains("listening on "));
        let port = listening.split_once("127.0.0.1:").map(|(_, rest)| rest).unwrap_or_default();
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        registry.host = format!("127.0.0.1:{port}");
        registry
    }

    /// `host:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Copies what a layout calls `name` to `<repository>`, which may have a tag: all platforms of an index.
    pub fn push(&self, layout: &Path, name: &str, repository: &str) {
        let mut copy = tool("skopeo");
        copy.args(["copy", "--quiet", "--all", "--insecure-policy", "--dest-creds", &format!("{USER}:{PASSWORD}")])
            .arg("--dest-cert-dir")
            .arg(self.dir.join("cert-dir"))
            .arg(format!("oci:{}:{name}", layout.display()))
            .arg(format!("docker://{}/{repository}", self.host));
        run(&mut copy);
    }

    /// The access log so far: one line per request that was answered, without those of skopeo and podman.
    pub fn requests(&self) -> Vec<String> {
        self.lines.all().into_iter().filter(|line| asked(line)).collect()
    }

    /// Waits until a request that was answered with 200 is in the access log, at or behind position `from` of it.
    pub fn wait_for_answer(&self, from: usize, request: &str) -> String {
        let mut position = 0;
        let seen = format!("the registry answers {request}");
        self.lines.wait_for(&seen, |line| {
            if !asked(line) {
                return false;
            }
            position += 1;
            position > from && line.contains(request) && line.contains("\" 200 ")
        })
    }

    /// Stops it: its port refuses connections from now on.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the registry is ours");
            child.wait().expect("the registry is a child of ours");
        }
    }
}

/// Whether a line of the log is that of a request, and not of one by which the tests fill the registry or pull from it.
fn asked(line: &str) -> bool {
    let request = line.contains("HTTP/1.1\"") || line.contains("HTTP/2.0\"");
    request && !line.contains("github.com/containers/image")
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a program has printed so far, and a way to wait for more of it.
#[derive(Default, Clone)]
struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    /// Collects the lines of a stream until it ends, on a thread of its own.
    fn collect(&self, stream: impl Read + Send + 'static) {
        let lines = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.0.0.lock().expect("no panic holds the lock").push(line);
                lines.0.1.notify_all();
            }
        });
    }

    fn all(&self) -> Vec<String> {
        self.0.0.lock().expect("no panic holds the lock").clone()
    }

    /// Waits for a line. The predicate sees each line once, in order.
    fn wait_for(&self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        let mut lines = self.0.0.lock().expect("no panic holds the lock");
        let mut seen = 0;
        loop {
            if let Some(line) = lines[seen..].iter().find(|line| wanted(line)) {
                return line.clone();
            }
            seen = lines.len();
            let (more, limit) = self.0.1.wait_timeout(lines, PATIENCE).expect("no panic holds the lock");
            lines = more;
            assert!(!limit.timed_out(), "given up on: {what}; printed so far:\n{}", lines.join("\n"));
        }
    }
}

/// A command that runs a program of the distribution.
pub fn tool(name: &str) -> Command {
    Command::new(skip::program(name).unwrap_or_else(|| panic!("{name} was there a moment ago")))
}

/// Runs a command that must succeed; what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}
