//! A pod with secrets, and somebody who would like to see them: he made the image, and so its environment and its files.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::kube_api::{Cluster, token};
use crate::server::{Answer, Request};
use crate::skip;
use crate::tls::Authority;
use crate::world::{Run, Told, World};

/// The image's registry: only ann may read there.
pub const REGISTRY: &str = "registry.example";
/// Somebody else's registry, for which the pod has a pull secret too.
pub const OTHER: &str = "other.example";
/// Who made the image. He has a certificate for this name that everybody believes, and an authority of his own.
pub const EVIL: &str = "evil.example";
/// Where his proxy listens.
pub const PROXY: &str = "evil.example:3128";
const EVIL_ADDRESS: &str = "127.0.6.66";
/// Where he answers in somebody's place, with a certificate of his own authority.
const IMPOSTOR: &str = "127.0.6.67:443";
const PASSWORD: &str = "hunter2-hunter2/the+pull-secret";
const OTHER_PASSWORD: &str = "correct-horse/the+other-pull-secret";
/// The variables that kubelet sets.
const CLUSTER: [(&str, &str); 2] =
    [("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc"), ("KUBERNETES_SERVICE_PORT", "443")];

/// The pod.
pub struct Pod {
    pub world: World,
    evils: Authority,
}

/// A proxy of his: everything that went through it, in either direction.
pub struct Proxy(Arc<Mutex<Vec<u8>>>);

impl Pod {
    /// A pod whose service account has pull secrets for two registries.
    pub fn new() -> Option<Self> {
        let world = World::new("the tests of hostile images")?;
        let api = Cluster::new()
            .service_account("ci", "builder", &["regcred", "other"])
            .pull_secret("ci", "regcred", REGISTRY, "ann", &world.secret(PASSWORD))
            .pull_secret("ci", "other", OTHER, "ann", &world.secret(OTHER_PASSWORD))
            .allow("ci/builder", "serviceaccounts", &["builder"])
            .allow("ci/builder", "secrets", &["regcred", "other"]);
        world.secure(&[CLUSTER[0].1], move |request| api.answer(request));
        world.file("/sa/token", &world.secret(&token("ci", "builder")));
        world.file("/sa/namespace", "ci");
        world.file("/sa/ca.crt", &fs::read_to_string(world.path("/ca.crt")).unwrap());
        let opens = basic("ann", PASSWORD);
        world.registry(REGISTRY, move |request| {
            (request.header("Authorization") != Some(&opens)).then(|| unauthorized(r#"Basic realm="private""#))
        });
        world.named(EVIL_ADDRESS, &[EVIL]);
        Some(Self { world, evils: Authority::new("the authority of who made the image") })
    }

    /// `resolve` of the image in its own registry, as the pod's service account.
    pub fn resolve(&self) -> Run<'_> {
        self.resolve_at(REGISTRY)
    }

    /// The same of an image elsewhere.
    pub fn resolve_at(&self, registry: &str) -> Run<'_> {
        self.world.resolve(registry).flags(&["-service_account_dir", "/sa"]).envs(&CLUSTER)
    }

    /// The program with these arguments, as a step of the pod.
    pub fn run(&self, args: &[&str]) -> Run<'_> {
        self.world.run(args).envs(&CLUSTER)
    }

    /// He answers in plain http at a port.
    pub fn evil_listens(&self, port: u16, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        self.world.serve(EVIL.to_owned() + ":" + &port.to_string(), format!("{EVIL_ADDRESS}:{port}"), None, answer);
    }

    /// He answers at `https://evil.example`.
    pub fn evil_serves(&self, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        self.world.secure(&["his.example", EVIL], answer);
        // Of two addresses the first counts: that of the certificate.
        let hosts = fs::read_to_string(self.world.path("/etc/hosts")).unwrap();
        let own = format!("{EVIL_ADDRESS} {EVIL}\n");
        fs::write(self.world.path("/etc/hosts"), hosts.replace(&own, "")).unwrap();
    }

    /// He answers in the place of others, to whoever believes his authority. What he is shown is asked of `"impostor"`.
    pub fn evil_answers_for(&self, names: &[&str], answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        self.world.serve("impostor".to_owned(), IMPOSTOR.to_owned(), Some(self.evils.server(names)), answer);
    }

    /// A file with the authorities that everybody believes, and his.
    pub fn evils_authorities(&self) -> String {
        let public = fs::read_to_string(self.world.path("/ca.crt")).unwrap();
        self.world.file("/evil/ca.crt", &format!("{public}{}", self.evils.pem()))
    }

    /// A proxy that connects to whom it was asked for, or to the impostor.
    pub fn evils_proxy(&self, to_impostor: bool) -> Proxy {
        let hosts = fs::read_to_string(self.world.path("/etc/hosts")).unwrap();
        let passed = Arc::<Mutex<Vec<u8>>>::default();
        let seen = Arc::clone(&passed);
        self.world.inside(move || {
            let listener = TcpListener::bind((EVIL_ADDRESS, 3128)).unwrap();
            // Threads are in the network of the thread that starts them.
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let to = |name: &str| to_impostor.then(|| IMPOSTOR.to_owned()).or_else(|| address(&hosts, name));
                    tunnel(client, to, &seen);
                }
            });
        });
        Proxy(passed)
    }

    /// What was asked of him: there is no secret of the pod's in it.
    pub fn saw_no_secret(&self, name: &str) -> Vec<String> {
        let asked = self.world.asked_of(name);
        let all: Vec<String> = asked.iter().map(whole).collect();
        self.world.assert_that_no_secret_is_told_in(&all);
        asked.iter().map(Request::line).collect()
    }

    /// Gives the image a program. It leaves a file, `/ran`.
    pub fn program(&self, path: &str) {
        if !self.world.path("/bin/sh").exists() {
            self.world.file("/bin/sh", "");
            // Containers have it, this root does not; and helpers are started with it.
            self.world.file("/dev/null", "");
            fs::copy(skip::busybox().unwrap(), self.world.path("/bin/sh")).unwrap();
            fs::set_permissions(self.world.path("/bin/sh"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let answer = r#"{"ServerURL": "", "Username": "evil", "Secret": "of-a-helper"}"#;
        self.world.file(path, &format!("#!/bin/sh\nread server\necho $0 $* $server >> /ran\necho '{answer}'\n"));
        fs::set_permissions(self.world.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Which of them ran.
    pub fn ran(&self) -> Option<String> {
        fs::read_to_string(self.world.path("/ran")).ok()
    }
}

impl Proxy {
    /// Whom it was asked for. Nothing else that went through it holds a secret.
    pub fn saw_no_secret(&self, pod: &Pod) -> Vec<String> {
        let passed = self.0.lock().unwrap();
        let text = String::from_utf8_lossy(&passed).into_owned();
        pod.world.assert_that_no_secret_is_told_in(std::slice::from_ref(&text));
        let asked = text.lines().filter_map(|line| line.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1"));
        let mut asked: Vec<String> = asked.map(str::to_owned).collect();
        asked.dedup();
        asked
    }
}

/// Found by the pod's own pull secret.
pub fn found_by_the_pull_secret(told: &Told) {
    assert!(told.found().contains("\nCredential  pull secret ci/regcred of the service account"), "{told:#?}");
}

/// Everything of a request.
pub fn whole(request: &Request) -> String {
    let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{}\n{}\n{}", request.line(), headers.join("\n"), String::from_utf8_lossy(&request.body))
}

/// A user and a password.
pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// The pull secret for the image's registry, as it is shown.
pub fn pull_secret() -> String {
    basic("ann", PASSWORD)
}

/// A refusal that asks for credentials.
pub fn unauthorized(challenge: &str) -> Answer {
    let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
    Answer::json(body.to_string()).with_status(401).header("WWW-Authenticate", challenge)
}

/// Nobody is to be asked here.
pub fn nobody(request: &Request) -> Answer {
    panic!("asked {}", request.line())
}

fn address(hosts: &str, name: &str) -> Option<String> {
    let line = hosts.lines().find(|line| line.split(' ').skip(1).any(|own| own == name))?;
    Some(format!("{}:443", line.split(' ').next()?))
}

/// One connection through a proxy.
fn tunnel(mut client: TcpStream, to: impl Fn(&str) -> Option<String>, seen: &Arc<Mutex<Vec<u8>>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
        head.extend(byte);
    }
    seen.lock().unwrap().extend(&head);
    let text = String::from_utf8_lossy(&head).into_owned();
    let name = text.strip_prefix("CONNECT ").and_then(|rest| rest.split(':').next());
    let Some(Ok(server)) = name.and_then(to).map(TcpStream::connect) else {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
    let ends = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
    for (mut reader, mut writer) in ends {
        let seen = Arc::clone(seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().extend(&buffer[..read]);
                if writer.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            let _ = writer.shutdown(std::net::Shutdown::Write);
        });
    }
}
