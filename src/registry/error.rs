//! Why a lookup at a registry failed, in sentences for the person who reads the log.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::PlaceError;
use super::limits::Limits;
use crate::http::{HttpError, Proxy, Unanswered};
use crate::image::{ConfigError, DigestMismatch, ManifestError, shown};

/// The longest part of a registry's own words that is shown, in characters.
pub(super) const WORDS: usize = 200;

/// What was being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A manifest or an index.
    Manifest,
    /// A config document.
    Config,
    /// A token.
    Token,
    /// The root of the API, asked for its challenge alone.
    Root,
}

impl What {
    /// With its article.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "the manifest",
            Self::Config => "the config",
            Self::Token => "the token",
            Self::Root => "the API version",
        }
    }

    /// Without it.
    pub(super) fn noun(self) -> &'static str {
        self.name().trim_start_matches("the ")
    }

    /// The longest body, in bytes. Registries need not take manifests above 4 MiB either
    /// (<https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests>).
    #[must_use]
    pub(super) fn limit(self) -> usize {
        match self {
            Self::Manifest => 4 << 20,
            Self::Config => 8 << 20,
            Self::Token | Self::Root => 64 << 10,
        }
    }

    /// Who gives it.
    fn giver(self) -> &'static str {
        match self {
            Self::Token => "token service",
            Self::Manifest | Self::Config | Self::Root => "registry",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A refusal, as the registry or its token service put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused.
    pub what: What,
    /// `host:port` of who refused.
    pub host: String,
    /// The HTTP status.
    pub status: u16,
    /// The server's own words, shortened and cleaned.
    pub words: Option<String>,
    /// What a 429's headers say of a limit.
    pub limits: Limits,
    /// The pause that is asked for.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    /// `401 UNAUTHORIZED: authentication required`, with the token service's name before it if that refused.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.what == What::Token {
            write!(f, "the token service {} says ", self.host)?;
        }
        write!(f, "{}", self.status)?;
        match &self.words {
            Some(words) => write!(f, " {words}"),
            None => Ok(()),
        }
    }
}

/// Why a lookup at a registry failed. Hosts are written `host:port`.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry's name cannot be part of a URL.
    #[error("the registry {registry:?} is not a host that can be asked")]
    Host {
        /// As in the reference.
        registry: String,
    },
    /// A client cannot be built: a certificate file, for example.
    #[error("cannot prepare to ask {host}")]
    Client {
        /// Whom.
        host: String,
        /// Why.
        source: HttpError,
    },
    /// No answer.
    #[error("cannot ask the {giver} {host}{}", via(proxy.as_ref()))]
    Unanswered {
        /// `registry` or `token service`.
        giver: &'static str,
        /// Whom.
        host: String,
        /// The proxy in between.
        proxy: Option<Proxy>,
        /// Why.
        source: Unanswered,
    },
    /// Its certificate is of an authority that is not trusted.
    #[error(
        "cannot ask the {giver} {host}{}: its certificate is signed by an authority that is not trusted here; if it is \
         yours, name its file with -image_registry_certificate {host}=/path/to/ca.pem",
        via(proxy.as_ref())
    )]
    UnknownAuthority {
        /// `registry` or `token service`.
        giver: &'static str,
        /// Whom.
        host: String,
        /// The proxy in between.
        proxy: Option<Proxy>,
    },
    /// It wants to know who asks.
    #[error(
        "cannot ask the {giver} {host}{}: it wants a certificate to be shown that it knows; name one with \
         -image_registry_client_cert {host}=/path/to/client.crt,/path/to/client.key",
        via(proxy.as_ref())
    )]
    WantsCertificate {
        /// `registry` or `token service`.
        giver: &'static str,
        /// Whom.
        host: String,
        /// The proxy in between.
        proxy: Option<Proxy>,
        /// In its own word.
        source: Box<rustls::Error>,
    },
    /// It answers, but not in TLS.
    #[error(
        "cannot ask the {giver} {host}{}: what answers there does not speak TLS; {}",
        via(proxy.as_ref()),
        plain(key, proxy.as_ref())
    )]
    NotTls {
        /// `registry` or `token service`.
        giver: &'static str,
        /// Whom.
        host: String,
        /// The same as flags name it.
        key: String,
        /// The proxy in between.
        proxy: Option<Proxy>,
    },
    /// The proxy in between does not answer.
    #[error("cannot ask the {giver} {host}: the proxy {proxy} cannot be reached")]
    ProxyUnreachable {
        /// `registry` or `token service`.
        giver: &'static str,
        /// Whom.
        host: String,
        /// The proxy.
        proxy: Proxy,
        /// Why.
        source: Unanswered,
    },
    /// The proxy in between answers, and does not let the connection through.
    #[error("cannot ask the {giver} {host}: the proxy {proxy} opens no connection to it: {reason}")]
    ProxyRefuses {
        /// `registry` or `token service`.
        giver: &'static str,
        /// Whom.
        host: String,
        /// The proxy.
        proxy: Proxy,
        /// In the words of the library, which knows no more.
        reason: String,
    },
    /// The answer cannot be read.
    #[error("cannot use the answer of {host}")]
    Body {
        /// Whose.
        host: String,
        /// Why.
        source: HttpError,
    },
    /// No credential was there, and one is needed.
    #[error(
        "the registry {host} does not show {repository} without a credential, and none was found for it: {refusal}"
    )]
    NoCredential {
        /// Whom.
        host: String,
        /// What was to be read.
        repository: String,
        /// In its own words.
        refusal: Box<Refusal>,
    },
    /// A credential was there, and is not shown to whoever listens.
    #[error(
        "the registry {host} does not show {repository} without a credential, and speaks plain http, over which none is \
         shown; -image_insecure_registry {key} would allow it: {refusal}"
    )]
    Withheld {
        /// Whom.
        host: String,
        /// What was to be read.
        repository: String,
        /// The registry as flags name it.
        key: String,
        /// In its own words.
        refusal: Box<Refusal>,
    },
    /// No credential that was there helped.
    #[error(
        "the registry {host} refuses {repository} to {}, and without a credential too: {refusal}",
        counted(*credentials)
    )]
    Denied {
        /// Whom.
        host: String,
        /// What was to be read.
        repository: String,
        /// How many credentials were tried.
        credentials: usize,
        /// In its own words.
        refusal: Box<Refusal>,
    },
    /// No such image, or none that the credentials may see.
    #[error("the registry {host} has no image {reference}{}: {refusal}", hidden(*credentials))]
    NotFound {
        /// Whom.
        host: String,
        /// The canonical reference.
        reference: String,
        /// How many credentials were tried.
        credentials: usize,
        /// In its own words.
        refusal: Box<Refusal>,
    },
    /// Asked too often.
    #[error(
        "{host} has been asked too often{}{}: {refusal}; {}",
        refusal.limits.in_brackets(),
        later(*retry_after),
        refusal.limits.advice(host)
    )]
    TooManyRequests {
        /// Whom.
        host: String,
        /// When to come again.
        retry_after: Option<Duration>,
        /// In its own words.
        refusal: Box<Refusal>,
    },
    /// A status that says nothing about the credential.
    #[error("{host} does not give {what}{}: {refusal}", later(refusal.retry_after))]
    Status {
        /// Whom.
        host: String,
        /// What was asked for.
        what: What,
        /// In its own words.
        refusal: Box<Refusal>,
    },
    /// A 401 that says nothing of use.
    #[error("the registry {host} wants a login that is not known here: {}", named_schemes(schemes))]
    NoKnownChallenge {
        /// Whom.
        host: String,
        /// What it offers.
        schemes: Vec<String>,
    },
    /// The registry names a token service that must not be asked.
    #[error("the token service {realm} that the registry {host} names is not asked")]
    Realm {
        /// The registry.
        host: String,
        /// The token service's URL, without its query.
        realm: String,
        /// Why.
        source: PlaceError,
    },
    /// The token service's answer holds no token.
    #[error("the answer of the token service {host} holds no token")]
    NoToken {
        /// Whom.
        host: String,
    },
    /// A redirect that must not be followed.
    #[error("a redirect of {host} to {target} is not followed")]
    Redirect {
        /// Whose.
        host: String,
        /// Where to, without the query.
        target: String,
        /// Why.
        source: PlaceError,
    },
    /// Redirects without end.
    #[error("{host} redirects again and again")]
    TooManyRedirects {
        /// Whom.
        host: String,
    },
    /// Bytes that are not those that were asked for.
    #[error("{host} gave something else than {what} of {reference}")]
    WrongDigest {
        /// Whom.
        host: String,
        /// What was asked for.
        what: What,
        /// The canonical reference.
        reference: String,
        /// Both digests.
        source: Box<DigestMismatch>,
    },
    /// A manifest that is none.
    #[error("{host} has something else than an image under {reference}")]
    Manifest {
        /// Whom.
        host: String,
        /// The canonical reference.
        reference: String,
        /// What it is.
        source: ManifestError,
    },
    /// A config that is none.
    #[error("{host} has a broken image under {reference}")]
    Config {
        /// Whom.
        host: String,
        /// The canonical reference.
        reference: String,
        /// Why.
        source: ConfigError,
    },
    /// The image is not for this machine.
    #[error("{reference} is not there for {wanted}, only for: {}", listed(offered))]
    NoPlatform {
        /// The canonical reference.
        reference: String,
        /// What was wanted.
        wanted: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// Indexes within indexes, or too many entries that name no platform.
    #[error("{reference} is an index that leads to too many documents")]
    EndlessIndex {
        /// The canonical reference.
        reference: String,
    },
}

/// What asking again later is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: the image, or what was asked for, must change first.
    Useless,
    /// Something only if there is a credential that could not be read yet.
    WithMoreCredentials,
    /// Time may mend it.
    Worthwhile,
}

impl RegistryError {
    /// A request that got no answer; some reasons have a sentence of their own, with what to do.
    pub(super) fn unanswered(what: What, host: String, proxy: Option<Proxy>, source: Unanswered) -> Self {
        let giver = what.giver();
        match (source, proxy) {
            (Unanswered::UnknownAuthority, proxy) => Self::UnknownAuthority { giver, host, proxy },
            (Unanswered::NotTls, proxy) => {
                let key = host.strip_suffix(":443").unwrap_or(&host).to_owned();
                Self::NotTls { giver, host, key, proxy }
            }
            (Unanswered::WantsCertificate(source), proxy) => Self::WantsCertificate { giver, host, proxy, source },
            // The proxy resolves the registry's name and connects to it: what is tried from here is the proxy.
            (source @ (Unanswered::Refused | Unanswered::Unreachable | Unanswered::Name(_)), Some(proxy)) => {
                Self::ProxyUnreachable { giver, host, proxy, source }
            }
            (Unanswered::Other(error), Some(proxy)) if error.is_connect() => {
                Self::ProxyRefuses { giver, host, proxy, reason: innermost(&error) }
            }
            (
                source @ (Unanswered::Refused
                | Unanswered::Unreachable
                | Unanswered::Name(_)
                | Unanswered::TimedOut
                | Unanswered::Certificate(_)
                | Unanswered::Handshake(_)
                | Unanswered::Closed
                | Unanswered::NotHttp
                | Unanswered::Other(_)),
                proxy,
            ) => Self::Unanswered { giver, host, proxy, source },
        }
    }

    /// Whether the sentence names the proxy in between already.
    pub(super) fn names_proxy(&self) -> bool {
        if let Self::Unanswered { proxy, .. }
        | Self::UnknownAuthority { proxy, .. }
        | Self::WantsCertificate { proxy, .. }
        | Self::NotTls { proxy, .. } = self
        {
            proxy.is_some()
        } else {
            matches!(self, Self::ProxyUnreachable { .. } | Self::ProxyRefuses { .. })
        }
    }

    /// What asking again later is worth.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Host { .. } | Self::NoPlatform { .. } | Self::EndlessIndex { .. } => Retry::Useless,
            // A registry may say 404 of what it hides from us.
            Self::NoCredential { .. } | Self::Withheld { .. } | Self::Denied { .. } | Self::NotFound { .. } => {
                Retry::WithMoreCredentials
            }
            Self::Manifest { source, .. } => match source {
                ManifestError::Schema1 | ManifestError::Artifact { .. } | ManifestError::Ambiguous => Retry::Useless,
                // A proxy's page, a half-written file: these pass.
                ManifestError::NotJson { .. }
                | ManifestError::Malformed { .. }
                | ManifestError::Shapeless
                | ManifestError::Digest { .. } => Retry::Worthwhile,
            },
            Self::Client { .. }
            | Self::Unanswered { .. }
            | Self::UnknownAuthority { .. }
            | Self::WantsCertificate { .. }
            | Self::NotTls { .. }
            | Self::ProxyUnreachable { .. }
            | Self::ProxyRefuses { .. }
            | Self::Body { .. }
            | Self::TooManyRequests { .. }
            | Self::Status { .. }
            | Self::NoKnownChallenge { .. }
            | Self::Realm { .. }
            | Self::NoToken { .. }
            | Self::Redirect { .. }
            | Self::TooManyRedirects { .. }
            // A transfer that was cut or went wrong on its way, and a proxy that keeps what came of it: these pass too.
            | Self::WrongDigest { .. }
            | Self::Config { .. } => Retry::Worthwhile,
        }
    }

    /// The pause that whoever was asked asks for, whether or not it was longer than a lookup's own patience.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::TooManyRequests { retry_after, .. } = self {
            *retry_after
        } else if let Self::Status { refusal, .. } = self {
            refusal.retry_after
        } else {
            None
        }
    }

    /// Whether the connection broke in the middle, so that trying again at once may help.
    pub(super) fn is_broken_off(&self) -> bool {
        if let Self::Unanswered { source, .. } | Self::Body { source: HttpError::Interrupted { source, .. }, .. } = self
        {
            source.is_transient()
        } else {
            false
        }
    }
}

fn via(proxy: Option<&Proxy>) -> String {
    proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

/// What to do about somebody who does not speak TLS.
fn plain(key: &str, proxy: Option<&Proxy>) -> String {
    if proxy.is_some_and(Proxy::is_tls) {
        return "if that is the proxy, write its address with http:// instead of https://".to_owned();
    }
    format!("if it is meant to speak plain http, allow that with -image_insecure_registry {key}")
}

/// The last of an error's causes: what it is about in the end.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    shown(&last.to_string(), WORDS)
}

fn counted(credentials: usize) -> String {
    match credentials {
        1 => "the credential that was found".to_owned(),
        more => format!("each of the {more} credentials that were found"),
    }
}

fn hidden(credentials: usize) -> &'static str {
    match credentials {
        0 => "",
        1 => ", or does not show it to the credential that was found",
        _ => ", or does not show it to the credentials that were found",
    }
}

fn later(retry_after: Option<Duration>) -> String {
    retry_after.map(|after| format!(" and asks for a pause of {} s", after.as_secs())).unwrap_or_default()
}

fn named_schemes(schemes: &[String]) -> String {
    if schemes.is_empty() { "it names none".to_owned() } else { schemes.join(", ") }
}

fn listed(platforms: &[String]) -> String {
    if platforms.is_empty() { "no platform that has a name".to_owned() } else { platforms.join(", ") }
}

/// The words of an error body, as they are: the OCI envelope, or what token services have instead.
/// <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes>
pub(super) fn words(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Option<Vec<One>>,
        error: Option<String>,
        error_description: Option<String>,
        details: Option<String>,
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let first = envelope.errors.into_iter().flatten().next();
    let parts = match first {
        Some(one) => [Some(one.code), Some(one.message)],
        None => [envelope.error, envelope.error_description.or(envelope.details).or(envelope.message)],
    };
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.trim().is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_error_body_are_found() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[]}]}"#,
                Some("UNAUTHORIZED: authentication required"),
            ),
            (r#"{"errors":[{"message":"only a message"}]}"#, Some("only a message")),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, Some("invalid_grant: expired")),
            (r#"{"details":"incorrect username or password"}"#, Some("incorrect username or password")),
            (r#"{"errors":[]}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(words(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
