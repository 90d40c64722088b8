//! Signals: blocked before anything else, then read one by one from a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, raise, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::Pid;

/// The mask of blocked signals that the process was started with. The step gets it back.
#[derive(Debug, Clone, Copy)]
pub struct Mask(SigSet);

impl Mask {
    /// The mask as the system's own type.
    pub(super) fn set(&self) -> &SigSet {
        &self.0
    }

    /// Puts the mask back into force, in a child that was forked.
    ///
    /// # Errors
    /// When the system refuses the mask.
    pub fn restore(&self) -> io::Result<()> {
        Ok(self.0.thread_set_mask()?)
    }
}

/// The stream of signals that are sent to this process.
#[derive(Debug)]
pub struct Signals {
    source: SignalFd,
    found: Mask,
}

impl Signals {
    /// Blocks every signal that can be blocked and opens the stream of them. To be called before anything can start a
    /// thread or a child: what is sent from now on is read, in its turn, and never lost.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn block() -> io::Result<Self> {
        let every = SigSet::all();
        let found = Mask(every.thread_swap_mask(SigmaskHow::SIG_SETMASK)?);
        // Where SIGCHLD is ignored, the kernel takes the status of every child, and nobody learns that one has ended.
        // SAFETY: the default disposition is no handler.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let source = SignalFd::with_flags(&every, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { source, found })
    }

    /// The mask found at the start.
    #[must_use]
    pub fn found_mask(&self) -> Mask {
        self.found
    }

    /// The next signal that somebody sent us, if there is one: its number, real-time signals included.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn receive(&mut self) -> io::Result<Option<i32>> {
        while let Some(signal) = self.source.read_signal()? {
            if !is_answer_to_own_write(&signal) {
                return Ok(i32::try_from(signal.ssi_signo).ok());
            }
        }
        Ok(None)
    }

    /// Undoes the blocking, for a process that has no other to look after: signals have their usual effect again. PID 1,
    /// which the kernel protects from them, exits with 2 when it is asked to end, as Go's runtime does.
    pub fn leave_to_the_system(&self) {
        if Pid::this().as_raw() == 1 {
            for name in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
                // SAFETY: the handler calls `_exit` and nothing else, which a handler may.
                let _ = unsafe { signal(name, SigHandler::Handler(exit_with_2)) };
            }
        }
        let _ = self.found.restore();
    }

    /// Dies of a signal that asked for it: its default disposition, unblocked and raised again. Returns when that does
    /// not end the process, as for PID 1, which the kernel protects.
    pub fn die_of(&self, number: i32) {
        let Ok(name) = Signal::try_from(number) else { return };
        // SAFETY: the default disposition is no handler, so nothing runs on this stack.
        let _ = unsafe { signal(name, SigHandler::SigDfl) };
        let mut only = SigSet::empty();
        only.add(name);
        let _ = only.thread_unblock();
        let _ = raise(name);
    }
}

extern "C" fn exit_with_2(_: i32) {
    super::process::exit_now(2);
}

/// Whether a signal says that nobody reads what we have written, a line of the log or of the step's output, or that a
/// file may not grow any more. It waits even where it is ignored, because it is blocked.
fn is_answer_to_own_write(signal: &siginfo) -> bool {
    matches!(i32::try_from(signal.ssi_signo), Ok(libc::SIGPIPE | libc::SIGXFSZ)) && signal.ssi_pid == std::process::id()
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// Whether a signal asks a process to end: the four that pods, terminals and people send for that.
#[must_use]
pub fn asks_to_end(number: i32) -> bool {
    matches!(number, libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT)
}

/// A signal's name for messages: `SIGTERM`; real-time signals by number.
#[must_use]
pub fn name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}
