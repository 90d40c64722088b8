//! What no message may repeat: the secrets that were shown to somebody or told by somebody, whole, in part or encoded.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::http::percent_decoded;
use crate::secret::Secret;

/// What is too short to be a secret, in bytes: words of a message are as long.
const SHORT: usize = 8;
/// A part of a secret that is not repeated either, in bytes: a message may have been cut in the middle of one.
const PART: usize = 16;
/// What stands in a secret's place.
const HIDDEN: &str = "(a secret)";
/// What stands in the place of a text that has one in another form.
const HIDDEN_WHOLLY: &str = "(what it says holds a secret)";
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
const FIELDS: [&str; 14] = [
    "accesstoken",
    "actortoken",
    "assertion",
    "authorizationtoken",
    "clientassertion",
    "clientsecret",
    "idtoken",
    "password",
    "refreshtoken",
    "secretaccesskey",
    "sessiontoken",
    "subjecttoken",
    "token",
    "webidentitytoken",
];

/// Secrets, shared by everybody who asks for one lookup.
#[derive(Debug, Default)]
pub(super) struct Secrets(Mutex<Vec<Secret>>);

impl Secrets {
    /// From now on no message repeats this.
    pub(super) fn keep(&self, secret: &str) {
        if secret.len() < SHORT {
            return;
        }
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if secrets.iter().all(|known| known.expose() != secret) {
            secrets.push(Secret::new(secret.to_owned()));
        }
    }

    /// Keeps what a request's URL has, which is not told, but is shown.
    pub(super) fn keep_those_of_url(&self, url: &Url) {
        url.password().into_iter().for_each(|password| self.keep(&percent_decoded(password)));
        url.query_pairs().filter(|(name, _)| is_field(name)).for_each(|(_, value)| self.keep(&value));
    }

    /// Keeps what a request's headers have.
    pub(super) fn keep_those_of_headers(&self, headers: &HeaderMap) {
        for (name, value) in headers {
            if let (true, Ok(text)) = (HEADERS.contains(&name.as_str()), value.to_str()) {
                self.keep_authorization(text);
            }
        }
    }

    /// A bare token, or one behind its scheme.
    fn keep_authorization(&self, text: &str) {
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
    pub(super) fn keep_those_of_body(&self, body: &[u8]) {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => self.keep_those_of_json(&value),
            Err(_) => form(&text).filter(|(name, _)| is_field(name)).for_each(|(_, value)| self.keep(&value)),
        }
        tagged(&text).for_each(|value| self.keep(value));
    }

    fn keep_those_of_json(&self, value: &Value) {
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

    /// A text without the secrets: whoever is asked may repeat them, and not as they were written.
    pub(super) fn without(&self, text: String) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = hidden(&text, &secrets);
        // Where it is not the same to hide first and to decode first, one was written in another form.
        let in_another_form = |decode: fn(&str) -> String| hidden(&decode(&text), &secrets) != decode(&told);
        if in_another_form(percent_decoded) || in_another_form(unescaped) {
            return HIDDEN_WHOLLY.to_owned();
        }
        told.into_owned()
    }
}

/// A text with every secret in it, or part of one, replaced.
fn hidden<'t>(text: &'t str, secrets: &[Secret]) -> Cow<'t, str> {
    let ranges = found(text, secrets);
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut told = String::new();
    let mut rest = 0;
    for range in ranges {
        told.push_str(text.get(rest..range.start).unwrap_or_default());
        told.push_str(HIDDEN);
        rest = range.end;
    }
    told.push_str(text.get(rest..).unwrap_or_default());
    Cow::Owned(told)
}

/// Where in a text secrets are, or parts of them; in order, each by itself.
fn found(text: &str, secrets: &[Secret]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for secret in secrets {
        let secret = secret.expose().as_bytes();
        let length = secret.len().min(PART);
        let parts: HashSet<&[u8]> = secret.windows(length).collect();
        let windows = text.as_bytes().windows(length).enumerate();
        ranges.extend(windows.filter(|(_, part)| parts.contains(part)).map(|(start, _)| start..start + length));
    }
    ranges.sort_unstable_by_key(|range| range.start);
    let mut apart: Vec<Range<usize>> = Vec::new();
    for Range { start, end } in ranges {
        // A part may begin or end in the middle of a character.
        let (start, end) = (text.floor_char_boundary(start), text.ceil_char_boundary(end));
        match apart.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            Some(_) | None => apart.push(start..end),
        }
    }
    apart
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

/// What the backslashes of a JSON text stand for, as far as a token's characters are concerned.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = behind.strip_prefix('u').and_then(|hex| hex.get(..4));
        let escaped = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        rest = match escaped {
            Some(character) => {
                plain.push(character);
                behind.get(5..).unwrap_or_default()
            }
            None => behind,
        };
    }
    plain.push_str(rest);
    plain
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

    fn without(secret: &str, text: &str) -> String {
        keeping(|secrets| secrets.keep(secret)).without(text.to_owned())
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands_and_whatever_was_cut_off() {
        for (text, told) in [
            ("not a word of it".to_owned(), "not a word of it"),
            (format!("{TOKEN} is odd, {TOKEN}"), "(a secret) is odd, (a secret)"),
            (format!("token '{}...", &TOKEN[..30]), "token '(a secret)..."),
            (format!("...{}' is odd", &TOKEN[20..]), "...(a secret)' is odd"),
            (format!("near {}", &TOKEN[5..21]), "near (a secret)"),
            // Too little to be of use.
            (format!("near {}", &TOKEN[5..20]), "near c.b0Aaekm1K+zV9"),
            (format!("\u{e9}{TOKEN}\u{e9}"), "\u{e9}(a secret)\u{e9}"),
        ] {
            assert_eq!(without(TOKEN, &text), told, "{text}");
        }
    }

    #[test]
    fn one_secret_that_begins_another_leaves_nothing_of_it() {
        let secrets =
            keeping(|secrets| [&TOKEN[..12], TOKEN, "hunter2-"].iter().for_each(|secret| secrets.keep(secret)));
        assert_eq!(secrets.without(format!("{TOKEN} hunter2-")), "(a secret) (a secret)");
        assert_eq!(secrets.without(format!("{}hunter2-", &TOKEN[..12])), "(a secret)");
    }

    #[test]
    fn a_secret_in_another_form_hides_the_whole_text() {
        for text in [
            "body: assertion=ya29.c.b0Aaekm1K%2BzV9%2F7Qw%3D%3D-the_rest_of_it",
            "body: assertion=ya29.c.b0Aaekm1K%2bzV9%2f7Qw%3d%3d-the_re...",
            r#"{"assertion":"ya29.c.b0Aaekm1K\u002bzV9\/7Qw\u003D\u003d-the_rest_of_it"}"#,
        ] {
            assert_eq!(without(TOKEN, text), HIDDEN_WHOLLY, "{text}");
        }
        for text in [r"100 % of \ and \u12 and %4 \", "%", r"\u", ""] {
            assert_eq!(without(TOKEN, text), text);
        }
        // Whole parts of it stand there as they are.
        assert_eq!(without(TOKEN, "ya29.c.b0Aaekm1K%2BzV9%2F7Qw==-the_rest_of_it"), HIDDEN_WHOLLY);
        assert_eq!(without(TOKEN, &format!("100%25 {TOKEN} %20")), "100%25 (a secret) %20");
        let told = without("p\u{e4}ssw\u{f6}rter", "p%C3%A4ssw%C3%B6rter");
        assert_eq!(told, HIDDEN_WHOLLY);
    }

    #[test]
    fn a_short_word_is_no_secret() {
        assert_eq!(without("expired", "it is expired"), "it is expired");
        assert_eq!(without("hunter2-", "it is hunter2-"), "it is (a secret)");
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
