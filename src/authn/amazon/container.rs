//! EKS Pod Identity and the task roles of ECS: an agent on the node gives out credentials.
//!
//! The exchange is ours and not the SDK's. The SDK's provider takes its variables from nowhere but the process, sends a token
//! file with its trailing newline or fails, drops the agent's reason, and resolves a name with the C library, which would
//! load what the image's `nsswitch.conf` names (docs/adr/0004-names-resolved-in-rust.md).

use std::time::Duration;

use aws_credential_types::Credentials;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::endpoint::{self, is_agent, is_on_node};
use super::error::{AmazonError, Refused, Service};
use super::sdk::{Sdk, Told};
use super::web_identity::token;
use crate::authn::cloud::{Answer, CloudHttpError, Question, host_and_port, is_metadata, within};
use crate::image::shown;
use crate::secret::Secret;

/// How often an agent is asked that is busy, and the pause in between.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// The longest text of an agent that is told, in characters.
const TEXT: usize = 300;

/// An agent that has the container's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// The variable that names it.
    pub(super) variable: &'static str,
    /// The URL.
    pub(super) url: String,
    /// What it is to be shown.
    pub(super) token: Option<Token>,
}

/// What an agent is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
    File(String),
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    Value(Secret),
}

/// An agent's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

/// An agent's refusal, where it is one in JSON.
#[derive(Deserialize)]
struct Reason {
    #[serde(alias = "Code")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

impl Container {
    /// Whether it is the agent of EKS Pod Identity.
    pub(super) fn is_eks(&self) -> bool {
        Url::parse(&self.url).is_ok_and(|url| endpoint::is_eks(&url))
    }

    /// Asks the agent for the credentials.
    pub(super) async fn keys(&self, sdk: &Sdk) -> Result<Credentials, AmazonError> {
        let url = agent(&self.url, self.token.is_some())
            .map_err(|why| AmazonError::Variable { variable: self.variable, why })?;
        let authorization = self.token.as_ref().map(|token| token.header(sdk)).transpose()?;
        let limit = if is_metadata(&url) { sdk.limits.metadata } else { sdk.limits.service };
        let host = host_and_port(&url);
        let asked = within(limit, &host, ask(sdk, &url, authorization.as_ref())).await;
        let advice = Service::Container.if_silent();
        let answer = asked
            .map_err(|hung| AmazonError::Hung { hung, advice })?
            .map_err(|source| AmazonError::Unanswered { service: Service::Container, advice, source: source.into() })?;
        keys(host, &answer, sdk)
    }
}

impl Token {
    fn header(&self, sdk: &Sdk) -> Result<HeaderValue, AmazonError> {
        let (token, origin) = match self {
            Self::File(path) => (token(path)?, format!("{path:?}")),
            Self::Value(value) => (value.clone(), "AWS_CONTAINER_AUTHORIZATION_TOKEN".to_owned()),
        };
        sdk.http.keep(token.expose());
        let header = HeaderValue::from_str(token.expose());
        let mut header =
            header.map_err(|_| AmazonError::Token { origin, why: "has characters that no header may have" })?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// Asks, again if the agent is busy.
async fn ask(sdk: &Sdk, url: &Url, authorization: Option<&HeaderValue>) -> Result<Answer, CloudHttpError> {
    let mut attempt = 1;
    loop {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(authorization.map(|value| (AUTHORIZATION, value.clone())));
        let question = Question {
            what: "role credentials",
            method: Method::GET,
            url: url.clone(),
            headers,
            body: Zeroizing::default(),
        };
        let answer = sdk.http.ask(question).await?;
        let is_busy = answer.status.is_server_error() || answer.status.as_u16() == 429;
        if !is_busy || attempt == ATTEMPTS {
            return Ok(answer);
        }
        tokio::time::sleep(PAUSE * attempt).await;
        attempt += 1;
    }
}

/// The URL of an agent. Who it is is the image's choice too: so nobody is asked in plain text but the agents, and nobody
/// is shown a token but what is on this node.
fn agent(url: &str, is_shown_token: bool) -> Result<Url, &'static str> {
    let url = Url::parse(url).map_err(|_| "is no URL")?;
    if !url.has_host() {
        return Err("is a URL without a host");
    }
    match url.scheme() {
        "https" if is_shown_token && !is_on_node(&url) => {
            Err("names somebody who is not on this node, and nobody else is shown the token for the agent")
        }
        "https" => Ok(url),
        "http" if is_agent(&url) => Ok(url),
        "http" => Err("names somebody who must not be asked over plain http: only loopback, 169.254.170.2, \
                       169.254.170.23 and fd00:ec2::23 may be"),
        _ => Err("is no URL of http or https"),
    }
}

/// What an answer holds.
fn keys(host: String, answer: &Answer, sdk: &Sdk) -> Result<Credentials, AmazonError> {
    let status = answer.status.as_u16();
    let reason = serde_json::from_slice::<Reason>(&answer.body).ok();
    if answer.status.is_success() {
        if let Ok(Keys { access_key_id, secret_access_key, token }) = serde_json::from_slice(&answer.body)
            && !access_key_id.is_empty()
            && !secret_access_key.is_empty()
        {
            return Ok(Credentials::new(access_key_id, secret_access_key, token, None, "container"));
        }
        let said = reason.map(|reason| [reason.code, reason.message]).into_iter().flatten().flatten();
        // `Success` is a code too.
        let said = said.filter(|word| word != "Success").collect::<Vec<_>>().join(": ");
        let why = if said.is_empty() { "there are no credentials in it" } else { &said };
        let why = format!(": {}", shown(why, TEXT));
        return Err(AmazonError::Unusable { host, service: Service::Container, why });
    }
    let date = answer.headers.get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
    let told = Told { host: Some(host), status: Some(status), date, failure: None };
    let (code, message) = match reason {
        Some(Reason { code, message }) if code.is_some() || message.is_some() => (code, message),
        // EKS's agent answers in plain text.
        Some(_) | None => (None, std::str::from_utf8(&answer.body).ok().map(|text| shown(text.trim(), TEXT))),
    };
    let message = message.filter(|text| !text.is_empty());
    match AmazonError::told(Service::Container, code.as_deref(), message.as_deref(), told, sdk.now) {
        Ok(error) => Err(error),
        Err(_) => {
            let refused = Refused { host: String::new(), status, code, message, advice: String::new() };
            Err(AmazonError::Refused(Box::new(refused)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agent_is_asked_over_plain_http_and_only_this_node_is_shown_a_token() {
        let (nobody, without, always) = ([false, false], [true, false], [true, true]);
        for (url, expected) in [
            ("http://169.254.170.23/v1/credentials", always),
            ("http://[fd00:ec2::23]/v1/credentials", always),
            ("http://169.254.170.2/v2/credentials/1", always),
            ("http://127.0.0.1:4000/x", always),
            ("http://[::1]:4000/x", always),
            ("http://localhost:4000/x", always),
            ("https://localhost:4000/x", always),
            ("https://169.254.170.23/x", always),
            ("https://169.254.1.1/x", always),
            ("https://[fe80::1]/x", always),
            ("https://agent.example/x", without),
            ("https://10.0.0.1/x", without),
            ("https://abcdef.execute-api.eu-central-1.amazonaws.com/x", without),
            ("https://169.254.170.23.evil.example/x", without),
            ("https://169.254.170.23@evil.example/x", without),
            ("http://agent.example/x", nobody),
            ("http://localhost.evil.example/x", nobody),
            ("http://169.254.170.2@evil.example/x", nobody),
            ("http://169.254.170.2.evil.example/x", nobody),
            ("http://169.254.169.254/x", nobody),
            ("http://10.0.0.1/x", nobody),
            ("ftp://127.0.0.1/x", nobody),
            ("/v1/credentials", nobody),
            ("", nobody),
        ] {
            assert_eq!([false, true].map(|token| agent(url, token).is_ok()), expected, "{url}");
        }
    }
}
