//! A thousand pods at a time, for six hours, against a registry that limits how much a node may get: `thousand ENTRYPOINT`, or
//! `make thousand`. `docs/rate-limits.md` tells what is counted and why.
//!
//! Everything but the hours is real: each lookup is a process of the given program, each request goes over HTTP.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a program for people, which starts programs and prints tables"
)]

#[path = "bench/http.rs"]
mod http;
#[path = "thousand/images.rs"]
mod images;
#[path = "bench/listening.rs"]
mod listening;
#[path = "../tests/support/oci.rs"]
mod oci;
#[path = "thousand/passes.rs"]
mod passes;
#[path = "thousand/pods.rs"]
mod pods;
#[path = "thousand/registry.rs"]
mod registry;
#[path = "thousand/table.rs"]
mod table;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use images::Mix;
use passes::Pass;
use registry::HOURS;

/// With their pods: a thousand.
const NODES: usize = 50;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [entrypoint] = &arguments[..] else {
        eprintln!("usage: thousand ENTRYPOINT");
        return ExitCode::FAILURE;
    };
    simulate(entrypoint).unwrap_or_else(|error| {
        eprintln!("thousand: {error}");
        ExitCode::FAILURE
    })
}

/// Runs all passes and prints what came of them. A failure only where `CHECK` asks for one.
fn simulate(entrypoint: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let given = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let nodes = match given("THOUSAND_NODES") {
        Some(nodes) => nodes.parse().map_err(|_| "THOUSAND_NODES is not a number of nodes")?,
        None => NODES,
    };
    let mut missed = Vec::new();
    for mix in [Mix::Manifests, Mix::HalfIndexes] {
        for cache in [true, false] {
            // The container runtime has pulled each image once, as it must for a pod that runs it.
            let pass = Pass { nodes, hours: HOURS, mix, before: mix.documents(), cache };
            let dir = tempfile::tempdir()?;
            let result = pass.run(entrypoint, dir.path())?;
            table::print(&result);
            for sentence in &result.sentences {
                eprintln!("failed: {sentence}");
            }
            missed.extend(result.missed());
        }
    }
    for what in &missed {
        eprintln!("MISSED: {what}");
    }
    let check = given("CHECK").is_some_and(|check| check == "1");
    Ok(if check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
