//! The pod that this process is in, read with its own token: once beside the pull secrets, and again while a step waits.

use std::path::Path;

use thiserror::Error;

use super::Wanted;
use super::api::{Api, CallError};
use super::identity::{BoundPod, Identity};
use super::in_cluster::{InCluster, InClusterError};
use super::pod::{Pod, PodStatus};
use crate::host::Env;
use crate::http::Network;
use crate::sys::cause::chain;
use crate::trace::Trace;

/// Why the pod was not read. An ordinary pod may not read itself: this is a reason, and no failure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct PodUnread {
    /// The reason, as a sentence.
    pub reason: String,
    /// Whether asking again may help.
    pub retryable: bool,
}

/// The pod that this process is in, as often as it is asked for.
pub struct OwnPod {
    api: Api,
    cluster: InCluster,
}

impl OwnPod {
    /// Finds out which pod this is and where it is asked for. Whose pull secrets are wanted does not matter here. Every
    /// request is noted in `trace`.
    ///
    /// # Errors
    ///
    /// [`PodUnread`], where there is no cluster, or the token does not say which pod it is for.
    pub fn find(network: &Network, env: &Env, wanted: &Wanted<'_>, trace: &Trace) -> Result<Self, PodUnread> {
        let cluster = InCluster::find(env, wanted.dir, None, None).map_err(|error| PodUnread::of_cluster(&error))?;
        bound(&cluster)?;
        let api = Api::new(network, &cluster, wanted, trace)
            .map_err(|error| PodUnread { reason: chain(&error), retryable: true })?;
        Ok(Self { api, cluster })
    }

    /// What is reported of the pod's containers now: one request.
    ///
    /// # Errors
    ///
    /// [`PodUnread`].
    pub async fn status(&self) -> Result<PodStatus, PodUnread> {
        let (bearer, bound) = bound(&self.cluster)?;
        let namespace = &bearer.account.namespace;
        let pod = self.api.pod(namespace, &bound.name).await.map_err(|error| {
            let pod = format!("pod {}/{}", namespace.as_str(), bound.name.as_str());
            PodUnread::of_call(&error, &self.cluster, &pod)
        })?;
        checked(pod, bound).map(|(_, status)| status)
    }
}

/// The UID of the pod that the service account's token is for, without asking anybody.
#[must_use]
pub fn uid(env: &Env, dir: &Path) -> Option<String> {
    let cluster = InCluster::find(env, dir, None, None).ok()?;
    bound(&cluster).ok().map(|(_, bound)| bound.uid.clone())
}

/// Whose token it is, and for which pod.
pub(super) fn bound(cluster: &InCluster) -> Result<(&Identity, &BoundPod), PodUnread> {
    let bearer = cluster.bearer.as_ref();
    bearer
        .and_then(|bearer| Some((bearer, bearer.pod.as_ref()?)))
        .ok_or_else(|| PodUnread::for_good("the pod may not be read: the token does not say which pod it is for"))
}

/// The pull secrets and the status of a pod, if it is the one that the token is for. Another may have its name by now.
pub(super) fn checked(pod: Pod, own: &BoundPod) -> Result<(Vec<String>, PodStatus), PodUnread> {
    if pod.uid() == own.uid {
        return Ok(pod.into_parts());
    }
    let (found, wanted) = (pod.uid(), &own.uid);
    Err(PodUnread::for_good(format!("it is not this pod: its UID is {found:?}, and the token is for {wanted:?}")))
}

impl PodUnread {
    fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retryable: false }
    }

    /// When there is nobody to ask.
    pub(super) fn of_cluster(error: &InClusterError) -> Self {
        Self { reason: chain(error), retryable: !error.is_final() }
    }

    /// When the call for `pod` failed.
    pub(super) fn of_call(error: &CallError, cluster: &InCluster, pod: &str) -> Self {
        match error {
            CallError::Unauthorized => Self {
                reason: format!(
                    "{pod} may not be read: unauthorized: the API server does not accept the token {}",
                    cluster.token_file.display()
                ),
                // Kubelet renews it.
                retryable: true,
            },
            CallError::Forbidden => {
                let bearer = cluster
                    .bearer
                    .as_ref()
                    .map_or_else(|| "this pod's service account".to_owned(), |bearer| bearer.account.to_string());
                Self::for_good(format!("{bearer} may not get {pod}; a Role with get on pods is needed"))
            }
            CallError::NotFound => {
                Self::for_good(format!("{pod} may not be read: the cluster has no pod of this name"))
            }
            CallError::Status { .. }
            | CallError::TimedOut { .. }
            | CallError::Transport(_)
            | CallError::Client { .. }
            | CallError::NotTheObject { .. } => Self { reason: chain(error), retryable: true },
        }
    }
}
