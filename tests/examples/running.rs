//! What of the example can be run: the script that makes its certificates, and its steps with Docker's own engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;

use super::server::{Answer, Bound, Server};
use super::step::{Step, entrypoint, send};
use super::{applied, documents, every_text, example, list, name, names, of_kind, only, skip, text, texts};

const DAEMON: &str = "docker-3f6c1a52-8d6e-4a55-9a0b-0d6f3a1c2b4d";

/// Runs the script of the first Task; what it has created stands in `daemon.yaml` of the directory.
fn certificates(dir: &Path) -> Vec<Value> {
    let all = applied();
    let start = of_kind(&all, "Task").into_iter().find(|task| name(task) == "docker-daemon-start").unwrap();
    let step = &start["spec"]["steps"][0];
    let variables = names(&step["env"]);
    let values = [
        ("DAEMON_NAME", DAEMON.to_owned()),
        ("RUN_NAME", "ci-with-docker-build-x7k2p".to_owned()),
        ("RUN_UID", "3f6c1a52-8d6e-4a55-9a0b-0d6f3a1c2b4d".to_owned()),
        ("NAMESPACE", "docker-builds".to_owned()),
        ("MANIFESTS", example().display().to_string()),
        ("WORK", dir.display().to_string()),
    ];
    assert_eq!(variables, values.iter().map(|(name, _)| *name).collect());
    let output = Command::new("/bin/sh")
        .args(["-c", text(&step["script"])])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(values)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&fs::read_to_string(dir.join("daemon.yaml")).unwrap())
}

/// Writes what a Secret holds, as kubelet would mount it.
fn mount(secret: &Value, dir: &Path) {
    fs::create_dir(dir).unwrap();
    for (file, content) in secret["data"].as_object().unwrap() {
        let mut base64 = Command::new("base64")
            .arg("-d")
            .stdin(std::process::Stdio::piped())
            .stdout(fs::File::create(dir.join(file)).unwrap())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut base64.stdin.take().unwrap(), text(content).as_bytes()).unwrap();
        assert!(base64.wait().unwrap().success());
    }
}

/// A server that shows the daemon's certificate, and lets nobody in without one of the same authority.
fn daemon(certs: &Path) -> Server {
    let pem = |name: &str| fs::read(certs.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pem("cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_slice(&pem("key.pem")).unwrap(),
        )
        .unwrap();
    Server::handler(Bound::new(), Some(Arc::new(config)), |request| match request.path() {
        "/_ping" => Answer::new(200).header("Api-Version", "1.51").body("OK"),
        _ => Answer::new(404),
    })
}

#[test]
fn the_certificates_of_the_first_task_let_the_others_wait_for_the_daemon() {
    let tools = [("openssl", "openssl"), ("base64", "coreutils"), ("unshare", "util-linux"), ("mount", "mount")];
    if !skip::root("names of a pod's own") || !skip::programs("the example's certificates", &tools) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let created = certificates(dir.path());
    for word in created.iter().flat_map(every_text) {
        for placeholder in ["DAEMON_NAME", "RUN_NAME", "RUN_UID", "CA_PEM", "_KEY", "SERVER_PEM", "CLIENT_PEM"] {
            assert!(!word.contains(placeholder), "{word}");
        }
    }
    assert!(!dir.path().join("ca.key").exists(), "nobody can sign anything more");
    let secrets = of_kind(&created, "Secret");
    let (server, client) = (dir.path().join("server"), dir.path().join("client"));
    mount(secrets[0], &server);
    mount(secrets[1], &client);
    let daemon = daemon(&server);
    let waiting = |certs: &Path| {
        let step = Step::new().flags(["-wait_endpoints", "docker", "-wait_endpoints_timeout", "2s"]);
        fs::write(step.path("hosts"), format!("127.0.0.1 {DAEMON}\n")).unwrap();
        let hosts = step.path("hosts").display().to_string();
        step.under(&["unshare", "-m", "sh", "-c", r#"mount --bind "$1" /etc/hosts; shift; exec "$@""#, "sh", &hosts])
            .env("DOCKER_HOST", &format!("tcp://{DAEMON}:{}", daemon.address().port()))
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", &certs.display().to_string())
            .run(&["-entrypoint", "/bin/echo", "--", "ran"])
    };
    let ended = waiting(&client);
    assert_eq!((ended.code(), &*ended.stdout, &*ended.stderr), (0, "ran\n", ""), "{ended:#?}");
    // A Task that has only the authority's certificate stays outside.
    let stranger = dir.path().join("stranger");
    fs::create_dir(&stranger).unwrap();
    fs::copy(client.join("ca.pem"), stranger.join("ca.pem")).unwrap();
    let ended = waiting(&stranger);
    assert_eq!((ended.code(), ended.err, &*ended.stdout), (1, true, ""), "{ended:#?}");
    assert!(ended.stderr.contains("wants to be shown a certificate"), "{}", ended.stderr);
}

/// Docker's engine as `daemon.yaml` starts it, but for its directories and its port.
struct Engine {
    child: std::process::Child,
    data: PathBuf,
}

impl Engine {
    fn start(daemon: &[Value], dir: &Path, host: &str) -> Self {
        let container = &only(daemon, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let certs = dir.join("server").display().to_string();
        let args = texts(&container["args"]);
        let args = args[1..].iter().map(|arg| arg.replace("/certs", &certs).replace("0.0.0.0:2376", host));
        let data = dir.join("data");
        let child = Command::new(skip::program("dockerd").unwrap())
            .args(args)
            .arg(format!("--data-root={}", data.display()))
            .arg(format!("--exec-root={}", dir.join("exec").display()))
            .arg(format!("--pidfile={}", dir.join("pid").display()))
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"])
            // It looks for containerd and runc in PATH.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdout(std::process::Stdio::null())
            .stderr(fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, data }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // By SIGTERM: the engine takes its own containerd with it.
        send(i32::try_from(self.child.id()).unwrap(), 15);
        let _ = self.child.wait();
        // Its storage mounts its directory on itself.
        let _ = Command::new("umount").arg(&self.data).stderr(std::process::Stdio::null()).status();
    }
}

/// The words behind the program's name of a step, with what Tekton puts in.
fn words(task: &str, step: &str, values: &[(&str, &str)]) -> Vec<String> {
    let all = applied();
    let task = of_kind(&all, "Task").into_iter().find(|found| name(found) == task).unwrap();
    let step = list(&task["spec"]["steps"]).iter().find(|found| found["name"] == step).unwrap();
    let words = [texts(&step["command"]), texts(&step["args"])].concat();
    assert_eq!(words[0], "/tekton/bin/entrypoint");
    let put_in = |word: &str| {
        values.iter().fold(word.to_owned(), |word, (name, value)| word.replace(&format!("$({name})"), value))
    };
    words[1..].iter().map(|word| put_in(word)).collect()
}

#[test]
fn with_a_real_engine_that_starts_late_an_image_is_built_and_looked_up_over_tls_and_never_pushed() {
    let purpose = "the example with Docker's engine";
    let tools = [
        ("openssl", "openssl"),
        ("base64", "coreutils"),
        ("unshare", "util-linux"),
        ("mount", "mount"),
        ("dockerd", "docker.io"),
        ("containerd", "containerd"),
        ("docker", "docker.io"),
    ];
    if !skip::root(purpose) || !skip::programs(purpose, &tools) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let created = certificates(dir.path());
    let secrets = of_kind(&created, "Secret");
    mount(secrets[0], &dir.path().join("server"));
    mount(secrets[1], &dir.path().join("client"));
    fs::write(path("hosts"), format!("127.0.0.1 {DAEMON}\n")).unwrap();
    // What the example builds on is in a registry, which is not here.
    let dockerfile = fs::read_to_string(example().join("app/Dockerfile")).unwrap();
    let lines = dockerfile.lines().map(|line| if line.starts_with("FROM ") { "FROM scratch" } else { line });
    fs::create_dir(path("source")).unwrap();
    fs::write(path("source/Dockerfile"), lines.collect::<Vec<_>>().join("\n")).unwrap();

    let host = Bound::new().host();
    let port = host.rsplit_once(':').unwrap().1;
    let of_a_task = || {
        Step::new()
            .under(&[
                "unshare",
                "-m",
                "sh",
                "-c",
                r#"mount --bind "$1" /etc/hosts; shift; exec "$@""#,
                "sh",
                &path("hosts"),
            ])
            .env("DOCKER_HOST", &format!("tcp://{DAEMON}:{port}"))
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", &path("client"))
            .env("DOCKER_BUILDKIT", "0")
            .env("HOME", &path(""))
    };
    let program = entrypoint().display().to_string();
    let inner =
        [format!("-termination_path={}", path("termination")), format!("-step_metadata_dir={}", path("waited"))];
    let values = [("params.image", "app:1"), ("params.daemon", DAEMON), ("workspaces.source.path", &path("source"))];

    // The step that builds is there before the daemon is.
    let build = words("docker-build", "build", &values);
    let build: Vec<String> = build.into_iter().filter(|word| !word.starts_with("-step_metadata_dir")).collect();
    let line: Vec<&str> = ["-entrypoint", &program, "--"]
        .into_iter()
        .chain(inner.iter().map(String::as_str))
        .chain(build.iter().map(String::as_str))
        .collect();
    let step = of_a_task();
    let mut child = step.start(&line);
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut log, &mut first).unwrap();
    assert!(
        first.contains(&format!("waiting for docker: no answer from the daemon at tcp://{DAEMON}:{port}")),
        "{first}"
    );
    let engine = Engine::start(&created, dir.path(), &host);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut log, &mut rest).unwrap();
    let ended = step.finish(child);
    let engines = fs::read_to_string(path("log")).unwrap_or_default();
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}\n{rest}\n{engines}");

    // The second step of the test: what a step of this image would run.
    let resolve = words("docker-test", "what-it-runs", &values);
    let line: Vec<&str> =
        ["-entrypoint", &program, "--"].into_iter().chain(resolve.iter().map(String::as_str)).collect();
    let ended = of_a_task().run(&line);
    assert_eq!(ended.code(), 0, "{ended:#?}");
    assert!(ended.stdout.contains("Command     /bin/echo 'built here and' 'never pushed'\n"), "{}", ended.stdout);

    // And a step that is given the image alone.
    let flags = ["-wait_endpoints", "docker", "-image", "app:1", "-image_sources", "docker", "--"];
    let ended = of_a_task().run(&flags);
    assert_eq!((ended.code(), &*ended.stdout, &*ended.stderr), (0, "built here and never pushed\n", ""), "{ended:#?}");
    drop(engine);
}
