//! Whether what a runtime runs is what a registry answers now: like is compared with like, and nothing is concluded
//! from what cannot be compared: pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::running::{Running, RunningKind};
use super::{Digest, Index, Platform, Reference};

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// The runtime runs what the registry answers.
    Same,
    /// The registry answers something else now than what the runtime runs.
    Moved,
    /// The two cannot be compared.
    Unknown,
}

/// What documents of an image there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The list of an image's platforms.
    Index,
    /// One platform's image.
    Manifest,
    /// How that one is run.
    Config,
}

/// What a registry answers for a reference now, as far as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The reference leads to one image.
    Manifest {
        /// Its digest.
        manifest: Digest,
        /// That of its config, if the manifest was read.
        config: Option<Digest>,
    },
    /// The reference leads to an index.
    Index {
        /// Its digest.
        index: Digest,
        /// What stands in it, if it was read.
        within: Option<Within>,
    },
}

/// What stands in an index, and which of it was chosen for a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The digest of every image that the index lists.
    children: Vec<Digest>,
    /// Whether `children` are all that a runtime may have chosen: not where an entry may be an index within the index.
    closed: bool,
    /// Whether somebody else may have chosen another for the same platform.
    rivals: bool,
    /// None where none is for the platform.
    manifest: Option<Digest>,
    config: Option<Digest>,
}

impl Within {
    /// What an index has, from which `manifest` was chosen for a platform, if any is for that; `config` is its config, if it
    /// was read.
    #[must_use]
    pub fn of(index: &Index, platform: &Platform, manifest: impl Into<Option<Digest>>, config: Option<Digest>) -> Self {
        let manifest = manifest.into();
        let candidates = index.candidates(platform);
        Self {
            children: index.images().map(|image| image.descriptor.digest).collect(),
            closed: index.images().all(|image| image.platform.is_some()),
            rivals: candidates.iter().any(|candidate| Some(candidate.descriptor.digest) != manifest),
            manifest,
            config,
        }
    }
}

/// A verdict with what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The verdict.
    pub verdict: Match,
    /// What was compared with its like; none where nothing was.
    pub compared: Option<Kind>,
    /// Why; shown, a sentence.
    pub because: Because,
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Because {
    /// One index.
    SameIndex,
    /// One manifest.
    SameManifest,
    /// Another image of the index.
    SameIndexOtherImage,
    /// One config.
    SameConfig,
    /// Another index.
    OtherIndex,
    /// Another manifest.
    OtherManifest,
    /// Neither the index nor any image of it.
    NeitherIndexNorImage,
    /// Another config.
    OtherConfig,
    /// There is no registry's answer.
    NotAsked,
    /// The runtime's word was not asked for.
    NotWanted,
    /// There is no runtime's word.
    NotReported,
    /// The runtime has not said it yet.
    Late,
    /// What the runtime says is no identity.
    NoIdentity,
    /// It differs, and is named in another repository.
    OtherRepository,
    /// It differs, and nobody knows what it is the digest of.
    UnknownKind,
    /// It is an index, and the registry has one image.
    IndexOfOneImage,
    /// It is either, and the registry has one image, which it is not.
    PerhapsIndexOfOneImage,
    /// The registry's document that it would be compared with was not read.
    NotRead,
    /// It may be of an index within the index.
    IndexWithin,
    /// It is another config than that of the image chosen here, and the index has others for the platform.
    OtherChoice,
}

impl Agreement {
    /// What follows from a runtime's word and a registry's answer for the image that was asked for.
    #[must_use]
    pub fn of(running: Option<&Running>, requested: &Reference, answer: Option<&Answer>) -> Self {
        let Some(running) = running else { return Self::unknown(Because::NotReported) };
        let Some(identity) = &running.identity else {
            return Self::unknown(if running.is_late() { Because::Late } else { Because::NoIdentity });
        };
        let Some(answer) = answer else { return Self::unknown(Because::NotAsked) };
        let found = Self::compare(&identity.digest, identity.kind, answer);
        // The same bytes are the same anywhere. Other bytes of another repository say nothing of where a tag of this
        // one leads, until somebody finds them here: that tells the kind too.
        let elsewhere = !identity.is_of(requested) && identity.kind == RunningKind::IndexOrManifest;
        if found.verdict != Match::Same && elsewhere { Self::unknown(Because::OtherRepository) } else { found }
    }

    /// Compares a digest of some kind with an answer.
    #[must_use]
    pub fn compare(running: &Digest, kind: RunningKind, answer: &Answer) -> Self {
        match kind {
            RunningKind::Index => index(running, answer),
            RunningKind::Manifest => manifest(running, answer),
            RunningKind::Config => config(running, answer),
            RunningKind::IndexOrManifest => either(running, answer),
            // Equal digests are of one thing, whatever it is.
            RunningKind::Unknown => [index, manifest, config]
                .into_iter()
                .map(|compare| compare(running, answer))
                .find(|found| found.verdict == Match::Same)
                .unwrap_or(Self::unknown(Because::UnknownKind)),
        }
    }

    fn same(compared: Kind, because: Because) -> Self {
        Self { verdict: Match::Same, compared: Some(compared), because }
    }

    fn moved(compared: Kind, because: Because) -> Self {
        Self { verdict: Match::Moved, compared: Some(compared), because }
    }

    /// Nothing was compared.
    #[must_use]
    pub fn unknown(because: Because) -> Self {
        Self { verdict: Match::Unknown, compared: None, because }
    }
}

/// An index with the index.
fn index(running: &Digest, answer: &Answer) -> Agreement {
    match answer {
        Answer::Index { index, .. } if index == running => Agreement::same(Kind::Index, Because::SameIndex),
        Answer::Index { .. } => Agreement::moved(Kind::Index, Because::OtherIndex),
        Answer::Manifest { .. } => Agreement::unknown(Because::IndexOfOneImage),
    }
}

/// A manifest with the manifest, or with every image of the index.
fn manifest(running: &Digest, answer: &Answer) -> Agreement {
    match answer {
        Answer::Manifest { manifest, .. }
        | Answer::Index { within: Some(Within { manifest: Some(manifest), .. }), .. }
            if manifest == running =>
        {
            Agreement::same(Kind::Manifest, Because::SameManifest)
        }
        Answer::Manifest { .. } => Agreement::moved(Kind::Manifest, Because::OtherManifest),
        Answer::Index { within: Some(within), .. } if within.children.contains(running) => {
            Agreement::same(Kind::Manifest, Because::SameIndexOtherImage)
        }
        Answer::Index { within: Some(within), .. } if within.closed => {
            Agreement::moved(Kind::Manifest, Because::OtherManifest)
        }
        Answer::Index { within: Some(_), .. } => Agreement::unknown(Because::IndexWithin),
        Answer::Index { within: None, .. } => Agreement::unknown(Because::NotRead),
    }
}

/// A config with the config.
fn config(running: &Digest, answer: &Answer) -> Agreement {
    let (config, rivals) = match answer {
        Answer::Manifest { config, .. } => (config, false),
        Answer::Index { within: Some(within), .. } => (&within.config, within.rivals),
        Answer::Index { within: None, .. } => (&None, false),
    };
    match config {
        None => Agreement::unknown(Because::NotRead),
        Some(config) if config == running => Agreement::same(Kind::Config, Because::SameConfig),
        Some(_) if rivals => Agreement::unknown(Because::OtherChoice),
        Some(_) => Agreement::moved(Kind::Config, Because::OtherConfig),
    }
}

/// A digest that is an index's or a manifest's: it is another one only if it is another one either way.
fn either(running: &Digest, answer: &Answer) -> Agreement {
    let (as_index, as_manifest) = (index(running, answer), manifest(running, answer));
    match (as_index.verdict, as_manifest.verdict) {
        (Match::Same, _) => as_index,
        (_, Match::Same) => as_manifest,
        (Match::Moved, Match::Moved) => Agreement::moved(Kind::Index, Because::NeitherIndexNorImage),
        (Match::Unknown, Match::Moved) => Agreement::unknown(Because::PerhapsIndexOfOneImage),
        (_, Match::Unknown) => as_manifest,
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameIndex => {
                "the runtime runs an image of the index that the reference leads to; which one of the index was chosen \
                 here, for the platform"
            }
            Self::SameManifest => "the runtime runs the manifest that the reference leads to",
            Self::SameIndexOtherImage => {
                "the runtime runs another image of the index that the reference leads to than the one that would be \
                 chosen here for the platform"
            }
            Self::SameConfig => "the runtime runs an image with the config that the reference leads to",
            Self::OtherIndex => "the reference leads to another index than the one whose image the runtime runs",
            Self::OtherManifest => "the reference does not lead to the manifest that the runtime runs any more",
            Self::NeitherIndexNorImage => {
                "what the runtime runs is neither the index that the reference leads to nor an image of it"
            }
            Self::OtherConfig => "the reference leads to another config than that of the image that the runtime runs",
            Self::NotAsked => "no registry was asked where the reference leads, or none answered",
            Self::NotWanted => "what the runtime runs was not asked for",
            Self::NotReported => "what the runtime runs could not be read",
            Self::Late => "the runtime had not said yet what it runs",
            Self::NoIdentity => "the imageID that the runtime reported is not a digest",
            Self::OtherRepository => {
                "what the runtime runs is named in another repository, and is not what the reference leads to"
            }
            Self::UnknownKind => {
                "it is not known what the reported digest is the digest of, and the reference leads to no such digest"
            }
            Self::IndexOfOneImage => "the runtime reports an index, and the reference leads to a single manifest",
            Self::PerhapsIndexOfOneImage => {
                "the reported digest may be that of an index, and the reference leads to a single, other manifest"
            }
            Self::NotRead => "the document that the reported digest would be compared with was not read",
            Self::IndexWithin => {
                "the index that the reference leads to may have another index within, which was not read"
            }
            Self::OtherChoice => {
                "the runtime may have chosen another image of the index for this platform than the one chosen here"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::*;

    /// A digest by a name: `i` the index, `m` the manifest, `c` its config, `s` a sibling in the index, `x` nobody's.
    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn entry(name: &str, platform: &str) -> String {
        let platform = match platform.split('/').collect::<Vec<_>>()[..] {
            [os, architecture] => format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}"#),
            [os, architecture, variant] => {
                format!(r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#)
            }
            _ => String::new(),
        };
        format!(r#"{{"digest":"{}","size":1{platform}}}"#, digest(name))
    }

    fn within(entries: &[String], config: Option<&str>) -> Within {
        let document = format!(r#"{{"manifests":[{}]}}"#, entries.join(","));
        match Document::parse(None, document.as_bytes()) {
            Ok(Document::Index(index)) => {
                Within::of(&index, &"linux/amd64".parse().unwrap(), digest("m"), config.map(digest))
            }
            other => panic!("{other:?}"),
        }
    }

    fn index_answer(entries: &[String]) -> Answer {
        Answer::Index { index: digest("i"), within: Some(within(entries, Some("c"))) }
    }

    /// An index with an image for this platform and one for another; and a single image.
    fn whole() -> [Answer; 2] {
        let entries = [entry("m", "linux/amd64"), entry("s", "linux/arm64")];
        [index_answer(&entries), Answer::Manifest { manifest: digest("m"), config: Some(digest("c")) }]
    }

    #[test]
    fn like_is_compared_with_like() {
        use Match::{Moved, Same, Unknown};
        use RunningKind as Running;
        let [index, single] = whole();
        // Kind, digest, verdict for index + manifest + config, verdict for manifest + config.
        for (kind, name, of_index, of_single) in [
            (Running::Index, "i", Same, Unknown),
            (Running::Index, "x", Moved, Unknown),
            // Digests of other things than the kind are other things.
            (Running::Index, "m", Moved, Unknown),
            (Running::Index, "c", Moved, Unknown),
            (Running::Manifest, "m", Same, Same),
            (Running::Manifest, "s", Same, Moved),
            (Running::Manifest, "x", Moved, Moved),
            (Running::Manifest, "i", Moved, Moved),
            (Running::Manifest, "c", Moved, Moved),
            (Running::Config, "c", Same, Same),
            (Running::Config, "x", Moved, Moved),
            (Running::Config, "m", Moved, Moved),
            (Running::Config, "i", Moved, Moved),
            (Running::IndexOrManifest, "i", Same, Unknown),
            (Running::IndexOrManifest, "m", Same, Same),
            (Running::IndexOrManifest, "s", Same, Unknown),
            (Running::IndexOrManifest, "x", Moved, Unknown),
            (Running::IndexOrManifest, "c", Moved, Unknown),
            (Running::Unknown, "i", Same, Unknown),
            (Running::Unknown, "m", Same, Same),
            (Running::Unknown, "s", Same, Unknown),
            (Running::Unknown, "c", Same, Same),
            (Running::Unknown, "x", Unknown, Unknown),
        ] {
            for (answer, verdict) in [(&index, of_index), (&single, of_single)] {
                let found = Agreement::compare(&digest(name), kind, answer);
                assert_eq!(found.verdict, verdict, "{kind:?} {name} {answer:?}: {}", found.because);
                assert_eq!(found.compared.is_some(), verdict != Unknown);
            }
        }
    }

    #[test]
    fn what_agrees_is_told_with_what_it_agrees_in() {
        let [index, single] = whole();
        for (name, answer, compared, because) in [
            ("i", &index, Kind::Index, Because::SameIndex),
            ("m", &index, Kind::Manifest, Because::SameManifest),
            ("s", &index, Kind::Manifest, Because::SameIndexOtherImage),
            ("c", &index, Kind::Config, Because::SameConfig),
            ("m", &single, Kind::Manifest, Because::SameManifest),
            ("c", &single, Kind::Config, Because::SameConfig),
        ] {
            let found = Agreement::compare(&digest(name), RunningKind::Unknown, answer);
            assert_eq!(found, Agreement { verdict: Match::Same, compared: Some(compared), because });
        }
        assert!(Because::SameIndex.to_string().ends_with("was chosen here, for the platform"));
    }

    #[test]
    fn nothing_is_concluded_from_what_was_not_read() {
        let head_of_index = Answer::Index { index: digest("i"), within: None };
        let head_of_image = Answer::Manifest { manifest: digest("m"), config: None };
        let unread = Answer::Index { index: digest("i"), within: Some(within(&[entry("m", "linux/amd64")], None)) };
        for (kind, name, answer, verdict) in [
            (RunningKind::Index, "i", &head_of_index, Match::Same),
            (RunningKind::Index, "x", &head_of_index, Match::Moved),
            (RunningKind::Manifest, "x", &head_of_index, Match::Unknown),
            (RunningKind::Config, "x", &head_of_index, Match::Unknown),
            (RunningKind::IndexOrManifest, "i", &head_of_index, Match::Same),
            (RunningKind::IndexOrManifest, "x", &head_of_index, Match::Unknown),
            (RunningKind::Manifest, "m", &head_of_image, Match::Same),
            (RunningKind::Manifest, "x", &head_of_image, Match::Moved),
            (RunningKind::Config, "x", &head_of_image, Match::Unknown),
            (RunningKind::Config, "x", &unread, Match::Unknown),
        ] {
            let found = Agreement::compare(&digest(name), kind, answer);
            assert_eq!(found.verdict, verdict, "{kind:?} {name} {answer:?}");
        }
    }

    #[test]
    fn another_choice_from_the_same_index_is_not_a_moved_tag() {
        // Two images for this platform: the runtime may have taken the other.
        let rivals = index_answer(&[entry("m", "linux/amd64"), entry("s", "linux/amd64/v2")]);
        let found = Agreement::compare(&digest("x"), RunningKind::Config, &rivals);
        assert_eq!((found.verdict, found.because), (Match::Unknown, Because::OtherChoice));
        assert_eq!(Agreement::compare(&digest("x"), RunningKind::Manifest, &rivals).verdict, Match::Moved);
        // An entry without a platform may be an index, with images that were not seen.
        let nested = index_answer(&[entry("n", ""), entry("s", "linux/arm64")]);
        for (kind, name, verdict) in [
            (RunningKind::Manifest, "m", Match::Same),
            (RunningKind::Manifest, "n", Match::Same),
            (RunningKind::Manifest, "x", Match::Unknown),
            (RunningKind::IndexOrManifest, "x", Match::Unknown),
            (RunningKind::Config, "x", Match::Unknown),
            (RunningKind::Index, "x", Match::Moved),
        ] {
            assert_eq!(Agreement::compare(&digest(name), kind, &nested).verdict, verdict, "{kind:?} {name}");
        }
    }

    #[test]
    fn what_a_runtime_reports_is_compared_with_what_was_asked_for() {
        let requested: Reference = "busybox:1.37".parse().unwrap();
        let [index, single] = whole();
        let own = |name: &str| format!("docker.io/library/busybox@{}", digest(name));
        let other = |name: &str| format!("ghcr.io/mirror/busybox@{}", digest(name));
        for (image_id, answer, verdict, because) in [
            (own("i"), Some(&index), Match::Same, Because::SameIndex),
            (own("x"), Some(&index), Match::Moved, Because::NeitherIndexNorImage),
            (own("m"), Some(&single), Match::Same, Because::SameManifest),
            (own("x"), Some(&single), Match::Unknown, Because::PerhapsIndexOfOneImage),
            (other("i"), Some(&index), Match::Same, Because::SameIndex),
            (other("x"), Some(&index), Match::Unknown, Because::OtherRepository),
            (other("x"), Some(&single), Match::Unknown, Because::OtherRepository),
            (digest("c").to_string(), Some(&index), Match::Same, Because::SameConfig),
            (digest("x").to_string(), Some(&index), Match::Moved, Because::OtherConfig),
            (format!("docker://{}", digest("c")), Some(&single), Match::Same, Because::SameConfig),
            (format!("docker://{}", digest("i")), Some(&index), Match::Same, Because::SameIndex),
            (format!("docker://{}", digest("x")), Some(&index), Match::Unknown, Because::UnknownKind),
            (
                format!("docker-pullable://busybox@{}", digest("x")),
                Some(&index),
                Match::Moved,
                Because::NeitherIndexNorImage,
            ),
            (own("i"), None, Match::Unknown, Because::NotAsked),
            (String::new(), Some(&index), Match::Unknown, Because::Late),
            ("busybox:1.37".to_owned(), Some(&index), Match::Unknown, Because::NoIdentity),
        ] {
            let running = Running::parse("busybox:1.37", &image_id);
            let found = Agreement::of(Some(&running), &requested, answer);
            assert_eq!((found.verdict, found.because), (verdict, because), "{image_id}");
        }
        assert_eq!(Agreement::of(None, &requested, Some(&index)).because, Because::NotReported);
    }

    #[test]
    fn whoever_has_seen_the_document_knows_better_than_the_form() {
        let requested: Reference = "busybox:1.37".parse().unwrap();
        let [index, single] = whole();
        let running = |image_id: String, kind| {
            let mut running = Running::parse("", &image_id);
            running.identity.as_mut().unwrap().kind = kind;
            running
        };
        // Found by its digest in the image's own repository, as an old manifest: the tag has moved.
        let old = running(format!("ghcr.io/mirror/busybox@{}", digest("x")), RunningKind::Manifest);
        assert_eq!(Agreement::of(Some(&old), &requested, Some(&single)).verdict, Match::Moved);
        // The config of a runtime that made the identity up is never known to be one.
        let hex = digest("x").to_string().replace("sha256:", "");
        let made_up = Running::parse("", &hex);
        assert_eq!(Agreement::of(Some(&made_up), &requested, Some(&index)).because, Because::UnknownKind);
    }
}
