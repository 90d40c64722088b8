//! The clouds' identities from outside: `resolve` in a world where metadata servers, token services and registries have
//! their real addresses and names, in an empty root. Each emulator fails the test on what the real service would refuse.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![allow(dead_code, unreachable_pub, reason = "a build with fewer clouds uses a part of this")]

#[cfg(feature = "ecr")]
#[path = "clouds/amazon.rs"]
mod amazon;
#[cfg(feature = "acr")]
#[path = "clouds/azure.rs"]
mod azure;
#[cfg(feature = "gcr")]
#[path = "clouds/google.rs"]
mod google;
#[cfg(feature = "kube")]
#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "clouds/nobody.rs"]
mod nobody;
#[path = "support/oci.rs"]
mod oci;
#[path = "../examples/demo/registry.rs"]
mod registry;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/tls.rs"]
mod tls;
#[path = "clouds/world.rs"]
mod world;
