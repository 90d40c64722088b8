//! Identities that do not open a registry: each says why in a sentence, in time, and the next one is asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::emulator::{
    AGENT, API, Api, INSTANCE, PRIVATE, PUBLIC, PUBLIC_API, ROLE, STS, agent, instance, private, public, refusal,
    registry, sts, sts_refusal,
};
use super::keys::Keys;
use super::{AGENT_TOKEN_FILE, NO_INSTANCE, PURPOSE, TOKEN_FILE, token, with_irsa, with_pod_identity};
use crate::server::{Answer, Reply, Request};
use crate::world::{Run, Told, World};

/// Silence until the client has had enough.
fn silent(_: &Request) -> Reply {
    Reply::Stall(Vec::new())
}

/// The failure has this sentence; a line for the table of how long that takes.
#[allow(clippy::print_stderr, reason = "the table is for whoever runs the test with --nocapture")]
fn failed(told: &Told, what: &str, sentence: &str) {
    let story = told.failed();
    let line = story.lines().find(|line| line.contains(sentence));
    let line = line.unwrap_or_else(|| panic!("{sentence:?} in {story}"));
    eprintln!("{what} | {:.1} s | {}", told.took.as_secs_f64(), line.trim());
}

/// A run with somebody's keys in its environment.
fn with_keys<'w>(world: &'w World, registry: &str, keys: &Keys) -> Run<'w> {
    let run = world.resolve(registry).env("AWS_ACCESS_KEY_ID", &keys.id).env("AWS_SECRET_ACCESS_KEY", &keys.secret);
    let run = run.envs(&[NO_INSTANCE]);
    match &keys.session {
        Some(session) => run.env("AWS_SESSION_TOKEN", session),
        None => run,
    }
}

#[test]
fn whoever_is_silent_is_named_with_what_it_usually_means() {
    for (what, sentence) in [
        ("IRSA, STS silent", format!("Amazon IRSA role {ROLE}: no answer from {STS}:443 within 5s")),
        (
            "Pod Identity, agent silent",
            "Amazon EKS Pod Identity from 169.254.170.23: no answer from 169.254.170.23:80 within 3s (on EKS: is the \
             add-on eks-pod-identity-agent running on this node?)"
                .to_owned(),
        ),
        (
            "instance, metadata server silent",
            "Amazon metadata server 169.254.169.254: no answer from 169.254.169.254:80 within 3s (from a pod it can be \
             asked only where the instance's hop limit is 2"
                .to_owned(),
        ),
        ("keys, API silent", format!("of the environment: no answer from {API}:443 within 5s")),
        ("profile, STS silent", format!("Amazon profile ci: no answer from {STS}:443 within 5s")),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        let (keys, token) = (Keys::of_user(&world, "ann"), token(&world));
        world.file(TOKEN_FILE, &token);
        world.file(AGENT_TOKEN_FILE, &token);
        let config = format!("[profile ci]\nrole_arn = {ROLE}\nweb_identity_token_file = {TOKEN_FILE}\n");
        world.file("/aws/config", &config);
        for address in [AGENT, INSTANCE] {
            world.plain(address, silent);
        }
        for name in [STS, API] {
            world.secure(&[name], silent);
        }
        registry(&world, PRIVATE, &[]);
        let run = match what {
            "IRSA, STS silent" => with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]),
            "Pod Identity, agent silent" => with_pod_identity(&world, PRIVATE).envs(&[NO_INSTANCE]),
            "keys, API silent" => with_keys(&world, PRIVATE, &keys),
            "profile, STS silent" => {
                let variables = [("AWS_CONFIG_FILE", "/aws/config"), ("AWS_PROFILE", "ci"), NO_INSTANCE];
                world.resolve(PRIVATE).envs(&variables)
            }
            _ => world.resolve(PRIVATE),
        };
        failed(&run.told(), what, &sentence);
    }
}

#[test]
fn a_metadata_server_may_fall_silent_after_its_first_answer_or_in_the_middle_of_one() {
    for half in ["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnode", "HTTP/1.1 200 OK\r\n"] {
        let Some(world) = World::new(PURPOSE) else { return };
        let answering = instance(&world, "node", &Keys::of_role(&world, "node"));
        world.plain(INSTANCE, move |request| match request.method.as_str() {
            "PUT" => Reply::from(answering(request)),
            _ => Reply::Stall(half.as_bytes().to_vec()),
        });
        registry(&world, PRIVATE, &[]);
        failed(
            &world.resolve(PRIVATE).told(),
            "instance, half an answer",
            "no answer from 169.254.169.254:80 within 3s",
        );
    }
}

#[test]
fn whoever_is_not_there_is_named() {
    let Some(world) = World::new(PURPOSE) else { return };
    world.file(TOKEN_FILE, &token(&world));
    world.file(AGENT_TOKEN_FILE, &token(&world));
    registry(&world, PRIVATE, &[]);
    let nobody = "connection refused";
    world.named("127.0.0.9", &[STS, API]);
    failed(
        &with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]).told(),
        "IRSA, STS not there",
        &format!("STS cannot be asked: no answer from {STS}:443: {nobody}"),
    );
    failed(
        &with_pod_identity(&world, PRIVATE).envs(&[NO_INSTANCE]).told(),
        "Pod Identity, no agent",
        "is the add-on eks-pod-identity-agent running on this node?): no answer from 169.254.170.23:80: connection refused",
    );
    failed(
        &world.resolve(PRIVATE).told(),
        "instance, no metadata server",
        "give the service account a role instead, by IRSA or EKS Pod Identity): no answer from 169.254.169.254:80",
    );
    let keys = Keys::of_user(&world, "ann");
    failed(
        &with_keys(&world, PRIVATE, &keys).told(),
        "keys, no API",
        &format!("the API of ECR cannot be asked: no answer from {API}:443: {nobody}"),
    );
    let elsewhere = "123456789012.dkr.ecr.eu-west-3.amazonaws.com";
    registry(&world, elsewhere, &[]);
    failed(&with_keys(&world, elsewhere, &keys).told(), "keys, no name", "its name cannot be resolved");
}

#[test]
fn sts_refuses_in_its_own_words_and_what_to_do_stands_behind() {
    for (status, code, message, advice) in [
        (
            403,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            format!("(the trust policy of {ROLE} must allow it to this cluster's OIDC provider"),
        ),
        (
            400,
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://oidc.example",
            "(the role's account must have an IAM OIDC provider for this cluster".to_owned(),
        ),
        (
            400,
            "InvalidIdentityToken",
            "Incorrect token audience",
            "and the token the audience sts.amazonaws.com)".to_owned(),
        ),
        (
            400,
            "ExpiredTokenException",
            "Token expired: current date/time must be before the expiration date/time",
            "(the kubelet renews the token that it mounts".to_owned(),
        ),
        (403, "RegionDisabledException", "STS is not activated in this region", String::new()),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        let token = token(&world);
        world.file(TOKEN_FILE, &token);
        world.secure(&[STS], move |_: &Request| sts_refusal(status, code, message));
        registry(&world, PRIVATE, &[]);
        let sentence = format!("Amazon IRSA role {ROLE}: {STS}:443 refuses: {status}: {code}: {message}");
        let told = with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]).told();
        failed(&told, "IRSA, STS refuses", &sentence);
        failed(&told, "IRSA, STS refuses", &advice);
        assert_eq!(world.asked_of(STS).len(), 1, "what will not change is not asked again");
    }
}

#[test]
fn the_apis_refuse_in_their_own_words_and_what_to_do_stands_behind() {
    for (host, api, code, message, advice) in [
        (
            PRIVATE,
            API,
            "AccessDeniedException",
            "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: ecr:GetAuthorizationToken",
            "(the identity needs the permission ecr:GetAuthorizationToken for the resource *)",
        ),
        (
            PUBLIC,
            PUBLIC_API,
            "AccessDeniedException",
            "not authorized to perform: ecr-public:GetAuthorizationToken",
            "(the identity needs the permissions ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken",
        ),
        (
            PRIVATE,
            API,
            "ExpiredTokenException",
            "The security token included in the request is expired",
            "(these credentials",
        ),
        (PRIVATE, API, "UnrecognizedClientException", "The security token is invalid.", "(there is no such access key"),
        (
            PRIVATE,
            API,
            "InvalidSignatureException",
            "The request signature does not match",
            "(the secret access key is not",
        ),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        let keys = Keys::of_user(&world, "ann");
        world.secure(&[api], move |_: &Request| refusal(code, message));
        registry(&world, PRIVATE, &[]);
        public(&world, &[], false);
        let told = with_keys(&world, host, &keys).told();
        failed(&told, "keys, API refuses", &format!("{api}:443 refuses: 400: {code}: {message} {advice}"));
        assert_eq!(world.asked_of(api).len(), 1, "what will not change is not asked again");
    }
}

#[test]
fn a_clock_that_cannot_be_made_up_for_is_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    // An hour ahead, and it never says so: only its words do.
    let api = Api { ahead: 3600, says_date: false, ..Api::private("eu-central-1", &[&keys]) };
    world.secure(&[API], move |request| api.answer(request));
    registry(&world, PRIVATE, &[]);
    failed(&with_keys(&world, PRIVATE, &keys).told(), "keys, clock an hour off", "Signature expired: ");
    // An hour behind, and it believes nobody: the signature is not what is wrong.
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    let date = super::time::Instant::now().later(-3600).http();
    world.secure(&[API], move |_: &Request| {
        refusal("InvalidSignatureException", "Signature not yet current").header("Date", date.clone())
    });
    registry(&world, PRIVATE, &[]);
    let told = with_keys(&world, PRIVATE, &keys).told();
    failed(&told, "keys, clock an hour off", "(this node's clock is 60 minutes ahead of the service's: set it)");
}

#[test]
fn the_next_identity_is_asked_when_one_is_refused_by_anybody() {
    let Some(world) = World::new(PURPOSE) else { return };
    let [user, stranger, node] = ["ann", "pod", "node"].map(|who| Keys::of_role(&world, who));
    let token = token(&world);
    world.file(AGENT_TOKEN_FILE, &token);
    let api = Api::private("eu-central-1", &[&user, &stranger, &node]);
    let denied = user.clone();
    world.secure(&[API], move |request| match api.keys(request) {
        keys if *keys == denied => refusal("AccessDeniedException", "not authorized"),
        _ => api.answer(request),
    });
    world.plain(AGENT, agent("/v1/credentials", Some(&token), &stranger));
    world.plain(INSTANCE, instance(&world, "node", &node));
    // The agent's keys have a password, and the registry does not take it.
    registry(&world, PRIVATE, &[&node]);
    let told = with_pod_identity(&world, PRIVATE)
        .env("AWS_ACCESS_KEY_ID", &user.id)
        .env("AWS_SECRET_ACCESS_KEY", &user.secret)
        .env("AWS_SESSION_TOKEN", user.session.as_ref().unwrap())
        .told();
    let story = told.found();
    let places = [
        "of the environment: api.ecr.eu-central-1.amazonaws.com:443 refuses: 400: AccessDeniedException",
        "Amazon EKS Pod Identity from 169.254.170.23: refused: ",
        "Your authorization token is invalid.",
        "Amazon instance role node from the metadata server 169.254.169.254: accepted by ",
    ]
    .map(|sentence| story.find(sentence).unwrap_or_else(|| panic!("{sentence} in {story}")));
    assert!(places.is_sorted(), "{story}");
}

#[test]
fn a_password_that_the_registry_rejects_is_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (keys, token) = (Keys::of_role(&world, "irsa"), token(&world));
    world.file(TOKEN_FILE, &token);
    world.secure(&[STS], sts(&token, &keys));
    let api = Api::private("eu-central-1", &[&keys]);
    world.secure(&[API], move |request| api.answer(request));
    registry(&world, PRIVATE, &[]);
    let sentence = format!("Amazon IRSA role {ROLE}: refused: ");
    failed(&with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]).told(), "IRSA, registry rejects", &sentence);
}

#[test]
fn a_public_image_is_found_though_the_identity_is_refused() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    let api = Api::public(&[&keys]);
    world.secure(&[PUBLIC_API], move |request| api.answer(request));
    // The password is not taken, as of somebody whose credentials have just ended.
    public(&world, &[], true);
    let told = with_keys(&world, PUBLIC, &keys).told();
    let story = told.found();
    assert!(
        story.contains("of the environment: refused: ") && story.contains("without a credential: accepted"),
        "{story}"
    );
}

#[test]
fn whoever_fails_for_a_moment_is_asked_again_and_whoever_fails_on_is_told() {
    for (failures, recovers) in [(1, true), (100, false)] {
        let Some(world) = World::new(PURPOSE) else { return };
        let (keys, token) = (Keys::of_role(&world, "irsa"), token(&world));
        world.file(TOKEN_FILE, &token);
        world.file(AGENT_TOKEN_FILE, &token);
        let failing = |status: u16| {
            let asked = AtomicUsize::new(0);
            move || (asked.fetch_add(1, Ordering::SeqCst) < failures).then(|| Answer::new(status).body("<html>busy"))
        };
        let (busy, answering) = (failing(503), sts(&token, &keys));
        world.secure(&[STS], move |request| busy().unwrap_or_else(|| answering(request)));
        let (busy, answering) = (failing(500), agent("/v1/credentials", Some(&token), &keys));
        world.plain(AGENT, move |request| busy().unwrap_or_else(|| answering(request)));
        let (busy, answering) = (failing(500), instance(&world, "node", &keys));
        world.plain(INSTANCE, move |request| busy().unwrap_or_else(|| answering(request)));
        private(&world, &[&keys]);
        let runs = [
            ("IRSA, STS fails", with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]), format!("{STS}:443 fails: 503")),
            (
                "Pod Identity, agent fails",
                with_pod_identity(&world, PRIVATE).envs(&[NO_INSTANCE]),
                "169.254.170.23:80 fails: 500".to_owned(),
            ),
            ("instance, metadata server fails", world.resolve(PRIVATE), "169.254.169.254:80 fails: 500".to_owned()),
        ];
        for (what, run, sentence) in runs {
            let told = run.told();
            if recovers {
                told.found();
            } else {
                failed(&told, what, &sentence);
            }
        }
    }
}

#[test]
fn an_api_that_is_busy_is_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    world.secure(&[API], |_: &Request| refusal("ThrottlingException", "Rate exceeded"));
    registry(&world, PRIVATE, &[]);
    let told = with_keys(&world, PRIVATE, &keys).told();
    failed(&told, "keys, API throttles", &format!("{API}:443 refuses: 400: ThrottlingException: Rate exceeded"));
    assert_eq!(world.asked_of(API).len(), 3);
}

#[test]
fn an_agent_that_refuses_is_told() {
    for (status, body, sentence) in [
        (
            403,
            "AccessDeniedException: Unauthorized Exception! EKS does not have permissions to assume the role\n",
            "169.254.170.23:80 refuses: 403: AccessDeniedException: Unauthorized Exception! EKS does not have permissions \
             to assume the role (the token must have the audience pods.eks.amazonaws.com",
        ),
        (
            404,
            r#"{"code":"ResourceNotFoundException","message":"no association"}"#,
            "169.254.170.23:80 refuses: 404: ResourceNotFoundException: no association",
        ),
        (400, "", "169.254.170.23:80 refuses: 400"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        world.file(AGENT_TOKEN_FILE, &token(&world));
        world.plain(AGENT, move |_: &Request| Answer::new(status).body(body));
        registry(&world, PRIVATE, &[]);
        let told = with_pod_identity(&world, PRIVATE).envs(&[NO_INSTANCE]).told();
        failed(&told, "Pod Identity, agent refuses", sentence);
    }
}

#[test]
fn a_metadata_server_that_refuses_or_is_another_clouds_is_told() {
    for (status, sentence) in [
        (403, "169.254.169.254:80 refuses: 403 (is this a node of Amazon's? pods may be forbidden to ask)"),
        (404, "169.254.169.254:80 refuses: 404 (this instance has no role, or is none of Amazon's)"),
        (405, "169.254.169.254:80 refuses: 405 (is this a node of Amazon's?"),
        (302, "169.254.169.254:80 refuses: 302 (is this a node of Amazon's?"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        world.plain(INSTANCE, move |request: &Request| {
            assert_eq!(request.line(), "PUT /latest/api/token");
            Answer::new(status).header("Location", "http://169.254.170.23/")
        });
        registry(&world, PRIVATE, &[]);
        failed(&world.resolve(PRIVATE).told(), "instance, refused", sentence);
    }
    // An instance without a role.
    let Some(world) = World::new(PURPOSE) else { return };
    let answering = instance(&world, "node", &Keys::of_role(&world, "node"));
    world.plain(INSTANCE, move |request: &Request| match request.method.as_str() {
        "PUT" => answering(request),
        _ => Answer::new(404),
    });
    registry(&world, PRIVATE, &[]);
    failed(&world.resolve(PRIVATE).told(), "instance, no role", "refuses: 404 (this instance has no role");
}
