//! Google's identities: works, hung, refused, rejected by the registry.

#[path = "google/emulator.rs"]
mod emulator;
#[path = "google/files.rs"]
mod files;
#[path = "google/metadata.rs"]
mod metadata;

use crate::world::{Told, World};

const PURPOSE: &str = "the tests of Google's identities";
/// The registry that most tests ask.
const REGISTRY: &str = "europe-docker.pkg.dev";

/// What a failing identity costs, for the table of who takes how long.
#[allow(clippy::print_stderr, reason = "for who runs the tests with --nocapture")]
fn measured(what: &str, told: &Told) {
    eprintln!("measured: Google: {what}: {:.1} s", told.took.as_secs_f64());
}

/// The lines of a server: `GET /path`.
fn lines(world: &World, server: &str) -> Vec<String> {
    world.asked_of(server).iter().map(|request| format!("{} {}", request.method, request.path())).collect()
}

/// Fails unless all of these are said.
fn says(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
}
