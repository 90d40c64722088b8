//! Entra ID refuses, hangs, lies; and what keeps the pod from asking it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use azure_core::time::{OffsetDateTime, to_rfc7231};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use super::emulator::Proof;
use super::emulator::{ISSUER, SUBJECT, Tokens, aadsts, federated, now};
use super::fails::{SECRET, TOKEN, answered, closed, endless, fails, half, html, redirect};
use super::{CLIENT_SECRET, ENTRA, PURPOSE, TEAM, authority, by_secret, by_token, by_token_in};
use crate::server::{Answer, Reply};
use crate::world::World;

/// The `Date` of a server whose clock is so many seconds ahead.
fn date(ahead: i64) -> String {
    let moment = i64::try_from(now()).unwrap() + ahead;
    to_rfc7231(&OffsetDateTime::from_unix_timestamp(moment).unwrap())
}

/// Entra ID answers the application's secret with this.
fn entra_says(case: &str, reply: Reply, words: &[&str]) {
    let Some(world) = World::new(PURPOSE) else { return };
    let secret = world.secret(CLIENT_SECRET);
    world.secure(&["evil.example"], |request| -> Reply { panic!("asked {}", request.line()) });
    closed(&world);
    world.secure(&[ENTRA], move |_| reply.clone());
    fails(&format!("Entra ID: {case}"), by_secret(world.resolve(TEAM), &secret), SECRET, words);
    assert_eq!(world.asked_of(ENTRA).len(), 1, "{case}: asked once");
}

#[test]
fn entra_id_refuses_a_secret() {
    let refusal = |code, why| Reply::from(aadsts(401, "invalid_client", code, why));
    for (case, reply, words) in [
        (
            "a wrong secret",
            refusal(7_000_215, "Invalid client secret provided. Ensure the secret being sent is the value."),
            &["login.microsoftonline.com:443 answered 401: AADSTS7000215: Invalid", "; AZURE_CLIENT_SECRET must be"][..],
        ),
        ("a secret that expired", refusal(7_000_222, "The keys are expired."), &["needs a new client secret"]),
        ("no such application", refusal(700_016, "Not found."), &["AZURE_CLIENT_ID and AZURE_TENANT_ID must be"]),
        ("no such tenant", refusal(90002, "Not found."), &["AZURE_TENANT_ID must be a tenant"]),
        // Whoever is asked may repeat the secret.
        (
            "a secret repeated",
            refusal(50000, "The secret Xk2~Q8.aBcDeF_gHiJkLm+NoPq/RsT&uVw= is wrong."),
            &["AADSTS50000: The secret (a secret) is wrong"],
        ),
        ("a fault", html(503), &["login.microsoftonline.com:443 answered 503"]),
        ("too many requests", answered(429, "{}"), &["answered 429"]),
        ("a redirect", redirect(), &["answered 302"]),
        ("a page instead of a token", html(200), &["the answer of login.microsoftonline.com:443 holds no token"]),
        ("an empty answer", answered(200, "{}"), &["holds no token"]),
        ("an answer without end", endless(), &["the answer is longer than"]),
        ("no answer", Reply::Close, &["no answer from login.microsoftonline.com:443: the connection was closed"]),
        (
            "a clock an hour ahead",
            aadsts(401, "invalid_client", 50000, "x").header("Date", date(-3600)).into(),
            &[" min ahead of that of login.microsoftonline.com:443"],
        ),
        (
            "a clock an hour behind",
            aadsts(401, "invalid_client", 50000, "x").header("Date", date(3630)).into(),
            &[" min behind that of login.microsoftonline.com:443"],
        ),
    ] {
        entra_says(case, reply, words);
    }
}

#[test]
fn entra_id_hangs() {
    entra_says(
        "hung",
        Reply::Stall(Vec::new()),
        &["no answer from login.microsoftonline.com:443 within 5s; a network"],
    );
}

#[test]
fn entra_id_hangs_in_the_middle() {
    entra_says("hung in the middle", half(), &["no answer from login.microsoftonline.com:443 within 5s; a network"]);
}

#[test]
fn entra_id_cannot_be_reached() {
    let Some(world) = World::new(PURPOSE) else { return };
    let secret = world.secret(CLIENT_SECRET);
    closed(&world);
    let run = || by_secret(world.resolve(TEAM), &secret);
    fails("Entra ID: no name", run(), SECRET, &["its name cannot be resolved", "; a network policy"]);
    world.named("127.0.9.9", &[ENTRA]);
    fails("Entra ID: nobody there", run(), SECRET, &["login.microsoftonline.com:443: connection refused; a network"]);
}

#[test]
fn entra_id_refuses_a_token_of_the_cluster() {
    let expected = format!(
        "; the application or managed identity needs a federated credential with the issuer {ISSUER}, the subject {SUBJECT} \
         and the audience api://AzureADTokenExchange, to the letter"
    );
    let no_match = "No matching federated identity record found for presented assertion subject.";
    let (hour, wrong) = (3600, "invalid_client");
    for (case, begins, ends, refusal, words) in [
        ("no federated credential", 0, hour, aadsts(401, wrong, 700_213, no_match), &[expected.as_str()][..]),
        ("no federated credential at all", 0, hour, aadsts(400, wrong, 70021, no_match), &[expected.as_str()]),
        ("another issuer", 0, hour, aadsts(401, wrong, 700_211, no_match), &[expected.as_str()]),
        (
            "an expired token",
            -2 * hour,
            -hour,
            aadsts(401, wrong, 700_024, "Client assertion is not within its valid time range."),
            &[
                "AADSTS700024: Client assertion is not",
                "the token in the file has expired",
                " ago: the kubelet did not renew it",
            ],
        ),
        (
            "a token of tomorrow",
            24 * hour,
            25 * hour,
            aadsts(401, wrong, 700_024, "Client assertion is not within its valid time range."),
            &["the token in the file is valid only in 2"],
        ),
        (
            "a clock of the cluster an hour behind",
            -60,
            hour,
            aadsts(401, wrong, 700_024, "Client assertion is not within its valid time range.")
                .header("Date", date(3660)),
            &["has expired", " min behind that of"],
        ),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        let at = |seconds: i64| u64::try_from(i64::try_from(now()).unwrap() + seconds).unwrap();
        let token = federated(&world, at(begins), at(ends));
        closed(&world);
        world.secure(&[ENTRA], move |_| refusal.clone());
        fails(&format!("Entra ID: {case}"), by_token(&world, world.resolve(TEAM), &token), TOKEN, words);
    }
}

#[test]
fn a_token_repeated_by_entra_id_is_not_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    let token = federated(&world, now() - 60, now() + 3600);
    closed(&world);
    world.secure(&[ENTRA], |request| {
        let form = request.form();
        let (_, assertion) = form.iter().find(|(name, _)| name == "client_assertion").unwrap();
        Answer::new(400).body(json!({"error": "x", "error_description": format!("bad {assertion}")}).to_string())
    });
    fails(
        "Entra ID: a token repeated",
        by_token(&world, world.resolve(TEAM), &token),
        TOKEN,
        &["answered 400: bad (a secret)"],
    );
}

#[test]
fn a_token_file_that_cannot_be_used_is_named_and_nothing_is_sent() {
    let Some(world) = World::new(PURPOSE) else { return };
    closed(&world);
    world.secure(&[ENTRA], |request| -> Reply { panic!("asked {}", request.line()) });
    let token = federated(&world, now() - 60, now() + 3600);
    let file = |name: &str, content: &str| world.file(&format!("/tokens/{name}"), content);
    let unreadable = file("unreadable", &token);
    fs::set_permissions(world.path(&unreadable), fs::Permissions::from_mode(0o600)).unwrap();
    file("directory/file", "");
    mkfifo(&world.path("/tokens/fifo"), Mode::from_bits_truncate(0o666)).unwrap();
    let of = "of AZURE_FEDERATED_TOKEN_FILE";
    for (case, path, words) in [
        ("absent", "/tokens/absent".to_owned(), &["the token file \"/tokens/absent\"", of, "absent"][..]),
        ("empty", file("empty", ""), &["is empty"]),
        ("blank", file("blank", " \n"), &["is empty"]),
        ("unreadable", unreadable, &["which is user 0's and group 0's with mode 0600 (fsGroup", "permission denied"]),
        ("a directory", "/tokens/directory".to_owned(), &["not a regular file"]),
        ("a FIFO", "/tokens/fifo".to_owned(), &["not a regular file"]),
        ("no token", file("text", "this is a file that is no token"), &["holds no signed JSON web token"]),
        ("two parts", file("two", token.rsplit_once('.').unwrap().0), &["holds no signed JSON web token"]),
        ("large", file("large", &"a".repeat(2 << 20)), &["larger than"]),
        ("no text", file("binary", "\u{0}\u{1}"), &["holds no signed JSON web token"]),
    ] {
        let run = by_token_in(world.resolve(TEAM), &path).uid(1000);
        fails(&format!("the token file: {case}"), run, TOKEN, words);
    }
}

#[test]
fn an_authority_of_somebody_else_is_shown_nothing() {
    for value in ["https://evil.example/", "http://login.microsoftonline.com", "https://127.0.0.1", "login.windows.net"]
    {
        let Some(world) = World::new(PURPOSE) else { return };
        let token = federated(&world, now() - 60, now() + 3600);
        let path = world.file("/token", &token);
        closed(&world);
        for host in ["evil.example", ENTRA, "login.windows.net"] {
            world.secure(&[host], |request| -> Reply { panic!("asked {}", request.line()) });
        }
        let run = by_secret(world.resolve(TEAM), &world.secret(CLIENT_SECRET));
        let run = run.envs(&[("AZURE_FEDERATED_TOKEN_FILE", &path), ("AZURE_AUTHORITY_HOST", value)]);
        let words = &["not asked: AZURE_AUTHORITY_HOST is", value, "none of Microsoft's authorities"];
        let told = fails("another authority", run, "Azure client secret of AZURE_CLIENT_SECRET", words);
        assert!(told.stdout.contains("Azure workload identity of AZURE_FEDERATED_TOKEN_FILE: not asked"), "{told:#?}");
    }
}

#[test]
fn a_tenant_that_knows_neither_audience_is_told_so() {
    let Some(world) = World::new(PURPOSE) else { return };
    let secret = world.secret(CLIENT_SECRET);
    authority(&world, ENTRA, Proof::Secret(secret.clone()), &Tokens::new(&world, &[]));
    closed(&world);
    let words = &[
        "AADSTS500011: The resource principal named https://containerregistry.azure.net was not found",
        "; with a token for https://management.azure.com: login.microsoftonline.com:443 answered 400: AADSTS500011",
    ];
    fails("Entra ID: neither audience", by_secret(world.resolve(TEAM), &secret), SECRET, words);
}
