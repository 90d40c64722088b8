//! Images that are asked for elsewhere: maps, mirrors and the variables of a runner's hooks, from outside.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![allow(unreachable_pub, reason = "shared with the demo")]

#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/oci.rs"]
mod oci;
#[path = "map/places.rs"]
mod places;
#[path = "../examples/demo/registry.rs"]
mod registry;
#[path = "map/runner.rs"]
mod runner;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;
