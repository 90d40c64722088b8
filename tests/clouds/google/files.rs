//! Credential files: keys, users, federated identities, impersonated ones, and files that are none of these.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::emulator::{
    AUDIENCE, EMAIL, KEY, TARGET, Verdict, Wanted, api_error, date, external_account, iam, iam_saying,
    impersonation_url, metadata, now, oauth_error, projected_token, registry, service_account, sts, sts_saying,
    token_service, user_service, with,
};
use super::{PURPOSE, REGISTRY, lines, measured, says};
use crate::server::{Answer, Reply};
use crate::world::{Run, World};

const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const FILE: &str = "/secrets/google.json";
const TOKEN_FILE: &str = "/var/run/token";

/// A run with this credential file.
fn with_file<'w>(world: &'w World, document: &Value) -> Run<'w> {
    world.resolve(REGISTRY).env(VARIABLE, world.file(FILE, &document.to_string()))
}

/// An external account whose token is in a file.
fn from_file() -> Value {
    external_account(json!({"file": TOKEN_FILE}))
}

fn named(outcome: &str) -> String {
    format!("Google credential file {FILE} of {VARIABLE}: {outcome}")
}

#[test]
fn a_service_account_is_known_by_its_key() {
    let Some(world) = World::new(PURPOSE) else { return };
    let token = world.secret("ya29.c.the-accounts-access-token");
    token_service(&world, &token, 0);
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    let told = with_file(&world, &service_account(&world)).told();
    says(told.found(), &[&format!("Google identity {EMAIL} by the service account key of {FILE}: accepted")]);
    // Where gcloud writes it.
    world.file("/home/ann/.config/gcloud/application_default_credentials.json", &service_account(&world).to_string());
    world.resolve(REGISTRY).env("HOME", "/home/ann").told().found();
    let told = world.resolve(REGISTRY).env("HOME", "/").env("CLOUDSDK_CONFIG", "/home/ann/.config/gcloud").told();
    says(told.found(), &["/home/ann/.config/gcloud/application_default_credentials.json: accepted"]);
    assert_eq!(lines(&world, "oauth2.googleapis.com"), ["POST /token"; 3]);
}

#[test]
fn a_user_is_known_by_the_login() {
    let Some(world) = World::new(PURPOSE) else { return };
    let [token, refresh_token, secret] =
        ["ya29.a0.the-users-access-token", "1//the+users&refresh=token", "the-clients-secret"]
            .map(|text| world.secret(text));
    let answer = json!({"access_token": token, "expires_in": 3599, "scope": "openid", "token_type": "Bearer"});
    user_service(&world, &refresh_token, &secret, Answer::json(answer.to_string()));
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    let document = json!({
        "type": "authorized_user", "client_id": "client-1", "client_secret": secret, "refresh_token": refresh_token,
        "account": "", "quota_project_id": "p",
    });
    let told = with_file(&world, &document).told();
    says(told.found(), &[&format!("Google identity of a user by the credential file of {FILE}: accepted")]);
}

#[test]
fn a_user_whose_login_ended_is_told_to_log_in() {
    let Some(world) = World::new(PURPOSE) else { return };
    let [refresh_token, secret] = ["1//the-users-refresh-token", "the-clients-secret"].map(|text| world.secret(text));
    // It repeats what it was shown.
    let answer = oauth_error(400, "invalid_grant", &format!("{refresh_token} has been expired or revoked."));
    user_service(&world, &refresh_token, &secret, answer);
    registry(&world, REGISTRY, &[], Verdict::Denied);
    let document = json!({
        "type": "authorized_user", "client_id": "client-1", "client_secret": secret, "refresh_token": refresh_token,
    });
    let told = with_file(&world, &document).told();
    measured("a user's login has ended", &told);
    let refused =
        "oauth2.googleapis.com:443 refuses (status 400): invalid_grant: (a secret) has been expired or revoked.";
    says(&told.failed(), &[&named(refused), "gcloud auth application-default login"]);
}

#[test]
fn a_clock_that_is_off_is_told_and_so_is_which_way() {
    // The service's clock before ours, behind it, and near enough.
    for (ahead, expected) in [(7200, Some("s behind")), (-3600, Some("s ahead of")), (-30, None), (30, None)] {
        let Some(world) = World::new(PURPOSE) else { return };
        let token = world.secret("ya29.c.the-accounts-access-token");
        token_service(&world, &token, ahead);
        registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
        let told = with_file(&world, &service_account(&world)).told();
        match expected {
            None => drop(told.found().to_owned()),
            Some(way) => {
                measured("a clock is off", &told);
                let refused =
                    "oauth2.googleapis.com:443 refuses (status 400): invalid_grant: Invalid JWT: Token must be";
                says(&told.failed(), &[&named(refused), "; this machine's clock is ", way]);
            }
        }
    }
}

#[test]
fn a_token_service_that_refuses_is_told_with_what_to_do() {
    for (what, reply, expected) in [
        (
            "the key was deleted",
            oauth_error(400, "invalid_grant", "Invalid JWT Signature.").into(),
            "invalid_grant: Invalid JWT Signature.; the key was deleted or disabled",
        ),
        (
            "the service account was deleted",
            oauth_error(400, "invalid_grant", "Invalid grant: account not found").into(),
            "the service account was deleted or disabled",
        ),
        ("the token service fails", Answer::new(503).into(), "oauth2.googleapis.com:443 fails (status 503)"),
        (
            "the token service sends elsewhere",
            Answer::new(302).header("Location", "https://evil.example/").into(),
            "oauth2.googleapis.com:443 refuses (status 302)",
        ),
        (
            "the token service says nothing",
            Answer::json("{}").into(),
            "oauth2.googleapis.com:443 holds no access token",
        ),
        ("the token service closes", Reply::Close, "the connection was closed before the answer was complete"),
        (
            "the token service hangs",
            Reply::Stall(Vec::new()),
            "no answer from oauth2.googleapis.com:443 within 5s; egress to it may be blocked, or need a proxy",
        ),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        world.secure(&["oauth2.googleapis.com"], move |_| reply.clone());
        world.secure(&["evil.example"], |request| -> Answer { panic!("asked {}", request.line()) });
        registry(&world, REGISTRY, &[], Verdict::Accepted);
        let told = with_file(&world, &service_account(&world)).told();
        measured(what, &told);
        says(told.found(), &["Google credential file", expected, "none was needed"]);
    }
}

#[test]
fn a_service_that_repeats_what_it_was_shown_is_not_repeated() {
    let Some(world) = World::new(PURPOSE) else { return };
    world.secure(&["oauth2.googleapis.com"], |request| {
        let assertion = request.form().into_iter().find(|(name, _)| name == "assertion").unwrap().1;
        oauth_error(400, "invalid_grant", &format!("{}{assertion}", "x".repeat(200)))
    });
    registry(&world, REGISTRY, &[], Verdict::Denied);
    let told = with_file(&world, &service_account(&world)).told().failed();
    says(&told, &["xxx(a secret)"]);
    // How every such header begins.
    assert!(!told.contains("eyJ"), "{told}");
}

#[test]
fn a_file_that_is_no_identity_is_told_and_the_next_source_is_asked() {
    let Some(world) = World::new(PURPOSE) else { return };
    let token = world.secret("ya29.c.the-nodes-access-token");
    metadata(&world, "169.254.169.254:80", &token, vec![]);
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    let key = service_account(&world);
    let text = key.to_string();
    world.file("/locked.json", &text);
    fs::set_permissions(world.path("/locked.json"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(world.path("/directory.json")).unwrap();
    nix::unistd::mkfifo(&world.path("/fifo.json"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    for (name, content, expected) in [
        ("/absent.json", None, "absent"),
        ("/entrypoint/x.json", None, "absent: its directory is not a directory"),
        ("/directory.json", None, "not read: it is not a regular file"),
        ("/fifo.json", None, "not read: it is not a regular file"),
        ("/locked.json", None, "cannot be read: permission denied: it is user 0's and group 0's with mode 0600"),
        ("/empty.json", Some(String::new()), "not used: it is empty"),
        ("/half.json", Some(text[..text.len() / 2].to_owned()), "not used: it is not JSON: "),
        ("/other.json", Some(json!({"installed": {}}).to_string()), "not used: it has no \"type\""),
        (
            "/gdch.json",
            Some(json!({"type": "gdch_service_account"}).to_string()),
            "not used: its type \"gdch_service_account\"",
        ),
        (
            "/key.json",
            Some(with(key.clone(), "private_key", &KEY[..500]).to_string()),
            "not used: its \"private_key\" is not",
        ),
        (
            "/tpc.json",
            Some(with(key.clone(), "universe_domain", "x.example").to_string()),
            "not used: it is of the universe",
        ),
        (
            "/aws.json",
            Some(external_account(json!({"environment_id": "aws1", "url": "http://169.254.169.254/x"})).to_string()),
            "not used: its \"credential_source\" is of the kind aws, which is not known here: name a \"file\"",
        ),
        (
            "/program.json",
            Some(external_account(json!({"executable": {"command": "/entrypoint"}})).to_string()),
            "not used: its \"credential_source\" is a program that is to be run",
        ),
        ("/large.json", Some(" ".repeat(2 << 20)), "not read: it is larger than 1048576 bytes"),
    ] {
        if let Some(content) = content {
            world.file(name, &content);
        }
        let told = world.resolve(REGISTRY).env(VARIABLE, name).uid(1000).told();
        let note = format!("Google credential file {name} of {VARIABLE}: {expected}");
        says(told.found(), &[&note, "from the metadata server 169.254.169.254: accepted"]);
    }
    // An empty variable names nothing, and gcloud's file that is not there is nothing to tell of.
    let told = world.resolve(REGISTRY).env(VARIABLE, "").env("HOME", "/home/ann").told();
    assert!(!told.found().contains("credential file"), "{told:?}");
}

#[test]
fn a_projected_token_becomes_a_federated_identity() {
    let Some(world) = World::new(PURPOSE) else { return };
    let token = world.secret("ya29.d.the-pools-access-token");
    let subject = projected_token(&world, 3600);
    sts(&world, &subject, &token, Wanted::default());
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    // As kubelet writes it, as an editor does, and inside of an object.
    let as_field = json!({"file": TOKEN_FILE, "format": {"type": "json", "subject_token_field_name": "id_token"}});
    for (content, document) in [
        (subject.clone(), from_file()),
        (format!("{subject}\n"), external_account(json!({"file": TOKEN_FILE, "format": {"type": "text"}}))),
        (json!({"id_token": subject}).to_string(), external_account(as_field)),
    ] {
        world.file(TOKEN_FILE, &content);
        let told = with_file(&world, &document).told();
        let identity = format!("federated Google identity of {AUDIENCE} by the credential file of {FILE}: accepted");
        says(told.found(), &[&identity]);
    }
}

#[test]
fn a_federated_identity_becomes_a_service_account_and_that_one_another() {
    let Some(world) = World::new(PURPOSE) else { return };
    let [federated, own, token] =
        ["ya29.d.the-pools-access-token", "ya29.c.the-accounts-access-token", "ya29.c.the-targets-access-token"]
            .map(|text| world.secret(text));
    let subject = projected_token(&world, 3600);
    sts(&world, &subject, &federated, Wanted::default());
    iam(&world, &[(EMAIL, &federated, &own), (TARGET, &own, &token)], &[]);
    registry(&world, REGISTRY, &[(&own, Verdict::Accepted), (&token, Verdict::Accepted)], Verdict::Denied);
    world.file(TOKEN_FILE, &subject);
    let document = with(from_file(), "service_account_impersonation_url", impersonation_url(EMAIL));
    let told = with_file(&world, &document).told();
    says(told.found(), &[&format!("Google identity {EMAIL}, impersonated by the federated identity of {AUDIENCE}")]);
    let document = json!({
        "type": "impersonated_service_account", "source_credentials": document,
        "service_account_impersonation_url": impersonation_url(TARGET),
    });
    let told = with_file(&world, &document).told();
    says(told.found(), &[&format!("Google identity {TARGET}, impersonated by {EMAIL}, impersonated by the federated")]);
}

#[test]
fn a_service_account_is_impersonated_through_others() {
    let Some(world) = World::new(PURPOSE) else { return };
    let [own, token] =
        ["ya29.c.the-accounts-access-token", "ya29.c.the-targets-access-token"].map(|text| world.secret(text));
    token_service(&world, &own, 0);
    let via = ["projects/-/serviceAccounts/via@p.iam.gserviceaccount.com"];
    iam(&world, &[(TARGET, &own, &token)], &["projects/-/serviceAccounts/via@p.iam.gserviceaccount.com"]);
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    for delegate in ["via@p.iam.gserviceaccount.com", via[0]] {
        let document = json!({
            "type": "impersonated_service_account", "source_credentials": service_account(&world),
            "service_account_impersonation_url": impersonation_url(TARGET), "delegates": [delegate],
        });
        says(with_file(&world, &document).told().found(), &[&format!("Google identity {TARGET}, impersonated by")]);
    }
}

#[test]
fn a_token_is_fetched_from_somebody_and_the_exchange_may_need_more() {
    let Some(world) = World::new(PURPOSE) else { return };
    let [token, header, client_secret] =
        ["ya29.d.the-pools-access-token", "the-header-of-a-runner", "the-clients-secret"]
            .map(|text| world.secret(text));
    let subject = projected_token(&world, 3600);
    let workforce = "//iam.googleapis.com/locations/global/workforcePools/w/providers/x";
    let wanted = Wanted { audience: workforce, authorization: None, options: Some(r#"{"userProject":"77"}"#) };
    sts(&world, &subject, &token, wanted);
    let answer = json!({"access_token": subject}).to_string();
    world.plain("169.254.169.254:80", move |request| {
        assert_eq!(request.line(), "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://x");
        assert_eq!(request.header("Metadata"), Some("True"));
        assert_eq!(request.header("X-Runner"), Some("the-header-of-a-runner"));
        Answer::json(answer.clone())
    });
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    let source = json!({
        "url": "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://x",
        "headers": {"Metadata": "True", "X-Runner": header},
        "format": {"type": "json", "subject_token_field_name": "access_token"},
    });
    let document = with(external_account(source), "audience", workforce);
    let document = with(document, "workforce_pool_user_project", "77");
    with_file(&world, &document).told().found();
    // A client is charged itself.
    let Some(world) = World::new(PURPOSE) else { return };
    let [token, client_secret] = [token, client_secret].map(|text| world.secret(&text));
    let subject = projected_token(&world, 3600);
    // client-1:the-clients-secret
    let authorization = Some("Basic Y2xpZW50LTE6dGhlLWNsaWVudHMtc2VjcmV0");
    sts(&world, &subject, &token, Wanted { authorization, ..Wanted::default() });
    registry(&world, REGISTRY, &[(&token, Verdict::Accepted)], Verdict::Denied);
    world.file(TOKEN_FILE, &subject);
    let document = with(with(from_file(), "client_id", "client-1"), "client_secret", client_secret);
    with_file(&world, &document).told().found();
}

#[test]
fn a_token_file_that_has_none_is_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    registry(&world, REGISTRY, &[], Verdict::Denied);
    world.secure(&["sts.googleapis.com"], |request| -> Answer { panic!("asked {}", request.line()) });
    let as_field = json!({"file": TOKEN_FILE, "format": {"type": "json", "subject_token_field_name": "id_token"}});
    let secret = world.secret("a-token-under-another-name");
    let other_field = json!({"other": secret}).to_string();
    for (content, document, expected) in [
        (None, from_file(), "the token file /var/run/token: absent"),
        (Some(""), from_file(), "the token file /var/run/token holds no token: it is empty"),
        (Some("\n"), from_file(), "the token file /var/run/token holds no token: it is empty"),
        (Some("x"), external_account(as_field.clone()), "the token file /var/run/token holds no token: it is not JSON"),
        (
            Some(&other_field),
            external_account(as_field),
            "the token file /var/run/token holds no token: it has no text \"id_token\"",
        ),
    ] {
        if let Some(content) = content {
            world.file(TOKEN_FILE, content);
        }
        says(&with_file(&world, &document).told().failed(), &[&named(expected)]);
    }
    world.file(TOKEN_FILE, "a token that only root may read");
    fs::set_permissions(world.path(TOKEN_FILE), fs::Permissions::from_mode(0o600)).unwrap();
    let told = with_file(&world, &from_file()).uid(1000).told();
    measured("the token file cannot be read", &told);
    let locked = "the token file /var/run/token: cannot be read: permission denied: it is user 0's and group 0's with mode \
                  0600, and the step runs as another user; set fsGroup or runAsUser in the pod's securityContext";
    says(&told.failed(), &[&named(locked)]);
}

#[test]
fn an_exchange_that_is_refused_is_told_with_what_to_do() {
    for (what, expires_in, reply, expected) in [
        (
            "the projected token has expired",
            -60,
            oauth_error(400, "invalid_grant", "ID Token issued at 1 is stale to sign-in.").into(),
            "stale to sign-in.; the token that was shown expired 6",
        ),
        (
            "the projected token is for somebody else",
            3600,
            oauth_error(400, "invalid_grant", "The audience in ID Token [x] does not match the expected audience y.")
                .into(),
            "the audience of the projected token must be one that the provider allows",
        ),
        (
            "the clock is off",
            3600,
            oauth_error(400, "invalid_grant", "ID Token issued at 1 is not yet valid.")
                .header("Date", date(i64::try_from(now()).unwrap() - 3600))
                .into(),
            "s ahead of the service's: set it right",
        ),
        (
            "there is no such pool",
            3600,
            oauth_error(
                400,
                "invalid_target",
                "The target service indicated by the \"audience\" parameters is invalid.",
            )
            .into(),
            "the pool or the provider in the file's \"audience\" is not there, or is disabled",
        ),
        (
            "the Security Token Service fails",
            3600,
            Answer::new(500).into(),
            "sts.googleapis.com:443 fails (status 500)",
        ),
        (
            "the Security Token Service hangs",
            3600,
            Reply::Stall(Vec::new()),
            "no answer from sts.googleapis.com:443 within 5s; egress to it may be blocked",
        ),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        let subject = projected_token(&world, expires_in);
        sts_saying(&world, &subject, Wanted::default(), reply);
        registry(&world, REGISTRY, &[], Verdict::Denied);
        world.file(TOKEN_FILE, &subject);
        let told = with_file(&world, &from_file()).told();
        measured(what, &told);
        says(&told.failed(), &["Google credential file", expected]);
        // The exchange was asked once, and whoever failed may do better at the step's turn.
        assert_eq!(lines(&world, "sts.googleapis.com"), ["POST /v1/token"], "{what}");
    }
}

#[test]
fn an_impersonation_that_is_refused_names_the_role() {
    let denied = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
    for (what, reply, expected) in [
        (
            "IAM does not let the identity be the account",
            api_error(403, "PERMISSION_DENIED", denied).into(),
            format!("PERMISSION_DENIED: {denied}; grant it roles/iam.workloadIdentityUser on {EMAIL}"),
        ),
        (
            "IAM hangs",
            Reply::Stall(Vec::new()),
            "no answer from iamcredentials.googleapis.com:443 within 5s".to_owned(),
        ),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        let federated = world.secret("ya29.d.the-pools-access-token");
        let subject = projected_token(&world, 3600);
        sts(&world, &subject, &federated, Wanted::default());
        iam_saying(&world, reply);
        registry(&world, REGISTRY, &[], Verdict::Denied);
        world.file(TOKEN_FILE, &subject);
        let document = with(from_file(), "service_account_impersonation_url", impersonation_url(EMAIL));
        let told = with_file(&world, &document).told();
        measured(what, &told);
        says(&told.failed(), &["Google credential file", &expected]);
    }
}

#[test]
fn an_identity_of_a_file_that_the_registry_refuses_is_followed_by_the_machines() {
    let Some(world) = World::new(PURPOSE) else { return };
    let [token, nodes] =
        ["ya29.c.the-accounts-access-token", "ya29.c.the-nodes-access-token"].map(|text| world.secret(text));
    token_service(&world, &token, 0);
    metadata(&world, "169.254.169.254:80", &nodes, vec![]);
    registry(&world, REGISTRY, &[(&token, Verdict::Denied), (&nodes, Verdict::Accepted)], Verdict::Denied);
    let told = with_file(&world, &service_account(&world)).told();
    says(told.found(), &[&format!("by the service account key of {FILE}: refused: "), "169.254.169.254: accepted"]);
}

#[test]
fn a_file_that_came_with_an_image_does_not_get_the_pods_token_out() {
    let Some(world) = World::new(PURPOSE) else { return };
    let subject = projected_token(&world, 3600);
    world.file("/var/run/secrets/kubernetes.io/serviceaccount/token", &subject);
    let evil = ["evil.example", "sts.googleapis.com.evil.example", "evilsts.googleapis.com", "storage.googleapis.com"];
    world.secure(&evil, |request| -> Answer { panic!("asked {}", request.line()) });
    world.plain("127.0.0.2:80", |request| -> Answer { panic!("asked {}", request.line()) });
    world.named("127.0.0.2", &["plain.example"]);
    let federated = world.secret("ya29.d.the-pools-access-token");
    sts(&world, &subject, &federated, Wanted::default());
    registry(&world, REGISTRY, &[], Verdict::Accepted);
    let pods = json!({"file": "/var/run/secrets/kubernetes.io/serviceaccount/token"});
    let elsewhere = |host: &str| with(external_account(pods.clone()), "token_url", format!("https://{host}/v1/token"));
    let mut documents: Vec<Value> = evil.iter().map(|host| elsewhere(host)).collect();
    documents.push(elsewhere("sts.googleapis.com@evil.example"));
    documents.push(elsewhere("evil.example/#sts.googleapis.com"));
    documents.push(with(external_account(pods.clone()), "token_url", "http://plain.example/v1/token"));
    let evil_account = impersonation_url(EMAIL).replace("iamcredentials.googleapis.com", "evil.example");
    documents.push(with(external_account(pods), "service_account_impersonation_url", evil_account));
    documents.push(external_account(json!({"url": "http://plain.example/token"})));
    documents.push(with(service_account(&world), "token_uri", "http://plain.example/token"));
    for document in documents {
        let told = with_file(&world, &document).told();
        says(told.found(), &[&named("not used: "), "none was needed"]);
    }
    assert!(lines(&world, "sts.googleapis.com").is_empty());
}
