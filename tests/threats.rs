//! What others try, for each line of docs/threat-model.md that no other test is about: a step, a registry, a token service,
//! a mirror, a daemon, another tenant. Black box: the built program, real processes, real sockets.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of what is shared")]

#[path = "threats/daemon.rs"]
mod daemon;
#[path = "threats/files.rs"]
mod files;
#[path = "threats/names.rs"]
mod names;
#[path = "support/oci.rs"]
mod oci;
#[path = "threats/place.rs"]
mod place;
#[path = "threats/process.rs"]
mod process;
#[path = "threats/registries.rs"]
mod registries;
#[path = "../examples/demo/registry.rs"]
mod registry;
#[path = "support/server.rs"]
mod server;
#[path = "threats/services.rs"]
mod services;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;
#[path = "support/tekton.rs"]
mod tekton;
#[path = "threats/tenants.rs"]
mod tenants;
#[path = "support/tls.rs"]
mod tls;
#[path = "clouds/world.rs"]
mod world;
