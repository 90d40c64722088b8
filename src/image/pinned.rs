//! Who said which image a reference means, and where it leads: plain facts for whoever reports them.

use serde::{Deserialize, Serialize};

use super::Digest;
use super::agreement::{Answer, Kind};

/// Who said which image it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinnedBy {
    /// The pod's status: it is what the runtime runs.
    PodStatus,
    /// The registry, or a place that stands for it.
    Registry,
    /// The reference itself, by its digest.
    Reference,
    /// The daemon.
    Daemon,
}

/// Where a reference leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadsTo {
    /// What the digest is the digest of: an index or a manifest.
    pub kind: Kind,
    /// The digest.
    pub digest: Digest,
}

impl LeadsTo {
    /// Where an answer says that the reference leads.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Index { index, .. } => Self { kind: Kind::Index, digest: *index },
            Answer::Manifest { manifest, .. } => Self { kind: Kind::Manifest, digest: *manifest },
        }
    }
}
