//! One question to a registry as somebody: challenges met, plain http where that is allowed, what a refusal means.

use reqwest::Method;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};

use super::ask::{Answer, Question};
use super::client::Lookup;
use super::error::What;
use super::place;
use super::token::{TokenAnswer, TokenService, basic, bearer};
use super::{Challenge, Refusal, RegistryError, Scheme};
use crate::credential::{Credential, Note, Proof};
use crate::http::{Proxy, Unanswered};
use crate::image::manifest::ACCEPT;
use crate::image::shown;

/// How many challenges are met for one document. A second is met where the first was for less than the document needs.
const CHALLENGES: usize = 2;
/// How many unknown schemes a message names.
const SCHEMES: usize = 5;

/// What is shown during one pass.
pub(super) struct Session<'c> {
    pub(super) credential: Option<&'c Credential>,
    authorization: Option<HeaderValue>,
    /// Whether what authorizes comes from the credential.
    pub(super) shown: bool,
    /// The challenge that was met last: the same one again means that meeting it did not help.
    met: Option<Challenge>,
    /// Whether nobody is asked: what is not on the shelf is not there.
    offline: bool,
    /// Whether the registry has given anything: until then nobody knows what it makes of the credential.
    pub(super) given: bool,
}

/// Why one pass failed.
pub(super) enum Failed {
    /// The credential, or its absence, is not accepted: the next may be.
    Refused(Box<Refusal>),
    /// The credential was not shown, because it would go over plain http.
    Withheld,
    /// It is not known how to log in.
    Unknown(Vec<String>),
    /// Somebody would have to be asked.
    Offline,
    /// No credential will change this.
    Finally(RegistryError),
}

impl Failed {
    /// Whether this says something of what the reference leads to, and nothing of whoever asks.
    pub(super) fn is_about_the_image(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.status == 404 && refusal.what == What::Manifest,
            Self::Finally(error) => error.is_about_the_image(),
            Self::Withheld | Self::Unknown(_) | Self::Offline => false,
        }
    }
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Self {
        Self::Finally(error)
    }
}

impl<'c> Session<'c> {
    /// A password and a registry token are shown at once, to the registry itself: that saves a request, and registries
    /// that hide what they have answer 404 and no challenge to strangers.
    pub(super) fn new(credential: Option<&'c Credential>) -> Self {
        let authorization = credential.and_then(|credential| match &credential.proof {
            Proof::Basic { username, password } => basic(username, password),
            Proof::RegistryToken(token) => bearer(token),
            Proof::IdentityToken(_) => None,
        });
        Self { credential, shown: authorization.is_some(), authorization, met: None, offline: false, given: false }
    }

    pub(super) fn is_offline(&self) -> bool {
        self.offline
    }

    /// Nobody asks nobody.
    pub(super) fn offline() -> Self {
        Self { credential: None, shown: false, authorization: None, met: None, offline: true, given: false }
    }
}

impl Lookup<'_> {
    /// One document of the repository, its challenge met if there is one.
    pub(super) async fn get(
        &mut self,
        session: &mut Session<'_>,
        kind: &str,
        identifier: &str,
        what: What,
    ) -> Result<Answer, Failed> {
        self.fetch(session, Method::GET, kind, identifier, what).await
    }

    /// The head of one document, to learn whether it is there and may be read; none where the registry does not say. Docker
    /// Hub does not count it as a pull.
    pub(super) async fn head(
        &mut self,
        session: &mut Session<'_>,
        kind: &str,
        identifier: &str,
        what: What,
    ) -> Result<Option<Answer>, Failed> {
        match self.fetch(session, Method::HEAD, kind, identifier, what).await {
            Ok(answer) => Ok(Some(answer)),
            // No other method changes the token service's mind.
            Err(Failed::Refused(refusal)) if refusal.what == What::Token => Err(Failed::Refused(refusal)),
            // A registry may not have been taught this method, or its challenge; why it refuses stands in the body that
            // this answer has not.
            Err(Failed::Refused(_) | Failed::Unknown(_) | Failed::Finally(RegistryError::Status { .. })) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    async fn fetch(
        &mut self,
        session: &mut Session<'_>,
        method: Method,
        kind: &str,
        identifier: &str,
        what: What,
    ) -> Result<Answer, Failed> {
        if session.offline {
            return Err(Failed::Offline);
        }
        let path = format!("{}/{}/{kind}/{identifier}", self.api.path, self.reference.repository());
        let accept = (what == What::Manifest).then_some(ACCEPT);
        let mut challenges = 0;
        loop {
            let authorization = session.authorization.clone();
            let proves = session.credential.is_some();
            let method = method.clone();
            let question = Question { what, method, accept, authorization: authorization.as_ref(), proves, form: None };
            let answer = self.reach(&path, &question).await?;
            let withheld = proves && self.withholds();
            session.shown &= !withheld;
            if answer.status.is_success() {
                session.given = true;
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
        let question = Question {
            what: What::Root,
            method: Method::GET,
            accept: None,
            authorization: None,
            proves: false,
            form: None,
        };
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
        self.asker.ask(&url, &Question { authorization, ..question.clone() }).await
    }

    /// Whether the registry is spoken to in a way that whoever listens would see what it is shown.
    fn withholds(&self) -> bool {
        let registry = &self.asker.registry;
        registry.scheme() == "http" && !place::may_be_shown_credentials(registry, self.asker.settings)
    }
}

/// Whether a failure shows that a host does not speak TLS, rather than being slow, or not who it should be. What a proxy
/// that is itself spoken to in TLS has to do with that cannot be told.
pub(super) fn speaks_no_tls(error: &RegistryError, registry: &str) -> bool {
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
