//! Manifests and indexes: which document a registry sent, and which entry of an index is for a platform.

use std::cmp::Reverse;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::platform::Fit;
use super::platform::SHOWN;
use super::{Digest, DigestError, JsonError, Object, Platform, shown};

/// The media types of images that are asked for, in the order of preference.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// How many platforms an error lists.
const LISTED: usize = 20;

/// What a registry sends for a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A list of images for platforms.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

/// A list of images for platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    entries: Vec<Entry>,
}

/// One entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    descriptor: Descriptor,
    platform: Option<Platform>,
}

/// An entry of an index that may be for a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'i> {
    /// Where the entry's document is.
    pub descriptor: &'i Descriptor,
    /// What the index says that it is for.
    pub platform: Option<&'i Platform>,
}

/// One image: of its manifest only the config is of interest here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where the config document is.
    pub config: Descriptor,
}

/// A pointer to content, with the content itself if it came along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The content's digest.
    pub digest: Digest,
    /// The content's length, in bytes.
    pub size: u64,
    data: Option<Vec<u8>>,
}

/// Why a document is neither an image nor a list of images.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON at all, a proxy's login page for example.
    #[error("the manifest is {kind} instead of JSON")]
    NotJson {
        /// What it is.
        kind: String,
    },
    /// JSON of another shape.
    #[error("the manifest is malformed")]
    Malformed {
        /// Why.
        source: JsonError,
    },
    /// The format of 2014.
    #[error("the manifest is of Docker's schema 1, which has not been supported since 2019: push the image again")]
    Schema1,
    /// Something else that registries store.
    #[error("this is not an image but an artifact of the type {media_type}")]
    Artifact {
        /// What it is.
        media_type: String,
    },
    /// A document that different readers would read differently.
    /// <https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh>
    #[error("the manifest can be read both as an image and as an index, so it is refused")]
    Ambiguous,
    /// JSON that describes nothing.
    #[error("the manifest is neither an image nor an index")]
    Shapeless,
    /// A digest that cannot be verified.
    #[error("the manifest's config has no usable digest")]
    Digest {
        /// Why.
        source: DigestError,
    },
}

/// The media types that decide something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Index,
    Manifest,
    Schema1,
    Artifact,
    Unknown,
}

impl Kind {
    fn of(media_type: &str) -> Self {
        match media_type {
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                Self::Index
            }
            "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
                Self::Manifest
            }
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Self::Schema1,
            "application/vnd.oci.artifact.manifest.v1+json" => Self::Artifact,
            _ => Self::Unknown,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    manifests: Option<RawEntries>,
    config: Option<Object<RawDescriptor>>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// The entries that can be images, each looked at as it comes: a small document can hold very many that cannot.
struct RawEntries(Vec<Entry>);

impl<'de> Deserialize<'de> for RawEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = RawEntries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of descriptors")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawEntries, A::Error> {
                let mut entries = Vec::new();
                while let Some(raw) = list.next_element::<Object<RawDescriptor>>()? {
                    entries.extend(raw.0.into_entry());
                }
                Ok(RawEntries(entries))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    artifact_type: Option<String>,
    digest: String,
    #[serde(default)]
    size: u64,
    data: Option<String>,
    platform: Option<Object<RawPlatform>>,
    annotations: Option<Object<RawAnnotations>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
struct RawAnnotations {
    /// `attestation-manifest` on what BuildKit puts beside an image.
    #[serde(rename = "vnd.docker.reference.type")]
    reference_type: Option<String>,
}

impl Document {
    /// Reads a manifest or an index. `Content-Type` decides which it is, then the document's own `mediaType`, then its
    /// shape: registries are known to leave out either.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] says what it is instead.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, ManifestError> {
        let announced = content_type.map(essence).unwrap_or_default();
        let by_header = Kind::of(&announced);
        if by_header == Kind::Schema1 {
            return Err(ManifestError::Schema1);
        }
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(ManifestError::NotJson { kind: instead_of_json(&announced, bytes) });
        }
        let raw: RawDocument =
            serde_json::from_slice(bytes).map_err(|error| ManifestError::Malformed { source: error.into() })?;
        let own = raw.media_type.as_deref().map(essence).unwrap_or_default();
        let by_itself = Kind::of(&own);
        let kind = match (by_header, by_itself, raw.shape()?) {
            (Kind::Index, Kind::Manifest, _) | (Kind::Manifest, Kind::Index, _) => {
                return Err(ManifestError::Ambiguous);
            }
            (Kind::Unknown, Kind::Unknown, shape) => shape,
            (Kind::Unknown, by_itself, _) => by_itself,
            (by_header, _, _) => by_header,
        };
        match kind {
            Kind::Index => raw.into_index().map(Self::Index),
            Kind::Manifest => raw.into_manifest().map(Self::Manifest),
            Kind::Schema1 => Err(ManifestError::Schema1),
            Kind::Artifact => Err(ManifestError::Artifact { media_type: shown(&own, 80) }),
            Kind::Unknown => Err(ManifestError::Shapeless),
        }
    }
}

/// What bytes that are no JSON object are, for a message: what they show themselves, or what they are announced as.
fn instead_of_json(announced: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "empty".to_owned()
    } else if bytes.starts_with(b"\x1f\x8b") {
        "compressed data".to_owned()
    } else if announced.is_empty() || announced.ends_with("json") {
        "something else".to_owned()
    } else {
        shown(announced, 80)
    }
}

/// A media type without its parameters, in lower case.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

impl RawDocument {
    fn shape(&self) -> Result<Kind, ManifestError> {
        match (&self.manifests, self.config.is_some() || self.layers.is_some()) {
            (Some(_), true) => Err(ManifestError::Ambiguous),
            (Some(_), false) => Ok(Kind::Index),
            (None, true) => Ok(Kind::Manifest),
            (None, false) if self.fs_layers.is_some() || self.schema_version == Some(1) => Ok(Kind::Schema1),
            (None, false) => Ok(Kind::Unknown),
        }
    }

    fn into_index(self) -> Result<Index, ManifestError> {
        let raw = self.manifests.ok_or(ManifestError::Shapeless)?;
        Ok(Index { entries: raw.0 })
    }

    fn into_manifest(self) -> Result<Manifest, ManifestError> {
        let Object(config) = self.config.ok_or(ManifestError::Shapeless)?;
        let media_type = config.media_type.as_deref().map(essence).unwrap_or_default();
        match media_type.as_str() {
            "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
            // What some builders wrote before the types were settled.
            | "application/octet-stream"
            | "" => config.into_descriptor().map(|config| Manifest { config }).map_err(|source| ManifestError::Digest { source }),
            _ => {
                let named = self.artifact_type.filter(|named| !named.is_empty()).unwrap_or(media_type);
                Err(ManifestError::Artifact { media_type: shown(&named, 80) })
            }
        }
    }
}

impl RawDescriptor {
    /// The entry, unless it cannot be an image: an attestation, an artifact, something with another kind of digest.
    fn into_entry(self) -> Option<Entry> {
        let attestation = self
            .annotations
            .as_ref()
            .is_some_and(|Object(notes)| notes.reference_type.as_deref() == Some("attestation-manifest"));
        let kind = self.media_type.as_deref().map(|media_type| Kind::of(&essence(media_type)));
        let image = matches!(kind, None | Some(Kind::Index | Kind::Manifest));
        let platform = self.platform.as_ref().and_then(|Object(raw)| raw.to_platform());
        let unknown = platform.as_ref().is_some_and(|platform| platform.os == "unknown");
        // An artifact has no platform; an image may well have both an artifact type and a platform.
        let artifact = platform.is_none() && self.artifact_type.as_deref().is_some_and(|named| !named.is_empty());
        if attestation || !image || unknown || artifact {
            return None;
        }
        let descriptor = self.into_descriptor().ok()?;
        Some(Entry { descriptor, platform })
    }

    fn into_descriptor(self) -> Result<Descriptor, DigestError> {
        Ok(Descriptor {
            digest: self.digest.parse()?,
            size: self.size,
            data: self.data.and_then(|data| STANDARD.decode(data).ok()),
        })
    }
}

impl RawPlatform {
    fn to_platform(&self) -> Option<Platform> {
        if self.os.is_empty() && self.architecture.is_empty() {
            return None;
        }
        Some(Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone().filter(|variant| !variant.is_empty()),
        })
    }
}

impl Index {
    /// The entries that may be for a platform, best first ([`Fit`]): equal ones, then those that differ only in a variant
    /// that one side does not name, then other variants that a machine of that kind runs, then those that name no platform (an index within the index, or an image that must be asked).
    #[must_use]
    pub fn candidates(&self, wanted: &Platform) -> Vec<Candidate<'_>> {
        let mut ranked: Vec<(Option<Fit>, Candidate<'_>)> = self
            .entries
            .iter()
            .filter_map(|Entry { descriptor, platform }| {
                let candidate = Candidate { descriptor, platform: platform.as_ref() };
                match platform {
                    Some(offered) => wanted.fit(offered).map(|fit| (Some(fit), candidate)),
                    None => Some((None, candidate)),
                }
            })
            .collect();
        // Stable: among equals the first of the index wins.
        ranked.sort_by_key(|(fit, _)| Reverse(*fit));
        ranked.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// Every entry that can be an image, or an index within the index, for whatever platform.
    pub fn images(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.entries.iter().map(|Entry { descriptor, platform }| Candidate { descriptor, platform: platform.as_ref() })
    }

    /// The platforms that the index has, for a message.
    #[must_use]
    pub fn platforms(&self) -> Vec<String> {
        let mut platforms: Vec<String> = Vec::new();
        for platform in self.entries.iter().filter_map(|entry| entry.platform.as_ref()) {
            let platform = shown(&platform.to_string(), SHOWN);
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
            if platforms.len() == LISTED {
                break;
            }
        }
        platforms
    }
}

impl Descriptor {
    /// The content that came along, if it did and is what the descriptor says it is.
    #[must_use]
    pub fn embedded(&self) -> Option<&[u8]> {
        self.data
            .as_deref()
            .filter(|data| u64::try_from(data.len()) == Ok(self.size) && self.digest.verify(data).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

    fn digest(of: &str) -> Digest {
        Digest::of(of.as_bytes())
    }

    fn descriptor(of: &str, more: &str) -> String {
        format!(r#"{{"digest":"{}","size":{}{more}}}"#, digest(of), of.len())
    }

    fn index(entries: &[String]) -> String {
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
    }

    fn parsed_index(entries: &[String]) -> Index {
        match Document::parse(Some(OCI_INDEX), index(entries).as_bytes()) {
            Ok(Document::Index(index)) => index,
            other => panic!("{other:?}"),
        }
    }

    fn manifest(config: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#)
    }

    #[test]
    fn the_kind_is_that_of_the_header_then_of_the_document_then_of_its_shape() {
        let image = manifest(&descriptor("c", ""));
        let list = index(&[]);
        let typed = |body: &str, media_type: &str| body.replacen('{', &format!(r#"{{"mediaType":"{media_type}","#), 1);
        for (header, body, is_index) in [
            (Some(OCI_MANIFEST), image.clone(), false),
            (Some(DOCKER_MANIFEST), image.clone(), false),
            (Some("Application/vnd.OCI.image.manifest.v1+json; charset=utf-8"), image.clone(), false),
            (Some(OCI_INDEX), list.clone(), true),
            (Some(DOCKER_LIST), list.clone(), true),
            (Some("text/plain"), typed(&list, OCI_INDEX), true),
            (Some("application/json"), image.clone(), false),
            (None, typed(&image, DOCKER_MANIFEST), false),
            (None, image, false),
            (None, list, true),
        ] {
            let document = Document::parse(header, body.as_bytes()).expect(&body);
            assert_eq!(matches!(document, Document::Index(_)), is_index, "{header:?} {body}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        let config = |media_type: &str| manifest(&descriptor("c", &format!(r#","mediaType":"{media_type}""#)));
        let both = format!(r#"{{"manifests":[],"config":{}}}"#, descriptor("c", ""));
        let lying = format!(r#"{{"mediaType":"{OCI_INDEX}","config":{}}}"#, descriptor("c", ""));
        let helm = config("application/vnd.cncf.helm.config.v1+json");
        let sbom = config("application/vnd.oci.empty.v1+json").replacen('{', r#"{"artifactType":"text/spdx","#, 1);
        let deep = format!(r#"{{"manifests":{}"#, "[".repeat(100_000));
        let list = format!(r#"[null,null,"{}",0,null,null,null]"#, digest("x"));
        let lists = [
            format!(r#"{{"config":{list}}}"#),
            format!(r#"{{"manifests":[{list}]}}"#),
            index(&[descriptor("x", r#","platform":["linux","amd64",null]"#)]),
            index(&[descriptor("x", r#","annotations":["attestation-manifest"]"#)]),
        ];
        let prettyjws = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        let sha512 = r#"{"config":{"digest":"sha512:00","size":1}}"#;
        for (header, body, sentence) in [
            (Some("text/html"), "<html>", "the manifest is text/html instead of JSON"),
            (None, "", "the manifest is empty instead of JSON"),
            (None, "hello", "the manifest is something else instead of JSON"),
            (Some(OCI_MANIFEST), "\u{1f}\u{8b}", "the manifest is something else instead of JSON"),
            (Some(OCI_MANIFEST), "[]", "instead of JSON"),
            (Some(OCI_MANIFEST), "{", "the manifest is malformed"),
            (Some(OCI_MANIFEST), deep.as_str(), "the manifest is malformed"),
            (Some(OCI_INDEX), r#"{"manifests":7}"#, "the manifest is malformed"),
            (Some(OCI_INDEX), r#"{"manifests":[{"digest":7}]}"#, "the manifest is malformed"),
            // A list is no object, although serde would put its elements into the fields.
            (Some(OCI_MANIFEST), lists[0].as_str(), "the manifest is malformed"),
            (Some(OCI_INDEX), lists[1].as_str(), "the manifest is malformed"),
            (Some(OCI_INDEX), lists[2].as_str(), "the manifest is malformed"),
            (Some(OCI_INDEX), lists[3].as_str(), "the manifest is malformed"),
            (Some(OCI_INDEX), "{}", "neither an image nor an index"),
            (Some(OCI_MANIFEST), "{}", "neither an image nor an index"),
            (None, "{}", "neither an image nor an index"),
            (Some(prettyjws), "{}", "Docker's schema 1"),
            (None, r#"{"schemaVersion":1,"fsLayers":[]}"#, "Docker's schema 1"),
            (None, helm.as_str(), "an artifact of the type application/vnd.cncf.helm.config.v1+json"),
            (None, sbom.as_str(), "an artifact of the type text/spdx"),
            (None, both.as_str(), "both as an image and as an index"),
            (Some(OCI_MANIFEST), lying.as_str(), "both as an image and as an index"),
            (None, sha512, "no usable digest"),
        ] {
            let error = Document::parse(header, body.as_bytes()).expect_err(body).to_string();
            assert!(error.contains(sentence), "{body}: {error}");
        }
    }

    #[test]
    fn candidates_come_best_first_and_attestations_never() {
        let entry = |of: &str, platform: &str, more: &str| {
            let (os, arch) = platform.split_once('/').expect("os/arch");
            let (arch, variant) = arch.split_once('/').unwrap_or((arch, ""));
            let platform = format!(r#"{{"os":"{os}","architecture":"{arch}","variant":"{variant}"}}"#);
            descriptor(of, &format!(r#","platform":{platform}{more}"#))
        };
        let attestation = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
        let index = parsed_index(&[
            descriptor("nested", &format!(r#","mediaType":"{OCI_INDEX}""#)),
            descriptor("signature", r#","artifactType":"application/vnd.dev.cosign""#),
            descriptor("wasm", r#","mediaType":"application/wasm""#),
            entry("v5", "linux/arm/v5", ""),
            entry("v6", "linux/arm/v6", ""),
            entry("amd64v3", "linux/amd64/v3", ""),
            entry("arm64", "linux/arm64", ""),
            entry("arm64v8", "linux/arm64/v8", ""),
            entry("amd64", "linux/amd64", ""),
            entry("amd64 again", "linux/amd64", ""),
            entry("windows", "windows/amd64", ""),
            entry("lost", "unknown/unknown", ""),
            entry("attestation", "linux/amd64", attestation),
            r#"{"digest":"sha512:00","size":1,"platform":{"os":"linux","architecture":"amd64"}}"#.to_owned(),
        ]);
        for (wanted, expected) in [
            ("linux/amd64", vec!["amd64", "amd64 again", "amd64v3", "nested"]),
            ("linux/arm64/v8", vec!["arm64v8", "arm64", "nested"]),
            ("linux/arm64", vec!["arm64", "arm64v8", "nested"]),
            ("linux/arm", vec!["v6", "v5", "nested"]),
            ("linux/arm/v7", vec!["v6", "v5", "nested"]),
            ("linux/arm/v5", vec!["v5", "nested"]),
            ("linux/s390x", vec!["nested"]),
        ] {
            let found: Vec<_> =
                index.candidates(&wanted.parse().expect(wanted)).iter().map(|c| c.descriptor.digest).collect();
            assert_eq!(found, expected.into_iter().map(digest).collect::<Vec<_>>(), "{wanted}");
        }
        assert_eq!(
            index.platforms(),
            [
                "linux/arm/v5",
                "linux/arm/v6",
                "linux/amd64/v3",
                "linux/arm64",
                "linux/arm64/v8",
                "linux/amd64",
                "windows/amd64"
            ]
        );
    }

    #[test]
    fn an_error_does_not_list_platforms_without_end() {
        let entries: Vec<_> = (0..1000)
            .map(|n| descriptor("x", &format!(r#","platform":{{"os":"linux","architecture":"a{n}"}}"#)))
            .collect();
        assert_eq!(parsed_index(&entries).platforms().len(), LISTED);
    }

    #[test]
    fn embedded_content_counts_only_if_it_is_what_the_descriptor_says() {
        let config = |more: &str| match Document::parse(None, manifest(&descriptor("{}", more)).as_bytes()) {
            Ok(Document::Manifest(manifest)) => manifest.config,
            other => panic!("{other:?}"),
        };
        assert_eq!(config(r#","data":"e30=""#).embedded(), Some(&b"{}"[..]));
        assert_eq!(config(r#","data":"e31=""#).embedded(), None);
        assert_eq!(config(r#","data":"!""#).embedded(), None);
        assert_eq!(config("").embedded(), None);
    }
}
