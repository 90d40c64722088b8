//! What a service says when it refuses, in its own words, and what to do about it.
//!
//! <https://www.rfc-editor.org/rfc/rfc6749#section-5.2>, <https://google.aip.dev/193>

use std::fmt;

use serde_json::Value;

use super::clock::Skew;
use crate::image::shown;

/// How many characters of a service's words a message shows.
const SHOWN: usize = 300;

/// What was asked for when somebody refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A token for a service account's assertion.
    Assertion,
    /// A token for a user's refresh token.
    Refresh,
    /// The token that is to be exchanged.
    Subject,
    /// A federated token.
    Exchange {
        /// For how many seconds the token that was shown has been expired, by this machine's clock.
        expired_for: Option<u64>,
    },
    /// A service account's token.
    Impersonation {
        /// The service account.
        account: String,
        /// Whether a federated identity asks.
        federated: bool,
    },
    /// The metadata server's token.
    Metadata,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authn) struct Refusal {
    /// Host and port.
    pub(super) host: String,
    /// The status.
    pub(super) status: u16,
    /// The words of the service.
    pub(super) words: Option<Words>,
    /// What to do.
    pub(super) advice: Option<String>,
}

/// What a service said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authn) struct Words {
    /// Its word for what is wrong: `invalid_grant`, `PERMISSION_DENIED`.
    pub(super) code: Option<String>,
    /// Its sentence.
    pub(super) text: String,
}

impl Words {
    /// The words in an answer, without the secrets that it may repeat: those are taken out before the text is cut, or a part
    /// of one would be left.
    pub(super) fn of(body: &[u8], without_secrets: impl Fn(String) -> String) -> Option<Self> {
        let said = |text: &str| shown(without_secrets(text.to_owned()).trim(), SHOWN);
        let text = std::str::from_utf8(body).ok()?.trim();
        let Ok(answer) = serde_json::from_str::<Value>(text) else {
            // A page is for browsers.
            return (!text.is_empty() && !text.starts_with('<')).then(|| Self { code: None, text: said(text) });
        };
        let field = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(said);
        match answer.get("error")? {
            Value::String(code) => {
                Some(Self { code: Some(said(code)), text: field(&answer, "error_description").unwrap_or_default() })
            }
            error @ Value::Object(_) => {
                Some(Self { code: field(error, "status"), text: field(error, "message").unwrap_or_default() })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, self.text.as_str()) {
            (None, text) => f.write_str(text),
            (Some(code), "") => f.write_str(code),
            (Some(code), text) => write!(f, "{code}: {text}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, status, words, advice } = self;
        let failed = if *status >= 500 { "fails" } else { "refuses" };
        write!(f, "{host} {failed} (status {status})")?;
        if let Some(words) = words {
            write!(f, ": {words}")?;
        }
        if let Some(advice) = advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

/// What a person may do about a refusal. `skew` is by how much this machine's clock is off.
pub(super) fn advice(step: &Step, status: u16, words: Option<&Words>, skew: Option<Skew>) -> Option<String> {
    let says = |part: &str| words.is_some_and(|words| words.text.contains(part));
    let is = |code: &str| words.is_some_and(|words| words.code.as_deref() == Some(code));
    let advice = match step {
        // The same word is for what is expired, not valid yet, revoked or wrong.
        Step::Assertion | Step::Refresh | Step::Exchange { .. } if is("invalid_grant") && skew.is_some() => {
            return skew.map(|skew| skew.to_string());
        }
        Step::Assertion if says("Invalid JWT Signature") => {
            "the key was deleted or disabled: mount one that counts, or give the pod Workload Identity"
        }
        Step::Assertion if says("account not found") || says("disabled") => {
            "the service account was deleted or disabled: name one that is there"
        }
        Step::Refresh if is("invalid_grant") => {
            "log in again with gcloud auth application-default login, or better give the pod an identity of its own"
        }
        Step::Exchange { expired_for: Some(seconds) } if is("invalid_grant") => {
            return Some(format!(
                "the token that was shown expired {seconds} s ago: kubelet renews a projected token, so name that and no \
                 copy of it"
            ));
        }
        Step::Exchange { .. } if is("invalid_grant") && says("audience") => {
            "the audience of the projected token must be one that the provider allows"
        }
        Step::Exchange { .. } if is("invalid_target") => {
            "the pool or the provider in the file's \"audience\" is not there, or is disabled"
        }
        Step::Impersonation { account, federated } if status == 403 => {
            let role = if *federated { "workloadIdentityUser" } else { "serviceAccountTokenCreator" };
            return Some(format!(
                "grant it roles/iam.{role} on {account} (permission iam.serviceAccounts.getAccessToken)"
            ));
        }
        Step::Metadata if status == 403 => {
            "grant the pod's Kubernetes service account roles/iam.workloadIdentityUser on the Google service account that \
             its annotation iam.gke.io/gcp-service-account names (permission iam.serviceAccounts.getAccessToken)"
        }
        Step::Metadata if status == 404 => {
            "this machine has no service account: give it one, or the pod Workload Identity"
        }
        Step::Assertion
        | Step::Refresh
        | Step::Subject
        | Step::Exchange { .. }
        | Step::Impersonation { .. }
        | Step::Metadata => {
            return None;
        }
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> Option<String> {
        Words::of(body.as_bytes(), |text| text).map(|words| words.to_string())
    }

    #[test]
    fn the_words_of_a_service_are_found_in_each_of_its_forms() {
        for (body, expected) in [
            (r#"{"error":"invalid_grant","error_description":"Bad"}"#, Some("invalid_grant: Bad")),
            (r#"{"error":"invalid_grant"}"#, Some("invalid_grant")),
            (r#"{"error":{"code":403,"message":"No.","status":"PERMISSION_DENIED"}}"#, Some("PERMISSION_DENIED: No.")),
            (r#"{"error":{"message":"No."}}"#, Some("No.")),
            ("Unable to\ngenerate", Some("Unable to generate")),
            (r#"{"access_token":"hunter2"}"#, None),
            (r#"{"error":7}"#, None),
            ("<html>no</html>", None),
            ("", None),
        ] {
            assert_eq!(words(body).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn no_part_of_a_secret_is_left_where_the_words_are_cut() {
        let secret = "s3cret".repeat(100);
        let body = format!("{}{secret}", "x".repeat(250));
        let told = Words::of(body.as_bytes(), |text| text.replace(&secret, "(a secret)")).unwrap().text;
        assert_eq!(told, format!("{}(a secret)", "x".repeat(250)));
        assert_eq!(words(&"x".repeat(400)).unwrap().len(), SHOWN + 3);
    }

    #[test]
    fn advice_is_for_what_was_asked_and_said() {
        let federated = Step::Impersonation { account: "ci@p".into(), federated: true };
        let direct = Step::Impersonation { account: "ci@p".into(), federated: false };
        let (valid, expired) = (Step::Exchange { expired_for: None }, Step::Exchange { expired_for: Some(9) });
        let grant = |text: &str| format!(r#"{{"error":"invalid_grant","error_description":"{text}"}}"#);
        let off = Some(Skew::Behind(3600));
        for (step, status, body, skew, expected) in [
            (&Step::Assertion, 400, grant("Invalid JWT: iat and exp"), off, Some("clock is 3600 s behind")),
            (&Step::Assertion, 400, grant("Invalid JWT: iat and exp"), None, None),
            (&Step::Assertion, 400, grant("Invalid JWT Signature."), None, Some("the key was deleted")),
            (&Step::Assertion, 400, grant("Invalid grant: account not found"), None, Some("was deleted or disabled")),
            (&Step::Refresh, 400, grant("Token has been expired or revoked."), None, Some("log in again")),
            (&Step::Refresh, 401, r#"{"error":"invalid_client"}"#.to_owned(), off, None),
            (&expired, 400, grant("is stale to sign-in."), None, Some("expired 9 s ago")),
            (&expired, 400, grant("is stale to sign-in."), off, Some("clock is 3600 s behind")),
            (&valid, 400, grant("The audience does not match"), None, Some("the audience of the projected token")),
            (&valid, 400, r#"{"error":"invalid_target"}"#.to_owned(), None, Some("is disabled")),
            (&federated, 403, String::new(), None, Some("roles/iam.workloadIdentityUser on ci@p")),
            (&direct, 403, String::new(), None, Some("roles/iam.serviceAccountTokenCreator on ci@p")),
            (&direct, 503, String::new(), None, None),
            (&Step::Metadata, 403, "IAM returned 403".to_owned(), None, Some("roles/iam.workloadIdentityUser")),
            (&Step::Metadata, 404, String::new(), None, Some("has no service account")),
            (&Step::Subject, 403, String::new(), off, None),
        ] {
            let words = Words::of(body.as_bytes(), |text| text);
            let told = advice(step, status, words.as_ref(), skew);
            match expected {
                Some(expected) => {
                    assert!(told.as_deref().is_some_and(|told| told.contains(expected)), "{step:?} {told:?}");
                }
                None => assert_eq!(told, None, "{step:?}"),
            }
        }
    }
}
