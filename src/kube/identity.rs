//! Service accounts by name, and what a token says of its bearer: pure.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use thiserror::Error;

use crate::secret::Secret;

/// The longest name of an object, in bytes.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
const NAME_LIMIT: usize = 253;

/// The name of a Kubernetes object, fit to stand in a URL's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// A text that cannot be the name of a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} cannot be the name of a {1}: it has other characters than a-z, 0-9, `-` and `.`, or is too long")]
pub struct BadName(String, &'static str);

impl Name {
    /// Takes a text for the name of an object of this kind.
    ///
    /// # Errors
    ///
    /// The text is not a DNS subdomain name.
    pub fn parse(text: &str, kind: &'static str) -> Result<Self, BadName> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if text.len() <= NAME_LIMIT && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last())
        {
            return Ok(Self(text.to_owned()));
        }
        Err(BadName(text.chars().take(NAME_LIMIT).collect(), kind))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A service account: `ci/builder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

/// Who a token says that its bearer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The service account.
    pub account: ServiceAccount,
    /// The pod that the token was made for, in the service account's namespace.
    pub pod: Option<BoundPod>,
}

/// The pod that a token was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPod {
    /// Its name, which another pod may have after it.
    pub name: Name,
    /// What tells it from every other.
    pub uid: String,
}

impl Identity {
    /// What the token's own claims say. The signature is not checked: the API server does that, and whoever could change
    /// the token could as well change the answer.
    #[must_use]
    pub fn of_token(token: &Secret) -> Option<Self> {
        let payload = token.expose().split('.').nth(1)?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let (namespace, name, pod) = match claims.kubernetes {
            Some(bound) => (bound.namespace, bound.service_account.name, bound.pod.and_then(ClaimedPod::bound)),
            // Tokens of before Kubernetes 1.22 have no such claim.
            None => {
                let (namespace, name) =
                    claims.sub?.strip_prefix("system:serviceaccount:")?.split_once(':').map(owned)?;
                (namespace, name, None)
            }
        };
        Some(Self {
            account: ServiceAccount {
                namespace: Name::parse(&namespace, "namespace").ok()?,
                name: Name::parse(&name, "service account").ok()?,
            },
            pod,
        })
    }
}

fn owned((namespace, name): (&str, &str)) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service account {}/{}", self.namespace.0, self.name.0)
    }
}

/// The claims that are of interest.
/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Bound>,
    sub: Option<String>,
}

#[derive(Deserialize)]
struct Bound {
    namespace: String,
    #[serde(rename = "serviceaccount")]
    service_account: Named,
    pod: Option<ClaimedPod>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct ClaimedPod {
    name: String,
    #[serde(default)]
    uid: String,
}

impl ClaimedPod {
    fn bound(self) -> Option<BoundPod> {
        Some(BoundPod { name: Name::parse(&self.name, "pod").ok()?, uid: self.uid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> Secret {
        Secret::new(format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)))
    }

    #[test]
    fn a_token_says_whose_it_is() {
        for (payload, expected) in [
            (
                r#"{"kubernetes.io": {"namespace": "ci", "node": {"name": "n", "uid": "u"},
                    "pod": {"name": "p", "uid": "u"}, "serviceaccount": {"name": "builder", "uid": "v"}},
                    "sub": "system:serviceaccount:x:y"}"#,
                Some(("service account ci/builder", Some("p of u"))),
            ),
            (
                r#"{"kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "builder"}}}"#,
                Some(("service account ci/builder", None)),
            ),
            (
                r#"{"kubernetes.io": {"namespace": "ci", "pod": {"name": "../x"}, "serviceaccount": {"name": "b"}}}"#,
                Some(("service account ci/b", None)),
            ),
            (
                r#"{"kubernetes.io": {"namespace": "ci", "pod": {"name": "p"}, "serviceaccount": {"name": "b"}}}"#,
                Some(("service account ci/b", Some("p of "))),
            ),
            (r#"{"sub": "system:serviceaccount:ci:builder"}"#, Some(("service account ci/builder", None))),
            (r#"{"sub": "me@example.com"}"#, None),
            (r#"{"kubernetes.io": {"namespace": "ci/../x", "serviceaccount": {"name": "builder"}}}"#, None),
            ("{}", None),
            ("hunter2", None),
        ] {
            let identity = Identity::of_token(&token(payload));
            let read = identity.map(|identity| {
                let pod = identity.pod.map(|pod| format!("{} of {}", pod.name.as_str(), pod.uid));
                (identity.account.to_string(), pod)
            });
            let read = read.as_ref().map(|(account, pod)| (account.as_str(), pod.as_deref()));
            assert_eq!(read, expected, "{payload}");
        }
        for opaque in ["", "abc", "a.b.c", ".."] {
            assert_eq!(Identity::of_token(&Secret::new(opaque.to_owned())), None, "{opaque}");
        }
    }

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        for good in ["a", "regcred", "my.secret-1", &"a".repeat(253)] {
            assert!(Name::parse(good, "secret").is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "a?b", "a#b", "a%2fb", "A", "a.", "-a", "a b", &"a".repeat(254)] {
            assert!(Name::parse(bad, "secret").is_err(), "{bad}");
        }
        assert_eq!(
            Name::parse("a/b", "secret").unwrap_err().to_string(),
            "\"a/b\" cannot be the name of a secret: it has other characters than a-z, 0-9, `-` and `.`, or is too long"
        );
    }
}
