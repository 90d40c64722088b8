//! What must answer before a step runs: asked again and again by a child process, until everything has answered or the time
//! is up.
//!
//! This file is the supervisor's side: it forks one child for all endpoints, drains its pipe, and keeps what it said. The
//! child's side is `wait`, with `knock` for a single try.

mod document;
mod knock;
mod wait;

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub use document::{Failure, Missing};

use crate::host::Env;
use crate::outcome::ChildExit;
use crate::spec::EndpointsSpec;
use crate::sys::cause::Cause;
use crate::sys::helper::{Ended, Helper};
use crate::sys::isolation;
use crate::sys::process::ProcessId;
use crate::sys::signals::{self, Mask};

/// What the child has beyond its own deadline, before it is killed: it should be the one to say what it waited for.
const MARGIN: Duration = Duration::from_secs(5);

/// A wait for endpoints in progress.
#[derive(Debug)]
pub struct Endpoints<'a> {
    spec: &'a EndpointsSpec,
    helper: Helper,
}

impl<'a> Endpoints<'a> {
    /// Starts the child that asks them all.
    ///
    /// # Errors
    /// When there is no process to be had.
    pub fn start(spec: &'a EndpointsSpec, env: &Env, mask: &Mask) -> Result<Self, Failure> {
        let parent = std::process::id();
        let limit = spec.timeout.saturating_add(MARGIN);
        let helper = Helper::start(limit, |pipe| in_child(spec, env, pipe, parent, mask)).map_err(|error| {
            Failure::of(&spec.endpoints, format!("their process cannot be started: {}", Cause(&error)))
        })?;
        Ok(Self { spec, helper })
    }

    /// The endpoints, for a sentence.
    #[must_use]
    pub fn names(&self) -> String {
        document::names(&self.spec.endpoints)
    }

    /// The descriptor that becomes readable when there is news.
    #[must_use]
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.helper.events()
    }

    /// How long until time itself is news.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.helper.time_left(now)
    }

    /// Takes note of a child that was reaped, if it is this one.
    pub fn reaped(&mut self, id: ProcessId, exit: ChildExit) {
        self.helper.reaped(id, exit);
    }

    /// Catches up with the child. Once it has ended: nothing more where everything has answered, else what has not.
    pub fn advance(&mut self, now: Instant) -> Option<Result<(), Failure>> {
        let ended = self.helper.advance(now)?;
        Some(read(self.spec, ended))
    }
}

/// What the child's end means.
fn read(spec: &EndpointsSpec, ended: Ended) -> Result<(), Failure> {
    let reason = match ended {
        Ended::Document(bytes) => match document::read(&bytes) {
            Ok(result) => return result,
            Err(error) => format!("the answer of their process cannot be read: {error}"),
        },
        Ended::Died(ChildExit::Code(code)) => format!("their process ended with code {code} and no answer"),
        Ended::Died(ChildExit::Signal(libc::SIGKILL)) => {
            "their process was killed by SIGKILL: if that was the out-of-memory killer, give the step more memory"
                .to_owned()
        }
        Ended::Died(ChildExit::Signal(number)) => format!("their process was killed by {}", signals::name(number)),
        Ended::TimedOut => format!(
            "their process said nothing within {:?} and {MARGIN:?} more (-wait_endpoints_timeout)",
            spec.timeout
        ),
        Ended::TooLong => "the answer of their process is longer than 1 MiB".to_owned(),
    };
    Err(Failure::of(&spec.endpoints, reason))
}

/// The child's life.
fn in_child(spec: &EndpointsSpec, env: &Env, pipe: File, parent: u32, mask: &Mask) -> u8 {
    let Ok(pipe) = isolation::isolate(pipe, parent, mask) else { return 1 };
    u8::from(document::write(pipe, &wait::wait(spec, env)).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Endpoint;

    #[test]
    fn every_end_of_the_child_but_an_answer_is_a_failure_with_a_sentence() {
        let spec = EndpointsSpec { endpoints: vec![Endpoint::Docker], timeout: Duration::from_secs(7) };
        let document = |result: &Result<(), Failure>| {
            let mut bytes = Vec::new();
            document::write(&mut bytes, result).unwrap();
            Ended::Document(bytes)
        };
        assert_eq!(read(&spec, document(&Ok(()))), Ok(()));
        let failure = Failure::of(&spec.endpoints, "no".to_owned());
        assert_eq!(read(&spec, document(&Err(failure.clone()))), Err(failure));
        for (ended, part) in [
            (Ended::Document(Vec::new()), "the answer of their process cannot be read: "),
            (Ended::Died(ChildExit::Code(1)), "their process ended with code 1 and no answer"),
            (Ended::Died(ChildExit::Signal(libc::SIGSEGV)), "their process was killed by SIGSEGV"),
            (Ended::Died(ChildExit::Signal(libc::SIGKILL)), "SIGKILL: if that was the out-of-memory killer, "),
            (Ended::TimedOut, "said nothing within 7s and 5s more (-wait_endpoints_timeout)"),
            (Ended::TooLong, "longer than 1 MiB"),
        ] {
            let sentence = read(&spec, ended).unwrap_err().to_string();
            assert!(sentence.starts_with("cannot wait for docker (-wait_endpoints): "), "{sentence}");
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
