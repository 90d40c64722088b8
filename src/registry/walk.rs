//! From a reference or a digest to a config: manifest, platform, config, each off the shelf if it is there and may be read.

use std::collections::VecDeque;

use super::RegistryError;
use super::ask::Answer;
use super::client::Lookup;
use super::error::What;
use super::session::{Failed, Session};
use crate::image::agreement::{Answer as LedTo, Within};
use crate::image::manifest::Candidate;
use crate::image::platform::SHOWN as PLATFORM;
use crate::image::{Descriptor, Digest, Document, Identifier, ImageConfig, Index, Manifest, Platform, shown};

/// How many documents an index may lead to before one is found that fits, and how deep indexes may be nested.
const DOCUMENTS: usize = 10;
const DEPTH: usize = 3;

/// Where a reference or a digest leads.
pub(super) struct Root {
    pub(super) digest: Digest,
    pub(super) document: Document,
    /// Whether it was on the shelf.
    shelved: bool,
}

/// An image whose config is read, or is known to be somewhere.
pub(super) struct Leaf {
    pub(super) index: Option<Digest>,
    pub(super) manifest: Option<Digest>,
    pub(super) config: Digest,
    /// The config, if it took that to choose the image; and otherwise where it is.
    document: Result<ReadConfig, Descriptor>,
    /// The platform that the index names.
    platform: Option<Platform>,
    /// Whether the manifest was on the shelf.
    shelved: bool,
}

/// A config that was read.
pub(super) struct ReadConfig {
    pub(super) config: ImageConfig,
    /// Whether it was on the shelf.
    pub(super) shelved: bool,
}

/// An image as far as anybody has to know it.
pub(super) struct Image {
    pub(super) index: Option<Digest>,
    pub(super) manifest: Option<Digest>,
    pub(super) config_digest: Digest,
    pub(super) config: ImageConfig,
    pub(super) platform: Platform,
    pub(super) shelved: bool,
}

/// By what right a document is taken off the shelf.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// A document that whoever asks may read names it.
    Named,
    /// That is to be shown yet.
    Unshown,
}

/// A document of a known digest.
pub(super) struct Fetched {
    pub(super) body: Vec<u8>,
    content_type: Option<String>,
    host: String,
    shelved: bool,
}

impl Root {
    /// What it has in common with any answer to the same reference; `chosen` is the image that was chosen from it.
    pub(super) fn led_to(&self, wanted: &Platform, chosen: Option<&Leaf>) -> LedTo {
        match &self.document {
            Document::Manifest(manifest) => {
                LedTo::Manifest { manifest: self.digest, config: Some(manifest.config.digest) }
            }
            Document::Index(index) => {
                let first = || index.candidates(wanted).first().map(|candidate| candidate.descriptor.digest);
                let manifest = chosen.and_then(|leaf| leaf.manifest).or_else(first);
                let config = chosen.map(|leaf| leaf.config);
                LedTo::Index { index: self.digest, within: Some(Within::of(index, wanted, manifest, config)) }
            }
        }
    }

    /// Whether it lists this image.
    pub(super) fn lists(&self, image: &Digest) -> bool {
        match &self.document {
            Document::Manifest(_) => false,
            Document::Index(index) => index.images().any(|listed| listed.descriptor.digest == *image),
        }
    }
}

impl Leaf {
    fn of_manifest(digest: Digest, manifest: &Manifest, shelved: bool) -> Self {
        let Manifest { config } = manifest;
        Self {
            index: None,
            manifest: Some(digest),
            config: config.digest,
            document: Err(config.clone()),
            platform: None,
            shelved,
        }
    }

    /// A config alone.
    pub(super) fn of_config(digest: Digest, read: ReadConfig) -> Self {
        let shelved = read.shelved;
        Self { index: None, manifest: None, config: digest, document: Ok(read), platform: None, shelved }
    }
}

impl Lookup<'_> {
    /// Where a tag or a digest leads.
    pub(super) async fn root(&mut self, session: &mut Session<'_>, identifier: &Identifier) -> Result<Root, Failed> {
        let (digest, fetched) = match identifier {
            Identifier::Digest(digest) => {
                (*digest, self.fetched(session, "manifests", digest, What::Manifest, Right::Unshown).await?)
            }
            Identifier::Tag(tag) => self.tagged(session, tag).await?,
        };
        let document = self.document(&fetched)?;
        Ok(Root { digest, document, shelved: fetched.shelved })
    }

    /// Where a tag leads. No tag is ever on the shelf: the registry says which document it means now, by the head of it where
    /// somebody has looked it up before.
    async fn tagged(&mut self, session: &mut Session<'_>, tag: &str) -> Result<(Digest, Fetched), Failed> {
        if let Some(shelf) = self.aim.shelf {
            let head = match shelf.may_have() {
                true => self.head(session, "manifests", tag, What::Manifest).await?,
                false => None,
            };
            let limit = What::Manifest.limit();
            if let Some(digest) = head.and_then(|head| head.digest()) {
                let mut entry = shelf.take(&digest, limit, &mut *self.asker.notes);
                if entry.is_none() && shelf.turn(&mut *self.asker.notes).await {
                    entry = shelf.take(&digest, limit, &mut *self.asker.notes);
                }
                if let Some(entry) = entry {
                    return Ok((digest, Fetched::shelved(entry.bytes)));
                }
            } else if !session.is_offline() {
                shelf.turn(&mut *self.asker.notes).await;
            }
        }
        let answer = self.get(session, "manifests", tag, What::Manifest).await?;
        // `Docker-Content-Digest` is not looked at: registries are known to send wrong ones.
        let digest = Digest::of(&answer.body);
        Ok((digest, self.kept(answer, What::Manifest)))
    }

    /// A document by its digest: off the shelf if it is there and whoever asks may read it, else from the registry.
    pub(super) async fn fetched(
        &mut self,
        session: &mut Session<'_>,
        kind: &str,
        digest: &Digest,
        what: What,
        right: Right,
    ) -> Result<Fetched, Failed> {
        if let Some(fetched) = self.shelved(session, kind, digest, what, right).await? {
            return Ok(fetched);
        }
        if let Some(shelf) = self.aim.shelf
            && !session.is_offline()
            && shelf.turn(&mut *self.asker.notes).await
            && let Some(fetched) = self.shelved(session, kind, digest, what, right).await?
        {
            return Ok(fetched);
        }
        let answer = self.get(session, kind, &digest.to_string(), what).await?;
        self.verified(&answer, digest, what)?;
        Ok(self.kept(answer, what))
    }

    /// A document off the shelf, if it is there and whoever asks may read it.
    async fn shelved(
        &mut self,
        session: &mut Session<'_>,
        kind: &str,
        digest: &Digest,
        what: What,
        right: Right,
    ) -> Result<Option<Fetched>, Failed> {
        let Some(shelf) = self.aim.shelf else { return Ok(None) };
        let Some(entry) = shelf.take(digest, what.limit(), &mut *self.asker.notes) else { return Ok(None) };
        let own = right == Right::Named || entry.by_this_pod || self.reports(digest);
        let may = own || self.is_shown(session, kind, digest, what).await?;
        Ok(may.then(|| Fetched::shelved(entry.bytes)))
    }

    /// Whether the registry shows a document to whoever asks, by the head of it. One that speaks of another document says
    /// nothing of this one, and whoever it sends strangers to (a login page) says nothing unless it names the document.
    async fn is_shown(
        &mut self,
        session: &mut Session<'_>,
        kind: &str,
        digest: &Digest,
        what: What,
    ) -> Result<bool, Failed> {
        let head = self.head(session, kind, &digest.to_string(), what).await?;
        Ok(head.is_some_and(|head| head.digest().map_or(head.own, |told| told == *digest)))
    }

    /// Whether the pod's own status reports this digest for the very repository that is asked for it.
    fn reports(&self, digest: &Digest) -> bool {
        let running = self.aim.running.and_then(|running| running.identity.as_ref());
        running.is_some_and(|running| {
            running.digest == *digest && running.repository.is_some() && running.is_of(self.aim.requested)
        })
    }

    /// A document that was fetched, and is put on the shelf. One that is something else without the registry's word on its
    /// type is not: the shelf keeps no types.
    fn kept(&mut self, answer: Answer, what: What) -> Fetched {
        let content_type = answer.content_type().map(str::to_owned);
        if let Some(shelf) = self.aim.shelf {
            let alike = what != What::Manifest
                || match (Document::parse(None, &answer.body), Document::parse(answer.content_type(), &answer.body)) {
                    (Ok(bare), Ok(typed)) => bare == typed,
                    (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
                };
            if alike {
                shelf.keep(&answer.body, &mut *self.asker.notes);
            }
        }
        Fetched { body: answer.body, content_type, host: answer.host, shelved: false }
    }

    /// The image for the platform: the root itself, or one of its index.
    pub(super) async fn choose(&mut self, session: &mut Session<'_>, root: &Root) -> Result<Leaf, Failed> {
        match &root.document {
            Document::Manifest(manifest) => Ok(Leaf::of_manifest(root.digest, manifest, root.shelved)),
            Document::Index(index) => {
                let leaf = self.choose_of_index(session, index).await?;
                Ok(Leaf { index: Some(root.digest), ..leaf })
            }
        }
    }

    /// The image of an index, through indexes within it and entries that name no platform.
    async fn choose_of_index(&mut self, session: &mut Session<'_>, index: &Index) -> Result<Leaf, Failed> {
        let wanted = self.aim.platform;
        let endless = || RegistryError::EndlessIndex { reference: self.reference.to_string() };
        let step = |depth: usize| {
            move |candidate: Candidate<'_>| (candidate.descriptor.clone(), candidate.platform.cloned(), depth)
        };
        let mut offered = index.platforms();
        let mut left: VecDeque<_> = index.candidates(wanted).into_iter().map(step(1)).collect();
        for _ in 0..DOCUMENTS {
            let Some((descriptor, named, depth)) = left.pop_front() else {
                let reference = self.reference.to_string();
                return Err(RegistryError::NoPlatform { reference, wanted: wanted.to_string(), offered }.into());
            };
            let digest = descriptor.digest;
            let fetched = self.fetched(session, "manifests", &digest, What::Manifest, Right::Named).await;
            let fetched = fetched.map_err(|failed| self.incomplete(failed))?;
            match self.document(&fetched)? {
                Document::Index(_) if depth == DEPTH => return Err(endless().into()),
                Document::Index(nested) => {
                    offered.extend(nested.platforms());
                    let inner: Vec<_> = nested.candidates(wanted).into_iter().map(step(depth + 1)).collect();
                    inner.into_iter().rev().for_each(|candidate| left.push_front(candidate));
                }
                Document::Manifest(manifest) => {
                    let leaf = Leaf::of_manifest(digest, &manifest, fetched.shelved);
                    if named.is_some() {
                        return Ok(Leaf { platform: named, ..leaf });
                    }
                    let read = self.config(session, &manifest.config, fetched.shelved).await?;
                    let platform = read.config.platform.clone().unwrap_or_else(|| wanted.clone());
                    if wanted.fit(&platform).is_some() {
                        return Ok(Leaf { document: Ok(read), ..leaf });
                    }
                    offered.push(shown(&platform.to_string(), PLATFORM));
                }
            }
        }
        Err(endless().into())
    }

    /// An image with its config.
    pub(super) async fn read(&mut self, session: &mut Session<'_>, leaf: Leaf) -> Result<Image, Failed> {
        let Leaf { index, manifest, config: config_digest, document, platform, shelved } = leaf;
        let ReadConfig { config, shelved } = match document {
            Ok(read) => read,
            Err(descriptor) => self.config(session, &descriptor, shelved).await?,
        };
        let platform = config.platform.clone().or(platform).unwrap_or_else(|| self.aim.platform.clone());
        Ok(Image { index, manifest, config_digest, config, platform, shelved })
    }

    /// The config that a manifest names, `shelved` if that was on the shelf.
    async fn config(
        &mut self,
        session: &mut Session<'_>,
        descriptor: &Descriptor,
        shelved: bool,
    ) -> Result<ReadConfig, Failed> {
        let (parsed, shelved) = match descriptor.embedded() {
            Some(embedded) => (ImageConfig::parse(embedded), shelved),
            None => {
                let fetched = self.fetched(session, "blobs", &descriptor.digest, What::Config, Right::Named).await;
                let fetched = fetched.map_err(|failed| self.incomplete(failed))?;
                (ImageConfig::parse(&fetched.body), fetched.shelved)
            }
        };
        let reference = self.reference.to_string();
        let config = parsed.map_err(|source| RegistryError::Config { host: self.host(), reference, source })?;
        Ok(ReadConfig { config, shelved })
    }

    /// A part of an image that is there: its absence is not the image's.
    fn incomplete(&self, failed: Failed) -> Failed {
        match failed {
            Failed::Refused(refusal) if refusal.status == 404 && refusal.what != What::Token => {
                RegistryError::Status { host: self.host(), what: refusal.what, refusal }.into()
            }
            other @ (Failed::Refused(_)
            | Failed::Withheld
            | Failed::Unknown(_)
            | Failed::Offline
            | Failed::Finally(_)) => other,
        }
    }

    fn verified(&self, answer: &Answer, digest: &Digest, what: What) -> Result<(), RegistryError> {
        digest.verify(&answer.body).map_err(|source| RegistryError::WrongDigest {
            host: answer.host.clone(),
            what,
            reference: self.reference.to_string(),
            source: Box::new(source),
        })
    }

    /// What a fetched document is.
    pub(super) fn document(&self, fetched: &Fetched) -> Result<Document, RegistryError> {
        Document::parse(fetched.content_type.as_deref(), &fetched.body).map_err(|source| RegistryError::Manifest {
            host: fetched.host.clone(),
            reference: self.reference.to_string(),
            source,
        })
    }
}

impl Fetched {
    fn shelved(body: Vec<u8>) -> Self {
        Self { body, content_type: None, host: "the cache".to_owned(), shelved: true }
    }

    /// The config that it is.
    pub(super) fn into_config(self, lookup: &Lookup<'_>) -> Result<ReadConfig, RegistryError> {
        let reference = lookup.reference.to_string();
        let config = ImageConfig::parse(&self.body);
        let config = config.map_err(|source| RegistryError::Config { host: self.host, reference, source })?;
        Ok(ReadConfig { config, shelved: self.shelved })
    }

    /// Whether it is a manifest or an index, which no config is.
    pub(super) fn is_a_manifest(&self) -> bool {
        Document::parse(self.content_type.as_deref(), &self.body).is_ok()
    }
}
