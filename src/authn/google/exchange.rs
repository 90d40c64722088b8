//! From a credential file to an access token: what each kind of identity asks of whom.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;
use zeroize::Zeroizing;

use super::SCOPE;
use super::document::{Authorization, Base, Client, Document, Federated, Impersonation, ServiceAccount, User};
use super::error::GoogleError;
use super::key;
use super::refusal::Step;
use super::service::{Token, asked, form};
use super::subject::expired_for;
use crate::authn::cloud::{Context, Question, host_and_port};
use crate::secret::Secret;

/// What the story calls a request for a token.
const WHAT: &str = "identity token";

/// The token of a credential file's identity.
pub(super) async fn token(document: &Document, context: &Context<'_>) -> Result<Token, GoogleError> {
    let mut federated = false;
    let mut token = match &document.base {
        Base::ServiceAccount(account) => of_service_account(account, context).await?,
        Base::User(user) => of_user(user, context).await?,
        Base::Federated(identity) => {
            federated = true;
            of_federated(identity, context).await?
        }
    };
    for impersonation in &document.impersonations {
        token = impersonated(impersonation, &token, federated, context).await?;
        federated = false;
    }
    Ok(token)
}

/// <https://developers.google.com/identity/protocols/oauth2/service-account#makingrequest>
async fn of_service_account(account: &ServiceAccount, context: &Context<'_>) -> Result<Token, GoogleError> {
    let assertion = key::assertion(account, context.now)?;
    let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.expose())];
    asked(context, form(WHAT, account.token_uri.url(), &fields), &Step::Assertion).await
}

/// <https://developers.google.com/identity/protocols/oauth2/web-server#offline>
async fn of_user(user: &User, context: &Context<'_>) -> Result<Token, GoogleError> {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", &user.client.id),
        ("client_secret", user.client.secret.expose()),
        ("refresh_token", user.refresh_token.expose()),
    ];
    asked(context, form(WHAT, user.token_uri.url(), &fields), &Step::Refresh).await
}

/// <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>
async fn of_federated(identity: &Federated, context: &Context<'_>) -> Result<Token, GoogleError> {
    let subject_token = identity.source.token(context).await?;
    let mut fields = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", &identity.audience),
        ("scope", SCOPE),
        ("subject_token_type", &identity.subject_token_type),
        ("subject_token", subject_token.expose()),
    ];
    let options;
    if let Authorization::Project(project) = &identity.authorization {
        options = json!({"userProject": project}).to_string();
        fields.push(("options", &options));
    }
    let mut question = form(WHAT, identity.token_url.url(), &fields);
    if let Authorization::Client(client) = &identity.authorization {
        context.http.keep(client.secret.expose());
        question.headers.extend(basic(client).map(|value| (AUTHORIZATION, value)));
    }
    let step = Step::Exchange { expired_for: expired_for(&subject_token, context.now) };
    asked(context, question, &step).await
}

/// <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>
async fn impersonated(
    impersonation: &Impersonation,
    token: &Token,
    federated: bool,
    context: &Context<'_>,
) -> Result<Token, GoogleError> {
    let Impersonation { url, delegates, lifetime } = impersonation;
    let step = Step::Impersonation { account: url.account().to_owned(), federated };
    let mut body = json!({"scope": [SCOPE], "lifetime": format!("{lifetime}s")});
    if !delegates.is_empty() {
        body["delegates"] = json!(delegates);
    }
    let url = url.url();
    let bearer = Secret::new(format!("Bearer {}", token.secret.expose()));
    let bearer = sensitive(&bearer).ok_or_else(|| GoogleError::NoToken { host: host_and_port(url) })?;
    let headers = [(AUTHORIZATION, bearer), (CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let question = Question {
        what: WHAT,
        method: Method::POST,
        url: url.clone(),
        headers: headers.into_iter().collect::<HeaderMap>(),
        body: Zeroizing::new(body.to_string().into_bytes()),
    };
    asked(context, question, &step).await
}

fn basic(client: &Client) -> Option<HeaderValue> {
    let pair = Secret::new(format!("{}:{}", client.id, client.secret.expose()));
    sensitive(&Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))))
}

fn sensitive(text: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
