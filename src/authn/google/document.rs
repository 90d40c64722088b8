//! A credential file: of which identity it is, and how a token is asked for. Read once, and then nothing in it is in doubt.
//!
//! <https://google.aip.dev/auth/4112>, <https://google.aip.dev/auth/4117>,
//! <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>

use super::endpoint::{EndpointError, ImpersonationUrl, StsUrl, TokenUri};
use super::fields::{FieldError, Fields, ObjectError};
use super::key::{KeyError, SigningKey};
use super::subject::{SubjectSource, SubjectSourceError};
use crate::image::shown;
use crate::secret::Secret;

/// How many characters of a name in the file a message shows.
const SHOWN: usize = 200;
/// The universe whose registries are asked here.
const UNIVERSE: &str = "googleapis.com";
/// How long a service account's token may count, in seconds, and how long one is asked for.
const LIFETIMES: std::ops::RangeInclusive<u64> = 600..=43200;
const LIFETIME: u64 = 3600;
/// How IAM names a service account, in front of its address.
const ACCOUNT: &str = "projects/-/serviceAccounts/";

/// A credential file.
#[derive(Debug)]
pub(super) struct Document {
    /// Who asks first.
    pub(super) base: Base,
    /// The service accounts whose token is asked for with the one before, the last one's being used.
    pub(super) impersonations: Vec<Impersonation>,
}

/// An identity that has a proof of its own.
#[derive(Debug)]
pub(super) enum Base {
    /// A service account by its key.
    ServiceAccount(ServiceAccount),
    /// A person, by what a login left.
    User(User),
    /// Somebody whom another identity provider knows: a Kubernetes service account outside of Google's cloud for example.
    Federated(Federated),
}

/// `service_account`.
#[derive(Debug)]
pub(super) struct ServiceAccount {
    /// Its name.
    pub(super) email: String,
    /// The name of its key.
    pub(super) key_id: Option<String>,
    /// Its key.
    pub(super) key: SigningKey,
    /// Whom it asks.
    pub(super) token_uri: TokenUri,
}

/// `authorized_user`.
#[derive(Debug)]
pub(super) struct User {
    /// The program in which the person logged in, and its secret.
    pub(super) client: Client,
    /// What the login left.
    pub(super) refresh_token: Secret,
    /// Who is asked.
    pub(super) token_uri: TokenUri,
}

/// `external_account`.
#[derive(Debug)]
pub(super) struct Federated {
    /// The provider of the pool, as Google names it.
    pub(super) audience: String,
    /// What kind of token there is.
    pub(super) subject_token_type: String,
    /// Where there is one.
    pub(super) source: SubjectSource,
    /// Who exchanges it.
    pub(super) token_url: StsUrl,
    /// How the exchange is authorized, if by more than the token.
    pub(super) authorization: Authorization,
}

/// What an exchange is authorized by, besides the token.
#[derive(Debug)]
pub(super) enum Authorization {
    /// Nothing.
    None,
    /// A program's name and secret.
    Client(Client),
    /// A project to which it is charged: only for people, who are in a workforce pool.
    Project(String),
}

/// An OAuth client.
#[derive(Debug)]
pub(super) struct Client {
    /// Its name.
    pub(super) id: String,
    /// Its secret, which is none of much.
    pub(super) secret: Secret,
}

/// A service account whose token is asked for with another.
#[derive(Debug)]
pub(super) struct Impersonation {
    /// Where.
    pub(super) url: ImpersonationUrl,
    /// The service accounts in between, as IAM names them.
    pub(super) delegates: Vec<String>,
    /// How long the token is to count, in seconds.
    pub(super) lifetime: u64,
}

/// Why a file has no identity.
#[derive(Debug, thiserror::Error)]
pub(in crate::authn) enum DocumentError {
    /// It is no object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A field is missing.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The identity behind another.
    #[error("its \"source_credentials\" cannot be used")]
    Source(#[source] Box<Self>),
    /// A key.
    #[error("its \"private_key\" {0}")]
    Key(#[from] KeyError),
    /// A URL.
    #[error("its \"{0}\" {1}")]
    Endpoint(&'static str, EndpointError),
    /// Where the token to exchange is.
    #[error(transparent)]
    SubjectSource(#[from] SubjectSourceError),
    /// Another universe.
    #[error(
        "it is of the universe {0}, whose registries have other names than Google's own; only identities of \
         {UNIVERSE} are asked for here"
    )]
    Universe(String),
    /// Another type.
    #[error(
        "its type {0:?} is not known here: service_account, authorized_user, external_account and \
         impersonated_service_account are; outside of Google's cloud an external_account with a projected service \
         account token serves a pod, and on GKE Workload Identity does, without a file"
    )]
    Type(String),
    /// A chain of impersonations.
    #[error("it is an impersonated_service_account too; name the service accounts in between as \"delegates\"")]
    Nested,
    /// How long a token counts.
    #[error("its \"token_lifetime_seconds\" is not between 600 and 43200")]
    Lifetime,
    /// A project for an identity that has one.
    #[error("its \"workforce_pool_user_project\" is for the audience of a workforce pool alone")]
    Project,
}

impl Document {
    /// Reads a file.
    pub(super) fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut fields = Fields::of(text.as_bytes())?;
        let kind = of_our_universe(&mut fields)?;
        if kind != "impersonated_service_account" {
            return Self::of_base(&kind, fields);
        }
        let mut source = fields.object("source_credentials")?.ok_or(FieldError::Absent("source_credentials"))?;
        let nested = |error| DocumentError::Source(Box::new(error));
        let kind = of_our_universe(&mut source).map_err(nested)?;
        if kind == "impersonated_service_account" {
            return Err(nested(DocumentError::Nested));
        }
        let mut document = Self::of_base(&kind, source).map_err(nested)?;
        let impersonation = Impersonation::of(&mut fields)?;
        document.impersonations.push(impersonation.ok_or(FieldError::Absent("service_account_impersonation_url"))?);
        Ok(document)
    }

    fn of_base(kind: &str, mut fields: Fields) -> Result<Self, DocumentError> {
        let base = match kind {
            "service_account" => Base::ServiceAccount(ServiceAccount::of(&mut fields)?),
            "authorized_user" => Base::User(User::of(&mut fields)?),
            "external_account" => {
                let federated = Federated::of(&mut fields)?;
                let impersonation = Impersonation::of(&mut fields)?;
                let impersonations = impersonation.into_iter().collect();
                return Ok(Self { base: Base::Federated(federated), impersonations });
            }
            other => return Err(DocumentError::Type(shown(other, SHOWN))),
        };
        Ok(Self { base, impersonations: Vec::new() })
    }

    /// Whose token there will be, in words that go in front of the file's name.
    pub(super) fn identity(&self) -> String {
        let base = match &self.base {
            Base::ServiceAccount(account) => {
                let email = shown(&account.email, SHOWN);
                match self.impersonations[..] {
                    [] => return format!("Google identity {email} by the service account key"),
                    [..] => format!("by the service account key of {email}"),
                }
            }
            Base::User(_) => match self.impersonations[..] {
                [] => return "Google identity of a user by the credential file".to_owned(),
                [..] => "by the user".to_owned(),
            },
            Base::Federated(federated) => {
                let audience = shown(&federated.audience, SHOWN);
                match self.impersonations[..] {
                    [] => return format!("federated Google identity of {audience} by the credential file"),
                    [..] => format!("by the federated identity of {audience}"),
                }
            }
        };
        let accounts = self.impersonations.iter().rev().map(|impersonation| shown(impersonation.url.account(), SHOWN));
        let accounts = accounts.collect::<Vec<_>>().join(", impersonated by ");
        format!("Google identity {accounts}, impersonated {base}, by the credential file")
    }
}

/// The type of an identity, if it is one of Google's own universe.
fn of_our_universe(fields: &mut Fields) -> Result<String, DocumentError> {
    let universe = fields.text("universe_domain")?;
    if let Some(other) = universe.filter(|universe| universe != UNIVERSE) {
        return Err(DocumentError::Universe(shown(&other, SHOWN)));
    }
    Ok(fields.needed("type")?)
}

fn token_uri(fields: &mut Fields) -> Result<TokenUri, DocumentError> {
    let name = "token_uri";
    TokenUri::parse(fields.text(name)?.as_deref()).map_err(|error| DocumentError::Endpoint(name, error))
}

impl ServiceAccount {
    fn of(fields: &mut Fields) -> Result<Self, DocumentError> {
        Ok(Self {
            email: fields.needed("client_email")?,
            key_id: fields.text("private_key_id")?,
            key: SigningKey::from_pem(&fields.secret("private_key")?)?,
            token_uri: token_uri(fields)?,
        })
    }
}

impl User {
    fn of(fields: &mut Fields) -> Result<Self, DocumentError> {
        Ok(Self {
            client: Client { id: fields.needed("client_id")?, secret: fields.secret("client_secret")? },
            refresh_token: fields.secret("refresh_token")?,
            token_uri: token_uri(fields)?,
        })
    }
}

impl Federated {
    fn of(fields: &mut Fields) -> Result<Self, DocumentError> {
        let audience = fields.needed("audience")?;
        let name = "token_url";
        let token_url = fields.text(name)?;
        let token_url = StsUrl::parse(token_url.as_deref()).map_err(|error| DocumentError::Endpoint(name, error))?;
        let source = fields.object("credential_source")?.ok_or(FieldError::Absent("credential_source"))?;
        let client = match (fields.text("client_id")?, fields.text("client_secret")?) {
            (None, None) => None,
            (Some(id), secret) => Some(Client { id, secret: Secret::new(secret.unwrap_or_default()) }),
            (None, Some(_)) => return Err(FieldError::Absent("client_id").into()),
        };
        let project = fields.text("workforce_pool_user_project")?;
        if project.is_some() && !is_workforce(&audience) {
            return Err(DocumentError::Project);
        }
        let authorization = match (client, project) {
            // A client is charged itself.
            (Some(client), _) => Authorization::Client(client),
            (None, Some(project)) => Authorization::Project(project),
            (None, None) => Authorization::None,
        };
        let subject_token_type = fields.needed("subject_token_type")?;
        let source = SubjectSource::of(source)?;
        Ok(Self { audience, subject_token_type, source, token_url, authorization })
    }
}

/// Whether an audience is that of a pool of people: `//iam.googleapis.com/locations/global/workforcePools/P/providers/X`.
fn is_workforce(audience: &str) -> bool {
    let rest = audience.strip_prefix("//iam.googleapis.com/locations/");
    rest.and_then(|rest| rest.split_once('/')).is_some_and(|(_, rest)| rest.starts_with("workforcePools/"))
}

impl Impersonation {
    /// The impersonation that an object names, if it does.
    fn of(fields: &mut Fields) -> Result<Option<Self>, DocumentError> {
        let name = "service_account_impersonation_url";
        let Some(url) = fields.text(name)? else { return Ok(None) };
        let url = ImpersonationUrl::parse(&url).map_err(|error| DocumentError::Endpoint(name, error))?;
        let lifetime = match fields.object("service_account_impersonation")? {
            Some(mut options) => options.number("token_lifetime_seconds")?.unwrap_or(LIFETIME),
            None => LIFETIME,
        };
        if !LIFETIMES.contains(&lifetime) {
            return Err(DocumentError::Lifetime);
        }
        // IAM wants names; tools write addresses too.
        let named = |account: String| {
            if account.contains('/') { account } else { format!("{ACCOUNT}{account}") }
        };
        let delegates = fields.texts("delegates")?.into_iter().map(named).collect();
        Ok(Some(Self { url, delegates, lifetime }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::key::tests::KEY;
    use super::super::subject::Format;
    use super::*;
    use crate::sys::cause::chain;

    const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";

    fn impersonation(account: &str) -> String {
        let email = format!("{account}@p.iam.gserviceaccount.com");
        format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateAccessToken")
    }

    fn service_account() -> Value {
        json!({
            "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": KEY,
            "client_email": "ci@p.iam.gserviceaccount.com", "client_id": "1",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
        })
    }

    fn user() -> Value {
        json!({"type": "authorized_user", "client_id": "c", "client_secret": "hunter2", "refresh_token": "hunter2"})
    }

    fn federated() -> Value {
        json!({
            "type": "external_account", "universe_domain": "googleapis.com", "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": "/var/run/token", "format": {"type": "text"}},
        })
    }

    fn impersonated(source: Value) -> Value {
        json!({
            "type": "impersonated_service_account", "source_credentials": source,
            "service_account_impersonation_url": impersonation("target"),
            "delegates": ["via@p.iam.gserviceaccount.com", "projects/-/serviceAccounts/other"],
        })
    }

    fn with(mut document: Value, name: &str, value: Value) -> Value {
        document[name] = value;
        document
    }

    fn without(mut document: Value, name: &str) -> Value {
        document.as_object_mut().unwrap().remove(name);
        document
    }

    fn error(document: &Value) -> String {
        let error = Document::parse(&document.to_string()).unwrap_err();
        let told = chain(&error);
        assert!(!told.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{told} {error:?}");
        told
    }

    #[test]
    fn each_type_of_file_is_an_identity() {
        for (document, expected) in [
            (service_account(), "Google identity ci@p.iam.gserviceaccount.com by the service account key".to_owned()),
            (user(), "Google identity of a user by the credential file".to_owned()),
            (federated(), format!("federated Google identity of {AUDIENCE} by the credential file")),
            (
                with(federated(), "service_account_impersonation_url", json!(impersonation("ci"))),
                format!(
                    "Google identity ci@p.iam.gserviceaccount.com, impersonated by the federated identity of {AUDIENCE}, \
                     by the credential file"
                ),
            ),
            (
                impersonated(user()),
                "Google identity target@p.iam.gserviceaccount.com, impersonated by the user, by the credential file"
                    .to_owned(),
            ),
            (
                impersonated(with(federated(), "service_account_impersonation_url", json!(impersonation("ci")))),
                format!(
                    "Google identity target@p.iam.gserviceaccount.com, impersonated by ci@p.iam.gserviceaccount.com, \
                     impersonated by the federated identity of {AUDIENCE}, by the credential file"
                ),
            ),
        ] {
            let read = Document::parse(&document.to_string()).unwrap();
            assert_eq!(read.identity(), expected);
            assert!(!format!("{read:?}").contains("hunter2"), "{read:?}");
        }
    }

    #[test]
    fn what_is_needed_is_read_and_the_rest_has_its_default() {
        let parse = |document: Value| Document::parse(&document.to_string()).unwrap();
        let Base::User(read) = parse(user()).base else { panic!("a user") };
        assert_eq!(read.token_uri.url().as_str(), "https://oauth2.googleapis.com/token");
        let [outer] = &parse(impersonated(service_account())).impersonations[..] else { panic!("one impersonation") };
        let via = "projects/-/serviceAccounts/via@p.iam.gserviceaccount.com";
        assert_eq!(outer.delegates, [via, "projects/-/serviceAccounts/other"]);
        assert_eq!(outer.lifetime, 3600);
        let document = with(federated(), "service_account_impersonation_url", json!(impersonation("ci")));
        let document = with(document, "service_account_impersonation", json!({"token_lifetime_seconds": 600}));
        assert_eq!(parse(document).impersonations[0].lifetime, 600);
        let Base::Federated(read) = parse(federated()).base else { panic!("a federated identity") };
        assert!(matches!(read.authorization, Authorization::None));
        let Base::Federated(read) = parse(without(federated(), "token_url")).base else {
            panic!("a federated identity")
        };
        assert_eq!(read.token_url.url().as_str(), "https://sts.googleapis.com/v1/token");
        let SubjectSource::File { path, format: Format::Text } = read.source else { panic!("a file of text") };
        assert_eq!(path.to_str(), Some("/var/run/token"));
        let workforce = "//iam.googleapis.com/locations/global/workforcePools/w/providers/x";
        let workforce = with(federated(), "audience", json!(workforce));
        let workforce = with(workforce, "workforce_pool_user_project", json!("77"));
        let Base::Federated(read) = parse(workforce.clone()).base else { panic!("a federated identity") };
        assert!(matches!(read.authorization, Authorization::Project(project) if project == "77"));
        let client = with(with(workforce, "client_id", json!("c")), "client_secret", json!("s"));
        let Base::Federated(read) = parse(client).base else { panic!("a federated identity") };
        assert!(matches!(read.authorization, Authorization::Client(client) if client.id == "c"));
    }

    #[test]
    fn a_file_that_cannot_be_used_says_what_is_wrong_with_it_and_what_would_do() {
        for (document, expected) in [
            (json!({"installed": {}}), "it has no \"type\""),
            (json!({"type": 1}), "its \"type\" is not a text"),
            (
                json!({"type": "gdch_service_account"}),
                "its type \"gdch_service_account\" is not known here: service_account, ",
            ),
            (
                json!({"type": "external_account_authorized_user"}),
                "external_account_authorized_user\" is not known here",
            ),
            (without(service_account(), "private_key"), "it has no \"private_key\""),
            (without(service_account(), "client_email"), "it has no \"client_email\""),
            (
                with(service_account(), "private_key", json!("hunter2")),
                "its \"private_key\" is not a private key in PEM",
            ),
            (with(service_account(), "token_uri", json!("http://evil.example/")), "its \"token_uri\" is not https"),
            (with(service_account(), "universe_domain", json!("apis.example")), "it is of the universe apis.example"),
            (without(user(), "refresh_token"), "it has no \"refresh_token\""),
            (with(user(), "refresh_token", json!(["hunter2"])), "its \"refresh_token\" is not a text"),
            (without(federated(), "audience"), "it has no \"audience\""),
            (without(federated(), "credential_source"), "it has no \"credential_source\""),
            (with(federated(), "token_url", json!("https://evil.example/")), "its \"token_url\" names evil.example"),
            (
                with(federated(), "service_account_impersonation_url", json!("https://evil.example/")),
                "its \"service_account_impersonation_url\" names evil.example",
            ),
            (
                with(federated(), "workforce_pool_user_project", json!("1")),
                "for the audience of a workforce pool alone",
            ),
            (with(federated(), "client_secret", json!("hunter2")), "it has no \"client_id\""),
            (
                with(
                    with(federated(), "service_account_impersonation_url", json!(impersonation("ci"))),
                    "service_account_impersonation",
                    json!({"token_lifetime_seconds": 43201}),
                ),
                "is not between 600 and 43200",
            ),
            (without(impersonated(user()), "source_credentials"), "it has no \"source_credentials\""),
            (
                without(impersonated(user()), "service_account_impersonation_url"),
                "it has no \"service_account_impersonation_url\"",
            ),
            (with(impersonated(user()), "delegates", json!("x")), "its \"delegates\" is not a list of texts"),
            (
                impersonated(without(user(), "client_id")),
                "its \"source_credentials\" cannot be used: it has no \"client_id\"",
            ),
            (
                impersonated(impersonated(user())),
                "its \"source_credentials\" cannot be used: it is an impersonated_service_account too",
            ),
            (impersonated(with(user(), "universe_domain", json!("x"))), "cannot be used: it is of the universe x"),
        ] {
            let told = error(&document);
            assert!(told.contains(expected), "{told}");
        }
    }
}
