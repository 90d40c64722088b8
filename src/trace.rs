//! The requests of a lookup, in order: what was asked, what came back, how long it took.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// How many requests a trace lists. The document of a lookup is bounded, and so is what a person reads.
pub const LISTED: usize = 200;

/// One HTTP request and its end. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What was wanted: `manifest`, `token`, `secret`.
    pub what: String,
    /// `GET`.
    pub method: String,
    /// Whom, with no more of a query than people need.
    pub url: String,
    /// How it ended.
    pub end: End,
    /// How long it took until then, the whole answer included, in milliseconds.
    pub millis: u64,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It was answered.
    Answered {
        /// The HTTP status.
        status: u16,
    },
    /// There was an answer whose body cannot be used.
    Unread {
        /// The HTTP status.
        status: u16,
        /// Why it cannot: `the manifest breaks off`.
        reason: String,
    },
    /// There was none.
    Unanswered {
        /// Why: `connection refused`.
        reason: String,
    },
}

/// What was traced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// The first [`LISTED`] of them, in the order in which they ended.
    pub listed: Vec<Request>,
    /// How many more there were.
    pub left_out: u32,
}

impl Requests {
    /// These, and others behind them.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        let room = LISTED.saturating_sub(self.listed.len());
        let too_many = u32::try_from(others.listed.len().saturating_sub(room)).unwrap_or(u32::MAX);
        self.listed.extend(others.listed.into_iter().take(room));
        let left_out = self.left_out.saturating_add(others.left_out).saturating_add(too_many);
        Self { left_out, ..self }
    }
}

/// Where requests are noted as they end. Clones note into the same list, which outlives a lookup that is given up.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Requests>>);

/// A request that is on its way. One that is dropped has had no answer in time.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    trace: Trace,
    request: Request,
    since: Instant,
}

impl Trace {
    /// A request is about to be made.
    pub fn begin(&self, what: impl Into<String>, method: &str, url: impl Into<String>) -> Pending {
        let request = Request {
            what: what.into(),
            method: method.to_owned(),
            url: url.into(),
            end: End::Unanswered { reason: "no answer in time".to_owned() },
            millis: 0,
        };
        Pending { trace: self.clone(), request, since: Instant::now() }
    }

    /// What was noted so far.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, request: Request) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.listed.len() < LISTED {
            requests.listed.push(request);
        } else {
            requests.left_out = requests.left_out.saturating_add(1);
        }
    }
}

impl Pending {
    /// It ended.
    pub fn end(mut self, end: End) {
        self.request.end = end;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.trace.note(Request { millis, ..self.request.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_noted_as_they_end_and_one_that_is_given_up_has_had_no_answer() {
        let trace = Trace::default();
        trace.begin("manifest", "GET", "https://r/").end(End::Answered { status: 200 });
        drop(trace.clone().begin("config", "GET", "https://r/"));
        let ends: Vec<_> = trace.requests().listed.into_iter().map(|request| (request.what, request.end)).collect();
        let given_up = End::Unanswered { reason: "no answer in time".into() };
        assert_eq!(ends, [("manifest".into(), End::Answered { status: 200 }), ("config".into(), given_up)]);
    }

    #[test]
    fn a_trace_lists_so_many_and_counts_the_others() {
        let trace = Trace::default();
        for status in 0..=LISTED {
            trace.begin("manifest", "GET", "u").end(End::Answered { status: u16::try_from(status).unwrap() });
        }
        let requests = trace.requests();
        assert_eq!((requests.listed.len(), requests.left_out), (LISTED, 1));
        assert_eq!(requests.listed[0].end, End::Answered { status: 0 }, "the first are listed");
    }

    #[test]
    fn the_requests_of_two_attempts_are_one_list_that_is_no_longer_than_any() {
        let some = |from: usize, count: usize, left_out| Requests {
            listed: (from..from + count)
                .map(|number| Request {
                    what: number.to_string(),
                    method: "GET".into(),
                    url: "u".into(),
                    end: End::Answered { status: 200 },
                    millis: 0,
                })
                .collect(),
            left_out,
        };
        for (first, second, expected) in [
            (some(0, 0, 0), some(0, 0, 0), some(0, 0, 0)),
            (some(0, 2, 0), some(2, 3, 0), some(0, 5, 0)),
            (some(0, 0, 0), some(0, LISTED, 4), some(0, LISTED, 4)),
            (some(0, LISTED, 0), some(LISTED, 0, 0), some(0, LISTED, 0)),
            (some(0, LISTED - 1, 0), some(LISTED - 1, 1, 0), some(0, LISTED, 0)),
            (some(0, LISTED - 1, 0), some(LISTED - 1, 3, 0), some(0, LISTED, 2)),
            (some(0, LISTED, 7), some(LISTED, LISTED, 5), some(0, LISTED, u32::try_from(LISTED).unwrap() + 12)),
            (some(0, LISTED, u32::MAX), some(LISTED, 1, 1), some(0, LISTED, u32::MAX)),
        ] {
            assert_eq!(first.and(second), expected);
        }
    }
}
