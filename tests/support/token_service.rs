//! The token service of a registry that wants Bearer tokens: signs for who shows the password or the identity token.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>,
//! <https://distribution.github.io/distribution/spec/auth/oauth/>

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::registry::{PASSWORD, USER};
use super::server::{Answer, Bound, Reply, Request, Server};
use super::tls::{Authority, LOOPBACK, Leaf};

/// What its user got at some login, in the place of the password.
pub const IDENTITY_TOKEN: &str = "an+identity/token=of the user";
/// How long a credential may take to come before the test is given up. No test passes sooner or later by it.
const PATIENCE: Duration = Duration::from_secs(60);

const SERVICE: &str = "the tests' registry";
const ISSUER: &str = "the tests' token service";

/// A running token service.
pub struct TokenService {
    server: Server,
    desk: Arc<Desk>,
    shown: Receiver<()>,
    /// The authority of the key that tokens are signed with, PEM.
    root: String,
}

/// What is decided for each request.
struct Desk {
    signer: Signer,
    issued: Mutex<Vec<String>>,
    holding: AtomicBool,
    shown: Mutex<Sender<()>>,
}

impl TokenService {
    /// Starts one whose TLS certificate is from this authority.
    pub fn start(authority: &Authority) -> Self {
        let issuer = Authority::new(ISSUER);
        let (send, shown) = channel();
        let desk = Arc::new(Desk {
            signer: Signer::new(&issuer.leaf(&["token.example"])),
            issued: Mutex::default(),
            holding: AtomicBool::new(false),
            shown: Mutex::new(send),
        });
        let answering = Arc::clone(&desk);
        let server =
            Server::handler(Bound::new(), Some(authority.server(LOOPBACK)), move |request| answering.answer(request));
        Self { server, desk, shown, root: issuer.pem() }
    }

    /// What a registry's configuration says about it. The certificate goes into a file of the directory.
    pub fn configuration(&self, dir: &Path) -> Value {
        let bundle = dir.join("token-root.pem");
        fs::write(&bundle, &self.root).expect("the root of the tokens");
        let realm = self.server.url("/token");
        json!({"token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}})
    }

    /// Address and port.
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// From now on it takes credentials and says nothing.
    pub fn hold(&self) {
        self.desk.holding.store(true, Ordering::SeqCst);
    }

    /// Waits until a credential was shown that is held.
    pub fn wait_for_held(&self) {
        self.shown.recv_timeout(PATIENCE).expect("given up: nobody shows the token service a credential");
    }

    /// The tokens that it has given out.
    pub fn issued(&self) -> Vec<String> {
        self.desk.issued.lock().expect("no panic holds the lock").clone()
    }
}

/// Who asks, by what they showed.
enum Asker {
    Nobody,
    User,
    Refused,
}

impl Desk {
    fn answer(&self, request: &Request) -> Reply {
        if request.path() != "/token" {
            return Answer::new(404).into();
        }
        let (asker, parameters) = match request.method.as_str() {
            "GET" => (by_password(request.header("Authorization")), request.query()),
            "POST" => (by_identity_token(&request.form()), request.form()),
            _ => return Answer::new(405).into(),
        };
        let all = |name: &str| -> Vec<String> {
            parameters.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect()
        };
        if all("service") != [SERVICE] {
            return Answer::new(400).into();
        }
        if self.holding.load(Ordering::SeqCst) && !matches!(asker, Asker::Nobody) {
            self.shown.lock().expect("no panic holds the lock").send(()).expect("the test is there");
            return Reply::Stall(Vec::new());
        }
        let scopes = all("scope");
        let access = match asker {
            Asker::Refused => {
                let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]});
                return Answer::new(401).header("Content-Type", "application/json").body(body.to_string()).into();
            }
            // As at Docker Hub: a token that allows nothing.
            Asker::Nobody => Vec::new(),
            Asker::User => scopes.iter().flat_map(|scopes| scopes.split(' ')).filter_map(access).collect(),
        };
        let token = self.signer.token(&access);
        self.issued.lock().expect("no panic holds the lock").push(token.clone());
        // The two protocols have different names for it.
        let name = if request.method == "POST" { "access_token" } else { "token" };
        Answer::json(json!({name: token, "expires_in": 300}).to_string()).into()
    }
}

fn by_password(authorization: Option<&str>) -> Asker {
    let wanted = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    match authorization {
        None => Asker::Nobody,
        Some(shown) if shown == wanted => Asker::User,
        Some(_) => Asker::Refused,
    }
}

fn by_identity_token(form: &[(String, String)]) -> Asker {
    let has = |name: &str, wanted: &str| form.iter().any(|(own, value)| own == name && value == wanted);
    let says = |name: &str| form.iter().any(|(own, value)| own == name && !value.is_empty());
    if has("grant_type", "refresh_token") && has("refresh_token", IDENTITY_TOKEN) && says("client_id") {
        Asker::User
    } else {
        Asker::Refused
    }
}

/// What a scope asks for, in the form of the claim that grants it.
fn access(scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
}

/// Signs tokens with ES256.
struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    /// The certificate of the key, base64 of DER.
    certificate: String,
}

impl Signer {
    fn new(leaf: &Leaf) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = STANDARD.decode(pem_body(&leaf.key_pem)).expect("PEM is base64");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).expect("a P-256 key");
        Self { key, random, certificate: pem_body(&leaf.certificate_pem) }
    }

    fn token(&self, access: &[Value]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock behind 1970").as_secs();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let claims = json!({
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "access": access,
            "iat": now, "nbf": now - 60, "exp": now + 300, "jti": format!("{now}"),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What stands between the lines of dashes.
fn pem_body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}
