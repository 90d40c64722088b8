//! Runs a scenario to its answer.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::format::content;
use crate::scenario::{Action, Answer, Condition, Scenario};
use crate::skip;
use crate::tidy;
use crate::world::{self, PROGRAM};

/// A scenario that takes longer hangs.
const GIVE_UP: Duration = Duration::from_secs(60);
/// When a signal is sent again to a program that may have lost it.
const AGAIN: Duration = Duration::from_secs(3);
/// How often is looked.
const PACE: Duration = Duration::from_millis(2);

/// Held for reading while files are written, and for writing while a process is started: between fork and exec it has every
/// descriptor of ours, and a program that anybody has open for writing is busy.
static FILES: RwLock<()> = RwLock::new(());

fn writing() -> RwLockReadGuard<'static, ()> {
    FILES.read().unwrap_or_else(PoisonError::into_inner)
}

fn started(mut command: Command) -> Result<Killed, String> {
    let _nobody_writes = FILES.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().map(Killed).map_err(|error| format!("cannot be started: {error}"))
}

/// What is run.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub program: &'a Path,
    /// Tekton's program takes signals from a channel with room for one, and its own runtime sends some too: now and then
    /// one is lost. Ours must not lose any.
    pub loses_signals: bool,
}

/// Runs a scenario with a program, in a thread of its own, which is left in the namespaces and ends there.
///
/// # Errors
/// Why there is no answer.
pub fn in_its_own_world(scenario: &Scenario, subject: Subject<'_>) -> Result<Answer, String> {
    let root = tempfile::tempdir().map_err(|error| error.to_string())?;
    let busybox = skip::busybox().ok_or("no busybox")?;
    let inside = || {
        // Opened outside, so that they are no part of the scenario's world.
        let files = Streams::new(scenario)?;
        let open = writing();
        world::enter(scenario, root.path(), subject.program, &busybox)?;
        drop(open);
        let before = world::seen();
        let ended = run(scenario, subject, &files)?;
        Ok(answer(scenario, &ended, &files, &before, &world::seen()))
    };
    thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|_| Err("the scenario panicked".to_owned()))
}

/// What the entrypoint reads and writes.
struct Streams {
    stdin: File,
    stdout: File,
    stderr: File,
}

impl Streams {
    fn new(scenario: &Scenario) -> Result<Self, String> {
        let fresh = || tempfile::tempfile().map_err(|error| error.to_string());
        let mut stdin = fresh()?;
        stdin.write_all(&scenario.stdin).and_then(|()| stdin.rewind()).map_err(|error| error.to_string())?;
        Ok(Self { stdin, stdout: fresh()?, stderr: fresh()? })
    }

    /// Hands copies of these, which share their places, to a process.
    fn given_to(&self, command: &mut Command) -> Result<(), String> {
        let copy = |file: &File| file.try_clone().map(Stdio::from).map_err(|error| error.to_string());
        command.stdin(copy(&self.stdin)?).stdout(copy(&self.stdout)?).stderr(copy(&self.stderr)?);
        Ok(())
    }
}

/// What was written, read without moving the place at which is written next.
fn said(file: &File) -> Vec<u8> {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; usize::try_from(length).expect("a length")];
    file.read_exact_at(&mut bytes, 0).expect("what was written");
    bytes
}

/// A process that does not outlive us, nor, as PID 1 of its namespace, do those below it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the entrypoint, does what the scenario says, and waits for the end.
fn run(scenario: &Scenario, subject: Subject<'_>, streams: &Streams) -> Result<Ended, String> {
    let shell = |script: &str| {
        let mut command = Command::new("/bin/busybox");
        command.args(["sh", "-c", script, "sh"]).env_clear().current_dir("/");
        command
    };
    let mut prepare = String::new();
    if scenario.proc {
        prepare.push_str("mount -t proc proc /proc && ");
    }
    if scenario.loopback {
        prepare.push_str("ip link set lo up && ");
    }
    let mut pid_1 = None;
    let mut command;
    if !prepare.is_empty() && scenario.pid_1 {
        // Only a process in the namespace can do that. A shell would add to the environment; `env` does not.
        command = shell(&format!("{prepare} cd \"$PLACE\" && exec env -i \"$@\""));
        command.env("PATH", "/bin").env("PLACE", &scenario.cwd).args(environment(scenario).iter().map(assignment));
        command.arg(PROGRAM);
    } else {
        if !scenario.pid_1 {
            let mut holder = shell(&format!("{prepare} mkdir /tmp/ready && exec sleep 1000"));
            holder.env("PATH", "/bin");
            pid_1 = Some(started(holder)?);
            until("PID 1 is there", || fs::remove_dir("/tmp/ready").is_ok())?;
        }
        command = Command::new(PROGRAM);
        command.env_clear().envs(environment(scenario)).current_dir(&scenario.cwd);
        if scenario.uid != 0 {
            command.uid(scenario.uid).gid(scenario.uid);
        }
    }
    command.args(&scenario.argv);
    streams.given_to(&mut command)?;
    world::umask(scenario.umask);
    let mut entrypoint = started(command)?;
    world::umask(0);
    let pid = Pid::from_raw(i32::try_from(entrypoint.0.id()).expect("a process"));
    let last_signal: Cell<Option<(Signal, Instant)>> = Cell::new(None);
    let mut status = None;
    let mut ended = || {
        // Not asked again: a process that was reaped has no status any more.
        status = status.or_else(|| entrypoint.0.try_wait().expect("a child"));
        let lost = last_signal.get().filter(|(_, sent)| subject.loses_signals && sent.elapsed() > AGAIN);
        if let Some((signal, _)) = lost.filter(|_| status.is_none()) {
            last_signal.set(Some((signal, Instant::now())));
            let _ = kill(pid, signal);
        }
        status
    };
    let mut missed = 0;
    for (condition, action) in &scenario.actions {
        let holds = || match condition {
            Condition::Exists(path) => fs::symlink_metadata(path).is_ok(),
            Condition::StderrSays(text) => String::from_utf8_lossy(&said(&streams.stderr)).contains(text),
            Condition::StdoutSays(text) => String::from_utf8_lossy(&said(&streams.stdout)).contains(text),
        };
        let reached = until(&format!("{condition:?}"), || holds() || ended().is_some());
        reached.map_err(|never| told(&never, streams))?;
        // An ended process has no number any more that could be sent a signal.
        if ended().is_some() && (!holds() || matches!(action, Action::Signal(_))) {
            missed += 1;
            continue;
        }
        match action {
            Action::Put(node) => {
                let _open = writing();
                world::put(node)?;
            }
            Action::Signal(number) => {
                let signal = Signal::try_from(*number).map_err(|error| error.to_string())?;
                kill(pid, signal).map_err(|error| format!("kill: {error}"))?;
                last_signal.set(Some((signal, Instant::now())));
            }
        }
    }
    until("the end", || ended().is_some()).map_err(|never| told(&never, streams))?;
    let status = ended().ok_or("no status")?;
    drop(pid_1);
    Ok(Ended { status, missed })
}

/// How it ended.
struct Ended {
    status: ExitStatus,
    /// How many actions had no occasion.
    missed: usize,
}

/// What was said so far belongs to the failure of a scenario that hangs.
fn told(never: &str, streams: &Streams) -> String {
    let text = |file| String::from_utf8_lossy(&said(file)).into_owned();
    format!("{never}\nstdout: {}\nstderr: {}", text(&streams.stdout), text(&streams.stderr))
}

fn until(what: &str, mut so: impl FnMut() -> bool) -> Result<(), String> {
    let give_up = Instant::now() + GIVE_UP;
    while !so() {
        if Instant::now() > give_up {
            return Err(format!("never happened: {what}"));
        }
        thread::sleep(PACE);
    }
    Ok(())
}

/// The environment: `PATH` and `HOME` as images have them, unless the scenario says otherwise.
fn environment(scenario: &Scenario) -> Vec<(OsString, OsString)> {
    let mut environment: BTreeMap<OsString, OsString> =
        [("PATH", "/bin"), ("HOME", "/home")].map(|(name, value)| (name.into(), value.into())).into();
    for (name, value) in &scenario.env {
        match value {
            Some(value) => environment.insert(name.clone(), value.clone()),
            None => environment.remove(name),
        };
    }
    environment.into_iter().collect()
}

/// `NAME=VALUE`.
fn assignment((name, value): &(OsString, OsString)) -> OsString {
    let mut assignment = name.clone();
    assignment.push("=");
    assignment.push(value);
    assignment
}

fn answer(
    scenario: &Scenario,
    ended: &Ended,
    streams: &Streams,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Answer {
    let mut parts = BTreeMap::new();
    if ended.missed > 0 {
        parts.insert("missed".to_owned(), format!(" {}", ended.missed));
    }
    let exit = match (ended.status.code(), ended.status.signal()) {
        (Some(code), _) => format!(" {code}"),
        (None, signal) => format!(" by signal {}", signal.unwrap_or_default()),
    };
    parts.insert("exit".to_owned(), exit);
    for (name, said) in [("stdout", tidy::file(&said(&streams.stdout))), ("stderr", tidy::log(&said(&streams.stderr)))]
    {
        if !said.is_empty() {
            parts.insert(name.to_owned(), content(&said));
        }
    }
    for (path, what) in after.iter().filter(|(path, what)| before.get(*path) != Some(what)) {
        parts.insert(path.clone(), what.clone());
    }
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        parts.insert(path.clone(), " gone".to_owned());
    }
    scenario.without.iter().for_each(|part| {
        parts.remove(part);
    });
    Answer(parts)
}
