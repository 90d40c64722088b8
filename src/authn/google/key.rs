//! A service account's key, and the assertion that it signs.
//!
//! <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use super::SCOPE;
use super::document::ServiceAccount;
use crate::secret::Secret;

/// How long an assertion counts: the most that is allowed.
const LIFETIME: Duration = Duration::from_secs(3600);
/// How much earlier an assertion says that it was made: clocks differ by seconds, and one from the future is refused.
const EARLIER: Duration = Duration::from_secs(10);

/// A private key.
pub(super) struct SigningKey(RsaKeyPair);

/// Why a key cannot be used. Its text is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::authn) enum KeyError {
    /// It is not there, cut off, or its line ends are.
    #[error("is not a private key in PEM form: the file is cut off, or was changed on its way here")]
    NotPem,
    /// It is a key of another kind.
    #[error("is not an RSA key of 2048 to 4096 bits")]
    NotRsa,
    /// Its parts do not fit.
    #[error("cannot sign")]
    Unsigned,
}

impl SigningKey {
    /// The key of a PEM text, PKCS#8 as Google gives it out or PKCS#1 as older tools convert it.
    pub(super) fn from_pem(pem: &Secret) -> Result<Self, KeyError> {
        let key = match PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| KeyError::NotPem)? {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Sec1(_) | _ => return Err(KeyError::NotRsa),
        };
        key.map(Self).map_err(|_| KeyError::NotRsa)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).map_err(|_| KeyError::Unsigned)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// The assertion by which the account asks for a token.
pub(super) fn assertion(account: &ServiceAccount, now: SystemTime) -> Result<Secret, KeyError> {
    let message = message(account, now);
    let signature = account.key.sign(message.as_bytes())?;
    Ok(Secret::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// What of it is signed: header and claims.
fn message(account: &ServiceAccount, now: SystemTime) -> String {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(id) = &account.key_id {
        header["kid"] = json!(id);
    }
    let claims = json!({
        "iss": account.email,
        "scope": SCOPE,
        "aud": account.token_uri.url().as_str(),
        "iat": now.saturating_sub(EARLIER).as_secs(),
        "exp": (now.saturating_sub(EARLIER) + LIFETIME).as_secs(),
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(&header), part(&claims))
}

#[cfg(test)]
pub(super) mod tests {
    use base64::engine::general_purpose::STANDARD;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::super::endpoint::TokenUri;
    use super::*;

    /// A key that was made for the tests and opens nothing.
    pub(crate) const KEY: &str = include_str!("../../../tests/clouds/google/key.pem");

    fn der() -> Vec<u8> {
        let body: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(body).unwrap()
    }

    fn pem(label: &str, der: &[u8]) -> Secret {
        Secret::new(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)))
    }

    fn account(key: &Secret, key_id: Option<&str>) -> ServiceAccount {
        ServiceAccount {
            email: "ci@p.iam.gserviceaccount.com".into(),
            key_id: key_id.map(str::to_owned),
            key: SigningKey::from_pem(key).unwrap(),
            token_uri: TokenUri::parse(None).unwrap(),
        }
    }

    #[test]
    fn an_assertion_says_who_asks_whom_for_what_and_is_signed() {
        // What is inside of the PKCS#8 envelope of a key of 2048 bits is the same key in PKCS#1.
        let pkcs1 = pem("RSA PRIVATE KEY", &der()[26..]);
        for (key, key_id) in [(Secret::new(KEY.into()), Some("k1")), (pkcs1, None)] {
            let account = account(&key, key_id);
            let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            let assertion = assertion(&account, now).unwrap();
            let (message, signature) = assertion.expose().rsplit_once('.').unwrap();
            let (header, claims) = message.split_once('.').unwrap();
            let json = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
            let mut expected = json!({"alg": "RS256", "typ": "JWT"});
            if let Some(id) = key_id {
                expected["kid"] = json!(id);
            }
            assert_eq!(json(header), expected);
            let expected = json!({
                "iss": "ci@p.iam.gserviceaccount.com",
                "scope": "https://www.googleapis.com/auth/cloud-platform",
                "aud": "https://oauth2.googleapis.com/token",
                "iat": 1_799_999_990,
                "exp": 1_800_003_590,
            });
            assert_eq!(json(claims), expected);
            let public = account.key.0.public();
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref());
            public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_says_why_and_is_not_shown() {
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (key, expected) in [
            (Secret::new(String::new()), KeyError::NotPem),
            (Secret::new("hunter2".into()), KeyError::NotPem),
            (Secret::new(KEY[..KEY.len() / 2].to_owned()), KeyError::NotPem),
            (Secret::new(KEY.replace('\n', "\\n")), KeyError::NotPem),
            (Secret::new(elliptic), KeyError::NotRsa),
            (pem("PRIVATE KEY", &der()[..600]), KeyError::NotRsa),
        ] {
            assert_eq!(SigningKey::from_pem(&key).err(), Some(expected));
        }
        let shown = format!("{:?}", SigningKey::from_pem(&Secret::new(KEY.into())));
        assert_eq!(shown, "Ok(SigningKey(redacted))");
    }
}
