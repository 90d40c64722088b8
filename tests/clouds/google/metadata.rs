//! The metadata server: a node's, GKE's that starts, and everything else that may answer at its address, or not.

use std::process::Command;

use super::emulator::{
    DENIED, EMAIL, OF_MACHINES, Verdict, metadata, metadata_saying, metadata_token, of_metadata, registry,
};
use super::{PURPOSE, REGISTRY, lines, measured, says};
use crate::server::{Answer, Reply};
use crate::skip;
use crate::world::World;

const ADDRESS: &str = "169.254.169.254:80";
const TOKEN: &str = "GET /computeMetadata/v1/instance/service-accounts/default/token";
const NAME: &str = "GET /computeMetadata/v1/instance/service-accounts/default/email";
const IAM: &str = "Unable to generate access token; IAM returned 403 Forbidden: Permission \
                   'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).\nThis error could be \
                   caused by a missing IAM policy binding on the target IAM service account.";

/// Firmware that says that this machine is Google's.
fn googles_machine(world: &World) {
    world.file("/sys/class/dmi/id/product_name", "Google Compute Engine\n");
}

#[test]
fn a_machines_identity_opens_each_of_googles_registries() {
    let Some(world) = World::new(PURPOSE) else { return };
    let token = world.secret("ya29.c.the-nodes-access-token");
    metadata(&world, ADDRESS, &token, vec![]);
    for name in ["gcr.io", "eu.gcr.io", REGISTRY, "docker.us-east1.rep.pkg.dev"] {
        registry(&world, name, &[(&token, Verdict::Accepted)], Verdict::Denied);
        let told = world.resolve(name).told();
        let accepted =
            format!("Google identity {EMAIL} from the metadata server 169.254.169.254: accepted by {name}:443");
        says(told.found(), &[&accepted]);
    }
    assert_eq!(lines(&world, ADDRESS), [TOKEN, NAME].repeat(4));
}

#[test]
fn the_environment_may_name_another_metadata_server_and_a_proxy_gets_nothing_of_it() {
    let Some(world) = World::new(PURPOSE) else { return };
    let token = world.secret("ya29.c.the-nodes-access-token");
    metadata(&world, "127.0.0.1:8080", &token, vec![]);
    metadata(&world, ADDRESS, &token, vec![]);
    world.plain("127.0.0.9:3128", |request| -> Answer { panic!("asked {}", request.line()) });
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    let proxy = [("HTTP_PROXY", "http://127.0.0.9:3128")];
    let told = world.resolve(REGISTRY).env("GCE_METADATA_HOST", "127.0.0.1:8080").envs(&proxy).told();
    says(told.found(), &["from the metadata server 127.0.0.1:8080: accepted"]);
    world.resolve(REGISTRY).envs(&proxy).told().found();
    assert_eq!(
        (lines(&world, "127.0.0.1:8080"), lines(&world, ADDRESS)),
        (
            [TOKEN, NAME].into_iter().map(str::to_owned).collect(),
            [TOKEN, NAME].into_iter().map(str::to_owned).collect()
        )
    );
    for odd in ["http://127.0.0.1:8080/", "u:p@127.0.0.1:8080", "127.0.0.1:8080/x?"] {
        let told = world.resolve(REGISTRY).env("GCE_METADATA_HOST", odd).told();
        says(&told.failed(), &["GCE_METADATA_HOST does not hold the address of a metadata server (HOST or HOST:PORT)"]);
    }
}

#[test]
fn gkes_server_that_starts_is_asked_until_it_has() {
    let Some(world) = World::new(PURPOSE) else { return };
    googles_machine(&world);
    let token = world.secret("ya29.c.the-pods-access-token");
    let starting = vec![
        Reply::Close,
        Answer::new(502).into(),
        of_metadata(503).into(),
        of_metadata(404).body("Not Found").into(),
        of_metadata(403).body("Forbidden").into(),
    ];
    metadata(&world, ADDRESS, &token, starting);
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    says(world.resolve(REGISTRY).told().found(), &["from the metadata server 169.254.169.254: accepted"]);
    assert_eq!(lines(&world, ADDRESS), [&[TOKEN; 6][..], &[NAME]].concat());
}

#[test]
fn a_server_that_says_that_it_is_googles_is_asked_again_on_any_machine() {
    let Some(world) = World::new(PURPOSE) else { return };
    let token = world.secret("ya29.c.the-pods-access-token");
    metadata(&world, ADDRESS, &token, vec![of_metadata(500).into(), Reply::Close]);
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    world.resolve(REGISTRY).told().found();
    assert_eq!(lines(&world, ADDRESS), [TOKEN, TOKEN, TOKEN, NAME]);
}

#[test]
fn a_server_that_never_starts_is_given_up() {
    let Some(world) = World::new(PURPOSE) else { return };
    googles_machine(&world);
    registry(&world, REGISTRY, &[], Verdict::Accepted);
    // Nobody listens.
    let told = world.resolve(REGISTRY).told();
    measured("GKE's metadata server refuses connections for ever", &told);
    says(told.found(), &["Google metadata server 169.254.169.254: not ready within 10s (asked ", "connection refused"]);
    says(told.found(), &["none was needed"]);
}

#[test]
fn a_server_that_only_fails_is_given_up() {
    let Some(world) = World::new(PURPOSE) else { return };
    metadata_saying(&world, of_metadata(500).body("GKE Metadata Server: Internal Server Error"));
    registry(&world, REGISTRY, &[], Verdict::Denied);
    let told = world.resolve(REGISTRY).told();
    measured("GKE's metadata server answers 500 for ever", &told);
    let fails = "169.254.169.254:80 fails (status 500): GKE Metadata Server: Internal Server Error";
    says(&told.failed(), &["not ready within 10s (asked ", fails]);
}

#[test]
fn a_server_that_hangs_costs_its_limit_and_a_public_image_is_found_all_the_same() {
    let Some(world) = World::new(PURPOSE) else { return };
    metadata_saying(&world, Reply::Stall(Vec::new()));
    registry(&world, REGISTRY, &[], Verdict::Accepted);
    let told = world.resolve(REGISTRY).told();
    measured("the metadata server hangs", &told);
    says(told.found(), &["no answer from 169.254.169.254:80 within 3s; a NetworkPolicy may block it"]);
    says(told.found(), &["none was needed"]);
    assert_eq!(lines(&world, ADDRESS), [TOKEN]);
}

#[test]
fn a_connection_that_is_dropped_costs_the_limit_of_one_that_hangs() {
    let Some(world) = World::new(PURPOSE) else { return };
    // A cable with nobody at its other end.
    world.inside(|| {
        let ip = |args: &[&str]| {
            let done = Command::new(skip::busybox().unwrap()).arg("ip").args(args).status().unwrap();
            assert!(done.success(), "ip {args:?}");
        };
        ip(&["link", "add", "near", "type", "veth"]);
        ip(&["link", "set", "veth0", "up"]);
        ip(&["link", "set", "near", "up"]);
        ip(&["route", "add", "169.254.42.42/32", "dev", "near"]);
    });
    registry(&world, REGISTRY, &[], Verdict::Accepted);
    let told = world.resolve(REGISTRY).env("GCE_METADATA_HOST", "169.254.42.42").told();
    measured("what is sent to the metadata server is dropped, where it is to be", &told);
    says(told.found(), &["not ready within 3s (asked 3 times): no answer from 169.254.42.42:80"]);
}

#[test]
fn a_server_that_is_slow_in_the_middle_costs_its_limit() {
    let Some(world) = World::new(PURPOSE) else { return };
    googles_machine(&world);
    let half = b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nContent-Length: 999\r\n\r\n{\"access_token\":".to_vec();
    metadata_saying(&world, Reply::Stall(half));
    registry(&world, REGISTRY, &[], Verdict::Accepted);
    let told = world.resolve(REGISTRY).told();
    measured("the metadata server stalls in its answer", &told);
    says(told.found(), &["no answer from 169.254.169.254:80 within 3s"]);
    assert_eq!(lines(&world, ADDRESS), [TOKEN]);
}

#[test]
fn a_server_that_stalls_with_the_name_costs_a_second_and_the_token_counts() {
    let Some(world) = World::new(PURPOSE) else { return };
    let token = world.secret("ya29.c.the-nodes-access-token");
    let answer = metadata_token(&token, 3599);
    world.plain(ADDRESS, move |request| match request.path().ends_with("/token") {
        true => Reply::from(answer.clone()),
        false => Reply::Stall(Vec::new()),
    });
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    let told = world.resolve(REGISTRY).told();
    measured("the metadata server hangs when asked for the name", &told);
    says(told.found(), &["Google identity from the metadata server 169.254.169.254: accepted"]);
}

#[test]
fn where_there_is_no_metadata_server_once_is_enough() {
    let Some(world) = World::new(PURPOSE) else { return };
    registry(&world, REGISTRY, &[], Verdict::Accepted);
    let told = world.resolve(REGISTRY).told();
    measured("no metadata server, connection refused", &told);
    says(told.found(), &["no answer from 169.254.169.254:80: connection refused", "none was needed"]);
}

#[test]
fn who_is_not_googles_is_not_believed() {
    let token = "ya29.c.a-liars-access-token";
    for (what, reply) in [
        ("a liar with a token", Answer::json(format!(r#"{{"access_token":"{token}","expires_in":3599}}"#))),
        (
            "a liar of another flavor",
            Answer::json(format!(r#"{{"access_token":"{token}"}}"#)).header("Metadata-Flavor", "Gogle"),
        ),
        ("a machine of Amazon", Answer::new(401).header("Server", "EC2ws")),
        ("a machine of Azure", Answer::new(404).header("Server", "Microsoft-IIS/10.0")),
        ("somebody who sends elsewhere", Answer::new(302).header("Location", "http://127.0.0.1:1/token")),
        ("somebody's proxy", Answer::new(503)),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        world.secret(token);
        metadata_saying(&world, reply.clone());
        registry(&world, REGISTRY, &[], Verdict::Accepted);
        let told = world.resolve(REGISTRY).told();
        measured(what, &told);
        let status = reply.status();
        let liar = format!("what answers at 169.254.169.254:80 (status {status}) is not Google's metadata server");
        says(told.found(), &[&liar, "none was needed"]);
        assert_eq!(lines(&world, ADDRESS), [TOKEN], "{what}");
        let shown = world
            .asked_of(REGISTRY)
            .iter()
            .any(|request| request.header("Authorization").is_some_and(|shown| shown.starts_with("Basic ")));
        assert!(!shown, "{what}: its token was used");
    }
}

#[test]
fn what_is_no_token_is_not_shown_to_anybody() {
    for (what, reply, expected) in [
        ("nothing", of_metadata(200).into(), "the answer of 169.254.169.254:80 holds no access token"),
        ("a page", of_metadata(200).body("<html>").into(), "holds no access token"),
        ("an empty token", metadata_token("", 3599).into(), "holds no access token"),
        ("two headers in a token", metadata_token("a\r\nX: y", 3599).into(), "holds no access token"),
        (
            "without an end",
            Reply::Endless(b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n\r\n".to_vec(), vec![b'x'; 1 << 16]),
            "the answer is longer than 262144 bytes",
        ),
        ("no HTTP", Reply::Raw(b"SSH-2.0-x\r\n".to_vec()), "what answers there does not speak HTTP"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        googles_machine(&world);
        metadata_saying(&world, reply);
        registry(&world, REGISTRY, &[], Verdict::Accepted);
        says(world.resolve(REGISTRY).told().found(), &[expected]);
        assert_eq!(lines(&world, ADDRESS), [TOKEN], "{what}");
    }
}

#[test]
fn a_refusal_for_good_is_told_at_once_with_what_to_do() {
    let of_machine = |status| of_metadata(status).header("Server", OF_MACHINES);
    for (what, reply, expected) in [
        (
            "IAM does not let the pod be the account",
            of_metadata(403).header("Content-Type", "text/plain").body(IAM),
            &[
                "169.254.169.254:80 refuses (status 403): Unable to generate access token; IAM returned 403 Forbidden: \
                 Permission 'iam.serviceAccounts.getAccessToken' denied",
                "roles/iam.workloadIdentityUser",
            ][..],
        ),
        (
            "a machine without an identity",
            of_machine(404).body("<!DOCTYPE html>"),
            &["169.254.169.254:80 refuses (status 404); this machine has no service account"][..],
        ),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        googles_machine(&world);
        metadata_saying(&world, reply);
        registry(&world, REGISTRY, &[], Verdict::Denied);
        let told = world.resolve(REGISTRY).told();
        measured(what, &told);
        says(&told.failed(), expected);
        assert_eq!(lines(&world, ADDRESS), [TOKEN], "{what}");
    }
}

#[test]
fn a_token_that_the_registry_refuses_is_told_with_its_identity_and_followed_by_none() {
    for (verdict, words) in [(Verdict::Denied, DENIED), (Verdict::Unknown, "invalid authentication credentials")] {
        let Some(world) = World::new(PURPOSE) else { return };
        let token = world.secret("ya29.c.the-nodes-access-token");
        world.plain(ADDRESS, {
            let answer = metadata_token(&token, 3);
            move |request| {
                if request.path().ends_with("/token") { answer.clone() } else { of_metadata(200).body(EMAIL) }
            }
        });
        registry(&world, REGISTRY, &[(&token, verdict)], Verdict::Denied);
        let told = world.resolve(REGISTRY).told();
        measured("the registry refuses the token", &told);
        let identity = format!(
            "Google identity {EMAIL} from the metadata server 169.254.169.254 (its token expires in 3 s): refused: "
        );
        says(&told.failed(), &[&identity, words, "without a credential: refused"]);
    }
    let Some(world) = World::new(PURPOSE) else { return };
    let token = world.secret("ya29.c.the-nodes-access-token");
    metadata(&world, ADDRESS, &token, vec![]);
    registry(&world, REGISTRY, &[(&token, Verdict::Unknown)], Verdict::Accepted);
    says(world.resolve(REGISTRY).told().found(), &["refused: ", "without a credential: accepted"]);
}
