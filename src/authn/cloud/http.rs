//! How identity services are asked, by this program and by the clouds' libraries: our roots, resolver and proxies, bounded
//! answers, every request told, and no secret of a request repeated.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use zeroize::Zeroizing;

use super::Setting;
use crate::http::{HttpError, Network, Proxies, Proxy, Trust, Unanswered, is_named, read_body};
use crate::image::shown;
use crate::secret::Secret;
use crate::sys::cause::chain;
use crate::trace::{End, Trace};

/// The longest answer that is read, in bytes: tokens have a few thousand.
const ANSWER: usize = 256 << 10;
/// The longest URL that is told, in characters.
const LONGEST: usize = 300;
/// What is too short to be a secret, in bytes.
const SHORT: usize = 8;
/// Headers whose values are secrets, in lower case.
const SECRET_HEADERS: [&str; 6] = [
    "authorization",
    "x-amz-security-token",
    "x-aws-ec2-metadata-token",
    "x-identity-header",
    "secret",
    "x-goog-iam-authorization-token",
];
/// Fields of forms and of JSON objects whose values are secrets, in lower case.
const SECRET_FIELDS: [&str; 9] = [
    "access_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "password",
    "refresh_token",
    "subject_token",
    "token",
    "webidentitytoken",
];

/// How identity services are asked. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct CloudHttp(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    network: Network,
    registry: String,
    certificates: Vec<(String, PathBuf)>,
    unverified: Vec<String>,
    connect: Duration,
    trace: Trace,
    /// What no message may repeat.
    secrets: Mutex<Vec<Secret>>,
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question {
    /// What for, in a word of the story: `identity token`.
    pub(crate) what: &'static str,
    /// The method.
    pub(crate) method: Method,
    /// Whom. Neither query nor user are told.
    pub(crate) url: Url,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body; empty for none. It may hold secrets.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// What was answered, whatever the status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status. A redirect is one of them: none is followed.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body. It may hold secrets.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloudHttpError {
    /// Nobody answered.
    #[error("no answer from {host}{}", through(.proxy.as_ref()))]
    Unanswered {
        /// Host and port.
        host: String,
        /// The proxy in between.
        proxy: Option<Proxy>,
        /// Why.
        source: Unanswered,
    },
    /// The answer cannot be used.
    #[error("the answer of {host} cannot be used")]
    Unusable {
        /// Host and port.
        host: String,
        /// Why.
        source: HttpError,
    },
    /// There is no client for it.
    #[error("{host} cannot be asked")]
    Client {
        /// Host and port.
        host: String,
        /// Why.
        source: HttpError,
    },
}

fn through(proxy: Option<&Proxy>) -> String {
    proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

impl CloudHttp {
    /// For the lookup at one registry: whose certificates count there, counts here too.
    pub(super) fn new(setting: &Setting<'_>, registry: &str) -> Self {
        Self(Arc::new(Shared {
            network: setting.network.clone(),
            registry: registry.to_owned(),
            certificates: setting.certificates.to_vec(),
            unverified: setting.unverified.to_vec(),
            connect: setting.limits.connect,
            trace: setting.trace.clone(),
            secrets: Mutex::default(),
        }))
    }

    /// Asks once. The caller limits the time.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer, CloudHttpError> {
        self.keep_what_is_shown(&question);
        let Question { what, method, url, headers, body } = question;
        let host = host_and_port(&url);
        let client = self.client(&url).map_err(|source| CloudHttpError::Client { host: host.clone(), source })?;
        let mut request = client.request(method.clone(), url.clone()).headers(headers);
        if !body.is_empty() || method == Method::POST || method == Method::PUT {
            request = request.body(body.to_vec());
        }
        let asked = self.0.trace.begin(what, method.as_str(), told(&url));
        let response = match request.send().await.map_err(Unanswered::from) {
            Ok(response) => response,
            Err(source) => {
                asked.end(End::Unanswered { reason: chain(&source) });
                let proxy = self.0.network.proxies().proxy_for(&url).filter(|_| !is_metadata(&url)).cloned();
                return Err(CloudHttpError::Unanswered { host, proxy, source });
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match read_body(response, ANSWER, "the answer").await {
            Ok(body) => {
                asked.end(End::Answered { status: status.as_u16() });
                Ok(Answer { status, headers, body: Zeroizing::new(body) })
            }
            Err(source) => {
                asked.end(End::Unread { status: status.as_u16(), reason: chain(&source) });
                Err(CloudHttpError::Unusable { host, source })
            }
        }
    }

    /// From now on no message repeats this.
    pub(crate) fn keep(&self, secret: &str) {
        if secret.len() < SHORT {
            return;
        }
        let mut secrets = self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if secrets.iter().all(|known| known.expose() != secret) {
            secrets.push(Secret::new(secret.to_owned()));
        }
    }

    /// A message without the secrets that were shown: whoever is asked may repeat them.
    pub(crate) fn without_secrets(&self, text: String) -> String {
        let secrets = self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let tells = secrets.iter().any(|secret| text.contains(secret.expose()));
        if tells {
            return secrets.iter().fold(text, |text, secret| text.replace(secret.expose(), "(a secret)"));
        }
        text
    }

    /// Keeps what a request shows.
    fn keep_what_is_shown(&self, question: &Question) {
        for (name, value) in &question.headers {
            if let (true, Ok(text)) = (SECRET_HEADERS.contains(&name.as_str()), value.to_str()) {
                // `Bearer` and the token, or a bare token.
                self.keep(text.split_once(' ').map_or(text, |(_, secret)| secret));
            }
        }
        let Ok(text) = std::str::from_utf8(&question.body) else { return };
        let secret = |name: &str| SECRET_FIELDS.contains(&name.to_ascii_lowercase().as_str());
        if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(text) {
            for (_, value) in fields.iter().filter(|(name, _)| secret(name)) {
                value.as_str().into_iter().for_each(|value| self.keep(value));
            }
            return;
        }
        form_urlencoded(text).filter(|(name, _)| secret(name)).for_each(|(_, value)| self.keep(&value));
    }

    fn client(&self, url: &Url) -> Result<reqwest::Client, HttpError> {
        let shared = &self.0;
        let registry = Url::parse(&format!("{}://{}/", url.scheme(), shared.registry)).ok();
        let here = |key: &str| is_named(key, url) || registry.as_ref().is_some_and(|registry| is_named(key, registry));
        let extra = shared.certificates.iter().filter(|(key, _)| here(key)).map(|(_, path)| path.clone()).collect();
        let trust = Trust { public_roots: true, extra };
        if is_metadata(url) {
            return shared.network.clone().with_connect_timeout(shared.connect).client(&trust, Proxies::Never);
        }
        let believed = url.host_str().filter(|_| shared.unverified.iter().any(|key| is_named(key, url)));
        match believed {
            Some(host) => shared.network.client_believing(host, &trust, Proxies::FromEnvironment),
            None => shared.network.client(&trust, Proxies::FromEnvironment),
        }
    }
}

/// The pairs of a form.
fn form_urlencoded(text: &str) -> impl Iterator<Item = (String, String)> {
    let url = Url::parse(&format!("form:?{}", text.replace('#', "%23"))).ok();
    let pairs: Vec<_> =
        url.iter().flat_map(Url::query_pairs).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    pairs.into_iter()
}

/// Whether a host is a metadata server or an agent on this node: reached at once or not at all, and by nobody's proxy.
pub(crate) fn is_metadata(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_end_matches('.');
    if host.eq_ignore_ascii_case("metadata.google.internal") || host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local() || address.is_loopback(),
        // Amazon's are in fd00:ec2::/32, Google's is fd20:ce::254.
        Ok(IpAddr::V6(address)) => address.is_unicast_link_local() || address.is_loopback() || address.is_unique_local(),
        Err(_) => false,
    }
}

/// Host and port for a message.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A URL for the story: scheme, host and path.
fn told(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    shown(&format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or(""), url.path()), LONGEST)
}
