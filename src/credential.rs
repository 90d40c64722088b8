//! A credential for a registry and the story of how it was found: plain values that keychain and registry share.

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
