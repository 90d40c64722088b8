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

#[cfg(test)]
mod tests {
    use super::super::agreement::Within;
    use super::super::{Document, Platform};
    use super::*;

    #[test]
    fn a_reference_leads_to_the_document_that_it_names_and_to_none_within() {
        let [index, manifest, config] = ["index", "manifest", "config"].map(|name| Digest::of(name.as_bytes()));
        let platform: Platform = "linux/amd64".parse().unwrap();
        let text = format!(r#"{{"manifests":[{{"digest":"{manifest}","size":1}}]}}"#);
        let Ok(Document::Index(document)) = Document::parse(None, text.as_bytes()) else { panic!("an index") };
        let within = Within::of(&document, &platform, manifest, Some(config));
        for (answer, kind, digest) in [
            (Answer::Index { index, within: None }, Kind::Index, index),
            (Answer::Index { index, within: Some(within) }, Kind::Index, index),
            (Answer::Manifest { manifest, config: None }, Kind::Manifest, manifest),
            (Answer::Manifest { manifest, config: Some(config) }, Kind::Manifest, manifest),
        ] {
            assert_eq!(LeadsTo::of(&answer), LeadsTo { kind, digest });
        }
    }
}
