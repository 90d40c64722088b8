//! The last pass over what came of a lookup: nothing in it repeats a secret.

use super::document::{Failure, Found, FoundAt, RuntimeWord};
use crate::note::Note;
use crate::secrets::Secrets;
use crate::trace::{End, Request, Requests};

impl Found {
    /// The same without secrets. What the image runs and its digests are the image's: they are to be run and compared as
    /// they are. The image and the platform that were asked for are the command line's.
    pub(super) fn without(self, secrets: &Secrets) -> Self {
        let text = |text: String| secrets.without(text);
        let at = |FoundAt { image, because }| FoundAt { image: text(image), because: text(because) };
        Self {
            daemon: self.daemon.map(text),
            found_at: self.found_at.map(at),
            platform: text(self.platform),
            credential: self.credential.map(text),
            runtime: self.runtime.without(secrets),
            not_followed: self.not_followed.map(|reason| secrets.without_in_parts(reason)),
            notes: notes(self.notes, secrets),
            requests: requests(self.requests, secrets),
            ..self
        }
    }
}

impl Failure {
    /// The same without secrets. What was asked for is the command line's.
    pub(super) fn without(self, secrets: &Secrets) -> Self {
        Self {
            reason: secrets.without_in_parts(self.reason),
            runtime: Box::new(self.runtime.without(secrets)),
            notes: notes(self.notes, secrets),
            requests: Box::new(requests(*self.requests, secrets)),
            ..self
        }
    }
}

impl RuntimeWord {
    /// The same without secrets. What kubelet reports is kept as it is: it comes from the API server, and is compared.
    fn without(self, secrets: &Secrets) -> Self {
        match self {
            Self::Unread { reason, retryable } => Self::Unread { reason: secrets.without_in_parts(reason), retryable },
            word @ (Self::NotAsked | Self::Reported { .. }) => word,
        }
    }
}

fn notes(notes: Vec<Note>, secrets: &Secrets) -> Vec<Note> {
    let note =
        |Note { source, outcome }| Note { source: secrets.without(source), outcome: secrets.without_in_parts(outcome) };
    notes.into_iter().map(note).collect()
}

fn requests(requests: Requests, secrets: &Secrets) -> Requests {
    let end = |end| match end {
        End::Answered { .. } => end,
        End::Unread { status, reason } => End::Unread { status, reason: secrets.without_in_parts(reason) },
        End::Unanswered { reason } => End::Unanswered { reason: secrets.without_in_parts(reason) },
    };
    let request = |request: Request| Request {
        what: secrets.without(request.what),
        url: secrets.without_in_url(request.url),
        end: end(request.end),
        ..request
    };
    Requests { listed: requests.listed.into_iter().map(request).collect(), ..requests }
}
