//! What a run on a failing disk must have left, whatever failed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::faults::{Change, Disk, Fault};
use super::scenarios::Scenario;
use super::world::{self, DISK, Files, Node, command};
use crate::tracer::Ended;

/// What a run left.
#[derive(Debug)]
pub struct Left {
    pub ended: Ended,
    pub before: Files,
    pub files: Files,
    pub processes: Vec<String>,
    pub next: Next,
}

/// What became of the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    Nobody,
    Ran,
    Skipped,
    /// It is told that nobody will release it.
    ToldDead,
    /// There is nothing on the disk that a step could find that begins to wait now.
    NoSign,
    /// It waits for ever.
    Waits,
}

const OUT: &str = "run/0/out";

/// What the step writes itself: nobody else can see to it that this is whole.
const THE_STEPS: [&str; 3] = ["results/r", "run/0/status/results/s", "run/0/status/artifacts/provenance.json"];

impl Next {
    /// Runs the step that waits for the post file.
    pub fn after(files: &Files, quiet: &Path) -> Self {
        if [OUT, "run/0/out.err", "run/0/out.lock"].iter().any(|name| files.contains_key(*name)) {
            Self::ends(Self::starts(quiet))
        } else {
            Self::NoSign
        }
    }

    /// Starts the step that waits for the post file. Its own files are elsewhere.
    pub fn starts(quiet: &Path) -> Child {
        let own = |name: &str| quiet.join("next").join(name).display().to_string();
        let _ = std::fs::remove_dir_all(quiet.join("next"));
        std::fs::create_dir(quiet.join("next")).unwrap();
        let mut next: Command = command([
            "-wait_file",
            "/tekton/run/0/out",
            "-post_file",
            &own("out"),
            "-termination_path",
            &own("termination"),
            "-step_metadata_dir",
            &own("status"),
            "-entrypoint",
            "/bin/echo",
            "--",
            "ran",
        ]);
        next.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // By a thread of its own: this one waits for all its children when it traces some.
        std::thread::spawn(move || next.spawn().unwrap()).join().unwrap()
    }

    /// What becomes of it.
    pub fn ends(mut child: Child) -> Self {
        let give_up = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > give_up {
                child.kill().unwrap();
                child.wait().unwrap();
                return Self::Waits;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) if output.stdout == b"ran\n" => Self::Ran,
            Some(1) if stderr.ends_with("Skipping step because a previous step failed\n") => Self::Skipped,
            Some(1) if stderr.contains("ended without a report") => Self::ToldDead,
            other => panic!("{other:?}: {stderr}"),
        }
    }
}

impl Left {
    fn content(&self, name: &str) -> Option<&[u8]> {
        match self.files.get(name) {
            Some(Node::File { content, .. }) => Some(content),
            _ => None,
        }
    }

    /// What is wrong with a run on a disk that does not fail.
    pub fn wrong_without_fault(&self, scenario: &Scenario) -> Vec<String> {
        let mut wrong = Vec::new();
        let next = self.next != Next::Nobody && !matches!(self.next, Next::Ran | Next::Skipped);
        if next || self.processes != [""; 0] || self.ended.code.is_none() {
            wrong.push("the run itself".to_owned());
        }
        if scenario.step && self.files.contains_key("run/0/out.lock") {
            wrong.push("a lock".to_owned());
        }
        wrong.extend(self.unfinished());
        wrong
    }

    /// What is wrong with a run on a disk that failed.
    pub fn wrong(&self, scenario: &Scenario, fault: Fault, disk: &Disk, whole: &Self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut say = |what: String| wrong.push(what);
        if self.ended.code.is_none() || self.ended.stderr.contains("panicked") || self.ended.stderr.contains("defect") {
            say(format!("it died: {:?}", self.ended));
        }
        if !self.processes.is_empty() {
            say(format!("processes are left: {:?}", self.processes));
        }
        if self.next == Next::Waits {
            say("the next step waits for ever".to_owned());
        }
        let in_vain = |name: &str| {
            disk.refused.iter().any(|refused| refused.path.to_str().is_some_and(|path| path.ends_with(name)))
        };
        // The lock has another name until it is locked.
        let lock = disk.refused.iter().any(|refused| refused.path.to_string_lossy().contains("run/0/out.lock"));
        if self.next == Next::NoSign && !(lock && in_vain("run/0/out.err")) {
            say("the next step finds no sign, and there could have been one".to_owned());
        }
        let (out, err) = (self.files.contains_key(OUT), self.files.contains_key("run/0/out.err"));
        if out && err {
            say("success and failure are told".to_owned());
        }
        // Whoever lost something says so, with the cause.
        let synced = disk.refused.iter().any(|refused| refused.change == Change::Sync);
        let told = self.ended.stderr.contains(&fault.words());
        if self.ended.code != whole.ended.code && !told {
            say(format!("it exits with {:?} and says nothing of {:?}", self.ended.code, fault.words()));
        }
        if self.ended.code == Some(0) && scenario.step && !out {
            say("a success that releases nobody".to_owned());
        }
        if out && self.next == Next::Ran && self.ended.code != whole.ended.code && !synced {
            say("a failure that releases the next step".to_owned());
        }
        for (name, node) in &self.files {
            if let Some(what) = self.half(name, node, whole, fault, disk) {
                say(what);
            }
        }
        if self.ended.code == whole.ended.code && (self.ended.code == Some(0) || out) {
            for name in whole.files.keys().filter(|name| !self.files.contains_key(*name)) {
                // Caches are no promise, and what is not the step's own is said.
                if !name.starts_with("cache") && !told {
                    say(format!("{name} is missing, and nothing is said"));
                }
            }
        }
        let cleaned = !disk.refused.iter().any(|refused| matches!(refused.change, Change::Remove));
        if cleaned {
            self.unfinished().into_iter().for_each(say);
        }
        wrong
    }

    /// Files that nobody will ever look at.
    fn unfinished(&self) -> Vec<String> {
        self.files.keys().filter(|name| is_unfinished(name)).map(|name| format!("{name} is left behind")).collect()
    }

    /// What is half of this file.
    fn half(&self, name: &str, node: &Node, whole: &Self, fault: Fault, disk: &Disk) -> Option<String> {
        if is_unfinished(name) || THE_STEPS.contains(&name) {
            return None;
        }
        let as_it_was = self.before.get(name) == Some(node);
        let Node::File { content, mode } = node else {
            let expected = as_it_was || whole.files.get(name) == Some(node) || name.starts_with("cache");
            return (!expected).then(|| format!("{name} is {node:?}"));
        };
        let text = String::from_utf8_lossy(content);
        let fine = match name {
            "termination" => content.is_empty() || serde_json::from_str::<Vec<Value>>(&text).is_ok(),
            "run/0/status/image.json" => text.ends_with('\n') && serde_json::from_str::<Value>(&text).is_ok(),
            // What is printed is copied as far as there is room, and how much is missing is said.
            "logs/out" | "logs/err" => {
                let all = whole.content(name).unwrap_or_default();
                content == all
                    || (all.starts_with(content) && self.ended.stderr.contains("bytes of the step's"))
                    || self.ended.code != whole.ended.code
            }
            "run/0/out.lock" | "run/0/out.err" | OUT => as_it_was || content.is_empty(),
            _ if name.starts_with("cache/blobs/") => name.ends_with(&hex(content)),
            _ => as_it_was || whole.files.get(name) == Some(node),
        };
        // On a dead disk nothing can be taken back. It was tried, and is told.
        let is_it =
            |path: &Path| path.strip_prefix(DISK).is_ok_and(|path| world::known(path.to_str().unwrap()) == name);
        let refused = disk.refused.iter().filter(|refused| is_it(&refused.path)).map(|refused| refused.change);
        let taken_back = match name {
            "scripts/s" => refused.filter(|change| matches!(change, Change::Write(_) | Change::Cut)).count() > 1,
            _ => refused.filter(|change| *change == Change::Remove).count() > 0,
        };
        let told = self.ended.stderr.contains(&fault.words());
        (!(fine || taken_back && told)).then(|| format!("{name} (0{mode:o}) is half: {text:.200}"))
    }
}

fn is_unfinished(name: &str) -> bool {
    name.split('/').any(|own| {
        own.starts_with("new-")
            || own.starts_with(".entrypoint-")
            || own.starts_with("out.lock.")
            || (own.starts_with('.') && own.ends_with(".new"))
    })
}

fn hex(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
