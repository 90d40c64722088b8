//! A credential for a registry and the story of how it was found: plain values that keychain and registry share.

use std::fmt;

pub use crate::note::Note;
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
