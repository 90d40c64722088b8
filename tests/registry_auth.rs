//! Logging in at scripted registries and token services: what is shown to whom, and what is said when it does not help.
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

use entrypoint::credential::Credential;
use entrypoint::registry::Retry;
use images::{Image, refuse, serve, tag_path};
use lookup::{FOREIGN, FOREIGN_AUTH, PASSWORD, Setup, identity, lines, registry_token, user};
use server::{Answer, Bound, Exchange, Request, Server, on};

/// `Basic` of ann and of nobody, with the password of the tests.
const ANN: &str = "Basic YW5uOmh1bnRlcjItc2VjcmV0";
const NOBODY: &str = "Basic Omh1bnRlcjItc2VjcmV0";

fn quiet(_: &Request) {}

fn shows(authorization: &'static str) -> impl Fn(&Request) + Clone + Send + 'static {
    move |request| assert_eq!(request.header("Authorization"), Some(authorization), "{}", request.line())
}

/// A registry over TLS that is its own token service; its script is made with its Bearer challenge.
fn registry(script: impl FnOnce(&str) -> Vec<Exchange>) -> (Server, String, Setup) {
    let (setup, bound) = (Setup::new(), Bound::new());
    let host = bound.host();
    let challenge =
        format!(r#"Bearer realm="https://{host}/token?kept=1",service="reg.example",scope="repository:ci/app:pull""#);
    let server = Server::scripted(bound, Some(setup.tls.clone()), script(&challenge));
    (server, format!("{host}/ci/app:1"), setup.trusting(host))
}

/// A token that is given to who shows this.
fn token(authorization: Option<&'static str>) -> Exchange {
    on("GET", "/token", move |request| {
        assert_eq!(request.header("Authorization"), authorization);
        let query = [("kept", "1"), ("scope", "repository:ci/app:pull"), ("service", "reg.example")];
        assert_eq!(request.query(), query.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Answer::json(r#"{"token":"ignored","access_token":"tok"}"#)
    })
}

/// Manifest and config for who shows this.
fn image_for(authorization: &'static str) -> Vec<Exchange> {
    Image::new("linux/amd64", "/app").exchanges("1", shows(authorization))
}

fn then(first: Vec<Exchange>, rest: Vec<Exchange>) -> Vec<Exchange> {
    first.into_iter().chain(rest).collect()
}

#[test]
fn a_password_is_shown_at_once_and_takes_two_requests() {
    let (server, reference, setup) = registry(|_| image_for(ANN));
    let found = setup.image(&reference, &[user("ann")]);
    assert_eq!(found.credential.as_deref(), Some("pull secret of ann"));
    assert_eq!(lines(&found.notes), [format!("pull secret of ann: accepted by {}", server.host())]);
    assert_eq!(server.finish().len(), 2);
}

#[test]
fn a_token_is_fetched_by_get_and_takes_four_requests() {
    for (credentials, shown, source) in
        [(vec![], None, None), (vec![user("ann")], Some(ANN), Some("pull secret of ann"))]
    {
        let (server, reference, setup) = registry(|challenge| {
            then(vec![refuse(&tag_path("1"), 401, &[challenge]), token(shown)], image_for("Bearer tok"))
        });
        assert_eq!(setup.image(&reference, &credentials).credential.as_deref(), source);
        assert_eq!(server.finish().len(), 4);
    }
}

#[test]
fn every_challenge_of_every_line_is_considered() {
    let (server, reference, setup) = registry(|challenge| {
        let both = format!("Basic realm=\"x\", {challenge}");
        then(vec![refuse(&tag_path("1"), 401, &["Negotiate", &both]), token(Some(ANN))], image_for("Bearer tok"))
    });
    setup.image(&reference, &[user("ann")]);
    server.finish();
}

#[test]
fn an_identity_token_is_posted() {
    let (server, reference, setup) = registry(|challenge| {
        let post = on("POST", "/token", |request| {
            assert_eq!(request.header("Authorization"), None);
            assert_eq!(request.header("Content-Type"), Some("application/x-www-form-urlencoded"));
            let form = [
                ("grant_type", "refresh_token"),
                ("client_id", "entrypoint"),
                ("scope", "repository:ci/app:pull"),
                ("service", "reg.example"),
                ("refresh_token", PASSWORD),
            ];
            assert_eq!(request.form(), form.map(|(name, value)| (name.to_owned(), value.to_owned())));
            Answer::json(r#"{"access_token":"tok"}"#)
        });
        then(vec![refuse(&tag_path("1"), 401, &[challenge]), post], image_for("Bearer tok"))
    });
    assert_eq!(setup.image(&reference, &[identity()]).credential.as_deref(), Some("an identity"));
    assert_eq!(server.finish().len(), 4);
}

#[test]
fn a_token_service_without_post_gets_the_identity_token_by_get() {
    for status in [400, 401, 404, 405] {
        let (server, reference, setup) = registry(|challenge| {
            let post = on("POST", "/token", move |_| Answer::new(status));
            then(vec![refuse(&tag_path("1"), 401, &[challenge]), post, token(Some(NOBODY))], image_for("Bearer tok"))
        });
        assert_eq!(setup.image(&reference, &[identity()]).credential.as_deref(), Some("an identity"), "{status}");
        server.finish();
    }
}

#[test]
fn an_identity_that_is_not_asked_for_is_not_shown() {
    let (server, reference, setup) = registry(|_| {
        Image::new("linux/amd64", "/app").exchanges("1", |request| assert_eq!(request.header("Authorization"), None))
    });
    let found = setup.image(&reference, &[identity()]);
    assert_eq!(found.credential, None);
    assert_eq!(lines(&found.notes), [format!("an identity: not needed by {}", server.host())]);
    server.finish();
}

#[test]
fn a_registry_token_is_shown_as_it_is() {
    let (server, reference, setup) = registry(|_| image_for("Bearer hunter2-secret"));
    assert_eq!(setup.image(&reference, &[registry_token()]).credential.as_deref(), Some("a token"));
    server.finish();

    let (server, reference, setup) = registry(|challenge| {
        vec![
            refuse(&tag_path("1"), 401, &[challenge]),
            refuse(&tag_path("1"), 401, &[challenge]),
            refuse("/token", 401, &[]),
        ]
    });
    let (_, _, notes) = setup.failure(&reference, &[registry_token()]);
    assert_eq!(notes.first().map(String::as_str), Some("a token: refused: 401 UNAUTHORIZED: authentication required"));
    server.finish();
}

#[test]
fn a_registry_that_hides_its_images_is_asked_for_its_challenge() {
    let (server, reference, setup) = registry(|challenge| {
        let asked = vec![
            refuse(&tag_path("1"), 404, &[]),
            refuse("/v2/", 401, &[challenge]),
            on("POST", "/token", |_| Answer::json(r#"{"token":"tok"}"#)),
        ];
        then(asked, image_for("Bearer tok"))
    });
    assert_eq!(setup.image(&reference, &[identity()]).credential.as_deref(), Some("an identity"));
    server.finish();
}

#[test]
fn each_credential_is_tried_in_turn_and_then_none() {
    let basic = "Basic realm=\"r\"";
    let image = Image::new("linux/amd64", "/app");
    let (server, reference, setup) = registry(|_| {
        vec![
            refuse(&tag_path("1"), 401, &[basic]),
            refuse(&tag_path("1"), 403, &[basic]),
            serve(&tag_path("1"), &image.manifest, |request| assert_eq!(request.header("Authorization"), None)),
            serve(&image.config.blob_path(), &image.config, quiet),
        ]
    });
    let found = setup.image(&reference, &[user("ann"), user("bob")]);
    assert_eq!(found.credential, None);
    assert_eq!(
        lines(&found.notes),
        [
            "pull secret of ann: refused: 401 UNAUTHORIZED: authentication required".to_owned(),
            "pull secret of bob: refused: 403 DENIED: requested access is denied".to_owned(),
            format!("without a credential: accepted by {}", server.host()),
        ]
    );
    server.finish();

    let (server, reference, setup) = registry(|_| then(vec![refuse(&tag_path("1"), 401, &[basic])], image_for(ANN)));
    let found = setup.image(&reference, &[user("mallory"), user("ann")]);
    assert_eq!(found.credential.as_deref(), Some("pull secret of ann"));
    server.finish();
}

#[test]
fn a_config_that_is_refused_leads_to_the_next_credential_too() {
    let image = Image::new("linux/amd64", "/app");
    let (server, reference, setup) = registry(|_| {
        let half = vec![serve(&tag_path("1"), &image.manifest, quiet), refuse(&image.config.blob_path(), 403, &[])];
        then(half, vec![refuse("/v2/", 401, &["Basic"])]).into_iter().chain(image_for(ANN)).collect()
    });
    assert_eq!(
        setup.image(&reference, &[user("mallory"), user("ann")]).credential.as_deref(),
        Some("pull secret of ann")
    );
    server.finish();
}

#[test]
fn a_refusal_is_told_with_and_without_credentials() {
    let basic = "Basic realm=\"r\"";
    let (server, reference, setup) = registry(|_| vec![refuse(&tag_path("1"), 401, &[basic])]);
    let (story, error, notes) = setup.failure(&reference, &[]);
    assert_eq!(
        story,
        format!(
            "the registry {} does not show ci/app without a credential, and none was found for it: 401 UNAUTHORIZED: \
             authentication required",
            server.host()
        )
    );
    assert!(error.retry() != Retry::Worthwhile && notes.is_empty());
    server.finish();

    let twice = [user("ann"), user("bob")];
    for (credentials, counted) in
        [(&twice[..1], "the credential that was found"), (&twice[..], "each of the 2 credentials that were found")]
    {
        let (server, reference, setup) =
            registry(|_| (0..=credentials.len()).map(|_| refuse(&tag_path("1"), 401, &[basic])).collect());
        let (story, error, notes) = setup.failure(&reference, credentials);
        assert_eq!(
            story,
            format!(
                "the registry {} refuses ci/app to {counted}, and without a credential too: 401 UNAUTHORIZED: \
                 authentication required",
                server.host()
            )
        );
        assert_eq!(notes.len(), credentials.len() + 1);
        assert!(error.retry() != Retry::Worthwhile);
        server.finish();
    }
}

#[test]
fn an_image_that_a_credential_does_not_see_is_told_from_a_wrong_password() {
    let (server, reference, setup) = registry(|_| {
        vec![refuse(&tag_path("1"), 404, &[]), refuse("/v2/", 401, &["Basic"]), refuse(&tag_path("1"), 401, &["Basic"])]
    });
    let (story, ..) = setup.failure(&reference, &[user("ann")]);
    assert_eq!(
        story,
        format!(
            "the registry {} has no image {reference}, or does not show it to the credential that was found: 404 \
             MANIFEST_UNKNOWN: manifest unknown",
            server.host()
        )
    );
    server.finish();
}

#[test]
fn a_token_services_refusal_is_told_as_its_own() {
    let (server, reference, setup) = registry(|challenge| {
        let wrong = on("GET", "/token", |request| {
            assert_eq!(request.header("Authorization"), Some(ANN));
            Answer::new(401).body(r#"{"details":"incorrect username or password"}"#)
        });
        let anonymous = on("GET", "/token", |_| Answer::json(r#"{"token":"anon"}"#));
        vec![
            refuse(&tag_path("1"), 401, &[challenge]),
            wrong,
            refuse(&tag_path("1"), 401, &[challenge]),
            anonymous,
            // The same challenge again: the token does not help, and no second one is fetched.
            refuse(&tag_path("1"), 401, &[challenge]),
        ]
    });
    let (_, _, notes) = setup.failure(&reference, &[user("ann")]);
    let host = server.host();
    assert_eq!(
        notes,
        [
            format!("pull secret of ann: refused: the token service {host} says 401 incorrect username or password"),
            "without a credential: refused: 401 UNAUTHORIZED: authentication required".to_owned(),
        ]
    );
    server.finish();
}

#[test]
fn an_answer_without_a_token_or_a_login_of_another_kind_is_told() {
    for body in ["{}", r#"{"token":""}"#, r#"{"token":"a\r\nb"}"#, "<html>"] {
        let (server, reference, setup) = registry(|challenge| {
            vec![refuse(&tag_path("1"), 401, &[challenge]), on("GET", "/token", move |_| Answer::json(body))]
        });
        let (story, error, _) = setup.failure(&reference, &[]);
        assert_eq!(story, format!("the answer of the token service {} holds no token", server.host()));
        assert!(error.retry() == Retry::Worthwhile);
        server.finish();
    }
    let (server, reference, setup) = registry(|_| vec![refuse(&tag_path("1"), 401, &["Negotiate", "NTLM"])]);
    let (story, ..) = setup.failure(&reference, &[]);
    assert_eq!(story, format!("the registry {} wants a login that is not known here: Negotiate, NTLM", server.host()));
    server.finish();
}

#[test]
fn a_registry_with_ever_new_challenges_does_not_have_the_token_service_asked_without_end() {
    let (server, reference, setup) = registry(|challenge| {
        let renewed = |n: usize| challenge.replace("ci/app:pull", &format!("ci/app:pull,{n}"));
        let token = || on("GET", "/token", |_| Answer::json(r#"{"token":"tok"}"#));
        (0..3).flat_map(|n| [refuse(&tag_path("1"), 401, &[&renewed(n)]), token()]).take(5).collect()
    });
    let (story, ..) = setup.failure(&reference, &[]);
    assert!(story.ends_with("401 UNAUTHORIZED: authentication required"), "{story}");
    server.finish();
}

#[test]
fn a_server_that_repeats_what_it_was_shown_is_not_repeated() {
    // The password alone is looked for by every lookup of these tests.
    for said in [PASSWORD, "YW5uOmh1bnRlcjItc2VjcmV0"] {
        let message = format!("{}{said}", "x".repeat(195));
        let body = format!(r#"{{"errors":[{{"code":"UNAUTHORIZED","message":"{message}"}}]}}"#);
        let (server, reference, setup) = registry(|_| {
            let refusal = Answer::new(401).header("WWW-Authenticate", "Basic").body(body);
            let again = refusal.clone();
            vec![on("GET", tag_path("1"), move |_| refusal.clone()), on("GET", tag_path("1"), move |_| again.clone())]
        });
        let (story, _, notes) = setup.failure(&reference, &[user("ann")]);
        assert!(story.ends_with(": 401 (what it says holds a secret)"), "{story}");
        assert!(notes.iter().all(|note| note.ends_with(": 401 (what it says holds a secret)")), "{notes:?}");
        server.finish();
    }

    let (server, reference, setup) = registry(|challenge| {
        let repeats = Answer::new(401).header("WWW-Authenticate", challenge).body(r#"{"message":"no: a-token"}"#);
        vec![
            refuse(&tag_path("1"), 401, &[challenge]),
            on("GET", "/token", |_| Answer::json(r#"{"token":"a-token"}"#)),
            on("GET", tag_path("1"), move |_| repeats.clone()),
        ]
    });
    let (story, ..) = setup.failure(&reference, &[]);
    assert!(story.ends_with(": 401 (what it says holds a secret)"), "{story}");
    server.finish();
}

/// A registry under a name that is no loopback name, with this challenge; what a lookup with a password says.
fn foreign(realm: &str, credentials: &[Credential]) -> (String, String) {
    let bound = Bound::new();
    let host = format!("{FOREIGN}:{}", bound.address().port());
    let setup = Setup::new().trusting(host.clone());
    let challenge = format!("Bearer realm=\"{realm}\"");
    let server =
        Server::scripted(bound, Some(setup.tls.clone()), vec![refuse(&tag_path("1"), 401, &[challenge.as_str()])]);
    let (story, ..) = setup.failure(&format!("{host}/ci/app:1"), credentials);
    server.finish();
    (story, host)
}

#[test]
fn a_token_service_on_a_private_address_or_over_plain_http_is_not_asked() {
    let private = "it is on a private address, where the registry is not: if it is the registry's own, name it with \
                   -image_registry_certificate HOST:PORT=PATH";
    for (realm, shown, reason) in [
        ("https://10.0.0.1/token?secret=1", "https://10.0.0.1/token", private),
        (
            "https://169.254.169.254/token",
            "https://169.254.169.254/token",
            "it is on a link-local address, where the registry is not",
        ),
        (
            "https://127.0.0.1:1/token",
            "https://127.0.0.1:1/token",
            "it is on a loopback address, where the registry is not",
        ),
        ("http://auth.example/token", "http://auth.example/token", "it is plain http, and the registry speaks https"),
        ("file:///etc/passwd", "\"file:///etc/passwd\"", "it is not the URL of a host"),
        ("/token", "\"/token\"", "it is not the URL of a host"),
        ("", "\"\"", "it is not the URL of a host"),
        ("https://ann:pw@[::1/token?x", "\"https://[::1/token\"", "it is not the URL of a host"),
    ] {
        for credentials in [vec![], vec![user("ann")]] {
            let (story, host) = foreign(realm, &credentials);
            assert_eq!(
                story,
                format!("the token service {shown} that the registry {host} names is not asked: {reason}")
            );
        }
    }
}

#[test]
fn a_token_service_over_plain_http_is_shown_a_credential_only_if_it_is_listed() {
    for listed in [false, true] {
        let expected = listed.then_some(ANN);
        let auth = Server::scripted(
            Bound::new(),
            None,
            vec![on("GET", "/token", move |request| {
                assert_eq!(request.header("Authorization"), expected);
                Answer::json(r#"{"token":"tok"}"#)
            })],
        );
        let auth_host = format!("{FOREIGN_AUTH}:{}", auth.address().port());
        let challenge = format!("Bearer realm=\"http://{auth_host}/token\"");
        let script = then(vec![refuse(&tag_path("1"), 401, &[&challenge])], image_for("Bearer tok"));
        let server = Server::scripted(Bound::new(), None, script);
        let host = format!("{FOREIGN}:{}", server.address().port());
        let mut setup = Setup::new().insecure(host.clone());
        if listed {
            setup = setup.insecure(auth_host.clone());
        }
        let found = setup.image(&format!("{host}/ci/app:1"), &[user("ann")]);
        assert_eq!(found.credential.is_some(), listed);
        let warned = lines(&found.notes).contains(&format!(
            "pull secret of ann: not shown to the token service {auth_host}, which speaks plain http; \
             -image_insecure_registry {auth_host} would allow it"
        ));
        assert_eq!(warned, !listed, "{:?}", found.notes);
        server.finish();
        auth.finish();
    }
}

#[test]
fn a_token_service_that_redirects_gets_no_credential_elsewhere_and_no_post_goes_on() {
    let setup = Setup::new();
    let other = Server::scripted(
        Bound::new(),
        Some(setup.tls.clone()),
        vec![on("GET", "/token", |request| {
            assert_eq!(request.header("Authorization"), None);
            Answer::json(r#"{"token":"tok"}"#)
        })],
    );
    let there = format!("https://{}/token", other.host());
    let (server, reference, setup) = {
        let bound = Bound::new();
        let host = bound.host();
        let challenge = format!("Bearer realm=\"https://{host}/token\"");
        let redirect = on("GET", "/token", move |request| {
            assert_eq!(request.header("Authorization"), Some(ANN));
            Answer::new(302).header("Location", there.clone())
        });
        let script = then(vec![refuse(&tag_path("1"), 401, &[&challenge]), redirect], image_for("Bearer tok"));
        (Server::scripted(bound, Some(setup.tls.clone()), script), format!("{host}/ci/app:1"), setup.trusting(host))
    };
    setup.image(&reference, &[user("ann")]);
    server.finish();
    other.finish();

    let (server, reference, setup) = registry(|challenge| {
        let redirect = on("POST", "/token", |_| Answer::new(307).header("Location", "https://127.0.0.1:1/steal"));
        vec![refuse(&tag_path("1"), 401, &[challenge]), redirect]
    });
    let (story, ..) = setup.failure(&reference, &[identity()]);
    assert_eq!(
        story,
        format!("{} does not give the token: the token service {} says 307", server.host(), server.host())
    );
    server.finish();
}
