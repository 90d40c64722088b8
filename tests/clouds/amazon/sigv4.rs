//! Amazon's check of a signature, version 4: from what arrived, with the secret, as the services do it.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use ring::{digest, hmac};

use super::keys::Keys;
use super::time::Instant;
use crate::server::Request;

/// How far the signature's time may be from the service's, in seconds.
const TOLERANCE: i64 = 300;

/// What a service expects of a signature.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub keys: &'a Keys,
    pub region: &'a str,
    pub service: &'a str,
    /// The service's clock.
    pub now: Instant,
}

/// Why a service does not believe a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disbelief {
    /// It was signed at another time.
    Time(String),
    /// Anything else: a client that is wrong.
    Wrong(String),
}

impl From<&str> for Disbelief {
    fn from(why: &str) -> Self {
        Self::Wrong(why.to_owned())
    }
}

/// Whether the service believes that who signed has the keys.
pub fn check(request: &Request, expected: Expected<'_>) -> Result<(), Disbelief> {
    let Expected { keys, region, service, now } = expected;
    let shown = Shown::of(request)?;
    let date = request.header("X-Amz-Date").ok_or("no X-Amz-Date")?;
    let signed_at = Instant::from_basic(date).ok_or("an X-Amz-Date that is no time")?;
    let day = date.get(..8).ok_or("a short X-Amz-Date")?;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    if shown.scope != scope {
        return Err(Disbelief::Wrong(format!("the scope is {} and should be {scope}", shown.scope)));
    }
    if shown.key != keys.id {
        return Err(Disbelief::Wrong(format!("the access key is {}", shown.key)));
    }
    if request.header("X-Amz-Security-Token") != keys.session.as_deref() {
        return Err("the session token is not that of the keys".into());
    }
    // Host and everything of Amazon's must be signed.
    for (name, _) in &request.headers {
        let name = name.to_ascii_lowercase();
        if (name == "host" || name.starts_with("x-amz-")) && !shown.signed.contains(&name.as_str()) {
            return Err(Disbelief::Wrong(format!("{name} is not signed")));
        }
    }
    if signature(request, &shown, date, &scope, &keys.secret) != shown.signature {
        return Err("the signature is wrong".into());
    }
    let (then, limit) = (date, now.basic());
    match signed_at.seconds() - now.seconds() {
        late if late < -TOLERANCE => {
            Err(Disbelief::Time(format!("Signature expired: {then} is now earlier than {limit}")))
        }
        early if early > TOLERANCE => {
            Err(Disbelief::Time(format!("Signature not yet current: {then} is still later than {limit}")))
        }
        _ => Ok(()),
    }
}

/// What `Authorization` holds.
struct Shown<'a> {
    key: &'a str,
    scope: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Shown<'a> {
    fn of(request: &'a Request) -> Result<Self, Disbelief> {
        let text = request.header("Authorization").ok_or("no Authorization")?;
        let text = text.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("another algorithm")?;
        let part = |name: &str| text.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let credential = part("Credential").ok_or("no Credential")?;
        let (key, scope) = credential.split_once('/').ok_or("a Credential without a scope")?;
        let signed = part("SignedHeaders").ok_or("no SignedHeaders")?.split(';').collect::<Vec<_>>();
        if !signed.is_sorted() {
            return Err("signed headers out of order".into());
        }
        Ok(Self { key, scope, signed, signature: part("Signature").ok_or("no Signature")? })
    }
}

fn signature(request: &Request, shown: &Shown<'_>, date: &str, scope: &str, secret: &str) -> String {
    let mut query: Vec<&str> = request.target.split_once('?').map_or("", |(_, query)| query).split('&').collect();
    query.sort_unstable();
    let headers: String = shown
        .signed
        .iter()
        .map(|name| {
            format!("{name}:{}\n", request.header(name).unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        request.method,
        request.path(),
        query.join("&"),
        shown.signed.join(";"),
        hex(digest::digest(&digest::SHA256, &request.body).as_ref()),
    );
    let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{canonical}");
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part.as_bytes()));
    hex(&mac(&key, to_sign.as_bytes()))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Amazon's published examples: the check is the services' own, and not only what the client happens to do.
#[test]
fn the_check_agrees_with_amazons_published_examples() {
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    for (method, target, extra, body, signed, signature) in [
        ("GET", "/", None, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            None,
            "",
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST",
            "/",
            Some(form),
            "Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ] {
        let keys = Keys {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session: None,
            password: String::new(),
        };
        let authorization = |signature: &str| {
            let scope = "20150830/us-east-1/service/aws4_request";
            format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed}, Signature={signature}")
        };
        let headers = [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")];
        let headers = headers.into_iter().chain(extra).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.collect(),
            body: body.as_bytes().to_vec(),
        };
        request.headers.push(("Authorization".to_owned(), authorization(signature)));
        let now = Instant::from_basic("20150830T123600Z").unwrap();
        let expected = Expected { keys: &keys, region: "us-east-1", service: "service", now };
        check(&request, expected).unwrap();
        for (seconds, is_believed) in [(300, true), (301, false), (-300, true), (-301, false)] {
            let checked = check(&request, Expected { now: now.later(seconds), ..expected });
            assert_eq!(checked.is_ok(), is_believed, "{seconds}: {checked:?}");
        }
        check(&request, Expected { region: "eu-west-1", ..expected }).unwrap_err();
        let others = Keys { secret: "another".to_owned(), ..keys.clone() };
        check(&request, Expected { keys: &others, ..expected }).unwrap_err();
        let with_session = Keys { session: Some("a token".to_owned()), ..keys.clone() };
        check(&request, Expected { keys: &with_session, ..expected }).unwrap_err();
        request.headers.push(("X-Amz-Target".to_owned(), "not signed".to_owned()));
        check(&request, expected).unwrap_err();
    }
}
