//! The keychain: every credential that a pod has for a registry, and the story of each source.

pub mod docker_config;
mod document;
pub mod matching;
pub mod pull_secrets;

use crate::credential::{Credential, Note};

/// What a source, or several in their order, had for a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Every credential that may serve, in the order in which it is to be tried. No proof stands there twice.
    pub credentials: Vec<Credential>,
    /// What became of the sources that could not help. Never holds a secret.
    pub notes: Vec<Note>,
}

impl Found {
    /// Nothing but a note.
    #[must_use]
    pub fn only_note(note: Note) -> Self {
        Self { credentials: Vec::new(), notes: vec![note] }
    }

    /// Appends what a later source had. A proof that is there already keeps its first source: it is not tried twice.
    pub fn merge(&mut self, later: Self) {
        for credential in later.credentials {
            self.push(credential);
        }
        self.notes.extend(later.notes);
    }

    /// Appends one credential, unless its proof is there already.
    pub(crate) fn push(&mut self, credential: Credential) {
        if self.credentials.iter().all(|earlier| earlier.proof != credential.proof) {
            self.credentials.push(credential);
        }
    }
}
