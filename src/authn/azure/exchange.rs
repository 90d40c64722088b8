//! The registry's own token for one of Entra ID: `POST /oauth2/exchange`.
//! <https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md>

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use zeroize::Zeroizing;

use super::error::{Failure, Refusal};
use super::place::Registry;
use crate::authn::cloud::{Context, Question, host_and_port, within};
use crate::secret::Secret;

/// Exchanges an access token for the registry's refresh token.
pub(super) async fn refresh_token(
    context: &Context<'_>,
    registry: &Registry,
    tenant: Option<&str>,
    token: &Secret,
) -> Result<Secret, Failure> {
    // The host was matched against patterns that hold names only.
    let no_url = || Failure::NoToken { whom: registry.host.clone() };
    let url = Url::parse(&format!("https://{}/oauth2/exchange", registry.host)).map_err(|_| no_url())?;
    let whom = host_and_port(&url);
    let headers = HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static("application/json")),
        (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
    ]);
    let body = Zeroizing::new(form(&registry.host, tenant, token).expose().as_bytes().to_vec());
    let question = Question { what: "registry token", method: Method::POST, url, headers, body };
    let answer = within(context.limits.service, &whom, context.http.ask(question)).await??;
    if !answer.status.is_success() {
        return Err(Refusal::of(whom, &answer, |words| context.http.without_secrets(words)).into());
    }
    refresh_token_of(&answer.body).ok_or(Failure::NoToken { whom })
}

fn form(service: &str, tenant: Option<&str>, token: &Secret) -> Secret {
    // The serializer of queries is that of forms.
    let mut form = Url::parse("form:/").ok();
    if let Some(form) = &mut form {
        let mut pairs = form.query_pairs_mut();
        pairs.append_pair("grant_type", "access_token").append_pair("service", service);
        if let Some(tenant) = tenant {
            pairs.append_pair("tenant", tenant);
        }
        pairs.append_pair("access_token", token.expose());
    }
    Secret::new(form.as_ref().and_then(Url::query).unwrap_or("").to_owned())
}

fn refresh_token_of(body: &[u8]) -> Option<Secret> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let token = document.get("refresh_token")?.as_str()?;
    (!token.is_empty()).then(|| Secret::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_and_names_the_tenant_where_it_is_known() {
        let token = Secret::new("a&b=".to_owned());
        assert_eq!(
            form("t.azurecr.io", None, &token).expose(),
            "grant_type=access_token&service=t.azurecr.io&access_token=a%26b%3D"
        );
        assert_eq!(
            form("t.azurecr.io", Some("x"), &token).expose(),
            "grant_type=access_token&service=t.azurecr.io&tenant=x&access_token=a%26b%3D"
        );
    }

    #[test]
    fn an_answer_without_a_refresh_token_has_none() {
        assert_eq!(refresh_token_of(br#"{"refresh_token":"r"}"#).as_ref().map(Secret::expose), Some("r"));
        for body in ["", "{}", "[]", "null", r#"{"refresh_token":""}"#, r#"{"refresh_token":1}"#, "<html>"] {
            assert!(refresh_token_of(body.as_bytes()).is_none(), "{body}");
        }
    }
}
