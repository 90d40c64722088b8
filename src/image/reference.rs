//! Image references, parsed as the tools around Tekton parse them (`pkg/name` of google/go-containerregistry).
//!
//! Three differences, all on input that no registry serves: a host name is made lower case, a port must be a number of
//! a port, and the path segments `.` and `..` are refused, because they would leave the registry's API.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::{Digest, DigestError, shown};

/// Docker Hub's name in a canonical reference.
pub const DOCKER_HUB: &str = "index.docker.io";

/// The longest reference that is looked at, in bytes: registry, repository, tag and digest at their own limits.
const LIMIT: usize = 1024;

/// The longest registry, in bytes: a host name has at most 253, and `:65535` follows. Without a limit of its own the
/// canonical form of a reference might be too long to be one.
const REGISTRY: usize = 253 + 6;

/// Where an image is, and which one of that place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    written: String,
    registry: String,
    repository: String,
    identifier: Identifier,
}

/// Which image of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// A name that may move.
    Tag(String),
    /// The content itself.
    Digest(Digest),
}

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing.
    #[error("the image reference is empty")]
    Empty,
    /// Endless.
    #[error("the image reference {reference:?} is too long")]
    Long {
        /// Its beginning.
        reference: String,
    },
    /// A URL.
    #[error("the image reference {reference:?} is a URL: leave out the part up to ://")]
    Scheme {
        /// As written.
        reference: String,
    },
    /// A registry that is no host.
    #[error(
        "the image reference {reference:?} has the registry {registry:?}, which is not a host name of at most 253 characters with \
         an optional port"
    )]
    Registry {
        /// As written.
        reference: String,
        /// What stands before the first slash.
        registry: String,
    },
    /// A repository with a character that cannot be in one.
    #[error(
        "the image reference {reference:?} has {character:?} in its repository, where only a-z, 0-9 and _ - . / may be"
    )]
    Repository {
        /// As written.
        reference: String,
        /// The first such character.
        character: char,
    },
    /// A repository of no or more than 255 characters.
    #[error("the image reference {reference:?} has a repository of {length} characters: 1 to 255 may be")]
    RepositoryLength {
        /// As written.
        reference: String,
        /// In characters.
        length: usize,
    },
    /// A repository that climbs out of its place.
    #[error("the image reference {reference:?} has a repository with a part that is only dots")]
    Dots {
        /// As written.
        reference: String,
    },
    /// A tag that is none.
    #[error("the image reference {reference:?} has the tag {tag:?}: 1 to 128 letters, digits and _ - . may be")]
    Tag {
        /// As written.
        reference: String,
        /// What stands behind the colon.
        tag: String,
    },
    /// More than one `@`.
    #[error("the image reference {reference:?} has more than one @")]
    TwoDigests {
        /// As written.
        reference: String,
    },
    /// A digest that is none.
    #[error("the image reference {reference:?} has no usable digest behind its @")]
    Digest {
        /// As written.
        reference: String,
        /// Why.
        source: DigestError,
    },
}

impl Reference {
    /// The text that was parsed.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// Host and optional port: `index.docker.io`, `localhost:5000`, `[::1]:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path of the repository: `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Tag or digest. A reference with both has the digest: the tag only tells a person what it was.
    #[must_use]
    pub fn identifier(&self) -> &Identifier {
        &self.identifier
    }

    /// The same image as another place names it.
    ///
    /// # Errors
    ///
    /// When that is no reference, as for a path that is too long.
    pub fn at(&self, registry: &str, repository: &str) -> Result<Self, ReferenceError> {
        let separator = if self.digest().is_some() { '@' } else { ':' };
        format!("{registry}/{repository}{separator}{}", self.identifier).parse()
    }

    /// The digest, if the reference has one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match &self.identifier {
            Identifier::Digest(digest) => Some(digest),
            Identifier::Tag(_) => None,
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference = || shown(text, 200);
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > LIMIT {
            return Err(ReferenceError::Long { reference: reference() });
        }
        if text.contains("://") {
            return Err(ReferenceError::Scheme { reference: reference() });
        }
        let (named, digest) = match text.split_once('@') {
            Some((_, digest)) if digest.contains('@') => {
                return Err(ReferenceError::TwoDigests { reference: reference() });
            }
            Some((named, digest)) => match digest.parse() {
                Ok(digest) => (named, Some(digest)),
                Err(source) => return Err(ReferenceError::Digest { reference: reference(), source }),
            },
            None => (text, None),
        };
        let (place, tag) = match named.rsplit_once(':') {
            Some((place, tag)) if !tag.contains('/') => (place, Some(tag)),
            Some(_) | None => (named, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag { reference: reference(), tag: shown(tag, 200) });
        }
        let (registry, repository) = match place.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (first, rest),
            Some(_) | None => (DOCKER_HUB, place),
        };
        if registry.len() > REGISTRY || !is_authority(registry) {
            return Err(ReferenceError::Registry { reference: reference(), registry: shown(registry, 200) });
        }
        check_repository(repository, reference)?;
        let registry = match registry.to_ascii_lowercase() {
            short if short == "docker.io" => DOCKER_HUB.to_owned(),
            other => other,
        };
        let official = registry == DOCKER_HUB && !repository.contains('/');
        let repository = if official { format!("library/{repository}") } else { repository.to_owned() };
        check_repository(&repository, reference)?;
        let identifier = match digest {
            Some(digest) => Identifier::Digest(digest),
            None => Identifier::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self { written: text.to_owned(), registry, repository, identifier })
    }
}

fn is_tag(tag: &str) -> bool {
    // These two would lead to another path, as in a repository.
    !matches!(tag, "." | "..")
        && (1..=128).contains(&tag.len())
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// Whether a text is a host with an optional port, as a URL has them.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            match port.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if port.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|n: u16| n > 0);
    host.is_none_or(is_host) && port.is_none_or(is_port)
}

fn check_repository(repository: &str, reference: impl Fn() -> String) -> Result<(), ReferenceError> {
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-./".contains(*c);
    if let Some(character) = repository.chars().find(|c| !allowed(c)) {
        return Err(ReferenceError::Repository { reference: reference(), character });
    }
    if !(1..=255).contains(&repository.len()) {
        return Err(ReferenceError::RepositoryLength { reference: reference(), length: repository.len() });
    }
    if repository.split('/').any(|part| part == "." || part == "..") {
        return Err(ReferenceError::Dots { reference: reference() });
    }
    Ok(())
}

impl fmt::Display for Reference {
    /// The canonical form: `index.docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identifier {
            Identifier::Tag(tag) => write!(f, "{}/{}:{tag}", self.registry, self.repository),
            Identifier::Digest(digest) => write!(f, "{}/{}@{digest}", self.registry, self.repository),
        }
    }
}

impl fmt::Display for Identifier {
    /// As the path of a manifest has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_have_one_canonical_form() {
        for (written, canonical) in [
            ("busybox", "index.docker.io/library/busybox:latest"),
            ("busybox:1.37", "index.docker.io/library/busybox:1.37"),
            ("docker.io/busybox", "index.docker.io/library/busybox:latest"),
            ("index.docker.io/busybox", "index.docker.io/library/busybox:latest"),
            ("registry-1.docker.io/busybox", "registry-1.docker.io/busybox:latest"),
            ("bitnami/git", "index.docker.io/bitnami/git:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000", "index.docker.io/library/localhost:5000"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("localhost:5000/x:y", "localhost:5000/x:y"),
            ("ghcr.io/a/b/c:_tag", "ghcr.io/a/b/c:_tag"),
            ("GHCR.io/a", "ghcr.io/a:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
            ("[::1]/x:y", "[::1]/x:y"),
            ("10.0.0.1/a//b", "10.0.0.1/a//b:latest"),
            ("a_b.example/x", "a_b.example/x:latest"),
        ] {
            let reference: Reference = written.parse().expect(written);
            assert_eq!(reference.to_string(), canonical);
            assert_eq!(reference.as_written(), written);
            let again: Reference = canonical.parse().expect(canonical);
            assert_eq!(again.to_string(), canonical);
        }
    }

    #[test]
    fn a_repository_has_its_length_with_what_goes_without_saying() {
        let longest = "x".repeat(255 - "library/".len());
        let reference: Reference = longest.parse().expect("a reference");
        assert_eq!(reference.to_string().parse::<Reference>().map(|again| again.repository().len()), Ok(255));
        for text in [format!("{longest}x"), format!("docker.io/{longest}x"), format!("{longest}x@sha256:{HEX}")] {
            let error = text.parse::<Reference>().expect_err("too long").to_string();
            assert!(error.ends_with("has a repository of 256 characters: 1 to 255 may be"), "{error}");
        }
        assert!(format!("ghcr.io/{longest}x").parse::<Reference>().is_ok());
    }

    #[test]
    fn a_registry_has_its_length_so_that_a_canonical_form_is_a_reference() {
        let longest = format!("{}.io:65535", "x".repeat(250));
        let reference: Reference = format!("{longest}/a").parse().expect("a reference");
        assert_eq!(reference.registry(), longest);
        // Long enough to become too long by `:latest`.
        for host in [format!("x{longest}"), format!("{}.io", "x".repeat(LIMIT - 5))] {
            let error = format!("{host}/a").parse::<Reference>().expect_err("too long").to_string();
            assert!(error.contains("which is not a host name of at most 253 characters"), "{error}");
        }
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let reference: Reference = format!("busybox:1.37@sha256:{HEX}").parse().expect("a reference");
        assert_eq!(reference.to_string(), format!("index.docker.io/library/busybox@sha256:{HEX}"));
        assert_eq!(reference.digest().map(Digest::to_string), Some(format!("sha256:{HEX}")));
        assert_eq!(reference.identifier().to_string(), format!("sha256:{HEX}"));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_reason() {
        let many = "a".repeat(256);
        let endless = "a".repeat(5000);
        let tagged = format!("a:{}", "t".repeat(129));
        let twice = format!("a@sha256:{HEX}@sha256:{HEX}");
        let bad_tag = format!("a:@sha256:{HEX}");
        for (written, sentence) in [
            ("", "the image reference is empty"),
            ("https://ghcr.io/a", "is a URL: leave out the part up to ://"),
            ("Busybox", "has 'B' in its repository"),
            (" busybox", "has ' ' in its repository"),
            ("a b", "has ' ' in its repository"),
            ("ghcr.io/", "a repository of 0 characters"),
            (many.as_str(), "a repository of 256 characters"),
            (endless.as_str(), "is too long"),
            ("a:", "has the tag \"\""),
            ("a:..", "has the tag \"..\""),
            ("ghcr.io/a:.", "has the tag \".\""),
            ("a:ü", "has the tag \"ü\""),
            (tagged.as_str(), "1 to 128 letters"),
            (bad_tag.as_str(), "has the tag \"\""),
            ("a@sha512:00", "has no usable digest behind its @"),
            ("a@", "has no usable digest behind its @"),
            (twice.as_str(), "more than one @"),
            ("host:/a", "has the registry \"host:\""),
            ("host:70000/a", "has the registry \"host:70000\""),
            ("host:+80/a", "has the registry \"host:+80\""),
            ("user:pw@host.example/a", "has no usable digest"),
            ("[::1/a", "has the registry \"[::1\""),
            ("[::g]:5/a", "has the registry \"[::g]:5\""),
            ("[::1]x:5/a", "has the registry"),
            ("h%41.example/a", "has the registry"),
            ("ghcr.io/../token", "a part that is only dots"),
            ("ghcr.io/a/./b", "a part that is only dots"),
            ("a\nb", "has '\\n' in its repository"),
        ] {
            let error = written.parse::<Reference>().expect_err(written).to_string();
            assert!(error.contains(sentence) && !error.contains('\n'), "{written:?}: {error}");
        }
    }
}
