//! Azure's variables, with the token that AKS mounts for workload identity.

use crate::pod::{Pod, nobody, unauthorized};
use crate::server::Answer;

const REGISTRY: &str = "team.azurecr.io";
const TOKEN_FILE: &str = "/var/run/secrets/azure/tokens/azure-identity-token";
const IDENTITY: [(&str, &str); 3] = [
    ("AZURE_TENANT_ID", "5f1c2a3b-0000-4000-8000-00000000000a"),
    ("AZURE_CLIENT_ID", "5f1c2a3b-0000-4000-8000-00000000000b"),
    ("AZURE_FEDERATED_TOKEN_FILE", TOKEN_FILE),
];

fn pod() -> Option<Pod> {
    let pod = Pod::new()?;
    let token = pod.world.secret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6Y2k6YiJ9.c2lnbmVk");
    pod.world.file(TOKEN_FILE, &token);
    pod.world.registry(REGISTRY, |_| {
        let challenge = format!(r#"Bearer realm="https://{REGISTRY}/oauth2/token",service="{REGISTRY}""#);
        Some(unauthorized(&challenge))
    });
    Some(pod)
}

#[test]
fn the_pods_token_for_azure_is_sent_to_nobody_that_the_image_names() {
    let Some(pod) = pod() else { return };
    pod.evil_serves(nobody);
    pod.world.secure(&["login.microsoftonline.com"], nobody);
    for value in ["https://evil.example/", "https://login.microsoftonline.com@evil.example/", "http://evil.example"] {
        let said = pod.resolve_at(REGISTRY).envs(&IDENTITY).env("AZURE_AUTHORITY_HOST", value).told().failed();
        assert!(said.contains("AZURE_AUTHORITY_HOST"), "{said}");
    }
}

#[test]
fn an_endpoint_that_the_image_names_is_shown_no_more_than_its_own_header() {
    let Some(pod) = pod() else { return };
    pod.evil_serves(|_| Answer::new(400));
    let run = pod.resolve_at(REGISTRY).env("IDENTITY_ENDPOINT", "https://evil.example/msi/token");
    run.env("IDENTITY_HEADER", "of-the-image").told().failed();
    let asked = pod.saw_no_secret("his.example");
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with("GET /msi/token?")), "{asked:?}");
    // In plain text he is not asked at all.
    pod.evil_listens(80, nobody);
    let run = pod.resolve_at(REGISTRY).env("IDENTITY_ENDPOINT", "http://evil.example/msi/token");
    run.env("IDENTITY_HEADER", "of-the-image").told().failed();
}
