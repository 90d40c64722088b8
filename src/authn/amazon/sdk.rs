//! Amazon's SDK as it is used here: our HTTP client, our clock, and the environment as a value.
//!
//! Its own loader is not used: it opens files of the step's image before anybody asks for one, and asks the metadata
//! server for a region that the registry's host says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::StaticTimeSource;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use zeroize::Zeroizing;

use super::endpoint::is_sts;
use super::error::AmazonError;
use crate::authn::cloud::{Answer, CloudHttp, CloudHttpError, Context, Limits, Question, host_and_port};
use crate::cloud::AmazonRegistry;
use crate::host::Env;

/// How often a request is made at most: once more for a service that is busy, once more for a clock that is wrong.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt is at most this, before the third at most twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// Where ECR Public has its API, and what else has no region.
pub(super) const NO_REGION: &str = "us-east-1";
/// What the SDK calls the variable that names any service's endpoint.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// What the SDK's clients are made with.
#[derive(Debug, Clone)]
pub(super) struct Sdk {
    /// How anybody is asked.
    pub(super) http: CloudHttp,
    /// The time limits.
    pub(super) limits: Limits,
    /// What time it is.
    pub(super) now: SystemTime,
    env: Env,
    registry: AmazonRegistry,
}

impl Sdk {
    /// For the identities that open a registry.
    pub(super) fn new(context: &Context<'_>, registry: &AmazonRegistry) -> Self {
        Self {
            http: context.http.clone(),
            limits: context.limits.clone(),
            now: context.now,
            env: context.env.clone(),
            registry: registry.clone(),
        }
    }

    /// A way to ask Amazon's services, for this purpose. What is not signed goes to nobody but STS.
    pub(super) fn transport(&self, what: &'static str) -> Transport {
        Transport { http: self.http.clone(), what, asks_services: true, told: Arc::default() }
    }

    /// A way to ask the metadata server, which is shown nothing of the pod's.
    pub(super) fn transport_to_metadata(&self) -> Transport {
        Transport { asks_services: false, ..self.transport("role credentials") }
    }

    /// Where roles are assumed: in the pod's own region if it knows one, as pods of EKS do, for the registry's may be
    /// another.
    fn own_region(&self) -> Result<Region, AmazonError> {
        Ok(self.named_region()?.unwrap_or_else(|| self.registry_region()))
    }

    /// The region that variables name.
    pub(super) fn named_region(&self) -> Result<Option<Region>, AmazonError> {
        let mut known = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
        let Some((variable, name)) = known.find_map(|variable| Some((variable, self.env.text(variable)?))) else {
            return Ok(None);
        };
        let why = "names no region";
        region(name.trim()).map(Some).ok_or(AmazonError::Variable { variable, why })
    }

    /// Where the registry's API is: the host says it.
    pub(super) fn registry_region(&self) -> Region {
        match &self.registry {
            AmazonRegistry::Public => Region::from_static(NO_REGION),
            AmazonRegistry::Private { region, .. } => Region::new(region.clone()),
        }
    }

    /// The settings of the registry's API.
    pub(super) fn registry_api(&self, transport: &Transport, keys: Credentials) -> Result<SdkConfig, AmazonError> {
        self.endpoint_of(if self.registry == AmazonRegistry::Public { "ECR PUBLIC" } else { "ECR" })?;
        let endpoints = Endpoints(self.env.clone());
        let (fips, dual_stack) = match &self.registry {
            // An endpoint that somebody names is taken as it is: the SDK refuses to combine it with either.
            AmazonRegistry::Private { fips, dual_stack, .. } if endpoints.of("ECR").is_none() => (*fips, *dual_stack),
            AmazonRegistry::Private { .. } | AmazonRegistry::Public => (false, false),
        };
        let settings = self
            .api(transport, self.registry_region())
            .use_fips(fips || self.is_true("AWS_USE_FIPS_ENDPOINT"))
            .use_dual_stack(dual_stack || self.is_true("AWS_USE_DUALSTACK_ENDPOINT"))
            .credentials_provider(SharedCredentialsProvider::new(keys));
        Ok(settings.build())
    }

    /// Looks at the endpoint that a variable names for a service: of one that is no URL the SDK would say more than it may.
    fn endpoint_of(&self, service: &str) -> Result<(), AmazonError> {
        let endpoints = Endpoints(self.env.clone());
        let Some(endpoint) = endpoints.of(service) else { return Ok(()) };
        let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
        let why = match url {
            Some(url) if url.username().is_empty() && url.password().is_none() => return Ok(()),
            Some(_) => "has a user or a password in it, which Amazon's services are not asked with",
            None => "is no URL: write https://HOST",
        };
        Err(AmazonError::Variable { variable: endpoints.variable(service), why })
    }

    /// The settings of the service that gives out roles' credentials.
    pub(super) fn sts(&self, transport: &Transport) -> Result<SdkConfig, AmazonError> {
        self.endpoint_of("STS")?;
        let settings = self
            .api(transport, self.own_region()?)
            .use_fips(self.is_true("AWS_USE_FIPS_ENDPOINT"))
            .use_dual_stack(self.is_true("AWS_USE_DUALSTACK_ENDPOINT"));
        Ok(settings.build())
    }

    fn api(&self, transport: &Transport, region: Region) -> aws_types::sdk_config::Builder {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region)
            .http_client(transport.clone())
            .time_source(self.clock())
            .sleep_impl(TokioSleep::new())
            .retry_config(retries())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .service_config(Endpoints(self.env.clone()))
    }

    /// The clock that requests are signed by.
    pub(super) fn clock(&self) -> StaticTimeSource {
        StaticTimeSource::new(self.now)
    }

    fn is_true(&self, variable: &str) -> bool {
        self.env.text(variable).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// A region of this name. It becomes a part of a host, and of a header.
pub(super) fn region(name: &str) -> Option<Region> {
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_name = (1..=63).contains(&name.len()) && name.bytes().all(is_label);
    is_name.then(|| Region::new(name.to_owned()))
}

/// Keys that can be sent. With any others the SDK's signer would panic.
pub(super) fn sendable(keys: Credentials) -> Result<Credentials, AmazonError> {
    for (what, text) in [("access key", Some(keys.access_key_id())), ("session token", keys.session_token())] {
        if text.is_some_and(|text| HeaderValue::from_str(text).is_err()) {
            return Err(AmazonError::Keys { what });
        }
    }
    Ok(keys)
}

/// How often anybody is asked.
pub(super) fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(PAUSE).with_max_backoff(2 * PAUSE)
}

/// Endpoints that variables name: `AWS_ENDPOINT_URL_STS` before `AWS_ENDPOINT_URL`.
#[derive(Debug)]
struct Endpoints(Env);

impl Endpoints {
    fn of(&self, service: &str) -> Option<&str> {
        let Self(env) = self;
        if env.text("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        env.text(&format!("{ENDPOINT}_{}", service.to_ascii_uppercase().replace([' ', '-'], "_")))
            .or_else(|| env.text(ENDPOINT))
    }
}

impl Endpoints {
    /// The variable that names a service's endpoint.
    fn variable(&self, service: &str) -> &'static str {
        let Self(env) = self;
        let own = match service {
            "STS" => "AWS_ENDPOINT_URL_STS",
            "ECR" => "AWS_ENDPOINT_URL_ECR",
            _ => "AWS_ENDPOINT_URL_ECR_PUBLIC",
        };
        if env.text(own).is_some() { own } else { ENDPOINT }
    }
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        if key.env() == ENDPOINT { self.of(key.service_id()).map(str::to_owned) } else { None }
    }
}

/// The SDK's way out. It remembers what became of the last request, for the SDK's errors say little of that.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: CloudHttp,
    what: &'static str,
    asks_services: bool,
    told: Arc<Mutex<Told>>,
}

/// What is known of the last request.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Host and port; `None` before the first request.
    pub(super) host: Option<String>,
    /// The answer's status, if there was one.
    pub(super) status: Option<u16>,
    /// The answer's `Date`.
    pub(super) date: Option<String>,
    /// Why there was no answer.
    pub(super) failure: Option<Unasked>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Unasked {
    /// It was not made: it would have shown the pod's token to somebody who is not Amazon's STS.
    Elsewhere,
    /// There was none.
    Unanswered(CloudHttpError),
}

impl Transport {
    /// What is known of the last request. It is forgotten here.
    pub(super) fn told(&self) -> Told {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let question = self.question(&request).map_err(ConnectorError::user)?;
        *self.lock() = Told { host: Some(host_and_port(&question.url)), ..Told::default() };
        // Variables and profiles name endpoints, and they are the image's as much as the pod's. Whoever does not sign proves
        // himself by a token.
        if self.asks_services && !is_signed(&question.headers) && !is_sts(&question.url) {
            self.lock().failure = Some(Unasked::Elsewhere);
            return Err(ConnectorError::other("not asked".into(), None));
        }
        match self.http.ask(question).await {
            Ok(answer) => {
                let response = response(&answer)?;
                let mut told = self.lock();
                told.status = Some(answer.status.as_u16());
                told.date = response.headers().get("date").map(str::to_owned);
                Ok(response)
            }
            Err(error) => {
                let is_transient = matches!(&error, CloudHttpError::Unanswered { source, .. } if source.is_transient());
                self.lock().failure = Some(Unasked::Unanswered(error));
                let source = "no answer".into();
                // What will not change within a second is not asked again.
                Err(if is_transient { ConnectorError::io(source) } else { ConnectorError::other(source, None) })
            }
        }
    }

    fn question(&self, request: &HttpRequest) -> Result<Question, Box<dyn std::error::Error + Send + Sync>> {
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers() {
            headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
        Ok(Question {
            what: self.what,
            method: Method::from_bytes(request.method().as_bytes())?,
            url: Url::parse(request.uri())?,
            headers,
            body: Zeroizing::new(request.body().bytes().unwrap_or_default().to_vec()),
        })
    }
}

fn is_signed(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"))
}

fn response(answer: &Answer) -> Result<HttpResponse, ConnectorError> {
    let status =
        StatusCode::try_from(answer.status.as_u16()).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(answer.body.as_slice()));
    for (name, value) in &answer.headers {
        // A header that is no text is none that the SDK would read.
        if let Ok(value) = value.to_str() {
            let _ = response.headers_mut().try_append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(response)
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let transport = self.clone();
        HttpConnectorFuture::new(async move { transport.exchange(request).await })
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_for_one_service_before_all() {
        let all = ("AWS_ENDPOINT_URL", "https://all.example");
        let public = ("AWS_ENDPOINT_URL_ECR_PUBLIC", "https://public.example");
        let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True");
        for (variables, service, expected) in [
            (&[][..], "ECR", None),
            (&[all], "ECR", Some("https://all.example")),
            (&[public], "ECR", None),
            (&[all, public], "ECR PUBLIC", Some("https://public.example")),
            (&[all, public], "STS", Some("https://all.example")),
            (&[all, public, ignored], "ECR PUBLIC", None),
        ] {
            let endpoints = Endpoints(variables.iter().copied().collect());
            assert_eq!(endpoints.of(service), expected, "{variables:?} {service}");
        }
    }
}
