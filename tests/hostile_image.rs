//! Images with a hostile environment: for each line of docs/threat-model.md what somebody sees who made the image, and what
//! becomes of the lookup. Black box, in a world of its own (tests/clouds/world.rs).
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

#[cfg(feature = "ecr")]
#[path = "hostile_image/amazon.rs"]
mod amazon;
#[cfg(feature = "acr")]
#[path = "hostile_image/azure.rs"]
mod azure;
#[path = "hostile_image/files.rs"]
mod files;
#[cfg(feature = "gcr")]
#[path = "hostile_image/google.rs"]
mod google;
#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "support/oci.rs"]
mod oci;
#[path = "hostile_image/page.rs"]
mod page;
#[path = "hostile_image/places.rs"]
mod places;
#[path = "hostile_image/plain_http.rs"]
mod plain_http;
#[path = "hostile_image/pod.rs"]
mod pod;
#[path = "hostile_image/program.rs"]
mod program;
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
#[path = "hostile_image/way.rs"]
mod way;
#[path = "clouds/world.rs"]
mod world;
