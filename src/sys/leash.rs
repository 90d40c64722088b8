//! A program that a helper child starts: in a process group of its own, which does not outlive the one that started it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getppid};

/// Has the program start as the leader of a process group, and be killed when the thread that starts it ends.
pub fn put_on(command: &mut Command) {
    let parent = std::process::id();
    command.process_group(0);
    let die_with_parent = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // It may have gone before the request was made.
        if u32::try_from(getppid().as_raw()).ok() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    };
    // SAFETY: between fork and exec it makes two system calls and touches no memory but its own.
    unsafe { command.pre_exec(die_with_parent) };
}

/// The process group of a program that was started so, as long as nobody has taken the status of its leader. Dropping it
/// kills the group.
#[derive(Debug)]
pub struct Leash(Option<Pid>);

impl Leash {
    /// The group that this process leads. The number must be that of a child whose status has not been taken.
    #[must_use]
    pub fn of(leader: u32) -> Self {
        Self(i32::try_from(leader).ok().filter(|leader| *leader > 1).map(Pid::from_raw))
    }

    /// Lets the group go: its leader has ended by itself, and its number may belong to somebody else.
    pub fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group that is gone is no error.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::sys::process::exit_now;

    /// Set in the process that is to start a program and end before it.
    const STARTER: &str = "ENTRYPOINT_TEST_LEASH_STARTER";

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the starter is a child of this test")]
    fn a_program_ends_with_the_one_that_started_it() {
        if std::env::var_os(STARTER).is_some() {
            let mut command = Command::new("cat");
            put_on(&mut command);
            exit_now(u8::from(command.spawn().is_err()));
        }
        let mut starter = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sys::leash::tests::a_program_ends_with_the_one_that_started_it", "--nocapture"])
            .env(STARTER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Nobody writes to it and nobody closes it: of itself, the program reads for ever.
        let _stdin = starter.stdin.take().unwrap();
        let mut stdout = starter.stdout.take().unwrap();
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || done.send(stdout.read_to_end(&mut Vec::new()).is_ok()));
        assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Ok(true), "the program still holds its stdout");
        assert_eq!(starter.wait().unwrap().code(), Some(0));
    }
}
