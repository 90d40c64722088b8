//! What the integration tests share: loopback servers that fail on the unscripted, and a certificate authority.

#![allow(unreachable_pub, reason = "each test binary is a crate of its own and uses a part of this")]

pub mod kube_api;
pub mod server;
pub mod tls;
