//! Amazon's identities: works, hung, refused, rejected by the registry.

#[path = "amazon/emulator.rs"]
mod emulator;
#[path = "amazon/fails.rs"]
mod fails;
#[path = "amazon/keys.rs"]
mod keys;
#[path = "amazon/odd.rs"]
mod odd;
#[path = "amazon/sigv4.rs"]
mod sigv4;
#[path = "amazon/time.rs"]
mod time;
#[path = "amazon/works.rs"]
mod works;

use self::emulator::ROLE;
use crate::world::{Run, World};

const PURPOSE: &str = "the tests of the clouds' identities";
/// Where the token of a service account is mounted.
const TOKEN_FILE: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";
/// Where that for EKS's agent is.
const AGENT_TOKEN_FILE: &str = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token";
const AGENT_URL: &str = "http://169.254.170.23/v1/credentials";

/// A service account's token.
fn token(world: &World) -> String {
    world.secret("eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsic3RzLmFtYXpvbmF3cy5jb20iXX0.c2lnbmF0dXJl")
}

/// A run in a pod whose service account has a role, by IRSA.
fn with_irsa<'w>(world: &'w World, registry: &str) -> Run<'w> {
    world.resolve(registry).env("AWS_ROLE_ARN", ROLE).env("AWS_WEB_IDENTITY_TOKEN_FILE", TOKEN_FILE)
}

/// A run in a pod whose service account has a role, by EKS Pod Identity.
fn with_pod_identity<'w>(world: &'w World, registry: &str) -> Run<'w> {
    world
        .resolve(registry)
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", AGENT_URL)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AGENT_TOKEN_FILE)
}

/// No metadata server is asked.
const NO_INSTANCE: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");
