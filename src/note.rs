//! One line of the story of a lookup.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A source that a lookup used, and what became of it. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The source: `service account ci/builder`, `docker config /root/.docker/config.json`.
    pub source: String,
    /// What became of it: `forbidden: cannot get secrets`, `no entry for ghcr.io`, `refused by the registry: 401`.
    pub outcome: String,
}

impl Note {
    /// A note about a source.
    pub fn new(source: impl Into<String>, outcome: impl Into<String>) -> Self {
        Self { source: source.into(), outcome: outcome.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.outcome)
    }
}
