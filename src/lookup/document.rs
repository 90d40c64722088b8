//! The one document that a lookup child writes to its pipe: what it found, or why it found nothing.

use std::fmt;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::note::Note;
use crate::trace::Requests;

/// What an image would run, and how that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The image's canonical reference: registry, repository, tag or digest.
    pub image: String,
    /// The Docker daemon that has it, as `DOCKER_HOST` names it; none where a registry has it.
    pub daemon: Option<String>,
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
    /// What became of every source that was asked.
    pub notes: Vec<Note>,
    /// Every request that was made.
    pub requests: Requests,
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
    /// What became of every source that was asked.
    pub notes: Vec<Note>,
    /// Every request that was made, if the child came to tell.
    pub requests: Requests,
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
            notes: Vec::new(),
            requests: Requests::default(),
        }
    }

    /// The sentence without what became of every source.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("cannot look up the command of image {}: {}", self.image, self.reason)
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
pub(super) fn read(bytes: &[u8]) -> Result<Result<Found, Failure>, serde_json::Error> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{End, Trace};

    #[test]
    fn a_document_arrives_as_it_was_written() {
        let found = Found {
            image: "index.docker.io/library/busybox:latest".into(),
            daemon: Some("unix:///var/run/docker.sock".into()),
            entrypoint: vec!["/bin/sh".into(), "-c".into()],
            cmd: Vec::new(),
            index_digest: None,
            manifest_digest: Some("sha256:a".into()),
            config_digest: Some("sha256:b".into()),
            repository_digest: None,
            platform: "linux/amd64".into(),
            wanted: "linux/amd64".into(),
            credential: Some("pull secret ci/regcred, key \"docker.io\"".into()),
            notes: vec![Note::new("service account ci/builder", "read")],
            requests: {
                let trace = Trace::default();
                trace.begin("manifest", "GET", "https://r/").end(End::Answered { status: 200 });
                trace.begin("config", "GET", "https://r/").end(End::Unanswered { reason: "no".into() });
                trace.requests()
            },
        };
        for result in [Ok(found), Err(Failure::of("x", "y".into()))] {
            let mut pipe = Vec::new();
            write(&mut pipe, &result).unwrap();
            assert_eq!(read(&pipe).unwrap(), result);
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
}
