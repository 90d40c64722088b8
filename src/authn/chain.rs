//! The chain: what the pod was given first, the identity that it has in the registry's cloud after that.

use std::vec;

use crate::credential::{Credential, Keychain, Note};

/// The credentials of a pod for an image, in the order in which they are tried.
pub struct Chain<'k, K> {
    known: vec::IntoIter<Credential>,
    identities: Option<&'k mut K>,
}

impl<'k, K: Keychain> Chain<'k, K> {
    /// What is known already, then what the identities have: they are not asked before.
    #[must_use]
    pub fn new(known: Vec<Credential>, identities: Option<&'k mut K>) -> Self {
        Self { known: known.into_iter(), identities }
    }
}

impl<K: Keychain> Keychain for Chain<'_, K> {
    async fn next_credential(&mut self, story: &mut Vec<Note>) -> Option<Credential> {
        if let Some(known) = self.known.next_credential(story).await {
            return Some(known);
        }
        match &mut self.identities {
            Some(identities) => identities.next_credential(story).await,
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Proof;
    use crate::secret::Secret;

    /// Identities that tell each time that they were asked.
    struct Telling(vec::IntoIter<Credential>);

    impl Keychain for Telling {
        async fn next_credential(&mut self, story: &mut Vec<Note>) -> Option<Credential> {
            story.push(Note::new("identity", "asked"));
            self.0.next()
        }
    }

    fn credentials(sources: &[&str]) -> Vec<Credential> {
        let proof = || Proof::RegistryToken(Secret::new("token".to_owned()));
        sources.iter().map(|&source| Credential { proof: proof(), source: source.to_owned() }).collect()
    }

    /// Whose turn it is, and how often the identities were asked by then.
    fn turns(known: &[&str], identities: Option<&[&str]>) -> Vec<(Option<String>, usize)> {
        let mut identities = identities.map(|sources| Telling(credentials(sources).into_iter()));
        let mut chain = Chain::new(credentials(known), identities.as_mut());
        let (mut story, mut turns) = (Vec::new(), Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        loop {
            let next = runtime.block_on(chain.next_credential(&mut story)).map(|credential| credential.source);
            turns.push((next.clone(), story.len()));
            if next.is_none() {
                return turns;
            }
        }
    }

    #[test]
    fn identities_are_asked_once_everything_that_is_known_was_tried() {
        let turn = |source: &str, asked| (Some(source.to_owned()), asked);
        assert_eq!(turns(&[], None), [(None, 0)]);
        assert_eq!(turns(&["a"], None), [turn("a", 0), (None, 0)]);
        assert_eq!(turns(&[], Some(&["c"])), [turn("c", 1), (None, 2)]);
        assert_eq!(turns(&["a", "b"], Some(&["c"])), [turn("a", 0), turn("b", 0), turn("c", 1), (None, 2)]);
    }
}
