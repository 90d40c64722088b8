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

/// Where the credentials for an image come from. They are asked for one by one, in the order in which they are tried: the
/// next only once the registry has refused the one before.
pub trait Keychain {
    /// The next credential; `None` when there is no other. What became of a source that has none goes into `story`.
    fn next_credential(&mut self, story: &mut Vec<Note>) -> impl Future<Output = Option<Credential>>;
}

/// Credentials that are known already.
impl Keychain for std::vec::IntoIter<Credential> {
    async fn next_credential(&mut self, _: &mut Vec<Note>) -> Option<Credential> {
        self.next()
    }
}

impl Proof {
    /// What of it no message may repeat.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Basic { password: secret, .. } | Self::IdentityToken(secret) | Self::RegistryToken(secret) => secret,
        }
    }
}

/// Who names a pull secret, in the order in which their secrets are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamedBy {
    /// The pod, in `spec.imagePullSecrets`.
    Pod,
    /// The command line, by `-image_pull_secrets`.
    Flag,
    /// The service account, in `imagePullSecrets`.
    ServiceAccount,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "the pod",
            Self::Flag => "-image_pull_secrets",
            Self::ServiceAccount => "the service account",
        })
    }
}

/// A pull secret by its name, and who named it. Shown, it is the source of a credential:
/// `pull secret ci/regcred of the pod and the service account`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who named it first.
    pub named_by: NamedBy,
    /// Who else named it, in order.
    pub also_by: Vec<NamedBy>,
}

impl fmt::Display for PullSecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pull secret {}/{} of {}", self.namespace, self.name, self.named_by)?;
        for (index, by) in self.also_by.iter().enumerate() {
            let separator = if index + 1 == self.also_by.len() { " and" } else { "," };
            write!(f, "{separator} {by}")?;
        }
        Ok(())
    }
}

/// A pull secret as the cluster holds it: what the API's reader hands to the keychain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSecret {
    /// Which one it is, and who named it.
    pub name: PullSecretName,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_secret_is_shown_with_everybody_who_named_it() {
        let named = |also_by: &[NamedBy]| {
            let name = PullSecretName {
                namespace: "ci".to_owned(),
                name: "regcred".to_owned(),
                named_by: NamedBy::Pod,
                also_by: also_by.to_vec(),
            };
            name.to_string()
        };
        assert_eq!(named(&[]), "pull secret ci/regcred of the pod");
        assert_eq!(named(&[NamedBy::ServiceAccount]), "pull secret ci/regcred of the pod and the service account");
        assert_eq!(
            named(&[NamedBy::Flag, NamedBy::ServiceAccount]),
            "pull secret ci/regcred of the pod, -image_pull_secrets and the service account"
        );
    }
}
