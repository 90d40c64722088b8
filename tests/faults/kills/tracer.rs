//! A container whose processes stop at every system call, to be killed there.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::pod::{End, FOR_EVER, Pod};

/// A process of the container, and the system call before which it is killed. The processes are numbered as they are made,
/// the supervisor is 0; the calls from 1 on, beginning behind the supervisor's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    pub process: usize,
    pub call: usize,
    /// Whether the supervisor is killed then, and with it, in a namespace, all.
    pub whole: bool,
}

/// The call by which the supervisor sleeps until something happens.
#[cfg(target_arch = "x86_64")]
const POLL: i64 = libc::SYS_poll;
#[cfg(not(target_arch = "x86_64"))]
const POLL: i64 = libc::SYS_ppoll;

/// The calls that change something which others see.
const CHANGES: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_ftruncate,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// What was seen.
#[derive(Debug)]
pub struct Traced {
    /// How the supervisor ended.
    pub end: End,
    /// The calls of each process, by whether they change what is on a disk, or in a pipe.
    pub calls: Vec<Vec<bool>>,
    /// Whether the moment came.
    pub killed: bool,
}

/// The processes that are traced.
#[derive(Default)]
struct Seen {
    /// The number among the processes, by thread.
    threads: HashMap<Pid, usize>,
    /// Each process's own number, and its calls so far.
    processes: Vec<(Pid, Vec<bool>)>,
    /// Threads that stopped before their making was told.
    early: HashSet<Pid>,
}

impl Seen {
    fn made(&mut self, thread: Pid, process: Option<usize>) {
        let process = process.unwrap_or_else(|| {
            self.processes.push((thread, Vec::new()));
            self.processes.len() - 1
        });
        self.threads.insert(thread, process);
        if self.early.remove(&thread) {
            go_on(thread, None);
        }
    }
}

/// On to the next stop. A thread that has been killed meanwhile has no more.
fn go_on(thread: Pid, signal: Option<Signal>) {
    match ptrace::syscall(thread, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("{thread} cannot be traced: {error}"),
    }
}

/// Runs a step's container to its end, and that of every process of it; `at_poll` is called when the supervisor is about to
/// sleep.
pub fn run(pod: &Pod, step: usize, contained: bool, moment: Option<Moment>, at_poll: impl Fn() + Send) -> Traced {
    // A namespace and what is traced belong to a thread.
    std::thread::scope(|scope| {
        scope.spawn(|| trace(pod, step, contained, moment, at_poll)).join().unwrap_or_else(|panic| {
            std::panic::resume_unwind(panic);
        })
    })
}

#[allow(clippy::zombie_processes, reason = "whoever traces waits for all that is traced")]
fn trace(pod: &Pod, step: usize, contained: bool, moment: Option<Moment>, at_poll: impl Fn()) -> Traced {
    let mut command = pod.command(step, true, &["/bin/sh", "-c", "read go; exec \"$@\" </dev/null", "sh"]);
    if contained {
        unshare(CloneFlags::CLONE_NEWPID).expect("a PID namespace");
    }
    let mut child = command.stdin(Stdio::piped()).spawn().expect("a shell");
    let supervisor = Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
    let events = [
        Options::PTRACE_O_TRACEEXEC,
        Options::PTRACE_O_TRACEFORK,
        Options::PTRACE_O_TRACEVFORK,
        Options::PTRACE_O_TRACECLONE,
    ];
    let how =
        events.into_iter().fold(Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL, |all, one| all | one);
    ptrace::seize(supervisor, how).expect("the shell is traced");
    ptrace::interrupt(supervisor).expect("the shell stops");
    child.stdin.take().expect("a pipe").write_all(b"go\n").expect("the shell goes on");

    let mut seen = Seen::default();
    seen.made(supervisor, None);
    let (mut started, mut killed, mut end) = (false, false, None);
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
    let (mut idle, mut news) = (0_u32, Instant::now());
    loop {
        let status = match waitpid(Pid::from_raw(-1), Some(flags)) {
            Ok(WaitStatus::StillAlive) => {
                assert!(news.elapsed() < FOR_EVER, "step {step} waits for ever, at {moment:?}");
                idle += 1;
                if idle < 50 {
                    std::thread::yield_now();
                } else {
                    std::thread::sleep(Duration::from_micros(50));
                }
                continue;
            }
            Ok(status) => status,
            Err(Errno::ECHILD) => break,
            Err(error) => panic!("{error}"),
        };
        (idle, news) = (0, Instant::now());
        match status {
            WaitStatus::Exited(pid, code) if pid == supervisor => end = Some(End::Code(code)),
            WaitStatus::Signaled(pid, signal, _) if pid == supervisor => end = Some(End::Signal(signal as i32)),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) | WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
            WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal)),
            WaitStatus::PtraceSyscall(pid) => {
                let process = seen.threads[&pid];
                let entered = ptrace::syscall_info(pid).is_ok_and(|info| info.op == libc::PTRACE_SYSCALL_INFO_ENTRY);
                if started && entered {
                    let number = call(pid);
                    let (leader, calls) = &mut seen.processes[process];
                    calls.push(number.is_some_and(|number| CHANGES.contains(&number)));
                    let (leader, calls) = (*leader, calls.len());
                    if let Some(moment) = moment.filter(|moment| (moment.process, moment.call) == (process, calls)) {
                        let victim = if moment.whole { supervisor } else { leader };
                        killed = kill(victim, Signal::SIGKILL).is_ok();
                        // It has not made the call, and never will.
                        continue;
                    }
                    if process == 0 && number == Some(POLL) {
                        at_poll();
                    }
                }
                go_on(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                match event {
                    libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                        // One that is killed just now has told nothing, and what it made goes with it.
                        if let Ok(made) = ptrace::getevent(pid) {
                            let made = Pid::from_raw(i32::try_from(made).expect("a process number"));
                            let process = (event == libc::PTRACE_EVENT_CLONE).then(|| seen.threads[&pid]);
                            seen.made(made, process);
                        }
                    }
                    // The shell before it may have been about to start itself.
                    libc::PTRACE_EVENT_EXEC => started |= name(pid) != "sh",
                    _ => {}
                }
                if seen.threads.contains_key(&pid) {
                    go_on(pid, None);
                } else {
                    seen.early.insert(pid);
                }
            }
        }
    }
    let calls = seen.processes.into_iter().map(|(_, calls)| calls).collect();
    Traced { end: end.expect("the supervisor has ended"), calls, killed }
}

/// The name of a thread's program.
fn name(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// The number of the call that a thread is about to make.
fn call(pid: Pid) -> Option<i64> {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    call.split(' ').next()?.parse().ok()
}
