//! What the service account's token says of itself, for a person who wonders about it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::identity::Identity;
use super::in_cluster::{InClusterError, token};
use crate::secrets::Secrets;

/// How many audiences are kept.
const AUDIENCES: usize = 10;

/// What a token says of itself. Nothing of it is checked: that is the API server's to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenClaims {
    /// Whose it is.
    pub identity: Option<Identity>,
    /// When it expires, in seconds since 1970; tokens of before Kubernetes 1.22 never do.
    pub expires: Option<u64>,
    /// For whom it is.
    pub audiences: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Claims {
    #[serde(default)]
    exp: Option<u64>,
    #[serde(default)]
    aud: Option<Audience>,
}

/// RFC 7519, section 4.1.3: a text or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl TokenClaims {
    /// Reads the token that is mounted in a directory. From now on no message repeats it.
    ///
    /// # Errors
    ///
    /// [`InClusterError`], where there is none or it is no token.
    pub fn read(dir: &Path, secrets: &Secrets) -> Result<Self, InClusterError> {
        let token = token(&dir.join("token"))?;
        secrets.keep(token.expose());
        let payload = token.expose().split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        let Claims { exp, aud } = claims.unwrap_or_default();
        let mut audiences = match aud {
            Some(Audience::One(audience)) => vec![audience],
            Some(Audience::Many(audiences)) => audiences,
            None => Vec::new(),
        };
        audiences.truncate(AUDIENCES);
        Ok(Self { identity: Identity::of_token(&token), expires: exp, audiences })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str) -> TokenClaims {
        let dir = tempfile::tempdir().unwrap();
        let token = format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        std::fs::write(dir.path().join("token"), &token).unwrap();
        let secrets = Secrets::default();
        let claims = TokenClaims::read(dir.path(), &secrets).unwrap();
        assert!(secrets.hold(&token), "it is kept out of messages");
        claims
    }

    #[test]
    fn a_token_says_whose_it_is_until_when_and_for_whom() {
        for (payload, account, expires, audiences) in [
            (
                r#"{"sub": "system:serviceaccount:ci:builder", "exp": 1795262400, "aud": ["a", "b"]}"#,
                Some("service account ci/builder"),
                Some(1_795_262_400),
                &["a", "b"][..],
            ),
            (r#"{"aud": "a"}"#, None, None, &["a"]),
            (r#"{"exp": null, "aud": null}"#, None, None, &[]),
            // What is odd is as if it were not there.
            (r#"{"exp": "soon", "aud": 1}"#, None, None, &[]),
            ("garbage", None, None, &[]),
        ] {
            let claims = read(payload);
            let told = claims.identity.map(|identity| identity.account.to_string());
            assert_eq!((told.as_deref(), claims.expires), (account, expires), "{payload}");
            assert_eq!(claims.audiences, audiences, "{payload}");
        }
    }
}
