//! The registry exchanges no token, or takes none of its own.

use serde_json::json;

use super::emulator::{
    Acr, CLIENT, MANAGER, Proof, REGISTRIES, Tokens, errors, federated, metadata, now, unauthorized,
};
use super::fails::{SECRET, answered, closed, endless, fails, html, redirect};
use super::{CLIENT_SECRET, ENTRA, IMDS, PURPOSE, TEAM, authority, by_secret, by_token};
use crate::server::{Answer, Reply, Request};
use crate::world::World;

/// The registry's exchange answers with this.
fn exchange_says(case: &str, reply: Reply, times: usize, words: &[&str]) {
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES, MANAGER]);
    let secret = world.secret(CLIENT_SECRET);
    authority(&world, ENTRA, Proof::Secret(secret.clone()), &tokens);
    world.secure(&["evil.example"], |request| -> Reply { panic!("asked {}", request.line()) });
    let acr = Acr::new(&world, TEAM, &tokens);
    world.secure(&[TEAM], move |request| match acr.door(request) {
        Some(_) if request.path() == "/oauth2/exchange" => reply.clone(),
        Some(answer) => answer.into(),
        None => panic!("{} without a token", request.line()),
    });
    fails(&format!("exchange: {case}"), by_secret(world.resolve(TEAM), &secret), SECRET, words);
    let asked = world.asked_of(TEAM).iter().filter(|request| request.path() == "/oauth2/exchange").count();
    assert_eq!(asked, times, "{case}");
}

#[test]
fn the_registry_exchanges_no_token() {
    let firewall =
        "client with IP '192.0.2.1' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.";
    for (case, reply, times, words) in [
        (
            "no role",
            Reply::from(unauthorized()),
            2,
            &[
                "team.azurecr.io:443 answered 401: UNAUTHORIZED: authentication required, visit",
                "; with a token for https://management.azure.com it is the same; the identity",
                "; the identity needs the role AcrPull",
            ][..],
        ),
        (
            "a firewall",
            errors(403, "DENIED", firewall).into(),
            2,
            &["; the registry's firewall must let the pod's address in"],
        ),
        ("absent", html(404), 1, &["team.azurecr.io:443 answered 404"]),
        ("a redirect", redirect(), 1, &["team.azurecr.io:443 answered 302"]),
        ("a fault", errors(500, "INTERNAL", "oops").into(), 1, &["answered 500: INTERNAL: oops"]),
        (
            "too many requests",
            errors(429, "TOOMANYREQUESTS", "wait").into(),
            1,
            &["answered 429: TOOMANYREQUESTS: wait"],
        ),
        ("a page", html(200), 1, &["the answer of team.azurecr.io:443 holds no token"]),
        ("an empty answer", answered(200, "{}"), 1, &["the answer of team.azurecr.io:443 holds no token"]),
        ("an answer without end", endless(), 1, &["the answer is longer than"]),
    ] {
        exchange_says(case, reply, times, words);
    }
}

#[test]
fn the_registrys_exchange_hangs() {
    exchange_says(
        "hung",
        Reply::Stall(Vec::new()),
        1,
        &["no answer from team.azurecr.io:443 within 5s; a firewall rule"],
    );
}

#[test]
fn a_registry_that_repeats_the_token_is_not_repeated() {
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES]);
    let secret = world.secret(CLIENT_SECRET);
    authority(&world, ENTRA, Proof::Secret(secret.clone()), &tokens);
    let acr = Acr::new(&world, TEAM, &tokens);
    world.registry(TEAM, move |request| {
        let form = request.form();
        let token = form.iter().find(|(name, _)| name == "access_token");
        token.map(|(_, token)| errors(400, "BAD", &format!("bad {token}"))).or_else(|| acr.door(request))
    });
    let words = &["team.azurecr.io:443 answered 400: BAD: bad (a secret)"];
    fails("exchange: a token repeated", by_secret(world.resolve(TEAM), &secret), SECRET, words);
}

#[test]
fn a_registry_that_does_not_take_the_resource_managers_token_is_told_of() {
    let Some(world) = World::new(PURPOSE) else { return };
    let secret = world.secret(CLIENT_SECRET);
    authority(&world, ENTRA, Proof::Secret(secret.clone()), &Tokens::new(&world, &[MANAGER]));
    closed(&world);
    let words = &[
        "AADSTS500011",
        "; with a token for https://management.azure.com: team.azurecr.io:443 answered 401",
        "authentication-as-arm must be enabled",
    ];
    fails("exchange: authentication-as-arm", by_secret(world.resolve(TEAM), &secret), SECRET, words);
}

/// Whoever the refresh token is for, the registry does not want it.
fn refused_at(case: &str, door: impl Fn(&Acr, &Request) -> Option<Answer> + Send + Sync + 'static, words: &[&str]) {
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES]);
    let secret = world.secret(CLIENT_SECRET);
    authority(&world, ENTRA, Proof::Secret(secret.clone()), &tokens);
    let acr = Acr::new(&world, TEAM, &tokens);
    world.registry(TEAM, move |request| door(&acr, request));
    let told = fails(&format!("registry: {case}"), by_secret(world.resolve(TEAM), &secret), SECRET, words);
    assert!(told.stdout.contains(", as a password: refused: "), "{told:#?}");
}

#[test]
fn the_registry_rejects_the_identity() {
    let at_token = |_: &Acr, request: &Request, acr: &Acr| match request.path() {
        "/oauth2/token" => Some(unauthorized()),
        _ => acr.door(request),
    };
    let words = &["refused: the token service team.azurecr.io:443 says 401 UNAUTHORIZED"];
    refused_at("no token for the repository", move |acr, request| at_token(acr, request, acr), words);
    let at_manifest = |acr: &Acr, request: &Request| match acr.door(request) {
        None => Some(errors(403, "DENIED", "requested access to the resource is denied")),
        answer => answer,
    };
    refused_at("a token that does not open the repository", at_manifest, &["refused: ", "403 DENIED"]);
}

#[test]
fn where_the_registry_rejects_one_identity_the_next_is_asked_and_at_last_nobody() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (first, second) = (Tokens::new(&world, &[REGISTRIES]), Tokens::new(&world, &[MANAGER, REGISTRIES]));
    let token = federated(&world, now() - 60, now() + 3600);
    let served = second.clone();
    authority(&world, ENTRA, Proof::Assertion(token.clone()), &first);
    world.plain(IMDS, move |request| metadata(request, Some(CLIENT), &served));
    // It exchanges the tokens of both, and wants nobody's.
    let acr = Acr::new(&world, TEAM, &first);
    world.registry(TEAM, move |request| match request.path() {
        "/oauth2/token" if request.header("Authorization").is_none() && request.method == "GET" => {
            Some(Answer::json(json!({"access_token": acr.access}).to_string()))
        }
        "/oauth2/token" => Some(unauthorized()),
        _ => acr.door(request),
    });
    let told = by_token(&world, world.resolve(TEAM), &token).told();
    told.found();
    let refused = told.stdout.matches(": refused: the token service").count();
    assert!(refused == 4 && told.stdout.contains("without a credential: accepted by"), "{told:#?}");
}
