//! What a registry of Amazon's is shown: a password that its API gives for credentials.

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::{AmazonError, Service};
use super::sdk::{Sdk, Transport, sendable};
use crate::authn::cloud::{Hung, within};
use crate::cloud::AmazonRegistry;
use crate::credential::Proof;
use crate::secret::Secret;

/// Asks the registry's API for a password. No registry is named: the password opens all that the identity may read, and
/// the parameter that would name one is deprecated.
pub(super) async fn login(sdk: &Sdk, registry: &AmazonRegistry, keys: Credentials) -> Result<Proof, AmazonError> {
    let keys = sendable(keys)?;
    sdk.http.keep(keys.secret_access_key());
    if let Some(token) = keys.session_token() {
        sdk.http.keep(token);
    }
    let transport = sdk.transport("registry token");
    let config = sdk.registry_api(&transport, keys)?;
    let (service, token) = match registry {
        AmazonRegistry::Private { .. } => {
            let request = aws_sdk_ecr::Client::new(&config).get_authorization_token().send();
            let answer = answered(sdk, &transport, Service::Ecr, request).await?;
            let mut tokens = answer.authorization_data.unwrap_or_default().into_iter();
            (Service::Ecr, tokens.find_map(|data| data.authorization_token))
        }
        AmazonRegistry::Public => {
            let request = aws_sdk_ecrpublic::Client::new(&config).get_authorization_token().send();
            let answer = answered(sdk, &transport, Service::EcrPublic, request).await?;
            (Service::EcrPublic, answer.authorization_data.and_then(|data| data.authorization_token))
        }
    };
    let token = token.map(Secret::new);
    let proof = token.as_ref().and_then(|token| {
        sdk.http.keep(token.expose());
        basic(token)
    });
    if let Some(Proof::Basic { password, .. }) = &proof {
        sdk.http.keep(password.expose());
    }
    proof.ok_or_else(|| {
        let host = transport.told().host.unwrap_or_default();
        AmazonError::Unusable { host, service, why: ": there is no token in it".to_owned() }
    })
}

async fn answered<T, E>(
    sdk: &Sdk,
    transport: &Transport,
    service: Service,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, AmazonError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match within(sdk.limits.service, "ECR", request).await {
        Ok(answer) => answer.map_err(|error| AmazonError::of(service, &error, transport.told(), sdk.now)),
        Err(hung) => {
            let whom = transport.told().host.unwrap_or(hung.whom);
            Err(AmazonError::Hung { hung: Hung { whom, ..hung }, advice: service.if_silent() })
        }
    }
}

/// `AWS` and the password, out of their base64.
fn basic(token: &Secret) -> Option<Proof> {
    let bytes = Zeroizing::new(STANDARD.decode(token.expose()).ok()?);
    let (username, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    let is_whole = !username.is_empty() && !password.is_empty();
    is_whole.then(|| Proof::Basic { username: username.to_owned(), password: Secret::new(password.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_user_and_a_password() {
        let proof = |text: &str| basic(&Secret::new(STANDARD.encode(text)));
        let expected = Proof::Basic { username: "AWS".to_owned(), password: Secret::new("a:b".to_owned()) };
        assert_eq!(proof("AWS:a:b"), Some(expected));
        for odd in ["AWS", "AWS:", ":x", ""] {
            assert_eq!(proof(odd), None, "{odd}");
        }
        assert_eq!(basic(&Secret::new("not base64!".to_owned())), None);
    }
}
