//! The calls: kube's client over our own HTTP stack, and what a failed call means for the person who reads of it.

use std::path::PathBuf;
use std::time::Duration;

use ::http::{Request, Response};
use ::kube::client::Body;
use k8s_openapi::api::core::v1::{Secret as ApiSecret, ServiceAccount as ApiServiceAccount};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, InvalidHeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::time::timeout;
use tower::service_fn;

use super::Wanted;
use super::identity::{Name, ServiceAccount};
use super::in_cluster::{InCluster, InClusterError, token};
use super::pod::Pod;
use crate::http::{HttpError, Network, Proxies, Trust, Unanswered, read_body};
use crate::secrets::Secrets;
use crate::sys::cause::chain;
use crate::trace::{End, Trace};

/// The largest answer that is read, in bytes: what Kubernetes allows a secret to be, and its base64 and frame.
const ANSWER_LIMIT: usize = 2 * 1024 * 1024;

/// How many characters of an API server's own words a message repeats.
const WORDS: usize = 200;

/// What carries one request to the API server.
#[derive(Clone)]
struct Transport {
    client: reqwest::Client,
    server: String,
    token_file: PathBuf,
    trace: Trace,
    secrets: Secrets,
}

/// Why a request got no answer.
#[derive(Debug, Error)]
pub(crate) enum TransportError {
    #[error(transparent)]
    Token(InClusterError),
    #[error("the token is no header")]
    Header(#[source] InvalidHeaderValue),
    #[error("the request's body failed")]
    Body(#[source] ::kube::Error),
    #[error("the API server {server} cannot be asked")]
    Unanswered { server: String, source: Unanswered },
    #[error("the API server {server} gave no usable answer")]
    Answer { server: String, source: HttpError },
}

impl Transport {
    async fn send(self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (parts, body) = request.into_parts();
        let token = token(&self.token_file).map_err(TransportError::Token)?;
        self.secrets.keep(token.expose());
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(TransportError::Header)?;
        bearer.set_sensitive(true);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let body = body.collect_bytes().await.map_err(TransportError::Body)?;
        let (url, shown) = (format!("{}{path}", self.server), format!("{}{}", self.server, parts.uri.path()));
        let asked = self.trace.begin(object(parts.uri.path()), parts.method.as_str(), shown);
        let sent = self
            .client
            .request(parts.method, url)
            .headers(parts.headers)
            .header(AUTHORIZATION, bearer)
            .body(body)
            .send()
            .await;
        let answer = match sent.map_err(Unanswered::from) {
            Ok(answer) => answer,
            Err(source) => {
                asked.end(End::Unanswered { reason: chain(&source) });
                return Err(TransportError::Unanswered { server: self.server, source });
            }
        };
        let status = answer.status().as_u16();
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        let body = match read_body(answer, ANSWER_LIMIT, "its answer").await {
            Ok(body) => body,
            Err(source) => {
                asked.end(End::Unread { status, reason: chain(&source) });
                return Err(TransportError::Answer { server: self.server, source });
            }
        };
        asked.end(End::Answered { status });
        Ok(response.map(|()| Body::from(body)))
    }
}

/// The API server, with a limit on each call.
pub(crate) struct Api {
    client: ::kube::Client,
    server: String,
    deadline: Duration,
}

/// The part of the answer to an access review that is of interest.
#[derive(Deserialize)]
struct AccessReview {
    status: AccessReviewStatus,
}

#[derive(Deserialize)]
struct AccessReviewStatus {
    #[serde(default)]
    allowed: bool,
}

/// Why a call gave no object.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("unauthorized")]
    Unauthorized,
    #[error("forbidden")]
    Forbidden,
    #[error("not found")]
    NotFound,
    #[error("the API server {server} answered {code}{words}")]
    Status { server: String, code: u16, words: String },
    #[error("the API server {server} gave no answer within {deadline:?}")]
    TimedOut { server: String, deadline: Duration },
    #[error(transparent)]
    Transport(TransportError),
    #[error("the API server {server} cannot be asked")]
    Client { server: String, source: ::kube::Error },
    // The library's own words would repeat the value that it did not expect.
    #[error("the API server {server} answered with something else than the object: line {line}, column {column}")]
    NotTheObject { server: String, line: usize, column: usize },
}

impl CallError {
    /// Whether the next call would meet the same: there is no server, or no token that it accepts.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Unauthorized | Self::TimedOut { .. } | Self::Client { .. } => true,
            Self::Transport(TransportError::Answer { .. }) => false,
            Self::Transport(
                TransportError::Token(_)
                | TransportError::Header(_)
                | TransportError::Body(_)
                | TransportError::Unanswered { .. },
            ) => true,
            Self::Forbidden | Self::NotFound | Self::Status { .. } | Self::NotTheObject { .. } => false,
        }
    }
}

impl Api {
    /// A client for the cluster's API server.
    pub(crate) fn new(
        network: &Network,
        cluster: &InCluster,
        wanted: &Wanted<'_>,
        trace: &Trace,
    ) -> Result<Self, HttpError> {
        let trust = Trust { public_roots: false, extra: vec![cluster.authority.clone()] };
        let transport = Transport {
            client: network.client(&trust, Proxies::Never)?,
            server: cluster.server.clone(),
            token_file: cluster.token_file.clone(),
            trace: trace.clone(),
            secrets: wanted.secrets.clone(),
        };
        let service = service_fn(move |request| transport.clone().send(request));
        let client = ::kube::Client::new(service, cluster.account.namespace.as_str());
        Ok(Self { client, server: cluster.server.clone(), deadline: wanted.call_deadline })
    }

    /// A pod, whichever has this name now.
    pub(crate) async fn pod(&self, namespace: &Name, name: &Name) -> Result<Pod, CallError> {
        self.get(format!("/api/v1/namespaces/{}/pods/{}", namespace.as_str(), name.as_str())).await
    }

    /// The names in a service account's `imagePullSecrets`.
    pub(crate) async fn account_pull_secrets(&self, account: &ServiceAccount) -> Result<Vec<String>, CallError> {
        let api = ::kube::Api::<ApiServiceAccount>::namespaced(self.client.clone(), account.namespace.as_str());
        let account = self.bounded(api.get(account.name.as_str())).await?;
        Ok(account.image_pull_secrets.into_iter().flatten().map(|reference| reference.name).collect())
    }

    pub(crate) async fn secret(&self, namespace: &Name, name: &Name) -> Result<ApiSecret, CallError> {
        let api = ::kube::Api::namespaced(self.client.clone(), namespace.as_str());
        self.bounded(api.get(name.as_str())).await
    }

    /// Whether the API server says that it would give an object to whoever asks.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>
    pub(crate) async fn may_get(&self, resource: &str, namespace: &Name, name: &Name) -> Result<bool, CallError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": namespace.as_str(), "verb": "get", "resource": resource, "name": name.as_str(),
            }},
        });
        let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
            .header(CONTENT_TYPE, "application/json")
            .body(review.to_string().into_bytes())
            .map_err(|error| self.failure(::kube::Error::HttpError(error)))?;
        let review: AccessReview = self.bounded(self.client.request(request)).await?;
        Ok(review.status.allowed)
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, CallError> {
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|error| self.failure(::kube::Error::HttpError(error)))?;
        self.bounded(self.client.request(request)).await
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, ::kube::Error>>) -> Result<T, CallError> {
        match timeout(self.deadline, call).await {
            Ok(answer) => answer.map_err(|error| self.failure(error)),
            Err(_) => Err(CallError::TimedOut { server: self.server.clone(), deadline: self.deadline }),
        }
    }

    fn failure(&self, error: ::kube::Error) -> CallError {
        let server = self.server.clone();
        if let ::kube::Error::Api(status) = &error {
            return match status.code {
                401 => CallError::Unauthorized,
                403 => CallError::Forbidden,
                404 => CallError::NotFound,
                code => CallError::Status { server, code, words: words(&status.message) },
            };
        }
        if let ::kube::Error::SerdeError(error) = &error {
            return CallError::NotTheObject { server, line: error.line(), column: error.column() };
        }
        let ::kube::Error::Service(cause) = error else {
            return CallError::Client { server, source: error };
        };
        match cause.downcast() {
            Ok(cause) => CallError::Transport(*cause),
            Err(cause) => CallError::Client { server, source: ::kube::Error::Service(cause) },
        }
    }
}

/// What a path of the API leads to, for people.
fn object(path: &str) -> &'static str {
    match path.rsplit('/').nth(1) {
        Some("pods") => "pod",
        Some("serviceaccounts") => "service account",
        Some("secrets") => "pull secret",
        Some(_) | None => "object",
    }
}

/// The start of a server's own words, behind the status.
fn words(message: &str) -> String {
    let start: String = message.trim().chars().take(WORDS).collect();
    if start.is_empty() { String::new() } else { format!(": {start}") }
}
