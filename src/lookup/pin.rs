//! What the container runtime says that the step runs: read from the pod's status, and compared with what was found.

use super::When;
use super::ask::Attempt;
use super::document::{Found, RuntimeWord};
use crate::image::agreement::Answer;
use crate::image::running::RunningDigest;
use crate::image::{Agreement, Digest, Match, PinnedBy, shown};
use crate::spec::ImagePin;

/// How many characters of an `imageID` a message shows.
pub(super) const SHOWN: usize = 200;

/// How the refusals of `-image_pin_strict` begin.
pub(super) const STRICT: &str = "-image_pin_strict takes nothing but the image that the container runs, and ";

/// How they end.
pub(super) const WITHOUT: &str = "; without -image_pin_strict what the registry has would be taken";

impl Attempt<'_> {
    /// Whether the runtime's word is wanted.
    pub(super) fn pins(&self) -> bool {
        self.spec.pin != ImagePin::Registry
    }

    /// A strict refusal; with how long was waited for what did not come, and with what to do.
    pub(super) fn waited(&self, refusal: &str, may_come: bool) -> String {
        if !may_come || self.when == When::Waiting {
            return format!("{refusal}{WITHOUT}");
        }
        format!("{refusal}, within {:?} (-image_lookup_timeout){WITHOUT}", self.spec.timeout)
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
    use crate::pause::{self, Pauses};

    /// Between two looks at a status that is awaited: nobody is to be asked by a thousand pods twice a second.
    const PAUSES: Pauses = Pauses { shortest: Duration::from_millis(500), longest: Duration::from_secs(5) };

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
            for looks in 0.. {
                let pause = PAUSES.behind(looks / 4, pause::some_number());
                if !word.may_come() || self.left() <= pause {
                    break;
                }
                tokio::time::sleep(pause).await;
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
    if held.daemon.is_some() {
        return Some(of_daemon(held.clone(), word.clone())).filter(|found| found.pinned_by == PinnedBy::PodStatus);
    }
    let agreement = agreement(held, running)?;
    let pinned_by = PinnedBy::PodStatus;
    Some(Found { runtime: word.clone(), agreement, pinned_by, not_followed: None, follow_later: None, ..held.clone() })
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

#[cfg(test)]
mod tests {
    use super::super::document::tests::found;
    use super::*;
    use crate::image::Running;
    use crate::image::agreement::{Because, Kind};

    /// A digest by a name.
    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn reported(image_id: &str) -> RuntimeWord {
        RuntimeWord::Reported { container: "step-build".into(), running: Running::parse("busybox", image_id) }
    }

    /// As a registry with an index has it, before kubelet has said what runs.
    fn held() -> Found {
        let text = |name| Some(digest(name).to_string());
        Found {
            daemon: None,
            index_digest: text("index"),
            manifest_digest: text("manifest"),
            config_digest: text("config"),
            runtime: reported(""),
            agreement: Agreement::unknown(Because::Late),
            pinned_by: PinnedBy::Registry,
            not_followed: None,
            ..found()
        }
    }

    /// The forms in which a runtime names a digest: in a repository, as a config, without saying what it is.
    fn forms(name: &str) -> [String; 3] {
        let digest = digest(name);
        [format!("ghcr.io/mirror/busybox@{digest}"), digest.to_string(), format!("docker://{digest}")]
    }

    #[test]
    fn an_image_that_was_held_is_confirmed_by_a_digest_of_its_own_and_by_no_other() {
        use Kind::{Config, Index, Manifest};
        for (name, named, alone, unsaid) in [
            ("index", Some(Index), None, Some(Index)),
            ("manifest", Some(Manifest), None, Some(Manifest)),
            // A config is none of the documents that are named in repositories.
            ("config", None, Some(Config), Some(Config)),
            ("another", None, None, None),
        ] {
            for (form, kind) in forms(name).iter().zip([named, alone, unsaid]) {
                let word = reported(form);
                let confirmed = confirmed(&held(), &word);
                let expected = kind.map(|kind| {
                    let because = match kind {
                        Index => Because::SameIndex,
                        Manifest => Because::SameManifest,
                        Config => Because::SameConfig,
                    };
                    let agreement = Agreement { verdict: Match::Same, compared: Some(kind), because };
                    Found { runtime: word.clone(), agreement, pinned_by: PinnedBy::PodStatus, ..held() }
                });
                assert_eq!(confirmed, expected, "{form}");
            }
        }
        // Of an image alone there is no index, and of a config alone no manifest.
        let alone = Found { index_digest: None, ..held() };
        assert!(confirmed(&alone, &reported(&forms("manifest")[0])).is_some());
        assert!(confirmed(&alone, &reported(&forms("index")[0])).is_none());
        // What was not followed before is what runs after all.
        let unfollowed = Found { not_followed: Some("no".into()), ..held() };
        let word = reported(&forms("index")[0]);
        assert_eq!(confirmed(&unfollowed, &word).map(|found| found.not_followed), Some(None));
    }

    #[test]
    fn nothing_is_confirmed_by_a_word_without_a_digest() {
        let unread = |retryable| RuntimeWord::Unread { reason: "no".into(), retryable };
        for word in [RuntimeWord::NotAsked, unread(true), unread(false), reported(""), reported("busybox:latest")] {
            assert_eq!(confirmed(&held(), &word), None, "{word:?}");
        }
    }

    /// As a daemon has it.
    fn daemons() -> Found {
        let agreement = Agreement::unknown(Because::NotAsked);
        let repository_digest = Some(digest("repository").to_string());
        let pinned_by = PinnedBy::Daemon;
        Found { daemon: Some("unix:///d".into()), leads_to: None, agreement, repository_digest, pinned_by, ..held() }
    }

    #[test]
    fn a_daemons_image_is_what_runs_if_any_of_its_digests_is_and_agrees_with_no_registry() {
        for name in ["index", "manifest", "config", "repository"] {
            for form in forms(name) {
                let word = reported(&form);
                let expected = Found { runtime: word.clone(), pinned_by: PinnedBy::PodStatus, ..daemons() };
                assert_eq!(of_daemon(daemons(), word.clone()), expected, "{form}");
                assert_eq!(confirmed(&daemons(), &word), Some(expected), "{form}");
            }
        }
        for form in forms("another") {
            let word = reported(&form);
            let found = of_daemon(daemons(), word.clone());
            let reason = format!("the container runs {form}, and the daemon has another image of this name");
            assert_eq!((found.pinned_by, found.not_followed), (PinnedBy::Daemon, Some(reason)));
            assert_eq!(found.agreement, Agreement::unknown(Because::NotAsked));
            // Somebody else may have it: that is asked for.
            assert_eq!(confirmed(&daemons(), &word), None, "{form}");
        }
        for word in [RuntimeWord::NotAsked, reported(""), reported("busybox")] {
            let expected = Found { runtime: word.clone(), ..daemons() };
            assert_eq!(of_daemon(daemons(), word), expected);
        }
    }

    #[test]
    fn a_strict_step_runs_nothing_without_a_digest_and_says_why() {
        let unread = |retryable| RuntimeWord::Unread { reason: "the pod may not be read".into(), retryable };
        for (word, expected) in [
            (RuntimeWord::NotAsked, None),
            (reported(&forms("index")[0]), None),
            (unread(true), Some(("it is not known: the pod may not be read", true))),
            (unread(false), Some(("it is not known: the pod may not be read", false))),
            (reported(""), Some(("kubelet has not reported it yet for the container step-build", true))),
            (
                reported("busybox:latest"),
                Some(("kubelet reports \"busybox:latest\" for the container step-build, which is not a digest", false)),
            ),
        ] {
            let expected = expected.map(|(why, retryable)| (format!("{STRICT}{why}"), retryable));
            assert_eq!(strict_refusal(&word), expected);
        }
    }
}
