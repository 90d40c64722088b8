//! `doctor` from outside: a line for everything that a lookup needs, with a fix, and no secret in any of them.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![allow(unreachable_pub, reason = "shared with the demo")]

#[path = "doctor/cluster.rs"]
mod cluster;
#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "doctor/network.rs"]
mod network;
#[path = "support/oci.rs"]
mod oci;
#[path = "doctor/place.rs"]
mod place;
#[path = "../examples/demo/registry.rs"]
mod registry;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;
#[path = "doctor/told.rs"]
mod told;
#[path = "doctor/world.rs"]
mod world;
