//! The HTTP factory against real loopback sockets: what went wrong is told apart, and no body is read without a limit.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![cfg(feature = "lookup")]
mod support;

use std::net::TcpListener;
use std::time::Duration;

use entrypoint::host::Env;
use entrypoint::http::{HttpError, Network, Proxies, RootPlaces, Trust, Unanswered, read_body};
use support::server::{Answer, Bound, Reply, Server, on};
use support::tls::{Authority, LOOPBACK, Leaf};

fn network() -> Network {
    // The machine's own authorities are not the tests'.
    Network::new(&Env::default()).expect("a network").with_root_places(RootPlaces::default())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// One GET; the body, or why there is none.
fn get(trust: &Trust, url: &str, limit: usize) -> Result<Vec<u8>, HttpError> {
    get_over(&network(), trust, url, limit)
}

fn get_over(network: &Network, trust: &Trust, url: &str, limit: usize) -> Result<Vec<u8>, HttpError> {
    let client = network.client(trust, Proxies::Never).expect("a client");
    runtime().block_on(async {
        let what = "the answer";
        match client.get(url).send().await {
            Ok(response) => read_body(response, limit, what).await,
            Err(error) => Err(HttpError::Interrupted { what, source: Unanswered::from(error) }),
        }
    })
}

/// Why one GET got no answer.
fn unanswered(trust: &Trust, url: &str) -> Unanswered {
    unanswered_over(&network(), trust, url)
}

fn unanswered_over(network: &Network, trust: &Trust, url: &str) -> Unanswered {
    match get_over(network, trust, url, 1024) {
        Err(HttpError::Interrupted { source, .. }) => source,
        other => panic!("neither answered nor refused: {other:?}"),
    }
}

#[test]
fn a_port_where_nothing_listens_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let error = unanswered(&Trust::default(), &url);
    assert!(matches!(error, Unanswered::Refused), "{error:?}");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_told_from_one_for_another_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new("test authority");
    let trust = Trust { public_roots: true, extra: vec![authority.write(directory.path())] };

    let server =
        Server::keyed(Bound::new(), Some(authority.server(LOOPBACK)), vec![on("GET", "/", |_| Answer::json("1"))]);
    let error = unanswered(&Trust::default(), &server.url("/"));
    assert!(matches!(error, Unanswered::UnknownAuthority), "{error:?}");
    assert_eq!(get(&trust, &server.url("/"), 1024).expect("an answer"), b"1");
    server.finish();

    let other = Server::scripted(Bound::new(), Some(authority.server(&["registry.example"])), Vec::new());
    let error = unanswered(&trust, &other.url("/"));
    assert!(matches!(error, Unanswered::Certificate(_)), "{error:?}");
}

#[test]
fn a_plain_answer_to_a_tls_handshake_is_recognised() {
    let page = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&page);
    });
    let error = unanswered(&Trust::default(), &url);
    answering.join().expect("the answering thread");
    assert!(matches!(error, Unanswered::NotTls), "{error:?}");
}

#[test]
fn a_connection_closed_early_is_told_from_silence_and_from_another_protocol() {
    type Check = fn(&Unanswered) -> bool;
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let cases: [(Reply, Check); 5] = [
        (Reply::Close, |error| matches!(error, Unanswered::Closed)),
        (Reply::Raw(cut.clone()), |error| matches!(error, Unanswered::Closed)),
        (Reply::Stall(Vec::new()), |error| matches!(error, Unanswered::TimedOut)),
        (Reply::Stall(cut), |error| matches!(error, Unanswered::TimedOut)),
        (Reply::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()), |error| matches!(error, Unanswered::NotHttp)),
    ];
    for (reply, fits) in cases {
        let shown = format!("{reply:?}");
        // Silence lasts until the client has had enough: only then may that be soon.
        let silent = matches!(reply, Reply::Stall(_));
        let network = if silent { network().with_read_timeout(Duration::from_millis(50)) } else { network() };
        // No script: on a busy machine the client may have had enough before it asked.
        let server = Server::handler(Bound::new(), None, move |_| reply.clone());
        let error = unanswered_over(&network, &Trust::default(), &server.url("/"));
        assert!(fits(&error), "{shown}: {error:?}");
    }
}

#[test]
fn a_body_is_read_up_to_its_limit_and_not_beyond() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let cases = [
        (Reply::from(Answer::json(vec![b'x'; 1024])), Some(1024)),
        (Reply::from(Answer::json(vec![b'x'; 1025])), None),
        (Reply::Endless(chunked, [b"400\r\n".as_slice(), &[b'x'; 1024], b"\r\n"].concat()), None),
        (Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec()), None),
    ];
    for (reply, length) in cases {
        let server = Server::scripted(Bound::new(), None, vec![on("GET", "/", move |_| reply.clone())]);
        match (get(&Trust::default(), &server.url("/"), 1024), length) {
            (Ok(body), Some(length)) => assert_eq!(body.len(), length),
            (Err(error @ HttpError::TooLong { .. }), None) => {
                assert_eq!(error.to_string(), "the answer is longer than 1024 bytes");
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn compression_is_not_asked_for_and_not_undone() {
    let server = Server::scripted(
        Bound::new(),
        None,
        vec![on("GET", "/", |request| {
            assert_eq!(request.header("Accept-Encoding"), None);
            assert_eq!(request.header("User-Agent"), Some(concat!("entrypoint/", env!("CARGO_PKG_VERSION"))));
            Answer::json(b"\x1f\x8b\x08bomb".to_vec()).header("Content-Encoding", "gzip")
        })],
    );
    assert_eq!(get(&Trust::default(), &server.url("/"), 1024).expect("a body"), b"\x1f\x8b\x08bomb");
    server.finish();
}

#[test]
fn a_proxy_of_the_environment_is_asked_for_foreign_hosts_and_never_for_loopback() {
    let proxy =
        Server::scripted(Bound::new(), None, vec![on("GET", "http://registry.example/v2/", |_| Answer::json("2"))]);
    let straight = Server::scripted(Bound::new(), None, vec![on("GET", "/v2/", |_| Answer::json("3"))]);
    let env: Env = [("HTTP_PROXY", proxy.host())].into_iter().collect();
    let client =
        Network::new(&env).expect("a network").client(&Trust::default(), Proxies::FromEnvironment).expect("a client");
    runtime().block_on(async {
        for (url, body) in [("http://registry.example/v2/".to_owned(), b"2"), (straight.url("/v2/"), b"3")] {
            let response = client.get(url).send().await.expect("an answer");
            assert_eq!(read_body(response, 10, "the answer").await.expect("a body"), body);
        }
    });
    proxy.finish();
    straight.finish();
}

#[test]
fn a_certificate_signed_by_itself_is_accepted_where_it_is_named_and_only_there() {
    let answers = |leaf: &Leaf| Server::handler(Bound::new(), Some(leaf.server()), |_| Answer::json("1"));
    let directory = tempfile::tempdir().expect("a directory");
    let named = |leaf: &Leaf| {
        let path = directory.path().join("server.pem");
        std::fs::write(&path, &leaf.certificate_pem).expect("a file");
        Trust { public_roots: true, extra: vec![path] }
    };
    let (own, other) = (Leaf::signed_by_itself(LOOPBACK, 4000), Leaf::signed_by_itself(LOOPBACK, 4000));
    let server = answers(&own);
    assert_eq!(get(&named(&own), &server.url("/"), 10).expect("an answer"), b"1");
    // Nobody's, or somebody else's under the same name: not who it should be.
    for trust in [Trust::default(), named(&other)] {
        let found = unanswered(&trust, &server.url("/"));
        assert!(matches!(found, Unanswered::UnknownAuthority), "{found:?}");
    }
    // Another name and a date that is past count as ever.
    for leaf in [Leaf::signed_by_itself(&["registry.example"], 4000), Leaf::signed_by_itself(LOOPBACK, 2000)] {
        let server = answers(&leaf);
        let found = unanswered(&named(&leaf), &server.url("/"));
        assert!(matches!(found, Unanswered::Certificate(_)), "{found:?}");
    }
}

#[test]
fn the_systems_authorities_are_trusted_beside_the_embedded_ones_and_may_be_absent() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new("the system's authority");
    let server = Server::handler(Bound::new(), Some(authority.server(LOOPBACK)), |_| Answer::json("1"));
    let [bundle, certs] = ["etc/ssl/cert.pem", "etc/ssl/certs"].map(|name| directory.path().join(name));
    let network = || network().with_root_places(RootPlaces::new([&bundle], [&certs]));
    let get = |trust: &Trust| get_over(&network(), trust, &server.url("/"), 10);

    let image_of_nothing = unanswered_over(&network(), &Trust::default(), &server.url("/"));
    assert!(matches!(image_of_nothing, Unanswered::UnknownAuthority), "{image_of_nothing:?}");
    std::fs::create_dir_all(&certs).expect("a directory");
    for path in [&bundle, &certs.join("0123abcd.0")] {
        std::fs::write(path, authority.pem()).expect("a file");
        assert_eq!(get(&Trust::default()).expect("an answer"), b"1");
        // Where only one authority will do, as for the Kubernetes API, the system's are no others.
        let only = Trust { public_roots: false, extra: vec![Authority::new("another").write(directory.path())] };
        assert!(get(&only).is_err());
        std::fs::remove_file(path).expect("a file");
    }
}

#[test]
#[should_panic(expected = "unscripted request GET /other; expected next: [\"GET /\"]")]
fn an_unscripted_request_fails_the_test() {
    let server = Server::scripted(Bound::new(), None, vec![on("GET", "/", |_| Answer::json("1"))]);
    let _ = get(&Trust::default(), &server.url("/other"), 1024);
    server.finish();
}

#[test]
#[should_panic(expected = "never asked: GET /")]
fn an_exchange_that_never_happens_fails_the_test() {
    drop(Server::scripted(Bound::new(), None, vec![on("GET", "/", |_| Answer::json("1"))]));
}

#[test]
#[should_panic(expected = "GET /: no such header")]
fn an_assertion_in_an_exchange_fails_the_test() {
    let server = Server::scripted(
        Bound::new(),
        None,
        vec![on("GET", "/", |request| {
            assert!(request.header("X-Absent").is_some(), "no such header");
            Answer::new(200)
        })],
    );
    let _ = get(&Trust::default(), &server.url("/"), 1024);
    server.finish();
}
