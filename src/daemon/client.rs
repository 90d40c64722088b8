//! The requests: one client, bounded answers, and every failure sorted into a sentence.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{StatusCode, Url};
use rustls::AlertDescription as Alert;
use serde::Deserialize;

use super::CONNECT;
use super::address::Address;
use super::error::DaemonError;
use super::inspect::{self, Image};
use super::version::{ApiVersion, LOWEST};
use crate::host::Env;
use crate::http::{HttpError, Network, Proxies, Trust, Unanswered, read_body};
use crate::image::{Platform, Reference, shown};
use crate::sys::cause::{Cause, chain};
use crate::sys::file;
use crate::trace::{End, Trace};

/// The longest description of an image, in bytes: a thousand layers and labels have a tenth of it.
const IMAGE: usize = 4 << 20;
/// The longest of any other answer.
const SMALL: usize = 64 << 10;
/// How much of a daemon's words a message shows, in characters.
const WORDS: usize = 300;

/// A daemon that can be asked.
pub(super) struct Client<'a> {
    address: Address,
    http: reqwest::Client,
    /// The certificate that is shown.
    shows: Option<PathBuf>,
    /// The version that `DOCKER_API_VERSION` says.
    version: Option<ApiVersion>,
    env: &'a Env,
    network: Network,
    trace: &'a Trace,
}

/// An answer of whoever is there.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// The body of the engine's failures.
#[derive(Deserialize)]
struct Failure {
    message: String,
}

impl<'a> Client<'a> {
    pub(super) fn new(network: &Network, env: &'a Env, trace: &'a Trace) -> Result<Self, DaemonError> {
        let address = Address::from_env(env)?;
        let version = env.get("DOCKER_API_VERSION").filter(|value| !value.is_empty());
        let version = version.map(|value| {
            let text = value.to_string_lossy();
            let number = text.strip_prefix('v').unwrap_or(&text);
            number.parse().map_err(|_| DaemonError::VersionVariable { value: shown(&text, 40) })
        });
        let version = version.transpose()?;
        let network = network.clone().with_connect_timeout(CONNECT);
        let failed = |source: HttpError| DaemonError::Client { daemon: address.to_string(), source };
        let (http, shows) = match &address {
            Address::Socket(path) => (network.client_behind(path).map_err(failed)?, None),
            Address::Plain { .. } | Address::Tls { certificates: None, .. } => {
                (network.client(&Trust::default(), Proxies::FromEnvironment).map_err(failed)?, None)
            }
            Address::Tls { certificates: Some(directory), .. } => {
                let trust = Trust { public_roots: false, extra: vec![directory.join("ca.pem")] };
                match pair(directory)? {
                    Some((certificate, key)) => {
                        let identity = network.identity(&certificate, &key).map_err(failed)?;
                        let client = network.client_showing(&identity, None, &trust, Proxies::FromEnvironment);
                        (client.map_err(failed)?, Some(certificate))
                    }
                    None => (network.client(&trust, Proxies::FromEnvironment).map_err(failed)?, None),
                }
            }
        };
        Ok(Self { address, http, shows, version, env, network, trace })
    }

    /// The end of what was asked, if it comes in time.
    pub(super) async fn in_time<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, DaemonError>>,
    ) -> Result<T, DaemonError> {
        let asked = tokio::time::timeout(limit, asked).await;
        let limit = Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        asked.unwrap_or_else(|_| Err(DaemonError::TimedOut { daemon: self.address.to_string(), limit }))
    }

    /// Whether it is there; the version that it says it speaks.
    pub(super) async fn ping(&self) -> Result<Option<ApiVersion>, DaemonError> {
        let answer = self.get("ping", "/_ping", SMALL, "the answer to a ping").await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        if answer.body.trim_ascii() != b"OK" {
            return Err(self.not_docker(&answer));
        }
        match answer.headers.get("Api-Version").map(|version| version.to_str().unwrap_or("")) {
            None | Some("") => Ok(None),
            Some(version) => match version.parse() {
                Ok(version) => Ok(Some(version)),
                Err(_) => {
                    let found = format!("it says that it speaks version {:?}", shown(version, 40));
                    Err(DaemonError::NotDocker { daemon: self.address.to_string(), found })
                }
            },
        }
    }

    /// What it has of an image.
    pub(super) async fn inspect(&self, reference: &Reference, wanted: &Platform) -> Result<Image, DaemonError> {
        let daemon = || self.address.to_string();
        let version = match self.version {
            Some(version) => version,
            None => {
                let offered = self.ping().await?.unwrap_or(LOWEST);
                let too_old = || DaemonError::TooOld { daemon: daemon(), offered: offered.to_string() };
                ApiVersion::spoken_with(offered).ok_or_else(too_old)?
            }
        };
        let name = inspect::name(reference);
        let answer = self.get("image", &format!("/v{version}/images/{name}/json"), IMAGE, "the image").await?;
        if !answer.status.is_success() {
            let message = message(&answer);
            return Err(match (answer.status, message) {
                (StatusCode::NOT_FOUND, Some(message)) => {
                    DaemonError::NotThere { daemon: daemon(), image: reference.to_string(), name, message }
                }
                (StatusCode::BAD_REQUEST, Some(message)) if is_about_the_version(&message) => DaemonError::Version {
                    daemon: daemon(),
                    version: version.to_string(),
                    variable: self.version.is_some(),
                    message,
                },
                _ => self.refusal(&answer),
            });
        }
        // serde would take a list for an object, its elements for the fields in order.
        if !answer.body.trim_ascii_start().starts_with(b"{") {
            return Err(self.not_docker(&answer));
        }
        inspect::read(&daemon(), &answer.body, reference, wanted).map_err(|source| DaemonError::Image {
            daemon: daemon(),
            image: reference.to_string(),
            source: Box::new(source),
        })
    }

    async fn get(&self, what: &str, path: &str, limit: usize, noun: &'static str) -> Result<Answer, DaemonError> {
        let daemon = || self.address.to_string();
        let Some(url) = self.address.url(path) else {
            let found = "its address and the image's name make no URL".to_owned();
            return Err(DaemonError::NotDocker { daemon: daemon(), found });
        };
        let asked = self.trace.begin(what, "GET", shown(&self.address.told(path), 1000));
        let response = match self.http.get(url).send().await.map_err(Unanswered::from) {
            Ok(response) => response,
            Err(source) => {
                let reason = source.system().map_or_else(|| chain(&source), |system| Cause(system).to_string());
                asked.end(End::Unanswered { reason });
                return Err(self.unanswered(source));
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = if status.is_success() { limit } else { SMALL };
        match read_body(response, limit, noun).await {
            Ok(body) => {
                asked.end(End::Answered { status: status.as_u16() });
                Ok(Answer { status, headers, body })
            }
            Err(source) => {
                asked.end(End::Unread { status: status.as_u16(), reason: chain(&source) });
                Err(DaemonError::Body { daemon: daemon(), source })
            }
        }
    }

    /// What a failure that is none of the image's means.
    fn refusal(&self, answer: &Answer) -> DaemonError {
        let daemon = self.address.to_string();
        let plain = matches!(self.address, Address::Plain { .. });
        if plain && answer.status == StatusCode::BAD_REQUEST && wants_tls(&answer.body) {
            return DaemonError::WantsTls { daemon };
        }
        match message(answer) {
            Some(message) => DaemonError::Refused { daemon, status: answer.status.as_u16(), message },
            None => self.not_docker(answer),
        }
    }

    fn not_docker(&self, answer: &Answer) -> DaemonError {
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("no content type");
        let found = format!("it answered HTTP {} with {}", answer.status.as_u16(), shown(kind, 60));
        DaemonError::NotDocker { daemon: self.address.to_string(), found }
    }

    /// What it means that nobody answered.
    fn unanswered(&self, source: Unanswered) -> DaemonError {
        let daemon = self.address.to_string();
        match &self.address {
            Address::Socket(path) => socket(path, daemon, source),
            Address::Plain { root } => {
                let broken = matches!(source, Unanswered::NotHttp | Unanswered::Closed);
                let hint =
                    if broken { " (if it speaks TLS, set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH)" } else { "" };
                let proxy = self.network.proxies().proxy_for(root).cloned().map(Box::new);
                DaemonError::Unanswered { daemon, proxy, hint, source }
            }
            Address::Tls { root, certificates } => self.unanswered_over_tls(root, certificates.as_deref(), source),
        }
    }

    fn unanswered_over_tls(&self, root: &Url, certificates: Option<&Path>, source: Unanswered) -> DaemonError {
        let daemon = self.address.to_string();
        if let Unanswered::NotTls = source {
            let verify = self.env.get("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty());
            return DaemonError::NotTls { daemon, asked: if verify { "DOCKER_TLS_VERIFY" } else { "https://" } };
        }
        if let Unanswered::UnknownAuthority = source {
            return DaemonError::UnknownAuthority { daemon, ca: certificates.map(|dir| dir.join("ca.pem")) };
        }
        let source = match refusal_of_a_certificate(source) {
            Ok(source) => {
                let directory = certificates.map(Path::to_owned);
                return DaemonError::ClientRefused { daemon, shown: self.shows.clone(), directory, source };
            }
            Err(source) => source,
        };
        // Who refuses a certificate may be gone before the refusal is read.
        let hint = match (source.is_transient(), &self.shows) {
            (true, None) => " (it may want to be shown a certificate)",
            (true, Some(_)) => " (it may not accept the certificate that it is shown)",
            (false, _) => "",
        };
        let proxy = self.network.proxies().proxy_for(root).cloned().map(Box::new);
        DaemonError::Unanswered { daemon, proxy, hint, source }
    }
}

/// What it means that nobody answered behind a socket.
fn socket(path: &Path, daemon: String, source: Unanswered) -> DaemonError {
    let path = || path.to_owned();
    let metadata = fs::metadata(path());
    match source.system().map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => return DaemonError::NoSocket { path: path() },
        Some(io::ErrorKind::PermissionDenied) => {
            return DaemonError::Forbidden { path: path(), group: metadata.ok().map(|metadata| metadata.gid()) };
        }
        _ => {}
    }
    let kind = metadata.map(|metadata| file::in_words(metadata.file_type()));
    match (&source, kind) {
        (Unanswered::Refused, Ok(found)) if found != "a socket" => DaemonError::NotASocket { path: path(), found },
        (Unanswered::Refused, _) => DaemonError::Unanswered { daemon, proxy: None, hint: " (is it running?)", source },
        _ => DaemonError::Unanswered { daemon, proxy: None, hint: "", source },
    }
}

/// The files of a certificate and its key, if they are there.
fn pair(directory: &Path) -> Result<Option<(PathBuf, PathBuf)>, DaemonError> {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    // What is there and cannot be looked at is said when it is read.
    let there = |path: &Path| path.try_exists().unwrap_or(true);
    match (there(&certificate), there(&key)) {
        (true, true) => Ok(Some((certificate, key))),
        (false, false) => Ok(None),
        (true, false) => Err(DaemonError::HalfAnIdentity { there: certificate, missing: key }),
        (false, true) => Err(DaemonError::HalfAnIdentity { there: key, missing: certificate }),
    }
}

/// What the engine says of a failure, on one line. Whoever has no such page is no engine, or not under this path.
fn message(answer: &Answer) -> Option<String> {
    let body = answer.body.trim_ascii();
    if body.starts_with(b"{") {
        let failure: Failure = serde_json::from_slice(body).ok()?;
        return Some(shown(failure.message.trim(), WORDS)).filter(|message| message != "page not found");
    }
    // Versions before 1.24 are answered, and refused, in plain text.
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let is_text = kind.starts_with("text/plain") && !body.is_empty() && answer.status != StatusCode::NOT_FOUND;
    is_text.then(|| shown(&String::from_utf8_lossy(body), WORDS))
}

/// Whether a server of TLS says that it was spoken to in plain http: Go's words, and nginx's.
fn wants_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains("HTTP request to an HTTPS server") || text.contains("HTTP request was sent to HTTPS port")
}

/// Whether the engine refuses the version: `client version 1.99 is too new. Maximum supported API version is 1.41`.
fn is_about_the_version(message: &str) -> bool {
    message.contains("client version") || message.contains("API version")
}

/// What a server says of the certificate that it was shown, or of none; else what was said, as it was.
fn refusal_of_a_certificate(source: Unanswered) -> Result<Box<rustls::Error>, Unanswered> {
    let refuses = |alert: &Alert| {
        matches!(
            alert,
            Alert::NoCertificate
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::CertificateRequired
        )
    };
    if let Unanswered::Handshake(error) = source {
        let refused = matches!(error.as_ref(), rustls::Error::AlertReceived(alert) if refuses(alert));
        return if refused { Ok(error) } else { Err(Unanswered::Handshake(error)) };
    }
    Err(source)
}
