//! How a daemon is reached: sockets, TLS, proxies, and each way in which it is not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use entrypoint::daemon::{self, DaemonError};
use entrypoint::host::Env;
use entrypoint::http::Network;
use entrypoint::sys::cause::chain;
use entrypoint::trace::Trace;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use super::server::{Answer, Bound, Server};
use super::tls::{Authority, LOOPBACK, Leaf};
use super::world::{address, asked_for_the_image, command, image, resolve, told};
use super::{skip, step};

/// An authority, and the directory that `DOCKER_CERT_PATH` names.
struct Certificates {
    dir: TempDir,
    authority: Authority,
    client: Leaf,
}

impl Certificates {
    /// With `ca.pem`, `cert.pem` and `key.pem`.
    fn new() -> Self {
        let authority = Authority::new("the daemon's authority");
        let client = authority.leaf(&["client"]);
        let own = Self { dir: tempfile::tempdir().unwrap(), authority, client };
        own.write("ca.pem", &own.authority.pem());
        own.write("cert.pem", &own.client.certificate_pem);
        own.write("key.pem", &own.client.key_pem);
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A server that has a certificate of the authority, and demands one if `asking`.
    fn server(&self, asking: Option<&Authority>) -> Arc<ServerConfig> {
        let Some(clients) = asking else { return self.authority.server(LOOPBACK) };
        let own = self.authority.leaf(LOOPBACK);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(own.certificate_pem.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap(),
            );
        Arc::new(config.unwrap())
    }

    /// The variables for a server, and what `resolve` says; never the key.
    fn resolve(&self, server: &Server, verify: bool, more: &[(&str, &str)]) -> super::world::Told {
        let (host, dir) = (address(server), self.dir.path().display().to_string());
        let mut env = vec![("DOCKER_HOST", host.as_str()), ("DOCKER_CERT_PATH", &dir)];
        env.extend(verify.then_some(("DOCKER_TLS_VERIFY", "1")));
        env.extend(more);
        let told = resolve("team/tool:1", &env, &[]);
        let key = self.client.key_pem.lines().nth(1).unwrap();
        assert!(!told.stdout.contains(key) && !told.stderr.contains(key), "{told:#?}");
        told
    }
}

fn found() -> Vec<super::server::Exchange> {
    asked_for_the_image(Answer::json(image().to_string()))
}

#[test]
fn a_daemon_behind_tls_is_shown_the_certificate_that_it_demands() {
    let certificates = Certificates::new();
    for asking in [None, Some(&certificates.authority)] {
        let server = Server::scripted(Bound::new(), Some(certificates.server(asking)), found());
        let story = certificates.resolve(&server, true, &[]).story();
        assert!(story.contains(&format!("Found in    the Docker daemon at {}", address(&server))), "{story}");
        assert!(story.contains(&format!("https://{}/v1.41/images/", server.host())), "{story}");
        server.finish();
    }
}

#[test]
fn the_certificates_are_in_the_home_directory_where_no_path_is_named() {
    let certificates = Certificates::new();
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(certificates.dir.path(), home.path().join(".docker")).unwrap();
    let server = Server::scripted(Bound::new(), Some(certificates.server(Some(&certificates.authority))), found());
    let (host, home) = (address(&server), home.path().display().to_string());
    let env = [("DOCKER_HOST", host.as_str()), ("DOCKER_TLS_VERIFY", "yes"), ("HOME", &home)];
    resolve("team/tool:1", &env, &[]).story();
    server.finish();
}

#[test]
fn a_certificate_that_the_daemon_does_not_accept_is_named() {
    let certificates = Certificates::new();
    let stranger = Authority::new("somebody else");
    let refused = |asking: &Authority| {
        let server = Server::scripted(Bound::new(), Some(certificates.server(Some(asking))), Vec::new());
        let told = certificates.resolve(&server, true, &[]).sentence();
        server.finish();
        told
    };
    let told = refused(&stranger);
    let named = format!("does not accept the certificate in {}", certificates.path("cert.pem").display());
    assert!(told.contains(&named) || told.contains("it may not accept the certificate that it is shown"), "{told}");

    fs::remove_file(certificates.path("cert.pem")).unwrap();
    fs::remove_file(certificates.path("key.pem")).unwrap();
    let told = refused(&certificates.authority);
    let dir = certificates.dir.path().display();
    let named = format!("wants to be shown a certificate: there is no cert.pem and key.pem in {dir}");
    assert!(told.contains(&named) || told.contains("it may want to be shown a certificate"), "{told}");
}

#[test]
fn a_daemon_of_another_authority_is_not_believed() {
    let certificates = Certificates::new();
    let stranger = Authority::new("somebody else");
    let server = Server::scripted(Bound::new(), Some(stranger.server(LOOPBACK)), Vec::new());
    let told = certificates.resolve(&server, true, &[]).sentence();
    let ca = certificates.path("ca.pem");
    assert!(told.contains(&format!("is signed by an authority that is not in {}", ca.display())), "{told}");
    // What the image's environment adds to the system's authorities does not count here.
    let theirs = stranger.write(certificates.dir.path()).display().to_string();
    let told = certificates.resolve(&server, true, &[("SSL_CERT_FILE", &theirs)]).sentence();
    assert!(told.contains("is signed by an authority that is not in "), "{told}");
    // Without certificates, https:// believes the public authorities.
    let host = format!("https://{}", server.host());
    let told = resolve("team/tool:1", &[("DOCKER_HOST", &host)], &[]).sentence();
    assert!(told.contains("is signed by an authority that is not trusted here"), "{told}");

    let server =
        Server::scripted(Bound::new(), Some(certificates.authority.server(&["elsewhere.example"])), Vec::new());
    let told = certificates.resolve(&server, true, &[]).sentence();
    assert!(told.contains("its certificate is not acceptable"), "{told}");
}

#[test]
fn tls_is_never_given_up_for_plain_http_nor_taken_without_being_asked_for() {
    let certificates = Certificates::new();
    let server = Server::scripted(Bound::new(), None, Vec::new());
    let told = certificates.resolve(&server, true, &[]).sentence();
    assert!(
        told.contains("does not speak TLS, which DOCKER_TLS_VERIFY asks for: name the daemon's port for TLS"),
        "{told}"
    );
    let host = format!("https://{}", server.host());
    let told = resolve("team/tool:1", &[("DOCKER_HOST", &host)], &[]).sentence();
    assert!(told.contains("does not speak TLS, which https:// asks for"), "{told}");
    server.finish();

    // The certificates' path alone asks for nothing.
    let server = Server::scripted(Bound::new(), Some(certificates.server(None)), Vec::new());
    let told = certificates.resolve(&server, false, &[]).sentence();
    assert!(told.contains(" (if it speaks TLS, set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH): "), "{told}");
    server.finish();
}

#[test]
fn certificate_files_that_cannot_be_used_are_named() {
    let other = Authority::new("another").leaf(&["client"]).key_pem;
    let gone: fn(&Certificates, &str) = |own, name| fs::remove_file(own.path(name)).unwrap();
    type Change<'a> = Box<dyn Fn(&Certificates) + 'a>;
    let changes: [(Change<'_>, &str, &str); 6] = [
        (Box::new(|own| gone(own, "ca.pem")), "ca.pem", "no such file or directory"),
        (Box::new(|own| own.write("ca.pem", "hello")), "ca.pem", "holds no certificate in PEM form"),
        (Box::new(|own| gone(own, "key.pem")), "key.pem", "is not: a certificate is shown with its key"),
        (Box::new(|own| gone(own, "cert.pem")), "cert.pem", "is not: a certificate is shown with its key"),
        (Box::new(|own| own.write("key.pem", &other)), "key.pem", "is not the key of the certificate in"),
        (Box::new(|own| own.write("cert.pem", "hello")), "cert.pem", "holds no certificate in PEM form"),
    ];
    for (change, file, sentence) in changes {
        let certificates = Certificates::new();
        change(&certificates);
        let server = Server::scripted(Bound::new(), None, Vec::new());
        let told = certificates.resolve(&server, true, &[]).sentence();
        let named = certificates.path(file).display().to_string();
        assert!(told.contains(sentence) && told.contains(&named), "{told}");
        assert!(!told.contains(other.lines().nth(1).unwrap()), "{told}");
        server.finish();
    }
}

#[test]
fn a_socket_that_cannot_be_used_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("made-by-a-mount")).unwrap();
    fs::write(path("file"), "").unwrap();
    drop(UnixListener::bind(path("left-behind")).unwrap());
    for (name, sentence) in [
        ("absent", "is not there: mount the daemon's socket or set DOCKER_HOST"),
        ("no/directory", "is not there: mount the daemon's socket or set DOCKER_HOST"),
        ("made-by-a-mount", "is a directory and not the daemon's socket: was the daemon running when it was mounted?"),
        ("file", "is a file and not the daemon's socket"),
        ("left-behind", " (is it running?): connection refused"),
    ] {
        let host = format!("unix://{}", path(name).display());
        let told = resolve("team/tool:1", &[("DOCKER_HOST", &host)], &[]);
        assert!(told.stdout.contains(&format!("ping  GET  {host}:/_ping  ")), "{}", told.stdout);
        let told = told.sentence();
        assert!(told.contains(sentence) && told.contains(&path(name).display().to_string()), "{told}");
    }
    let told = resolve("team/tool:1", &[("DOCKER_HOST", "ssh://ann@host")], &[]).sentence();
    assert!(told.contains("DOCKER_HOST begins with ssh://, which is not spoken here"), "{told}");
    let absent = format!("unix://{}", path("absent").display());
    let podman = [("CONTAINER_HOST", "unix:///run/podman/podman.sock")];
    // Where the machine has a daemon of its own at the usual place, this says nothing.
    if !Path::new("/var/run/docker.sock").exists() {
        let told = resolve("team/tool:1", &podman, &[]).sentence();
        let note = "tried: CONTAINER_HOST: not looked at: DOCKER_HOST names the daemon, podman's service too";
        assert!(told.contains("/var/run/docker.sock is not there") && told.contains(note), "{told}");
    }
    let told = resolve("team/tool:1", &[("DOCKER_HOST", absent.as_str()), podman[0]], &[]).sentence();
    assert!(!told.contains("CONTAINER_HOST"), "{told}");
}

#[test]
fn a_socket_of_others_is_told_with_the_group_that_would_help() {
    if !skip::root("a socket that may not be used") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let _listener = UnixListener::bind(path("docker.sock")).unwrap();
    fs::set_permissions(path("docker.sock"), fs::Permissions::from_mode(0o660)).unwrap();
    std::os::unix::fs::chown(path("docker.sock"), None, Some(4711)).unwrap();
    // Where the program was built others may not go.
    fs::copy(step::entrypoint(), path("entrypoint")).unwrap();
    let host = format!("unix://{}", path("docker.sock").display());
    let mut run = Command::new(path("entrypoint"));
    run.args(["resolve", "team/tool:1", "-source", "docker"]).env_clear().env("DOCKER_HOST", host);
    let told = told(run.uid(65534).gid(65534).current_dir("/").stdin(Stdio::null())).sentence();
    let sentence = "docker.sock may not be used: permission denied; run as root, or in the group that owns it \
                    (gid 4711: securityContext.supplementalGroups)";
    assert!(told.contains(sentence), "{told}");
}

#[test]
fn a_daemon_that_is_not_running_is_told_with_the_proxy_in_between() {
    let closed = Bound::new().host();
    let told = resolve("team/tool:1", &[("DOCKER_HOST", &format!("tcp://{closed}"))], &[]).sentence();
    assert!(told.contains(&format!("no answer from the daemon at tcp://{closed}: connection refused")), "{told}");
    let proxy = format!("http://{closed}");
    let env = [("DOCKER_HOST", "tcp://docker.example:2375"), ("HTTP_PROXY", proxy.as_str())];
    let told = resolve("team/tool:1", &env, &[]).sentence();
    let sentence = format!(
        "no answer from the daemon at tcp://docker.example:2375 through the proxy http://{closed} (HTTP_PROXY)"
    );
    assert!(told.contains(&sentence), "{told}");
}

#[test]
fn a_ping_says_whether_a_daemon_is_there() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ping = |env: &[(&str, &str)]| {
        let env: Env = env.iter().copied().collect();
        let (network, trace) = (Network::new(&env).unwrap(), Trace::default());
        let pinged = runtime.block_on(daemon::ping(&network, &env, &trace));
        (pinged, trace.requests().listed.len())
    };
    let certificates = Certificates::new();
    let pong = || vec![super::server::on("GET", "/_ping", |_| super::world::pong("1.41"))];
    let server = Server::scripted(Bound::new(), Some(certificates.server(Some(&certificates.authority))), pong());
    let (host, dir) = (address(&server), certificates.dir.path().display().to_string());
    let env = [("DOCKER_HOST", host.as_str()), ("DOCKER_CERT_PATH", &dir), ("DOCKER_TLS_VERIFY", "1")];
    assert!(matches!(ping(&env), (Ok(()), 1)));
    server.finish();

    let (refused, requests) = ping(&env);
    let error = refused.unwrap_err();
    assert!(matches!(error, DaemonError::Unanswered { .. }) && requests == 1, "{error:?}");
    assert_eq!(chain(&error), format!("no answer from the daemon at {host}: connection refused"));
    assert!(matches!(ping(&[("DOCKER_HOST", "ssh://h")]), (Err(DaemonError::Address(_)), 0)));
}

#[test]
fn an_image_s_environment_does_not_choose_to_ask_a_daemon() {
    // Who is asked comes from argv alone.
    let server = Server::scripted(Bound::new(), None, Vec::new());
    let (host, closed) = (address(&server), Bound::new().host());
    let image = format!("{closed}/team/tool:1");
    let told = told(&mut command(&["resolve", &image], &[("DOCKER_HOST", &host)])).sentence();
    assert!(told.contains("connection refused") && !told.contains("daemon"), "{told}");
    server.finish();
}
