//! What stands for the wait for endpoints in a build without a network. The command line refuses `-wait_endpoints` there, so
//! that nothing of this is ever made: it lets the pass of a step be written once.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::host::Env;
use crate::outcome::ChildExit;
use crate::spec::EndpointsSpec;
use crate::sys::process::ProcessId;
use crate::sys::signals::Mask;

/// A wait for endpoints. There is none.
#[derive(Debug)]
pub struct Endpoints<'a> {
    never: Infallible,
    spec: PhantomData<&'a EndpointsSpec>,
}

/// Why nothing is waited for. Shown, it is one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot wait for endpoints: this entrypoint was built without the feature lookup")
    }
}

impl<'a> Endpoints<'a> {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn start(_: &'a EndpointsSpec, _: &Env, _: &Mask) -> Result<Self, Failure> {
        Err(Failure)
    }

    /// Nobody's names.
    #[must_use]
    pub fn names(&self) -> String {
        match self.never {}
    }

    /// No descriptor.
    #[must_use]
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        match self.never {}
    }

    /// No time.
    #[must_use]
    pub fn time_left(&self, _: Instant) -> Option<Duration> {
        match self.never {}
    }

    /// No child.
    pub fn reaped(&mut self, _: ProcessId, _: ChildExit) {
        match self.never {}
    }

    /// No news.
    pub fn advance(&mut self, _: Instant) -> Option<Result<(), Failure>> {
        match self.never {}
    }
}
