//! Asking one of Google's services once: within its limit, and with a refusal told as people need it.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use zeroize::Zeroizing;

use super::clock::Skew;
use super::error::GoogleError;
use super::fields::Fields;
use super::refusal::{Refusal, Step, Words, advice};
use crate::authn::cloud::{Answer, Context, Question, host_and_port, is_metadata, within};
use crate::secret::Secret;

/// What it usually means when nobody answers.
const USUALLY: &str = "egress to it may be blocked, or need a proxy (HTTPS_PROXY)";
const USUALLY_METADATA: &str =
    "a NetworkPolicy may block it (GKE's needs egress to 169.254.169.254:80 and 169.254.169.252:988)";

/// An access token.
#[derive(Debug)]
pub(super) struct Token {
    /// The token.
    pub(super) secret: Secret,
    /// How many seconds it counts, if that was said.
    pub(super) expires_in: Option<u64>,
}

/// Asks once, within a limit.
pub(super) async fn answered(
    context: &Context<'_>,
    limit: Duration,
    question: Question,
) -> Result<Answer, GoogleError> {
    let usually = if is_metadata(&question.url) { USUALLY_METADATA } else { USUALLY };
    let whom = host_and_port(&question.url);
    let answer = within(limit, &whom, context.http.ask(question)).await;
    Ok(answer.map_err(|hung| GoogleError::Hung { hung, usually })??)
}

/// Asks a service for a token.
pub(super) async fn asked(context: &Context<'_>, question: Question, step: &Step) -> Result<Token, GoogleError> {
    let url = question.url.clone();
    let answer = answered(context, context.limits.service, question).await?;
    if !answer.status.is_success() {
        return Err(refused(context, &url, &answer, step));
    }
    token(context, &answer.body).ok_or_else(|| GoogleError::NoToken { host: host_and_port(&url) })
}

/// A refusal, with the words of the service and what to do.
pub(super) fn refused(context: &Context<'_>, url: &Url, answer: &Answer, step: &Step) -> GoogleError {
    let status = answer.status.as_u16();
    let words = Words::of(&answer.body, |text| context.http.without_secrets(text));
    let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
    let skew = date.and_then(|date| Skew::by(date, context.now));
    let advice = advice(step, status, words.as_ref(), skew);
    GoogleError::Refused(Box::new(Refusal { host: host_and_port(url), status, words, advice }))
}

/// The token in an answer, in the words of OAuth or of IAM. From now on no message repeats it.
pub(super) fn token(context: &Context<'_>, body: &[u8]) -> Option<Token> {
    let token = token_of(body)?;
    context.http.keep(token.secret.expose());
    Some(token)
}

fn token_of(body: &[u8]) -> Option<Token> {
    let mut fields = Fields::of(body).ok()?;
    let expires_in = fields.number("expires_in").ok().flatten();
    let token = fields.text("access_token").ok().flatten();
    let token = token.or_else(|| fields.text("accessToken").ok().flatten())?;
    // It becomes a header.
    let fits = token.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| Token { secret: Secret::new(token), expires_in })
}

/// A question in the form of a form.
pub(super) fn form(what: &'static str, url: &Url, fields: &[(&str, &str)]) -> Question {
    // The serializer of queries is that of forms.
    let mut form = Url::parse("form:/").ok();
    if let Some(form) = &mut form {
        form.query_pairs_mut().extend_pairs(fields);
    }
    let body = form.as_ref().and_then(Url::query).unwrap_or("").as_bytes().to_vec();
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
    Question {
        what,
        method: Method::POST,
        url: url.clone(),
        headers: headers.into_iter().collect::<HeaderMap>(),
        body: Zeroizing::new(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_both_forms_and_must_be_one() {
        for (body, expected) in [
            (r#"{"access_token":"t","expires_in":3599,"token_type":"Bearer"}"#, Some(("t", Some(3599)))),
            (r#"{"accessToken":"t","expireTime":"2026-01-01T00:00:00Z"}"#, Some(("t", None))),
            (r#"{"access_token":"t","expires_in":"soon"}"#, Some(("t", None))),
            (r#"{"access_token":""}"#, None),
            (r#"{"access_token":7}"#, None),
            (r#"{"access_token":"a\r\nb"}"#, None),
            (r#"{"access_token":"a b"}"#, None),
            ("{}", None),
            ("", None),
            ("<html>", None),
        ] {
            let token = token_of(body.as_bytes());
            let token = token.as_ref().map(|token| (token.secret.expose(), token.expires_in));
            assert_eq!(token, expected, "{body}");
        }
    }

    #[test]
    fn a_form_is_encoded() {
        let url: Url = "https://sts.googleapis.com/v1/token".parse().unwrap();
        let question = form("token", &url, &[("a", "b&c=d"), ("scope", "https://x/y z")]);
        assert_eq!(question.body.as_slice(), b"a=b%26c%3Dd&scope=https%3A%2F%2Fx%2Fy+z");
    }
}
