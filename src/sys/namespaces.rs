//! The other way to start a program: in namespaces of its own, without a network.
//!
//! `posix_spawn` cannot make namespaces. This forks by `clone`, so that the child never runs in ours; it waits until its
//! user and group ids have been mapped, which only its parent can do, and then executes the program or hands the error
//! back. Between the two it makes system calls and touches no memory but its own.

use std::ffi::{CString, c_char};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};

use super::process::{self, Output, ProcessId};
use super::signals::Mask;

/// New namespaces for mounts, process numbers, the network, and users. The last one is what lets the others be made
/// without being root outside.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWUSER;

/// Every id is itself.
const EVERY_ID: &str = "0 0 4294967295\n";

/// Why a program could not be started in namespaces of its own.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The kernel makes no such namespaces for us.
    #[error("making namespaces for mounts, processes, the network and users")]
    Make(#[source] io::Error),
    /// The ids could not be mapped.
    #[error("writing {file}")]
    Map {
        /// The file of the kernel that takes the map.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The namespaces were there and the program could not be executed, or there was no descriptor to be had before.
    #[error("executing the program")]
    Program(#[source] io::Error),
}

impl NamespaceError {
    /// What the system said.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        match self {
            Self::Make(source) | Self::Map { source, .. } | Self::Program(source) => source,
        }
    }
}

/// Starts a program as [`process::spawn`] does, in new mount, pid, network and user namespaces: it is PID 1 there, has no
/// network but a loopback device that is down, and every id is what it was.
///
/// # Errors
/// [`NamespaceError`]; the program has not run then, in any namespace.
pub fn spawn(
    path: &CString,
    argv: &[CString],
    environment: &[CString],
    mask: &Mask,
    output: Output<'_>,
) -> Result<ProcessId, NamespaceError> {
    let stdin = process::nothing_to_read().map_err(NamespaceError::Program)?;
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|error| NamespaceError::Program(error.into()));
    let (mapped, tell_mapped) = pipe()?;
    let (failed, tell_failed) = pipe()?;
    let (argv, environment) = (pointers(argv), pointers(environment));
    let child = Child {
        path: path.as_ptr(),
        argv: argv.as_ptr(),
        environment: environment.as_ptr(),
        mask,
        // Ours are 0 to 2, always: each of these has another number.
        standard: [(Some(stdin.as_raw_fd()), 0), (raw(output.stdout), 1), (raw(output.stderr), 2)],
        mapped: mapped.as_raw_fd(),
        tell_mapped: tell_mapped.as_raw_fd(),
        tell_failed: tell_failed.as_raw_fd(),
    };
    let Some(id) = fork_into_namespaces().map_err(NamespaceError::Make)? else { child.run() };
    drop((mapped, tell_failed));
    // Until it is told, the child waits; if the pipe ends instead, it goes without having done anything.
    map_ids(id)?;
    File::from(tell_mapped).write_all(&[1]).map_err(NamespaceError::Program)?;
    match what_failed(failed).map_err(NamespaceError::Program)? {
        None => Ok(ProcessId(id)),
        Some(error) => Err(NamespaceError::Program(error)),
    }
}

fn raw(fd: Option<BorrowedFd<'_>>) -> Option<RawFd> {
    fd.map(|fd| fd.as_raw_fd())
}

/// The array that `execve` takes: one pointer per text, and a null behind them.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Forks by `clone`: `None` in the child.
fn fork_into_namespaces() -> io::Result<Option<Pid>> {
    let flags = libc::c_long::from(NAMESPACES | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // The first two change places there.
    let (first, second) = if cfg!(target_arch = "s390x") { (none, flags) } else { (flags, none) };
    // SAFETY: without a stack and without sharing memory this is `fork`: the child goes on with a copy of everything. This
    // process has one thread, so no lock is held in it.
    let number = unsafe { libc::syscall(libc::SYS_clone, first, second, none, none, none) };
    match i32::try_from(number) {
        Ok(0) => Ok(None),
        Ok(number) if number > 0 => Ok(Some(Pid::from_raw(number))),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Writes the maps of a child's user namespace, in Go's order; setgroups stays allowed, which package managers need.
fn map_ids(child: Pid) -> Result<(), NamespaceError> {
    for (name, content) in [("uid_map", EVERY_ID), ("setgroups", "allow"), ("gid_map", EVERY_ID)] {
        let file = format!("/proc/{child}/{name}");
        match fs::OpenOptions::new().write(true).open(&file).and_then(|mut map| map.write_all(content.as_bytes())) {
            Ok(()) => {}
            // Before Linux 3.19 there was nothing to allow.
            Err(error) if name == "setgroups" && error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(NamespaceError::Map { file, source }),
        }
    }
    Ok(())
}

/// What the child could not do; `None` when its end of the pipe was closed by the program's execution.
fn what_failed(pipe: OwnedFd) -> io::Result<Option<io::Error>> {
    let mut said = Vec::new();
    File::from(pipe).take(size_of::<i32>() as u64).read_to_end(&mut said)?;
    Ok(<[u8; 4]>::try_from(said.as_slice()).ok().map(|code| io::Error::from_raw_os_error(i32::from_ne_bytes(code))))
}

/// All that the child needs, made before it is: there, memory can be read and not be asked for.
struct Child<'a> {
    path: *const c_char,
    argv: *const *const c_char,
    environment: *const *const c_char,
    mask: &'a Mask,
    standard: [(Option<RawFd>, RawFd); 3],
    mapped: RawFd,
    tell_mapped: RawFd,
    tell_failed: RawFd,
}

impl Child<'_> {
    /// The child's life.
    fn run(&self) -> ! {
        if self.wait_until_mapped() {
            let code = self.become_program().to_ne_bytes();
            // SAFETY: the pointer and the length are those of a live array, which is only read.
            unsafe { libc::write(self.tell_failed, code.as_ptr().cast(), code.len()) };
        }
        process::exit_now(1)
    }

    /// Whether the parent has mapped the ids. One that failed, or is gone, has closed the pipe.
    fn wait_until_mapped(&self) -> bool {
        // SAFETY: a descriptor number; this copy of it is used by nobody.
        unsafe { libc::close(self.tell_mapped) };
        let mut word = 0_u8;
        // SAFETY: one byte, written to a live variable.
        (unsafe { libc::read(self.mapped, (&raw mut word).cast(), 1) }) == 1
    }

    /// Returns only when it cannot be: the number of the error.
    fn become_program(&self) -> i32 {
        let last_error = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
        // SAFETY: numbers only.
        if unsafe { libc::setpgid(0, 0) } < 0 {
            return last_error();
        }
        for signal in 1..=64 {
            default_disposition(signal);
        }
        for (from, to) in self.standard {
            if let Some(from) = from {
                // SAFETY: descriptor numbers only; what stood at `to` belongs to nobody in this child.
                if unsafe { libc::dup2(from, to) } < 0 {
                    return last_error();
                }
            }
        }
        if self.mask.restore().is_err() {
            return last_error();
        }
        // SAFETY: the path is a C string and the arrays are of such and end with a null; all of them live in the parent's
        // function, of whose memory this is a copy.
        unsafe { libc::execve(self.path, self.argv, self.environment) };
        last_error()
    }
}

/// Resets a signal's disposition by the kernel's own call: the C library refuses the two signals that it keeps for itself.
fn default_disposition(signal: libc::c_long) {
    // The kernel's `struct sigaction` is smaller than this everywhere, and all zeros is the default disposition with no
    // flags. Its set of signals has 64 bits.
    let default = [0_u64; 8];
    let none: *mut u64 = std::ptr::null_mut();
    // SAFETY: the pointer is to live memory that is large enough, and is only read. SIGKILL and SIGSTOP refuse, rightly.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, size_of::<u64>()) };
}
