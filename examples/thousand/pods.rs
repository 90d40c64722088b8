//! The pods: which image each has, and its lookup as a process of its own.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::images::{self, IMAGES};

/// How many pods run on a node at a time.
pub const PODS: usize = 20;
/// How many lookups are under way at once, and of how many nodes: so pods of one node meet in its cache.
const AT_ONCE: usize = 16;
const NODES_AT_ONCE: usize = 4;

/// A pod of one step.
#[derive(Debug, Clone, Copy)]
pub struct Pod {
    pub node: usize,
    pub image: usize,
}

/// All pods of one hour, in the order in which they are started. Each has some image: the same in every run.
pub fn of_hour(nodes: usize, hour: u64) -> Vec<Pod> {
    let all: Vec<usize> = (0..nodes).collect();
    let order =
        all.chunks(NODES_AT_ONCE).flat_map(|some| (0..PODS).flat_map(move |pod| some.iter().map(move |n| (*n, pod))));
    order.map(|(node, pod)| Pod { node, image: some_image(hour, node, pod) }).collect()
}

/// An image for a pod, as likely as any other.
fn some_image(hour: u64, node: usize, pod: usize) -> usize {
    // SplitMix64, once: numbers that are next to each other come out as if they had nothing to do with each other.
    let mut number = (hour << 32) ^ ((node as u64) << 16) ^ pod as u64;
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^= number >> 31;
    usize::try_from(number % IMAGES as u64).unwrap_or_default()
}

/// What came of a lookup.
#[derive(Debug)]
pub enum Outcome {
    /// The command of this very image.
    Found,
    /// None, because the registry has had enough: what the step would have said.
    RefusedByLimit(String),
    /// Something that is not to happen here.
    Wrong(String),
}

/// A lookup that has ended.
#[derive(Debug)]
pub struct Ended {
    pub outcome: Outcome,
    /// How often the registry was asked again after it had said 429.
    pub retries: usize,
}

/// How lookups are started.
pub struct Starting<'a> {
    pub entrypoint: &'a Path,
    /// Below it each node has the directory that its pods share as a cache, if they do.
    pub caches: Option<&'a Path>,
}

impl Starting<'_> {
    /// Starts the lookups of the pods, some at once, and waits for all.
    pub fn all(&self, pods: Vec<Pod>, reference: impl Fn(Pod) -> String + Sync) -> Vec<Ended> {
        let (waiting, ended) = (Mutex::new(VecDeque::from(pods)), Mutex::new(Vec::new()));
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(pod) = next() {
                        let one = self.one(pod, &reference(pod));
                        ended.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                    }
                });
            }
        });
        ended.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lookup that a step with this image makes at its turn, and nothing else: its command is not run.
    fn one(&self, pod: Pod, reference: &str) -> Ended {
        let mut command = Command::new(self.entrypoint);
        command.args(["resolve", reference, "-o", "json"]);
        if let Some(cache) = self.cache(pod.node) {
            command.arg("-image_cache_dir").arg(cache);
        }
        // Nothing of this machine's own settings: no cluster, no proxy, no credential.
        let output = command.env_clear().stdin(Stdio::null()).output();
        let wrong = |reason: String| Ended { outcome: Outcome::Wrong(reason), retries: 0 };
        match output {
            Err(error) => wrong(format!("{}: {error}", self.entrypoint.display())),
            Ok(output) => match serde_json::from_slice(&output.stdout) {
                Ok(story) => read(&story, &images::command(pod.image)),
                Err(_) => wrong(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
            },
        }
    }

    fn cache(&self, node: usize) -> Option<PathBuf> {
        Some(self.caches?.join(format!("node-{node}")))
    }
}

/// What `resolve` tells.
fn read(story: &Value, wanted: &str) -> Ended {
    let empty = Vec::new();
    let requests = story["requests"].as_array().unwrap_or(&empty);
    let limited = |request: &&Value| request["status"] == 429;
    let limited_before =
        |number: usize, url: &Value| requests.iter().take(number).filter(limited).any(|r| r["url"] == *url);
    let again = requests.iter().enumerate().filter(|(number, request)| limited_before(*number, &request["url"]));
    let outcome = if story["command"] == serde_json::json!([wanted]) {
        Outcome::Found
    } else {
        let reason = story["error"].as_str().map_or_else(|| story["command"].to_string(), str::to_owned);
        let last = requests.last();
        if last.as_ref().is_some_and(limited) { Outcome::RefusedByLimit(reason) } else { Outcome::Wrong(reason) }
    };
    Ended { outcome, retries: again.count() }
}
