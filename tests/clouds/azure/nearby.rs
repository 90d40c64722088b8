//! The metadata server and the endpoint beside a container refuse, hang, lie.

use serde_json::json;

use super::emulator::{Acr, CLIENT, MANAGER, REGISTRIES, Tokens, metadata};
use super::fails::{MANAGED, answered, closed, endless, fails, half, html, redirect};
use super::{IMDS, PURPOSE, TEAM, serve};
use crate::server::Reply;
use crate::world::World;

/// The metadata server answers with this, where the environment has this client ID.
fn metadata_says(case: &str, client: Option<&str>, reply: Option<Reply>, words: &[&str]) {
    let Some(world) = World::new(PURPOSE) else { return };
    closed(&world);
    if let Some(reply) = reply {
        world.plain(IMDS, move |_| reply.clone());
    }
    let run = client.iter().fold(world.resolve(TEAM), |run, client| run.env("AZURE_CLIENT_ID", *client));
    fails(&format!("metadata server: {case}"), run, MANAGED, words);
    let asked = world.asked().iter().filter(|line| line.starts_with(IMDS)).count();
    assert!(asked <= 1, "{case}: asked {asked} times");
}

#[test]
fn the_metadata_server_refuses() {
    let refusal = |why| Some(answered(400, &json!({"error": "invalid_request", "error_description": why}).to_string()));
    for (case, client, reply, words) in [
        (
            "not on this node",
            Some(CLIENT),
            refusal("Identity not found"),
            &["169.254.169.254:80 answered 400: Identity not found; no user-assigned identity of this node"][..],
        ),
        ("no identity", None, refusal("Identity not found"), &["; this node has no identity of its own"]),
        (
            "several",
            None,
            refusal("Multiple user assigned identities exist, please specify the clientId / resourceId"),
            &["Multiple user assigned identities exist", "; set AZURE_CLIENT_ID to the client ID of one of them"],
        ),
        ("a fault", None, Some(answered(500, "oops")), &["169.254.169.254:80 answered 500"]),
        ("being updated", None, Some(answered(410, "")), &["answered 410"]),
        ("absent", None, Some(html(404)), &["answered 404"]),
        ("too many requests", None, Some(answered(429, "{}")), &["answered 429"]),
        ("a redirect", None, Some(redirect()), &["answered 302"]),
        ("a page", None, Some(html(200)), &["the answer of 169.254.169.254:80 holds no token"]),
        (
            "an empty token",
            None,
            Some(answered(
                200,
                r#"{"access_token":"","expires_on":"1","token_type":"Bearer","resource":"https://containerregistry.azure.net"}"#,
            )),
            &["holds no token"],
        ),
        ("an answer without end", None, Some(endless()), &["the answer is longer than"]),
        (
            "not HTTP",
            None,
            Some(Reply::Raw(b"hello\r\n\r\n".to_vec())),
            &["no answer from 169.254.169.254:80: what answers"],
        ),
        (
            "nobody there",
            None,
            None,
            &[
                "no answer from 169.254.169.254:80: connection refused; only Azure's machines have it",
                "azure.workload.identity/use: \"true\"",
            ],
        ),
    ] {
        metadata_says(case, client, reply, words);
    }
}

#[test]
fn the_metadata_server_hangs() {
    let words = &["no answer from 169.254.169.254:80 within 3s; only Azure's machines have it"];
    metadata_says("hung", None, Some(Reply::Stall(Vec::new())), words);
}

#[test]
fn the_metadata_server_hangs_in_the_middle() {
    metadata_says("hung in the middle", None, Some(half()), &["no answer from 169.254.169.254:80 within 3s"]);
}

#[test]
fn a_metadata_server_that_lies_gives_no_way_in() {
    let Some(world) = World::new(PURPOSE) else { return };
    // Its token is none that the registry knows.
    let (known, lie) = (Tokens::new(&world, &[]), Tokens::new(&world, &[REGISTRIES, MANAGER]));
    world.plain(IMDS, move |request| metadata(request, None, &lie));
    serve(&world, Acr { tenant: None, ..Acr::new(&world, TEAM, &known) });
    let refused = "team.azurecr.io:443 answered 401: UNAUTHORIZED: authentication required";
    let words = &[
        refused,
        "; with a token for https://management.azure.com it is the same",
        "; the identity needs the role AcrPull",
    ];
    fails("metadata server: a lie", world.resolve(TEAM), MANAGED, words);
}

/// The endpoint beside a container answers with this.
fn endpoint_says(case: &str, reply: Reply, words: &[&str]) {
    let Some(world) = World::new(PURPOSE) else { return };
    let header = world.secret("Xh4~header.of_the-endpoint.91");
    closed(&world);
    world.plain("127.0.0.1:42356", move |_| reply.clone());
    let run = world.resolve(TEAM).env("IDENTITY_ENDPOINT", "http://127.0.0.1:42356/msi/token");
    fails(&format!("IDENTITY_ENDPOINT: {case}"), run.env("IDENTITY_HEADER", header), MANAGED, words);
}

#[test]
fn the_endpoint_beside_a_container_refuses() {
    let none =
        r#"{"statusCode":400,"message":"No User Assigned or Delegated Managed Identity found for specified ClientId"}"#;
    for (case, reply, words) in [
        ("none", answered(400, none), &["answered 400: No User Assigned", "needs a system-assigned identity"][..]),
        ("a wrong header", answered(403, ""), &["127.0.0.1:42356 answered 403; IDENTITY_HEADER must be"]),
        (
            "a fault",
            answered(500, r#"{"message":"Xh4~header.of_the-endpoint.91 is odd"}"#),
            &["answered 500: (a secret) is odd"],
        ),
    ] {
        endpoint_says(case, reply, words);
    }
}

#[test]
fn the_endpoint_beside_a_container_hangs() {
    let words = &["no answer from 127.0.0.1:42356 within 5s; IDENTITY_ENDPOINT must be"];
    endpoint_says("hung", Reply::Stall(Vec::new()), words);
}

#[test]
fn an_endpoint_far_away_is_not_asked_in_plain_text() {
    let Some(world) = World::new(PURPOSE) else { return };
    closed(&world);
    world.named("127.0.9.8", &["evil.example"]);
    world.plain("127.0.9.8:80", |request| -> Reply { panic!("asked {}", request.line()) });
    let run = world.resolve(TEAM).env("IDENTITY_ENDPOINT", "http://evil.example/").env("IDENTITY_HEADER", "h");
    fails("IDENTITY_ENDPOINT: far away", run, MANAGED, &["neither https nor an address of this node"]);
}
