//! Amazon's services as a pod sees them. Each fails the test on what the real one would refuse.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::keys::Keys;
use super::sigv4::{self, Disbelief, Expected};
use super::time::Instant;
use crate::server::{Answer, Request};
use crate::world::World;

/// The role of a service account.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/ci";
/// The host of a private registry.
pub const PRIVATE: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
/// The public registry.
pub const PUBLIC: &str = "public.ecr.aws";
/// The API of the private registry.
pub const API: &str = "api.ecr.eu-central-1.amazonaws.com";
/// The API of the public one.
pub const PUBLIC_API: &str = "api.ecr-public.us-east-1.amazonaws.com";
/// STS in the private registry's region.
pub const STS: &str = "sts.eu-central-1.amazonaws.com";
/// EKS's agent.
pub const AGENT: &str = "169.254.170.23:80";
/// ECS's agent.
pub const ECS_AGENT: &str = "169.254.170.2:80";
/// The instance's metadata server.
pub const INSTANCE: &str = "169.254.169.254:80";

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const PUBLIC_TARGET: &str = "SpencerFrontendService.GetAuthorizationToken";
const JSON: &str = "application/x-amz-json-1.1";
const FORM: &str = "application/x-www-form-urlencoded";

/// An API of ECR's in a region, at a time.
#[derive(Debug, Clone)]
pub struct Api {
    pub region: String,
    pub is_public: bool,
    /// How far its clock is ahead of this machine's, in seconds.
    pub ahead: i64,
    /// Whether it says what time it is.
    pub says_date: bool,
    /// Whose keys it knows.
    pub known: Vec<Keys>,
}

impl Api {
    /// The private registries' of a region.
    pub fn private(region: &str, known: &[&Keys]) -> Self {
        let known = known.iter().map(|&keys| keys.clone()).collect();
        Self { region: region.to_owned(), is_public: false, ahead: 0, says_date: true, known }
    }

    /// The public registry's.
    pub fn public(known: &[&Keys]) -> Self {
        Self { is_public: true, ..Self::private("us-east-1", known) }
    }

    /// What it answers.
    pub fn answer(&self, request: &Request) -> Answer {
        self.asked_rightly(request);
        let now = Instant::now().later(self.ahead);
        let service = if self.is_public { "ecr-public" } else { "ecr" };
        let keys = self.keys(request);
        let answer = match sigv4::check(request, Expected { keys, region: &self.region, service, now }) {
            Ok(()) => self.given(keys, now),
            Err(Disbelief::Time(message)) => refusal("InvalidSignatureException", &message),
            Err(Disbelief::Wrong(why)) => panic!("{why}: {request:?}"),
        };
        if self.says_date { answer.header("Date", now.http()) } else { answer }
    }

    /// Whose keys signed.
    pub fn keys(&self, request: &Request) -> &Keys {
        let shown = request.header("Authorization").unwrap_or("");
        let signed = |keys: &&Keys| shown.contains(&format!("Credential={}/", keys.id));
        self.known.iter().find(signed).unwrap_or_else(|| panic!("nobody's access key: {shown}"))
    }

    fn asked_rightly(&self, request: &Request) {
        assert_eq!(request.line(), "POST /");
        assert_eq!(request.header("Content-Type"), Some(JSON));
        let target = if self.is_public { PUBLIC_TARGET } else { TARGET };
        assert_eq!(request.header("X-Amz-Target"), Some(target));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body, json!({}), "no registry is named");
    }

    fn given(&self, keys: &Keys, now: Instant) -> Answer {
        let ends = now.later(12 * 3600).seconds() as f64;
        let mut data = json!({"authorizationToken": keys.token(), "expiresAt": ends});
        if !self.is_public {
            data["proxyEndpoint"] = json!(format!("https://123456789012.dkr.ecr.{}.amazonaws.com", self.region));
            data = json!([data]);
        }
        Answer::new(200).header("Content-Type", JSON).body(json!({"authorizationData": data}).to_string())
    }
}

/// A refusal as ECR's APIs have it.
pub fn refusal(code: &str, message: &str) -> Answer {
    let body = json!({"__type": code, "message": message}).to_string();
    Answer::new(400).header("Content-Type", JSON).body(body)
}

/// A registry that only these passwords open, and its usual API.
pub fn private(world: &World, keys: &[&Keys]) {
    let api = Api::private("eu-central-1", keys);
    world.secure(&[API], move |request| api.answer(request));
    registry(world, PRIVATE, keys);
}

/// A private registry that only these passwords open.
pub fn registry(world: &World, host: &str, keys: &[&Keys]) {
    let opens: Vec<_> = keys.iter().map(|keys| basic(keys)).collect();
    let realm = format!(r#"Basic realm="https://{host}/",service="ecr.amazonaws.com""#);
    world.registry(host, move |request| match request.header("Authorization") {
        Some(shown) if opens.iter().any(|password| password == shown) => None,
        Some(_) => {
            let errors = json!({"errors": [{"code": "DENIED", "message": "Your authorization token is invalid."}]});
            Some(Answer::new(403).header("Content-Type", "application/json").body(errors.to_string()))
        }
        None => Some(Answer::new(401).header("WWW-Authenticate", realm.clone()).body("Not Authorized\n")),
    });
}

/// The public registry, with the token service that it has at its own host. Whom the token service knows has a token of
/// his own; strangers get one too if the image is for all.
pub fn public(world: &World, keys: &[&Keys], for_all: bool) {
    let opens: Vec<_> = keys.iter().map(|keys| basic(keys)).collect();
    let (own, strangers) = (world.secret("token-of-somebody-known"), world.secret("token-of-a-stranger"));
    world.registry(PUBLIC, move |request| {
        let shown = request.header("Authorization");
        if request.path() == "/token/" {
            let query: BTreeMap<_, _> = request.query().into_iter().collect();
            assert_eq!(query.get("service").map(String::as_str), Some(PUBLIC));
            return Some(match shown {
                Some(shown) if opens.iter().any(|password| password == shown) => {
                    Answer::json(json!({"token": own}).to_string())
                }
                Some(_) => Answer::new(400).body(r#"{"errors":[{"code":"DENIED","message":"Not Authorized"}]}"#),
                None => Answer::json(json!({"token": strangers}).to_string()),
            });
        }
        let is_let_in = |token: &str| shown == Some(&format!("Bearer {token}"));
        if is_let_in(&own) || (for_all && is_let_in(&strangers)) {
            return None;
        }
        let realm = format!(r#"Bearer realm="https://{PUBLIC}/token/",service="{PUBLIC}",scope="aws""#);
        Some(Answer::new(401).header("WWW-Authenticate", realm).body(r#"{"errors":[{"code":"DENIED"}]}"#))
    });
}

fn basic(keys: &Keys) -> String {
    format!("Basic {}", STANDARD.encode(format!("AWS:{}", keys.password)))
}

/// STS, which gives the role's keys for this token and for no other.
pub fn sts(token: &str, keys: &Keys) -> impl Fn(&Request) -> Answer + use<> {
    let (token, keys) = (token.to_owned(), keys.clone());
    move |request| {
        let form = assuming(request, "AssumeRoleWithWebIdentity");
        assert_eq!(request.header("Authorization"), None, "this is not signed");
        assert_eq!(form.get("RoleArn").map(String::as_str), Some(ROLE));
        assert_eq!(form.get("WebIdentityToken"), Some(&token));
        assumed("AssumeRoleWithWebIdentity", &keys)
    }
}

/// The form of a request to STS.
pub fn assuming(request: &Request, action: &str) -> BTreeMap<String, String> {
    assert_eq!(request.line(), "POST /");
    assert_eq!(request.header("Content-Type"), Some(FORM));
    let form: BTreeMap<_, _> = request.form().into_iter().collect();
    assert_eq!(form.get("Action").map(String::as_str), Some(action));
    assert_eq!(form.get("Version").map(String::as_str), Some("2011-06-15"));
    let session = form.get("RoleSessionName").expect("a session's name");
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    assert!((2..=64).contains(&session.len()) && session.bytes().all(is_named), "{session}");
    form
}

/// STS's answer.
pub fn assumed(action: &str, keys: &Keys) -> Answer {
    let (id, secret, session) = (&keys.id, &keys.secret, keys.session.as_ref().expect("a role's keys"));
    let ends = Instant::now().later(3600).extended();
    let body = format!(
        r#"<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>
        <AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/ci/s</Arn>
        </AssumedRoleUser><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>
        <SessionToken>{session}</SessionToken><Expiration>{ends}</Expiration></Credentials></{action}Result>
        <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"#
    );
    Answer::new(200).header("Content-Type", "text/xml").body(body)
}

/// STS's refusal.
pub fn sts_refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>
        <Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"#
    );
    Answer::new(status).header("Content-Type", "text/xml").body(body)
}

/// An agent, which gives the keys at this path to whoever shows this.
pub fn agent(path: &str, token: Option<&str>, keys: &Keys) -> impl Fn(&Request) -> Answer + use<> {
    let (path, token, keys) = (path.to_owned(), token.map(str::to_owned), keys.clone());
    move |request| {
        assert_eq!(request.line(), format!("GET {path}"));
        assert_eq!(request.header("Authorization"), token.as_deref());
        Answer::json(given(&keys).to_string())
    }
}

fn given(keys: &Keys) -> Value {
    let ends = Instant::now().later(3600).extended();
    json!({"AccessKeyId": keys.id, "SecretAccessKey": keys.secret, "Token": keys.session, "Expiration": ends,
           "AccountId": "123456789012"})
}

/// The metadata server of an instance that has this role.
pub fn instance(world: &World, role: &str, keys: &Keys) -> impl Fn(&Request) -> Answer + use<> {
    let session = world.secret("AQAEAFTNrA4eEGx0AQgJ1arIq_Cc-t4tWt3fB0Hd8RKhXlKc5ccvhg==");
    let (role, keys) = (role.to_owned(), keys.clone());
    move |request| {
        const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
        if request.method == "PUT" {
            assert_eq!(request.target, "/latest/api/token");
            assert_eq!(request.header("X-Forwarded-For"), None, "it refuses what is forwarded");
            let ttl = request.header(TTL).expect("how long the token is wanted");
            assert!((1..=21_600).contains(&ttl.parse::<u32>().unwrap()), "{ttl}");
            return Answer::new(200).header(TTL, ttl).body(session.clone());
        }
        assert_eq!(request.method, "GET");
        assert_eq!(request.header("X-aws-ec2-metadata-token"), Some(session.as_str()), "IMDSv2 only");
        match request.path().strip_prefix("/latest/meta-data/iam/security-credentials/") {
            Some("") => Answer::new(200).header("Content-Type", "text/plain").body(role.clone()),
            Some(asked) if asked == role => {
                let mut given = given(&keys);
                given["Code"] = json!("Success");
                given["Type"] = json!("AWS-HMAC");
                Answer::json(given.to_string())
            }
            Some(_) | None => Answer::new(404),
        }
    }
}
