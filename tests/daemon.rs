//! A Docker daemon as a source of images: scripted daemons, sockets and TLS in every state, and real engines.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "daemon/answers.rs"]
mod answers;
#[path = "daemon/engines.rs"]
mod engines;
#[path = "support/oci.rs"]
mod oci;
#[path = "daemon/order.rs"]
mod order;
#[path = "daemon/reached.rs"]
mod reached;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;
#[path = "daemon/world.rs"]
mod world;
