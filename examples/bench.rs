//! The numbers: ours, and the peers' in turn with ours where they are given by `TEKTON_ENTRYPOINT` and `CRANE`.
//!
//! `bench ENTRYPOINT` measures; `bench clock FILE` is what the measured steps run: it writes down when it started.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a program for people, which starts programs and prints a table"
)]

#[path = "bench/process.rs"]
mod process;
#[path = "bench/rows.rs"]
mod rows;
#[path = "bench/table.rs"]
mod table;

#[path = "../tests/support/oci.rs"]
mod oci;
#[path = "demo/registry.rs"]
mod registry;
#[path = "../tests/support/server.rs"]
mod server;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use process::Result;
use rows::Bench;

fn main() -> ExitCode {
    let started = SystemTime::now();
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let done = match &arguments[..] {
        [word, file] if word == Path::new("clock") => write_clock(started, file).map(|()| true),
        [entrypoint] => measure(entrypoint),
        _ => Err("usage: bench ENTRYPOINT".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a measured step does: the moment at which it ran, for the one that measures.
fn write_clock(started: SystemTime, file: &Path) -> Result<()> {
    let since = started.duration_since(SystemTime::UNIX_EPOCH)?;
    // Renamed, so that the reader never sees a half of it.
    let unfinished = file.with_extension("new");
    fs::write(&unfinished, since.as_nanos().to_string())?;
    Ok(fs::rename(unfinished, file)?)
}

/// Measures everything and prints the table. Whether `CHECK` is content.
fn measure(entrypoint: &Path) -> Result<bool> {
    let given = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let base = tempfile::tempdir()?;
    let bench = Bench {
        entrypoint: entrypoint.to_owned(),
        tekton: given("TEKTON_ENTRYPOINT"),
        crane: given("CRANE"),
        clock: env::current_exe()?,
        base: base.path().to_owned(),
    };
    println!("files on: {} ({})", base.path().display(), process::filesystem(base.path())?);
    println!("the termination message is fsynced: its filesystem counts (TMPDIR chooses another)");
    let load = fs::read_to_string("/proc/loadavg")?;
    let cpus = std::thread::available_parallelism()?;
    println!("load before: {} on {cpus} processors", load.split(' ').next().unwrap_or_default());
    for (peer, name, what) in [
        (&bench.tekton, "TEKTON_ENTRYPOINT", "the peer of all rows but the lookup"),
        (&bench.crane, "CRANE", "the peer of the lookup"),
    ] {
        match peer {
            Some(path) => println!("{name}: {}", path.display()),
            None => println!("{name} is not given: {what} is not measured"),
        }
    }
    println!();
    let (rows, failures) = bench.rows();
    let met = table::print(&rows) && failures.is_empty();
    for failure in &failures {
        println!("\nnot measured: {failure}");
    }
    let check = given("CHECK").is_some_and(|check| check == Path::new("1"));
    if !met {
        println!("\na target is missed");
    }
    Ok(met || !check)
}
