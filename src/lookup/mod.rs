//! The lookup: what an image would run, asked of its registry by a child process while the step waits.
//!
//! This file is the supervisor's side: it forks the child, drains its pipe, and keeps what it said. The child's side,
//! `ask`, is the only part of the program that talks to a network.

#[cfg(feature = "lookup")]
mod ask;
mod document;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub use document::{Failure, Found};

use crate::host::Host;
use crate::outcome::ChildExit;
use crate::spec::LookupSpec;
use crate::sys::cause::Cause;
use crate::sys::helper::{Ended, Helper};
use crate::sys::process::ProcessId;
use crate::sys::signals::{self, Mask};

/// A lookup that was started: its child, or what came of it.
#[derive(Debug)]
pub struct Lookup {
    image: String,
    limit: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Working(Helper),
    Done(Result<Found, Failure>),
}

impl Lookup {
    /// Forks the child that asks. A child that cannot be made is a failed lookup like any other.
    #[must_use]
    pub fn start(spec: &LookupSpec, host: &Host, mask: Mask) -> Self {
        let limit = spec.timeout;
        let parent = std::process::id();
        let state = match Helper::start(limit, |pipe| ask_in_child(spec, host, pipe, parent, &mask)) {
            Ok(helper) => State::Working(helper),
            Err(error) => {
                let reason = format!("the lookup's process cannot be started: {}", Cause(&error));
                State::Done(Err(Failure::of(&spec.image, reason)))
            }
        };
        Self { image: spec.image.clone(), limit, state }
    }

    /// The descriptor that becomes readable when there is news.
    #[must_use]
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Working(helper) => helper.events(),
            State::Done(_) => None,
        }
    }

    /// How long until time itself is news.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        match &self.state {
            State::Working(helper) => helper.time_left(now),
            State::Done(_) => None,
        }
    }

    /// Takes note of a child that was reaped, if it is the lookup's.
    pub fn reaped(&mut self, id: ProcessId, exit: ChildExit) {
        if let State::Working(helper) = &mut self.state {
            helper.reaped(id, exit);
        }
    }

    /// Catches up with the child. A failure that has just come about is handed out, once, to be logged at once where the
    /// step's turn may be an hour away.
    pub fn advance(&mut self, now: Instant) -> Option<&Failure> {
        let State::Working(helper) = &mut self.state else { return None };
        let ended = helper.advance(now)?;
        let result = match ended {
            Ended::Document(bytes) => document::read(&bytes)
                .unwrap_or_else(|error| Err(self.failure(format!("the lookup's answer cannot be read: {error}")))),
            Ended::Died(ChildExit::Code(code)) => {
                Err(self.failure(format!("the lookup's process ended with code {code} and no answer")))
            }
            Ended::Died(ChildExit::Signal(number)) => Err(self.failure(format!(
                "the lookup's process was killed by {} before it had an answer: if that was the out-of-memory killer, \
                 give the step more memory",
                signals::name(number)
            ))),
            Ended::TimedOut => Err(self.failure(format!("no answer within {:?} (-image_lookup_timeout)", self.limit))),
            Ended::TooLong => Err(self.failure("the lookup's answer is longer than 1 MiB".to_owned())),
        };
        self.state = State::Done(result);
        self.result().and_then(|result| result.as_ref().err())
    }

    /// What came of it, once it is known.
    #[must_use]
    pub fn result(&self) -> Option<&Result<Found, Failure>> {
        match &self.state {
            State::Working(_) => None,
            State::Done(result) => Some(result),
        }
    }

    fn failure(&self, reason: String) -> Failure {
        Failure::of(&self.image, reason)
    }
}

/// The child's life.
#[cfg(feature = "lookup")]
fn ask_in_child(spec: &LookupSpec, host: &Host, pipe: std::fs::File, parent: u32, mask: &Mask) -> u8 {
    let Ok(pipe) = crate::sys::isolation::isolate(pipe, parent, mask) else { return 1 };
    let result = ask::ask(spec, &host.env);
    u8::from(document::write(pipe, &result).is_err())
}

/// Without the feature `lookup` the command line refuses `-image`, so this child is never made.
#[cfg(not(feature = "lookup"))]
fn ask_in_child(spec: &LookupSpec, _: &Host, pipe: std::fs::File, _: u32, _: &Mask) -> u8 {
    let failure = Failure::of(&spec.image, "this entrypoint was built without the feature lookup".to_owned());
    u8::from(document::write(pipe, &Err(failure)).is_err())
}
