//! Processes: started in a group of their own, signalled as a group, reaped in one place.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use super::signals::Mask;

/// A child's process number; also that of its process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId(pub(super) Pid);

impl std::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildExit {
    /// It exited with this code.
    Code(u8),
    /// It was killed by this signal.
    Signal(i32),
}

/// Whether this process is PID 1 of its namespace.
#[must_use]
pub fn is_pid1() -> bool {
    Pid::this().as_raw() == 1
}

/// Has orphaned descendants given to this process, so that it can reap them although it is not PID 1.
///
/// # Errors
/// When the kernel refuses (before Linux 3.4).
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// What a program gets as stdout and stderr, where that is not ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Output<'fd> {
    /// Its stdout.
    pub stdout: Option<BorrowedFd<'fd>>,
    /// Its stderr.
    pub stderr: Option<BorrowedFd<'fd>>,
}

/// Starts a program: in a process group of its own, with the given mask, every disposition at its default and nothing
/// to read on stdin. Returns once the program has been loaded, or with the reason why it could not be.
///
/// There is no search of `PATH` and no shell that steps in for a file without `#!`: `posix_spawn` is `execve` with the
/// error handed back.
///
/// # Errors
/// That of `execve`, or of making the process.
pub fn spawn(
    path: &CString,
    argv: &[CString],
    environment: &[CString],
    mask: &Mask,
    output: Output<'_>,
) -> io::Result<ProcessId> {
    let stdin = nothing_to_read()?;
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(stdin.as_raw_fd(), 0)?;
    for (fd, standard) in [(output.stdout, 1), (output.stderr, 2)] {
        if let Some(fd) = fd {
            actions.add_dup2(fd.as_raw_fd(), standard)?;
        }
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigmask(mask.set())?;
    attributes.set_sigdefault(&every_signal())?;
    Ok(ProcessId(posix_spawn(path.as_c_str(), &actions, &attributes, argv, environment)?))
}

/// Becomes a program: the mask found at the start, default dispositions, our own stdin. Returns only with the reason why
/// it could not be.
#[must_use]
pub fn become_program(path: &CString, argv: &[CString], environment: &[CString], mask: &Mask) -> io::Error {
    // SAFETY: the default disposition is no handler. SIGPIPE is the only one that the standard library changes for good.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    // A signal that came since we blocked them has its effect here, as it would have had in the program.
    if let Err(error) = mask.restore() {
        return error;
    }
    match nix::unistd::execve(path, argv, environment) {
        Err(error) => error.into(),
    }
}

/// All 64 signals. The C library's own full set lacks the two that it keeps for itself, and `posix_spawn` would leave
/// those ignored in the step.
fn every_signal() -> SigSet {
    // SAFETY: a signal set is a plain array of bits, and every pattern of them is a set.
    let full: libc::sigset_t = unsafe { std::mem::transmute([u8::MAX; size_of::<libc::sigset_t>()]) };
    // SAFETY: the set only says which dispositions are reset; it is never a mask, nor asked for a signal's name.
    unsafe { SigSet::from_sigset_t_unchecked(full) }
}

/// `/dev/null`, or in a root without devices a pipe that has ended already.
pub(super) fn nothing_to_read() -> io::Result<OwnedFd> {
    match File::open("/dev/null") {
        Ok(null) => Ok(null.into()),
        Err(_) => Ok(pipe2(OFlag::O_CLOEXEC)?.0),
    }
}

/// Forks a child that does `work` with a pipe to write to, and exits with the code that `work` returns. The parent
/// gets the child's number, which is also its process group, and the end of the pipe to read from, non-blocking.
///
/// # Errors
/// When there is no process or descriptor to be had.
pub fn fork_with_pipe(work: impl FnOnce(File) -> u8) -> io::Result<(ProcessId, File)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // SAFETY: this process has one thread, so the child's copy of it has no lock that another thread held.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            // The child does the same: whoever comes first, the group is there before it is signalled.
            let _ = nix::unistd::setpgid(child, child);
            Ok((ProcessId(child), File::from(reader)))
        }
        ForkResult::Child => {
            drop(reader);
            // An unwinding child must not walk up the stack of its parent.
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(File::from(writer))));
            // Not by returning: the parent's exit handlers are the parent's.
            exit_now(code.unwrap_or(1))
        }
    }
}

/// Ends the process at once, with nothing run on the way.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: `_exit` does not return and touches no memory of ours.
    unsafe { libc::_exit(code.into()) }
}

/// Sends a signal, by number, to every process of a child's group. A group that is gone is no error: the signal came
/// too late.
pub fn signal_group(leader: ProcessId, number: i32) {
    // SAFETY: `kill` touches no memory of ours; the number was minted by spawn or fork and is above 1.
    unsafe { libc::kill(-leader.0.as_raw(), number) };
}

/// Asks every process of a child's group to end, by SIGTERM, and the child itself where it has gone over to another
/// group. The child must not have been reaped.
pub fn terminate_group(leader: ProcessId) {
    signal_group(leader, libc::SIGTERM);
    // Not in any case: a second SIGTERM tells many programs to stop cleaning up.
    if nix::unistd::getpgid(Some(leader.0)).is_ok_and(|group| group != leader.0) {
        // SAFETY: as for the group.
        unsafe { libc::kill(leader.0.as_raw(), libc::SIGTERM) };
    }
}

/// Kills every process of a child's group, and the child itself, which may have gone over to another group. The child
/// must not have been reaped: its number may be somebody else's since.
pub fn kill_group(leader: ProcessId) {
    signal_group(leader, libc::SIGKILL);
    // SAFETY: as for the group.
    unsafe { libc::kill(leader.0.as_raw(), libc::SIGKILL) };
}

/// Takes the status of one ended child, whoever it was: the step, a helper, or an orphan that was given to us. `None`
/// when no child has ended. The program's only `waitpid`.
#[must_use]
pub fn reap() -> Option<(ProcessId, ChildExit)> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to a live integer.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            return None;
        }
        let id = ProcessId(Pid::from_raw(pid));
        if libc::WIFEXITED(status) {
            // The system keeps eight bits of an exit code.
            let code = u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX);
            return Some((id, ChildExit::Code(code)));
        }
        if libc::WIFSIGNALED(status) {
            return Some((id, ChildExit::Signal(libc::WTERMSIG(status))));
        }
    }
}
