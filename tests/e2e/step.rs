//! Steps of a task as processes of this machine: the flags that Tekton gives them, and what they leave.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::skip;

/// How long a step may take before the test is given up. No test passes sooner or later by it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A task: a directory with what Tekton puts below `/tekton`, and nothing else.
pub struct Task {
    dir: TempDir,
}

/// A step that runs.
pub struct Running {
    child: Child,
    post: PathBuf,
    exit_code: PathBuf,
    termination: PathBuf,
}

/// What a step left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// What killed it, where it has no code.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The post file that it wrote: `out`, `out.err`, or none.
    pub post: Option<&'static str>,
    /// What stands in the file `exitCode`.
    pub exit_code: Option<String>,
    /// The termination message, as written.
    pub message: String,
}

impl Task {
    /// A task without a step yet.
    pub fn new() -> Self {
        Self { dir: TempDir::new().expect("a directory") }
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts step number `index`, which waits for the one before it, with these flags behind those of every step.
    pub fn start(&self, index: usize, flags: &[&str], env: &[(&str, &str)]) -> Running {
        let run = |index: usize| self.path().join(format!("run/{index}"));
        fs::create_dir_all(run(index)).expect("the step's directory");
        let (post, termination) = (run(index).join("out"), self.path().join(format!("termination-{index}")));
        let exit_code = run(index).join("status/exitCode");
        let mut command = Command::new(skip::entrypoint());
        command
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(previous) = index.checked_sub(1) {
            command.arg("-wait_file").arg(run(previous).join("out"));
        }
        command.arg("-post_file").arg(&post).arg("-termination_path").arg(&termination);
        command.arg("-step_metadata_dir").arg(run(index).join("status")).args(flags);
        let child = command.spawn().expect("the program starts");
        Running { child, post, exit_code, termination }
    }
}

impl Running {
    /// The process id of the step's supervisor.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The children of the supervisor: the step, or the lookup.
    pub fn children(&self) -> Vec<Pid> {
        let pid = self.pid();
        let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("the step is there");
        listed.split_whitespace().map(|pid| Pid::from_raw(pid.parse().expect("a process id"))).collect()
    }

    /// The only child of the supervisor.
    pub fn only_child(&self) -> Pid {
        let children = self.children();
        let [child] = children[..] else { panic!("one child, and not {children:?}") };
        child
    }

    /// Sends the supervisor a signal.
    pub fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the step is there");
    }

    /// Waits until the step has written a line.
    pub fn first_line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        // Not a line more: what follows is for `end`.
        let stdout = self.child.stdout.as_mut().expect("a pipe");
        while stdout.read(&mut byte).expect("a pipe can be read") == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8(line).expect("text")
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        let pid = self.child.id();
        let (stdout, stderr) = (self.child.stdout.take().expect("a pipe"), self.child.stderr.take().expect("a pipe"));
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let stderr = thread::spawn(move || text(stderr));
            let stdout = text(stdout);
            let status = self.child.wait().expect("the step is a child of ours");
            send.send((status, stdout, stderr.join().expect("no panic"))).expect("the test waits");
        });
        let Ok((status, stdout, stderr)) = receive.recv_timeout(PATIENCE) else {
            panic!("given up on the step with process id {pid}: it does not end")
        };
        let mut failed = self.post.clone().into_os_string();
        failed.push(".err");
        let post = match (self.post.exists(), Path::new(&failed).exists()) {
            (true, false) => Some("out"),
            (false, true) => Some("out.err"),
            (false, false) => None,
            (true, true) => panic!("two post files"),
        };
        let message = fs::read_to_string(&self.termination).unwrap_or_default();
        let exit_code = fs::read_to_string(&self.exit_code).ok();
        Ended { code: status.code(), signal: status.signal(), stdout, stderr, post, exit_code, message }
    }
}

impl Ended {
    /// The value of a key of the termination message.
    pub fn said(&self, key: &str) -> Option<String> {
        let entries: serde_json::Value = serde_json::from_str(&self.message).expect("the message is JSON");
        let mut entries = entries.as_array().expect("a list").iter();
        entries.find(|entry| entry["key"] == key).map(|entry| entry["value"].as_str().expect("text").to_owned())
    }
}

fn text(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a pipe can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Looks until it is so; a test that would wait for ever says what it waited for.
pub fn eventually(what: &str, mut so: impl FnMut() -> Result<(), String>) {
    let give_up = Instant::now() + PATIENCE;
    while let Err(not_so) = so() {
        assert!(Instant::now() < give_up, "never happened: {what}; the last time: {not_so}");
        thread::sleep(Duration::from_millis(5));
    }
}
