//! What a token service and a mirror answer.

use serde_json::json;

use crate::place::{Place, TOKEN, basic};
use crate::server::{Answer, Reply, Request};

/// A registry with its token service at this URL; what the service answers.
fn failing(realm: &str, token: impl Into<Reply>) -> String {
    let place = Place::new().image(&["/bin/true"]);
    let (token, realm) = (token.into(), realm.to_owned());
    let server = place.serve(move |request: &Request| -> Reply {
        let host = request.header("Host").unwrap();
        if request.path() == "/token" {
            token.clone()
        } else {
            let realm = realm.replace("HOST", host);
            Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="{realm}""#)).into()
        }
    });
    let docker = place.docker_config(&server.host());
    let ended = place.step(&server.host()).env("DOCKER_CONFIG", &docker).run(&["--"]);
    assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
    format!("{}{:?}{:?}", ended.stderr, ended.message, ended.image)
}

#[test]
fn a_token_without_end_or_with_another_line_in_it_is_none() {
    let endless = Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n{\"token\":\"".to_vec(), vec![b'x'; 0x10000]);
    let split = Answer::json(json!({"token": "x\r\nX-Injected: y"}).to_string());
    let long = Answer::json(json!({"token": "x".repeat(900_000)}).to_string());
    for token in [endless, split.into(), long.into()] {
        let said = failing("https://HOST/token", token);
        assert!(!said.contains("X-Injected") && said.len() < 8000, "{said}");
    }
}

#[test]
fn a_realm_with_a_user_in_it_is_not_shown_that_user() {
    let place = Place::new().image(&["/bin/true"]);
    let content = place.content();
    let server = place.serve(move |request: &Request| {
        let host = request.header("Host").unwrap().to_owned();
        match (request.path(), request.header("Authorization")) {
            ("/token", None) => Answer::json(json!({"token": TOKEN}).to_string()),
            ("/token", Some(shown)) => panic!("shown {shown}"),
            (_, Some(shown)) if shown == format!("Bearer {TOKEN}") => content(request),
            _ => {
                let challenge = format!(r#"Bearer realm="https://eve:evil@{host}/token""#);
                Answer::new(401).header("WWW-Authenticate", challenge)
            }
        }
    });
    let ended = place.step(&server.host()).run(&["--"]);
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
}

#[test]
fn a_token_service_that_leads_elsewhere_takes_no_password_along() {
    let place = Place::new().image(&["/bin/true"]);
    let thief = place.serve(|request: &Request| {
        let all = format!("{request:?}");
        assert!(request.header("Authorization").is_none() && !all.contains("hunter2"), "{all}");
        Answer::json(json!({"token": TOKEN}).to_string())
    });
    let (there, content) = (format!("https://{}/stolen", thief.host()), place.content());
    let server = place.serve(move |request: &Request| {
        let host = request.header("Host").unwrap().to_owned();
        match (request.path(), request.header("Authorization")) {
            ("/token", shown) => {
                assert!(shown.is_none_or(|shown| shown == basic()), "{shown:?}");
                Answer::new(307).header("Location", there.clone())
            }
            (_, Some(shown)) if shown == format!("Bearer {TOKEN}") => content(request),
            _ => Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="https://{host}/token""#)),
        }
    });
    let docker = place.docker_config(&server.host());
    let flags = place.flags(&thief.host());
    let ended = place.step(&server.host()).flags(flags).env("DOCKER_CONFIG", &docker).run(&["--"]);
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
    assert_eq!(thief.lines().len(), 1, "{:?}", thief.lines());
}

#[test]
fn a_mirror_that_answers_a_digest_with_another_image_is_not_believed() {
    let place = Place::new().image(&["/bin/echo", "the", "image"]);
    let other = Place::new().image(&["/bin/echo", "the", "mirror's"]);
    let (content, others) = (place.content(), other.content());
    let registry = place.serve(content);
    let host = registry.host();
    let as_tag = |request: &Request| Request { target: "/v2/team/tool/manifests/v1".to_owned(), ..request.clone() };
    let mirror = place.serve(move |request: &Request| {
        assert_eq!(request.header("Authorization"), None, "what is for the registry is not for the mirror");
        if request.path().contains("/blobs/") { others(request) } else { others(&as_tag(request)) }
    });
    let digest = {
        let asked = Request {
            method: "GET".into(),
            target: "/v2/team/tool/manifests/v1".into(),
            headers: vec![],
            body: vec![],
        };
        let answer = format!("{:?}", place.content()(&asked));
        let at = answer.find("sha256:").unwrap();
        answer[at..at + 71].to_owned()
    };
    let step = |reference: &str| {
        let map = format!("{host}={}", mirror.host());
        let step = crate::step::Step::new().flags(["-image", reference, "-image_registry_map", &map]);
        step.flags(place.flags(&host))
            .flags(place.flags(&mirror.host()))
            .env("DOCKER_CONFIG", &place.docker_config(&host))
    };
    let ended = step(&format!("{host}/team/tool@{digest}")).run(&["--"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "the image\n"), "{ended:#?}");
    assert!(!mirror.lines().is_empty());
    // By a tag it is believed, as a registry would be; which image that was is told.
    let ended = step(&format!("{host}/team/tool:v1")).run(&["--"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "the mirror's\n"), "{ended:#?}");
    let image = ended.image.unwrap();
    assert!(image.contains("sha256:") && !image.contains(&digest), "{image}");
}
