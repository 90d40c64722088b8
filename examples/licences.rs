//! The licences of what is linked into the release binary, with their texts: `scripts/licences` calls it.
//!
//! `licences METADATA RUST LIBC` prints them. The first argument is a file with cargo's metadata, the others are the versions of
//! the two parts that no lock file has; cargo's tree is on stdin, and the repository is the working directory.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for people, which prints a document")]

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

#[path = "licences/document.rs"]
mod document;
#[path = "licences/package.rs"]
mod package;

fn run() -> Result<String, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next =
        |what: &str| arguments.next().ok_or_else(|| format!("usage: licences METADATA RUST LIBC: no {what}"));
    let file = next("METADATA")?;
    let metadata = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let (rust, libc) = (next("RUST")?, next("LIBC")?);
    let mut tree = String::new();
    io::stdin().read_to_string(&mut tree)?;
    let standard = |name: &str| package::standard(Path::new("."), name);
    let (program, mut all) = package::linked(&tree, &metadata, &standard)?;
    all.extend(package::beside(&rust, &libc, &standard)?);
    Ok(document::document(&program, &all))
}

fn main() -> ExitCode {
    match run() {
        Ok(document) => {
            print!("{document}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("licences: {error}");
            ExitCode::FAILURE
        }
    }
}
