//! What stands for the lookup in a build without it. The command line refuses `-image` there, so that nothing of this is
//! ever made: it lets the pass of a step be written once.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::outcome::ChildExit;
use crate::spec::{ImagePin, LookupSpec};
use crate::sys::process::ProcessId;
use crate::sys::signals::Mask;

/// A lookup that has failed: nobody can be asked.
#[derive(Debug)]
pub struct Lookup<'a> {
    image: &'a str,
    result: Result<Found, Failure>,
    events: PhantomData<BorrowedFd<'a>>,
}

/// When an attempt would be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// While the step waits.
    Waiting,
    /// At the step's turn.
    Turn,
}

/// What an image would run. There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The image's canonical reference.
    pub image: String,
    /// The config's `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// The config's `Cmd`.
    pub cmd: Vec<String>,
    never: Infallible,
}

/// Why nothing was found. Shown, it is one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    image: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot look up the command of image {}: this entrypoint was built without the feature lookup",
            self.image
        )
    }
}

impl Found {
    /// Nothing is worth a warning: there is no image.
    #[must_use]
    pub fn warning(&self, _: ImagePin) -> Option<String> {
        match self.never {}
    }
}

impl<'a> Lookup<'a> {
    /// Fails.
    #[must_use]
    pub fn start(spec: &'a LookupSpec, _: &'a Host, _: Mask, _: When) -> Self {
        Self { image: &spec.image, result: Err(Failure { image: spec.image.clone() }), events: PhantomData }
    }

    /// The image, as written.
    #[must_use]
    pub fn image(&self) -> &str {
        self.image
    }

    /// No descriptor: there is no news.
    #[must_use]
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Time is no news either.
    #[must_use]
    pub fn time_left(&self, _: Instant) -> Option<Duration> {
        None
    }

    /// No child is the lookup's.
    pub fn reaped(&mut self, _: ProcessId, _: ChildExit) {}

    /// No attempt is made.
    pub fn turn(&mut self) {}

    /// Nothing comes about.
    pub fn advance(&mut self, _: Instant) -> Option<&Failure> {
        None
    }

    /// The failure.
    #[must_use]
    pub fn result(&self) -> Option<&Result<Found, Failure>> {
        Some(&self.result)
    }
}
