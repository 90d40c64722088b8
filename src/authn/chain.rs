//! The chain: what the pod was given first, the identity that it has in the registry's cloud after that.

use std::vec;

use super::cloud::Identities;
use crate::credential::{Credential, Keychain, Note};

/// The credentials of a pod for an image, in the order in which they are tried.
pub struct Chain<'c, 'a> {
    known: vec::IntoIter<Credential>,
    identities: Option<&'c mut Identities<'a>>,
}

impl<'c, 'a> Chain<'c, 'a> {
    /// What is known already, then what the identities have.
    #[must_use]
    pub fn new(known: Vec<Credential>, identities: Option<&'c mut Identities<'a>>) -> Self {
        Self { known: known.into_iter(), identities }
    }
}

impl Keychain for Chain<'_, '_> {
    async fn next_credential(&mut self, story: &mut Vec<Note>) -> Option<Credential> {
        if let Some(known) = self.known.next_credential(story).await {
            return Some(known);
        }
        match &mut self.identities {
            Some(identities) => identities.next(story).await,
            None => None,
        }
    }
}
