//! What must hold of a pod in which a process was killed, whichever it was and whenever.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use entrypoint::image::Digest;
use entrypoint::step::alive::lock_of;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::pod::{Container, End, FOR_EVER, Pod, STEPS, looks_up, tells_signals};
use crate::schema;

/// Which process of a step was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    Supervisor,
    Lookup,
    Step,
    Grandchild,
}

/// What became of a pod, in the words of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The step had reported already: what follows from that is as if nobody had been killed.
    Reported,
    /// The next step was told by the sentence that names the dead one.
    Told,
    /// It was killed before it had said that it lives. The next step waits, as for a container that has not been started,
    /// and ends when it is asked to.
    Unannounced,
    /// There is no next step.
    Last,
    /// The lookup was made again.
    Retried,
    /// The step failed, and says what was killed.
    Failed,
}

/// How many pods met which fate.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<(Victim, Fate), usize>);

impl Tally {
    pub fn add(&mut self, victim: Victim, fate: Fate) {
        *self.0.entry((victim, fate)).or_default() += 1;
    }

    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    pub fn of(&self, victim: Victim) -> usize {
        self.0.iter().filter(|((of, _), _)| *of == victim).map(|(_, count)| count).sum()
    }

    /// How many met this fate.
    pub fn met(&self, fate: Fate) -> usize {
        self.0.iter().filter(|((_, met), _)| *met == fate).map(|(_, count)| count).sum()
    }
}

/// What a killed process was, and how its container ended.
#[derive(Debug, Clone, Copy)]
pub struct Killed {
    pub step: usize,
    pub victim: Victim,
    pub end: End,
}

/// Sees the other containers to their ends, and checks everything. None if the process had ended before it was killed.
/// The steps begin with `first`.
pub fn judge(pod: &Pod, first: usize, killed: Killed, mut others: Vec<Container>) -> Option<Fate> {
    let mut ends = BTreeMap::from([(killed.step, killed.end)]);
    // From the first on: what becomes of one decides what becomes of the next.
    others.sort_by_key(|container| container.step);
    for mut container in others {
        let step = container.step;
        let lost = step.checked_sub(1).is_some_and(|before| is_silent(pod, before) && before == killed.step);
        let end = container.end(|id| {
            if lost {
                // As kubelet asks when the pod is deleted.
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
        });
        ends.insert(step, end);
    }
    let fate = fate(pod, killed);
    for step in first..STEPS {
        let dead =
            step == killed.step && killed.victim == Victim::Supervisor && killed.end == End::Signal(libc::SIGKILL);
        if !dead {
            ended_as_it_should(pod, step, ends[&step]);
        }
        followed(pod, step, ends[&step], killed, fate);
        files_are_whole(pod, step);
    }
    cache_is_right(pod);
    nobody_is_left(pod);
    runs_again(pod, killed.step);
    fate
}

/// Whether a step left neither a word nor a sign that there will be none.
fn is_silent(pod: &Pod, step: usize) -> bool {
    let out = pod.left(step, "out");
    !out.exists() && !pod.left(step, "out.err").exists() && !lock_of(&out).exists()
}

/// What became of the step of which a process was killed.
fn fate(pod: &Pod, killed: Killed) -> Option<Fate> {
    let Killed { step, victim, end } = killed;
    let log = pod.log(step);
    match victim {
        Victim::Supervisor if end != End::Signal(libc::SIGKILL) => None,
        Victim::Supervisor if pod.left(step, "out").exists() || pod.left(step, "out.err").exists() => {
            Some(Fate::Reported)
        }
        Victim::Supervisor if is_silent(pod, step) => Some(Fate::Unannounced),
        Victim::Supervisor if step + 1 == STEPS => Some(Fate::Last),
        Victim::Supervisor => Some(Fate::Told),
        Victim::Lookup => {
            match (end, log.contains("the lookup's process was killed by SIGKILL before it had an answer")) {
                (End::Code(0), true) => {
                    assert!(log.starts_with("WARN ") || log.contains(" WARN "), "{log}");
                    Some(Fate::Retried)
                }
                // A step that does not wait has one attempt.
                (End::Code(1), true) if step == 0 => {
                    let message = message(pod, step);
                    assert!(has(&message, "Reason", "ImageLookupFailed"), "{message:?}");
                    Some(Fate::Failed)
                }
                // At its turn the death of an attempt that was not the last is not worth a line.
                (End::Code(0), false) if step > 0 => Some(Fate::Retried),
                (End::Code(0), false) => None,
                other => panic!("a killed lookup ended its step by {other:?}"),
            }
        }
        Victim::Step => match end {
            End::Code(0) => None,
            End::Code(137) if tells_signals(step) => {
                assert!(log.contains("The step's process was killed by SIGKILL"), "{log}");
                let message = message(pod, step);
                assert!(has(&message, "entrypoint/signal", "SIGKILL"), "{message:?}");
                Some(Fate::Failed)
            }
            End::Code(255) if !tells_signals(step) => Some(Fate::Failed),
            End::Code(_) | End::Signal(_) => panic!("a killed step ended by {end:?}"),
        },
        Victim::Grandchild => match end {
            End::Code(0) => None,
            // The step's own word.
            End::Code(137) => Some(Fate::Failed),
            End::Code(_) | End::Signal(_) => panic!("a step whose child was killed ended by {end:?}"),
        },
    }
}

/// A step that was not killed itself has told how it ended, and has tidied up.
fn ended_as_it_should(pod: &Pod, step: usize, end: End) {
    let (out, err) = (pod.left(step, "out"), pod.left(step, "out.err"));
    assert_eq!(
        (out.exists(), err.exists()),
        (end == End::Code(0), end != End::Code(0)),
        "step {step} ended by {end:?}"
    );
    assert!(!lock_of(&out).exists(), "step {step}");
    let code = fs::read_to_string(pod.left(step, "status/exitCode")).ok();
    assert_eq!(code.as_deref(), (end == End::Code(0)).then_some("0"), "step {step}");
    let message = message(pod, step);
    assert!(message.iter().any(|entry| entry["key"] == "StartedAt"), "step {step}: {message:?}");
    if end == End::Code(0) {
        assert!(has(&message, "said", "said\n") || has(&message, "said", "said"), "step {step}: {message:?}");
        assert_eq!(pod.left(step, "status/image.json").exists(), looks_up(step), "step {step}");
    }
}

/// A step ran because the one before it succeeded, or says why it did not.
fn followed(pod: &Pod, step: usize, end: End, killed: Killed, fate: Option<Fate>) {
    let Some(before) = step.checked_sub(1) else { return };
    if step == killed.step {
        return;
    }
    let log = pod.log(step);
    if pod.left(before, "out").exists() {
        assert_eq!(end, End::Code(0), "step {step} behind a success");
    } else if pod.left(before, "out.err").exists() {
        assert_eq!(end, End::Code(1), "step {step} behind a failure");
        assert!(log.contains("Skipping step because a previous step failed"), "{log}");
    } else if fate == Some(Fate::Unannounced) {
        assert_eq!(end, End::Code(2), "step {step} behind one that never said that it lives");
        assert!(log.contains("SIGTERM ended the step before its turn came"), "{log}");
    } else {
        assert_eq!(end, End::Code(1), "step {step} behind a dead one");
        let dead = pod.left(before, "out");
        let sentence = format!(
            "Skipping step because a previous step failed: the step that was to write {dead:?} ended without a report"
        );
        assert!(log.contains(&sentence), "{log}");
        let message = message(pod, step);
        assert!(has(&message, "Reason", "Skipped"), "{message:?}");
    }
}

/// Whatever a step has left is complete.
fn files_are_whole(pod: &Pod, step: usize) {
    for name in ["out", "out.err", "out.lock"] {
        let content = fs::read(pod.left(step, name)).unwrap_or_default();
        assert!(content.is_empty(), "{name} of step {step}: {content:?}");
    }
    if let Ok(code) = fs::read_to_string(pod.left(step, "status/exitCode")) {
        assert!(code.parse::<i32>().is_ok(), "exitCode of step {step}: {code:?}");
    }
    if let Ok(document) = fs::read(pod.left(step, "status/image.json")) {
        let document =
            serde_json::from_slice(&document).unwrap_or_else(|error| panic!("image.json of {step}: {error}"));
        let schema = serde_json::from_str(include_str!("../../../docs/image.schema.json")).unwrap();
        assert_eq!(schema::violations(&schema, &document), [""; 0], "image.json of step {step}");
    }
    if let Ok(result) = fs::read(pod.left(step, "status/results/image")) {
        assert!(serde_json::from_slice::<Value>(&result).is_ok(), "the result of step {step}: {result:?}");
    }
    let _ = message(pod, step);
}

/// The message of a step, which is a whole one, or none.
fn message(pod: &Pod, step: usize) -> Vec<Value> {
    let text = fs::read(pod.path(&format!("termination-{step}"))).unwrap_or_default();
    if text.is_empty() {
        return Vec::new();
    }
    let text = String::from_utf8(text).expect("a message is text");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("the message of step {step}: {error}: {text:?}"))
}

fn has(message: &[Value], key: &str, value: &str) -> bool {
    message.iter().any(|entry| entry["key"] == key && entry["value"] == value)
}

/// Every entry is what its name says.
fn cache_is_right(pod: &Pod) {
    let Ok(blobs) = fs::read_dir(pod.cache().join("blobs/sha256")) else { return };
    for entry in blobs {
        let entry = entry.unwrap();
        let digest: Digest = format!("sha256:{}", entry.file_name().to_str().unwrap()).parse().expect("only entries");
        digest.verify(&fs::read(entry.path()).unwrap()).unwrap();
    }
}

/// Not even a zombie. What is not in a namespace may be about to end.
fn nobody_is_left(pod: &Pod) {
    let since = std::time::Instant::now();
    loop {
        let left = pod.processes();
        if left.is_empty() {
            return;
        }
        assert!(since.elapsed() < FOR_EVER, "left: {left:?}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A step that runs in the same directories, with all that was left there, is none the worse for it.
fn runs_again(pod: &Pod, step: usize) {
    let (out, status) = (pod.left(step, "out"), pod.left(step, "status"));
    let before = pod.log(step);
    let end = pod.start(step, false).end(|_| {});
    let said = pod.log(step).split_off(before.len());
    assert_eq!((end, said.as_str()), (End::Code(0), ""), "again");
    assert!(out.exists() && !lock_of(&out).exists(), "again");
    assert_eq!(fs::read_to_string(status.join("exitCode")).unwrap(), "0");
    files_are_whole(pod, step);
    assert!(has(&message(pod, step), "said", "said\n"), "again: {:?}", message(pod, step));
    assert_eq!(status.join("image.json").exists(), looks_up(step));
    let left = names(&pod.left(step, ""));
    assert!(left.iter().all(|name| name == "status" || name.starts_with("out")), "{left:?}");
    cache_is_right(pod);
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
