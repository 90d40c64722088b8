//! The token service of a Bearer challenge: what is asked of it, with which credential, and what it answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use serde::Deserialize;

use super::ask::{Answer, Asker, Question, broken, without_secrets};
use super::error::What;
use super::place::{self, Purpose, host_and_port};
use super::{PlaceError, Refusal, RegistryError, Settings};
use crate::credential::{Credential, Note, Proof};
use crate::image::Object;
use crate::secret::Secret;

/// What the program calls itself at a token service.
const CLIENT_ID: &str = "entrypoint";

/// A Bearer challenge's parameters.
pub(super) struct TokenService<'c> {
    pub(super) realm: &'c str,
    pub(super) service: Option<&'c str>,
    pub(super) scope: Option<&'c str>,
}

/// What came of asking for a token.
pub(super) enum TokenAnswer {
    /// There is one.
    Token {
        /// The header that shows it.
        header: HeaderValue,
        /// Whether the credential was shown for it.
        shown: bool,
    },
    /// The token service does not accept the credential.
    Refused(Box<Refusal>),
}

impl TokenService<'_> {
    /// Asks for a token that allows pulling from `repository`.
    pub(super) async fn token(
        &self,
        asker: &mut Asker<'_>,
        repository: &str,
        credential: Option<&Credential>,
    ) -> Result<TokenAnswer, RegistryError> {
        let realm = self.checked_realm(&asker.registry, asker.settings)?;
        let credential = credential.filter(|credential| self.may_be_shown(asker, &realm, credential));
        let scopes = self.scopes(repository);
        if let Some(Credential { proof: Proof::IdentityToken(token), .. }) = credential {
            let form = self.form(&scopes, token);
            let question = Question {
                what: What::Token,
                method: Method::POST,
                accept: None,
                authorization: None,
                proves: true,
                form: Some(&form),
            };
            let answer = asker.ask(&realm, &question).await?;
            // No OAuth2 there: 404 of Google, 405, 401 of Artifactory, 400 of Azure. The older GET may know the token.
            if !matches!(answer.status.as_u16(), 400 | 401 | 404 | 405) {
                return finished(answer, true);
            }
        }
        let authorization = credential.and_then(|credential| match &credential.proof {
            Proof::Basic { username, password } => basic(username, password),
            Proof::IdentityToken(token) => basic("", token),
            Proof::RegistryToken(_) => None,
        });
        let (proves, authorization) = (authorization.is_some(), authorization.as_ref());
        let question =
            Question { what: What::Token, method: Method::GET, accept: None, authorization, proves, form: None };
        finished(asker.ask(&self.query(&realm, &scopes), &question).await?, proves)
    }

    /// The realm as a URL that may be asked.
    pub(super) fn checked_realm(&self, registry: &Url, settings: &Settings) -> Result<Url, RegistryError> {
        let refused = |realm: &str, source| RegistryError::Realm {
            host: host_and_port(registry),
            realm: realm.to_owned(),
            source,
        };
        let mut realm = Url::parse(self.realm).map_err(|_| refused(&broken(self.realm), PlaceError::NotAUrl))?;
        // A user and a password in a URL would be sent as credentials.
        let _ = realm.set_username("");
        let _ = realm.set_password(None);
        place::check(&realm, registry, Purpose::Token, settings)
            .map_err(|source| refused(&without_secrets(&realm), source))?;
        Ok(realm)
    }

    /// Whether the credential may go to the realm; over plain http only to this machine or to who is listed.
    fn may_be_shown(&self, asker: &mut Asker<'_>, realm: &Url, credential: &Credential) -> bool {
        if realm.scheme() == "https" || place::may_be_shown_credentials(realm, asker.settings) {
            return true;
        }
        let host = host_and_port(realm);
        asker.notes.push(Note::new(
            credential.source.clone(),
            format!(
                "not shown to the token service {host}, which speaks plain http; -image_insecure_registry {host} would \
                 allow it"
            ),
        ));
        false
    }

    /// The scopes to ask for: the registry's own words, and ours if they do not mention the repository.
    pub(super) fn scopes(&self, repository: &str) -> Vec<String> {
        let mut scopes: Vec<String> = self.scope.unwrap_or("").split_whitespace().map(str::to_owned).collect();
        let ours = format!("repository:{repository}:");
        if !scopes.iter().any(|scope| scope.starts_with(&ours)) {
            scopes.push(format!("{ours}pull"));
        }
        scopes
    }

    /// The realm with its own query kept.
    pub(super) fn query(&self, realm: &Url, scopes: &[String]) -> Url {
        let mut url = realm.clone();
        {
            let mut pairs = url.query_pairs_mut();
            for scope in scopes {
                pairs.append_pair("scope", scope);
            }
            if let Some(service) = self.service {
                pairs.append_pair("service", service);
            }
        }
        url
    }

    /// <https://distribution.github.io/distribution/spec/auth/oauth/>
    fn form(&self, scopes: &[String], token: &Secret) -> Secret {
        // The serializer of queries is that of forms.
        let mut form = Url::parse("form:/").ok();
        if let Some(form) = &mut form {
            let mut pairs = form.query_pairs_mut();
            pairs.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT_ID);
            pairs.append_pair("scope", &scopes.join(" "));
            if let Some(service) = self.service {
                pairs.append_pair("service", service);
            }
            pairs.append_pair("refresh_token", token.expose());
        }
        Secret::new(form.as_ref().and_then(Url::query).unwrap_or("").to_owned())
    }
}

/// `Basic`, unless there is nothing to show.
pub(super) fn basic(username: &str, password: &Secret) -> Option<HeaderValue> {
    if username.is_empty() && password.is_empty() {
        return None;
    }
    let pair = Secret::new(format!("{username}:{}", password.expose()));
    sensitive(&Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))))
}

/// `Bearer`, unless it cannot be a header.
pub(super) fn bearer(token: &Secret) -> Option<HeaderValue> {
    if token.is_empty() { None } else { sensitive(&Secret::new(format!("Bearer {}", token.expose()))) }
}

fn sensitive(text: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What the token service's answer means.
fn finished(answer: Answer, shown: bool) -> Result<TokenAnswer, RegistryError> {
    let status = answer.status.as_u16();
    if status == 429 {
        let (retry_after, refusal) = (answer.retry_after(), answer.refusal(What::Token));
        return Err(RegistryError::TooManyRequests { host: answer.host, retry_after, refusal });
    }
    if answer.status.is_client_error() {
        return Ok(TokenAnswer::Refused(answer.refusal(What::Token)));
    }
    if !answer.status.is_success() {
        let refusal = answer.refusal(What::Token);
        return Err(RegistryError::Status { host: answer.host, what: What::Token, refusal });
    }
    match token_of(&answer.body).as_ref().and_then(bearer) {
        Some(header) => Ok(TokenAnswer::Token { header, shown }),
        None => Err(RegistryError::NoToken { host: answer.host }),
    }
}

/// The token in an answer: `access_token` before `token`, as in google/go-containerregistry; neither may be empty.
fn token_of(body: &[u8]) -> Option<Secret> {
    #[derive(Deserialize)]
    struct Body {
        access_token: Option<String>,
        token: Option<String>,
    }
    let Object::<Body>(body) = serde_json::from_slice(body).ok()?;
    let token = |text: Option<String>| text.map(Secret::new).filter(|token| !token.is_empty());
    token(body.access_token).or_else(|| token(body.token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_token_wins_and_an_empty_one_is_none() {
        for (body, token) in [
            (r#"{"token":"t"}"#, Some("t")),
            (r#"{"access_token":"a","token":"t"}"#, Some("a")),
            (r#"{"access_token":"","token":"t"}"#, Some("t")),
            (r#"{"token":""}"#, None),
            (r#"{"token":null}"#, None),
            ("{}", None),
            (r#"["a","t"]"#, None),
            ("<html>", None),
        ] {
            assert_eq!(token_of(body.as_bytes()).as_ref().map(Secret::expose), token, "{body}");
        }
    }

    #[test]
    fn a_token_that_cannot_be_a_header_is_none() {
        assert!(bearer(&Secret::new("a\r\nX: y".to_owned())).is_none());
        assert!(bearer(&Secret::new("abc".to_owned())).is_some_and(|value| value.is_sensitive()));
    }

    #[test]
    fn a_realm_that_is_refused_is_told_without_what_looks_like_a_password() {
        let registry = "https://r.example/".parse().expect("a URL");
        for realm in [
            "ann:hunter2@auth.example/token",
            "https:ann:hunter2@10.0.0.1/token",
            "https://ann:hunter2@10.0.0.1/token?password=hunter2",
            "//ann:hunter2@auth.example/",
            "urn:ann:hunter2@auth.example?password=hunter2",
        ] {
            let service = TokenService { realm, service: None, scope: None };
            let error = service.checked_realm(&registry, &Settings::default()).expect_err(realm).to_string();
            assert!(error.contains("the registry r.example:443 names") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_registrys_scope_is_used_and_ours_added_when_it_is_about_something_else() {
        let scopes = |scope| TokenService { realm: "", service: None, scope }.scopes("a/b").join("|");
        assert_eq!(scopes(None), "repository:a/b:pull");
        assert_eq!(scopes(Some("repository:a/b:pull,push")), "repository:a/b:pull,push");
        assert_eq!(
            scopes(Some("registry:catalog:*  repository:a/bc:pull")),
            "registry:catalog:*|repository:a/bc:pull|repository:a/b:pull"
        );
    }

    #[test]
    fn a_query_keeps_that_of_the_realm_and_a_form_is_encoded() {
        let service = TokenService { realm: "", service: Some("a b"), scope: None };
        let url = service.query(&"https://t/?x=1".parse().expect("a URL"), &["s:1".to_owned(), "s:2".to_owned()]);
        assert_eq!(url.as_str(), "https://t/?x=1&scope=s%3A1&scope=s%3A2&service=a+b");
        let form = service.form(&["s:1".to_owned(), "s:2".to_owned()], &Secret::new("r&t=".to_owned()));
        assert_eq!(
            form.expose(),
            "grant_type=refresh_token&client_id=entrypoint&scope=s%3A1+s%3A2&service=a+b&refresh_token=r%26t%3D"
        );
    }
}
