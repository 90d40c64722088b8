//! One question to a registry or to whom it names: tried again when that helps, redirects by hand, a bounded answer.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};

use super::error::{WORDS, What, words};
use super::limits::Limits;
use super::place::{self, Purpose, host_and_port, same_origin};
use super::traced::traced;
use super::{ClientCertificate, Patience, Refusal, RegistryError, Settings, Telling, retry_after};
use crate::credential::{Note, Proof};
use crate::http::{HttpError, Network, Proxies, Trust, Unanswered, is_named, read_body};
use crate::image::{Digest, shown};
use crate::secret::Secret;
use crate::secrets::{HIDDEN_WHOLLY, Secrets};
use crate::sys::cause::chain;
use crate::trace::{End, Trace};

/// How many redirects are followed.
const REDIRECTS: usize = 10;
/// The longest error body that is looked at, in bytes.
const ERROR_BODY: usize = 64 << 10;

/// Who asks: the clients of one lookup, the pauses that are left, and the story so far.
pub(super) struct Asker<'a> {
    network: &'a Network,
    pub(super) settings: &'a Settings,
    /// The registry's root, by which it is asked now.
    pub(super) registry: Url,
    clients: Vec<(Trusting, reqwest::Client)>,
    /// Whom the last request was for: when a lookup fails, that is the one that failed.
    last: Url,
    pauses_left: Duration,
    pub(super) notes: &'a mut Vec<Note>,
    /// What no message may repeat.
    pub(super) secrets: &'a Secrets,
    trace: &'a Trace,
}

/// Whom a client trusts: two places for which that is the same share it.
#[derive(Clone, PartialEq, Eq)]
struct Trusting {
    /// PEM files beyond the public authorities.
    extra: Vec<PathBuf>,
    /// The host that is believed without a proof.
    believed: Option<String>,
    /// What is shown to whoever asks for a certificate.
    client: Option<ClientCertificate>,
    /// Whether a registry chose the name, so that its name server is not believed in everything.
    chosen: bool,
}

/// What is asked.
#[derive(Clone)]
pub(super) struct Question<'q> {
    pub(super) what: What,
    pub(super) method: Method,
    pub(super) accept: Option<&'static str>,
    pub(super) authorization: Option<&'q HeaderValue>,
    /// Whether that proves who the pod is; nobody's token does not.
    pub(super) proves: bool,
    /// A form to post. It holds a secret, and is never sent along a redirect.
    pub(super) form: Option<&'q Secret>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// An error's own words.
    words: Option<String>,
    /// What a 429's headers say.
    limits: Limits,
    /// Who answered in the end.
    pub(super) host: String,
    /// Whether that is whom the question was put to: nobody else's challenge is met.
    pub(super) own: bool,
}

impl Answer {
    /// The text of a header's first line.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    /// The digest that the registry says the document has, if it says one that can be used.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
    }

    /// The texts of all lines of a header.
    pub(super) fn lines(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// The pause that the server asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after::of(&self.headers)
    }

    /// The answer as a refusal.
    pub(super) fn refusal(&self, what: What) -> Box<Refusal> {
        let (host, status) = (self.host.clone(), self.status.as_u16());
        let (words, limits, retry_after) = (self.words.clone(), self.limits.clone(), self.retry_after());
        Box::new(Refusal { what, host, status, words, limits, retry_after })
    }

    /// The statuses that pass by themselves, as in `pkg/v1/remote` of google/go-containerregistry.
    fn is_transient(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
    }
}

impl<'a> Asker<'a> {
    pub(super) fn new(network: &'a Network, settings: &'a Settings, registry: Url, telling: Telling<'a>) -> Self {
        let Telling { story: notes, trace, secrets } = telling;
        let pauses_left = settings.patience.budget;
        let last = registry.clone();
        Self { network, settings, registry, clients: Vec::new(), last, pauses_left, notes, secrets, trace }
    }

    /// Adds to the story of a failure what the environment decided: the sentence may name the proxy already.
    pub(super) fn note_failure(&mut self, error: &RegistryError) {
        let proxy = if error.names_proxy() { None } else { self.network.proxy_in_force(&self.last) };
        self.notes.extend(proxy);
        self.notes.extend_from_slice(self.network.roots_in_force());
    }

    /// Whoever is shown this may repeat it, and is not repeated.
    pub(super) fn keep(&self, proof: &Proof) {
        match proof {
            Proof::Basic { username, password } => self.secrets.keep_pair(username, password.expose()),
            Proof::IdentityToken(token) => self.secrets.keep_pair("", token.expose()),
            Proof::RegistryToken(token) => self.secrets.keep(token.expose()),
        }
    }

    /// The words of an error body, unless they hold a secret: some services say what they were shown.
    fn words(&self, body: &[u8]) -> Option<String> {
        let words = words(body)?;
        Some(if self.secrets.hold(&words) { HIDDEN_WHOLLY.to_owned() } else { shown(&words, WORDS) })
    }

    /// What the headers of a 429 say; a pause that is asked for is told by itself.
    fn limits(&self, headers: &HeaderMap) -> Limits {
        let asks = retry_after::of(headers).is_some();
        let told = headers.iter().filter(|(name, _)| !(asks && **name == RETRY_AFTER));
        Limits::read(told.map(|(name, value)| (name.as_str(), value.as_bytes())), |text| self.secrets.hold(text))
    }

    /// Puts a question, again after a pause if the failure is one that passes.
    pub(super) async fn ask(&mut self, url: &Url, question: &Question<'_>) -> Result<Answer, RegistryError> {
        let Patience { tries: most, first_pause: mut own, chance, .. } = self.settings.patience;
        let mut tries = 1;
        loop {
            let outcome = self.follow(url, question).await;
            let (asked_for, reason) = match &outcome {
                Ok(answer) if answer.is_transient() => {
                    (answer.retry_after(), answer.refusal(question.what).to_string())
                }
                Err(error) if error.is_broken_off() => (None, "the connection broke".to_owned()),
                Ok(_) | Err(_) => return outcome,
            };
            let wait = retry_after::fitting(asked_for, own, self.pauses_left, chance);
            let Some(wait) = wait.filter(|_| tries < most) else { return outcome };
            let asked_again = format!("asked again for {} after {} s: {reason}", question.what, wait.as_secs());
            self.notes.push(Note::new(host_and_port(url), asked_again));
            self.pauses_left = self.pauses_left.saturating_sub(wait);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            own = own.saturating_mul(3);
            tries += 1;
        }
    }

    /// Follows redirects. What authorizes goes only to the origin that was asked, and to nobody once it was left.
    async fn follow(&mut self, start: &Url, question: &Question<'_>) -> Result<Answer, RegistryError> {
        let mut url = start.clone();
        let mut own = true;
        for _ in 0..=REDIRECTS {
            own = own && same_origin(&url, start);
            let answer = self.once(&url, question, own, start).await?;
            let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection());
            match location {
                Some(location) if question.form.is_none() => url = self.redirected(&url, location, question.what)?,
                Some(_) | None => return Ok(answer),
            }
        }
        Err(RegistryError::TooManyRedirects { host: host_and_port(start) })
    }

    /// Where a redirect leads, if it may lead there.
    fn redirected(&self, from: &Url, location: &HeaderValue, what: What) -> Result<Url, RegistryError> {
        let refused = |target: &str, source| RegistryError::Redirect {
            host: host_and_port(from),
            target: shown(target, 100),
            source,
        };
        let text = String::from_utf8_lossy(location.as_bytes());
        let mut target = from.join(&text).map_err(|_| refused(&broken(&text), super::PlaceError::NotAUrl))?;
        // A user and a password in a URL would be sent as credentials.
        let _ = target.set_username("");
        let _ = target.set_password(None);
        let purpose = match what {
            What::Token => Purpose::Token,
            What::Config => Purpose::VerifiedStorage,
            What::Manifest | What::Root => Purpose::Storage,
        };
        place::check(&target, &self.registry, purpose, self.settings)
            .map_err(|source| refused(&without_secrets(&target), source))?;
        Ok(target)
    }

    /// One request, `start` or where its redirects lead.
    async fn once(
        &mut self,
        url: &Url,
        question: &Question<'_>,
        own: bool,
        start: &Url,
    ) -> Result<Answer, RegistryError> {
        let host = host_and_port(url);
        self.last = url.clone();
        let client = self.client(url)?;
        let mut request = client.request(question.method.clone(), url.clone());
        if let Some(accept) = question.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = question.authorization.filter(|_| own) {
            if let Ok(shown) = authorization.to_str() {
                self.secrets.keep_authorization(shown);
            }
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(form) = question.form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.expose().to_owned());
        }
        let asked =
            self.trace.begin(question.what.noun(), question.method.as_str(), self.traced(url, question.what, start));
        let response = match request.send().await.map_err(Unanswered::from) {
            Ok(response) => response,
            Err(error) => {
                asked.end(End::Unanswered { reason: chain(&error) });
                let proxy = self.network.proxies().proxy_for(url).cloned();
                return Err(RegistryError::unanswered(question.what, host, proxy, error));
            }
        };
        if place::is_unverified(url, self.settings) {
            self.note_once(Note::new(
                format!("certificate of {host}"),
                "not verified, as -image_skip_tls_verify_registry or a file of -image_registry_config says",
            ));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = if status.is_success() {
            match read_body(response, question.what.limit(), question.what.name()).await {
                Ok(body) => body,
                Err(source) => {
                    asked.end(End::Unread { status: status.as_u16(), reason: chain(&source) });
                    return Err(RegistryError::Body { host, source });
                }
            }
        } else {
            // An error's body only decorates a message: one that is too long or breaks off is none.
            read_body(response, ERROR_BODY, question.what.name()).await.unwrap_or_default()
        };
        asked.end(End::Answered { status: status.as_u16() });
        if question.what == What::Token {
            self.secrets.keep_those_of_body(&body);
        }
        let words = if status.is_success() { None } else { self.words(&body) };
        let limits = if status == StatusCode::TOO_MANY_REQUESTS { self.limits(&headers) } else { Limits::default() };
        Ok(Answer { status, headers, body, words, limits, host, own })
    }

    /// A request's URL for the story. Somebody else chose where redirects lead and tokens are had.
    fn traced(&self, url: &Url, what: What, start: &Url) -> String {
        let ours = url == start && what != What::Token;
        traced(url, what, (!ours).then_some(self.secrets))
    }

    pub(super) fn note_once(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The client for a place: it trusts the public authorities, those named for the registry (whose token service and
    /// storage are often under the same private one), and those named for the place itself.
    fn client(&mut self, url: &Url) -> Result<reqwest::Client, RegistryError> {
        let named = |(key, _): &&(String, PathBuf)| is_named(key, url) || is_named(key, &self.registry);
        let extra = self.settings.certificates.iter().filter(named).map(|(_, path)| path.clone()).collect();
        let believed = url.host_str().filter(|_| place::is_unverified(url, self.settings)).map(str::to_owned);
        let client = self.settings.client_certificates.iter().find(|(key, _)| is_named(key, url));
        // A proxy asks for the name itself, and the names that are asked for here are those of the proxy.
        let chosen = self.network.proxies().proxy_for(url).is_none()
            && place::is_chosen_by_registry(url, &self.registry, self.settings);
        let trusting = Trusting { extra, believed, client: client.map(|(_, own)| own.clone()), chosen };
        if let Some((_, client)) = self.clients.iter().find(|(own, _)| *own == trusting) {
            return Ok(client.clone());
        }
        let trust = Trust { public_roots: true, extra: trusting.extra.clone() };
        let guarded = chosen.then(|| self.network.refusing(place::refused_of_names));
        let (network, proxies) = (guarded.as_ref().unwrap_or(self.network), Proxies::FromEnvironment);
        let client = match (&trusting.client, &trusting.believed) {
            (Some(ClientCertificate { certificate, key }), believed) => network
                .identity(certificate, key)
                .and_then(|identity| network.client_showing(&identity, believed.as_deref(), &trust, proxies)),
            (None, Some(host)) => network.client_believing(host, &trust, proxies),
            (None, None) => network.client(&trust, proxies),
        };
        let client = client.map_err(|source: HttpError| RegistryError::Client { host: host_and_port(url), source })?;
        self.clients.push((trusting, client.clone()));
        Ok(client)
    }
}

/// What is no URL, for a message: without what would be a query, a user or a password.
pub(super) fn broken(text: &str) -> String {
    let bare = text.split(['?', '#']).next().unwrap_or("");
    let is_scheme = |scheme: &str| scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    // What no scheme can be may be a user and a password.
    let (scheme, rest) = bare.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("", bare));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    shown(&format!("{:?}", format!("{scheme}{separator}{host}")), 100)
}

/// A URL for a message: without a query, which may hold a signature.
pub(super) fn without_secrets(url: &Url) -> String {
    // What has no host has no user either: `ann:password@host` is a path, of the scheme `ann`.
    if !url.has_host() {
        return broken(url.as_str());
    }
    let mut bare = url.clone();
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_query(None);
    bare.set_fragment(None);
    shown(bare.as_str(), 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_url_has_no_user_no_password_and_no_query() {
        for (text, expected) in [
            ("https://ann:hunter2@host", "\"https://host\""),
            ("https://host:x/path?signature=hunter2", "\"https://host:x/path\""),
            ("ftp:ann:hunter2@://host", "\"://host\""),
            ("ann:hunter2@host/token", "\"host/token\""),
            ("//ann:hunter2@host", "\"host\""),
            ("", "\"\""),
        ] {
            assert_eq!(broken(text), expected, "{text}");
        }
        for (text, expected) in [
            ("https://ann:hunter2@host/path?signature=hunter2#f", "https://host/path"),
            ("ann:hunter2@host/token", "\"host/token\""),
        ] {
            assert_eq!(without_secrets(&Url::parse(text).unwrap()), expected, "{text}");
        }
    }
}
