//! Each identity fails in time, with a sentence that says what to do, and the lookup goes on without it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use super::emulator::{
    Acr, CLIENT, ISSUER, MANAGER, Proof, REGISTRIES, SUBJECT, TENANT, Tokens, aadsts, errors, federated, metadata, now,
    unauthorized,
};
use super::{CLIENT_SECRET, ENTRA, IMDS, PURPOSE, TEAM, authority, by_secret, by_token, by_token_in, registry, serve};
use crate::server::{Answer, Reply, Request};
use crate::world::{Run, Told, World};

const SECRET: &str = "Azure client secret of application";
const TOKEN: &str = "Azure workload identity";
const MANAGED: &str = "Azure managed identity";

/// The lookup failed, and the note of the source has these words. The row of the table goes to whoever looks.
#[allow(clippy::print_stderr, reason = "the table is for people, who ask for it by --nocapture")]
fn fails(case: &str, run: Run<'_>, source: &str, words: &[&str]) -> Told {
    let told = run.told();
    let said = told.failed();
    let line = said.lines().find(|line| line.trim().starts_with(source)).map(str::trim);
    let line = line.unwrap_or_else(|| panic!("{case}: nothing of {source} in {said}"));
    for word in words {
        assert!(line.contains(word), "{case}: {word:?} is not in {line}");
    }
    assert!(!line.contains("Trace ID") && !line.contains("7a7a7a7a"), "{case}: {line}");
    eprintln!("| {case} | {} ms | {line} |", told.took.as_millis());
    told
}

/// A registry that exchanges nobody's token.
fn closed(world: &World) {
    registry(world, TEAM, &Tokens::new(world, &[]));
}

fn answered(status: u16, body: &str) -> Reply {
    Answer::new(status).header("Content-Type", "application/json").body(body).into()
}

fn html(status: u16) -> Reply {
    Answer::new(status).header("Content-Type", "text/html").body("<html><title>Sign in</title></html>").into()
}

fn endless() -> Reply {
    Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"".to_vec(), vec![b'a'; 4096])
}

/// A head and no more.
fn half() -> Reply {
    Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"access_".to_vec())
}

fn redirect() -> Reply {
    Answer::new(302).header("Location", "https://evil.example/").into()
}

/// A `Date` an hour from now, before or after.
fn date(seconds: i64) -> String {
    let moment = i64::try_from(now()).unwrap() + seconds;
    let (days, second) = (moment.div_euclid(86400), moment.rem_euclid(86400));
    // https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days.rem_euclid(7)).unwrap()];
    let name = names[usize::try_from(month - 1).unwrap()];
    format!("{weekday}, {day:02} {name} {year} {:02}:{:02}:{:02} GMT", second / 3600, second / 60 % 60, second % 60)
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
    fails("Entra ID: a token repeated", by_token(&world, world.resolve(TEAM), &token), TOKEN, &["answered 400: bad "]);
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
    let words = &["team.azurecr.io:443 answered 400: BAD: bad "];
    fails("exchange: a token repeated", by_secret(world.resolve(TEAM), &secret), SECRET, words);
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

#[test]
fn variables_of_what_is_not_known_here_are_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    closed(&world);
    let run = world.resolve(TEAM).envs(&[
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_CERTIFICATE_PATH", "/certificate.pem"),
        ("AZURE_USERNAME", "ann"),
        ("AZURE_PASSWORD", "hunter2hunter2"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ("MSI_ENDPOINT", "http://127.0.0.1/"),
    ]);
    let told =
        fails("variables", run, MANAGED, &["MSI_ENDPOINT and its like name the managed identity of Cloud Shell"]);
    for sentence in [
        "AZURE_CLIENT_CERTIFICATE_PATH: not used: a login with a certificate is not known here",
        "AZURE_USERNAME and AZURE_PASSWORD: not used: a login as a person",
        "AZURE_FEDERATED_TOKEN_FILE: not asked: AZURE_FEDERATED_TOKEN_FILE is set, but not AZURE_CLIENT_ID; the service",
    ] {
        assert!(told.stdout.contains(sentence), "{sentence}: {told:#?}");
    }
    assert!(!told.failed().contains("hunter2"));
}
