//! What lookups tell, for tests of whoever reads it: plain values that a test changes where it needs to.

use super::document::{Found, FoundAt, RuntimeWord};
use crate::image::agreement::Because;
use crate::image::{Agreement, Digest, PinnedBy, Running};
use crate::trace::Requests;

/// The image of [`found`].
pub(crate) const IMAGE: &str = "index.docker.io/library/busybox:1";
/// What a runtime may report of it.
pub(crate) const IMAGE_ID: &str =
    "docker.io/library/busybox@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An image of an index of Docker Hub's, of which the runtime was not asked.
pub(crate) fn found() -> Found {
    Found {
        image: IMAGE.into(),
        daemon: None,
        found_at: None,
        entrypoint: vec!["/bin/sh".into()],
        cmd: Vec::new(),
        index_digest: Some(Digest::of(b"index").to_string()),
        manifest_digest: Some(Digest::of(b"manifest").to_string()),
        config_digest: None,
        repository_digest: None,
        platform: "linux/amd64".into(),
        wanted: "linux/amd64".into(),
        credential: None,
        runtime: RuntimeWord::NotAsked,
        leads_to: None,
        agreement: Agreement::unknown(Because::NotReported),
        pinned_by: PinnedBy::Registry,
        not_followed: None,
        follow_later: None,
        cache: None,
        notes: Vec::new(),
        requests: Requests::default(),
    }
}

/// The same, found elsewhere.
pub(crate) fn mirrored() -> Found {
    let at = FoundAt { image: "r:5000/library/busybox:1".into(), because: "-image_registry_map".into() };
    Found { found_at: Some(at), ..found() }
}

/// What is reported of the container `step-build`.
pub(crate) fn reported(image_id: &str) -> RuntimeWord {
    RuntimeWord::Reported { container: "step-build".into(), running: Running::parse("busybox", image_id) }
}

/// A pod that may not be read.
pub(crate) fn unread() -> RuntimeWord {
    RuntimeWord::Unread { reason: "the pod may not be read".into(), retryable: false }
}
