//! Lookups at scripted registries: what is asked, in which order, and what is said when it fails.
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

use std::time::Duration;

use entrypoint::image::Digest;
use entrypoint::registry::{Patience, RegistryError, Retry};
use images::{Blob, Image, OCI_CONFIG, OCI_INDEX, index, refuse, serve, tag_path};
use lookup::{FOREIGN, Setup, lines, user};
use server::{Answer, Bound, Exchange, Reply, Server, on};

fn quiet(_: &server::Request) {}

/// A registry over TLS with this script; the reference of its image, the setup that trusts it.
fn registry(script: Vec<Exchange>) -> (Server, String, Setup) {
    let (setup, bound) = (Setup::new(), Bound::new());
    let host = bound.host();
    let server = Server::scripted(bound, Some(setup.tls.clone()), script);
    (server, format!("{host}/ci/app:1"), setup.trusting(host))
}

/// A registry whose manifest is this answer: what a lookup says.
fn said_to(manifest: impl Into<Reply>) -> (String, RegistryError) {
    let reply = manifest.into();
    let (server, reference, setup) = registry(vec![on("GET", tag_path("1"), move |_| reply.clone())]);
    let (story, error, _) = setup.failure(&reference, &[]);
    server.finish();
    (story.replace(reference.split('/').next().unwrap_or(""), "REGISTRY"), error)
}

#[test]
fn an_anonymous_lookup_makes_two_requests() {
    let image = Image::new("linux/amd64", "/app");
    let (server, reference, setup) = registry(image.exchanges("1", |request| {
        assert_eq!(request.header("Authorization"), None);
        assert!(request.path().contains("/blobs/") || request.header("Accept").is_some_and(|a| a.contains(OCI_INDEX)));
    }));
    let found = setup.image(&reference, &[]);
    assert_eq!(found.config.entrypoint, ["/app"]);
    assert_eq!((found.manifest_digest, found.config_digest), (Some(image.manifest.digest()), image.config.digest()));
    assert_eq!((found.index_digest, found.credential, found.notes), (None, None, vec![]));
    assert_eq!(found.platform.to_string(), "linux/amd64");
    assert_eq!(server.finish().len(), 2);
}

#[test]
fn an_index_takes_one_request_more() {
    let (amd64, arm64) = (Image::new("linux/amd64", "/amd64"), Image::new("linux/arm64", "/arm64"));
    let index = index(&[arm64.manifest.entry("linux/arm64"), amd64.manifest.entry("linux/amd64")]);
    let (server, reference, setup) = registry(vec![
        serve(&tag_path("1"), &index, quiet),
        serve(&amd64.manifest.manifest_path(), &amd64.manifest, quiet),
        serve(&amd64.config.blob_path(), &amd64.config, quiet),
    ]);
    let found = setup.image(&reference, &[]);
    assert_eq!(found.config.entrypoint, ["/amd64"]);
    assert_eq!((found.index_digest, found.manifest_digest), (Some(index.digest()), Some(amd64.manifest.digest())));
    server.finish();
}

#[test]
fn an_image_is_found_in_a_nested_index_and_behind_an_entry_without_a_platform() {
    let (amd64, arm64) = (Image::new("linux/amd64", "/amd64"), Image::new("linux/arm64", "/arm64"));
    let nested = index(&[amd64.manifest.entry("linux/amd64")]);
    let outer = index(&[arm64.manifest.descriptor(""), nested.descriptor("")]);
    let (server, reference, setup) = registry(vec![
        serve(&tag_path("1"), &outer, quiet),
        serve(&arm64.manifest.manifest_path(), &arm64.manifest, quiet),
        serve(&arm64.config.blob_path(), &arm64.config, quiet),
        serve(&nested.manifest_path(), &nested, quiet),
        serve(&amd64.manifest.manifest_path(), &amd64.manifest, quiet),
        serve(&amd64.config.blob_path(), &amd64.config, quiet),
    ]);
    let found = setup.image(&reference, &[]);
    assert_eq!((found.config.entrypoint, found.index_digest), (vec!["/amd64".to_owned()], Some(outer.digest())));
    server.finish();
}

#[test]
fn an_index_that_leads_nowhere_ends() {
    let mut innermost = index(&[]);
    let mut chain = vec![];
    for _ in 0..5 {
        innermost = index(&[innermost.descriptor("")]);
        chain.push(innermost.clone());
    }
    chain.reverse();
    let mut script = vec![serve(&tag_path("1"), &chain[0], quiet)];
    script.extend(chain[1..4].iter().map(|blob| serve(&blob.manifest_path(), blob, quiet)));
    let (server, reference, setup) = registry(script);
    let (story, error, _) = setup.failure(&reference, &[]);
    assert_eq!(story, format!("{reference} is an index that leads to too many documents"));
    assert!(error.retry() != Retry::Worthwhile);
    server.finish();
}

#[test]
fn a_config_that_came_along_is_not_asked_for() {
    let config = Blob::new(OCI_CONFIG, "{}");
    let (server, reference, setup) =
        registry(vec![serve(&tag_path("1"), &Image::of(config.clone(), r#","data":"e30=""#).manifest, quiet)]);
    assert_eq!(setup.image(&reference, &[]).config_digest, config.digest());
    server.finish();
}

#[test]
fn an_index_without_the_platform_lists_what_it_has() {
    let image = Image::new("linux/arm64", "/app");
    let index = index(&[
        image.manifest.entry("linux/arm64"),
        image.manifest.entry("windows/amd64"),
        image.manifest.entry("unknown/unknown"),
    ]);
    let (server, reference, setup) = registry(vec![serve(&tag_path("1"), &index, quiet)]);
    let (story, error, _) = setup.wanting("linux/s390x").failure(&reference, &[]);
    assert_eq!(story, format!("{reference} is not there for linux/s390x, only for: linux/arm64, windows/amd64"));
    assert!(error.retry() != Retry::Worthwhile);
    server.finish();
}

#[test]
fn bytes_that_are_not_those_of_their_digest_are_refused() {
    let image = Image::new("linux/amd64", "/app");
    let other = Blob::new(OCI_CONFIG, "{}");
    let wrong = |what: &str, host: &str, expected: Digest, reference: &str| {
        format!(
            "{host} gave something else than {what} of {reference}: its digest is {}, but {expected} was asked for",
            other.digest()
        )
    };

    let (server, reference, setup) =
        registry(vec![serve(&tag_path("1"), &image.manifest, quiet), serve(&image.config.blob_path(), &other, quiet)]);
    let (story, error, _) = setup.failure(&reference, &[]);
    assert_eq!(story, wrong("the config", &server.host(), image.config.digest(), &reference));
    assert!(error.retry() == Retry::Worthwhile);
    server.finish();

    let index = index(&[image.manifest.entry("linux/amd64")]);
    let (server, reference, setup) =
        registry(vec![serve(&tag_path("1"), &index, quiet), serve(&image.manifest.manifest_path(), &other, quiet)]);
    let (story, ..) = setup.failure(&reference, &[]);
    assert_eq!(story, wrong("the manifest", &server.host(), image.manifest.digest(), &reference));
    server.finish();

    let (server, reference, setup) = registry(vec![serve(&image.manifest.manifest_path(), &other, quiet)]);
    let reference = format!("{}@{}", reference.trim_end_matches(":1"), image.manifest.digest());
    let (story, ..) = setup.failure(&reference, &[]);
    assert_eq!(story, wrong("the manifest", &server.host(), image.manifest.digest(), &reference));
    server.finish();
}

#[test]
fn what_is_no_image_is_told_by_name() {
    let page = Answer::new(200).header("Content-Type", "text/html").body("<html>Please log in</html>");
    let (story, error) = said_to(page);
    assert_eq!(
        story,
        "REGISTRY has something else than an image under REGISTRY/ci/app:1: the manifest is text/html instead of JSON"
    );
    assert!(error.retry() == Retry::Worthwhile);

    let old = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let (story, error) = said_to(Answer::new(200).header("Content-Type", old).body("{}"));
    assert!(
        story.ends_with("Docker's schema 1, which has not been supported since 2019: push the image again"),
        "{story}"
    );
    assert!(error.retry() != Retry::Worthwhile);
}

#[test]
fn documents_cannot_put_much_of_themselves_or_a_control_character_into_a_message() {
    let long = "A".repeat(2_000_000);
    let (story, _) = said_to(Answer::json(format!(r#"{{"schemaVersion":"\u001b[31m{long}"}}"#)));
    assert!(story.len() < 500 && !story.contains('\u{1b}'), "{} bytes", story.len());
    assert!(story.contains("the manifest is malformed: invalid type: string \"\\u{1b}[31mAAA"), "{story}");

    for config in [format!(r#"{{"os":"\u001b[31m{long}","architecture":"x"}}"#), format!(r#"{{"config":"{long}"}}"#)] {
        let image = Image::of(Blob::new(OCI_CONFIG, config), "");
        let index = index(&[image.manifest.descriptor("")]);
        let (server, reference, setup) = registry(vec![
            serve(&tag_path("1"), &index, quiet),
            serve(&image.manifest.manifest_path(), &image.manifest, quiet),
            serve(&image.config.blob_path(), &image.config, quiet),
        ]);
        let (story, ..) = setup.failure(&reference, &[]);
        assert!(story.len() < 500 && !story.contains('\u{1b}'), "{} bytes", story.len());
        server.finish();
    }

    let body = format!(r#"{{"errors":[{{"code":"A\u001b[31m","message":"b\n{long}"}}]}}"#);
    for (status, body) in [(404, body.as_str()), (404, &body[..60_000]), (302, "")] {
        let there = format!("https://{}@[{}", "user:pass", "A".repeat(9000));
        let answer = Answer::new(status).header("Location", there).body(body);
        let (story, _) = said_to(answer);
        assert!(story.len() < 500 && !story.contains(['\u{1b}', '\n']) && !story.contains("pass"), "{story}");
    }
    let small = Answer::new(404).body(body.replace(&long, &long[..5000]));
    assert!(said_to(small).0.contains(": 404 A [31m: b AAA"));

    let (server, reference, setup) = registry(vec![refuse(&tag_path("1"), 401, &["Negotiate ".repeat(1000).as_str()])]);
    let (story, ..) = setup.failure(&reference, &[]);
    assert!(story.len() < 500, "{} bytes", story.len());
    server.finish();
}

#[test]
fn a_body_without_end_is_cut_off_and_a_bomb_stays_packed() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let (story, _) = said_to(Reply::Endless(head, chunk));
    assert_eq!(story, "cannot use the answer of REGISTRY: the manifest is longer than 4194304 bytes");

    let bomb = Answer::json(b"\x1f\x8b\x08\x00".to_vec()).header("Content-Encoding", "gzip");
    let (story, _) = said_to(bomb);
    assert!(story.ends_with("the manifest is compressed data instead of JSON"), "{story}");
}

#[test]
fn a_registry_that_falls_silent_is_given_up() {
    let setup = Setup::new().impatient();
    let silence = Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec());
    // No script: on a busy machine the client may have had enough before it asked.
    let server = Server::handler(Bound::new(), Some(setup.tls.clone()), move |_| silence.clone());
    let (story, error, _) = setup.trusting(server.host()).failure(&format!("{}/ci/app:1", server.host()), &[]);
    assert!(story.contains(&server.host()) && story.ends_with(": no answer in time"), "{story}");
    assert!(error.retry() == Retry::Worthwhile);
}

#[test]
fn a_config_has_its_own_limit() {
    let image = Image::new("linux/amd64", "/app");
    let announced = b"HTTP/1.1 200 OK\r\nContent-Length: 8388609\r\n\r\n".to_vec();
    let (server, reference, setup) = registry(vec![
        serve(&tag_path("1"), &image.manifest, quiet),
        on("GET", image.config.blob_path(), move |_| Reply::Raw(announced.clone())),
    ]);
    let (story, ..) = setup.failure(&reference, &[]);
    assert!(story.ends_with("the config is longer than 8388608 bytes"), "{story}");
    server.finish();
}

#[test]
fn an_absent_image_is_told_with_the_registrys_words() {
    let (server, reference, setup) = registry(vec![refuse(&tag_path("1"), 404, &[])]);
    let (story, error, notes) = setup.failure(&reference, &[]);
    assert_eq!(
        story,
        format!("the registry {} has no image {reference}: 404 MANIFEST_UNKNOWN: manifest unknown", server.host())
    );
    assert!(error.retry() != Retry::Worthwhile && notes.is_empty());
    server.finish();
}

#[test]
fn an_absent_config_is_the_registrys_fault_and_may_pass() {
    let image = Image::new("linux/amd64", "/app");
    let (server, reference, setup) =
        registry(vec![serve(&tag_path("1"), &image.manifest, quiet), refuse(&image.config.blob_path(), 404, &[])]);
    let (story, error, _) = setup.failure(&reference, &[]);
    assert_eq!(story, format!("{} does not give the config: 404 MANIFEST_UNKNOWN: manifest unknown", server.host()));
    assert!(error.retry() == Retry::Worthwhile);
    server.finish();
}

#[test]
fn a_busy_registry_is_asked_again_and_a_pause_that_is_too_long_is_not_begun() {
    let image = Image::new("linux/amd64", "/app");
    let mut script = vec![refuse(&tag_path("1"), 503, &[]), on("GET", tag_path("1"), |_| Reply::Close)];
    script.extend(image.exchanges("1", quiet));
    let (server, reference, setup) = registry(script);
    let found = setup.image(&reference, &[]);
    assert_eq!(
        lines(&found.notes),
        [
            format!("{}: asked again for the manifest after 0 s: 503", server.host()),
            format!("{}: asked again for the manifest after 0 s: the connection broke", server.host()),
        ]
    );
    server.finish();

    let (server, reference, setup) = registry(vec![
        refuse(&tag_path("1"), 429, &[]),
        refuse(&tag_path("1"), 429, &[]),
        refuse(&tag_path("1"), 429, &[]),
    ]);
    let (story, error, _) = setup.failure(&reference, &[]);
    let expected = format!("{} has been asked too often: 429 TOOMANYREQUESTS: pull rate limit; -image", server.host());
    assert!(story.starts_with(&expected), "{story}");
    assert!(error.retry() == Retry::Worthwhile);
    server.finish();

    let (server, reference, mut setup) =
        registry(vec![on("GET", tag_path("1"), |_| Answer::new(429).header("Retry-After", "21600"))]);
    setup.settings.patience = Patience { budget: Duration::from_secs(10), ..Patience::default() };
    let (story, ..) = setup.failure(&reference, &[]);
    let expected = format!("{} has been asked too often and asks for a pause of 21600 s: 429; -image", server.host());
    assert!(story.starts_with(&expected), "{story}");
    server.finish();
}

#[test]
fn a_registry_that_cannot_be_reached_is_named_with_its_port() {
    let mut server = Server::scripted(Bound::new(), None, vec![]);
    let host = server.host();
    server.stop();
    let (story, error, _) = Setup::new().failure(&format!("{host}/ci/app"), &[]);
    assert_eq!(story, format!("cannot ask the registry {host}: connection refused"));
    assert!(error.retry() == Retry::Worthwhile);

    let (story, ..) = Setup::new().failure("nowhere.example/ci/app", &[]);
    assert!(
        story.starts_with(
            "cannot ask the registry nowhere.example:443: its name cannot be resolved: nowhere.example is not in the \
             hosts file, and "
        ),
        "{story}"
    );
}

#[test]
fn an_unknown_authority_is_told_with_the_flag_that_helps_and_plain_http_is_not_tried() {
    let setup = Setup::new();
    let server = Server::scripted(Bound::new(), Some(setup.tls.clone()), vec![]);
    let host = server.host();
    let (story, ..) = setup.failure(&format!("{host}/ci/app"), &[user("ann")]);
    assert_eq!(
        story,
        format!(
            "cannot ask the registry {host}: its certificate is signed by an authority that is not trusted here; if it \
             is yours, name its file with -image_registry_certificate {host}=/path/to/ca.pem"
        )
    );
    assert!(server.finish().is_empty());
}

#[test]
fn a_certificate_file_that_is_not_there_is_named() {
    let mut setup = Setup::new();
    setup.settings.certificates.push(("registry.example".into(), "/absent/ca.pem".into()));
    let (story, ..) = setup.failure("registry.example/ci/app", &[]);
    assert_eq!(
        story,
        "cannot prepare to ask registry.example:443: cannot read the certificates in /absent/ca.pem: no such file or \
         directory"
    );
}

#[test]
fn plain_http_is_spoken_to_loopback_and_to_the_listed_with_their_credentials() {
    let image = Image::new("linux/amd64", "/app");
    let asserting = |request: &server::Request| {
        assert_eq!(request.header("Authorization"), Some("Basic YW5uOmh1bnRlcjItc2VjcmV0"));
    };

    let server = Server::scripted(Bound::new(), None, image.exchanges("1", asserting));
    let found = Setup::new().image(&format!("{}/ci/app:1", server.host()), &[user("ann")]);
    assert_eq!(
        lines(&found.notes),
        [
            format!("{}: asked over plain http", server.host()),
            format!("pull secret of ann: accepted by {}", server.host())
        ]
    );
    server.finish();

    let server = Server::scripted(Bound::new(), None, image.exchanges("1", asserting));
    let host = format!("{FOREIGN}:{}", server.address().port());
    Setup::new().insecure(host.clone()).image(&format!("{host}/ci/app:1"), &[user("ann")]);
    server.finish();

    let server = Server::scripted(Bound::new(), None, vec![]);
    let host = format!("{FOREIGN}:{}", server.address().port());
    let (story, ..) = Setup::new().failure(&format!("{host}/ci/app:1"), &[user("ann")]);
    assert_eq!(
        story,
        format!(
            "cannot ask the registry {host}: what answers there does not speak TLS; if it is meant to speak plain http, \
             allow that with -image_insecure_registry {host}"
        )
    );
    assert!(server.finish().is_empty());
}

#[test]
fn a_redirect_is_followed_without_the_credential() {
    let image = Image::new("linux/amd64", "/app");
    let setup = Setup::new();
    let config = image.config.answer();
    let storage = Server::scripted(
        Bound::new(),
        Some(setup.tls.clone()),
        vec![on("GET", "/bucket", move |request| {
            assert_eq!((request.target.as_str(), request.header("Authorization")), ("/bucket?X-Signature=s", None));
            config.clone()
        })],
    );
    // A user in the URL would be a credential too.
    let there = format!("https://user:pass@{}/bucket?X-Signature=s", storage.host());
    let server = Server::scripted(
        Bound::new(),
        Some(setup.tls.clone()),
        vec![
            serve(&tag_path("1"), &image.manifest, |request| assert!(request.header("Authorization").is_some())),
            on("GET", image.config.blob_path(), move |request| {
                assert!(request.header("Authorization").is_some());
                Answer::new(307).header("Location", there.clone())
            }),
        ],
    );
    let reference = format!("{}/ci/app:1", server.host());
    let found = setup.trusting(server.host()).image(&reference, &[user("ann")]);
    assert_eq!(found.config.entrypoint, ["/app"]);
    server.finish();
    storage.finish();
}

#[test]
fn a_redirect_to_the_node_or_without_end_is_not_followed() {
    let bound = Bound::new();
    let host = format!("{FOREIGN}:{}", bound.address().port());
    let setup = Setup::new().trusting(host.clone());
    let server = Server::scripted(
        bound,
        Some(setup.tls.clone()),
        vec![on("GET", tag_path("1"), |_| {
            Answer::new(302).header("Location", "https://169.254.169.254/latest?token=x")
        })],
    );
    let (story, ..) = setup.failure(&format!("{host}/ci/app:1"), &[]);
    assert_eq!(
        story,
        format!(
            "a redirect of {host} to https://169.254.169.254/latest is not followed: it is on a link-local address, where \
             the registry is not"
        )
    );
    server.finish();

    let turns =
        (0..11).map(|_| on("GET", tag_path("1"), |_| Answer::new(302).header("Location", tag_path("1")))).collect();
    let (server, reference, setup) = registry(turns);
    let (story, ..) = setup.failure(&reference, &[]);
    assert_eq!(story, format!("{} redirects again and again", server.host()));
    server.finish();
}
