//! A run of the built binary in which every call to the system can be looked at, refused, cut short or lied about.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::skip;
use super::step::entrypoint;

/// A call to the system, as it stands in the registers.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub pid: Pid,
    pub number: i64,
    pub args: [u64; 6],
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// It does nothing and fails.
    Refused(Errno),
    /// It does what it does, and then fails: only `close(2)` is like that.
    Late(Errno),
    /// This argument becomes that number.
    With(usize, u64),
}

/// Who looks at the calls.
pub trait Watcher {
    /// A call before it is made.
    fn called(&mut self, call: &Call) -> Verdict;
    /// A call that was made.
    fn returned(&mut self, _call: &Call) {}
    /// The program under test begins in this process.
    fn begins(&mut self, _pid: Pid) {}
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// None after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Whether processes can be looked at here; the test is skipped if not.
pub fn available(purpose: &str) -> bool {
    if !cfg!(target_arch = "x86_64") {
        skip::skip(&format!("{purpose}: the registers of another processor than x86-64 are not known to the tests"));
        return false;
    }
    skip::root(purpose)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The program under test, or a child of it.
    Ours,
    /// What is to become it.
    Before,
}

struct Tracee {
    kind: Kind,
    inside: Option<(Call, Verdict)>,
}

/// Runs the program under test with these arguments, and its children as long as they are itself. What it prints goes to
/// files in `quiet`.
pub fn run(command: &Command, quiet: &Path, watcher: &mut impl Watcher) -> Ended {
    let (stdout, stderr) = (quiet.join("stdout"), quiet.join("stderr"));
    let mut stopped = Command::new("/bin/sh");
    stopped.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    stopped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    stopped.stdin(Stdio::null()).stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
    // Waited for below, as one among others.
    let main = Pid::from_raw(stopped.spawn().unwrap().id().cast_signed());
    let own = WaitPidFlag::__WNOTHREAD | WaitPidFlag::__WALL;
    assert_eq!(waitpid(main, Some(own | WaitPidFlag::WUNTRACED)).unwrap(), WaitStatus::Stopped(main, Signal::SIGSTOP));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).unwrap();
    kill(main, Signal::SIGCONT).unwrap();
    let binary = entrypoint().canonicalize().unwrap();
    let mut tracees = HashMap::from([(main, Tracee { kind: Kind::Before, inside: None })]);
    let mut code = None;
    while !tracees.is_empty() {
        let status = match waitpid(None, Some(own)) {
            Ok(status) => status,
            Err(Errno::ECHILD) => break,
            Err(error) => panic!("waitpid: {error}"),
        };
        let Some(pid) = status.pid() else { continue };
        if let WaitStatus::Exited(..) | WaitStatus::Signaled(..) = status {
            if let WaitStatus::Exited(_, with) = status
                && pid == main
            {
                code = Some(with);
            }
            tracees.remove(&pid);
            continue;
        }
        let tracee = tracees.entry(pid).or_insert(Tracee { kind: Kind::Ours, inside: None });
        let mut signal = None;
        match status {
            WaitStatus::PtraceEvent(_, _, event) if event == libc::PTRACE_EVENT_EXEC => {
                if fs::read_link(format!("/proc/{pid}/exe")).ok().as_deref() != Some(&*binary) {
                    // The step's own program, or what it starts.
                    let _ = ptrace::detach(pid, None);
                    tracees.remove(&pid);
                    continue;
                }
                tracee.kind = Kind::Ours;
                watcher.begins(pid);
            }
            WaitStatus::PtraceSyscall(_) => at_call(pid, tracee, watcher),
            WaitStatus::Stopped(_, with) => signal = Some(with),
            WaitStatus::PtraceEvent(..)
            | WaitStatus::Exited(..)
            | WaitStatus::Signaled(..)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive => {}
        }
        // A process that was killed meanwhile is gone.
        let _ = match tracee.kind {
            Kind::Ours => ptrace::syscall(pid, signal),
            Kind::Before => ptrace::cont(pid, signal),
        };
    }
    let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Ended { code, stdout: text(&stdout), stderr: text(&stderr) }
}

/// A stop before or behind a call.
#[cfg(target_arch = "x86_64")]
fn at_call(pid: Pid, tracee: &mut Tracee, watcher: &mut impl Watcher) {
    const ENTRY: u8 = 1;
    let (Ok(info), Ok(mut registers)) = (ptrace::syscall_info(pid), ptrace::getregs(pid)) else { return };
    if info.op == ENTRY {
        let args = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
        let call = Call { pid, number: registers.orig_rax.cast_signed(), args };
        let verdict = watcher.called(&call);
        match verdict {
            Verdict::Pass | Verdict::Late(_) => {}
            // No call has this number.
            Verdict::Refused(_) => registers.orig_rax = u64::MAX,
            Verdict::With(at, number) => match at {
                2 => registers.rdx = number,
                3 => registers.r10 = number,
                4 => registers.r8 = number,
                _ => panic!("argument {at} is no length"),
            },
        }
        if matches!(verdict, Verdict::Refused(_) | Verdict::With(..)) {
            ptrace::setregs(pid, registers).unwrap();
        }
        tracee.inside = Some((call, verdict));
    } else if let Some((call, verdict)) = tracee.inside.take() {
        match verdict {
            Verdict::Refused(errno) | Verdict::Late(errno) => {
                registers.rax = (-i64::from(errno as i32)).cast_unsigned();
                ptrace::setregs(pid, registers).unwrap();
            }
            Verdict::Pass => watcher.returned(&call),
            Verdict::With(at, _) => {
                // As it was: a program may count on a register that no call changes.
                let before = call.args.get(at).copied().unwrap();
                match at {
                    2 => registers.rdx = before,
                    3 => registers.r10 = before,
                    _ => registers.r8 = before,
                }
                ptrace::setregs(pid, registers).unwrap();
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn at_call(_: Pid, _: &mut Tracee, _: &mut impl Watcher) {}

/// Where the stack of a process ends, at this moment.
#[cfg(target_arch = "x86_64")]
pub fn stack(pid: Pid) -> u64 {
    ptrace::getregs(pid).unwrap().rsp
}

#[cfg(not(target_arch = "x86_64"))]
pub fn stack(_: Pid) -> u64 {
    unreachable!("nothing is traced here")
}

/// The memory of a process.
pub fn memory(pid: Pid) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"))
}

/// A number of eight bytes in the memory of a process.
pub fn word(memory: &File, at: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, at)?;
    Ok(u64::from_ne_bytes(bytes))
}

impl Call {
    /// The file that the descriptor in this argument is open for.
    pub fn descriptor(&self, at: usize) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/fd/{}", self.pid, self.args[at])).ok()
    }

    /// The path in this argument, below the directory in that one.
    pub fn path(&self, directory: Option<usize>, at: usize) -> Option<PathBuf> {
        let memory = memory(self.pid).ok()?;
        let mut path = Vec::new();
        let mut from = self.args[at];
        loop {
            // A path may end just before what cannot be read.
            let mut bytes = [0; 256];
            let to_the_page = 4096 - usize::try_from(from % 4096).unwrap();
            let read = memory.read_at(&mut bytes[..to_the_page.min(256)], from).ok().filter(|read| *read > 0)?;
            if let Some(end) = bytes[..read].iter().position(|byte| *byte == 0) {
                path.extend(&bytes[..end]);
                break;
            }
            path.extend(&bytes[..read]);
            from += read as u64;
        }
        let path = PathBuf::from(String::from_utf8(path).ok()?);
        if path.is_absolute() {
            return Some(path);
        }
        let base = match directory.map(|at| self.args[at] as i32) {
            None | Some(libc::AT_FDCWD) => fs::read_link(format!("/proc/{}/cwd", self.pid)),
            Some(descriptor) => fs::read_link(format!("/proc/{}/fd/{descriptor}", self.pid)),
        };
        Some(base.ok()?.join(path))
    }
}
