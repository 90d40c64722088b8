//! The simulation of `make thousand` with two nodes for two hours: it goes on working, and what it shows goes on holding.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "../examples/bench/http.rs"]
mod http;
#[path = "../examples/thousand/images.rs"]
mod images;
#[path = "../examples/bench/listening.rs"]
mod listening;
#[path = "support/oci.rs"]
mod oci;
#[path = "../examples/thousand/passes.rs"]
mod passes;
#[path = "../examples/thousand/pods.rs"]
mod pods;
#[path = "../examples/thousand/registry.rs"]
mod registry;
#[path = "support/step.rs"]
mod step;

use images::Mix;
use passes::{Pass, Result};

/// As many pods as would need 80 manifests of a registry that gives the two nodes 60 more.
fn run(cache: bool) -> Result {
    let dir = tempfile::tempdir().unwrap();
    let pass = Pass { nodes: 2, hours: 2, mix: Mix::Manifests, before: 70, cache };
    pass.run(step::entrypoint(), dir.path()).unwrap()
}

#[test]
fn with_a_cache_per_node_nobody_fails() {
    let result = run(true);
    assert_eq!(result.missed(), [""; 0], "{result:#?}");
    let whole = result.whole();
    assert_eq!((whole.lookups, whole.failed, whole.counts.refused), (80, 0, 0), "{result:#?}");
    // A cache that is there has to be asked whether the tag still leads to what is in it.
    assert!(whole.counts.heads >= 40, "{result:#?}");
}

#[test]
fn without_a_cache_each_lookup_that_is_too_many_fails_and_says_why() {
    let result = run(false);
    assert_eq!(result.missed(), [""; 0], "{result:#?}");
    let whole = result.whole();
    // Each asks to be left alone for longer than a lookup waits.
    assert_eq!((whole.lookups, whole.counts.manifests, whole.retries), (80, 60, 0), "{result:#?}");
    assert_eq!((whole.counts.refused, whole.failed), (20, 20), "{result:#?}");
    for sentence in &result.sentences {
        for part in ["100 requests in 6 hours, 0 left", "asks for a pause of 18000 s", "429 TOOMANYREQUESTS"] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
    }
}

#[test]
fn what_has_not_held_is_told() {
    let pass = Pass { nodes: 1, hours: 0, mix: Mix::HalfIndexes, before: 70, cache: true };
    let counts = registry::Counts { manifests: 31, images: 21, heads: 0, refused: 4 };
    let hour = passes::Hours { most: 31, counts, failed: 3, ..passes::Hours::default() };
    let result = Result {
        pass,
        hours: vec![hour],
        nodes: vec![counts],
        sentences: Vec::new(),
        wrong: vec!["another image's command".to_owned()],
    };
    let told = [
        "not by the limit: another image's command",
        "a node was given 101 manifests",
        "3 lookups failed with a cache",
        "a node fetched images 21 times with a cache, more than 20",
        "a node got 31 manifests with a cache, more than 30",
    ];
    assert_eq!(result.missed(), told);
    let without = Result { pass: Pass { cache: false, ..pass }, ..result };
    assert_eq!(without.missed(), told[..2]);
}
