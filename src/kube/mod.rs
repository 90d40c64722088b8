//! The in-cluster Kubernetes API: the pod, its service account and pull secrets.
//!
//! In-cluster configuration only, over this program's own HTTP stack: the API server's certificate is checked against
//! the service account's `ca.crt` alone, no proxy is asked, and every call has a limit on its time and its answer. That
//! the pod may read neither itself nor a secret is the normal case, and a note.

mod api;
mod claims;
pub mod container;
mod identity;
mod in_cluster;
pub mod own;
pub mod pod;
mod reader;
mod rights;

use std::path::Path;
use std::time::Duration;

use self::api::Api;
pub use self::claims::TokenClaims;
pub use self::container::OwnContainer;
pub use self::identity::{BadName, BoundPod, Identity, Name, ServiceAccount};
use self::in_cluster::InCluster;
pub use self::in_cluster::InClusterError;
pub use self::own::{OwnPod, PodUnread};
pub use self::pod::{ContainerName, ContainerStatus, NotChosen, PodStatus, choose};
use self::reader::Reader;
pub use self::rights::{Access, NamedSecret, Object, Rights};
use crate::credential::{NamedBy, Note, PullSecret};
use crate::host::Env;
use crate::http::Network;
use crate::secrets::Secrets;
use crate::sys::cause::chain;
use crate::trace::Trace;

/// How long one call may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// Which pull secrets are wanted, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Directory of the service account's `token`, `ca.crt` and `namespace`.
    pub dir: &'a Path,
    /// The lookup's namespace: that of the service account and of the secrets that the command line names. Without it
    /// the token's own claims say it; then the `namespace` file.
    pub namespace: Option<&'a str>,
    /// The service account whose `imagePullSecrets` are read. Without it the token's own claims say it; then `default`.
    pub service_account: Option<&'a str>,
    /// Pull secrets that the command line names.
    pub pull_secrets: &'a [String],
    /// How long one call may take.
    pub call_deadline: Duration,
    /// Where the pod's token is kept: what others say may repeat it.
    pub secrets: &'a Secrets,
}

/// What the cluster has for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSecrets {
    /// The pull secrets that could be read: the pod's, the command line's, the service account's, each in the order in
    /// which it is named there, and each once.
    pub secrets: Vec<PullSecret>,
    /// What became of everything else. Never holds a secret.
    pub notes: Vec<Note>,
    /// Whether another attempt would find the same, so that a registry's refusal is final. It would when every named
    /// pull secret was read; when the pod may not read some of it (403: permissions do not change while a step waits),
    /// be it the pod, the service account or a secret; when there is no cluster, or no token. It would not when a named
    /// secret or service account is not there yet (404), or when the API server could not be asked or gave no answer
    /// that can be used.
    pub complete: bool,
}

/// What one reading of the cluster brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The pull secrets. What is said of the pod stands in their notes too.
    pub pull_secrets: PullSecrets,
    /// The pod itself, or why it was not read. [`OwnPod`] reads it again.
    pub pod: Result<PodStatus, PodUnread>,
}

/// The pull secrets alone of what [`read`] reads.
pub async fn pull_secrets(network: &Network, env: &Env, wanted: &Wanted<'_>, trace: &Trace) -> PullSecrets {
    read(network, env, wanted, trace).await.pull_secrets
}

/// Reads the pull secrets of a pod through the API server that kubelet told it of, with the pod's own token: those of
/// the pod's own `imagePullSecrets` (which pod, the token's claims say), those that the command line names, and those of
/// the service account's `imagePullSecrets`. What kubelet reports of the pod's containers comes with the first of them. A
/// pod whose UID is not that of the claims is another pod: nothing that it says counts.
///
/// Nothing here is an error: a pod without any of this is an ordinary pod. The calls are made one after the other; the
/// future borrows what it is given and nothing else, so that it can be joined with other work. Every request is noted in
/// `trace`.
pub async fn read(network: &Network, env: &Env, wanted: &Wanted<'_>, trace: &Trace) -> Read {
    let cluster = match InCluster::find(env, wanted.dir, wanted.namespace, wanted.service_account) {
        Ok(cluster) => cluster,
        Err(error) => return unasked(wanted, &error),
    };
    match Api::new(network, &cluster, wanted, trace) {
        Ok(api) => Reader::new(&api, &cluster).read(wanted.pull_secrets).await,
        Err(error) => {
            let note = Note::failed(cluster.account.to_string(), &error);
            let pod = Err(PodUnread { reason: chain(&error), retryable: true });
            Read { pull_secrets: PullSecrets { secrets: Vec::new(), notes: vec![note], complete: false }, pod }
        }
    }
}

/// What there is when nobody can be asked.
fn unasked(wanted: &Wanted<'_>, error: &InClusterError) -> Read {
    // The names as far as they are known.
    let account = match (wanted.namespace, wanted.service_account) {
        (Some(namespace), Some(name)) => format!("service account {namespace}/{name}"),
        (None, Some(name)) => format!("service account {name}"),
        (Some(_), None) | (None, None) => "service account".to_owned(),
    };
    let mut notes = vec![Note::failed(account, error)];
    if !wanted.pull_secrets.is_empty() {
        let secrets = format!("pull secrets {} of {}", wanted.pull_secrets.join(", "), NamedBy::Flag);
        notes.push(Note::new(secrets, "not read: the cluster cannot be asked"));
    }
    let pull_secrets = PullSecrets { secrets: Vec::new(), notes, complete: error.is_final() };
    Read { pull_secrets, pod: Err(PodUnread::of_cluster(error)) }
}
