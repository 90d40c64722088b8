//! What a token says of itself. Nothing of it is verified: it is for messages alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::image::shown;

/// The longest claim that is shown, in characters.
const LONGEST: usize = 150;

/// The claims that messages name. None of them is a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// Who gave it.
    pub(super) issuer: Option<String>,
    /// About whom.
    pub(super) subject: Option<String>,
    /// For whom, the first of them.
    pub(super) audience: Option<String>,
    /// The application or managed identity that it was given to.
    pub(super) application: Option<String>,
    /// That one's object in its tenant: what roles are assigned to.
    pub(super) object: Option<String>,
    /// The tenant.
    pub(super) tenant: Option<String>,
    /// When it begins to be valid, in seconds since 1970.
    pub(super) begins: Option<u64>,
    /// When it ends.
    pub(super) ends: Option<u64>,
}

impl Claims {
    /// The claims of a signed JWT; `None` when it is none.
    pub(super) fn of(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_, body, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if signature.is_empty() || parts.next().is_some() {
            return None;
        }
        let body = Zeroizing::new(URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).ok()?);
        let Value::Object(claims) = serde_json::from_slice(&body).ok()? else { return None };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(|text| shown(text, LONGEST));
        let first = claims.get("aud").and_then(|list| list.get(0)).and_then(Value::as_str);
        Some(Self {
            issuer: text("iss"),
            subject: text("sub"),
            audience: text("aud").or_else(|| first.map(|text| shown(text, LONGEST))),
            application: text("appid").or_else(|| text("azp")),
            object: text("oid"),
            tenant: text("tid"),
            begins: claims.get("nbf").and_then(Value::as_u64),
            ends: claims.get("exp").and_then(Value::as_u64),
        })
    }

    /// Whose token it is: ` (application A, object O, tenant T)`. Nothing where it does not say.
    pub(super) fn whose(&self) -> String {
        let named = [("application", &self.application), ("object", &self.object), ("tenant", &self.tenant)];
        let named = named.into_iter().filter_map(|(kind, id)| Some(format!("{kind} {}", id.as_deref()?)));
        let named: Vec<_> = named.collect();
        if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
    }
}

#[cfg(test)]
pub(super) fn token(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_says_whose_it_is_and_how_long() {
        let claims = Claims::of(&token(&json!({
            "iss": "https://oidc.example/", "sub": "system:serviceaccount:ci:builder",
            "aud": ["api://AzureADTokenExchange", "other"], "nbf": 1, "exp": 2,
        })));
        let expected = Claims {
            issuer: Some("https://oidc.example/".to_owned()),
            subject: Some("system:serviceaccount:ci:builder".to_owned()),
            audience: Some("api://AzureADTokenExchange".to_owned()),
            begins: Some(1),
            ends: Some(2),
            ..Claims::default()
        };
        assert_eq!(claims, Some(expected.clone()));
        assert_eq!(expected.whose(), "");
        let claims = Claims::of(&token(&json!({"aud": "a", "appid": "A", "oid": "O\n", "tid": "T"}))).unwrap();
        assert_eq!(claims.whose(), " (application A, object O , tenant T)");
        assert_eq!(claims.audience.as_deref(), Some("a"));
    }

    #[test]
    fn what_is_no_signed_token_has_no_claims() {
        for text in ["", "a", "a.b", "e30.e30", "e30.e30.", "e30.e30.c.d", "e30.!.c", "e30.W10.c", "{}.{}.{}"] {
            assert_eq!(Claims::of(text), None, "{text}");
        }
        assert_eq!(Claims::of("e30.e30.c"), Some(Claims::default()));
        assert_eq!(Claims::of(&token(&json!({"exp": -1, "sub": 7, "aud": {}}))), Some(Claims::default()));
    }
}
