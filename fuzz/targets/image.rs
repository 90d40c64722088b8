//! Names and documents of images: references, digests of runtimes, manifests, configs.

use entrypoint::image::running::RunningKind;
use entrypoint::image::{Digest, Document, ImageConfig, Platform, Reference, Running};
use entrypoint::sys::cause::chain;
use reqwest::Url;
use serde_json::Value;

use super::{Target, check_error, check_told, headed, lines};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(super) const REFERENCE: Target = Target {
    name: "reference",
    check: reference,
    words: &[
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "library/",
        "localhost",
        ":5000/",
        "@sha256:",
        "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "[::1]",
        ":latest",
        "://",
        "..",
        "//",
    ],
};

/// A reference has one canonical form, which reads back and stands in a URL as it is.
fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let reference = match text.parse::<Reference>() {
        Ok(reference) => reference,
        Err(error) => return check_error(&error),
    };
    assert_eq!(reference.as_written(), text);
    let canonical = reference.to_string();
    check_told(&canonical);
    let again: Reference = canonical.parse().expect("a canonical form is a reference");
    assert_eq!(again.to_string(), canonical, "of {text:?}");
    assert_eq!(
        (again.registry(), again.repository(), again.identifier()),
        (reference.registry(), reference.repository(), reference.identifier())
    );
    assert_eq!(reference.digest().is_some(), text.contains('@'));
    let moved = reference.at(reference.registry(), reference.repository()).expect("where it is already");
    assert_eq!(moved.to_string(), canonical);
    check_in_url(&reference);
}

/// A manifest's URL leads where the reference says: nothing of it is a query, another host, another path.
fn check_in_url(reference: &Reference) {
    let path = format!("/v2/{}/manifests/{}", reference.repository(), reference.identifier());
    // A registry may have a name that is no host's, as `a..b`.
    let Ok(url) = Url::parse(&format!("https://{}{path}", reference.registry())) else { return };
    assert_eq!((url.path(), url.query(), url.fragment()), (path.as_str(), None, None));
    assert_eq!((url.username(), url.password()), ("", None));
}

pub(super) const IMAGE_ID: Target = Target {
    name: "image_id",
    check: image_id,
    words: &[
        "docker://",
        "docker-pullable://",
        "containerd://",
        "sha256:",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "@sha256:",
        "docker.io/library/busybox",
        "busybox",
    ],
};

/// The input's lines are `image` and `imageID`.
fn image_id(data: &[u8]) {
    let Some([image, id]) = lines(data) else { return };
    let running = Running::parse(image, id);
    assert_eq!(running.is_late(), id.is_empty());
    for (kept, written) in [(&running.image, image), (&running.image_id, id)] {
        assert!(kept == written || (kept.chars().count() == 1024 + 3 && kept.ends_with("...")), "{kept:?}");
    }
    let json = serde_json::to_string(&running).expect("JSON");
    assert_eq!(serde_json::from_str::<Running>(&json).expect("the same"), running);
    let identity = running.identity.map(|own| {
        check_told(&own.repository.as_ref().map_or_else(String::new, ToString::to_string));
        (own.kind, own.digest.to_string(), own.repository.is_some())
    });
    assert_eq!(identity, identity_by_trying(id), "{id:?}");
}

/// The table of `Running::parse`, form by form.
fn identity_by_trying(id: &str) -> Option<(RunningKind, String, bool)> {
    let is_hex = |text: &str| text.len() == HEX.len() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_digest = |text: &str| text.strip_prefix("sha256:").is_some_and(is_hex);
    let alone = |text: &str, kind| is_digest(text).then(|| (kind, text.to_owned(), false));
    if id.chars().count() > 1024 {
        None
    } else if is_hex(id) {
        Some((RunningKind::Unknown, format!("sha256:{id}"), false))
    } else if let Some(rest) = id.strip_prefix("docker://") {
        alone(rest, RunningKind::Unknown)
    } else if let Some((_, digest)) = id.split_once('@') {
        let name = id.strip_prefix("docker-pullable://").unwrap_or(id);
        let named = is_digest(digest) && name.parse::<Reference>().is_ok();
        named.then(|| (RunningKind::IndexOrManifest, digest.to_owned(), true))
    } else {
        alone(id, RunningKind::Config)
    }
}

pub(super) const MANIFEST: Target = Target {
    name: "manifest",
    check: manifest,
    words: &[
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "\"mediaType\":",
        "\"schemaVersion\":",
        "\"artifactType\":",
        "\"manifests\":[",
        "\"config\":{",
        "\"layers\":[",
        "\"fsLayers\":",
        "\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
        "\"size\":0",
        "\"data\":\"\"",
        "\"platform\":{",
        "\"os\":\"linux\"",
        "\"architecture\":\"amd64\"",
        "\"variant\":\"v8\"",
        "\"annotations\":{",
        "\"vnd.docker.reference.type\":\"attestation-manifest\"",
        "null",
        "\\u0000",
    ],
};

/// The input is a line with `Content-Type`, which may be empty, and the document.
fn manifest(data: &[u8]) {
    let Some((announced, bytes)) = headed(data) else { return };
    let announced = Some(announced).filter(|announced| !announced.is_empty());
    let document = match Document::parse(announced, bytes) {
        Ok(document) => document,
        Err(error) => return check_error(&error),
    };
    // Nothing hangs on how the JSON is written.
    // But half a surrogate pair, or a number without end, in a member that nobody reads.
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    // What others take for nothing but an object is one here.
    let entries = value["manifests"].as_array().into_iter().flatten();
    let objects =
        entries.flat_map(|entry| [entry, &entry["platform"], &entry["annotations"]]).chain([&value["config"]]);
    assert!(objects.into_iter().all(|own| own.is_object() || own.is_null()), "{value}");
    let written = serde_json::to_vec_pretty(&value).expect("JSON");
    assert_eq!(Document::parse(announced, &written).expect("the same"), document);
    match document {
        Document::Manifest(manifest) => {
            if let Some(data) = manifest.config.embedded() {
                assert_eq!(Digest::of(data), manifest.config.digest);
            }
        }
        Document::Index(index) => {
            let platforms = index.platforms();
            assert!(platforms.len() <= 20);
            platforms.iter().for_each(|platform| check_told(platform));
            let images: Vec<_> = index.images().collect();
            for wanted in ["linux/amd64", "linux/arm64/v8", "linux/arm", "windows/amd64"] {
                let wanted: Platform = wanted.parse().expect("a platform");
                let candidates = index.candidates(&wanted);
                assert!(candidates.len() <= images.len());
                let fits: Vec<_> =
                    candidates.iter().map(|candidate| candidate.platform.and_then(|own| wanted.fit(own))).collect();
                // Best first, and without a platform behind all others.
                assert!(fits.is_sorted_by(|one, other| one >= other), "{fits:?}");
                assert!(candidates.iter().all(|candidate| images.contains(candidate)));
            }
        }
    }
}

pub(super) const CONFIG: Target = Target {
    name: "config",
    check: config,
    words: &[
        "\"os\":\"linux\"",
        "\"architecture\":\"amd64\"",
        "\"variant\":\"v8\"",
        "\"config\":{",
        "\"Entrypoint\":[\"/bin/sh\"]",
        "\"Cmd\":[\"-c\"]",
        "\"Cmd\":\"sh\"",
        "null",
        "\\ud800",
    ],
};

/// What is read of a config is in the document, whatever else is, and can be handed on.
fn config(data: &[u8]) {
    let config = match ImageConfig::parse(data) {
        Ok(config) => config,
        Err(error) => return check_error(&error),
    };
    // But half a surrogate pair, or a number without end, in a member that nobody reads.
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    assert!(value["config"].is_object() || value["config"].is_null(), "{value}");
    let written = serde_json::to_vec_pretty(&value).expect("JSON");
    assert_eq!(ImageConfig::parse(&written).expect("the same"), config);
    for (name, words) in [("Entrypoint", &config.entrypoint), ("Cmd", &config.cmd)] {
        let expected: Vec<&str> = match &value["config"][name] {
            Value::String(word) => vec![word],
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
        };
        assert_eq!(*words, expected, "{name}");
    }
    let json = serde_json::to_string(&config).expect("JSON");
    match serde_json::from_str::<ImageConfig>(&json) {
        Ok(again) => assert_eq!(again, config),
        Err(error) => panic!("{}: {json}", chain(&error)),
    }
}
