//! Why an identity has no credential: what was asked, who answered what, and what a person can do about it.

use std::error::Error as StdError;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reqwest::header::DATE;
use serde_json::Value;

use super::place::Audience;
use crate::authn::cloud::{Answer, CloudHttpError, Hung};
use crate::authn::file::FileError;
use crate::http::{HttpError, Unanswered, seconds_of_date};
use crate::image::shown;
use crate::sys::cause::chain;

/// Entra ID's error for an audience that the tenant does not know.
const UNKNOWN_AUDIENCE: u32 = 500_011;
/// The longest reason of a service that is shown, in characters.
const LONGEST: usize = 300;

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub(in crate::authn) enum AzureError {
    /// Nobody was asked.
    #[error(transparent)]
    LeftOut(#[from] LeftOut),
    /// The file with the pod's token cannot be used.
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    /// Azure's library does not take what the environment holds.
    #[error("not asked")]
    Library(#[source] azure_core::Error),
    /// Somebody was asked.
    #[error(transparent)]
    Failed(Box<Failed>),
    /// A token for the registries did not help, nor did one for the resource manager.
    #[error("{first}; with a token for {audience}{}{}", differently(first, &.second.failure), then(advice))]
    Neither {
        /// What became of the first.
        first: String,
        /// Whom the second was for.
        audience: &'static str,
        /// What became of the second.
        second: Box<Failed>,
        /// Whether the first may go better later.
        passing: bool,
        /// What to do.
        advice: String,
    },
}

/// Why an identity that the environment speaks of is not asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::authn) enum LeftOut {
    #[error("not asked: {set} is set, but not {missing}{hint}")]
    Incomplete { set: &'static str, missing: String, hint: &'static str },
    #[error("not asked: AZURE_TENANT_ID is {tenant:?}, and must be a tenant's ID or domain")]
    Tenant { tenant: String },
    #[error(
        "not asked: AZURE_AUTHORITY_HOST is {value:?}, which is none of Microsoft's authorities, \
         https://login.microsoftonline.com for example; nobody else is shown the pod's identity"
    )]
    Authority { value: String },
    #[error(
        "not used: a login with a certificate is not known here; use workload identity (a federated credential of the \
         application) or AZURE_CLIENT_SECRET"
    )]
    Certificate,
    #[error("not used: a login as a person is not known here; use workload identity or AZURE_CLIENT_SECRET")]
    Password,
    #[error("not asked: {variable} is {value:?}, which is {fault}")]
    Endpoint { variable: &'static str, value: String, fault: &'static str },
    #[error("not asked: {variables} name the managed identity of {of}, which is not known here")]
    Elsewhere { variables: &'static str, of: &'static str },
}

/// Why the file with the pod's token cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::authn) enum TokenFileError {
    #[error("the token file {path:?} of AZURE_FEDERATED_TOKEN_FILE{}", unread(path, source))]
    Unread {
        path: PathBuf,
        #[source]
        source: FileError,
    },
    #[error("the token file {0:?} of AZURE_FEDERATED_TOKEN_FILE is empty")]
    Empty(PathBuf),
    #[error("the token file {0:?} of AZURE_FEDERATED_TOKEN_FILE holds no signed JSON web token")]
    NotAToken(PathBuf),
}

/// A failure, and what to do about it. That is said last, so the causes stand in the sentence and are no `source`.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", .failure.told(), then(advice))]
pub(in crate::authn) struct Failed {
    pub(super) step: Step,
    pub(super) failure: Failure,
    /// Empty where nothing is known that would help.
    pub(super) advice: String,
}

/// What was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A token for the identity.
    Identity,
    /// The registry's own token for that one.
    Exchange,
}

/// What came of asking a service.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Hung(#[from] Hung),
    #[error(transparent)]
    Unanswered(#[from] CloudHttpError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the answer of {whom} holds no token")]
    NoToken { whom: String },
    /// Nobody was asked: what a variable holds cannot be sent.
    #[error("{what} in what is to be sent: look at the variables of the identity")]
    Unaskable { what: String },
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{whom} answered {status}{}", .words.as_ref().map(|words| format!(": {words}")).unwrap_or_default())]
pub(super) struct Refusal {
    /// Host and port.
    pub(super) whom: String,
    pub(super) status: u16,
    /// The reason in the service's own words, bounded.
    pub(super) words: Option<String>,
    /// The number of Entra ID's error: 7000215 of `AADSTS7000215`.
    pub(super) code: Option<u32>,
    /// Whether it does not know whom the token is to be for.
    pub(super) unknown_audience: bool,
    /// The service's clock, in seconds since 1970.
    pub(super) date: Option<u64>,
}

/// Whose the file is, where we may not read it: projected tokens are often root's alone.
fn unread(path: &Path, error: &FileError) -> String {
    let FileError::Unreadable(cause) = error else { return String::new() };
    match path.metadata() {
        Ok(file) if cause.kind() == io::ErrorKind::PermissionDenied => format!(
            ", which is user {}'s and group {}'s with mode {:04o} (fsGroup or runAsUser in the pod's securityContext opens \
             it)",
            file.uid(),
            file.gid(),
            file.mode() & 0o7777
        ),
        Ok(_) | Err(_) => String::new(),
    }
}

/// What became of the second, if it is not the same.
fn differently(first: &str, second: &Failure) -> String {
    let second = second.told();
    if second == first { " it is the same".to_owned() } else { format!(": {second}") }
}

fn then(advice: &str) -> String {
    if advice.is_empty() { String::new() } else { format!("; {advice}") }
}

impl Refusal {
    /// The refusal in an answer. `hide` takes out the secrets that were shown to whoever answers, before anything is cut.
    pub(super) fn of(whom: String, answer: &Answer, hide: impl FnOnce(String) -> String) -> Self {
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(seconds_of_date);
        let words = words(&answer.body);
        let code = words.as_deref().and_then(code);
        let unknown_audience = code == Some(UNKNOWN_AUDIENCE) || is_invalid_resource(&answer.body);
        let words = words.map(|words| shown(&hide(words), LONGEST));
        Self { whom, status: answer.status.as_u16(), words, code, unknown_audience, date }
    }

    /// Whether the reason has these words.
    pub(super) fn says(&self, words: &str) -> bool {
        self.words.as_deref().is_some_and(|own| own.to_ascii_lowercase().contains(words))
    }
}

/// The reason in an error's document: OAuth's as Entra ID and the metadata server write it, that of the other managed
/// identities, or the distribution specification's.
fn words(body: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::trim).map(str::to_owned);
    let told = |value: &Value| match (text(value, "code"), text(value, "message")) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => message.or(code),
    };
    let error = document.get("error");
    let description = text(&document, "error_description").filter(|text| !text.is_empty());
    let found = description
        .or_else(|| error.and_then(|error| error.as_str().map(str::to_owned).or_else(|| told(error))))
        .or_else(|| document.get("errors").and_then(|errors| errors.get(0)).and_then(told))
        .or_else(|| told(&document))?;
    // What follows is for Microsoft's own staff.
    let first = found.lines().next().unwrap_or("");
    let first = first.split(" Trace ID:").next().unwrap_or("").trim().trim_end_matches('.');
    (!first.is_empty()).then(|| first.to_owned())
}

/// OAuth's word for an audience that is not known.
fn is_invalid_resource(body: &[u8]) -> bool {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    document.is_some_and(|document| document.get("error").and_then(Value::as_str) == Some("invalid_resource"))
}

/// The number behind `AADSTS`.
fn code(words: &str) -> Option<u32> {
    let digits = words.split("AADSTS").nth(1)?;
    digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

impl Failure {
    /// The failure with its causes, and with no advice.
    pub(super) fn told(&self) -> String {
        let error: &(dyn StdError + 'static) = self;
        // The transparent variants are the error that they hold: the chain has no repetition.
        chain(error)
    }

    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Hung(_) | Self::Unanswered(_) | Self::NoToken { .. } | Self::Unaskable { .. } => None,
        }
    }

    /// Whether time may mend it.
    fn is_passing(&self) -> bool {
        match self {
            Self::Hung(_) => true,
            Self::Unanswered(CloudHttpError::Unanswered { source, .. }) => is_passing(source),
            Self::Unanswered(CloudHttpError::Unusable { source: HttpError::Interrupted { .. }, .. }) => true,
            Self::Unanswered(_) | Self::NoToken { .. } | Self::Unaskable { .. } => false,
            Self::Refused(refusal) => matches!(refusal.status, 408 | 410 | 429 | 500..),
        }
    }
}

/// Whether nobody's silence is for good: who shows a wrong certificate will do so again.
fn is_passing(unanswered: &Unanswered) -> bool {
    match unanswered {
        Unanswered::UnknownAuthority
        | Unanswered::Certificate(_)
        | Unanswered::WantsCertificate(_)
        | Unanswered::Handshake(_)
        | Unanswered::NotTls
        | Unanswered::NotHttp => false,
        Unanswered::Refused
        | Unanswered::Unreachable
        | Unanswered::Name(_)
        | Unanswered::TimedOut
        | Unanswered::Closed
        | Unanswered::Other(_) => true,
    }
}

impl Failed {
    /// Whether it may be that the token was for somebody whom the other side does not know or does not like.
    pub(super) fn is_of_the_audience(&self) -> bool {
        self.failure.refusal().is_some_and(|refusal| match self.step {
            Step::Identity => refusal.unknown_audience,
            Step::Exchange => matches!(refusal.status, 401 | 403),
        })
    }
}

impl From<Failed> for AzureError {
    fn from(failed: Failed) -> Self {
        Self::Failed(Box::new(failed))
    }
}

impl AzureError {
    /// What became of both audiences as one. The advice is that of whoever came further.
    pub(super) fn neither(first: Failed, audience: Audience, second: Failed) -> Self {
        let advice = if first.step == Step::Exchange { first.advice } else { second.advice.clone() };
        Self::Neither {
            first: first.failure.told(),
            audience: audience.resource(),
            passing: first.failure.is_passing(),
            second: Box::new(second),
            advice,
        }
    }

    /// Whether time may mend it.
    pub(in crate::authn) fn is_passing(&self) -> bool {
        match self {
            Self::LeftOut(_) | Self::TokenFile(_) | Self::Library(_) => false,
            Self::Failed(failed) => failed.failure.is_passing(),
            Self::Neither { second, passing, .. } => *passing || second.failure.is_passing(),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static("Sat, 21 Nov 2026 12:00:00 GMT"))]);
        let body = body.as_bytes().to_vec().into();
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers, body };
        Refusal::of("h:443".to_owned(), &answer, |words| words.replace("hunter2", "(a secret)"))
    }

    #[test]
    fn a_refusal_is_told_in_the_services_first_line() {
        for (body, told, code) in [
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Trace ID: a Correlation ID: b Timestamp: c","error_codes":[7000215]}"#,
                "h:443 answered 401: AADSTS7000215: Invalid client secret provided",
                Some(7_000_215),
            ),
            (
                r#"{"error":"x","error_description":"AADSTS70021: No match.\r\nTrace ID: a"}"#,
                "h:443 answered 401: AADSTS70021: No match",
                Some(70021),
            ),
            (
                r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
                "h:443 answered 401: Identity not found",
                None,
            ),
            (r#"{"error":"invalid_scope","error_description":""}"#, "h:443 answered 401: invalid_scope", None),
            (r#"{"error":{"code":"C","message":"why"}}"#, "h:443 answered 401: C: why", None),
            (r#"{"statusCode":500,"message":"why"}"#, "h:443 answered 401: why", None),
            (
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
                "h:443 answered 401: UNAUTHORIZED: authentication required",
                None,
            ),
            ("<html>no</html>", "h:443 answered 401", None),
            (r#"{"errors":[]}"#, "h:443 answered 401", None),
            (
                r#"{"error_description":"AADSTS99999999999999: big"}"#,
                "h:443 answered 401: AADSTS99999999999999: big",
                None,
            ),
            ("[]", "h:443 answered 401", None),
            ("", "h:443 answered 401", None),
        ] {
            let refusal = refusal(401, body);
            assert_eq!((refusal.to_string().as_str(), refusal.code), (told, code), "{body}");
            assert_eq!(refusal.date, Some(1_795_262_400));
        }
        let cut = refusal(400, &format!(r#"{{"error":"{} hunter2"}}"#, "x".repeat(LONGEST - 5)));
        assert!(!cut.to_string().contains("hunt"), "{cut}");
        let long = refusal(400, &format!(r#"{{"error":"{}"}}"#, "x".repeat(10_000)));
        assert!(long.to_string().len() < 400);
    }

    #[test]
    fn what_time_may_mend_is_no_answer_and_a_fault_of_the_service() {
        let hung = Failure::from(Hung { whom: "w".to_owned(), limit: std::time::Duration::from_secs(3) });
        assert!(hung.is_passing());
        for (status, passing) in
            [(400, false), (401, false), (403, false), (404, false), (410, true), (429, true), (500, true), (503, true)]
        {
            assert_eq!(Failure::from(refusal(status, "")).is_passing(), passing, "{status}");
        }
        assert!(!Failure::NoToken { whom: "w".to_owned() }.is_passing());
    }

    #[test]
    fn advice_stands_last_and_is_that_of_whoever_came_further() {
        let failed = |step, status, advice: &str| {
            let (failure, advice) = (refusal(status, "").into(), advice.to_owned());
            Failed { step, failure, advice }
        };
        assert_eq!(failed(Step::Identity, 400, "do this").to_string(), "h:443 answered 400; do this");
        assert_eq!(failed(Step::Identity, 400, "").to_string(), "h:443 answered 400");
        let manager = super::super::place::AzureCloud::Public.manager();
        for (step, advice) in [(Step::Exchange, "a"), (Step::Identity, "b")] {
            let neither = AzureError::neither(failed(step, 401, "a"), manager, failed(Step::Exchange, 403, "b"));
            assert_eq!(
                neither.to_string(),
                format!(
                    "h:443 answered 401; with a token for https://management.azure.com: h:443 answered 403; {advice}"
                )
            );
        }
        let same = AzureError::neither(failed(Step::Exchange, 401, "a"), manager, failed(Step::Exchange, 401, "b"));
        let told = "h:443 answered 401; with a token for https://management.azure.com it is the same; a";
        assert_eq!(same.to_string(), told);
    }
}
