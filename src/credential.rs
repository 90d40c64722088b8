//! A credential for a registry and the story of how it was found: plain values that keychain and registry share.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// What a registry, or the token service that it names, is shown. Absence is `None`: there is no anonymous variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A user name and a password.
    Basic {
        /// The user name. Not a secret, but never logged either.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token (docker's `identitytoken`), to be exchanged at the token service.
    IdentityToken(Secret),
    /// A bearer token that is sent to the registry as it is (docker's `registrytoken`).
    RegistryToken(Secret),
}

/// A proof together with where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// What is shown to the registry.
    pub proof: Proof,
    /// Where it was found, for people: `pull secret ci/regcred, key "ghcr.io"`. Never holds a secret.
    pub source: String,
}

/// One line of the story of a lookup: a source, and what became of it. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The source: `service account ci/builder`, `docker config /root/.docker/config.json`.
    pub source: String,
    /// What became of it: `forbidden: cannot get secrets`, `no entry for ghcr.io`, `refused by the registry: 401`.
    pub outcome: String,
}

impl Note {
    /// A note about a source. It is one line: a control character is shown by its escape.
    pub fn new(source: impl Into<String>, outcome: impl Into<String>) -> Self {
        Self { source: one_line(source.into()), outcome: one_line(outcome.into()) }
    }

    /// A note about a source that failed: the error and its causes, joined by `: `.
    pub fn failed(source: impl Into<String>, error: &dyn Error) -> Self {
        Self::new(source, told(error))
    }
}

/// An error and its causes, joined by `: `.
pub fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.outcome)
    }
}

/// A pull secret as the cluster holds it: what the API's reader hands to the keychain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub document: PullSecretDocument,
}

/// What a pull secret holds, by its type.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets>
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullSecretDocument {
    /// Type `kubernetes.io/dockerconfigjson`, key `.dockerconfigjson`: an object with `auths`.
    Config(Secret),
    /// Type `kubernetes.io/dockercfg`, key `.dockercfg`: the map of `auths` itself.
    Legacy(Secret),
    /// Nothing that the keychain can read.
    Unusable(UnusablePullSecret),
}

/// Why a pull secret holds nothing that the keychain can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusablePullSecret {
    /// Its type is for something else.
    #[error(
        "its type {0:?} holds no registry credentials (kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg do)"
    )]
    OtherType(String),
    /// The key that its type requires is not there.
    #[error("it has no {0:?}")]
    NoKey(&'static str),
    /// What stands under the key is not a text.
    #[error("its {0:?} is not UTF-8")]
    NotUtf8(&'static str),
}

impl fmt::Display for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pull secret {}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line() {
        let note = Note::new("docker config /tmp/a\nb", "odd\x1b[31m");
        assert_eq!(note.to_string(), r"docker config /tmp/a\nb: odd\u{1b}[31m");
    }

    #[test]
    fn a_failure_is_told_with_its_causes() {
        let error = std::io::Error::other(UnusablePullSecret::NoKey(".dockercfg"));
        assert_eq!(Note::failed("s", &error).outcome, "it has no \".dockercfg\"");
    }
}
