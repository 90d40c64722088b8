//! Doors for fuzzing to what is private here (docs/adr/0053-fuzzing-by-coverage-on-stable.md).

use std::time::{Duration, SystemTime};

use reqwest::Url;

use super::token::TokenService;
use super::{RegistryError, Settings, retry_after as reader};

/// The pause that a `Retry-After` asks for, with the answer's own `Date`.
#[must_use]
pub fn retry_after(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    reader::pause_of(text, date, now)
}

/// The URL that a token for a repository is asked for with, by the parameters of a Bearer challenge.
///
/// # Errors
///
/// When the realm is nowhere that may be asked.
pub fn token_url(
    [realm, service, scope]: [Option<&str>; 3],
    registry: &Url,
    repository: &str,
    settings: &Settings,
) -> Result<Url, RegistryError> {
    let service = TokenService { realm: realm.unwrap_or(""), service, scope };
    let realm = service.checked_realm(registry, settings)?;
    Ok(service.query(&realm, &service.scopes(repository)))
}
