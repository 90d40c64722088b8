//! The way to a registry: whose certificates are accepted, which proxy is in between, and how a failure names both.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![cfg(feature = "lookup")]

#[path = "support/images.rs"]
mod images;
#[path = "support/lookup.rs"]
mod lookup;
#[path = "support/server.rs"]
mod server;
#[path = "support/tls.rs"]
mod tls;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use entrypoint::registry::Retry;
use images::{Image, refuse, serve, tag_path};
use lookup::{FOREIGN, FOREIGN_AUTH, PASSWORD, Setup, lines, user};
use server::{Answer, Bound, Request, Server, Tls, on};
use tls::{Authority, LOOPBACK, Leaf};

/// `Basic` of ann with the password of the tests.
const ANN: &str = "Basic YW5uOmh1bnRlcjItc2VjcmV0";

fn shows_ann(request: &Request) {
    assert_eq!(request.header("Authorization"), Some(ANN), "{}", request.line());
}

/// A registry that nobody trusts, with an image for ann.
fn registry(tls: Tls) -> Server {
    Server::scripted(Bound::new(), tls, Image::new("linux/amd64", "/app").exchanges("1", shows_ann))
}

/// A server of TLS that is never asked anything.
fn silent(tls: Tls) -> Server {
    Server::scripted(Bound::new(), tls, vec![])
}

/// A proxy that opens every connection, to this address whatever is asked for, and says who was asked for. It serves one
/// connection.
fn tunnel(to: SocketAddr) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).expect("a byte") == 1 {
            head.extend_from_slice(&byte);
        }
        let mut server = TcpStream::connect(to).expect("the server behind the proxy");
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").expect("the client listens");
        let (mut from, mut back) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
        let there = thread::spawn(move || {
            let _ = io::copy(&mut from, &mut back);
            let _ = back.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Write);
        there.join().expect("the other direction");
        String::from_utf8(head).expect("text")
    });
    (address, serving)
}

#[test]
fn a_registry_is_believed_without_a_proof_where_that_is_asked_for_and_is_shown_the_credential() {
    let expired = Leaf::signed_by_itself(&["another.example"], 2000);
    for tls in [Setup::new().tls, Authority::new("unknown").server(&["another.example"]), expired.server()] {
        let server = registry(Some(tls));
        let host = server.host();
        let found = Setup::new().believing(host.clone()).image(&format!("{host}/ci/app:1"), &[user("ann")]);
        assert_eq!(
            lines(&found.notes),
            [
                format!(
                    "certificate of {host}: not verified, as -image_skip_tls_verify_registry or a file of -image_registry_config says"
                ),
                format!("pull secret of ann: accepted by {host}"),
            ]
        );
        server.finish();
    }
}

#[test]
fn who_does_not_hold_the_key_of_the_certificate_is_not_believed_either() {
    let authority = Authority::new("unknown");
    let tls = authority.leaf(LOOPBACK).server_with_the_key_of(&authority.leaf(LOOPBACK));
    let server = silent(Some(tls));
    let host = server.host();
    let (story, _, notes) = Setup::new().believing(host.clone()).failure(&format!("{host}/ci/app:1"), &[user("ann")]);
    assert!(story.ends_with("its certificate is not acceptable: invalid peer certificate: BadSignature"), "{story}");
    assert!(notes.is_empty(), "{notes:?}");
    assert!(server.finish().is_empty());
}

#[test]
fn nobody_is_believed_for_another_host_or_another_port() {
    let server = silent(Some(Setup::new().tls));
    let host = server.host();
    for believed in ["127.0.0.1".to_owned(), "127.0.0.1:1".to_owned(), format!("localhost:{}", server.address().port())]
    {
        let (story, _, notes) = Setup::new().believing(believed).failure(&format!("{host}/ci/app:1"), &[user("ann")]);
        assert!(story.contains("signed by an authority that is not trusted here"), "{story}");
        assert!(!notes.iter().any(|note| note.contains("not verified")), "{notes:?}");
    }
    assert!(server.finish().is_empty());
}

#[test]
fn the_token_service_of_a_registry_is_believed_only_if_it_is_named_itself() {
    let tls = Setup::new().tls;
    for named in [false, true] {
        let bound = Bound::new();
        let host = format!("{FOREIGN_AUTH}:{}", bound.address().port());
        let token = on("GET", "/token", |request| {
            shows_ann(request);
            Answer::json(r#"{"token":"tok"}"#)
        });
        let tokens = Server::scripted(bound, Some(tls.clone()), if named { vec![token] } else { vec![] });
        let challenge = format!(r#"Bearer realm="https://{host}/token",service="reg.example""#);
        let mut script = vec![refuse(&tag_path("1"), 401, &[&challenge])];
        if named {
            script.extend(Image::new("linux/amd64", "/app").exchanges("1", |_| {}));
        }
        let server = Server::scripted(Bound::new(), Some(tls.clone()), script);
        let mut setup = Setup::new().believing(server.host());
        let reference = format!("{}/ci/app:1", server.host());
        if named {
            setup = setup.believing(host.clone());
            let notes = lines(&setup.image(&reference, &[user("ann")]).notes);
            assert!(notes[1].starts_with(&format!("certificate of {host}: not verified")), "{notes:?}");
        } else {
            let (story, ..) = setup.failure(&reference, &[user("ann")]);
            assert!(story.starts_with(&format!("cannot ask the token service {host}: its certificate")), "{story}");
        }
        tokens.finish();
        server.finish();
    }
}

#[test]
fn a_proxy_is_not_believed_in_a_registrys_stead() {
    let proxy = silent(Some(Setup::new().tls));
    let address = format!("https://{}", proxy.host());
    let setup = Setup::new().env(&[("HTTPS_PROXY", &address)]).believing(FOREIGN);
    let (story, ..) = setup.failure(&format!("{FOREIGN}/ci/app:1"), &[user("ann")]);
    assert_eq!(
        story,
        format!(
            "cannot ask the registry {FOREIGN}:443 through the proxy {address} (HTTPS_PROXY): its certificate is signed by \
             an authority that is not trusted here; if it is yours, name its file with -image_registry_certificate \
             {FOREIGN}:443=/path/to/ca.pem"
        )
    );
    assert!(proxy.finish().is_empty());
}

#[test]
fn an_authority_that_a_variable_names_is_trusted_and_told_when_the_lookup_fails() {
    let setup = Setup::new();
    let ca = setup.ca();
    let server = registry(Some(setup.tls.clone()));
    let reference = format!("{}/ci/app:1", server.host());
    let setup = setup.env(&[("SSL_CERT_FILE", &ca)]);
    let found = setup.image(&reference, &[user("ann")]);
    assert_eq!(lines(&found.notes), [format!("pull secret of ann: accepted by {}", server.host())]);
    server.finish();

    let server = silent(Some(Authority::new("unknown").server(LOOPBACK)));
    let (story, _, notes) = setup.failure(&format!("{}/ci/app:1", server.host()), &[]);
    assert!(story.contains("not trusted here"), "{story}");
    assert_eq!(notes, [format!("SSL_CERT_FILE={ca}: its certificate is trusted too")]);

    let setup = setup.env(&[("SSL_CERT_FILE", "/absent/ca.pem"), ("SSL_CERT_DIR", "/absent:/none")]);
    let (_, _, notes) = setup.failure(&format!("{}/ci/app:1", server.host()), &[]);
    let absent = "adds no trusted certificate: it cannot be read: no such file or directory";
    assert_eq!(
        notes,
        [
            format!("SSL_CERT_FILE=/absent/ca.pem: {absent}"),
            format!("SSL_CERT_DIR=/absent: {absent}"),
            format!("SSL_CERT_DIR=/none: {absent}"),
        ]
    );
}

#[test]
fn a_certificate_signed_by_itself_that_a_variable_names_is_accepted() {
    let leaf = Leaf::signed_by_itself(LOOPBACK, 4000);
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("registry.pem"), &leaf.certificate_pem).expect("a file");
    let named = directory.path().display().to_string();
    let server = registry(Some(leaf.server()));
    Setup::new().env(&[("SSL_CERT_DIR", &named)]).image(&format!("{}/ci/app:1", server.host()), &[user("ann")]);
    server.finish();
}

#[test]
fn a_lookup_goes_through_the_proxy_which_sees_no_credential() {
    let setup = Setup::new().trusting(FOREIGN);
    let server = Server::scripted(Bound::new(), Some(setup.tls.clone()), vec![refuse(&tag_path("1"), 404, &[])]);
    let (proxy, serving) = tunnel(server.address());
    let address = format!("http://ann:{PASSWORD}@{proxy}");
    let setup = setup.env(&[("https_proxy", &address)]);
    let (story, _, notes) = setup.failure(&format!("{FOREIGN}/ci/app:1"), &[]);
    assert!(story.contains("404 MANIFEST_UNKNOWN"), "{story}");
    // What failed may be the proxy's doing: a failure that does not name it is told with it.
    assert_eq!(notes, [format!("proxy http://{proxy} (https_proxy): in between")]);
    let head = serving.join().expect("the proxy");
    assert!(head.starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic yw5uo"), "{head}");
    server.finish();
}

#[test]
fn a_proxy_that_does_not_let_the_connection_through_is_named() {
    let url = format!("{FOREIGN}:443");
    for (status, reason) in [(403, "unsuccessful"), (502, "unsuccessful"), (407, "proxy authorization required")] {
        let proxy =
            Server::scripted(Bound::new(), None, vec![on("CONNECT", url.clone(), move |_| Answer::new(status))]);
        let address = format!("http://ann:{PASSWORD}@{}", proxy.host());
        let setup = Setup::new().env(&[("HTTPS_PROXY", &address)]);
        let (story, error, notes) = setup.failure(&format!("{FOREIGN}/ci/app:1"), &[user("ann")]);
        assert_eq!(
            story,
            format!(
                "cannot ask the registry {url}: the proxy http://{} (HTTPS_PROXY) opens no connection to it: tunnel error: \
                 {reason}",
                proxy.host()
            )
        );
        assert!(error.retry() == Retry::Worthwhile && notes.is_empty(), "{notes:?}");
        proxy.finish();
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_is_not_taken_for_the_registry() {
    let nobody = Bound::new().host();
    for (proxy, reason) in [
        (nobody.as_str(), "connection refused"),
        ("proxy.example:3128", "its name cannot be resolved: proxy.example is not in the hosts file"),
    ] {
        // That nothing listens there says nothing about the registry: it is not asked over plain http either.
        let setup = Setup::new().env(&[("HTTPS_PROXY", proxy)]).insecure(FOREIGN);
        let (story, ..) = setup.failure(&format!("{FOREIGN}/ci/app:1"), &[user("ann")]);
        let sentence = format!(
            "cannot ask the registry {FOREIGN}:443: the proxy http://{proxy} (HTTPS_PROXY) cannot be reached: {reason}"
        );
        assert!(story.starts_with(&sentence), "{story}");
    }
}

#[test]
fn a_proxy_of_plain_http_that_is_written_with_https_is_told() {
    // A server that answers a handshake as real ones do.
    let proxy = silent(None);
    let address = format!("https://{}", proxy.host());
    let setup = Setup::new().env(&[("HTTPS_PROXY", &address)]).insecure(FOREIGN);
    let (story, ..) = setup.failure(&format!("{FOREIGN}/ci/app:1"), &[user("ann")]);
    assert_eq!(
        story,
        format!(
            "cannot ask the registry {FOREIGN}:443 through the proxy {address} (HTTPS_PROXY): what answers there does not \
             speak TLS; if that is the proxy, write its address with http:// instead of https://"
        )
    );
    assert!(proxy.finish().is_empty());
}

#[test]
fn a_pause_until_a_date_is_counted_by_the_servers_own_clock() {
    let image = Image::new("linux/amd64", "/app");
    let busy = |until: &'static str| {
        on("GET", tag_path("1"), move |_| {
            Answer::new(429).header("Date", "Sat, 21 Nov 2026 12:00:00 GMT").header("Retry-After", until)
        })
    };
    let setup = Setup::new();
    let server = Server::scripted(
        Bound::new(),
        Some(setup.tls.clone()),
        vec![
            busy("Sat, 21 Nov 2026 11:00:00 GMT"),
            serve(&tag_path("1"), &image.manifest, |_| {}),
            serve(&image.config.blob_path(), &image.config, |_| {}),
        ],
    );
    let found = setup.trusting(server.host()).image(&format!("{}/ci/app:1", server.host()), &[]);
    assert_eq!(lines(&found.notes), [format!("{}: asked again for the manifest after 0 s: 429", server.host())]);
    server.finish();

    let setup = Setup::new();
    let server = Server::scripted(Bound::new(), Some(setup.tls.clone()), vec![busy("Sat, 21 Nov 2026 18:00:00 GMT")]);
    let (story, ..) = setup.trusting(server.host()).failure(&format!("{}/ci/app:1", server.host()), &[]);
    let expected = format!("{} has been asked too often and asks for a pause of 21600 s: 429; -image", server.host());
    assert!(story.starts_with(&expected), "{story}");
    server.finish();
}

#[test]
fn no_part_of_the_program_brings_another_tls() {
    let lock = include_str!("../Cargo.lock");
    for package in ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "aws-lc-fips-sys"] {
        assert!(!lock.lines().any(|line| line == format!("name = \"{package}\"")), "{package} is in Cargo.lock");
    }
}

#[test]
fn a_certificate_is_shown_to_the_registry_that_it_is_named_for() {
    let (setup, image) = (Setup::new(), Image::new("linux/amd64", "/app"));
    let server = Server::scripted(Bound::new(), Some(setup.tls_for_clients()), image.exchanges("1", |_| {}));
    let (host, reference) = (server.host(), format!("{}/ci/app:1", server.host()));
    let found = setup.trusting(&host).showing(&host, None).image(&reference, &[]);
    assert_eq!(found.config.entrypoint, ["/app"]);
    server.finish();
}

#[test]
fn a_registry_that_misses_a_certificate_is_told_with_the_flag_that_names_one() {
    let stranger = Authority::new("an authority that the registry does not know");
    for shown in [None, Some(&stranger)] {
        let setup = Setup::new();
        let server = silent(Some(setup.tls_for_clients()));
        let (host, reference) = (server.host(), format!("{}/ci/app:1", server.host()));
        let setup = setup.trusting(&host);
        let setup = if shown.is_some() { setup.showing(&host, shown) } else { setup };
        let (sentence, error, _) = setup.failure(&reference, &[]);
        let expected = format!(
            "cannot ask the registry {host}: it wants a certificate to be shown that it knows; name one with \
             -image_registry_client_cert {host}=/path/to/client.crt,/path/to/client.key: "
        );
        assert!(sentence.starts_with(&expected), "{sentence}");
        assert_eq!(error.retry(), Retry::Worthwhile);
        server.finish();
    }
}

#[test]
fn a_certificate_is_shown_to_nobody_else() {
    let setup = Setup::new();
    let server = silent(Some(setup.tls_for_clients()));
    let (host, reference) = (server.host(), format!("{}/ci/app:1", server.host()));
    let (sentence, ..) = setup.trusting(&host).showing("127.0.0.1:1", None).failure(&reference, &[]);
    assert!(sentence.contains("it wants a certificate to be shown"), "{sentence}");
    server.finish();
}

#[test]
fn a_certificate_without_its_key_is_told_before_anybody_is_asked() {
    let setup = Setup::new();
    let server = silent(Some(setup.tls_for_clients()));
    let (host, reference) = (server.host(), format!("{}/ci/app:1", server.host()));
    let mut setup = setup.trusting(&host).showing(&host, None);
    setup.settings.client_certificates[0].1.key = "/nowhere/client.key".into();
    let (sentence, ..) = setup.failure(&reference, &[]);
    let expected = format!("cannot prepare to ask {host}: cannot read the private key in /nowhere/client.key: ");
    assert!(sentence.starts_with(&expected), "{sentence}");
    server.finish();
}
