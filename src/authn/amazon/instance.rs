//! The role of the instance: what its metadata server gives to whoever can ask it (IMDSv2).

use std::time::SystemTime;

use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_async::rt::sleep::TokioSleep;

use super::error::{AmazonError, Service};
use super::sdk::{Sdk, Transport};
use crate::authn::cloud::{Hung, within};

/// Where roles are listed.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// How often the metadata server is asked that fails.
const ATTEMPTS: u32 = 2;
/// The longest name of a role.
const ROLE: usize = 128;

/// A metadata server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    /// Its URL.
    pub(super) endpoint: String,
}

impl Instance {
    /// Asks for the credentials of the instance's role; they and the role's name.
    pub(super) async fn keys(&self, sdk: &Sdk) -> Result<(Credentials, String), AmazonError> {
        let transport = sdk.transport_to_metadata();
        let asked = within(sdk.limits.metadata, &self.endpoint, self.ask(sdk, &transport)).await;
        asked.unwrap_or_else(|hung| {
            let whom = transport.told().host.unwrap_or(hung.whom);
            Err(AmazonError::Hung { hung: Hung { whom, ..hung }, advice: Service::Instance.if_silent() })
        })
    }

    async fn ask(&self, sdk: &Sdk, transport: &Transport) -> Result<(Credentials, String), AmazonError> {
        let config = ProviderConfig::empty()
            .with_http_client(transport.clone())
            .with_sleep_impl(TokioSleep::new())
            .with_time_source(sdk.clock());
        // The endpoint is said, so that the SDK looks into no file for it.
        let client = imds::Client::builder().configure(&config).max_attempts(ATTEMPTS).endpoint(&self.endpoint);
        let client = client
            .map_err(|_| AmazonError::Variable { variable: "AWS_EC2_METADATA_SERVICE_ENDPOINT", why: "is no URL" })?;
        let client = client.build();
        let roles = client.get(ROLES).await.map_err(|_| failed(transport, sdk.now))?;
        let role = role(roles.as_ref()).ok_or_else(|| unusable(transport, ": it names no role"))?;
        let provider =
            ImdsCredentialsProvider::builder().configure(&config).imds_client(client).profile(role.clone()).build();
        let keys = provider.provide_credentials().await.map_err(|_| failed(transport, sdk.now))?;
        Ok((keys, role))
    }
}

/// The first role of a list. Whoever answers in the server's place may say anything, and this becomes a part of a path.
fn role(list: &str) -> Option<String> {
    let role = list.lines().next()?.trim();
    let is_role = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte);
    (!role.is_empty() && role.len() <= ROLE && role.bytes().all(is_role)).then(|| role.to_owned())
}

/// What the last answer says of a failure. The SDK's own errors say no more, and hold what was answered.
fn failed(transport: &Transport, now: SystemTime) -> AmazonError {
    AmazonError::told(Service::Instance, None, None, transport.told(), now)
        .unwrap_or_else(|service| AmazonError::Unaskable { service, why: "its address cannot be used".to_owned() })
}

fn unusable(transport: &Transport, why: &str) -> AmazonError {
    let host = transport.told().host.unwrap_or_default();
    AmazonError::Unusable { host, service: Service::Instance, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_name() {
        for (list, expected) in [
            ("node", Some("node")),
            ("node-role_1+=,.@\n", Some("node-role_1+=,.@")),
            ("first\nsecond", Some("first")),
            ("", None),
            ("\n", None),
            ("<html>", None),
            ("a b", None),
            ("../../user-data", None),
            ("r\u{f6}le", None),
        ] {
            assert_eq!(role(list).as_deref(), expected, "{list:?}");
        }
        assert_eq!(role(&"r".repeat(ROLE + 1)), None);
    }
}
