//! What is linked into the release binary, as a bill of materials (CycloneDX): `scripts/sbom` calls it.
//!
//! `sbom SHA256 RUST LIBC` prints it. The arguments are the binary's hash and the versions of the two parts that no lock file
//! has; cargo's tree is on stdin, and `Cargo.lock` in the working directory.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for people, which prints a document")]

use std::error::Error;
use std::io::Read;
use std::process::ExitCode;
use std::{env, fs, io};

#[path = "sbom/bom.rs"]
mod bom;

fn run() -> Result<String, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("usage: sbom SHA256 RUST LIBC: no {what}"));
    let built = bom::Built { sha256: next("SHA256")?, rust: next("RUST")?, libc: next("LIBC")? };
    let mut tree = String::new();
    io::stdin().read_to_string(&mut tree)?;
    let lock = fs::read_to_string("Cargo.lock").map_err(|error| format!("Cargo.lock: {error}"))?;
    Ok(serde_json::to_string_pretty(&bom::bom(&built, &tree, &lock)?)?)
}

fn main() -> ExitCode {
    match run() {
        Ok(document) => {
            println!("{document}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sbom: {error}");
            ExitCode::FAILURE
        }
    }
}
