//! Pinning from outside: the built binary between an API server that tells what kubelet reports of its pod and a registry
//! that answers what it was told to and nothing else. Every step ends in the right command or in a sentence that says why
//! not, and `image.json` says which of the two it was.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![allow(unreachable_pub, reason = "a world that several modules of one program share")]

#[path = "pin/container.rs"]
mod container;
#[path = "pin/forms.rs"]
mod forms;
#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "pin/late.rs"]
mod late;
#[path = "pin/moved.rs"]
mod moved;
#[path = "support/oci.rs"]
mod oci;
#[path = "pin/places.rs"]
mod places;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "pin/sources.rs"]
mod sources;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;
#[path = "pin/told.rs"]
mod told;
#[path = "pin/unread.rs"]
mod unread;
#[path = "pin/world.rs"]
mod world;
