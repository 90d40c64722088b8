//! A pod's directories in small, in which the library reports a step's end, and what that left there.

#![allow(unreachable_pub, reason = "a module of a test program")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use entrypoint::host::Dirs;
use entrypoint::outcome::Outcome;
use entrypoint::report::{Left, Line, leave};
use entrypoint::spec::{
    CommandSource, CredentialsSpec, EndSpec, EndpointsSpec, OnError, OutputSpec, ReportSpec, ResultsSpec, StepSpec,
    Timeout, WaitSpec,
};
use entrypoint::sys::clock;

/// The entry of the start, as messages are compared.
pub const STARTED_AT: &str = r#"{"key":"StartedAt","value":"T","type":3}"#;

/// A pod's directories, in small.
pub struct Pod {
    pub dir: tempfile::TempDir,
    pub spec: StepSpec,
    /// Whether the step's turn came.
    pub turn: bool,
}

/// What a report left behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub exit: u8,
    pub lines: Vec<String>,
    /// With every time replaced by `T`.
    pub message: Option<String>,
    pub exit_code: Option<String>,
    pub post: bool,
    pub err: bool,
}

impl Pod {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("results")).unwrap();
        let spec = StepSpec {
            wait: WaitSpec::default(),
            endpoints: EndpointsSpec::default(),
            report: ReportSpec {
                post_file: Some(dir.path().join("run/0/out")),
                termination_path: dir.path().join("termination"),
                metadata_dir: dir.path().join("run/0/status"),
                compress: false,
                containers: None,
            },
            results: ResultsSpec { in_message: true, ..ResultsSpec::default() },
            timeout: Timeout::Unlimited,
            stop_grace: Duration::ZERO,
            end: EndSpec::default(),
            debug_before_step: false,
            when: String::new(),
            output: OutputSpec::default(),
            credentials: CredentialsSpec::default(),
            command: CommandSource::PlatformTable,
            args: Vec::new(),
            ignored: Vec::new(),
        };
        Self { dir, spec, turn: true }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// With flags that say what the step's end means.
    pub fn end(mut self, end: EndSpec) -> Self {
        self.spec.end = end;
        self
    }

    pub fn continuing(mut self) -> Self {
        self.spec.end.on_error = OnError::Continue;
        self
    }

    /// Writes a result and asks for it.
    pub fn result(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        fs::write(self.path("results").join(name), value).unwrap();
        self.spec.results.task.push(name.to_owned());
        self
    }

    /// Writes a step result and asks for it.
    pub fn step_result(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.file(&format!("run/0/status/results/{name}"), value);
        self.spec.results.step.push(name.to_owned());
        self
    }

    /// Writes the provenance of the step's artifacts.
    pub fn step_artifacts(self, value: impl AsRef<[u8]>) -> Self {
        self.file("run/0/status/artifacts/provenance.json", value);
        self
    }

    /// Writes the provenance of the Task's artifacts.
    pub fn task_artifacts(self, value: impl AsRef<[u8]>) -> Self {
        self.file("artifacts/provenance.json", value);
        self
    }

    /// Links this many steps, each by its name and its number.
    pub fn steps(self, steps: usize) -> Self {
        fs::create_dir(self.path("steps")).unwrap();
        for step in 0..steps {
            for name in [format!("step-s{step}"), step.to_string()] {
                symlink(format!("/tekton/run/{step}/status"), self.path("steps").join(name)).unwrap();
            }
        }
        self
    }

    /// A file, with the directories above it.
    fn file(&self, name: &str, value: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        fs::write(path, value).unwrap();
    }

    /// Asks for a result and puts a directory in its place.
    pub fn directory_as_result(mut self, name: &str) -> Self {
        fs::create_dir(self.path("results").join(name)).unwrap();
        self.spec.results.task.push(name.to_owned());
        self
    }

    /// Something that stands in the termination message file.
    pub fn existing(self, message: impl AsRef<[u8]>) -> Self {
        fs::write(self.path("termination"), message).unwrap();
        self
    }

    pub fn leave(&self, outcome: &Outcome) -> Left {
        let dirs = Dirs {
            results: self.path("results"),
            artifacts: self.path("artifacts"),
            steps: self.path("steps"),
            ..Dirs::default()
        };
        leave(outcome, &self.spec, &dirs, self.turn.then(clock::now), None)
    }

    pub fn report(&self, outcome: &Outcome) -> Ended {
        self.ended(&self.leave(outcome))
    }

    pub fn ended(&self, left: &Left) -> Ended {
        let post = self.path("run/0/out");
        let line = |line: &Line| match line {
            Line::Say(text) => text.clone(),
            Line::Warn(text) => format!("WARN {text}"),
        };
        Ended {
            exit: left.exit_code(),
            lines: left.lines().iter().map(line).collect(),
            message: fs::read_to_string(self.path("termination")).ok().map(|text| without_time(&text)),
            exit_code: fs::read_to_string(self.path("run/0/status/exitCode")).ok(),
            post: post.is_file(),
            err: self.path("run/0/out.err").is_file(),
        }
    }
}

/// The message with the value of our `StartedAt` replaced, which has a form of its own.
pub fn without_time(message: &str) -> String {
    const BEFORE: &str = r#"{"key":"StartedAt","value":""#;
    let Some(at) = message.rfind(BEFORE).map(|at| at + BEFORE.len()) else { return message.to_owned() };
    let (before, rest) = message.split_at(at);
    let (time, after) = rest.split_at(rest.find('"').unwrap());
    assert!(["Z", ":00", ":30", ":45"].iter().any(|zone| time.ends_with(zone)), "{time}");
    assert_eq!(time.get(10..11), Some("T"), "{time}");
    assert_eq!(time.get(19..20), Some("."), "{time}");
    format!("{before}T{after}")
}

pub fn message(entries: &[&str]) -> Option<String> {
    Some(format!("[{}]", entries.join(",")))
}

pub fn internal(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{key}","value":{},"type":3}}"#, serde_json::to_string(value).unwrap())
}

pub fn failure(sentence: &str) -> String {
    internal("entrypoint/error", sentence)
}

pub fn no_lines() -> Vec<String> {
    Vec::new()
}
