//! What a helper child does before anything else, so that it can neither outlive its parent nor leak from it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Pid, getppid, setpgid};

use super::signals::Mask;

/// The number at which the pipe stands in an isolated child.
const PIPE: i32 = 3;

/// Isolates a freshly forked child: before anything else every descriptor closed but stderr and its pipe, because an
/// inherited lock would outlive its owner; a process group of its own; killed when its parent dies; neither traced nor
/// dumped; default dispositions and the mask that the parent was started with. Stdin and stdout become stderr: nothing
/// that a library might print can get into the pipe.
///
/// # Errors
/// When the parent is dead already, or the system refuses a step of it.
pub fn isolate(pipe: File, parent: u32, mask: &Mask) -> io::Result<File> {
    let pipe = keep_only(pipe)?;
    // The parent's hook reports the end of a step, which is the parent's to report.
    let _ = std::panic::take_hook();
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if u32::try_from(getppid().as_raw()).ok() != Some(parent) {
        return Err(io::Error::other("the parent process is gone"));
    }
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    for signal_name in Signal::iterator() {
        // SAFETY: the default disposition is no handler. SIGKILL and SIGSTOP refuse, rightly.
        let _ = unsafe { signal(signal_name, SigHandler::SigDfl) };
    }
    // SAFETY: as above. A write to a socket whose peer is gone must be an error there, not a death.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }?;
    mask.restore()?;
    Ok(pipe)
}

/// Lets this process map at most so many bytes: an allocation beyond that fails, and the process with it.
///
/// # Errors
/// When the system refuses.
pub fn limit_memory(bytes: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_AS, bytes, bytes)?)
}

/// Closes every descriptor but stderr and the pipe.
fn keep_only(pipe: File) -> io::Result<File> {
    let old = pipe.into_raw_fd();
    if old != PIPE {
        // SAFETY: `old` is open and ours; what stood at the pipe's new place belongs to nobody in this child.
        if unsafe { libc::dup2(old, PIPE) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    for standard in [0, 1] {
        // SAFETY: descriptor numbers only. Without a stderr the two stay as they are.
        unsafe { libc::dup2(2, standard) };
    }
    close_from(PIPE + 1)?;
    // SAFETY: descriptor 3 is open, and this is its only owner in this process.
    let pipe = unsafe { File::from_raw_fd(PIPE) };
    nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    debug_assert_eq!(pipe.as_raw_fd(), PIPE);
    Ok(pipe)
}

/// Closes every descriptor from this one on.
fn close_from(first: i32) -> io::Result<()> {
    // SAFETY: descriptor numbers only; whatever they were belongs to nobody in this child.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if closed == 0 {
        return Ok(());
    }
    // Before Linux 5.9, or where a seccomp profile does not know the call.
    let (limit, _) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE)?;
    for descriptor in first..i32::try_from(limit).unwrap_or(i32::MAX).min(1 << 20) {
        // SAFETY: as above; a number that is not open is refused.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}
