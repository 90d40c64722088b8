//! The token that is to be exchanged: where a credential file says that it is, and how it is had.
//!
//! <https://google.aip.dev/auth/4117>

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use zeroize::Zeroizing;

use super::endpoint::{EndpointError, SubjectUrl};
use super::error::{GoogleError, cannot_be_read};
use super::fields::{FieldError, Fields, ObjectError};
use super::refusal::Step;
use super::service::{answered, refused};
use crate::authn::cloud::{Context, Question, host_and_port, is_metadata};
use crate::authn::file;
use crate::secret::Secret;

/// Where a token is.
#[derive(Debug)]
pub(super) enum SubjectSource {
    /// In a file: a projected service account token.
    File {
        /// The file.
        path: PathBuf,
        /// What it holds.
        format: Format,
    },
    /// With somebody who is asked.
    Url {
        /// Whom.
        url: SubjectUrl,
        /// What is shown: it may be secret.
        headers: HeaderMap,
        /// What the answer holds.
        format: Format,
    },
}

/// How a token stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// By itself.
    Text,
    /// As a field of an object.
    Json(String),
}

/// Why it is not known where a token is.
#[derive(Debug, thiserror::Error)]
pub(in crate::authn) enum SubjectSourceError {
    /// A field is missing.
    #[error("in its \"credential_source\"")]
    Field(
        #[from]
        #[source]
        FieldError,
    ),
    /// A URL.
    #[error("the \"url\" of its \"credential_source\" {0}")]
    Url(EndpointError),
    /// A header.
    #[error("the \"headers\" of its \"credential_source\" hold one that cannot be sent")]
    Header,
    /// A format.
    #[error("the \"format\" of its \"credential_source\" is neither text nor json")]
    Format,
    /// Another kind.
    #[error(
        "its \"credential_source\" is {0}, which is not known here: name a \"file\" with a projected service account \
         token, or a \"url\""
    )]
    Kind(&'static str),
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(in crate::authn) enum SubjectError {
    /// The file.
    #[error("the token file {}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with what to do.
        problem: String,
    },
    /// There is nothing there.
    #[error("{place} holds no token: it is empty")]
    Empty {
        /// File or host.
        place: String,
    },
    /// It is no object.
    #[error("{place} holds no token")]
    NotAnObject {
        /// File or host.
        place: String,
        /// Why.
        source: ObjectError,
    },
    /// The object has none.
    #[error("{place} holds no token: it has no text {field:?}")]
    NoField {
        /// File or host.
        place: String,
        /// The name in the credential file.
        field: String,
    },
    /// It is no text.
    #[error("{place} holds no token: it is not UTF-8")]
    NotUtf8 {
        /// File or host.
        place: String,
    },
}

impl SubjectSource {
    /// The source that an object describes.
    pub(super) fn of(mut fields: Fields) -> Result<Self, SubjectSourceError> {
        for (field, kind) in [
            ("environment_id", "of the kind aws"),
            ("executable", "a program that is to be run"),
            ("certificate", "a certificate"),
        ] {
            if fields.has(field) {
                return Err(SubjectSourceError::Kind(kind));
            }
        }
        let format = Format::of(fields.object("format")?)?;
        if let Some(path) = fields.text("file")? {
            return Ok(Self::File { path: path.into(), format });
        }
        let Some(url) = fields.text("url")? else { return Err(FieldError::Absent("file").into()) };
        let url = SubjectUrl::parse(&url).map_err(SubjectSourceError::Url)?;
        let mut headers = HeaderMap::new();
        for (name, value) in fields.object("headers")?.map_or_else(|| Ok(Vec::new()), |pairs| pairs.pairs("headers"))? {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| SubjectSourceError::Header)?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| SubjectSourceError::Header)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self::Url { url, headers, format })
    }

    /// The token.
    pub(super) async fn token(&self, context: &Context<'_>) -> Result<Secret, GoogleError> {
        match self {
            Self::File { path, format } => {
                let text = file::read(path).map_err(|error| SubjectError::File {
                    path: path.clone(),
                    problem: cannot_be_read(path, &error),
                })?;
                let token = format.token(text.expose().as_bytes(), || of_file(path))?;
                context.http.keep(token.expose());
                Ok(token)
            }
            Self::Url { url, headers, format } => {
                let (url, limits) = (url.url(), &context.limits);
                // Nobody who is asked may have them repeated.
                headers.values().filter_map(|value| value.to_str().ok()).for_each(|value| context.http.keep(value));
                let question = Question {
                    what: "identity provider's token",
                    method: Method::GET,
                    url: url.clone(),
                    headers: headers.clone(),
                    body: Zeroizing::default(),
                };
                let limit = if is_metadata(url) { limits.metadata } else { limits.service };
                let answer = answered(context, limit, question).await?;
                if !answer.status.is_success() {
                    return Err(refused(context, url, &answer, &Step::Subject));
                }
                let token = format.token(&answer.body, || format!("the answer of {}", host_and_port(url)))?;
                context.http.keep(token.expose());
                Ok(token)
            }
        }
    }
}

fn of_file(path: &Path) -> String {
    format!("the token file {}", path.display())
}

impl Format {
    fn of(fields: Option<Fields>) -> Result<Self, SubjectSourceError> {
        let Some(mut fields) = fields else { return Ok(Self::Text) };
        match fields.text("type")?.as_deref() {
            None | Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json(fields.needed("subject_token_field_name")?)),
            Some(_) => Err(SubjectSourceError::Format),
        }
    }

    /// The token in a text; `place` says where that is.
    fn token(&self, bytes: &[u8], place: impl Fn() -> String) -> Result<Secret, SubjectError> {
        let token = match self {
            Self::Text => {
                let text = std::str::from_utf8(bytes).map_err(|_| SubjectError::NotUtf8 { place: place() })?;
                text.trim().to_owned()
            }
            Self::Json(field) => {
                let fields =
                    Fields::of(bytes).map_err(|source| SubjectError::NotAnObject { place: place(), source })?;
                let absent = || SubjectError::NoField { place: place(), field: field.clone() };
                fields.named(field).ok_or_else(absent)?
            }
        };
        if token.is_empty() { Err(SubjectError::Empty { place: place() }) } else { Ok(Secret::new(token)) }
    }
}

/// For how many seconds a token has been expired, by its own words and this machine's clock. Nobody is refused by it: the
/// clock may be what is wrong.
pub(super) fn expired_for(token: &Secret, now: SystemTime) -> Option<u64> {
    let claims = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    now.duration_since(UNIX_EPOCH).ok()?.as_secs().checked_sub(claims.get("exp")?.as_u64()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::sys::cause::chain;

    fn source(value: &Value) -> Result<SubjectSource, String> {
        SubjectSource::of(Fields::of(value.to_string().as_bytes()).unwrap()).map_err(|error| chain(&error))
    }

    #[test]
    fn a_source_is_a_file_or_a_url_and_every_other_kind_is_named() {
        let json_format = json!({"type": "json", "subject_token_field_name": "access_token"});
        let Ok(SubjectSource::File { path, format }) = source(&json!({"file": "/t", "format": json_format})) else {
            panic!("a file")
        };
        assert_eq!((path.to_str(), format), (Some("/t"), Format::Json("access_token".into())));
        let url = "http://169.254.169.254/metadata/identity/oauth2/token";
        let Ok(SubjectSource::Url { headers, format, .. }) =
            source(&json!({"url": url, "headers": {"Metadata": "True"}}))
        else {
            panic!("a URL")
        };
        assert_eq!((headers["metadata"].to_str().unwrap(), format), ("True", Format::Text));
        for (value, expected) in [
            (json!({}), "in its \"credential_source\": it has no \"file\""),
            (
                json!({"environment_id": "aws1", "url": url}),
                "of the kind aws, which is not known here: name a \"file\"",
            ),
            (json!({"executable": {"command": "/bin/x"}}), "a program that is to be run, which is not known here"),
            (json!({"certificate": {}}), "a certificate, which is not known here"),
            (json!({"url": "http://evil.example/"}), "the \"url\" of its \"credential_source\" is not https"),
            (json!({"url": url, "headers": {"a b": "c"}}), "hold one that cannot be sent"),
            (json!({"url": url, "headers": {"a": "c\r\nd: e"}}), "hold one that cannot be sent"),
            (json!({"url": url, "headers": {"a": 1}}), "its \"headers\" is not an object of texts"),
            (json!({"file": "/t", "format": {"type": "xml"}}), "is neither text nor json"),
            (json!({"file": "/t", "format": {"type": "json"}}), "it has no \"subject_token_field_name\""),
        ] {
            let told = source(&value).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn a_token_is_taken_out_of_its_format() {
        let field = Format::Json("t".into());
        let place = || "the file".to_owned();
        let told = |format: &Format, text: &[u8]| match format.token(text, place) {
            Ok(token) => token.expose().to_owned(),
            Err(error) => chain(&error),
        };
        for (format, text, expected) in [
            (&Format::Text, &b"a.b.c\n"[..], "a.b.c"),
            (&Format::Text, b" \n", "the file holds no token: it is empty"),
            (&Format::Text, b"\xff", "the file holds no token: it is not UTF-8"),
            (&field, br#"{"t": "a.b.c"}"#, "a.b.c"),
            (&field, br#"{"t": ""}"#, "the file holds no token: it is empty"),
            (&field, br#"{"u": "hunter2"}"#, "the file holds no token: it has no text \"t\""),
            (&field, br#"{"t": 7}"#, "the file holds no token: it has no text \"t\""),
            (&field, b"hunter2", "the file holds no token: it is not JSON: expected value at line 1 column 1"),
        ] {
            assert_eq!(told(format, text), expected);
        }
    }

    #[test]
    fn a_token_says_itself_when_it_has_expired() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let token = |claims: &str| Secret::new(format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims)));
        assert_eq!(expired_for(&token(r#"{"exp": 1799996400}"#), now), Some(3600));
        for valid in [token(r#"{"exp": 1800000001}"#), token("{}"), token("x"), Secret::new("opaque".into())] {
            assert_eq!(expired_for(&valid, now), None);
        }
    }
}
