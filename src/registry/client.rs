//! The pass of a lookup at a registry: the shelf, each credential in turn, then none.

use super::ask::Asker;
use super::error::What;
use super::place::host_and_port;
use super::session::{Failed, Session};
use super::{Aim, Api, Challenge, FetchFailure, FetchedImage, Refusal, RegistryError, Route, Settings, Telling};
use crate::credential::{Credential, Keychain, Note};
use crate::http::Network;
use crate::image::{Platform, Reference};
use crate::secrets::Secrets;
use crate::trace::Trace;

/// Asks the registry of `reference` what the image for `platform` runs. Each credential is tried in turn, then none; the
/// first that the registry accepts wins. Every request is noted in `trace`.
///
/// # Errors
///
/// [`FetchFailure`]: the reason, and what became of each credential.
pub async fn fetch_image(
    network: &Network,
    settings: &Settings,
    reference: &Reference,
    platform: &Platform,
    credentials: &[Credential],
    trace: &Trace,
) -> Result<FetchedImage, FetchFailure> {
    let (mut notes, secrets) = (Vec::new(), Secrets::default());
    let (keychain, route) = (Vec::from(credentials).into_iter(), Route::direct(reference.clone()));
    let telling = Telling { story: &mut notes, trace, secrets: &secrets };
    match fetch_image_telling(network, settings, &route, Aim::at(reference, platform), keychain, telling).await {
        Ok(image) => Ok(FetchedImage { notes, ..image }),
        Err(error) => Err(FetchFailure { error, notes }),
    }
}

/// The same by a route, with a keychain that may have to look for a credential first.
///
/// # Errors
///
/// The reason.
pub async fn fetch_image_telling(
    network: &Network,
    settings: &Settings,
    route: &Route,
    aim: Aim<'_>,
    keychain: impl Keychain,
    telling: Telling<'_>,
) -> Result<FetchedImage, RegistryError> {
    let reference = &route.reference;
    let Some(registry) = route.root() else {
        return Err(RegistryError::Host { registry: reference.registry().to_owned() });
    };
    let settings = route.settings(settings);
    let asker = Asker::new(network, &settings, registry, telling);
    let mut lookup = Lookup { asker, reference, api: &route.api, aim, reached: false, root: None, unsettled: None };
    lookup.with_each(keychain).await.inspect_err(|error| lookup.asker.note_failure(error))
}

/// A lookup at one registry.
pub(super) struct Lookup<'a> {
    pub(super) asker: Asker<'a>,
    /// The image as it is named there.
    pub(super) reference: &'a Reference,
    pub(super) api: &'a Api,
    pub(super) aim: Aim<'a>,
    /// Whether the registry has answered: from then on its scheme is settled.
    pub(super) reached: bool,
    /// The challenges of the API's root, once they were asked for.
    pub(super) root: Option<Vec<Challenge>>,
    /// Why it is not known for now whether the registry has what the container runs, where the reference leads nowhere.
    pub(super) unsettled: Option<RegistryError>,
}

impl Lookup<'_> {
    /// The image without asking anybody: where whoever asks has shown before that it may read it, or runs it.
    async fn off_the_shelf(&mut self) -> Option<FetchedImage> {
        let shelf = self.aim.shelf?;
        if let Ok(image) = self.image(&mut Session::offline()).await {
            return Some(image);
        }
        shelf.glance(&mut *self.asker.notes);
        None
    }

    /// Each credential in turn, then none.
    async fn with_each(&mut self, mut keychain: impl Keychain) -> Result<FetchedImage, RegistryError> {
        if let Some(image) = self.off_the_shelf().await {
            return Ok(image);
        }
        let mut refusals = Vec::new();
        let mut unknown = None;
        let (mut tried, mut withheld) = (0, 0);
        loop {
            let credential = keychain.next_credential(self.asker.notes).await;
            if let Some(credential) = &credential {
                self.asker.keep(&credential.proof);
                tried += 1;
            }
            let mut session = Session::new(credential.as_ref());
            let source = credential.as_ref().map_or("without a credential", |credential| &credential.source);
            let outcome = match self.image(&mut session).await {
                Ok(image) => {
                    let used = credential.as_ref().filter(|_| session.shown && session.given);
                    if tried > 0 && session.given {
                        let outcome = if used.is_some() || credential.is_none() { "accepted" } else { "not needed" };
                        self.asker.notes.push(Note::new(source, format!("{outcome} by {}", self.host())));
                    }
                    return Ok(FetchedImage { credential: used.map(|credential| credential.source.clone()), ..image });
                }
                Err(Failed::Finally(error)) => return Err(self.settled(error)),
                Err(Failed::Refused(refusal)) => {
                    let outcome = format!("refused: {refusal}");
                    refusals.push(*refusal);
                    outcome
                }
                Err(Failed::Withheld) => {
                    withheld += 1;
                    let (host, key) = (self.host(), self.reference.registry());
                    format!(
                        "not shown to {host}, which speaks plain http; -image_insecure_registry {key} would allow it"
                    )
                }
                // Not of a session that may ask.
                Err(Failed::Offline) => "nobody was asked".to_owned(),
                Err(Failed::Unknown(schemes)) => {
                    unknown = Some(schemes);
                    "refused: the registry wants a login that is not known here".to_owned()
                }
            };
            if tried > 0 {
                self.asker.notes.push(Note::new(source, outcome));
            }
            if credential.is_none() {
                let denied = self.denied(refusals, unknown, tried - withheld, withheld);
                return Err(self.settled(denied));
            }
        }
    }

    /// What the lookup fails of. That the reference leads nowhere is not the end while what runs may be there later.
    fn settled(&mut self, error: RegistryError) -> RegistryError {
        let is_about_the_image = error.is_about_the_image() || matches!(error, RegistryError::NotFound { .. });
        match self.unsettled.take() {
            Some(unsettled) if is_about_the_image => {
                self.asker.note_once(Note::failed(self.host(), &error));
                unsettled
            }
            Some(_) | None => error,
        }
    }

    /// The failure of every pass as one: who was told most is believed.
    fn denied(
        &self,
        refusals: Vec<Refusal>,
        unknown: Option<Vec<String>>,
        credentials: usize,
        withheld: usize,
    ) -> RegistryError {
        let host = self.host();
        let telling = |refusal: &Refusal| match refusal.status {
            404 => 2,
            403 => 1,
            _ => 0,
        };
        // The first of the best: that of a credential before that of nobody.
        let Some(refusal) = refusals.into_iter().rev().max_by_key(telling) else {
            return RegistryError::NoKnownChallenge { host, schemes: unknown.unwrap_or_default() };
        };
        let repository = self.reference.repository().to_owned();
        let refusal = Box::new(refusal);
        if refusal.status == 404 && refusal.what == What::Manifest {
            RegistryError::NotFound { host, reference: self.reference.to_string(), credentials, refusal }
        } else if credentials == 0 && withheld > 0 {
            let key = self.reference.registry().to_owned();
            RegistryError::Withheld { host, repository, key, refusal }
        } else if credentials == 0 {
            RegistryError::NoCredential { host, repository, refusal }
        } else {
            RegistryError::Denied { host, repository, credentials, refusal }
        }
    }

    /// The registry, for a message.
    pub(super) fn host(&self) -> String {
        host_and_port(&self.asker.registry)
    }
}
