//! Amazon's variables, with the tokens that kubelet mounts for IRSA and for EKS Pod Identity.

use serde_json::json;

use crate::pod::{EVIL, PROXY, Pod, nobody, unauthorized, whole};
use crate::server::Answer;
use crate::world::{Run, World};

const REGISTRY: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const STS: &str = "sts.eu-central-1.amazonaws.com";
const TOKEN_FILE: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";

/// The service account's token, mounted.
fn token(world: &World) -> String {
    let token = world.secret("eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsic3RzLmFtYXpvbmF3cy5jb20iXX0.c2lnbmF0dXJl");
    world.file(TOKEN_FILE, &token);
    token
}

fn with_irsa(pod: &Pod) -> Run<'_> {
    pod.resolve_at(REGISTRY).envs(&[
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ci"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", TOKEN_FILE),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ])
}

fn registry(pod: &Pod) {
    pod.world.registry(REGISTRY, |_| Some(unauthorized(r#"Basic realm="private""#)));
}

#[test]
fn the_pods_token_for_amazon_is_sent_to_nobody_that_the_image_names() {
    let Some(pod) = Pod::new() else { return };
    let token = token(&pod.world);
    registry(&pod);
    pod.evil_serves(nobody);
    pod.world.secure(&["x.execute-api.eu-central-1.amazonaws.com", "sts.s3.amazonaws.com"], nobody);
    let refused = |run: Run<'_>| {
        let said = run.told().failed();
        assert!(said.contains("the pod's token is not shown to "), "{said}");
    };
    for (variable, value) in [
        ("AWS_ENDPOINT_URL_STS", "https://evil.example"),
        ("AWS_ENDPOINT_URL", "https://evil.example"),
        ("AWS_ENDPOINT_URL_STS", "https://x.execute-api.eu-central-1.amazonaws.com"),
        ("AWS_DEFAULT_REGION", "s3"),
    ] {
        refused(with_irsa(&pod).env(variable, value));
    }
    let profile = "[default]\nrole_arn = arn:aws:iam::123456789012:role/ci\nendpoint_url = https://evil.example\n";
    pod.world.file("/evil/config", &format!("{profile}web_identity_token_file = {TOKEN_FILE}\n"));
    let run = pod.resolve_at(REGISTRY).env("AWS_CONFIG_FILE", "/evil/config");
    refused(run.env("AWS_EC2_METADATA_DISABLED", "true"));
    let said = |run: Run<'_>| {
        let said = run.env("AWS_EC2_METADATA_DISABLED", "true").told().failed();
        assert!(said.contains("_URI names somebody who "), "{said}");
    };
    for (variable, value) in [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://evil.example/"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@evil.example/"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".evil.example/"),
    ] {
        said(pod.resolve_at(REGISTRY).env(variable, value).env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", TOKEN_FILE));
        said(pod.resolve_at(REGISTRY).env(variable, value).env("AWS_CONTAINER_AUTHORIZATION_TOKEN", &token));
    }
}

#[test]
fn an_api_that_the_image_names_is_shown_a_signature_and_no_key() {
    let Some(pod) = Pod::new() else { return };
    registry(&pod);
    pod.evil_serves(|_| {
        let given = json!({"authorizationData": [{"authorizationToken": "QVdTOm9mLXRoZS1pbWFnZQ=="}]});
        Answer::new(200).header("Content-Type", "application/x-amz-json-1.1").body(given.to_string())
    });
    let secret = pod.world.secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let run = pod.resolve_at(REGISTRY).envs(&[
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", &secret),
        ("AWS_ENDPOINT_URL_ECR", "https://evil.example"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]);
    run.told().failed();
    assert_eq!(pod.saw_no_secret("his.example"), ["POST /"]);
    let [request] = pod.world.asked_of("his.example").try_into().unwrap();
    let signed = request.header("Authorization").unwrap();
    assert!(signed.starts_with("AWS4-HMAC-SHA256 ") && signed.contains(";host;"), "for this host alone: {signed}");
    assert_eq!(request.header("Host"), Some(EVIL));
}

#[test]
fn a_metadata_server_that_the_image_names_is_shown_nothing() {
    let Some(pod) = Pod::new() else { return };
    token(&pod.world);
    registry(&pod);
    pod.evil_serves(|_| Answer::new(404));
    let run = pod.resolve_at(REGISTRY).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "https://evil.example/");
    run.told().failed();
    assert_eq!(pod.saw_no_secret("his.example"), ["PUT /latest/api/token"]);
    // An agent without a token may be anywhere.
    let run = pod.resolve_at(REGISTRY).env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://evil.example/keys");
    run.env("AWS_EC2_METADATA_DISABLED", "true").told().failed();
    assert_eq!(pod.saw_no_secret("his.example")[1..], ["GET /keys"]);
}

#[test]
fn a_profile_of_the_images_runs_nothing() {
    let Some(pod) = Pod::new() else { return };
    registry(&pod);
    pod.program("/evil/bin/run");
    pod.world.file("/evil/config", "[default]\ncredential_process = /evil/bin/run\n");
    for (variable, value) in [("AWS_CONFIG_FILE", "/evil/config"), ("AWS_SHARED_CREDENTIALS_FILE", "/evil/config")] {
        let run = pod.resolve_at(REGISTRY).env(variable, value).env("AWS_EC2_METADATA_DISABLED", "true");
        let said = run.told().failed();
        assert!(said.contains("names a program to run, in credential_process: an entrypoint has none"), "{said}");
    }
    assert_eq!(pod.ran(), None);
}

#[test]
fn a_proxy_with_an_authority_is_shown_the_pods_token_for_amazon() {
    let Some(pod) = Pod::new() else { return };
    let token = token(&pod.world);
    shows_the_impostor(&pod, with_irsa(&pod), &token);
}

#[test]
fn a_proxy_with_an_authority_is_shown_a_file_that_the_image_calls_a_token() {
    let Some(pod) = Pod::new() else { return };
    let token = std::fs::read_to_string(pod.world.path("/sa/token")).unwrap();
    shows_the_impostor(&pod, with_irsa(&pod).env("AWS_WEB_IDENTITY_TOKEN_FILE", "/sa/token"), &token);
}

/// The impostor sees this token, in the place of STS, and nothing else.
fn shows_the_impostor(pod: &Pod, run: Run<'_>, token: &str) {
    pod.evils_proxy(true);
    pod.evil_answers_for(&[REGISTRY, STS], |request| match request.method.as_str() {
        "POST" => Answer::new(403),
        _ => unauthorized(r#"Basic realm="private""#),
    });
    run.env("HTTPS_PROXY", PROXY).env("SSL_CERT_FILE", pod.evils_authorities()).told().failed();
    let seen = pod.world.asked_of("impostor");
    let form = seen.iter().find(|request| request.method == "POST").expect("STS is asked").form();
    assert!(form.contains(&("WebIdentityToken".to_owned(), token.to_owned())), "as the page says");
    // And nothing but that: no pull secret, no other token.
    let rest: Vec<String> = seen.iter().map(|request| whole(request).replace(token, "")).collect();
    pod.world.assert_that_no_secret_is_told_in(&rest);
}
