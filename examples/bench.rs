//! The numbers: ours, and the peers' in turn with ours where they are given by `TEKTON_ENTRYPOINT` and `CRANE`.
//!
//! `bench ENTRYPOINT` measures, and prints what the README shows on stdout, the rest on stderr. `bench clock FILE` is what
//! the measured steps run: it writes down when it started. `bench peak PROGRAM ...` prints how much memory it took.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a program for people, which starts programs and prints a table"
)]

#[path = "bench/binary.rs"]
mod binary;
#[path = "bench/header.rs"]
mod header;
#[path = "bench/http.rs"]
mod http;
#[path = "bench/listening.rs"]
mod listening;
#[path = "bench/lookups.rs"]
mod lookups;
#[path = "bench/output.rs"]
mod output;
#[path = "bench/pod.rs"]
mod pod;
#[path = "bench/process.rs"]
mod process;
#[path = "bench/registry.rs"]
mod registry;
#[path = "bench/relay.rs"]
mod relay;
#[path = "bench/rows.rs"]
mod rows;
#[path = "bench/steps.rs"]
mod steps;
#[path = "bench/table.rs"]
mod table;

#[path = "../tests/support/oci.rs"]
mod oci;
#[path = "../tests/support/tls.rs"]
mod tls;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use process::{Moment, Result};
use rows::{Bench, Builds};

fn main() -> ExitCode {
    let started = Moment::now();
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let done = match &arguments[..] {
        [word, file] if word == Path::new("clock") => {
            started.and_then(|started| started.write(file)).map(|()| ExitCode::SUCCESS)
        }
        [word, program, arguments @ ..] if word == Path::new("peak") => {
            process::print_peak(Command::new(program).args(arguments)).map(|()| ExitCode::SUCCESS)
        }
        [entrypoint] => measure(entrypoint),
        _ => Err("usage: bench ENTRYPOINT".into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

/// Measures everything and prints the table. A failure only where `CHECK` asks for one.
fn measure(entrypoint: &Path) -> Result<ExitCode> {
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let path = |name: &str| given(name).map(PathBuf::from);
    let runs = match given("BENCH_RUNS") {
        Some(runs) => {
            let runs = runs.to_str().and_then(|runs| runs.parse().ok()).filter(|runs| *runs > 0);
            Some(runs.ok_or("BENCH_RUNS is not a number of runs")?)
        }
        None => None,
    };
    let base = tempfile::tempdir()?;
    // Where no disk is in the way. Not everybody has it.
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    let bench = Bench {
        entrypoint: entrypoint.to_owned(),
        builds: Builds { no_clouds: path("BENCH_NO_CLOUDS"), no_network: path("BENCH_NO_NETWORK") },
        tekton: path("TEKTON_ENTRYPOINT"),
        crane: path("CRANE"),
        this: env::current_exe()?,
        base: base.path().to_owned(),
        memory: memory.as_ref().map(|memory| memory.path().to_owned()),
        runs,
    };
    // Pages of a program that was just built count as dirty memory of who runs it until they are on the disk.
    for program in [Some(&bench.entrypoint), bench.tekton.as_ref()].into_iter().flatten() {
        fs::File::open(program)?.sync_all()?;
    }
    let header = header::lines(&bench)?;
    let (rows, failures) = bench.rows();
    for line in header {
        println!("{line}");
    }
    println!();
    table::print(&rows);
    for failure in &failures {
        eprintln!("not measured: {failure}");
    }
    let missed = rows.iter().filter(|row| row.verdict().is_missed()).count();
    let unjudged = rows.iter().filter(|row| row.verdict() == table::Verdict::NoPeer).count();
    eprintln!("\n{missed} of {} rows missed, {unjudged} without the peer that they are judged by", rows.len());
    let check = given("CHECK").is_some_and(|check| check == "1");
    Ok(if check && (missed > 0 || !failures.is_empty()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
