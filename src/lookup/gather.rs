//! The credentials that a pod has for a place, from every source but the clouds'.

use std::time::Duration;

use super::When;
use super::ask::Attempt;
use crate::authn;
use crate::authn::helpers::Helpers;
use crate::credential::{Credential, Note, PullSecret};
use crate::image::Reference;

/// What a pod has been given. Its pull secrets are read from the cluster once, for every place: which of them are for a
/// place is decided here.
pub(super) struct Pod<'a> {
    attempt: Attempt<'a>,
    pull_secrets: Option<PullSecrets>,
}

struct PullSecrets {
    secrets: Vec<PullSecret>,
    complete: bool,
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
        Self { attempt, pull_secrets: None }
    }

    /// Reads the pull secrets, unless they are read already. However many are named: the places must have their share of
    /// the attempt.
    pub(super) async fn read_pull_secrets(&mut self, limit: Duration, notes: &mut Vec<Note>) {
        if self.pull_secrets.is_none() {
            self.pull_secrets = Some(self.attempt.pull_secrets(limit, notes).await);
        }
    }

    /// Asks every source for what is for a place, and for nothing else.
    pub(super) async fn gather(&self, place: &Reference, notes: &mut Vec<Note>) -> Gathered {
        let Attempt { spec, host, when, .. } = self.attempt;
        let (registry, repository) = (place.registry(), place.repository());
        let mut found = authn::Found::default();
        let mut complete = true;
        if let Some(read) = &self.pull_secrets {
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

impl Attempt<'_> {
    #[cfg(feature = "kube")]
    async fn pull_secrets(&self, limit: Duration, notes: &mut Vec<Note>) -> PullSecrets {
        let Self { spec, host, network, trace, secrets, .. } = *self;
        let wanted = crate::kube::Wanted {
            dir: &spec.service_account_dir,
            namespace: spec.namespace.as_deref(),
            service_account: spec.service_account.as_deref(),
            pull_secrets: &spec.pull_secrets,
            call_deadline: crate::kube::CALL_DEADLINE,
            secrets,
        };
        let read = tokio::time::timeout(limit, crate::kube::pull_secrets(network, &host.env, &wanted, trace)).await;
        let read = read.unwrap_or_else(|_| crate::kube::PullSecrets {
            secrets: Vec::new(),
            notes: vec![Note::new("Kubernetes API", format!("the pull secrets were not all read within {limit:?}"))],
            complete: false,
        });
        notes.extend(read.notes);
        PullSecrets { secrets: read.secrets, complete: read.complete }
    }

    #[cfg(not(feature = "kube"))]
    #[allow(clippy::unused_async, reason = "it is one with the feature kube")]
    async fn pull_secrets(&self, _: Duration, notes: &mut Vec<Note>) -> PullSecrets {
        let named = &self.spec.pull_secrets;
        if !named.is_empty() {
            let secrets = format!("pull secrets {} of -image_pull_secrets", named.join(", "));
            notes.push(Note::new(secrets, "not read: this entrypoint was built without the feature kube"));
        }
        PullSecrets { secrets: Vec::new(), complete: true }
    }
}
