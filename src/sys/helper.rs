//! A helper child as its parent sees it: a process group, a pipe that is drained while the parent waits, a deadline.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::process::{self, ChildExit, ProcessId};

/// The longest document that a helper may write, in bytes.
pub const DOCUMENT_LIMIT: u64 = 1 << 20;

/// How a helper ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It wrote its document and exited with 0.
    Document(Vec<u8>),
    /// It ended otherwise.
    Died(ChildExit),
    /// It was killed: its time was up.
    TimedOut,
    /// It was killed: it wrote more than [`DOCUMENT_LIMIT`].
    TooLong,
}

/// A helper child that has been started. Dropping it kills its group; the supervisor's reaping takes its status.
#[derive(Debug)]
pub struct Helper {
    id: ProcessId,
    pipe: Option<File>,
    document: Vec<u8>,
    exit: Option<ChildExit>,
    deadline: Option<Instant>,
    killed: Option<Ended>,
}

impl Helper {
    /// Forks a helper that does `work` with the pipe that it writes its document to; it is killed after `limit`.
    ///
    /// # Errors
    /// When there is no process or descriptor to be had.
    pub fn start(limit: Duration, work: impl FnOnce(File) -> u8) -> io::Result<Self> {
        let (id, pipe) = process::fork_with_pipe(work)?;
        let deadline = Instant::now().checked_add(limit);
        Ok(Self { id, pipe: Some(pipe), document: Vec::new(), exit: None, deadline, killed: None })
    }

    /// The descriptor that becomes readable when the helper has written something or closed its pipe.
    #[must_use]
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// How long the helper may still take.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Takes note of a child that was reaped, if it is this one.
    pub fn reaped(&mut self, id: ProcessId, exit: ChildExit) {
        if id == self.id {
            self.exit = Some(exit);
        }
    }

    /// Reads what the helper has written by now, and kills it when its time is up or it writes too much. How it ended,
    /// once it has.
    pub fn advance(&mut self, now: Instant) -> Option<Ended> {
        self.drain();
        let over = if u64::try_from(self.document.len()).is_ok_and(|length| length > DOCUMENT_LIMIT) {
            Some(Ended::TooLong)
        } else if self.exit.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
            Some(Ended::TimedOut)
        } else {
            None
        };
        if over.is_some() && self.killed.is_none() {
            self.kill();
            self.killed = over;
        }
        if let Some(killed) = &self.killed {
            return Some(killed.clone());
        }
        match (self.exit, &self.pipe) {
            (Some(ChildExit::Code(0)), None) => Some(Ended::Document(std::mem::take(&mut self.document))),
            (Some(exit), _) => Some(Ended::Died(exit)),
            (None, _) => None,
        }
    }

    /// Reads until there is nothing more for now, the pipe has ended, or it is too much.
    fn drain(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let room = (DOCUMENT_LIMIT + 1).saturating_sub(u64::try_from(self.document.len()).unwrap_or(u64::MAX));
        match pipe.take(room).read_to_end(&mut self.document) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The end of the pipe, a full document, or a pipe that cannot be read: nothing more will come of it.
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    fn kill(&mut self) {
        self.pipe = None;
        if self.exit.is_none() {
            process::kill_group(self.id);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::super::signals::Signals;
    use super::*;

    #[test]
    fn a_helper_that_closes_its_pipe_and_stays_is_killed_at_its_deadline() {
        let mask = Signals::block().unwrap().found_mask();
        let argv = [c"sleep".into(), c"1000".into()];
        let id = process::spawn(&c"/bin/sleep".into(), &argv, &[], &mask, process::Output::default()).unwrap();
        let (ended, _) = io::pipe().unwrap();
        let (now, limit) = (Instant::now(), Duration::from_secs(30));
        let mut helper = Helper {
            id,
            pipe: Some(File::from(std::os::fd::OwnedFd::from(ended))),
            document: Vec::new(),
            exit: None,
            deadline: Some(now + limit),
            killed: None,
        };
        assert_eq!(helper.advance(now), None);
        assert_eq!(helper.events().map(|_| ()), None, "the end of a pipe is readable for ever");
        assert_eq!(helper.time_left(now), Some(limit));
        assert_eq!(helper.advance(now + limit), Some(Ended::TimedOut));
    }
}
