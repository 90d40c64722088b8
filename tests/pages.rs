//! The pages for people keep up with the program: the reference of the flags is made from their definitions, the sentences
//! that troubleshooting explains are the program's own, and links lead somewhere.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "pages/flags.rs"]
mod flags;
#[path = "pages/links.rs"]
mod links;
#[path = "pages/readme.rs"]
mod readme;
#[path = "pages/sentences.rs"]
mod sentences;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page, by its path in the repository.
fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All files below a directory, in the order of their names.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
