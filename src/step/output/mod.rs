//! Copies of what a step prints: to our own streams and to files, beside everything else that the supervisor does.
//!
//! Nothing here waits. A stream is passed on as far as its reader lets it; a reader that does not read stops the step's
//! writing, as it would without a copy, and nothing else. When the step has ended, what it wrote is still in the pipe: that
//! is passed on, and no more, because its orphans may hold the pipe for as long as they like.

mod copying;
mod file;
mod patience;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

pub use self::file::OutputError;

use self::copying::Copying;
use self::file::CopyFile;
use self::patience::{PATIENCE, Patience};
use crate::spec::OutputSpec;
use crate::sys::cause::Cause;
use crate::sys::pipe;
use crate::sys::poll;
use crate::sys::process;
use crate::sys::signals::{self, Signals};
use crate::sys::stream::Stream;

/// The streams that are copied: none, for most steps, and then this holds nothing.
#[derive(Debug, Default)]
pub(super) struct Output {
    copies: Vec<Copying>,
}

/// The step's ends of the pipes. They must be closed here once it has them, or no pipe ever ends.
#[derive(Debug, Default)]
pub(super) struct StepEnds {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl StepEnds {
    /// As what the step is started with.
    pub(super) fn output(&self) -> process::Output<'_> {
        process::Output { stdout: self.stdout.as_ref().map(AsFd::as_fd), stderr: self.stderr.as_ref().map(AsFd::as_fd) }
    }
}

impl Output {
    /// Opens the files, stdout's first, and makes the pipes.
    pub(super) fn open(spec: &OutputSpec) -> Result<(Self, StepEnds), OutputError> {
        let mut output = Self::default();
        let mut ends = StepEnds::default();
        if let Some(path) = &spec.stdout {
            ends.stdout = Some(output.copy("stdout", &io::stdout(), path)?);
        }
        if let Some(path) = &spec.stderr {
            ends.stderr = Some(output.copy("stderr", &io::stderr(), path)?);
        }
        Ok((output, ends))
    }

    fn copy(&mut self, stream: &'static str, real: &impl AsFd, path: &Path) -> Result<OwnedFd, OutputError> {
        let file = CopyFile::open(path)?;
        let no_pipe = |source| OutputError::Pipe { stream, source };
        let real = Stream::of(real).map_err(no_pipe)?;
        let (reader, writer) = pipe::new().map_err(no_pipe)?;
        self.copies.push(Copying::new(stream, reader, real, file));
        Ok(writer)
    }

    /// Passes on what can be passed on without waiting. Returns how much our own streams have taken.
    pub(super) fn advance(&mut self) -> usize {
        self.copies.iter_mut().map(Copying::advance).sum()
    }

    /// Sleeps until there is more to pass on, or a signal to be read, or `limit` has passed.
    pub(super) fn sleep(&self, signals: &Signals, limit: Option<Duration>) -> io::Result<()> {
        if self.copies.is_empty() {
            return poll::readable(&[signals.as_fd()], limit);
        }
        let sources: Vec<_> = self.copies.iter().filter_map(Copying::source).chain([signals.as_fd()]).collect();
        let sinks: Vec<_> = self.copies.iter().filter_map(Copying::sink).collect();
        poll::ready(&sources, &sinks, limit)
    }

    /// The step has ended: passes on what it has written, as long as somebody reads it. A signal that asks us to end ends
    /// that, and so does a reader that does not read.
    pub(super) fn finish(mut self, signals: &mut Signals) -> Finished {
        self.copies.iter_mut().for_each(Copying::step_ended);
        let mut patience = Patience::new(Instant::now());
        loop {
            let passed = self.advance();
            if self.copies.iter().all(Copying::is_over) {
                break;
            }
            let now = Instant::now();
            patience.passed(passed, now);
            let why = match patience.left(now) {
                None => Some(format!("nobody read it for {} s", PATIENCE.as_secs())),
                Some(left) => self.rest(signals, left),
            };
            if let Some(why) = why {
                self.copies.iter_mut().filter(|copy| !copy.is_over()).for_each(|copy| copy.give_up(&why));
                break;
            }
        }
        Finished {
            fault: self.copies.iter().filter_map(Copying::fault).reduce(|one, other| format!("{one}; {other}")),
            warnings: self.copies.iter().filter_map(Copying::warning).map(str::to_owned).collect(),
        }
    }

    /// Sleeps until there is more to pass on. Why that must not go on, if so.
    fn rest(&self, signals: &mut Signals, left: Duration) -> Option<String> {
        let unreadable = |error: io::Error| Some(format!("signals cannot be read: {}", Cause(&error)));
        if let Err(error) = self.sleep(signals, Some(left)) {
            return unreadable(error);
        }
        loop {
            match signals.receive() {
                Ok(Some(number)) if signals::asks_to_end(number) => {
                    return Some(format!("nobody read it when {} came", signals::name(number)));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return unreadable(error),
            }
        }
        // Orphans end now as before.
        while process::reap().is_some() {}
        None
    }
}

/// What came of the copies.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// What is wrong with a file: a step is not a success then.
    pub(super) fault: Option<String>,
    /// What the log is to say.
    pub(super) warnings: Vec<String>,
}
