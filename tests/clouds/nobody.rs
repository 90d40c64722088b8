//! Registries that no cloud owns, and hosts that are built to look as if one did: no cloud is asked, and nobody is shown a
//! token. What is asked before a cloud, and what does without one.

#[path = "nobody/flags.rs"]
mod flags;
#[path = "nobody/lookalikes.rs"]
mod lookalikes;
#[path = "nobody/order.rs"]
mod order;
#[path = "nobody/others.rs"]
mod others;
#[path = "nobody/step.rs"]
mod step;

use std::fs;

use serde_json::json;

use crate::server::{Answer, Request};
use crate::world::{METADATA, Run, World};

const PURPOSE: &str = "the tests of the clouds' identities";
/// An account's registry.
const ECR: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
/// Where clouds have metadata servers and agents, in plain text.
const AGENTS: [&str; 3] = ["169.254.169.254:80", "169.254.170.2:80", "169.254.170.23:80"];
/// What an identity may be had from over TLS.
const SERVICES: [&str; 12] = [
    "oauth2.googleapis.com",
    "sts.googleapis.com",
    "iamcredentials.googleapis.com",
    "sts.amazonaws.com",
    "sts.eu-central-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
    "api.ecr.eu-central-1.amazonaws.com",
    "api.ecr.us-east-1.amazonaws.com",
    "api.ecr-public.us-east-1.amazonaws.com",
    "login.microsoftonline.com",
    "management.azure.com",
    "metadata.google.internal",
];

/// Every cloud's services, none of which is to be asked.
fn clouds_that_nobody_asks(world: &World) {
    world.named(METADATA, &["metadata"]);
    for agent in AGENTS {
        world.plain(agent, move |request| -> Answer { panic!("{agent} was asked {}", request.line()) });
    }
    for service in SERVICES {
        world.secure(&[service], move |request| -> Answer { panic!("{service} was asked {}", request.line()) });
    }
}

/// The files and variables of every identity that a pod may have, in every cloud.
fn with_every_identity<'w>(world: &World, run: Run<'w>) -> Run<'w> {
    let google = json!({
        "type": "authorized_user",
        "client_id": "id.apps.googleusercontent.com",
        "client_secret": world.secret("GOCSPX-g00gle/client+secret"),
        "refresh_token": world.secret("1//0g-g00gle_refresh/token+of-the-tests"),
    });
    let google = world.file("/identity/google.json", &google.to_string());
    world.file(
        "/home/.config/gcloud/application_default_credentials.json",
        &fs::read_to_string(world.path(&google)).unwrap(),
    );
    let federated = world.secret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6Y2k6YiJ9.c2lnbmVk");
    let federated = world.file("/identity/token", &federated);
    let agent = world.file("/identity/agent", &world.secret("the-pod-identity-agents/token+1"));
    run.envs(&[
        ("HOME", "/home"),
        ("GOOGLE_APPLICATION_CREDENTIALS", &google),
        ("GCE_METADATA_HOST", METADATA),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", &world.secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")),
        ("AWS_SESSION_TOKEN", &world.secret("IQoJb3JpZ2luX2VjEXAMPLE/session+token==")),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/puller"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &federated),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &agent),
        ("AZURE_TENANT_ID", "11111111-2222-3333-4444-555555555555"),
        ("AZURE_CLIENT_ID", "66666666-7777-8888-9999-000000000000"),
        ("AZURE_CLIENT_SECRET", &world.secret("8Q~the/azure+client-secret")),
        ("AZURE_FEDERATED_TOKEN_FILE", &federated),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
        ("IDENTITY_ENDPOINT", "http://169.254.169.254/msi/token"),
        ("IDENTITY_HEADER", &world.secret("the-identity/header+of-the-tests")),
    ])
}

/// The docker config of a pod: a user with this password at a registry.
fn docker_config(world: &World, registry: &str, password: &str) -> String {
    let config = json!({"auths": {registry: {"username": "ann", "password": world.secret(password)}}});
    world.file("/docker/config.json", &config.to_string());
    "/docker".to_owned()
}

/// A refusal in the form of the distribution specification, with this challenge.
fn unauthorized(challenge: &str) -> Answer {
    let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
    Answer::json(body.to_string()).with_status(401).header("WWW-Authenticate", challenge)
}

/// Whether a request shows this user and password.
fn shows(request: &Request, username: &str, password: &str) -> bool {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    request.header("Authorization") == Some(&format!("Basic {pair}"))
}
