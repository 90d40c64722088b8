//! What a daemon says of an image: the part of its answer that is needed, and whether it is about the image that was meant.
//!
//! <https://docs.docker.com/reference/api/engine/version/v1.52/#tag/Image/operation/ImageInspect>

use serde::Deserialize;

use crate::image::config::words;
use crate::image::platform::SHOWN as PLATFORM;
use crate::image::reference::DOCKER_HUB;
use crate::image::{Digest, Identifier, ImageConfig, JsonError, Object, Platform, Reference, shown};

/// How much of the daemon's names of an image a message shows, in characters.
const NAMES: usize = 200;

/// What a daemon has of an image. Digests that it does not tell are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The daemon, as `DOCKER_HOST` names it.
    pub daemon: String,
    /// What it runs.
    pub config: ImageConfig,
    /// The platform that it is for.
    pub platform: Platform,
    /// The digest of its index, where the daemon names images by that.
    pub index_digest: Option<Digest>,
    /// The digest of its manifest, likewise.
    pub manifest_digest: Option<Digest>,
    /// The digest of its config.
    pub config_digest: Option<Digest>,
    /// The digest that the daemon names it by in its repository, of a manifest or of an index: Docker's of an image that
    /// was pushed or pulled, podman's of any.
    pub repository_digest: Option<Digest>,
}

/// Why an answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Not what a daemon answers.
    #[error("its answer is not that of a Docker Engine API")]
    Malformed {
        /// Why.
        source: JsonError,
    },
    /// An identity that is none.
    #[error("its answer names the image by {id:?}, which is no digest")]
    Id {
        /// Its beginning.
        id: String,
    },
    /// It is about something else.
    #[error("it answered with another image: {names}")]
    AnotherImage {
        /// How the daemon names it.
        names: String,
    },
    /// It does not say for which platform the image is.
    #[error("its answer does not say for which platform the image is")]
    NoPlatform,
    /// The image is for other machines.
    #[error("its image is for {found}, and {wanted} is wanted")]
    Platform {
        /// The image's.
        found: String,
        /// What was wanted.
        wanted: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<Object<Run>>,
    /// Of an engine that keeps images as containerd does.
    #[serde(default)]
    descriptor: Option<Object<Descriptor>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Run {
    #[serde(default, deserialize_with = "words")]
    entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "words")]
    cmd: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
}

/// The image as daemons are asked for it. The whole name: a short one means one thing to Docker, and to podman first of
/// all its own `localhost/`.
pub(super) fn name(reference: &Reference) -> String {
    let registry = match reference.registry() {
        DOCKER_HUB => "docker.io",
        other => other,
    };
    let separator = if reference.digest().is_some() { '@' } else { ':' };
    format!("{registry}/{}{separator}{}", reference.repository(), reference.identifier())
}

/// Reads a daemon's answer to the question for `reference`, for `wanted`.
pub(super) fn read(daemon: &str, body: &[u8], reference: &Reference, wanted: &Platform) -> Result<Image, InspectError> {
    let Object::<Answer>(answer) =
        serde_json::from_slice(body).map_err(|error| InspectError::Malformed { source: error.into() })?;
    let tags = answer.repo_tags.unwrap_or_default();
    let digests = answer.repo_digests.unwrap_or_default();
    let known = known_digests(&digests, reference);
    let meant = match reference.identifier() {
        Identifier::Tag(_) => tags.iter().any(|tag| tag.parse().is_ok_and(|tag| same(&tag, reference))),
        Identifier::Digest(digest) => known.contains(digest),
    };
    if !meant {
        let names: Vec<&str> = tags.iter().chain(&digests).map(String::as_str).collect();
        let names = if names.is_empty() { "one without a name".to_owned() } else { names.join(", ") };
        return Err(InspectError::AnotherImage { names: shown(&names, NAMES) });
    }
    let platform = platform(answer.os, answer.architecture, answer.variant).ok_or(InspectError::NoPlatform)?;
    if wanted.fit(&platform).is_none() {
        let found = shown(&platform.to_string(), PLATFORM);
        return Err(InspectError::Platform { found, wanted: wanted.to_string() });
    }
    let id = answer.id.parse().map_err(|_| InspectError::Id { id: shown(&answer.id, NAMES) })?;
    let (index_digest, manifest_digest, config_digest) =
        meaning(id, answer.descriptor.as_ref().map(|Object(own)| own), &digests);
    let run = answer.config.map(|Object(run)| run).unwrap_or_default();
    Ok(Image {
        daemon: daemon.to_owned(),
        config: ImageConfig { entrypoint: run.entrypoint, cmd: run.cmd, platform: Some(platform.clone()) },
        platform,
        index_digest,
        manifest_digest,
        config_digest,
        repository_digest: match reference.digest() {
            Some(digest) => Some(*digest),
            // podman tells an index and a manifest in it, and not which is which.
            None => match known.as_slice() {
                [one] => Some(*one),
                _ => None,
            },
        },
    })
}

/// What the identity is the digest of: index, manifest, config. An engine that keeps images as containerd does names them
/// by index or manifest, with a descriptor since version 1.48, and among the repositories' digests at any version.
fn meaning(
    id: Digest,
    descriptor: Option<&Descriptor>,
    digests: &[String],
) -> (Option<Digest>, Option<Digest>, Option<Digest>) {
    match descriptor.map(|descriptor| descriptor.media_type.as_str()) {
        Some(
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json",
        ) => (Some(id), None, None),
        Some("application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json") => {
            (None, Some(id), None)
        }
        Some(_) => (None, None, None),
        None if digests.iter().any(|known| digest_of(known) == Some(id)) => (None, None, None),
        None => (None, None, Some(id)),
    }
}

/// The digests, each once, by which the reference's own repository knows the image.
fn known_digests(digests: &[String], reference: &Reference) -> Vec<Digest> {
    let mut known = Vec::new();
    for one in digests.iter().filter_map(|digest| digest.parse::<Reference>().ok()) {
        let digest = one.digest().filter(|digest| same_repository(&one, reference) && !known.contains(*digest));
        known.extend(digest.copied());
    }
    known
}

fn digest_of(repository_digest: &str) -> Option<Digest> {
    repository_digest.rsplit_once('@').and_then(|(_, digest)| digest.parse().ok())
}

fn same_repository(one: &Reference, other: &Reference) -> bool {
    one.registry() == other.registry() && one.repository() == other.repository()
}

fn same(one: &Reference, other: &Reference) -> bool {
    same_repository(one, other) && one.identifier() == other.identifier()
}

fn platform(os: Option<String>, architecture: Option<String>, variant: Option<String>) -> Option<Platform> {
    let named = |name: Option<String>| name.filter(|name| !name.is_empty());
    Some(Platform { os: named(os)?, architecture: named(architecture)?, variant: named(variant) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sys::cause::chain;

    fn reference(text: &str) -> Reference {
        text.parse().expect(text)
    }

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    /// What Docker says of an image that nobody pushed.
    fn answer() -> Value {
        json!({
            "Id": digest('a'), "RepoTags": ["busybox:latest", "team/tool:1"], "RepoDigests": [],
            "Os": "linux", "Architecture": "amd64", "Config": {"Entrypoint": null, "Cmd": ["sh"]}, "Size": 7,
        })
    }

    fn with(changes: Value) -> Value {
        let mut answer = answer();
        for (name, value) in changes.as_object().unwrap() {
            answer[name] = value.clone();
        }
        answer
    }

    fn asked(answer: &Value, image: &str, platform: &str) -> Result<Image, String> {
        let platform = platform.parse().expect(platform);
        read("unix:///s", answer.to_string().as_bytes(), &reference(image), &platform).map_err(|error| chain(&error))
    }

    #[test]
    fn an_image_is_asked_for_by_its_whole_name() {
        let by_digest = format!("ghcr.io/a/b:1@{}", digest('b'));
        for (image, asked) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("index.docker.io/team/tool:1", "docker.io/team/tool:1".to_owned()),
            ("localhost/x", "localhost/x:latest".to_owned()),
            ("[::1]:5000/x", "[::1]:5000/x:latest".to_owned()),
            (&by_digest, format!("ghcr.io/a/b@{}", digest('b'))),
        ] {
            assert_eq!(name(&reference(image)), asked);
        }
    }

    #[test]
    fn command_and_platform_are_read_as_docker_and_podman_write_them() {
        for (config, entrypoint, cmd) in [
            (json!(null), &[][..], &[][..]),
            (json!({}), &[], &[]),
            (json!({"Entrypoint": null, "Cmd": null}), &[], &[]),
            (json!({"Entrypoint": ["/a", "b c"], "Cmd": []}), &["/a", "b c"], &[]),
            (json!({"Entrypoint": "/a", "Cmd": "c"}), &["/a"], &["c"]),
        ] {
            let image = asked(&with(json!({"Config": config})), "busybox", "linux/amd64").unwrap();
            assert_eq!(
                (image.config.entrypoint.as_slice(), image.config.cmd.as_slice()),
                (
                    &entrypoint.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()[..],
                    &cmd.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()[..]
                )
            );
        }
        let arm = with(json!({"Architecture": "arm64", "Variant": "v8"}));
        assert_eq!(asked(&arm, "busybox", "linux/arm64").unwrap().platform.to_string(), "linux/arm64/v8");
        let unnamed = with(json!({"Variant": ""}));
        assert_eq!(asked(&unnamed, "busybox", "linux/amd64").unwrap().platform.to_string(), "linux/amd64");
    }

    #[test]
    fn only_the_image_that_was_meant_is_believed() {
        let pulled = with(json!({"RepoDigests": [format!("busybox@{}", digest('b'))]}));
        for (answer, image, sentence) in [
            (answer(), "team/tool:1", None),
            (answer(), "docker.io/library/busybox", None),
            (with(json!({"RepoTags": ["docker.io/library/busybox:latest"]})), "busybox", None),
            (
                with(json!({"RepoTags": ["localhost/busybox:latest"]})),
                "busybox",
                Some("another image: localhost/busybox:latest"),
            ),
            (answer(), "busybox:1", Some("another image: busybox:latest, team/tool:1")),
            (
                with(json!({"RepoTags": null, "RepoDigests": null})),
                "busybox",
                Some("another image: one without a name"),
            ),
            (with(json!({"RepoTags": ["<none>:<none>"]})), "busybox", Some("another image: <none>:<none>")),
            (with(json!({"RepoTags": ["x\n".repeat(200)]})), "busybox", Some("another image: x x ")),
            (pulled.clone(), &format!("busybox:9@{}", digest('b')), None),
            (pulled.clone(), &format!("busybox@{}", digest('c')), Some("another image")),
            (pulled, &format!("other@{}", digest('b')), Some("another image")),
        ] {
            match (asked(&answer, image, "linux/amd64"), sentence) {
                (Ok(_), None) => {}
                (Err(error), Some(sentence)) => {
                    assert!(error.contains(sentence) && !error.contains('\n') && error.len() < 300, "{image}: {error}");
                }
                (found, _) => panic!("{image}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_digest_is_what_it_is_and_not_what_one_would_like() {
        let repository =
            |letters: &[char]| json!(letters.iter().map(|l| format!("busybox@{}", digest(*l))).collect::<Vec<_>>());
        let index = "application/vnd.oci.image.index.v1+json";
        let manifest = "application/vnd.docker.distribution.manifest.v2+json";
        for (changes, expected) in [
            // Index, manifest, config, repository.
            (json!({}), [None, None, Some('a'), None]),
            (json!({"RepoDigests": repository(&['b'])}), [None, None, Some('a'), Some('b')]),
            (
                json!({"RepoDigests": [format!("other@{}", digest('b')), "<none>@<none>"]}),
                [None, None, Some('a'), None],
            ),
            // podman: an index and a manifest in it.
            (json!({"RepoDigests": repository(&['b', 'c', 'b'])}), [None, None, Some('a'), None]),
            // As containerd keeps them, before version 1.48 and since then.
            (json!({"RepoDigests": repository(&['a'])}), [None, None, None, Some('a')]),
            (
                json!({"RepoDigests": repository(&['a']), "Descriptor": {"mediaType": index}}),
                [Some('a'), None, None, Some('a')],
            ),
            (
                json!({"RepoDigests": repository(&['a']), "Descriptor": {"mediaType": manifest}}),
                [None, Some('a'), None, Some('a')],
            ),
            (json!({"Descriptor": {}}), [None, None, None, None]),
        ] {
            let image = asked(&with(changes.clone()), "busybox", "linux/amd64").unwrap();
            let found = [image.index_digest, image.manifest_digest, image.config_digest, image.repository_digest];
            assert_eq!(found.map(|d| d.map(|d| d.to_string())), expected.map(|d| d.map(digest)), "{changes}");
        }
    }

    #[test]
    fn what_is_no_answer_of_a_daemon_is_refused() {
        for (answer, sentence) in [
            (json!({}), "not that of a Docker Engine API: missing field `Id`"),
            (json!([]), "not that of a Docker Engine API"),
            (with(json!({"Id": 7})), "not that of a Docker Engine API: invalid type"),
            (with(json!({"Id": "busybox"})), "names the image by \"busybox\", which is no digest"),
            (with(json!({"RepoTags": "busybox:latest"})), "not that of a Docker Engine API"),
            (with(json!({"RepoTags": {}})), "not that of a Docker Engine API"),
            (with(json!({"Config": "sh"})), "not that of a Docker Engine API"),
            (with(json!({"Config": ["sh"]})), "not that of a Docker Engine API"),
            (with(json!({"Descriptor": [""]})), "not that of a Docker Engine API"),
            (with(json!({"Config": {"Cmd": [7]}})), "not that of a Docker Engine API"),
            (with(json!({"Config": {"Entrypoint": {}}})), "not that of a Docker Engine API"),
            (with(json!({"Descriptor": 7})), "not that of a Docker Engine API"),
            (with(json!({"Os": ""})), "does not say for which platform the image is"),
            (with(json!({"Architecture": null})), "does not say for which platform the image is"),
            (with(json!({"Architecture": "s390x"})), "its image is for linux/s390x, and linux/amd64 is wanted"),
            (with(json!({"Architecture": "s".repeat(500)})), "..., and linux/amd64 is wanted"),
        ] {
            let error = asked(&answer, "busybox", "linux/amd64").expect_err(sentence);
            assert!(error.contains(sentence) && error.len() < 300, "{error}");
        }
    }
}
