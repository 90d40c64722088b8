//! One line of the story of a lookup.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::quote::OneLine;
use crate::sys::cause::chain;

/// A source that a lookup used, and what became of it. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The source: `service account ci/builder`, `docker config /home/ann/.docker/config.json`.
    pub source: String,
    /// What became of it: `forbidden: cannot get secrets`, `no entry for ghcr.io`, `refused by the registry: 401`.
    pub outcome: String,
}

impl Note {
    /// A note about a source. It is one line: a control character is shown by its escape.
    pub fn new(source: impl Into<String>, outcome: impl Into<String>) -> Self {
        Self { source: OneLine(source.into()).to_string(), outcome: OneLine(outcome.into()).to_string() }
    }

    /// A note about a source that failed: the error with its causes.
    pub fn failed(source: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        Self::new(source, chain(error))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line() {
        let note = Note::new("docker config /tmp/a\nb", "odd\x1b[31m");
        assert_eq!(note.to_string(), r"docker config /tmp/a\nb: odd\u{1b}[31m");
    }

    #[test]
    fn a_failure_is_told_with_its_causes() {
        let error = std::io::Error::from_raw_os_error(libc::EACCES);
        assert_eq!(Note::failed("s", &error).outcome, "permission denied");
    }
}
