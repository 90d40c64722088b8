//! What a lookup costs its registry, and what a cache of earlier lookups saves: counted, and never believed.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "economy/asked.rs"]
mod asked;
#[path = "economy/disks.rs"]
mod disks;
#[path = "economy/hostile.rs"]
mod hostile;
#[path = "support/images.rs"]
mod images;
#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "support/lookup.rs"]
mod lookup;
#[path = "support/oci.rs"]
mod oci;
#[path = "economy/odd.rs"]
mod odd;
#[path = "economy/place.rs"]
mod place;
#[path = "economy/pod.rs"]
mod pod;
#[path = "economy/private.rs"]
mod private;
#[path = "../examples/demo/registry.rs"]
#[allow(unreachable_pub, reason = "shared with the demo")]
mod registry;
#[path = "support/server.rs"]
mod server;
#[path = "economy/shared.rs"]
mod shared;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;
#[path = "economy/world.rs"]
mod world;
