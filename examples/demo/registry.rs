//! An OCI image layout served as a registry on loopback.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::server::{Answer, Request};

/// What is served, and to whom.
pub struct Registry {
    /// The layout's directory.
    pub layout: PathBuf,
    /// The value that `Authorization` must have; anybody is served where it is absent.
    pub authorization: Option<String>,
}

impl Registry {
    /// The answer to a request: the two kinds of GET that a lookup needs, for any repository.
    pub fn answer(&self, request: &Request) -> Answer {
        if self.authorization.as_deref().is_some_and(|wanted| request.header("Authorization") != Some(wanted)) {
            return refusal(401, "UNAUTHORIZED").header("WWW-Authenticate", r#"Basic realm="demo""#);
        }
        let found = match request.path().split('/').collect::<Vec<_>>()[..] {
            ["", "v2", ""] => Some(Answer::json("{}")),
            ["", "v2", .., "manifests", reference] => self.manifest(reference),
            ["", "v2", .., "blobs", digest] => self
                .blob(digest)
                .map(|blob| Answer::new(200).header("Content-Type", "application/octet-stream").body(blob)),
            _ => None,
        };
        found.unwrap_or_else(|| refusal(404, "MANIFEST_UNKNOWN"))
    }

    /// A manifest or an index, by tag or by digest.
    fn manifest(&self, reference: &str) -> Option<Answer> {
        let digest = if reference.contains(':') { reference.to_owned() } else { self.tagged(reference)? };
        let manifest = self.blob(&digest)?;
        let media_type = serde_json::from_slice::<Value>(&manifest).ok()?["mediaType"].as_str()?.to_owned();
        Some(Answer::new(200).header("Content-Type", media_type).header("Docker-Content-Digest", digest).body(manifest))
    }

    fn tagged(&self, tag: &str) -> Option<String> {
        let index: Value = serde_json::from_slice(&fs::read(self.layout.join("index.json")).ok()?).ok()?;
        let named = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
        index["manifests"].as_array()?.iter().find(named)?["digest"].as_str().map(str::to_owned)
    }

    fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        fs::read(self.layout.join("blobs").join(digest.replace(':', "/"))).ok()
    }
}

/// An error in the form of the distribution specification.
fn refusal(status: u16, code: &str) -> Answer {
    let body = serde_json::json!({"errors": [{"code": code, "message": code.to_lowercase()}]});
    Answer::new(status).header("Content-Type", "application/json").body(body.to_string())
}
