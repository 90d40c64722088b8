//! Amazon's identities: not there yet.

use std::fmt;

use super::cloud::Context;
use crate::cloud::AmazonRegistry;
use crate::credential::Credential;
use crate::host::Env;

/// An identity that a pod may have.
pub(super) enum Source {}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum AmazonError {}

/// The identities to ask for, in order.
pub(super) fn sources(env: &Env, registry: &AmazonRegistry) -> Vec<Source> {
    let _ = (env, registry);
    Vec::new()
}

impl Source {
    /// Asks for the credentials.
    pub(super) async fn credentials(&self, _: &Context<'_>) -> Result<Vec<Credential>, AmazonError> {
        match *self {}
    }
}

impl fmt::Display for Source {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl AmazonError {
    /// Whether time may mend it.
    pub(super) fn is_passing(&self) -> bool {
        match *self {}
    }
}
