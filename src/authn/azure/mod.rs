//! Azure's identities: an application with a secret, workload identity, managed identity. Entra ID's token for one of them
//! is exchanged at the registry for the registry's own.
//!
//! The requests to Entra ID and to metadata servers are made by Azure's library
//! (docs/adr/0041-azures-library-on-our-transport.md), the exchange by us: the library has none.

mod advice;
mod claims;
mod error;
mod exchange;
mod line;
mod place;
mod token;

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;

use self::claims::Claims;
pub(super) use self::error::AzureError;
use self::error::{Failed, LeftOut, Step};
use self::place::{Audience, Authority, Registry};
use self::token::Identity;
use super::cloud::{Context, is_metadata};
use crate::credential::{self, Credential};
use crate::host::Env;
use crate::image::shown;
use crate::secret::Secret;

/// Where Azure's machines have their metadata server.
const METADATA: &str = "169.254.169.254";
/// The user whose password a refresh token is.
/// <https://learn.microsoft.com/en-us/azure/container-registry/container-registry-authentication>
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
/// The longest value of a variable that is shown, in characters.
const LONGEST: usize = 100;

/// An identity that a pod may have. Shown, it is the source of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// An application, or a managed identity that is used like one.
    Application(Application),
    /// An identity that a server nearby vouches for.
    Managed(Managed),
    /// What the environment speaks of, but cannot be asked for.
    LeftOut { what: &'static str, why: LeftOut },
}

/// An application in Entra ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Application {
    tenant: String,
    client: String,
    /// Who gives tokens; where it is not said, the authority of the registry's cloud.
    authority: Option<Authority>,
    proof: Proof,
}

/// How an application proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Proof {
    Secret(Secret),
    /// The file in which the kubelet keeps a token for the service account: workload identity.
    TokenFile(PathBuf),
}

/// A managed identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Managed {
    /// Which one, where several are assigned.
    client: Option<String>,
    server: Server,
}

/// Who vouches for a managed identity.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Server {
    /// The metadata server of Azure's machines.
    Metadata,
    /// The server that App Service and Container Apps put beside a container.
    Endpoint(Url),
}

/// The identities to ask for, in order: those of the environment before the metadata server.
pub(super) fn sources(env: &Env) -> Vec<Source> {
    let is_set = |name| env.text(name).is_some();
    let left_out = |what, why| Source::LeftOut { what, why };
    let mut sources = Vec::new();
    if let Some(secret) = env.text("AZURE_CLIENT_SECRET") {
        let proof = Proof::Secret(Secret::new(secret.to_owned()));
        let what = "Azure client secret of AZURE_CLIENT_SECRET";
        let found = application(env, "AZURE_CLIENT_SECRET", "", proof);
        sources.push(found.map_or_else(|why| left_out(what, why), Source::Application));
    }
    if is_set("AZURE_CLIENT_CERTIFICATE_PATH") {
        sources.push(left_out("Azure client certificate of AZURE_CLIENT_CERTIFICATE_PATH", LeftOut::Certificate));
    }
    if is_set("AZURE_USERNAME") || is_set("AZURE_PASSWORD") {
        sources.push(left_out("Azure user of AZURE_USERNAME and AZURE_PASSWORD", LeftOut::Password));
    }
    if let Some(path) = env.text("AZURE_FEDERATED_TOKEN_FILE") {
        let proof = Proof::TokenFile(PathBuf::from(path));
        let what = "Azure workload identity of AZURE_FEDERATED_TOKEN_FILE";
        let hint = "; the service account's annotation azure.workload.identity/client-id gives it to the pod";
        let found = application(env, "AZURE_FEDERATED_TOKEN_FILE", hint, proof);
        sources.push(found.map_or_else(|why| left_out(what, why), Source::Application));
    }
    let client = env.text("AZURE_CLIENT_ID").map(str::to_owned);
    let managed = |server| Source::Managed(Managed { client, server });
    sources.push(server(env).map_or_else(|why| left_out("Azure managed identity", why), managed));
    sources
}

/// The application of the environment, which has the variable `set`.
fn application(env: &Env, set: &'static str, hint: &'static str, proof: Proof) -> Result<Application, LeftOut> {
    let (tenant, client) = match (env.text("AZURE_TENANT_ID"), env.text("AZURE_CLIENT_ID")) {
        (Some(tenant), Some(client)) => (tenant, client),
        (Some(_), None) => return Err(LeftOut::Incomplete { set, missing: "AZURE_CLIENT_ID".to_owned(), hint }),
        (None, Some(_)) => return Err(LeftOut::Incomplete { set, missing: "AZURE_TENANT_ID".to_owned(), hint: "" }),
        (None, None) => {
            let missing = "AZURE_TENANT_ID and AZURE_CLIENT_ID".to_owned();
            return Err(LeftOut::Incomplete { set, missing, hint });
        }
    };
    // It becomes a part of a path.
    if !is_tenant(tenant) {
        return Err(LeftOut::Tenant { tenant: shown(tenant, LONGEST) });
    }
    let authority = match env.text("AZURE_AUTHORITY_HOST") {
        Some(value) => Some(Authority::named(value).ok_or(LeftOut::Authority { value: shown(value, LONGEST) })?),
        None => None,
    };
    Ok(Application { tenant: tenant.to_owned(), client: client.to_owned(), authority, proof })
}

fn is_tenant(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) && !text.starts_with('.')
}

/// Who vouches for a managed identity, by the variables by which Azure's library decides it.
fn server(env: &Env) -> Result<Server, LeftOut> {
    let is_set = |name: &str| env.get(name).is_some_and(|value| value.to_str().is_some());
    if is_set("IDENTITY_ENDPOINT") {
        if !is_set("IDENTITY_HEADER") {
            if is_set("IMDS_ENDPOINT") {
                return Err(LeftOut::Elsewhere { variables: "IDENTITY_ENDPOINT and IMDS_ENDPOINT", of: "Azure Arc" });
            }
            return Ok(Server::Metadata);
        }
        if is_set("IDENTITY_SERVER_THUMBPRINT") {
            let variables = "IDENTITY_ENDPOINT and IDENTITY_SERVER_THUMBPRINT";
            return Err(LeftOut::Elsewhere { variables, of: "Service Fabric" });
        }
        let value = env.text("IDENTITY_ENDPOINT").unwrap_or("");
        let fault = |fault| LeftOut::Endpoint { variable: "IDENTITY_ENDPOINT", value: shown(value, LONGEST), fault };
        let url = Url::parse(value).map_err(|_| fault("no URL"))?;
        // A token is not fetched from afar in plain text.
        return match url.scheme() {
            "https" => Ok(Server::Endpoint(url)),
            "http" if is_metadata(&url) => Ok(Server::Endpoint(url)),
            "http" => Err(fault("neither https nor an address of this node")),
            _ => Err(fault("neither http nor https")),
        };
    }
    if is_set("MSI_ENDPOINT") {
        let of = if is_set("MSI_SECRET") { "Azure Machine Learning" } else { "Cloud Shell" };
        return Err(LeftOut::Elsewhere { variables: "MSI_ENDPOINT and its like", of });
    }
    Ok(Server::Metadata)
}

impl Source {
    /// Asks for the registry's refresh token, which is then tried in both ways that registries know.
    pub(super) async fn credentials(&self, context: &Context<'_>) -> Result<Vec<Credential>, AzureError> {
        let registry = Registry::of(&context.registry);
        let identity = match self {
            Self::Application(application) => Identity::of_application(application, context, &registry)?,
            Self::Managed(managed) => Identity::managed(managed, context)?,
            Self::LeftOut { why, .. } => return Err(why.clone().into()),
        };
        let (token, whose) = refresh_token(identity, context, &registry).await?;
        let source = match self {
            // The application and its tenant are in there already.
            Self::Application(_) | Self::LeftOut { .. } => self.to_string(),
            Self::Managed(_) => format!("{self}{whose}"),
        };
        let password = credential::Proof::Basic { username: NOBODY.to_owned(), password: token.clone() };
        Ok(vec![
            Credential { proof: credential::Proof::IdentityToken(token), source: source.clone() },
            Credential { proof: password, source: format!("{source}, as a password") },
        ])
    }
}

/// The registry's refresh token, and whose it is. A token for all registries is tried first, then one for the resource
/// manager: not every cloud knows the registries as an audience, and not every registry takes the resource manager's.
async fn refresh_token(
    mut identity: Identity,
    context: &Context<'_>,
    registry: &Registry,
) -> Result<(Secret, String), AzureError> {
    let first = match exchanged(&mut identity, Audience::REGISTRY, context, registry).await {
        Ok(token) => return Ok(token),
        Err(failed) if failed.is_of_the_audience() => failed,
        Err(failed) => return Err(failed.into()),
    };
    let manager = registry.cloud.manager();
    let second = exchanged(&mut identity, manager, context, registry).await;
    second.map_err(|second| AzureError::neither(first, manager, second))
}

/// A token for `audience`, exchanged.
async fn exchanged(
    identity: &mut Identity,
    audience: Audience,
    context: &Context<'_>,
    registry: &Registry,
) -> Result<(Secret, String), Failed> {
    let token = identity.token(audience).await?;
    // The registry may repeat it, and the identity is nothing that it has to know.
    context.http.keep(token.expose());
    let tenant = context.env.text("AZURE_TENANT_ID").filter(|tenant| is_tenant(tenant));
    match exchange::refresh_token(context, registry, tenant, &token).await {
        Ok(refresh) => {
            let whose = Claims::of(token.expose()).map(|claims| claims.whose()).unwrap_or_default();
            Ok((refresh, whose))
        }
        Err(failure) => {
            let advice = advice::for_exchange(&failure, audience, identity.now());
            Err(Failed { step: Step::Exchange, failure, advice })
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(Application { tenant, client, proof, .. }) => {
                let what = match proof {
                    Proof::Secret(_) => "client secret of application",
                    Proof::TokenFile(_) => "workload identity",
                };
                write!(f, "Azure {what} {} in tenant {}", shown(client, LONGEST), shown(tenant, LONGEST))
            }
            Self::Managed(Managed { client, server }) => {
                f.write_str("Azure managed identity")?;
                if let Some(client) = client {
                    write!(f, " {}", shown(client, LONGEST))?;
                }
                match server {
                    Server::Metadata => write!(f, " from the metadata server {METADATA}"),
                    Server::Endpoint(url) => {
                        write!(f, " from IDENTITY_ENDPOINT {}", shown(&url.origin().ascii_serialization(), LONGEST))
                    }
                }
            }
            Self::LeftOut { what, .. } => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: [(&str, &str); 2] = [("AZURE_TENANT_ID", "t-1"), ("AZURE_CLIENT_ID", "c-1")];

    /// The sources as notes show them, with the reasons of those that are left out.
    fn told(variables: &[(&str, &str)]) -> Vec<String> {
        let sources = sources(&variables.iter().copied().collect());
        let reason = |source: &Source| match source {
            Source::LeftOut { why, .. } => format!("{source}: {why}"),
            Source::Application(_) | Source::Managed(_) => source.to_string(),
        };
        sources.iter().map(reason).collect()
    }

    #[test]
    fn sources_are_those_of_the_environment_and_then_the_metadata_server() {
        let node = "Azure managed identity from the metadata server 169.254.169.254";
        let assigned = "Azure managed identity c-1 from the metadata server 169.254.169.254";
        let by_secret = "Azure client secret of application c-1 in tenant t-1";
        let by_token = "Azure workload identity c-1 in tenant t-1";
        let secret = ("AZURE_CLIENT_SECRET", "s");
        let file = ("AZURE_FEDERATED_TOKEN_FILE", "/token");
        for (variables, expected) in [
            (&[][..], &[node][..]),
            (&[("AZURE_CLIENT_ID", "c-1")], &[assigned]),
            (&[("AZURE_CLIENT_SECRET", ""), ("AZURE_FEDERATED_TOKEN_FILE", "")], &[node]),
            (&[IDENTITY[0], IDENTITY[1], secret], &[by_secret, assigned]),
            (&[IDENTITY[0], IDENTITY[1], file], &[by_token, assigned]),
            (&[file, secret, IDENTITY[0], IDENTITY[1]], &[by_secret, by_token, assigned]),
            (
                &[IDENTITY[0], IDENTITY[1], file, ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")],
                &[by_token, assigned],
            ),
            (
                &[("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token"), ("IDENTITY_HEADER", "h")],
                &["Azure managed identity from IDENTITY_ENDPOINT http://localhost:42356"],
            ),
            // Without the header it is no endpoint that is known.
            (&[("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token")], &[node]),
        ] {
            assert_eq!(told(variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn an_identity_that_cannot_be_asked_for_says_why() {
        let secret = ("AZURE_CLIENT_SECRET", "s");
        let file = ("AZURE_FEDERATED_TOKEN_FILE", "/token");
        let endpoint = ("IDENTITY_ENDPOINT", "http://localhost/");
        let header = ("IDENTITY_HEADER", "h");
        for (variables, sentence) in [
            (&[secret][..], "AZURE_CLIENT_SECRET is set, but not AZURE_TENANT_ID and AZURE_CLIENT_ID"),
            (&[secret, IDENTITY[0]], "AZURE_CLIENT_SECRET is set, but not AZURE_CLIENT_ID"),
            (
                &[file, IDENTITY[0]],
                "but not AZURE_CLIENT_ID; the service account's annotation azure.workload.identity/client-id gives",
            ),
            (&[file, IDENTITY[1]], "AZURE_FEDERATED_TOKEN_FILE is set, but not AZURE_TENANT_ID"),
            (&[file, IDENTITY[1], ("AZURE_TENANT_ID", "../x")], "AZURE_TENANT_ID is \"../x\", and must be"),
            (&[file, IDENTITY[1], ("AZURE_TENANT_ID", "..")], "AZURE_TENANT_ID is \"..\", and must be"),
            (
                &[file, IDENTITY[0], IDENTITY[1], ("AZURE_AUTHORITY_HOST", "https://evil.example")],
                "AZURE_AUTHORITY_HOST is \"https://evil.example\", which is none of Microsoft's authorities",
            ),
            (&[("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem")], "a login with a certificate is not known here"),
            (&[("AZURE_USERNAME", "ann")], "a login as a person is not known here"),
            (&[endpoint, ("IMDS_ENDPOINT", "http://localhost/")], "name the managed identity of Azure Arc"),
            (&[endpoint, header, ("IDENTITY_SERVER_THUMBPRINT", "x")], "of Service Fabric"),
            (&[("MSI_ENDPOINT", "http://localhost/")], "of Cloud Shell"),
            (&[("MSI_ENDPOINT", "http://localhost/"), ("MSI_SECRET", "s")], "of Azure Machine Learning"),
            (&[("IDENTITY_ENDPOINT", ""), header], "IDENTITY_ENDPOINT is \"\", which is no URL"),
            (
                &[("IDENTITY_ENDPOINT", "http://evil.example/"), header],
                "which is neither https nor an address of this node",
            ),
            (&[("IDENTITY_ENDPOINT", "file:///etc"), header], "which is neither http nor https"),
        ] {
            let told = told(variables);
            assert!(told.iter().any(|source| source.contains(sentence)), "{variables:?}: {told:#?}");
        }
    }

    #[test]
    fn no_source_shows_its_secret() {
        let variables = [IDENTITY[0], IDENTITY[1], ("AZURE_CLIENT_SECRET", "hunter2hunter2")];
        let shown = format!("{:?} {:?}", told(&variables), sources(&variables.into_iter().collect()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
