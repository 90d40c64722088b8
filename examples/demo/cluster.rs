//! What a pod finds in its cluster: a service account's directory, and an API that knows the account's pull secret.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::server::{Answer, Request};

const NAMESPACE: &str = "demo";
const ACCOUNT: &str = "builder";
const SECRET: &str = "registry-credentials";

/// An API that holds one service account and one pull secret.
pub struct Cluster {
    /// The pod's token: its claims name namespace and account, as a real one's do.
    pub token: String,
    /// The pull secret's `.dockerconfigjson`.
    docker_config: String,
}

impl Cluster {
    /// A cluster whose pull secret opens this registry.
    pub fn new(registry: &str, username: &str, password: &str) -> Self {
        let claims = json!({
            "sub": format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}"),
            "kubernetes.io": {"namespace": NAMESPACE, "serviceaccount": {"name": ACCOUNT, "uid": "1"}},
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let token = format!("{}.{}.{}", encode(&json!({"alg": "none"})), encode(&claims), "unsigned");
        let auth = STANDARD.encode(format!("{username}:{password}"));
        Self { token, docker_config: json!({"auths": {registry: {"auth": auth}}}).to_string() }
    }

    /// Writes what kubelet mounts into a pod: token, authority, namespace.
    pub fn mount(&self, dir: &Path, authority: &str) -> io::Result<()> {
        fs::create_dir(dir)?;
        fs::write(dir.join("token"), &self.token)?;
        fs::write(dir.join("ca.crt"), authority)?;
        fs::write(dir.join("namespace"), NAMESPACE)
    }

    /// The answer to a request, and its status. Who has not the pod's token is refused.
    pub fn answer(&self, request: &Request) -> (u16, Answer) {
        if request.header("Authorization") != Some(&format!("Bearer {}", self.token)) {
            return status(401, "Unauthorized");
        }
        let below = format!("/api/v1/namespaces/{NAMESPACE}");
        match request.path().strip_prefix(&below) {
            Some("/serviceaccounts/builder") => found(&json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}, "imagePullSecrets": [{"name": SECRET}],
            })),
            Some("/secrets/registry-credentials") => found(&json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE},
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": STANDARD.encode(&self.docker_config)},
            })),
            Some(_) | None => status(404, "NotFound"),
        }
    }
}

fn found(object: &Value) -> (u16, Answer) {
    (200, Answer::json(object.to_string()))
}

fn status(code: u16, reason: &str) -> (u16, Answer) {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code,
    });
    (code, Answer::new(code).header("Content-Type", "application/json").body(body.to_string()))
}
