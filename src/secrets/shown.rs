//! Where secrets stand in what is sent and answered: URLs, headers, forms, JSON and XML.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::Secrets;
use crate::percent::percent_decoded;

/// Headers whose values are secrets, in lower case.
const HEADERS: [&str; 7] = [
    "authorization",
    "metadata-token",
    "secret",
    "x-amz-security-token",
    "x-aws-ec2-metadata-token",
    "x-goog-iam-authorization-token",
    "x-identity-header",
];
/// Fields of forms, queries, JSON and XML whose values are secrets, in lower case, without `_` and `-`.
const FIELDS: [&str; 15] = [
    "accesstoken",
    "actortoken",
    "assertion",
    "authorizationtoken",
    "clientassertion",
    "clientsecret",
    "idtoken",
    "password",
    "privatekey",
    "refreshtoken",
    "secretaccesskey",
    "sessiontoken",
    "subjecttoken",
    "token",
    "webidentitytoken",
];

impl Secrets {
    /// Keeps what a request's URL has, which is not told, but is shown.
    pub fn keep_those_of_url(&self, url: &Url) {
        url.password().into_iter().for_each(|password| self.keep(&percent_decoded(password)));
        url.query_pairs().filter(|(name, _)| is_field(name)).for_each(|(_, value)| self.keep(&value));
    }

    /// Keeps what a request's headers have.
    pub fn keep_those_of_headers(&self, headers: &HeaderMap) {
        for (name, value) in headers {
            if let (true, Ok(text)) = (HEADERS.contains(&name.as_str()), value.to_str()) {
                self.keep_authorization(text);
            }
        }
    }

    /// Keeps the value of an `Authorization` header: a bare token, or one behind its scheme.
    pub fn keep_authorization(&self, text: &str) {
        let (scheme, rest) = text.split_once(' ').unwrap_or(("", text));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                self.keep(rest);
                let pair = STANDARD.decode(rest.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
                let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
                pair.into_iter().for_each(|(_, password)| self.keep(password));
            }
            "bearer" => self.keep(rest),
            // Amazon's: key, date, region and names of headers are what its errors are about.
            _ if scheme.starts_with("AWS4-") => {
                rest.split_once("Signature=").into_iter().for_each(|(_, signature)| self.keep(signature));
            }
            _ => self.keep(text),
        }
    }

    /// Keeps what a body has, of a request or of an answer: a form, JSON, or XML; also one that breaks off.
    pub fn keep_those_of_body(&self, body: &[u8]) {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => self.keep_those_of_json(&value),
            Err(_) => form(&text).filter(|(name, _)| is_field(name)).for_each(|(_, value)| self.keep(&value)),
        }
        tagged(&text).for_each(|value| self.keep(value));
    }

    pub(super) fn keep_those_of_json(&self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    value.as_str().filter(|_| is_field(name)).into_iter().for_each(|value| self.keep(value));
                    self.keep_those_of_json(value);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.keep_those_of_json(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn is_field(name: &str) -> bool {
    let name: String = name.chars().filter(|letter| !matches!(letter, '_' | '-')).collect();
    FIELDS.contains(&name.to_ascii_lowercase().as_str())
}

/// The pairs of a form.
fn form(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| {
        let plain = |text: &str| percent_decoded(&text.replace('+', " "));
        (plain(name), plain(value))
    })
}

/// The values that stand behind `"FIELD": "` or `<FIELD>`, as they stand there: what is no JSON to the end may have them.
fn tagged(text: &str) -> impl Iterator<Item = &str> {
    let marks = text.match_indices(['"', '<']);
    marks.filter_map(move |(at, mark)| {
        let rest = text.get(at + 1..)?;
        let (name, rest) = rest.split_at_checked(rest.find(['"', '>'])?)?;
        if !is_field(name) {
            return None;
        }
        if mark == "<" {
            return rest.strip_prefix('>')?.split('<').next();
        }
        rest.strip_prefix('"')?.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split('"').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "ya29.c.b0Aaekm1K+zV9/7Qw==-the_rest_of_it";

    fn keeping(keep: impl FnOnce(&Secrets)) -> Secrets {
        let secrets = Secrets::default();
        keep(&secrets);
        secrets
    }

    fn repeated(secrets: &Secrets) -> bool {
        secrets.without(format!("it says {TOKEN}")).contains(TOKEN)
    }

    #[test]
    fn what_headers_show_is_kept() {
        let basic = STANDARD.encode(format!("user:{TOKEN}"));
        for (name, value) in [
            ("Authorization", format!("Bearer {TOKEN}")),
            ("Authorization", format!("bearer {TOKEN}")),
            ("Authorization", TOKEN.to_owned()),
            ("Authorization", format!("Basic {basic}")),
            ("Authorization", format!("AWS4-HMAC-SHA256 Credential=AKIA/20261121/x, Signature={TOKEN}")),
            ("X-aws-ec2-metadata-token", TOKEN.to_owned()),
            ("X-Amz-Security-Token", TOKEN.to_owned()),
            ("X-IDENTITY-HEADER", TOKEN.to_owned()),
            ("Secret", TOKEN.to_owned()),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap());
            assert!(!repeated(&keeping(|secrets| secrets.keep_those_of_headers(&headers))), "{name}: {value}");
        }
        let secrets = keeping(|secrets| secrets.keep_authorization(&format!("Basic {basic}")));
        assert_eq!(secrets.without(format!("it says {basic}")), "it says (a secret)");
        // What Amazon's errors are about.
        let signed = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261121/eu-central-1/ecr/aws4_request, SignedHeaders=host";
        let secrets = keeping(|secrets| secrets.keep_authorization(&format!("{signed}, Signature={TOKEN}")));
        assert_eq!(secrets.without(signed.to_owned()), signed);
    }

    #[test]
    fn what_bodies_show_is_kept() {
        for (body, kept) in [
            (format!("grant_type=x&assertion={}", TOKEN.replace('+', "%2B").replace('/', "%2F")), true),
            (format!("client%5Fsecret={}", TOKEN.replace('+', "%2b")), true),
            (format!("scope={}", TOKEN.replace('+', "%2B")), false),
            (format!(r#"{{"access_token":"{TOKEN}","token_type":"Bearer"}}"#), true),
            (format!(r#"{{"access_token":"{}"}}"#, TOKEN.replace('/', r"\/")), true),
            (format!(r#"{{"authorizationData":[{{"authorizationToken":"{TOKEN}"}}]}}"#), true),
            (format!(r#"{{"SecretAccessKey":"{TOKEN}"}}"#), true),
            (format!(r#"{{"scope":"{TOKEN}"}}"#), false),
            // Answers that lie, or break off.
            (format!(r#"{{"access_token" : "{TOKEN}","#), true),
            (format!(r#"{{"expires_in":3600,"access_token":"{TOKEN}"#), true),
            (format!("<Credentials><SessionToken>{TOKEN}</SessionToken>"), true),
            (format!("<Credentials><SessionToken>{TOKEN}"), true),
            (format!("<Arn>{TOKEN}</Arn>"), false),
            // Prose has no secrets: it is what people are to read.
            (format!(r#"{{"error":"the token: {TOKEN}"}}"#), false),
        ] {
            assert_eq!(!repeated(&keeping(|secrets| secrets.keep_those_of_body(body.as_bytes()))), kept, "{body}");
        }
        keeping(|secrets| secrets.keep_those_of_body(&[0xff, 0xfe, b'"', b'<', b'=']));
    }

    #[test]
    fn what_a_url_shows_is_kept() {
        for (url, kept) in [
            ("http://localhost/token?access_token=ya29.c.b0Aaekm1K%2BzV9/7Qw==-the_rest_of_it", true),
            ("http://u:ya29.c.b0Aaekm1K+zV9%2F7Qw%3D%3D-the_rest_of_it@localhost/", true),
            ("http://localhost/?resource=ya29.c.b0Aaekm1K%2BzV9/7Qw==-the_rest_of_it", false),
        ] {
            assert_eq!(!repeated(&keeping(|secrets| secrets.keep_those_of_url(&url.parse().unwrap()))), kept, "{url}");
        }
    }
}
