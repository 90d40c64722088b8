//! IRSA: the token of a service account, which STS changes for a role's credentials.

use std::path::Path;
use std::time::SystemTime;

use aws_credential_types::Credentials;

use super::error::{AmazonError, Service};
use super::sdk::Sdk;
use crate::authn::cloud::{Hung, within};
use crate::authn::file::{self, FileError};
use crate::secret::Secret;

/// A role that a service account may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebIdentity {
    /// `AWS_ROLE_ARN`.
    pub(super) role: String,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub(super) token_file: String,
    /// `AWS_ROLE_SESSION_NAME`: what CloudTrail calls the session.
    pub(super) session: Option<String>,
}

impl WebIdentity {
    /// Asks STS for the role's credentials. STS's own client is asked and not the SDK's provider, which reads whatever
    /// stands at the token's path to its end, and sends a trailing newline with it.
    pub(super) async fn keys(&self, sdk: &Sdk) -> Result<Credentials, AmazonError> {
        let token = token(&self.token_file)?;
        sdk.http.keep(token.expose());
        let service = Service::Sts { role: Some(self.role.clone()) };
        let transport = sdk.transport("role credentials");
        let request = aws_sdk_sts::Client::new(&sdk.sts(&transport)?)
            .assume_role_with_web_identity()
            .role_arn(&self.role)
            .role_session_name(self.session.clone().unwrap_or_else(|| session_name(sdk.now)))
            .web_identity_token(token.expose())
            .send();
        let answer = match within(sdk.limits.service, "STS", request).await {
            Ok(answer) => {
                answer.map_err(|error| AmazonError::of(service.clone(), &error, transport.told(), sdk.now))?
            }
            Err(hung) => {
                let whom = transport.told().host.unwrap_or(hung.whom);
                return Err(AmazonError::Hung { hung: Hung { whom, ..hung }, advice: "" });
            }
        };
        let Some(keys) = answer.credentials else {
            let host = transport.told().host.unwrap_or_default();
            return Err(AmazonError::Unusable { host, service, why: ": there are no credentials in it".to_owned() });
        };
        let aws_sdk_sts::types::Credentials { access_key_id, secret_access_key, session_token, .. } = keys;
        Ok(Credentials::new(access_key_id, secret_access_key, Some(session_token), None, "IRSA"))
    }
}

/// A session's name, if nobody gave it one.
fn session_name(now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("entrypoint-{seconds}")
}

/// A token that somebody mounted. No token ends with white space, and many a file does.
pub(super) fn token(path: &str) -> Result<Secret, AmazonError> {
    let content = file::read(Path::new(path)).map_err(|source| AmazonError::TokenFile {
        path: path.to_owned(),
        advice: match &source {
            FileError::Unreadable(_) => {
                " (the step's user must be allowed to read it: set the pod's securityContext.fsGroup)"
            }
            FileError::Absent | FileError::NoDirectory => " (it is mounted when the pod is made)",
            FileError::NotAFile | FileError::TooLarge | FileError::NotUtf8 => "",
        },
        source,
    })?;
    let token = content.expose().trim();
    if token.is_empty() {
        return Err(AmazonError::Token { origin: format!("{path:?}"), why: "is empty" });
    }
    Ok(Secret::new(token.to_owned()))
}
