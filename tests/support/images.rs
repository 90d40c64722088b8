//! Image documents for the tests' registries: configs, manifests, indexes, with their digests.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]

use super::server::{Answer, Exchange, Request, on};
use entrypoint::image::Digest;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The repository of the tests.
pub const REPOSITORY: &str = "ci/app";

/// A document and its media type.
#[derive(Debug, Clone)]
pub struct Blob {
    pub media_type: &'static str,
    pub text: String,
}

/// A manifest with its config.
#[derive(Debug, Clone)]
pub struct Image {
    pub manifest: Blob,
    pub config: Blob,
}

impl Blob {
    pub fn new(media_type: &'static str, text: impl Into<String>) -> Self {
        Self { media_type, text: text.into() }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// The document as an answer.
    pub fn answer(&self) -> Answer {
        Answer::new(200).header("Content-Type", self.media_type).body(self.text.clone())
    }

    /// A descriptor of the document, with more fields.
    pub fn descriptor(&self, more: &str) -> String {
        let Self { media_type, text } = self;
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}{more}}}"#, self.digest(), text.len())
    }

    /// An entry of an index.
    pub fn entry(&self, platform: &str) -> String {
        let (os, architecture) = platform.split_once('/').unwrap_or((platform, ""));
        self.descriptor(&format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}"#))
    }

    /// The path of the document as a manifest.
    pub fn manifest_path(&self) -> String {
        format!("/v2/{REPOSITORY}/manifests/{}", self.digest())
    }

    /// The path of the document as a blob.
    pub fn blob_path(&self) -> String {
        format!("/v2/{REPOSITORY}/blobs/{}", self.digest())
    }
}

impl Image {
    /// An image for a platform with this ENTRYPOINT.
    pub fn new(platform: &str, entrypoint: &str) -> Self {
        let (os, architecture) = platform.split_once('/').unwrap_or((platform, ""));
        let config = format!(
            r#"{{"os":"{os}","architecture":"{architecture}","config":{{"Entrypoint":["{entrypoint}"],"Cmd":["c"]}}}}"#
        );
        Self::of(Blob::new(OCI_CONFIG, config), "")
    }

    /// A manifest for a config, whose descriptor has more fields.
    pub fn of(config: Blob, more: &str) -> Self {
        let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#, config.descriptor(more));
        Self { manifest: Blob::new(OCI_MANIFEST, text), config }
    }

    /// The exchanges of a registry that shows the image to everyone, under a tag.
    pub fn exchanges(&self, tag: &str, check: impl Fn(&Request) + Clone + Send + 'static) -> Vec<Exchange> {
        vec![serve(&tag_path(tag), &self.manifest, check.clone()), serve(&self.config.blob_path(), &self.config, check)]
    }
}

/// An index of these entries.
pub fn index(entries: &[String]) -> Blob {
    Blob::new(OCI_INDEX, format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")))
}

/// The path of a tag's manifest.
pub fn tag_path(tag: &str) -> String {
    format!("/v2/{REPOSITORY}/manifests/{tag}")
}

/// A document under a path; the closure asserts what else the request must be.
pub fn serve(path: &str, blob: &Blob, check: impl Fn(&Request) + Send + 'static) -> Exchange {
    let answer = blob.answer();
    on("GET", path, move |request| {
        check(request);
        answer.clone()
    })
}

/// A refusal under a path.
pub fn refuse(path: &str, status: u16, challenges: &[&str]) -> Exchange {
    let body = match status {
        401 => r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
        403 => r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#,
        404 => r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
        429 => r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#,
        _ => "",
    };
    let mut answer = Answer::new(status).body(body);
    for challenge in challenges {
        answer = answer.header("WWW-Authenticate", *challenge);
    }
    on("GET", path, move |_| answer.clone())
}
