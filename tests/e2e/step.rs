//! Steps of a task as processes of this machine: the flags that Tekton gives them, and what they leave.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::skip;

/// How long a step may take before the test is given up. No test passes sooner or later by it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A task's directory, with what Tekton puts below `/tekton`.
pub struct Task<'a> {
    pub dir: &'a Path,
}

/// A step that runs.
pub struct Running {
    child: Child,
    post: PathBuf,
    termination: PathBuf,
}

/// What a step left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The post file that it wrote: `out`, `out.err`, or none.
    pub post: Option<&'static str>,
    /// The termination message, as written.
    pub message: String,
}

impl Task<'_> {
    /// Starts step number `index`, which waits for the one before it, with these flags behind those of every step.
    pub fn start(&self, index: usize, flags: &[&str], env: &[(&str, &str)]) -> Running {
        let run = |index: usize| self.dir.join(format!("run/{index}"));
        fs::create_dir_all(run(index)).expect("the step's directory");
        let (post, termination) = (run(index).join("out"), self.dir.join(format!("termination-{index}")));
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
        Running { child, post, termination }
    }
}

impl Running {
    /// The process id of the step's supervisor.
    pub fn pid(&self) -> u32 {
        self.child.id()
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
        Ended { code: status.code(), stdout, stderr, post, message }
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
