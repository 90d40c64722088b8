//! The transport of Azure's library: what it asks goes through [`CloudHttp`], and what went wrong is kept.
//!
//! The library asks again, for more than a minute, where it sees a status or a failure that may pass, and has words of its
//! own for others. So it is shown successes only; anything else is an error of a kind that it gives up on at once.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use zeroize::Zeroizing;

use super::error::{Failure, Refusal};
use crate::authn::cloud::{CloudHttp, Question, host_and_port};

/// The transport. It makes no difference between one identity and another.
#[derive(Debug)]
pub(super) struct Line {
    http: CloudHttp,
    failure: Mutex<Option<Failure>>,
}

impl Line {
    pub(super) fn new(http: CloudHttp) -> Self {
        Self { http, failure: Mutex::default() }
    }

    /// What went wrong, once.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps what went wrong; the library is told only that something did.
    fn failed(&self, failure: impl Into<Failure>) -> Error {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.into());
        Error::with_message(ErrorKind::Credential, "the line has the reason")
    }
}

#[async_trait]
impl HttpClient for Line {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let question =
            question(request).map_err(|error| self.failed(Failure::Unaskable { what: error.to_string() }))?;
        let whom = host_and_port(&question.url);
        let answer = self.http.ask(question).await.map_err(|error| self.failed(error))?;
        if !answer.status.is_success() {
            return Err(self.failed(Refusal::of(whom, &answer, |words| self.http.without_secrets(words))));
        }
        // Nothing that the library does with a token needs a header.
        Ok(AsyncRawResponse::from_bytes(answer.status.as_u16().into(), Headers::new(), answer.body.to_vec()))
    }
}

/// The library's request as ours. What names the program, and what belongs to one connection, is the client's.
fn question(request: &Request) -> azure_core::Result<Question> {
    let unusual = |what: &'static str| Error::with_message(ErrorKind::Other, what);
    let method = Method::from_bytes(request.method().as_ref().as_bytes()).map_err(|_| unusual("an unusual method"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers().iter() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(|_| unusual("an unusual header"))?;
        let value = HeaderValue::from_str(value.as_str()).map_err(|_| unusual("an unusual header"))?;
        if name != USER_AGENT && name != CONTENT_LENGTH {
            headers.insert(name, value);
        }
    }
    let Body::Bytes(body) = request.body() else { return Err(unusual("an unusual body")) };
    let body = Zeroizing::new(body.to_vec());
    Ok(Question { what: "identity token", method, url: request.url().clone(), headers, body })
}
