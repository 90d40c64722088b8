//! The in-cluster Kubernetes API: service account and pull secrets.
//!
//! In-cluster configuration only, over this program's own HTTP stack: the API server's certificate is checked against
//! the service account's `ca.crt` alone, no proxy is asked, and every call has a limit on its time and its answer. That
//! the pod may not read secrets is the normal case, and a note.

mod api;
mod identity;
mod in_cluster;

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret as ApiSecret, ServiceAccount as ApiServiceAccount};

use self::api::{Api, CallError};
pub use self::identity::{BadName, Name, ServiceAccount};
use self::in_cluster::InCluster;
pub use self::in_cluster::InClusterError;
use crate::credential::{Note, PullSecret, PullSecretDocument, UnusablePullSecret};
use crate::host::Env;
use crate::http::Network;
use crate::secret::Secret;
use crate::sys::cause::chain;

/// How long one call may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// What the cluster has for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSecrets {
    /// The pull secrets that could be read, in the order in which the service account names them.
    pub secrets: Vec<PullSecret>,
    /// What became of everything else. Never holds a secret.
    pub notes: Vec<Note>,
    /// Whether every named pull secret was read. Also when none is named: the service account has none, or there is no
    /// cluster. Not when the service account itself could not be read, since nobody knows then what it names.
    pub complete: bool,
}

/// Reads the pull secrets of a service account: those of its `imagePullSecrets`, through the API server that kubelet
/// told the pod of, with the pod's own token. `dir` holds `token`, `ca.crt` and `namespace`. Without names, the token's
/// own claims say which service account; then the `namespace` file, and `default`. Each call takes `call_deadline` at
/// most.
///
/// Nothing here is an error: a pod without any of this is an ordinary pod.
pub async fn pull_secrets(
    network: &Network,
    env: &Env,
    dir: &Path,
    namespace: Option<&str>,
    service_account: Option<&str>,
    call_deadline: Duration,
) -> PullSecrets {
    let cluster = match InCluster::find(env, dir, namespace, service_account) {
        Ok(cluster) => cluster,
        Err(error) => {
            let note = Note::failed(asked(namespace, service_account), &error);
            return PullSecrets { secrets: Vec::new(), notes: vec![note], complete: error.is_absence() };
        }
    };
    let mut found = PullSecrets { secrets: Vec::new(), notes: Vec::new(), complete: true };
    if let Err(note) = read_all(network, &cluster, call_deadline, &mut found).await {
        found.miss(note);
    }
    found
}

impl PullSecrets {
    /// Notes that a pull secret, or the list of them, could not be read.
    fn miss(&mut self, note: Note) {
        self.notes.push(note);
        self.complete = false;
    }
}

/// The source of a note about a service account that is known only as far as it was asked for.
fn asked(namespace: Option<&str>, service_account: Option<&str>) -> String {
    match (namespace, service_account) {
        (Some(namespace), Some(name)) => format!("service account {namespace}/{name}"),
        (None, Some(name)) => format!("service account {name}"),
        (Some(_), None) | (None, None) => "service account".to_owned(),
    }
}

/// Reads the service account and then, in its order, the secrets that it names. The error is a note why there is no
/// list of them.
async fn read_all(
    network: &Network,
    cluster: &InCluster,
    call_deadline: Duration,
    found: &mut PullSecrets,
) -> Result<(), Note> {
    let source = cluster.account.to_string();
    let api = Api::new(network, cluster, call_deadline).map_err(|error| Note::failed(source.as_str(), &error))?;
    let account = api
        .service_account(&cluster.account.name)
        .await
        .map_err(|error| Note::new(source.as_str(), refusal(&error, cluster, Object::ServiceAccount)))?;
    let names = named(&account);
    if names.is_empty() {
        found.notes.push(Note::new(source.as_str(), "names no imagePullSecrets"));
    }
    let mut names = names.into_iter();
    for text in names.by_ref() {
        let secret_source = format!("pull secret {}/{text}", cluster.account.namespace.as_str());
        let name = match Name::parse(&text, "secret") {
            Ok(name) => name,
            Err(error) => {
                found.miss(Note::failed(source.as_str(), &error));
                continue;
            }
        };
        match api.secret(&name).await {
            Ok(secret) => found.secrets.push(pull_secret(cluster.account.namespace.as_str(), &text, secret)),
            Err(error) => {
                found.miss(Note::new(secret_source, refusal(&error, cluster, Object::Secret(&text))));
                if error.is_lasting() {
                    break;
                }
            }
        }
    }
    let rest: Vec<_> = names.collect();
    if !rest.is_empty() {
        found.miss(Note::new(source, format!("its pull secrets {} were not asked for any more", rest.join(", "))));
    }
    Ok(())
}

/// The pull secrets that a service account names, each once. Kubernetes allows an empty name, which names nothing.
fn named(account: &ApiServiceAccount) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for reference in account.image_pull_secrets.iter().flatten() {
        if !reference.name.is_empty() && !names.contains(&reference.name) {
            names.push(reference.name.clone());
        }
    }
    names
}

/// What a call was for.
#[derive(Clone, Copy)]
enum Object<'a> {
    ServiceAccount,
    Secret(&'a str),
}

/// What a failed call means, and what to do about it.
fn refusal(error: &CallError, cluster: &InCluster, object: Object<'_>) -> String {
    let actor = cluster.actor.as_ref().map_or_else(|| "this pod's service account".to_owned(), ToString::to_string);
    let (thing, resource) = match object {
        Object::ServiceAccount => (cluster.account.to_string(), "serviceaccounts"),
        Object::Secret(name) => (format!("secret {}/{name}", cluster.account.namespace.as_str()), "secrets"),
    };
    match (error, object) {
        (CallError::Unauthorized, _) => {
            format!("unauthorized: the API server does not accept the token {}", cluster.token_file.display())
        }
        (CallError::Forbidden, _) => {
            format!("forbidden: {actor} may not get {thing}; a Role with get on {resource} is needed")
        }
        (CallError::NotFound, Object::ServiceAccount) => {
            "not found: the cluster has no service account of this name".to_owned()
        }
        (CallError::NotFound, Object::Secret(_)) => {
            format!("not found: {} names it in imagePullSecrets, and the cluster has none", cluster.account)
        }
        (
            CallError::Status { .. }
            | CallError::TimedOut { .. }
            | CallError::Transport(_)
            | CallError::Client { .. }
            | CallError::NotTheObject { .. },
            _,
        ) => chain(error),
    }
}

/// An API object as the plain value that the keychain reads.
fn pull_secret(namespace: &str, name: &str, secret: ApiSecret) -> PullSecret {
    let mut data = secret.data.unwrap_or_default();
    let mut text = |key: &'static str, form: fn(Secret) -> PullSecretDocument| match data.remove(key) {
        None => PullSecretDocument::Unusable(UnusablePullSecret::NoKey(key)),
        Some(bytes) => String::from_utf8(bytes.0).map_or_else(
            |_| PullSecretDocument::Unusable(UnusablePullSecret::NotUtf8(key)),
            |text| form(Secret::new(text)),
        ),
    };
    let document = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => text(".dockerconfigjson", PullSecretDocument::Config),
        Some("kubernetes.io/dockercfg") => text(".dockercfg", PullSecretDocument::Legacy),
        other => PullSecretDocument::Unusable(UnusablePullSecret::OtherType(other.unwrap_or_default().to_owned())),
    };
    PullSecret { namespace: namespace.to_owned(), name: name.to_owned(), document }
}
