//! A pass: six hours of pods on all nodes, with or without a cache, and what must have held.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::images::{IMAGES, Images, Mix};
use crate::pods::{Outcome, PODS, Starting, of_hour};
use crate::registry::{ALLOWANCE, Counts, Registry};

/// How many sentences of failures are kept.
const SENTENCES: usize = 3;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    pub nodes: usize,
    pub hours: u64,
    pub mix: Mix,
    /// How many manifests each node has got already: its container runtime has pulled the images.
    pub before: usize,
    /// Whether the pods of a node share a cache.
    pub cache: bool,
}

/// One hour, or several.
#[derive(Debug, Clone, Default)]
pub struct Hours {
    pub lookups: usize,
    /// Of all nodes together.
    pub counts: Counts,
    /// The most manifests that a single node has got, since the first hour.
    pub most: usize,
    pub retries: usize,
    /// Lookups without a result, because of the limit.
    pub failed: usize,
    pub wall: Duration,
}

/// What came of a pass.
#[derive(Debug)]
pub struct Result {
    pub pass: Pass,
    pub hours: Vec<Hours>,
    /// What each node has asked for in the end.
    pub nodes: Vec<Counts>,
    /// Some sentences of lookups that failed because of the limit.
    pub sentences: Vec<String>,
    /// What must not happen, limit or not.
    pub wrong: Vec<String>,
}

impl Pass {
    /// Runs it below a directory, hour by hour, in as little time as it takes.
    pub fn run(self, entrypoint: &Path, dir: &Path) -> std::result::Result<Result, Box<dyn Error>> {
        let images = Arc::new(Images::new(&dir.join("images"), self.mix)?);
        let registry = Registry::start(&images, self.nodes, self.before)?;
        let starting = Starting { entrypoint, caches: self.cache.then_some(dir) };
        let mut result = Result {
            pass: self,
            hours: Vec::new(),
            nodes: registry.counts(),
            sentences: Vec::new(),
            wrong: Vec::new(),
        };
        for hour in 0..self.hours {
            registry.at_hour(hour);
            let (pods, start) = (of_hour(self.nodes, hour), Instant::now());
            let ended = starting.all(pods, |pod| registry.reference(pod.node, pod.image));
            let mut this = Hours { lookups: ended.len(), wall: start.elapsed(), ..Hours::default() };
            for one in ended {
                this.retries += one.retries;
                match one.outcome {
                    Outcome::Found => {}
                    Outcome::RefusedByLimit(sentence) => {
                        this.failed += 1;
                        if result.sentences.len() < SENTENCES {
                            result.sentences.push(sentence);
                        }
                    }
                    Outcome::Wrong(what) => result.wrong.push(what),
                }
            }
            let counts = registry.counts();
            this.counts = sum(&counts).minus(sum(&result.nodes));
            this.most = counts.iter().map(|node| node.manifests).max().unwrap_or_default();
            result.nodes = counts;
            result.hours.push(this);
        }
        Ok(result)
    }
}

impl Counts {
    fn minus(self, other: Self) -> Self {
        Self {
            manifests: self.manifests - other.manifests,
            images: self.images - other.images,
            heads: self.heads - other.heads,
            refused: self.refused - other.refused,
        }
    }
}

fn sum(nodes: &[Counts]) -> Counts {
    let of = |count: fn(&Counts) -> usize| nodes.iter().map(count).sum();
    Counts {
        manifests: of(|n| n.manifests),
        images: of(|n| n.images),
        heads: of(|n| n.heads),
        refused: of(|n| n.refused),
    }
}

impl Result {
    /// All hours as one.
    pub fn whole(&self) -> Hours {
        let of = |count: fn(&Hours) -> usize| self.hours.iter().map(count).sum();
        Hours {
            lookups: of(|hour| hour.lookups),
            counts: sum(&self.nodes),
            most: self.hours.iter().map(|hour| hour.most).max().unwrap_or_default(),
            retries: of(|hour| hour.retries),
            failed: of(|hour| hour.failed),
            wall: self.hours.iter().map(|hour| hour.wall).sum(),
        }
    }

    /// What should have held and has not, as sentences.
    pub fn missed(&self) -> Vec<String> {
        let Pass { nodes, hours, mix, before, cache } = self.pass;
        let whole = self.whole();
        let expected = usize::try_from(hours).unwrap_or_default() * nodes * PODS;
        let images = self.nodes.iter().map(|node| node.images).max().unwrap_or_default();
        let documents = mix.documents();
        let mut missed: Vec<String> = self.wrong.iter().map(|what| format!("not by the limit: {what}")).collect();
        let mut must = |holds: bool, what: String| {
            if !holds {
                missed.push(what);
            }
        };
        must(whole.lookups == expected, format!("{} lookups ended, not {expected}", whole.lookups));
        must(before + whole.most <= ALLOWANCE, format!("a node was given {} manifests", before + whole.most));
        if cache {
            must(whole.failed == 0, format!("{} lookups failed with a cache", whole.failed));
            must(images <= IMAGES, format!("a node fetched images {images} times with a cache, more than {IMAGES}"));
            must(
                whole.most <= documents,
                format!("a node got {} manifests with a cache, more than {documents}", whole.most),
            );
        }
        missed
    }
}
