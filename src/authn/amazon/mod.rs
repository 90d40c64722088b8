//! Amazon's identities: what a pod may have of AWS, each changed for a password of the registry.
//!
//! Injected ones stand first, the metadata server last (docs/adr/0040-the-clouds-libraries-speak-through-our-client.md).

mod container;
mod endpoint;
mod error;
mod instance;
mod login;
mod profile;
mod sdk;
mod web_identity;

use std::fmt;
use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;

use self::container::{Container, Token};
pub(super) use self::error::AmazonError;
use self::instance::Instance;
use self::profile::{Profile, ProfileFile};
use self::sdk::Sdk;
use self::web_identity::WebIdentity;
use super::cloud::Context;
use crate::cloud::AmazonRegistry;
use crate::credential::Credential;
use crate::host::Env;
use crate::secret::Secret;

/// Where instances have their metadata server, over IPv4 and IPv6.
const METADATA: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];
/// Where ECS has its agent.
const ECS: &str = "http://169.254.170.2";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const CONFIG_FILE: &str = "AWS_CONFIG_FILE";
const CREDENTIALS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// An identity that a pod may have, for one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    identity: Identity,
    registry: AmazonRegistry,
}

/// What a pod may be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// Keys in the environment.
    Keys(Keys),
    /// Half of what an identity needs is there: nobody can be asked, but somebody meant something by it.
    Half {
        /// The variable that is missing.
        lacks: &'static str,
        /// Why it is needed.
        why: &'static str,
    },
    /// IRSA.
    WebIdentity(WebIdentity),
    /// EKS Pod Identity, ECS.
    Container(Container),
    /// A profile in a file.
    Profile(Profile),
    /// The instance's metadata server.
    Instance(Instance),
}

/// Keys.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keys {
    id: String,
    secret: Secret,
    session: Option<Secret>,
}

/// The identities to ask for, in order.
pub(super) fn sources(env: &Env, registry: &AmazonRegistry) -> Vec<Source> {
    let (keys, container, instance) = (keys(env), container(env), instance(env));
    let profile = profile(env).map(|profile| {
        let keys = if let Some(Identity::Keys(keys)) = &keys { Some(keys.clone()) } else { None };
        Identity::Profile(Profile { keys, container: container.clone(), instance: instance.clone(), ..profile })
    });
    let container = container.map(Identity::Container);
    let identities = [keys, web_identity(env), container, profile, instance.map(Identity::Instance)];
    identities.into_iter().flatten().map(|identity| Source { identity, registry: registry.clone() }).collect()
}

/// A variable's value without the white space that a Secret's value often ends with; `None` if nothing is left.
fn value<'e>(env: &'e Env, name: &str) -> Option<&'e str> {
    env.text(name).map(str::trim).filter(|value| !value.is_empty())
}

fn keys(env: &Env) -> Option<Identity> {
    let (id, secret) = (value(env, "AWS_ACCESS_KEY_ID"), value(env, "AWS_SECRET_ACCESS_KEY"));
    let half = |lacks, why| Some(Identity::Half { lacks, why });
    match (id, secret) {
        (Some(id), Some(secret)) => Some(Identity::Keys(Keys {
            id: id.to_owned(),
            secret: Secret::new(secret.to_owned()),
            session: value(env, "AWS_SESSION_TOKEN").map(|token| Secret::new(token.to_owned())),
        })),
        (Some(_), None) => half("AWS_SECRET_ACCESS_KEY", "is not set, and AWS_ACCESS_KEY_ID is"),
        (None, Some(_)) => half("AWS_ACCESS_KEY_ID", "is not set, and AWS_SECRET_ACCESS_KEY is"),
        (None, None) => None,
    }
}

fn web_identity(env: &Env) -> Option<Identity> {
    let (role, token_file) = (value(env, "AWS_ROLE_ARN"), env.text("AWS_WEB_IDENTITY_TOKEN_FILE"));
    let half = |lacks, why| Some(Identity::Half { lacks, why });
    match (role, token_file) {
        (Some(role), Some(token_file)) => Some(Identity::WebIdentity(WebIdentity {
            role: role.to_owned(),
            token_file: token_file.to_owned(),
            session: value(env, "AWS_ROLE_SESSION_NAME").map(str::to_owned),
        })),
        (Some(_), None) => half("AWS_WEB_IDENTITY_TOKEN_FILE", "is not set, and AWS_ROLE_ARN is"),
        (None, Some(_)) => half("AWS_ROLE_ARN", "is not set, and AWS_WEB_IDENTITY_TOKEN_FILE is"),
        (None, None) => None,
    }
}

fn container(env: &Env) -> Option<Container> {
    let relative = value(env, RELATIVE_URI).map(|path| (RELATIVE_URI, format!("{ECS}{path}")));
    let (variable, url) = relative.or_else(|| value(env, FULL_URI).map(|url| (FULL_URI, url.to_owned())))?;
    let file = env.text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(|path| Token::File(path.to_owned()));
    let token = file.or_else(|| {
        value(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN").map(|token| Token::Value(Secret::new(token.to_owned())))
    });
    Some(Container { variable, url, token })
}

/// The profile, without what it may lead to.
fn profile(env: &Env) -> Option<Profile> {
    let home = env.text("HOME").map(Path::new);
    let file = |variable, default: &str, is_credentials| {
        let named = env.text(variable).map(|path| match (path.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            (Some(_) | None, _) => PathBuf::from(path),
        });
        let path = named.or_else(|| home.map(|home| home.join(".aws").join(default)))?;
        Some(ProfileFile { path, is_credentials })
    };
    let files = [file(CONFIG_FILE, "config", false), file(CREDENTIALS_FILE, "credentials", true)];
    let files: Vec<_> = files.into_iter().flatten().collect();
    let name = value(env, "AWS_PROFILE");
    let is_named = name.is_some() || env.text(CONFIG_FILE).or_else(|| env.text(CREDENTIALS_FILE)).is_some();
    let name = name.unwrap_or("default").to_owned();
    (!files.is_empty()).then_some(Profile { name, is_named, files, keys: None, container: None, instance: None })
}

fn instance(env: &Env) -> Option<Instance> {
    if value(env, "AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let [v4, v6] = METADATA;
    let mode = value(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    let usual = if mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6")) { v6 } else { v4 };
    let endpoint = value(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(usual).to_owned();
    Some(Instance { endpoint })
}

impl Source {
    /// Asks for the credentials.
    pub(super) async fn credentials(&self, context: &Context<'_>) -> Result<Vec<Credential>, AmazonError> {
        let sdk = Sdk::new(context, &self.registry);
        let mut source = self.to_string();
        let keys = match &self.identity {
            Identity::Keys(keys) => keys.credentials(),
            Identity::Half { lacks: variable, why } => return Err(AmazonError::Variable { variable, why }),
            Identity::WebIdentity(role) => role.keys(&sdk).await?,
            Identity::Container(container) => container.keys(&sdk).await?,
            Identity::Profile(profile) => match profile.ask(&sdk).await? {
                Some(keys) => keys,
                None => return Ok(Vec::new()),
            },
            Identity::Instance(instance) => {
                let (keys, role) = instance.keys(&sdk).await?;
                source = format!("Amazon instance role {role} from the metadata server {}", host(&instance.endpoint));
                keys
            }
        };
        let proof = login::login(&sdk, &self.registry, keys).await?;
        Ok(vec![Credential { proof, source }])
    }
}

impl Keys {
    fn credentials(&self) -> Credentials {
        let session = self.session.as_ref().map(|token| token.expose().to_owned());
        Credentials::new(&self.id, self.secret.expose(), session, None, "environment")
    }
}

/// The host of a URL, for a message. What is no URL is not shown: somebody may have written a password there.
fn host(url: &str) -> String {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    crate::image::shown(host.as_deref().unwrap_or("(no URL)"), 100)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Identity::Keys(keys) => {
                write!(f, "Amazon access key {} of the environment", crate::image::shown(&keys.id, 100))
            }
            Identity::Half { lacks: "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY", .. } => {
                f.write_str("Amazon access key of the environment")
            }
            Identity::Half { .. } => f.write_str("Amazon IRSA role"),
            Identity::WebIdentity(role) => write!(f, "Amazon IRSA role {}", crate::image::shown(&role.role, 100)),
            Identity::Container(container) => {
                let what = match container.variable {
                    RELATIVE_URI => "ECS task role",
                    _ if container.is_eks() => "EKS Pod Identity",
                    _ => "container credentials",
                };
                write!(f, "Amazon {what} from {}", host(&container.url))
            }
            Identity::Profile(profile) => write!(f, "Amazon profile {}", profile.name),
            Identity::Instance(instance) => write!(f, "Amazon metadata server {}", host(&instance.endpoint)),
        }
    }
}

#[cfg(test)]
mod tests;
