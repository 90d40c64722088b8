//! The keychain: every credential that a pod has for a registry, and the story of each source.

#[cfg(feature = "ecr")]
mod amazon;
#[cfg(feature = "acr")]
mod azure;
pub mod chain;
pub mod cloud;
pub mod config_files;
mod document;
mod file;
#[cfg(feature = "gcr")]
mod google;
mod helper_process;
pub mod helpers;
pub mod inventory;
pub mod matching;
pub mod mounted;
pub mod pull_secrets;

use crate::credential::{Credential, Note};

/// What a source, or several in their order, had for a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Every credential that may serve, in the order in which it is to be tried. No proof stands there twice.
    pub credentials: Vec<Credential>,
    /// What became of the sources that could not help. Never holds a secret.
    pub notes: Vec<Note>,
    /// Whether the attempt at the step's turn may find more: a credential helper is named for the registry, and was not
    /// asked only because the turn has not come.
    pub deferred: bool,
}

impl Found {
    /// Nothing but a note.
    #[must_use]
    pub fn only_note(note: Note) -> Self {
        Self { notes: vec![note], ..Self::default() }
    }

    /// Appends what a later source had. A proof that is there already keeps its first source: it is not tried twice.
    pub fn merge(&mut self, later: Self) {
        for credential in later.credentials {
            self.push(credential);
        }
        self.notes.extend(later.notes);
        self.deferred |= later.deferred;
    }

    /// Appends one credential, unless its proof is there already.
    pub(crate) fn push(&mut self, credential: Credential) {
        if self.credentials.iter().all(|earlier| earlier.proof != credential.proof) {
            self.credentials.push(credential);
        }
    }
}
