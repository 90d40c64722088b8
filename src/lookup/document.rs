//! The one document that a lookup child writes to its pipe: what it found, or why it found nothing.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::image::agreement::{Answer, Kind};
use crate::image::{Agreement, JsonError, LeadsTo, PinnedBy, Reference, Running};
use crate::note::Note;
use crate::registry::shelf_name;
use crate::trace::Requests;

/// What an image would run, and how that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The image's canonical reference: registry, repository, tag or digest.
    pub image: String,
    /// The Docker daemon that has it, as `DOCKER_HOST` names it; none where a registry has it.
    pub daemon: Option<String>,
    /// Where it was found, if that was not the image's own registry.
    pub found_at: Option<FoundAt>,
    /// The config's `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// The config's `Cmd`.
    pub cmd: Vec<String>,
    /// The digest of the index that the reference led to, if it led to one, and a daemon tells.
    pub index_digest: Option<String>,
    /// The digest of the platform's manifest. A registry's is known; a daemon's mostly is not.
    pub manifest_digest: Option<String>,
    /// The digest of the config, likewise known of a registry's image; of a daemon's it mostly is.
    pub config_digest: Option<String>,
    /// Of a daemon's image: the digest that the daemon names it by in its repository, of an index or of a manifest.
    pub repository_digest: Option<String>,
    /// The platform of the image, as its config has it.
    pub platform: String,
    /// The platform that was asked for.
    pub wanted: String,
    /// Where the credential that the registry accepted was found; none for an anonymous lookup.
    pub credential: Option<String>,
    /// What kubelet reports of the step's container.
    pub runtime: RuntimeWord,
    /// Where the reference leads now, by a registry's word; none if none was asked for that, or answered.
    pub leads_to: Option<LeadsTo>,
    /// Whether the two agree.
    pub agreement: Agreement,
    /// Who said which image of that name this is.
    pub pinned_by: PinnedBy,
    /// Why this is not the image that kubelet reports, where it was meant to be: a warning.
    pub not_followed: Option<String>,
    /// Where that may change: not before that much time has passed.
    #[serde(default)]
    pub follow_later: Option<Duration>,
    /// The directory of the cache that had the config.
    pub cache: Option<String>,
    /// What became of every source that was asked.
    pub notes: Vec<Note>,
    /// Every request that was made.
    pub requests: Requests,
}

impl Found {
    /// What there is to tell of the cache in this directory: why it was of no use.
    pub fn notes_of_cache(&self, dir: &Path) -> impl Iterator<Item = &Note> {
        let name = shelf_name(dir);
        self.notes.iter().filter(move |note| note.source == name)
    }

    /// The registry that the image names.
    #[must_use]
    pub fn registry(&self) -> String {
        self.image.parse().map_or_else(|_| self.image.clone(), |image: Reference| image.registry().to_owned())
    }

    /// The same, now that it is known that something else runs, which cannot be had.
    pub(super) fn without_what_runs(self, failure: Failure) -> Self {
        match *failure.runtime {
            RuntimeWord::NotAsked => self,
            runtime @ (RuntimeWord::Unread { .. } | RuntimeWord::Reported { .. }) => {
                Self { not_followed: Some(failure.reason), ..self.beside(runtime) }
            }
        }
    }

    /// The same beside what is known by now of what runs.
    pub(super) fn beside(self, runtime: RuntimeWord) -> Self {
        let agreement = match self.image.parse() {
            Ok(requested) => Agreement::of(runtime.running(), &requested, self.answer().as_ref()),
            Err(_) => self.agreement,
        };
        Self { runtime, agreement, ..self }
    }

    /// Where the reference leads, as far as this tells it.
    fn answer(&self) -> Option<Answer> {
        let LeadsTo { kind, digest } = self.leads_to?;
        let config = || self.config_digest.as_ref().and_then(|config| config.parse().ok());
        match kind {
            Kind::Index => Some(Answer::Index { index: digest, within: None }),
            Kind::Manifest => Some(Answer::Manifest { manifest: digest, config: config() }),
            Kind::Config => None,
        }
    }
}

/// What kubelet reports of the step's container, in the status of its pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuntimeWord {
    /// It was not asked for.
    #[default]
    NotAsked,
    /// It is not known.
    Unread {
        /// Why, as a sentence.
        reason: String,
        /// Whether it may be known later.
        retryable: bool,
    },
    /// It is this.
    Reported {
        /// The container's name.
        container: String,
        /// What is said of its image; without an `imageID` as long as kubelet has not said it.
        running: Running,
    },
}

impl RuntimeWord {
    /// The word itself.
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        match self {
            Self::Reported { running, .. } => Some(running),
            Self::NotAsked | Self::Unread { .. } => None,
        }
    }

    /// Whether asking again may bring what there is not yet.
    #[must_use]
    pub fn may_come(&self) -> bool {
        match self {
            Self::NotAsked => false,
            Self::Unread { retryable, .. } => *retryable,
            Self::Reported { running, .. } => running.is_late(),
        }
    }
}

/// A place where an image was found that it does not name itself. Shown, it is one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundAt {
    /// The image as it is named there.
    pub image: String,
    /// Who chose the place: a flag, a variable, a file.
    pub because: String,
}

/// Why nothing was found. Shown, it is one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The image as written.
    pub image: String,
    /// What was to be asked for, if the image's reference is one and the child came to tell.
    pub wanted: Option<Box<Wanted>>,
    /// What went wrong.
    pub reason: String,
    /// Whether asking again later may help.
    pub retryable: bool,
    /// Not before that much time has passed, as those who were asked wish.
    pub retry_after: Option<Duration>,
    /// What kubelet reports of the step's container.
    pub runtime: Box<RuntimeWord>,
    /// What became of every source that was asked.
    pub notes: Vec<Note>,
    /// Every request that was made, if the child came to tell.
    pub requests: Box<Requests>,
}

/// What a registry is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The image's canonical reference.
    pub image: String,
    /// The platform.
    pub platform: String,
}

impl Failure {
    /// A failure before any source was asked, for good.
    #[must_use]
    pub fn of(image: &str, reason: String) -> Self {
        Self {
            image: image.to_owned(),
            wanted: None,
            reason,
            retryable: false,
            retry_after: None,
            runtime: Box::default(),
            notes: Vec::new(),
            requests: Box::default(),
        }
    }

    /// The sentence without what became of every source.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("cannot look up the command of image {}: {}", self.image, self.reason)
    }
}

impl fmt::Display for FoundAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.image, self.because)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        for (index, note) in self.notes.iter().enumerate() {
            write!(f, "{}{note}", if index == 0 { "; tried: " } else { "; " })?;
        }
        Ok(())
    }
}

/// Writes the document.
///
/// # Errors
/// When the pipe is closed at its other end.
pub(super) fn write(mut pipe: impl Write, result: &Result<Found, Failure>) -> std::io::Result<()> {
    pipe.write_all(&serde_json::to_vec(result)?)
}

/// Reads the document.
///
/// # Errors
/// When it is not one.
pub(super) fn read(bytes: &[u8]) -> Result<Result<Found, Failure>, JsonError> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::image::agreement::Because;
    use crate::trace::{End, Trace};

    /// An image with something of everything.
    pub(in super::super) fn found() -> Found {
        Found {
            image: "index.docker.io/library/busybox:latest".into(),
            daemon: Some("unix:///var/run/docker.sock".into()),
            found_at: Some(FoundAt {
                image: "r:5000/library/busybox:latest".into(),
                because: "-image_registry_map".into(),
            }),
            entrypoint: vec!["/bin/sh".into(), "-c".into()],
            cmd: Vec::new(),
            index_digest: None,
            manifest_digest: Some("sha256:a".into()),
            config_digest: Some("sha256:b".into()),
            repository_digest: None,
            platform: "linux/amd64".into(),
            wanted: "linux/amd64".into(),
            runtime: RuntimeWord::Reported {
                container: "step-build".into(),
                running: Running::parse("busybox", "docker.io/library/busybox@sha256:0"),
            },
            leads_to: None,
            agreement: Agreement::unknown(Because::NotAsked),
            pinned_by: PinnedBy::Registry,
            not_followed: Some("it is not there".into()),
            follow_later: None,
            cache: Some("/cache".into()),
            credential: Some("pull secret ci/regcred, key \"docker.io\"".into()),
            notes: vec![Note::new("service account ci/builder", "read")],
            requests: {
                let trace = Trace::default();
                trace.begin("manifest", "GET", "https://r/").end(End::Answered { status: 200 });
                trace.begin("config", "GET", "https://r/").end(End::Unanswered { reason: "no".into() });
                trace.requests()
            },
        }
    }

    #[test]
    fn a_document_arrives_as_it_was_written() {
        let later = Failure { retry_after: Some(Duration::MAX), ..Failure::of("x", "y".into()) };
        for result in [Ok(found()), Err(Failure::of("x", "y".into())), Err(later)] {
            let mut pipe = Vec::new();
            write(&mut pipe, &result).unwrap();
            assert_eq!(read(&pipe).unwrap(), result);
        }
    }

    #[test]
    fn what_is_no_document_is_told_in_one_line_that_ends() {
        for strange in ["a\u{1b}[2J\r\nb".to_owned(), "x".repeat(100_000)] {
            let document = serde_json::json!({ strange.as_str(): {} }).to_string();
            let told = read(document.as_bytes()).unwrap_err().to_string();
            assert!(told.starts_with("unknown variant") && !told.contains(char::is_control), "{told:?}");
            assert!(told.len() < 200, "{}", told.len());
        }
    }

    #[test]
    fn a_failure_is_one_sentence_with_every_source() {
        let mut failure = Failure::of("ghcr.io/acme/build:1", "the registry said 401".into());
        assert_eq!(
            failure.to_string(),
            "cannot look up the command of image ghcr.io/acme/build:1: the registry said 401"
        );
        failure.notes = vec![Note::new("pull secret ci/regcred", "refused"), Note::new("docker config", "absent")];
        assert!(failure.to_string().ends_with("401; tried: pull secret ci/regcred: refused; docker config: absent"));
    }

    #[test]
    fn what_kubelet_has_not_said_may_come_and_what_it_will_not_say_never() {
        let digest = format!("busybox@sha256:{}", "0".repeat(64));
        let reported = |image_id: &str| RuntimeWord::Reported {
            container: "step-build".into(),
            running: Running::parse("busybox", image_id),
        };
        let unread = |retryable| RuntimeWord::Unread { reason: "no".into(), retryable };
        for (word, may_come, runs) in [
            (RuntimeWord::NotAsked, false, None),
            (unread(false), false, None),
            (unread(true), true, None),
            (reported(""), true, Some("")),
            // Said, whatever it means.
            (reported("busybox:latest"), false, Some("busybox:latest")),
            (reported(&digest), false, Some(digest.as_str())),
        ] {
            assert_eq!(word.may_come(), may_come, "{word:?}");
            assert_eq!(word.running().map(|running| running.image_id.as_str()), runs, "{word:?}");
        }
        assert_eq!(RuntimeWord::default(), RuntimeWord::NotAsked);
    }

    #[test]
    fn an_image_that_was_held_is_told_with_why_what_runs_is_not_to_be_had() {
        let reported = found().runtime;
        let held = Found { runtime: RuntimeWord::NotAsked, not_followed: None, ..found() };
        let failure = Failure { runtime: Box::new(reported.clone()), ..Failure::of("x", "not there".into()) };
        let told = held.clone().without_what_runs(failure);
        let expected = Found { runtime: reported, not_followed: Some("not there".into()), ..held.clone() };
        assert_eq!(Found { agreement: held.agreement, ..told }, expected);
        // A child that died says nothing of what runs.
        assert_eq!(held.clone().without_what_runs(Failure::of("x", "killed".into())), held);
    }

    #[test]
    fn an_image_that_was_held_is_compared_with_what_is_said_later() {
        use crate::image::Digest;
        let digest = |name: &str| Digest::of(name.as_bytes());
        let reported = |image_id: String| RuntimeWord::Reported {
            container: "step-build".into(),
            running: Running::parse("busybox", &image_id),
        };
        let own = |name: &str| reported(format!("busybox@{}", digest(name)));
        let config = |name: &str| reported(digest(name).to_string());
        let unread = RuntimeWord::Unread { reason: "no".into(), retryable: false };
        let led = |kind| Some(LeadsTo { kind, digest: digest("root") });
        for (leads_to, runtime, because) in [
            (led(Kind::Index), own("root"), Because::SameIndex),
            // An image of the index may have it, which nobody has kept.
            (led(Kind::Index), own("another"), Because::NotRead),
            (led(Kind::Index), config("config"), Because::NotRead),
            (led(Kind::Manifest), own("root"), Because::SameManifest),
            (led(Kind::Manifest), own("another"), Because::PerhapsIndexOfOneImage),
            (led(Kind::Manifest), config("config"), Because::SameConfig),
            (led(Kind::Manifest), config("another"), Because::OtherConfig),
            (led(Kind::Manifest), reported(format!("ghcr.io/a/b@{}", digest("another"))), Because::OtherRepository),
            (led(Kind::Manifest), unread.clone(), Because::NotReported),
            (led(Kind::Manifest), reported(String::new()), Because::Late),
            (led(Kind::Manifest), reported("busybox:latest".into()), Because::NoIdentity),
            // As of a daemon.
            (None, own("root"), Because::NotAsked),
            (None, unread, Because::NotReported),
        ] {
            let late = Agreement::unknown(Because::Late);
            let config_digest = Some(digest("config").to_string());
            let held = Found { leads_to, config_digest, agreement: late, ..found() };
            let beside = held.clone().beside(runtime.clone());
            assert_eq!(beside.agreement.because, because, "{leads_to:?} {runtime:?}");
            assert_eq!(beside, Found { runtime, agreement: beside.agreement, ..held });
        }
    }
}
