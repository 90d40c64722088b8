//! The images that the pods have: each runs another command, so that a lookup that confuses them is noticed.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::oci::{Command, Layout, architecture};

/// How many there are.
pub const IMAGES: usize = 20;

/// What the images are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Each is one manifest: an image costs one GET.
    Manifests,
    /// Every other one is an index of two platforms, with an attestation: that costs two.
    HalfIndexes,
}

impl Mix {
    /// How many manifest documents somebody has to get who wants all images.
    pub fn documents(self) -> usize {
        (0..IMAGES).map(|image| if self.is_index(image) { 2 } else { 1 }).sum()
    }

    fn is_index(self, image: usize) -> bool {
        self == Self::HalfIndexes && image % 2 == 1
    }
}

/// A document of a registry.
pub struct Document<'a> {
    pub digest: &'a str,
    pub media_type: &'a str,
    pub bytes: &'a [u8],
    /// Whether an image's name leads to it.
    pub named: bool,
}

/// All documents of all images.
pub struct Images {
    /// By digest: media type and content.
    documents: HashMap<String, (String, Vec<u8>)>,
    /// By repository: the digest that its tag leads to.
    tags: HashMap<String, String>,
}

/// The repository of an image.
pub fn repository(image: usize) -> String {
    format!("library/image-{image}")
}

/// The tag that each image has.
pub const TAG: &str = "1";

/// What an image runs.
pub fn command(image: usize) -> String {
    format!("/bin/image-{image}")
}

impl Images {
    /// Makes them; `dir` is written to.
    pub fn new(dir: &Path, mix: Mix) -> std::io::Result<Self> {
        let layout = Layout::create(dir);
        let mut tags = HashMap::new();
        for image in 0..IMAGES {
            let runs = command(image);
            let command = Command { entrypoint: &[&runs], cmd: &[] };
            let own = layout.image(architecture(), command, &[]);
            let named = if mix.is_index(image) {
                let other = layout.image("s390x", command, &[]);
                layout.index(&[other, own.clone(), layout.attestation(&own)])
            } else {
                own
            };
            tags.insert(repository(image), named["digest"].as_str().unwrap_or_default().to_owned());
        }
        let mut documents = HashMap::new();
        for blob in fs::read_dir(dir.join("blobs/sha256"))? {
            let blob = blob?;
            let bytes = fs::read(blob.path())?;
            let document: Option<Value> = serde_json::from_slice(&bytes).ok();
            let media_type = document.as_ref().and_then(|document| document["mediaType"].as_str());
            let media_type = media_type.unwrap_or("application/octet-stream").to_owned();
            documents.insert(format!("sha256:{}", blob.file_name().display()), (media_type, bytes));
        }
        Ok(Self { documents, tags })
    }

    /// The document at a path of a repository: `manifests/TAG`, `manifests/DIGEST`, `blobs/DIGEST`.
    pub fn document(&self, repository: &str, identifier: &str) -> Option<Document<'_>> {
        let tagged = self.tags.get(repository)?;
        let digest = if identifier == TAG { tagged } else { identifier };
        let (digest, (media_type, bytes)) = self.documents.get_key_value(digest)?;
        Some(Document { digest, media_type, bytes, named: digest == tagged })
    }
}
