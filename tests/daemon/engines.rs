//! Real engines: Docker's own, over a socket and over TLS, and podman's service; each with an image that is nowhere else.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::oci::{self, Entry, Layout, architecture};
use super::server::Bound;
use super::skip;
use super::step::{Step, eventually};
use super::tls::{Authority, LOOPBACK};
use super::world::{Told, resolve};

/// An engine with storage of its own, which ends when this is dropped.
struct Engine {
    dir: TempDir,
    child: Child,
    /// `HOST:PORT` that it listens on besides its socket.
    host: String,
}

impl Engine {
    /// Starts a program; `None`, and the test is skipped, if it ends before it answers.
    fn start(purpose: &str, dir: TempDir, host: String, command: &mut Command) -> Option<Self> {
        let log = File::create(dir.path().join("log")).unwrap();
        let errors = log.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("the engine starts");
        let mut engine = Self { dir, child, host };
        let mut ended = false;
        eventually("the engine answers, or ends", || {
            ended = engine.child.try_wait().expect("a child of ours").is_some();
            ended || engine.answers()
        });
        if !ended {
            return Some(engine);
        }
        let log = fs::read_to_string(engine.path("log")).unwrap_or_default();
        skip::skip(&format!("{purpose}: it does not start here: {}", log.lines().last().unwrap_or("it says nothing")));
        None
    }

    /// Docker's engine, which demands certificates on its port.
    fn docker(purpose: &str) -> Option<Self> {
        let wanted = [("dockerd", "docker.io"), ("containerd", "containerd"), ("skopeo", "skopeo")];
        if !skip::root(purpose) || !skip::programs(purpose, &wanted) {
            return None;
        }
        let (dir, host) = (TempDir::new().unwrap(), Bound::new().host());
        let authority = Authority::new("the engine's authority");
        let (server, client) = (authority.leaf(LOOPBACK), authority.leaf(&["client"]));
        let stranger = Authority::new("nobody's authority").leaf(&["client"]);
        let path = |name: &str| dir.path().join(name);
        for certificates in ["own", "client", "stranger", "nobody"] {
            fs::create_dir(path(certificates)).unwrap();
            fs::write(path(certificates).join("ca.pem"), authority.pem()).unwrap();
        }
        for (leaf, directory) in [(&server, "own"), (&client, "client"), (&stranger, "stranger")] {
            fs::write(path(directory).join("cert.pem"), &leaf.certificate_pem).unwrap();
            fs::write(path(directory).join("key.pem"), &leaf.key_pem).unwrap();
        }
        let mut command = Command::new(skip::program("dockerd")?);
        command
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(["--host", &format!("unix://{}", path("sock").display()), "--host", &format!("tcp://{host}")])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", "vfs", "--tlsverify"])
            .args(
                [("--tlscacert", "ca.pem"), ("--tlscert", "cert.pem"), ("--tlskey", "key.pem")]
                    .map(|(flag, file)| format!("{flag}={}", path("own").join(file).display())),
            );
        // It looks for containerd and runc in PATH.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Self::start(purpose, dir, host, &mut command)
    }

    /// podman's service.
    fn podman(purpose: &str, tcp: bool) -> Option<Self> {
        if !skip::root(purpose) || !skip::programs(purpose, &[("podman", "podman"), ("skopeo", "skopeo")]) {
            return None;
        }
        let (dir, host) = (TempDir::new().unwrap(), Bound::new().host());
        let path = |name: &str| dir.path().join(name);
        let [graph, run, tmp] = ["graph", "run", "tmp"].map(path);
        fs::write(
            path("storage.conf"),
            format!("[storage]\ndriver = \"vfs\"\ngraphroot = {graph:?}\nrunroot = {run:?}\n"),
        )
        .unwrap();
        fs::write(
            path("containers.conf"),
            format!("[engine]\nevents_logger = \"file\"\ncgroup_manager = \"cgroupfs\"\nlock_type = \"file\"\ntmp_dir = {tmp:?}\n"),
        )
        .unwrap();
        let listen = if tcp { format!("tcp://{host}") } else { format!("unix://{}", path("sock").display()) };
        let mut command = Command::new(skip::program("podman")?);
        command
            .args(["system", "service", "--time=0", &listen])
            .env("CONTAINERS_STORAGE_CONF", path("storage.conf"))
            .env("CONTAINERS_CONF", path("containers.conf"));
        Self::start(purpose, dir, host, &mut command)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether a ping is answered, by the socket or by the port.
    fn answers(&self) -> bool {
        fn ping(mut stream: impl std::io::Read + std::io::Write) -> bool {
            let mut answer = String::new();
            let sent = stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: x\r\n\r\n");
            sent.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.ends_with("OK")
        }
        UnixStream::connect(self.path("sock")).is_ok_and(ping)
            || std::net::TcpStream::connect(&self.host).is_ok_and(ping)
    }

    /// `DOCKER_HOST` of the socket.
    fn socket(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    /// Builds an image and puts it into the engine, under a name. It is never pushed.
    fn load(&self, docker_host: &str, name: &str, command: oci::Command<'_>) {
        let mut layout = Layout::create(&self.path("layout"));
        let layer = layout.layer(&[Entry { path: "hello", mode: 0o644, content: Some(b"hello") }]);
        let image = layout.image(architecture(), command, &[layer]);
        layout.tag("built", &image);
        let mut copy = Command::new(skip::program("skopeo").expect("skopeo"));
        copy.args(["copy", "--quiet", "--insecure-policy", "--dest-daemon-host", docker_host])
            .arg(format!("oci:{}:built", layout.dir().display()))
            .arg(format!("docker-daemon:{name}"));
        let copied = copy.output().expect("skopeo starts");
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        assert!(copied.status.success(), "{name}: {}\n{log}", String::from_utf8_lossy(&copied.stderr));
    }

    /// Asks over TLS, with the files of a directory.
    fn over_tls(&self, image: &str, certificates: &str) -> Told {
        let (host, dir) = (format!("tcp://{}", self.host), self.path(certificates).display().to_string());
        resolve(image, &[("DOCKER_HOST", &host), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", &dir)], &[])
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // By SIGTERM: the engine takes its own containerd with it.
        let _ = Command::new("sh").args(["-c", "kill -TERM $0", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        // The storage of both mounts its directory on itself.
        for mount in ["graph", "data"].map(|name| self.path(name)).iter().filter(|path| path.exists()) {
            let mut unmount = Command::new("umount");
            let _ = unmount.arg(mount).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

const TOOL: oci::Command<'_> = oci::Command { entrypoint: &["/bin/tool", "a b"], cmd: &["--all"] };

/// What is told of the image that [`TOOL`] is the command of.
fn is_the_tool(told: Told, daemon: &str) -> String {
    let story = told.story();
    assert!(story.contains(&format!("Found in    the Docker daemon at {daemon}\n")), "{story}");
    assert!(story.contains("Command     /bin/tool 'a b' --all\n"), "{story}");
    assert!(story.contains(&format!("Platform    linux/{}", architecture())), "{story}");
    story
}

fn config_digest(engine: &Engine) -> String {
    let blobs = |digest: &str| fs::read(engine.path("layout/blobs").join(digest.replace(':', "/"))).unwrap();
    let index: Value = serde_json::from_slice(&fs::read(engine.path("layout/index.json")).unwrap()).unwrap();
    let manifest: Value = serde_json::from_slice(&blobs(index["manifests"][0]["digest"].as_str().unwrap())).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn docker_s_engine_tells_an_image_that_was_never_pushed() {
    let Some(engine) = Engine::docker("Docker's engine") else { return };
    let (socket, tcp) = (engine.socket(), format!("tcp://{}", engine.host));
    engine.load(&socket, "team/tool:1", TOOL);
    engine.load(&socket, "registry.example.com:5000/team/tool:1", TOOL);
    for image in ["team/tool:1", "docker.io/team/tool:1", "registry.example.com:5000/team/tool:1"] {
        let story = is_the_tool(resolve(image, &[("DOCKER_HOST", &socket)], &[]), &socket);
        assert!(story.contains("/v1.") && !story.contains("Repository"), "{story}");
        is_the_tool(engine.over_tls(image, "client"), &tcp);
    }
    let told = resolve("team/tool:1", &[("DOCKER_HOST", &socket)], &["-o", "json"]).story();
    let told: Value = serde_json::from_str(&told).unwrap();
    let digests = json!({"index": null, "manifest": null, "config": config_digest(&engine), "repository": null});
    assert_eq!(told["digests"], digests);

    // Not there, and with another version.
    let told = resolve("team/other", &[("DOCKER_HOST", &socket)], &[]).sentence();
    assert!(
        told.contains("does not have the image index.docker.io/team/other:latest (asked for as docker.io/"),
        "{told}"
    );
    for (version, words) in [("1.999", "is too new. Maximum supported"), ("1.1", "is too old. Minimum supported")] {
        let env = [("DOCKER_HOST", socket.as_str()), ("DOCKER_API_VERSION", version)];
        let told = resolve("team/tool:1", &env, &[]).sentence();
        let sentence = format!("does not speak version {version} of the API (DOCKER_API_VERSION): client version");
        assert!(told.contains(&sentence) && told.contains(words), "{told}");
    }

    // Without a certificate, with a stranger's, and without TLS.
    let told = engine.over_tls("team/tool:1", "nobody").sentence();
    assert!(told.contains("want") && told.contains("to be shown a certificate"), "{told}");
    let told = engine.over_tls("team/tool:1", "stranger").sentence();
    assert!(told.contains("not accept the certificate"), "{told}");
    let told = resolve("team/tool:1", &[("DOCKER_HOST", &tcp)], &[]).sentence();
    assert!(told.contains("speaks TLS only: set DOCKER_TLS_VERIFY=1"), "{told}");

    // And a step runs it, over TLS.
    engine.load(&socket, "localhost/say:1", oci::Command { entrypoint: &["/bin/echo", "from"], cmd: &["nobody"] });
    let step = Step::new()
        .env("DOCKER_HOST", &tcp)
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", &engine.path("client").display().to_string());
    let ended = step.run(&["-image", "localhost/say:1", "-image_sources", "docker", "--", "the daemon"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "from the daemon\n"), "{ended:#?}");
}

#[test]
fn podman_s_service_tells_an_image_that_was_never_pushed() {
    for tcp in [false, true] {
        let Some(engine) = Engine::podman("podman's service", tcp) else { return };
        let host = if tcp { format!("tcp://{}", engine.host) } else { engine.socket() };
        // skopeo means TLS by `tcp`.
        let plain = host.replace("tcp://", "http://");
        for name in ["docker.io/library/tool:1", "localhost/mine:1", "registry.example.com:5000/team/tool:1"] {
            engine.load(&plain, name, TOOL);
        }
        for image in ["tool:1", "localhost/mine:1", "registry.example.com:5000/team/tool:1"] {
            let story = is_the_tool(resolve(image, &[("DOCKER_HOST", &host)], &[]), &host);
            assert!(story.contains(&format!("Config      {}\n", config_digest(&engine))), "{story}");
        }
        // podman would take its own `localhost/mine` for `mine`, which is another image.
        let told = resolve("mine:1", &[("DOCKER_HOST", &host)], &[]).sentence();
        assert!(told.contains("does not have the image index.docker.io/library/mine:1"), "{told}");
        // TLS is asked for, and not spoken.
        if tcp {
            let certificates = TempDir::new().unwrap();
            fs::write(certificates.path().join("ca.pem"), Authority::new("anybody").pem()).unwrap();
            let told = plain_for_tls(&host, certificates.path()).sentence();
            assert!(told.contains("does not speak TLS, which DOCKER_TLS_VERIFY asks for"), "{told}");
        }
    }
}

fn plain_for_tls(host: &str, certificates: &Path) -> Told {
    let dir = certificates.display().to_string();
    resolve("tool:1", &[("DOCKER_HOST", host), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", &dir)], &[])
}
