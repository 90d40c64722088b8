//! Entra ID, the metadata server, App Service's endpoint and Azure's registries, as far as an identity meets them. Each
//! fails the test on a request that the real one would refuse, unless it was told to refuse.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::server::{Answer, Request};
use crate::world::World;

pub const TENANT: &str = "5f1c2a3b-0000-4000-8000-00000000000a";
pub const CLIENT: &str = "5f1c2a3b-0000-4000-8000-00000000000b";
pub const OBJECT: &str = "5f1c2a3b-0000-4000-8000-00000000000c";
/// The service account's subject.
pub const SUBJECT: &str = "system:serviceaccount:ci:builder";
pub const ISSUER: &str = "https://eastus.oic.prod-aks.azure.com/5f1c/";
/// The audience of all registries.
pub const REGISTRIES: &str = "https://containerregistry.azure.net";
/// The resource manager of the public cloud.
pub const MANAGER: &str = "https://management.azure.com";
/// What registries are shown besides a refresh token.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A signed token with these claims; no output may hold it, nor its signature.
pub fn jwt(world: &World, claims: &Value, signature: &str) -> String {
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signature = world.secret(&encoded(&format!("the signature of {signature}")));
    let header = encoded(r#"{"alg":"RS256","typ":"JWT"}"#);
    world.secret(&format!("{header}.{}.{signature}", encoded(&claims.to_string())))
}

/// The token that the kubelet keeps in a file, valid from `begins` to `ends`.
pub fn federated(world: &World, begins: u64, ends: u64) -> String {
    let audience = ["api://AzureADTokenExchange"];
    let claims = json!({"iss": ISSUER, "sub": SUBJECT, "aud": audience, "iat": begins, "nbf": begins, "exp": ends});
    jwt(world, &claims, "Kubernetes")
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).expect("a token in three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

/// The tokens of one identity, each made out to one audience.
#[derive(Clone)]
pub struct Tokens(Vec<(String, String)>);

impl Tokens {
    pub fn new(world: &World, audiences: &[&str]) -> Self {
        let token = |audience: &str| {
            let claims = json!({"aud": audience, "appid": CLIENT, "oid": OBJECT, "tid": TENANT, "exp": now() + 3600});
            jwt(world, &claims, audience)
        };
        Self(audiences.iter().map(|&audience| (audience.to_owned(), token(audience))).collect())
    }

    /// Only the token for this audience.
    pub fn only(&self, audience: &str) -> Self {
        Self(self.0.iter().filter(|(own, _)| own == audience).cloned().collect())
    }

    /// The token for an audience that is known.
    pub fn get(&self, audience: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == audience).map(|(_, token)| token.as_str())
    }
}

fn one(pairs: &[(String, String)], name: &str) -> String {
    let found: Vec<_> = pairs.iter().filter(|(own, _)| own == name).collect();
    assert_eq!(found.len(), 1, "{name} in {pairs:?}");
    found[0].1.clone()
}

fn is_form(request: &Request) {
    assert_eq!(request.header("Content-Type"), Some("application/x-www-form-urlencoded"), "{}", request.line());
}

/// What Entra ID accepts for the application.
#[derive(Clone)]
pub enum Proof {
    Secret(String),
    Assertion(String),
}

/// Entra ID: a token for each audience that `tokens` knows, and its own refusal of any other.
pub fn entra(request: &Request, host: &str, proof: &Proof, tokens: &Tokens) -> Answer {
    assert_eq!(request.line(), format!("POST /{TENANT}/oauth2/v2.0/token"));
    assert_eq!(request.header("Host"), Some(host));
    is_form(request);
    let form = request.form();
    assert_eq!((one(&form, "client_id").as_str(), one(&form, "grant_type").as_str()), (CLIENT, "client_credentials"));
    match proof {
        Proof::Secret(secret) => assert_eq!(&one(&form, "client_secret"), secret),
        Proof::Assertion(token) => {
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            assert_eq!(one(&form, "client_assertion_type"), kind);
            assert_eq!(&one(&form, "client_assertion"), token);
            let claims = claims(token);
            assert_eq!(claims["aud"][0], "api://AzureADTokenExchange");
            assert!(claims["exp"].as_u64().unwrap() > now() && claims["nbf"].as_u64().unwrap() <= now(), "{claims}");
        }
    }
    let scope = one(&form, "scope");
    let audience = scope.strip_suffix("/.default").expect("a scope of an application");
    match tokens.get(audience) {
        Some(token) => Answer::json(
            json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token})
                .to_string(),
        ),
        None => unknown_audience(audience),
    }
}

/// Entra ID's refusal of an audience that the tenant does not know.
fn unknown_audience(audience: &str) -> Answer {
    let why = format!("The resource principal named {audience} was not found in the tenant named Team.");
    aadsts(400, "invalid_resource", 500_011, &why)
}

/// An error of Entra ID, with what follows it for Microsoft's own staff.
pub fn aadsts(status: u16, error: &str, code: u32, why: &str) -> Answer {
    let description = format!(
        "AADSTS{code}: {why} Trace ID: 7a7a7a7a-0000-4000-8000-000000000001 Correlation ID: \
         7a7a7a7a-0000-4000-8000-000000000002 Timestamp: 2026-11-21 12:00:00Z"
    );
    let body = json!({
        "error": error, "error_description": description, "error_codes": [code],
        "trace_id": "7a7a7a7a-0000-4000-8000-000000000001",
    });
    Answer::new(status).header("Content-Type", "application/json; charset=utf-8").body(body.to_string())
}

/// The metadata server of Azure's machines, asked for the identity of `client` or for the machine's own.
pub fn metadata(request: &Request, client: Option<&str>, tokens: &Tokens) -> Answer {
    assert_eq!((request.method.as_str(), request.path()), ("GET", "/metadata/identity/oauth2/token"));
    assert_eq!(request.header("Metadata"), Some("true"));
    assert_eq!(request.header("X-Forwarded-For"), None);
    assert_eq!(request.header("Host"), Some("169.254.169.254"));
    let query = request.query();
    let version = one(&query, "api-version");
    assert!(["2018-02-01", "2019-08-01", "2021-02-01"].contains(&version.as_str()), "{version}");
    let asked = query.iter().find(|(name, _)| name == "client_id").map(|(_, client)| client.as_str());
    assert_eq!(asked, client);
    minted(&one(&query, "resource"), tokens).unwrap_or_else(|audience| unknown_audience(&audience))
}

/// The endpoint that App Service and Container Apps put beside a container.
pub fn endpoint(request: &Request, header: &str, tokens: &Tokens) -> Answer {
    assert_eq!((request.method.as_str(), request.path()), ("GET", "/msi/token"));
    assert_eq!(request.header("X-IDENTITY-HEADER"), Some(header));
    assert_eq!(one(&request.query(), "api-version"), "2019-08-01");
    minted(&one(&request.query(), "resource"), tokens).unwrap()
}

/// A managed identity's token. Numbers are strings there.
fn minted(resource: &str, tokens: &Tokens) -> Result<Answer, String> {
    let audience = resource.trim_end_matches('/');
    let token = tokens.get(audience).ok_or_else(|| audience.to_owned())?;
    let body = json!({
        "access_token": token, "client_id": CLIENT, "expires_in": "86399", "ext_expires_in": "86399",
        "expires_on": (now() + 86399).to_string(), "not_before": now().to_string(), "resource": resource,
        "token_type": "Bearer",
    });
    Ok(Answer::json(body.to_string()))
}

/// One of Azure's registries.
#[derive(Clone)]
pub struct Acr {
    pub host: String,
    /// The tokens that it exchanges. It refuses all others.
    pub accepts: Tokens,
    /// The tenant that the exchange must name, or that it must not name one.
    pub tenant: Option<&'static str>,
    /// Its own tokens.
    pub refresh: String,
    pub access: String,
    /// The status with which it refuses a refresh token in a form: it knows passwords only.
    pub no_post: Option<u16>,
}

impl Acr {
    pub fn new(world: &World, host: &str, accepts: &Tokens) -> Self {
        let refresh = json!({"iss": "Azure Container Registry", "aud": host, "grant_type": "refresh_token"});
        let access = json!({"iss": "Azure Container Registry", "aud": host, "grant_type": "access_token"});
        Self {
            host: host.to_owned(),
            accepts: accepts.clone(),
            tenant: Some(TENANT),
            refresh: jwt(world, &refresh, "a refresh token"),
            access: jwt(world, &access, "an access token"),
            no_post: None,
        }
    }

    /// The door of the registry.
    pub fn door(&self, request: &Request) -> Option<Answer> {
        assert_eq!(request.header("Host"), Some(self.host.as_str()));
        match (request.method.as_str(), request.path()) {
            ("POST", "/oauth2/exchange") => Some(self.exchange(request)),
            ("POST", "/oauth2/token") => Some(self.token_for_form(request)),
            ("GET", "/oauth2/token") => Some(self.token_for_password(request)),
            ("GET", _) if request.header("Authorization") == Some(&format!("Bearer {}", self.access)) => None,
            ("GET", _) => Some(self.challenge()),
            _ => panic!("{}", request.line()),
        }
    }

    /// Who are you?
    pub fn challenge(&self) -> Answer {
        let challenge = format!(
            r#"Bearer realm="https://{0}/oauth2/token",service="{0}",scope="repository:team/tool:pull""#,
            self.host
        );
        unauthorized().header("Www-Authenticate", challenge)
    }

    fn exchange(&self, request: &Request) -> Answer {
        is_form(request);
        assert_eq!(request.target, "/oauth2/exchange");
        let form = request.form();
        assert_eq!(one(&form, "grant_type"), "access_token");
        assert_eq!(one(&form, "service"), self.host);
        let tenant = form.iter().find(|(name, _)| name == "tenant").map(|(_, tenant)| tenant.as_str());
        assert_eq!(tenant, self.tenant);
        let token = one(&form, "access_token");
        let audience = claims(&token)["aud"].as_str().unwrap().to_owned();
        if self.accepts.get(&audience) != Some(token.as_str()) {
            return unauthorized();
        }
        Answer::json(json!({"refresh_token": self.refresh}).to_string())
    }

    fn token_for_form(&self, request: &Request) -> Answer {
        is_form(request);
        let form = request.form();
        assert_eq!(one(&form, "grant_type"), "refresh_token");
        assert_eq!(one(&form, "service"), self.host);
        assert_eq!(one(&form, "scope"), "repository:team/tool:pull");
        assert_eq!(one(&form, "refresh_token"), self.refresh);
        match self.no_post {
            Some(status) => errors(status, "UNSUPPORTED", "the operation is unsupported"),
            None => self.token(),
        }
    }

    fn token_for_password(&self, request: &Request) -> Answer {
        let query = request.query();
        assert_eq!(one(&query, "service"), self.host);
        assert_eq!(one(&query, "scope"), "repository:team/tool:pull");
        let password = format!("Basic {}", STANDARD.encode(format!("{NOBODY}:{}", self.refresh)));
        match request.header("Authorization") {
            Some(shown) if shown == password => self.token(),
            _ => unauthorized(),
        }
    }

    fn token(&self) -> Answer {
        Answer::json(json!({"access_token": self.access}).to_string())
    }
}

/// A registry's refusal.
pub fn unauthorized() -> Answer {
    errors(401, "UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization for more information.")
}

pub fn errors(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Answer::new(status).header("Content-Type", "application/json; charset=utf-8").body(body.to_string())
}
