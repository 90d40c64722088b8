//! What a container runtime says that it runs: `image` and `imageID` of a container's status, read without believing
//! more than stands there: pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Digest, Reference, shown};

/// How many characters of a runtime's text are kept. What is longer is no image.
const LIMIT: usize = 1024;

/// What a runtime reports of a container's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// `image`, verbatim: whichever of the image's names the runtime likes best.
    pub image: String,
    /// `imageID`, verbatim; empty while the runtime has not said it.
    pub image_id: String,
    /// What `imageID` identifies, if it is an identity.
    pub identity: Option<RunningDigest>,
}

/// The image that a runtime runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningDigest {
    /// The digest.
    pub digest: Digest,
    /// What it is the digest of. Who has seen the document knows it better than the form tells.
    pub kind: RunningKind,
    /// The repository that the runtime names the digest in, which need not be the image's.
    pub repository: Option<Repository>,
}

/// What a digest is the digest of, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunningKind {
    /// An index. No form tells this: its document does.
    Index,
    /// A manifest, likewise.
    Manifest,
    /// A config: an image's identity where the runtime has no name for it in a repository.
    Config,
    /// One of the two that registries name: an index or a manifest.
    IndexOrManifest,
    /// Any of them, or something that only the runtime knows.
    Unknown,
}

/// A repository by its canonical name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// `index.docker.io`.
    pub registry: String,
    /// `library/busybox`.
    pub path: String,
}

impl Running {
    /// Reads the two fields. Whatever they hold is kept; only an `imageID` that is one of these is an identity:
    ///
    /// | form | from | digest of |
    /// |---|---|---|
    /// | `repo@sha256:…` | containerd, CRI-O | index or manifest |
    /// | `docker-pullable://repo@sha256:…` | Docker | index or manifest |
    /// | `sha256:…` | containerd, of an image that was imported; CRI-O | config |
    /// | `…`, the 64 digits alone | CRI-O | mostly the config; its storage may have made up another |
    /// | `docker://sha256:…` | Docker | config; index or manifest where Docker keeps images as containerd does |
    #[must_use]
    pub fn parse(image: &str, image_id: &str) -> Self {
        let fits = |text: &&str| text.chars().nth(LIMIT).is_none();
        let identity = Some(image_id).filter(fits).and_then(RunningDigest::parse);
        Self { image: shown_verbatim(image), image_id: shown_verbatim(image_id), identity }
    }

    /// Whether the runtime has not said yet what it runs: the image is not pulled, or the container is not made.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.image_id.is_empty()
    }
}

impl RunningDigest {
    fn parse(image_id: &str) -> Option<Self> {
        let alone = |text: &str, kind| text.parse().ok().map(|digest| Self { digest, kind, repository: None });
        if let Some(id) = image_id.strip_prefix("docker://") {
            return alone(id, RunningKind::Unknown);
        }
        let id = image_id.strip_prefix("docker-pullable://").unwrap_or(image_id);
        if id.contains('@') {
            let reference: Reference = id.parse().ok()?;
            return Some(Self {
                digest: *reference.digest()?,
                kind: RunningKind::IndexOrManifest,
                repository: Some(Repository::of(&reference)),
            });
        }
        if id.len() != image_id.len() {
            return None;
        }
        alone(id, RunningKind::Config).or_else(|| alone(&format!("sha256:{id}"), RunningKind::Unknown))
    }

    /// Whether the runtime names it in the repository of this image, or in none.
    #[must_use]
    pub fn is_of(&self, image: &Reference) -> bool {
        self.repository.as_ref().is_none_or(|named| *named == Repository::of(image))
    }
}

impl Repository {
    /// The repository of an image.
    #[must_use]
    pub fn of(image: &Reference) -> Self {
        Self { registry: image.registry().to_owned(), path: image.repository().to_owned() }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// The text as it is, unless it is too long to be kept.
fn shown_verbatim(text: &str) -> String {
    if text.chars().nth(LIMIT).is_none() { text.to_owned() } else { shown(text, LIMIT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// The identity in words: kind, repository.
    fn read(image_id: &str) -> Option<(RunningKind, Option<String>)> {
        let running = Running::parse("some:name", image_id);
        assert_eq!((running.image.as_str(), running.image_id.as_str()), ("some:name", image_id));
        assert_eq!(running.is_late(), image_id.is_empty());
        running.identity.map(|identity| {
            assert_eq!(identity.digest.to_string(), format!("sha256:{HEX}"));
            (identity.kind, identity.repository.map(|repository| repository.to_string()))
        })
    }

    #[test]
    fn every_form_of_an_image_id_is_read() {
        use RunningKind::{Config, IndexOrManifest, Unknown};
        for (form, kind, repository) in [
            ("docker.io/library/busybox@", IndexOrManifest, Some("index.docker.io/library/busybox")),
            ("busybox@", IndexOrManifest, Some("index.docker.io/library/busybox")),
            ("ghcr.io/acme/build@", IndexOrManifest, Some("ghcr.io/acme/build")),
            ("ghcr.io/acme/build:1.2@", IndexOrManifest, Some("ghcr.io/acme/build")),
            ("localhost:5000/a@", IndexOrManifest, Some("localhost:5000/a")),
            ("[::1]:5000/a@", IndexOrManifest, Some("[::1]:5000/a")),
            // What containerd calls an image that was imported without a name.
            (
                "docker.io/library/import-2026-11-21@",
                IndexOrManifest,
                Some("index.docker.io/library/import-2026-11-21"),
            ),
            ("docker-pullable://ghcr.io/a@", IndexOrManifest, Some("ghcr.io/a")),
            ("docker-pullable://busybox@", IndexOrManifest, Some("index.docker.io/library/busybox")),
            ("docker://", Unknown, None),
            ("", Config, None),
        ] {
            let image_id = format!("{form}sha256:{HEX}");
            assert_eq!(read(&image_id), Some((kind, repository.map(str::to_owned))), "{image_id}");
        }
        assert_eq!(read(HEX), Some((Unknown, None)));
    }

    #[test]
    fn what_is_no_identity_is_kept_and_nothing_is_made_of_it() {
        let upper = format!("sha256:{}", HEX.to_uppercase());
        let sha512 = format!("ghcr.io/a@sha512:{HEX}{HEX}");
        let odd = format!("containerd://sha256:{HEX}");
        let twice = format!("docker://docker-pullable://a@sha256:{HEX}");
        let named = format!("docker://ghcr.io/a@sha256:{HEX}");
        let unnamed = format!("docker-pullable://sha256:{HEX}");
        let nobody = format!("@sha256:{HEX}");
        let climbing = format!("ghcr.io/../a@sha256:{HEX}");
        for image_id in [
            "",
            " ",
            "sha256:",
            "sha256:abc",
            "busybox:latest",
            "docker://",
            "docker-pullable://",
            "docker-pullable://busybox:latest",
            "ghcr.io/a@",
            "ghcr.io/a@sha256:",
            "\u{1}\n\0",
            upper.as_str(),
            sha512.as_str(),
            odd.as_str(),
            twice.as_str(),
            named.as_str(),
            unnamed.as_str(),
            nobody.as_str(),
            climbing.as_str(),
            &HEX[1..],
        ] {
            assert_eq!(read(image_id), None, "{image_id:?}");
        }
    }

    #[test]
    fn an_endless_text_is_cut_and_is_no_identity() {
        let long = format!("{}@sha256:{HEX}", "a/".repeat(5000));
        let running = Running::parse(&long, &long);
        assert_eq!(running.identity, None);
        for text in [running.image, running.image_id] {
            assert!(text.len() < LIMIT + 8 && text.ends_with("..."), "{text}");
        }
    }

    #[test]
    fn a_repository_is_compared_by_its_canonical_name() {
        let of = |image_id: &str, image: &str| {
            let identity = Running::parse("", image_id).identity.unwrap();
            identity.is_of(&image.parse().unwrap())
        };
        let hub = format!("docker.io/library/busybox@sha256:{HEX}");
        assert!(of(&hub, "busybox:1.37"));
        assert!(of(&hub, "index.docker.io/library/busybox"));
        assert!(!of(&hub, "ghcr.io/library/busybox"));
        assert!(!of(&hub, "busybox2"));
        assert!(of(&format!("sha256:{HEX}"), "busybox2"));
    }
}
