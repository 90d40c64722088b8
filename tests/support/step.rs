//! The built binary run as a step: a scratch directory with the files of the contract, and what the run left there.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "each test program uses a part of this, and a test's support fails the test"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The program under test: the one that `ENTRYPOINT_BINARY` names (`make test` names the release build), else cargo's.
pub fn entrypoint() -> &'static Path {
    static PROGRAM: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        std::env::var_os("ENTRYPOINT_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_entrypoint").into()).into()
    });
    &PROGRAM
}

/// A step's scratch directory.
pub struct Step {
    dir: tempfile::TempDir,
    flags: Vec<String>,
    wrapper: Vec<String>,
    env: Vec<(String, String)>,
}

/// What a step left behind.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub post: bool,
    pub err: bool,
    pub exit_code: Option<String>,
    /// The termination message with every time replaced by `T`.
    pub message: Option<String>,
    /// `image.json`, which tells of an image that was looked up.
    pub image: Option<String>,
}

impl Ended {
    /// The exit code, when it was no signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("killed by a signal: {self:#?}"))
    }
}

impl Step {
    /// A step without a command yet.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        Self { dir, flags: Vec::new(), wrapper: Vec::new(), env: Vec::new() }
    }

    /// A path in the scratch directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Adds flags.
    pub fn flags<S: Into<String>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Runs the binary by this command, as in `unshare -pf`.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper.extend(wrapper.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Sets a variable of the environment, which is otherwise empty but for `PATH`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a shell script as the step.
    pub fn sh(self, script: &str) -> Ended {
        self.run(&["-entrypoint", "/bin/sh", "--", "-c", script])
    }

    /// Runs to the end.
    pub fn run(self, rest: &[&str]) -> Ended {
        let child = self.start(rest);
        self.finish(child)
    }

    /// Starts the binary; `rest` comes after the flags of the contract.
    pub fn start(&self, rest: &[&str]) -> Child {
        let binary = entrypoint().to_str().expect("a UTF-8 path").to_owned();
        let mut words = self.wrapper.iter().chain([&binary]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        command.args(["-post_file".as_ref(), self.path("out").as_os_str()]);
        command.args(["-termination_path".as_ref(), self.path("termination").as_os_str()]);
        command.args(["-step_metadata_dir".as_ref(), self.path("status").as_os_str()]);
        command.args(&self.flags).args(rest);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }

    /// Waits for the end of a run and reads what it left.
    pub fn finish(self, child: Child) -> Ended {
        let output = child.wait_with_output().expect("the binary ends");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended {
            status: output.status,
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            post: self.path("out").exists(),
            err: self.path("out.err").exists(),
            exit_code: std::fs::read_to_string(self.path("status/exitCode")).ok(),
            message: std::fs::read_to_string(self.path("termination")).ok().map(|text| without_times(&text)),
            image: std::fs::read_to_string(self.path("status/image.json")).ok(),
        }
    }
}

/// A message with every `StartedAt` value replaced by `T`.
pub fn without_times(message: &str) -> String {
    const BEFORE: &str = "{\"key\":\"StartedAt\",\"value\":\"";
    let mut rest = message;
    let mut out = String::new();
    while let Some(at) = rest.find(BEFORE) {
        let (before, after) = rest.split_at(at + BEFORE.len());
        let end = after.find('"').unwrap_or(after.len());
        out.push_str(before);
        out.push('T');
        rest = &after[end..];
    }
    out + rest
}

/// Looks until it is so; a test that waits for ever says what it waited for.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < give_up, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The only child of a process.
pub fn only_child(parent: u32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Sends a signal, by number: real-time signals have no names.
pub fn send(pid: i32, number: i32) {
    let status = Command::new("sh").args(["-c", "kill -$0 $1", &number.to_string(), &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "signal {number} cannot be sent to {pid}");
}

/// Until the process waits for events: the wait has looked, and has not found.
pub fn waits(child: &Child) {
    let wchan = format!("/proc/{}/syscall", child.id());
    eventually("the process sleeps in poll", || {
        let call = std::fs::read_to_string(&wchan).unwrap_or_default();
        // poll is 7 on x86-64; elsewhere the C library calls ppoll, 73.
        ["7 ", "73 ", "271 "].iter().any(|number| call.starts_with(number))
    });
}
