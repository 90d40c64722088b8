//! What is measured, in the order of the table.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::process::{Result, spread};
use crate::table::Row;
use crate::{binary, lookups, output, pod, steps};

/// Long enough for a program that was just started to have nothing left to do but wait.
pub const SETTLED: Duration = Duration::from_millis(60);

/// What is compared with what.
pub struct Bench {
    /// Ours, everything on.
    pub entrypoint: PathBuf,
    /// Smaller builds of it.
    pub builds: Builds,
    /// Tekton's entrypoint, if it is to be measured.
    pub tekton: Option<PathBuf>,
    /// A program that looks an image's config up, if it is to be measured.
    pub crane: Option<PathBuf>,
    /// This program, which the measured steps run.
    pub this: PathBuf,
    /// Holds everything that is written.
    pub base: PathBuf,
    /// The same in memory, if this machine has such a place.
    pub memory: Option<PathBuf>,
    /// How often everything is measured, if not as often as each row wants.
    pub runs: Option<usize>,
}

/// Builds with features left out, where they were made.
pub struct Builds {
    pub no_clouds: Option<PathBuf>,
    pub no_network: Option<PathBuf>,
}

impl Bench {
    /// All rows. What cannot be measured is said, and leaves the others alone.
    pub fn rows(&self) -> (Vec<Row>, Vec<String>) {
        type Measure = fn(&Bench) -> Result<Vec<Row>>;
        let groups: [(&str, Measure); 15] = [
            ("overhead", steps::overhead),
            ("hand-off", steps::hand_off),
            ("waiting", steps::waiting),
            ("beside a looked-up step", steps::beside),
            ("size", binary::size),
            ("compressed size", binary::compressed),
            ("placing", binary::placing),
            ("lookup on loopback", lookups::on_loopback),
            ("lookup far away", lookups::far_away),
            ("lookup beside the wait", lookups::beside_wait),
            ("requests", lookups::requests),
            ("orphans", pod::orphans),
            ("exit codes", pod::exit_codes),
            ("64 steps", pod::many_steps),
            ("output", output::copied),
        ];
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for (name, measure) in groups {
            eprintln!("measuring: {name}");
            match measure(self) {
                Ok(measured) => rows.extend(measured),
                Err(error) => failures.push(format!("{name}: {error}")),
            }
        }
        (rows, failures)
    }

    /// How often a row measures that wants `wanted` runs.
    pub fn runs(&self, wanted: usize) -> usize {
        self.runs.map_or(wanted, |runs| runs.min(wanted))
    }

    /// A directory for a row.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.base.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// The median of samples.
pub fn median(samples: Vec<f64>) -> Result<f64> {
    Ok(spread(samples)?.median)
}

/// The median of a peer's samples; a peer that is not there has none.
pub fn median_of_peer(samples: Vec<f64>) -> Result<Option<f64>> {
    if samples.is_empty() { Ok(None) } else { median(samples).map(Some) }
}
