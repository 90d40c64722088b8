//! Google as far as an identity needs it: metadata server, token service, Security Token Service, IAM and registries. What the
//! real ones would refuse fails the test, unless it is a refusal that the test is about.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::server::{Answer, Reply, Request};
use crate::world::World;

/// A key that was made for the tests and opens nothing.
pub const KEY: &str = include_str!("key.pem");
pub const EMAIL: &str = "ci@p.iam.gserviceaccount.com";
pub const TARGET: &str = "target@p.iam.gserviceaccount.com";
pub const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/k/providers/k";
/// What a machine's metadata server calls itself; GKE's does not.
pub const OF_MACHINES: &str = "Metadata Server for VM";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What a registry says to an identity that it knows and that may not read.
pub const DENIED: &str = "Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource \
                          \"projects/p/locations/europe/repositories/team\" (or it may not exist)";

/// A registry of Google's whose token service knows these access tokens: what each of them is told.
pub fn registry(world: &World, name: &'static str, known: &[(&str, Verdict)], anonymous: Verdict) {
    // Not with the name as it is: messages have that.
    let whose = name.len();
    let bearer = world.secret(&format!("bearer-of-{whose}-for-one-repository"));
    let known: Vec<_> = known.iter().map(|&(token, verdict)| (token.to_owned(), verdict)).collect();
    world.registry(name, move |request| {
        if request.path() == "/v2/token" {
            assert_eq!(request.method, "GET");
            let wanted = [("scope", "repository:team/tool:pull"), ("service", name)];
            assert_eq!(request.query(), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
            let verdict = match password(request) {
                None => anonymous,
                Some(token) => {
                    known.iter().find(|(own, _)| *own == token).map_or(Verdict::Unknown, |(_, known)| *known)
                }
            };
            return Some(match verdict {
                Verdict::Accepted => {
                    Answer::json(json!({"token": bearer, "expires_in": 3600, "issued_at": "now"}).to_string())
                }
                Verdict::Denied => refused(403, "DENIED", DENIED),
                Verdict::Unknown => refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
            });
        }
        if request.header("Authorization") == Some(&format!("Bearer {bearer}")) {
            return None;
        }
        let _ = password(request);
        let challenge =
            format!(r#"Bearer realm="https://{name}/v2/token",service="{name}",scope="repository:team/tool:pull""#);
        Some(refused(401, "UNAUTHORIZED", "You need to log in.").header("WWW-Authenticate", challenge))
    });
}

/// What an identity is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// It is known, and may not read.
    Denied,
    /// It is nobody's.
    Unknown,
}

/// The access token that is shown, if one is.
fn password(request: &Request) -> Option<String> {
    let encoded = request.header("Authorization")?.strip_prefix("Basic ").expect("Basic with an access token");
    let pair = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
    Some(pair.strip_prefix("oauth2accesstoken:").expect("the user name of access tokens").to_owned())
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Answer::new(status).header("Content-Type", "application/json").body(body.to_string())
}

/// A metadata server: these replies to the first requests for a token, then the token.
pub fn metadata(world: &World, address: &str, token: &str, before: Vec<Reply>) {
    let (token, before) = (token.to_owned(), Mutex::new(VecDeque::from(before)));
    world.plain(address, move |request| {
        let path = asked_of_metadata(request);
        let first = if path == "token" { before.lock().unwrap().pop_front() } else { None };
        first.unwrap_or_else(|| match path {
            "token" => metadata_token(&token, 3599).into(),
            _ => of_metadata(200).body(EMAIL).into(),
        })
    });
}

/// A metadata server that says one thing only.
pub fn metadata_saying(world: &World, reply: impl Into<Reply>) {
    let reply = reply.into();
    world.plain("169.254.169.254:80", move |request| {
        asked_of_metadata(request);
        reply.clone()
    });
}

/// What the metadata server is asked for: nothing else, and never without the header.
fn asked_of_metadata(request: &Request) -> &'static str {
    assert_eq!((request.method.as_str(), request.header("Metadata-Flavor")), ("GET", Some("Google")));
    let forwarded = ["X-Forwarded-For", "Via", "Authorization"].into_iter().find(|name| request.header(name).is_some());
    assert_eq!(forwarded, None);
    match request.path().strip_prefix("/computeMetadata/v1/instance/service-accounts/default/") {
        Some("token") => {
            assert_eq!(request.query(), [("scopes".to_owned(), SCOPE.to_owned())]);
            "token"
        }
        Some("email") => "email",
        other => panic!("asked for {other:?}"),
    }
}

/// An answer of a metadata server.
pub fn of_metadata(status: u16) -> Answer {
    Answer::new(status).header("Metadata-Flavor", "Google")
}

pub fn metadata_token(token: &str, expires_in: u64) -> Answer {
    let body = json!({"access_token": token, "expires_in": expires_in, "token_type": "Bearer"});
    of_metadata(200).header("Content-Type", "application/json").body(body.to_string())
}

/// The words of a service that refuses.
pub fn oauth_error(status: u16, error: &str, description: &str) -> Answer {
    let body = json!({"error": error, "error_description": description});
    Answer::new(status).header("Content-Type", "application/json; charset=utf-8").body(body.to_string())
}

pub fn api_error(status: u16, name: &str, message: &str) -> Answer {
    let body = json!({"error": {"code": status, "message": message, "status": name}});
    Answer::new(status).header("Content-Type", "application/json; charset=UTF-8").body(body.to_string())
}

fn form(request: &Request) -> Vec<(String, String)> {
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("Content-Type"), Some("application/x-www-form-urlencoded"));
    let mut form = request.form();
    form.sort();
    form
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    pairs.sort();
    pairs
}

/// The token service, which gives a service account's token for an assertion that its key has signed. Its clock goes so many
/// seconds before ours.
pub fn token_service(world: &World, token: &str, ahead: i64) {
    let token = token.to_owned();
    let der: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let public = key.public().as_ref().to_vec();
    world.secure(&["oauth2.googleapis.com"], move |request| {
        assert_eq!(request.path(), "/token");
        let form = form(request);
        let [(assertion, signed), (grant, jwt_bearer)] = &form[..] else { panic!("{form:?}") };
        assert_eq!((assertion.as_str(), grant.as_str()), ("assertion", "grant_type"));
        assert_eq!(jwt_bearer, "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let (message, signature) = signed.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
        public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).expect("the key's signature");
        let (header, claims) = message.split_once('.').unwrap();
        let json = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(json(header), json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"}));
        let claims = json(claims);
        let (made, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        let expected = json!({
            "iss": EMAIL, "scope": SCOPE, "aud": "https://oauth2.googleapis.com/token", "iat": made, "exp": ends,
        });
        assert_eq!(claims, expected);
        assert!(made < ends && ends - made <= 3600, "{claims}");
        let now = i64::try_from(now()).unwrap() + ahead;
        let date = date(now);
        if made > now + 60 || ends < now {
            let description = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                               Check your iat and exp values in the JWT claim.";
            return oauth_error(400, "invalid_grant", description).header("Date", date);
        }
        let body = json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"});
        Answer::json(body.to_string()).header("Date", date)
    });
}

/// The token service for users.
pub fn user_service(world: &World, refresh_token: &str, client_secret: &str, reply: impl Into<Reply>) {
    let (refresh_token, client_secret, reply) = (refresh_token.to_owned(), client_secret.to_owned(), reply.into());
    world.secure(&["oauth2.googleapis.com"], move |request| {
        assert_eq!(request.path(), "/token");
        let expected = [
            ("grant_type", "refresh_token"),
            ("client_id", "client-1"),
            ("client_secret", &client_secret),
            ("refresh_token", &refresh_token),
        ];
        assert_eq!(form(request), pairs(&expected));
        reply.clone()
    });
}

/// What a Security Token Service wants besides the subject token.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub audience: &'static str,
    pub authorization: Option<&'static str>,
    pub options: Option<&'static str>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { audience: AUDIENCE, authorization: None, options: None }
    }
}

/// The Security Token Service: a federated token for this subject token.
pub fn sts(world: &World, subject_token: &str, token: &str, wanted: Wanted) {
    let answer = json!({
        "access_token": token, "expires_in": 3599, "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    sts_saying(world, subject_token, wanted, Answer::json(answer.to_string()));
}

/// A Security Token Service that is asked in the right way and says this.
pub fn sts_saying(world: &World, subject_token: &str, wanted: Wanted, reply: impl Into<Reply>) {
    let (subject_token, reply) = (subject_token.to_owned(), reply.into());
    world.secure(&["sts.googleapis.com"], move |request| {
        assert_eq!(request.path(), "/v1/token");
        assert_eq!(request.header("Authorization"), wanted.authorization);
        let mut expected = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", wanted.audience),
            ("scope", SCOPE),
            ("subject_token_type", JWT),
            ("subject_token", &subject_token),
        ];
        expected.extend(wanted.options.map(|options| ("options", options)));
        assert_eq!(form(request), pairs(&expected));
        reply.clone()
    });
}

/// IAM, which gives this account's token to whoever shows one of these tokens.
pub fn iam(world: &World, givers: &[(&'static str, &str, &str)], delegates: &'static [&'static str]) {
    let givers: Vec<_> =
        givers.iter().map(|&(account, shown, token)| (account, format!("Bearer {shown}"), token.to_owned())).collect();
    world.secure(&["iamcredentials.googleapis.com"], move |request| {
        let account = asked_of_iam(request, delegates);
        let (_, shown, token) = givers.iter().find(|(own, _, _)| *own == account).expect("an account of the test");
        assert_eq!(request.header("Authorization"), Some(shown.as_str()));
        Answer::json(json!({"accessToken": token, "expireTime": "2099-01-01T00:00:00Z"}).to_string())
    });
}

/// IAM that says this.
pub fn iam_saying(world: &World, reply: impl Into<Reply>) {
    let reply = reply.into();
    world.secure(&["iamcredentials.googleapis.com"], move |request| {
        asked_of_iam(request, &[]);
        reply.clone()
    });
}

fn asked_of_iam(request: &Request, delegates: &[&str]) -> String {
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("Content-Type"), Some("application/json"));
    let account = request.path().strip_prefix("/v1/projects/-/serviceAccounts/");
    let account = account.and_then(|rest| rest.strip_suffix(":generateAccessToken")).expect("an account's token");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let mut expected = json!({"scope": [SCOPE], "lifetime": "3600s"});
    if !delegates.is_empty() {
        expected["delegates"] = json!(delegates);
    }
    assert_eq!(body, expected);
    account.to_owned()
}

/// A service account's key file.
pub fn service_account(world: &World) -> Value {
    // A line of the key is as telling as all of it.
    world.secret(KEY.lines().nth(7).unwrap());
    json!({
        "type": "service_account", "project_id": "p", "private_key_id": "key-1", "private_key": KEY,
        "client_email": EMAIL, "client_id": "1", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs", "universe_domain": "googleapis.com",
    })
}

/// The file of an identity that another provider knows.
pub fn external_account(source: Value) -> Value {
    json!({
        "type": "external_account", "universe_domain": "googleapis.com", "audience": AUDIENCE,
        "subject_token_type": JWT, "token_url": "https://sts.googleapis.com/v1/token", "credential_source": source,
    })
}

/// Where an account's token is asked for.
pub fn impersonation_url(account: &str) -> String {
    format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken")
}

/// A document with one more field.
pub fn with(mut document: Value, name: &str, value: impl Into<Value>) -> Value {
    document[name] = value.into();
    document
}

/// A token as Kubernetes projects one, which expires so many seconds from now.
pub fn projected_token(world: &World, expires_in: i64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let expires = i64::try_from(now()).unwrap() + expires_in;
    let header = part(json!({"alg": "RS256", "kid": "cluster"}));
    let claims = part(json!({"aud": [AUDIENCE], "exp": expires, "sub": "system:serviceaccount:ci:builder"}));
    world.secret(&format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode("signature")))
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The `Date` of an answer.
pub fn date(seconds: i64) -> String {
    let date = tz::UtcDateTime::from_timespec(seconds, 0).unwrap();
    let day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][usize::from(date.week_day())];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[usize::from(date.month()) - 1];
    let (monthday, year) = (date.month_day(), date.year());
    format!("{day}, {monthday:02} {month} {year} {:02}:{:02}:{:02} GMT", date.hour(), date.minute(), date.second())
}
