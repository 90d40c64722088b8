//! End to end: the built program against a real registry, in real containers, in an empty root.
//!
//! `make test` brings what these need; a test that lacks something says so (`tests/support/skip.rs`).
#![cfg(feature = "kube")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, waits for the children that it starts, and reads its runner's environment"
)]

#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "support/oci.rs"]
mod oci;
#[path = "support/podman.rs"]
mod podman;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/tls.rs"]
mod tls;
#[path = "support/token_service.rs"]
mod token_service;

#[path = "e2e/bearer.rs"]
mod bearer;
#[path = "e2e/chroot.rs"]
mod chroot;
#[path = "e2e/footprint.rs"]
mod footprint;
#[path = "e2e/images.rs"]
mod images;
#[path = "e2e/lookup.rs"]
mod lookup;
#[path = "e2e/nothing.rs"]
mod nothing;
#[path = "e2e/pod.rs"]
mod pod;
#[path = "e2e/pod_ends.rs"]
mod pod_ends;
#[path = "e2e/pod_failures.rs"]
mod pod_failures;
#[path = "e2e/pod_images.rs"]
mod pod_images;
#[path = "e2e/pod_manifests.rs"]
mod pod_manifests;
#[path = "e2e/release.rs"]
mod release;
#[path = "e2e/step.rs"]
mod step;
#[path = "e2e/taskrun.rs"]
mod taskrun;
#[path = "e2e/world.rs"]
mod world;
