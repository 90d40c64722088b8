//! The pass of a lookup at a registry: each credential in turn, then none; manifest, platform, config.

use std::collections::VecDeque;

use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};

use super::ask::{Answer, Asker, Question};
use super::error::What;
use super::place::{self, host_and_port};
use super::token::{TokenAnswer, TokenService, basic, bearer};
use super::{
    Aim, Api, Challenge, FetchFailure, FetchedImage, Refusal, RegistryError, Route, Scheme, Settings, Telling,
};
use crate::credential::{Credential, Keychain, Note, Proof};
use crate::http::{Network, Proxy, Unanswered};
use crate::image::agreement::Because;
use crate::image::manifest::{ACCEPT, Candidate};
use crate::image::platform::SHOWN as PLATFORM;
use crate::image::{
    Agreement, Descriptor, Digest, Document, ImageConfig, Index, Manifest, PinnedBy, Platform, Reference, shown,
};
use crate::secrets::Secrets;
use crate::trace::Trace;

/// How many documents an index may lead to before one is found that fits, and how deep indexes may be nested.
const DOCUMENTS: usize = 10;
const DEPTH: usize = 3;
/// How many challenges are met for one document. A second is met where the first was for less than the document needs.
const CHALLENGES: usize = 2;
/// How many unknown schemes a message names.
const SCHEMES: usize = 5;

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
    let mut lookup = Lookup { asker, reference, api: &route.api, wanted: aim.platform, reached: false, root: None };
    lookup.with_each(keychain).await.inspect_err(|error| lookup.asker.note_failure(error))
}

struct Lookup<'a> {
    asker: Asker<'a>,
    reference: &'a Reference,
    api: &'a Api,
    wanted: &'a Platform,
    /// Whether the registry has answered: from then on its scheme is settled.
    reached: bool,
    /// The challenges of the API's root, once they were asked for.
    root: Option<Vec<Challenge>>,
}

/// What is shown during one pass.
struct Session<'c> {
    credential: Option<&'c Credential>,
    authorization: Option<HeaderValue>,
    /// Whether what authorizes comes from the credential.
    shown: bool,
    /// The challenge that was met last: the same one again means that meeting it did not help.
    met: Option<Challenge>,
}

/// Why one pass failed.
enum Failed {
    /// The credential, or its absence, is not accepted: the next may be.
    Refused(Box<Refusal>),
    /// The credential was not shown, because it would go over plain http.
    Withheld,
    /// It is not known how to log in.
    Unknown(Vec<String>),
    /// No credential will change this.
    Finally(RegistryError),
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Self {
        Self::Finally(error)
    }
}

impl<'c> Session<'c> {
    /// A password and a registry token are shown at once, to the registry itself: that saves a request, and registries
    /// that hide what they have answer 404 and no challenge to strangers.
    fn new(credential: Option<&'c Credential>) -> Self {
        let authorization = credential.and_then(|credential| match &credential.proof {
            Proof::Basic { username, password } => basic(username, password),
            Proof::RegistryToken(token) => bearer(token),
            Proof::IdentityToken(_) => None,
        });
        Self { credential, shown: authorization.is_some(), authorization, met: None }
    }
}

impl Lookup<'_> {
    /// Each credential in turn, then none.
    async fn with_each(&mut self, mut keychain: impl Keychain) -> Result<FetchedImage, RegistryError> {
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
                    let used = credential.as_ref().filter(|_| session.shown);
                    if tried > 0 {
                        let outcome = if used.is_some() || credential.is_none() { "accepted" } else { "not needed" };
                        self.asker.notes.push(Note::new(source, format!("{outcome} by {}", self.host())));
                    }
                    return Ok(FetchedImage { credential: used.map(|credential| credential.source.clone()), ..image });
                }
                Err(Failed::Finally(error)) => return Err(error),
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
                Err(Failed::Unknown(schemes)) => {
                    unknown = Some(schemes);
                    "refused: the registry wants a login that is not known here".to_owned()
                }
            };
            if tried > 0 {
                self.asker.notes.push(Note::new(source, outcome));
            }
            if credential.is_none() {
                return Err(self.denied(refusals, unknown, tried - withheld, withheld));
            }
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

    fn host(&self) -> String {
        host_and_port(&self.asker.registry)
    }

    /// From the reference to the config.
    async fn image(&mut self, session: &mut Session<'_>) -> Result<FetchedImage, Failed> {
        let identifier = self.reference.identifier().to_string();
        let answer = self.get(session, "manifests", &identifier, What::Manifest).await?;
        let digest = match self.reference.digest() {
            Some(digest) => self.verified(&answer, digest, What::Manifest)?,
            // A tag's `Docker-Content-Digest` is not looked at: registries are known to send wrong ones.
            None => Digest::of(&answer.body),
        };
        match self.document(&answer)? {
            Document::Manifest(manifest) => self.finished(session, None, digest, &manifest, None).await,
            Document::Index(index) => self.image_of_index(session, digest, &index).await,
        }
    }

    /// From an index to the config, through indexes within it and entries that name no platform.
    async fn image_of_index(
        &mut self,
        session: &mut Session<'_>,
        index_digest: Digest,
        index: &Index,
    ) -> Result<FetchedImage, Failed> {
        let wanted = self.wanted;
        let endless = || RegistryError::EndlessIndex { reference: self.reference.to_string() };
        let step = |depth: usize| {
            move |candidate: Candidate<'_>| (candidate.descriptor.clone(), candidate.platform.cloned(), depth)
        };
        let mut offered = index.platforms();
        let mut left: VecDeque<_> = index.candidates(wanted).into_iter().map(step(1)).collect();
        for _ in 0..DOCUMENTS {
            let Some((descriptor, named, depth)) = left.pop_front() else {
                let reference = self.reference.to_string();
                return Err(RegistryError::NoPlatform { reference, wanted: wanted.to_string(), offered }.into());
            };
            let answer = self.get(session, "manifests", &descriptor.digest.to_string(), What::Manifest).await;
            let answer = answer.map_err(|failed| self.incomplete(failed))?;
            let digest = self.verified(&answer, &descriptor.digest, What::Manifest)?;
            match self.document(&answer)? {
                Document::Index(_) if depth == DEPTH => return Err(endless().into()),
                Document::Index(nested) => {
                    offered.extend(nested.platforms());
                    let inner: Vec<_> = nested.candidates(wanted).into_iter().map(step(depth + 1)).collect();
                    inner.into_iter().rev().for_each(|candidate| left.push_front(candidate));
                }
                Document::Manifest(manifest) => {
                    let guessed = named.is_none();
                    let image = self.finished(session, Some(index_digest), digest, &manifest, named).await?;
                    if !guessed || wanted.fit(&image.platform).is_some() {
                        return Ok(image);
                    }
                    offered.push(shown(&image.platform.to_string(), PLATFORM));
                }
            }
        }
        Err(endless().into())
    }

    /// From a manifest to the config.
    async fn finished(
        &mut self,
        session: &mut Session<'_>,
        index_digest: Option<Digest>,
        manifest_digest: Digest,
        manifest: &Manifest,
        named: Option<Platform>,
    ) -> Result<FetchedImage, Failed> {
        let config = self.config(session, &manifest.config).await?;
        let platform = config.platform.clone().or(named).unwrap_or_else(|| self.wanted.clone());
        let config_digest = manifest.config.digest;
        // Credential and notes are the caller's, who knows the whole story.
        Ok(FetchedImage {
            config,
            index_digest,
            manifest_digest: Some(manifest_digest),
            config_digest,
            platform,
            leads_to: None,
            agreement: Agreement::unknown(Because::NotReported),
            pinned_by: PinnedBy::Registry,
            not_followed: None,
            from_shelf: false,
            credential: None,
            notes: Vec::new(),
        })
    }

    async fn config(&mut self, session: &mut Session<'_>, descriptor: &Descriptor) -> Result<ImageConfig, Failed> {
        let parsed = match descriptor.embedded() {
            Some(embedded) => ImageConfig::parse(embedded),
            None => {
                let answer = self.get(session, "blobs", &descriptor.digest.to_string(), What::Config).await;
                let answer = answer.map_err(|failed| self.incomplete(failed))?;
                self.verified(&answer, &descriptor.digest, What::Config)?;
                ImageConfig::parse(&answer.body)
            }
        };
        let reference = self.reference.to_string();
        parsed.map_err(|source| RegistryError::Config { host: self.host(), reference, source }.into())
    }

    /// A part of an image that is there: its absence is not the image's.
    fn incomplete(&self, failed: Failed) -> Failed {
        match failed {
            Failed::Refused(refusal) if refusal.status == 404 && refusal.what != What::Token => {
                RegistryError::Status { host: self.host(), what: refusal.what, refusal }.into()
            }
            other @ (Failed::Refused(_) | Failed::Withheld | Failed::Unknown(_) | Failed::Finally(_)) => other,
        }
    }

    fn verified(&self, answer: &Answer, digest: &Digest, what: What) -> Result<Digest, RegistryError> {
        match digest.verify(&answer.body) {
            Ok(()) => Ok(*digest),
            Err(source) => Err(RegistryError::WrongDigest {
                host: answer.host.clone(),
                what,
                reference: self.reference.to_string(),
                source: Box::new(source),
            }),
        }
    }

    fn document(&self, answer: &Answer) -> Result<Document, RegistryError> {
        Document::parse(answer.content_type(), &answer.body).map_err(|source| RegistryError::Manifest {
            host: answer.host.clone(),
            reference: self.reference.to_string(),
            source,
        })
    }

    /// One document of the repository, its challenge met if there is one.
    async fn get(
        &mut self,
        session: &mut Session<'_>,
        kind: &str,
        identifier: &str,
        what: What,
    ) -> Result<Answer, Failed> {
        let path = format!("{}/{}/{kind}/{identifier}", self.api.path, self.reference.repository());
        let accept = (what == What::Manifest).then_some(ACCEPT);
        let mut challenges = 0;
        loop {
            let authorization = session.authorization.clone();
            let proves = session.credential.is_some();
            let question = Question { what, accept, authorization: authorization.as_ref(), proves, form: None };
            let answer = self.reach(&path, &question).await?;
            let withheld = proves && self.withholds();
            session.shown &= !withheld;
            if answer.status.is_success() {
                return Ok(answer);
            }
            // What somebody else may see who only listens is no proof: the pass without a credential is the next.
            if withheld {
                return Err(Failed::Withheld);
            }
            // A registry that has a new challenge each time could otherwise have its token service asked without end.
            if challenges == CHALLENGES || !self.authorized(session, &answer).await? {
                return Err(refused(answer, what));
            }
            challenges += 1;
        }
    }

    /// Meets the challenge of an answer, if that gives something new to show.
    async fn authorized(&mut self, session: &mut Session<'_>, answer: &Answer) -> Result<bool, Failed> {
        // Whoever a redirect leads to gets nothing, whatever it asks for.
        if !answer.own {
            return Ok(false);
        }
        let mut challenges = Challenge::parse_all(answer.lines(WWW_AUTHENTICATE));
        let hides = matches!(answer.status.as_u16(), 403 | 404);
        if hides && session.credential.is_some() && session.met.is_none() && challenges.is_empty() {
            challenges = self.root_challenges().await?;
        } else if answer.status.as_u16() != 401 {
            return Ok(false);
        }
        let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        let Some(challenge @ Challenge::Bearer { realm, service, scope }) = bearer else {
            // A password was shown already, if there is one.
            if hides || session.authorization.is_some() || challenges.contains(&Challenge::Basic) {
                return Ok(false);
            }
            return Err(Failed::Unknown(challenges.into_iter().filter_map(scheme).take(SCHEMES).collect()));
        };
        let is_final = session.credential.is_some_and(|c| matches!(c.proof, Proof::RegistryToken(_)));
        if is_final || session.met.as_ref() == Some(challenge) {
            return Ok(false);
        }
        let service = TokenService { realm, service: service.as_deref(), scope: scope.as_deref() };
        let token = service.token(&mut self.asker, self.reference.repository(), session.credential).await?;
        match token {
            TokenAnswer::Token { header, shown } => {
                session.authorization = Some(header);
                session.shown = shown;
                session.met = Some(challenge.clone());
                Ok(true)
            }
            TokenAnswer::Refused(refusal) => Err(Failed::Refused(refusal)),
        }
    }

    /// What the API's root wants to be shown: for registries that hide a repository, and with it their challenge.
    async fn root_challenges(&mut self) -> Result<Vec<Challenge>, RegistryError> {
        if let Some(known) = &self.root {
            return Ok(known.clone());
        }
        let question = Question { what: What::Root, accept: None, authorization: None, proves: false, form: None };
        let answer = self.reach(&format!("{}/", self.api.path), &question).await?;
        let challenges = if answer.own { Challenge::parse_all(answer.lines(WWW_AUTHENTICATE)) } else { Vec::new() };
        Ok(self.root.insert(challenges).clone())
    }

    /// Asks the registry: over https, and over plain http only where that is allowed and https is certainly not spoken.
    async fn reach(&mut self, path: &str, question: &Question<'_>) -> Result<Answer, RegistryError> {
        let first = self.ask(path, question).await.map_err(|error| self.as_it_is_named(error));
        let plain = !self.reached
            && matches!(self.api.scheme, Scheme::Usual | Scheme::Either)
            && place::plain_http_allowed(&self.asker.registry, self.asker.settings)
            && first.as_ref().is_err_and(|error| speaks_no_tls(error, &self.host()));
        self.reached = self.reached || first.is_ok() || plain;
        if !plain {
            return first;
        }
        self.asker.registry = place::over_http(&self.asker.registry, self.reference.registry());
        let second = self.ask(path, question).await;
        if second.is_ok() {
            self.asker.notes.push(Note::new(self.host(), "asked over plain http"));
        }
        second
    }

    /// An error about the registry, with the registry as flags have to name it: as the image does.
    fn as_it_is_named(&self, error: RegistryError) -> RegistryError {
        let RegistryError::NotTls { giver, host, proxy, key } = error else { return error };
        let key = if host == self.host() { self.reference.registry().to_owned() } else { key };
        RegistryError::NotTls { giver, host, key, proxy }
    }

    async fn ask(&mut self, path: &str, question: &Question<'_>) -> Result<Answer, RegistryError> {
        // Not joined: whatever a path begins with, it leads to nobody else.
        let mut url = self.asker.registry.clone();
        url.set_path(&format!("/{path}"));
        if let Some(namespace) = &self.api.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        let authorization = question.authorization.filter(|_| !(question.proves && self.withholds()));
        self.asker.ask(&url, &Question { authorization, ..*question }).await
    }

    /// Whether the registry is spoken to in a way that whoever listens would see what it is shown.
    fn withholds(&self) -> bool {
        let registry = &self.asker.registry;
        registry.scheme() == "http" && !place::may_be_shown_credentials(registry, self.asker.settings)
    }
}

/// Whether a failure shows that a host does not speak TLS, rather than being slow, or not who it should be. What a proxy
/// that is itself spoken to in TLS has to do with that cannot be told.
fn speaks_no_tls(error: &RegistryError, registry: &str) -> bool {
    if let RegistryError::NotTls { host, proxy, .. } = error {
        host == registry && !proxy.as_ref().is_some_and(Proxy::is_tls)
    } else if let RegistryError::Unanswered { host, source: Unanswered::Refused, .. } = error {
        host == registry
    } else {
        false
    }
}

/// A scheme's name, for a message; those that are known have none.
fn scheme(challenge: Challenge) -> Option<String> {
    match challenge {
        Challenge::Other { scheme } => Some(shown(&scheme, 40)),
        Challenge::Basic | Challenge::Bearer { .. } => None,
    }
}

/// What an answer that is no success means.
fn refused(answer: Answer, what: What) -> Failed {
    let refusal = answer.refusal(what);
    match refusal.status {
        401 | 403 | 404 if answer.own => Failed::Refused(refusal),
        429 => {
            let retry_after = answer.retry_after();
            Failed::Finally(RegistryError::TooManyRequests { host: answer.host, retry_after, refusal })
        }
        _ => Failed::Finally(RegistryError::Status { host: answer.host, what, refusal }),
    }
}
