//! What the container runtime says that the step runs: read from the pod's status, and compared with what was found.

use super::ask::Attempt;
use super::document::{Found, RuntimeWord};
use crate::image::agreement::Answer;
use crate::image::running::RunningDigest;
use crate::image::{Agreement, Digest, Match, PinnedBy, shown};
use crate::spec::ImagePin;

/// How many characters of an `imageID` a message shows.
const SHOWN: usize = 200;

/// How the refusals of `-image_pin_strict` begin.
pub(super) const STRICT: &str = "-image_pin_strict takes nothing but the image that the container runs, and ";

impl Attempt<'_> {
    /// Whether the runtime's word is wanted.
    pub(super) fn pins(&self) -> bool {
        self.spec.pin != ImagePin::Registry
    }

    /// Whether nothing but the image that runs will do.
    pub(super) fn is_strict(&self) -> bool {
        self.spec.pin == ImagePin::Strict
    }
}

#[cfg(feature = "kube")]
mod by_kubelet {
    use std::time::Duration;

    use super::super::ask::Attempt;
    use super::super::document::RuntimeWord;
    use crate::kube::{self, ContainerName, OwnContainer, OwnPod, PodStatus, PodUnread};

    /// Between two looks at a status that is awaited.
    const PAUSE: Duration = Duration::from_millis(500);

    impl<'a> Attempt<'a> {
        /// What is wanted of the cluster.
        pub(in super::super) fn wanted_of_cluster(&self) -> kube::Wanted<'a> {
            let Self { spec, secrets, .. } = *self;
            kube::Wanted {
                dir: &spec.service_account_dir,
                namespace: spec.namespace.as_deref(),
                service_account: spec.service_account.as_deref(),
                pull_secrets: &spec.pull_secrets,
                call_deadline: kube::CALL_DEADLINE,
                secrets,
            }
        }

        /// The container that this process is in, by kubelet's mount.
        pub(in super::super) fn own_container(&self) -> Option<OwnContainer> {
            self.spec.termination_paths.iter().find_map(|path| OwnContainer::find(path).ok())
        }

        /// The UID of this pod, if anything tells it.
        pub(in super::super) fn pod_uid(&self) -> Option<String> {
            let mounted = self.own_container().map(|own| own.pod_uid);
            mounted.or_else(|| kube::own::uid(&self.host.env, &self.spec.service_account_dir))
        }

        /// What a pod's status says of the step's container.
        pub(in super::super) fn word(&self, status: Result<PodStatus, PodUnread>) -> RuntimeWord {
            let status = match status {
                Ok(status) => status,
                Err(PodUnread { reason, retryable }) => return RuntimeWord::Unread { reason, retryable },
            };
            let name = ContainerName::first(self.spec.container.clone(), self.own_container());
            match kube::choose(&status, name.as_ref(), self.reference) {
                Ok(container) => {
                    RuntimeWord::Reported { container: container.name.clone(), running: container.running() }
                }
                Err(not_chosen) => RuntimeWord::Unread { reason: not_chosen.to_string(), retryable: false },
            }
        }

        /// Reads the pod's status once.
        pub(in super::super) async fn read_word(&self) -> RuntimeWord {
            let wanted = self.wanted_of_cluster();
            let pod = match OwnPod::find(self.network, &self.host.env, &wanted, self.trace) {
                Ok(pod) => pod,
                Err(unread) => return self.word(Err(unread)),
            };
            match tokio::time::timeout(self.left(), pod.status()).await {
                Ok(status) => self.word(status),
                Err(_) => {
                    RuntimeWord::Unread { reason: "the API server did not answer in time".to_owned(), retryable: true }
                }
            }
        }

        /// Reads the pod's status until it says what runs, or there is no time left for it.
        pub(in super::super) async fn awaited_word(&self, mut word: RuntimeWord) -> RuntimeWord {
            while word.may_come() && self.left() > PAUSE {
                tokio::time::sleep(PAUSE).await;
                word = self.read_word().await;
            }
            word
        }
    }
}

#[cfg(not(feature = "kube"))]
#[allow(clippy::unused_async, reason = "they are one with the feature kube")]
impl Attempt<'_> {
    pub(super) async fn read_word(&self) -> RuntimeWord {
        RuntimeWord::Unread {
            reason: "this entrypoint was built without the feature kube".to_owned(),
            retryable: false,
        }
    }

    pub(super) async fn awaited_word(&self, word: RuntimeWord) -> RuntimeWord {
        word
    }

    pub(super) fn pod_uid(&self) -> Option<String> {
        None
    }
}

/// What was found before the runtime said what runs, now that it has: the same image. None if it is another.
pub(super) fn confirmed(held: &Found, word: &RuntimeWord) -> Option<Found> {
    let running = word.running()?.identity.as_ref()?;
    let agreement = agreement(held, running)?;
    let pinned_by = PinnedBy::PodStatus;
    Some(Found { runtime: word.clone(), agreement, pinned_by, not_followed: None, ..held.clone() })
}

/// How a digest is one of those of an image that was found.
fn agreement(held: &Found, running: &RunningDigest) -> Option<Agreement> {
    let index = digest(held.index_digest.as_ref()).map(|index| Answer::Index { index, within: None });
    let manifest = digest(held.manifest_digest.as_ref())
        .map(|manifest| Answer::Manifest { manifest, config: digest(held.config_digest.as_ref()) });
    let compared = [index, manifest].into_iter().flatten();
    let mut compared = compared.map(|answer| Agreement::compare(&running.digest, running.kind, &answer));
    compared.find(|agreement| agreement.verdict == Match::Same)
}

fn digest(text: Option<&String>) -> Option<Digest> {
    text.and_then(|text| text.parse().ok())
}

/// What a daemon has, with what the runtime says. A daemon is no registry: what agrees with it agrees with nothing that
/// others can look up.
pub(super) fn of_daemon(found: Found, word: RuntimeWord) -> Found {
    let running = word.running().and_then(|running| running.identity.as_ref());
    let digests = [&found.index_digest, &found.manifest_digest, &found.config_digest, &found.repository_digest];
    let is_it = |running: &RunningDigest| digests.iter().any(|one| digest(one.as_ref()) == Some(running.digest));
    let (pinned_by, not_followed) = match running.map(is_it) {
        Some(true) => (PinnedBy::PodStatus, None),
        Some(false) => {
            let id = word.running().map(|running| shown(&running.image_id, SHOWN)).unwrap_or_default();
            (PinnedBy::Daemon, Some(format!("the container runs {id}, and the daemon has another image of this name")))
        }
        None => (PinnedBy::Daemon, None),
    };
    Found { runtime: word, pinned_by, not_followed, ..found }
}

/// Why nothing runs under `-image_pin_strict`, as far as the runtime's word goes; none where that names an image.
pub(super) fn strict_refusal(word: &RuntimeWord) -> Option<(String, bool)> {
    let (why, retryable) = match word {
        RuntimeWord::Unread { reason, retryable } => (format!("it is not known: {reason}"), *retryable),
        RuntimeWord::Reported { container, running } if running.is_late() => {
            (format!("kubelet has not reported it yet for the container {container}"), true)
        }
        RuntimeWord::Reported { container, running } if running.identity.is_none() => {
            let id = shown(&running.image_id, SHOWN);
            (format!("kubelet reports {id:?} for the container {container}, which is not a digest"), false)
        }
        RuntimeWord::Reported { .. } | RuntimeWord::NotAsked => return None,
    };
    Some((format!("{STRICT}{why}"), retryable))
}
