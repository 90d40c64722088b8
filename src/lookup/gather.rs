//! The credentials that a pod has for a place, from every source but the clouds'.

use std::time::Duration;

use super::When;
use super::ask::Attempt;
use super::document::RuntimeWord;
use crate::authn;
use crate::authn::helpers::Helpers;
use crate::credential::{Credential, Note, PullSecret};
use crate::image::Reference;

/// What a pod has been given. Its pull secrets are read from the cluster once, for every place: which of them are for a
/// place is decided here.
pub(super) struct Pod<'a> {
    attempt: Attempt<'a>,
    cluster: Option<Cluster>,
}

/// The credentials of a pod for a place, in the order in which they are tried.
pub(super) struct Gathered {
    pub(super) credentials: Vec<Credential>,
    /// Whether everything that is named could be read: what is not there now may be there later.
    pub(super) complete: bool,
}

impl Gathered {
    /// What there is for a place that is shown nothing. More would not be shown there either.
    pub(super) fn nothing() -> Self {
        Self { credentials: Vec::new(), complete: true }
    }
}

impl<'a> Pod<'a> {
    pub(super) fn new(attempt: Attempt<'a>) -> Self {
        Self { attempt, cluster: None }
    }

    /// Reads the cluster, unless it is read already. However many secrets are named: the places must have their share of
    /// the attempt.
    pub(super) async fn read_cluster(&mut self, notes: &mut Vec<Note>) {
        if self.cluster.is_none() {
            // Two thirds at most of what is left, so that there is a share for whoever is asked.
            let limit = (self.attempt.spec.timeout / 2).min(self.attempt.left() * 2 / 3);
            self.cluster = Some(self.attempt.cluster(limit, notes).await);
        }
    }

    /// What kubelet reports of the step's container, as far as the cluster has been read.
    pub(super) fn word(&self) -> RuntimeWord {
        self.cluster.as_ref().map(|cluster| cluster.word.clone()).unwrap_or_default()
    }

    /// Asks every source for what is for a place, and for nothing else.
    pub(super) async fn gather(&self, place: &Reference, notes: &mut Vec<Note>) -> Gathered {
        let Attempt { spec, host, when, .. } = self.attempt;
        let (registry, repository) = (place.registry(), place.repository());
        let mut found = authn::Found::default();
        let mut complete = true;
        if let Some(read) = &self.cluster {
            found.merge(authn::pull_secrets::credentials(&read.secrets, registry, repository));
            complete = read.complete;
        }
        found.merge(authn::mounted::credentials(&host.dirs.creds_secrets, &spec.mounted, registry, repository));
        // A helper may take longer than the attempt has left.
        notes.append(&mut found.notes);
        let helpers = Helpers::in_attempt(spec.exec_helpers, when == When::Turn, &host.env);
        found.merge(authn::config_files::credentials(&host.env, &helpers, registry, repository).await);
        notes.extend(found.notes);
        Gathered { credentials: found.credentials, complete: complete && !found.deferred }
    }
}

/// What the cluster has for the pod.
struct Cluster {
    secrets: Vec<PullSecret>,
    complete: bool,
    word: RuntimeWord,
}

impl Attempt<'_> {
    #[cfg(feature = "kube")]
    async fn cluster(&self, limit: Duration, notes: &mut Vec<Note>) -> Cluster {
        let wanted = self.wanted_of_cluster();
        let reading = crate::kube::read(self.network, &self.host.env, &wanted, self.trace);
        let read = tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
            let late = format!("the pull secrets were not all read within {limit:?}");
            let reason = format!("the cluster was not read within {limit:?}");
            crate::kube::Read {
                pull_secrets: crate::kube::PullSecrets {
                    secrets: Vec::new(),
                    notes: vec![Note::new("Kubernetes API", late)],
                    complete: false,
                },
                pod: Err(crate::kube::PodUnread { reason, retryable: true }),
            }
        });
        let crate::kube::PullSecrets { secrets, notes: told, complete } = read.pull_secrets;
        notes.extend(told);
        let word = if self.pins() { self.word(read.pod) } else { RuntimeWord::NotAsked };
        Cluster { secrets, complete, word }
    }

    #[cfg(not(feature = "kube"))]
    async fn cluster(&self, _: Duration, notes: &mut Vec<Note>) -> Cluster {
        let named = &self.spec.pull_secrets;
        if !named.is_empty() {
            let secrets = format!("pull secrets {} of -image_pull_secrets", named.join(", "));
            notes.push(Note::new(secrets, "not read: this entrypoint was built without the feature kube"));
        }
        let word = if self.pins() { self.read_word().await } else { RuntimeWord::NotAsked };
        Cluster { secrets: Vec::new(), complete: true, word }
    }
}
