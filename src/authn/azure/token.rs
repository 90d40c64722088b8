//! An access token for an identity, by Azure's library.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientMethodOptions, ClientOptions, RetryOptions, Transport};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};

use super::advice::{self, Way};
use super::claims::Claims;
use super::error::{AzureError, Failed, Failure, Step, TokenFileError};
use super::line::Line;
use super::place::{Audience, Authority, Registry};
use super::{Application, METADATA, Managed, Proof, Server};
use crate::authn::cloud::{Context, Hung, host_and_port, within};
use crate::authn::file;
use crate::secret::Secret;

/// Asks for one identity's tokens.
pub(super) struct Identity {
    credential: Arc<dyn TokenCredential>,
    line: Arc<Line>,
    kind: Kind,
    whom: String,
    /// How long it may take in all.
    limit: Duration,
    /// What of that is left. The metadata server is one source, however often it is asked.
    left: Duration,
    /// The seconds since 1970.
    now: u64,
}

/// Whose identity it is, for advice.
enum Kind {
    Secret,
    Token(Claims),
    Metadata { client: Option<String>, has_token: bool },
    Endpoint(Option<String>),
}

/// The token of Kubernetes, read once.
#[derive(Debug)]
struct Assertion(Secret);

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.expose().to_owned())
    }
}

impl Identity {
    /// An application's, which proves itself to Entra ID.
    pub(super) fn of_application(
        application: &Application,
        context: &Context<'_>,
        registry: &Registry,
    ) -> Result<Self, AzureError> {
        let Application { tenant, client, authority, proof } = application;
        let authority = authority.unwrap_or_else(|| registry.cloud.authority());
        let line = Arc::new(Line::new(context.http.clone()));
        let client_options = options(&line, Some(authority));
        let (credential, kind): (Arc<dyn TokenCredential>, Kind) = match proof {
            Proof::Secret(secret) => {
                let options = ClientSecretCredentialOptions { client_options };
                let secret = secret.expose().to_owned().into();
                let credential = ClientSecretCredential::new(tenant, client.clone(), secret, Some(options));
                (credential.map_err(AzureError::Library)?, Kind::Secret)
            }
            // The library's own workload identity reads the file itself: a FIFO it would wait for, and a newline at the
            // end is sent.
            Proof::TokenFile(path) => {
                let (token, claims) = read(path)?;
                let options = ClientAssertionCredentialOptions { client_options };
                let (tenant, client) = (tenant.clone(), client.clone());
                let credential = ClientAssertionCredential::new(tenant, client, Assertion(token), Some(options));
                (credential.map_err(AzureError::Library)?, Kind::Token(claims))
            }
        };
        let whom = format!("{}:443", authority.host());
        Ok(Self::new(credential, line, kind, whom, context.limits.service, context))
    }

    /// A managed identity, for which a server nearby has tokens.
    pub(super) fn managed(managed: &Managed, context: &Context<'_>) -> Result<Self, AzureError> {
        let Managed { client, server } = managed;
        let line = Arc::new(Line::new(context.http.clone()));
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: client.clone().map(UserAssignedId::ClientId),
            client_options: options(&line, None),
        };
        // It reads IDENTITY_ENDPOINT and IDENTITY_HEADER from the environment of the process, which is ours.
        let credential = ManagedIdentityCredential::new(Some(options)).map_err(AzureError::Library)?;
        let (kind, whom, limit) = match server {
            Server::Metadata => {
                let has_token = context.env.text("AZURE_FEDERATED_TOKEN_FILE").is_some();
                let kind = Kind::Metadata { client: client.clone(), has_token };
                (kind, format!("{METADATA}:80"), context.limits.metadata)
            }
            Server::Endpoint(url) => (Kind::Endpoint(client.clone()), host_and_port(url), context.limits.service),
        };
        Ok(Self::new(credential, line, kind, whom, limit, context))
    }

    fn new(
        credential: Arc<dyn TokenCredential>,
        line: Arc<Line>,
        kind: Kind,
        whom: String,
        limit: Duration,
        context: &Context<'_>,
    ) -> Self {
        let now = context.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { credential, line, kind, whom, limit, left: limit, now }
    }

    /// What time it is, in seconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// A token for `audience`.
    pub(super) async fn token(&mut self, audience: Audience) -> Result<Secret, Failed> {
        self.ask(audience).await.map_err(|failure| {
            let advice = match &self.kind {
                Kind::Secret => advice::for_entra(&failure, Way::Secret, self.now),
                Kind::Token(claims) => advice::for_entra(&failure, Way::Token(claims), self.now),
                Kind::Metadata { client, has_token } => advice::for_metadata(&failure, client.as_deref(), *has_token),
                Kind::Endpoint(client) => advice::for_endpoint(&failure, client.as_deref()),
            };
            Failed { step: Step::Identity, failure, advice }
        })
    }

    async fn ask(&mut self, audience: Audience) -> Result<Secret, Failure> {
        let since = Instant::now();
        let scope = audience.scope();
        let asked = within(self.left, &self.whom, self.credential.get_token(&[&scope], None)).await;
        if matches!(self.kind, Kind::Metadata { .. }) {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        // What the line knows is told before what the library makes of it.
        let failure = self.line.failure();
        match asked {
            Ok(Ok(token)) if !token.token.secret().is_empty() => Ok(Secret::new(token.token.secret().to_owned())),
            Ok(_) => Err(failure.unwrap_or_else(|| Failure::NoToken { whom: self.whom.clone() })),
            Err(hung) => Err(failure.unwrap_or(Failure::Hung(Hung { limit: self.limit, ..hung }))),
        }
    }
}

/// Our transport, and no second request after the first.
fn options(line: &Arc<Line>, authority: Option<Authority>) -> ClientOptions {
    let line = Arc::clone(line);
    let cloud = authority.map(|authority| {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = format!("https://{}", authority.host());
        Arc::new(CloudConfiguration::Custom(cloud))
    });
    ClientOptions {
        transport: Some(Transport::new(line)),
        retry: RetryOptions::none(),
        cloud,
        ..ClientOptions::default()
    }
}

/// The token of Kubernetes in a file, and what it says of itself.
fn read(path: &Path) -> Result<(Secret, Claims), TokenFileError> {
    let text = file::read(path).map_err(|source| TokenFileError::Unread { path: path.to_owned(), source })?;
    let token = text.expose().trim();
    if token.is_empty() {
        return Err(TokenFileError::Empty(path.to_owned()));
    }
    // Whatever file the environment names, nothing but a token is sent.
    let claims = Claims::of(token).ok_or_else(|| TokenFileError::NotAToken(path.to_owned()))?;
    Ok((Secret::new(token.to_owned()), claims))
}
