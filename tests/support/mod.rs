//! What the integration tests share: loopback servers that fail on the unscripted, and a certificate authority.

#![allow(unreachable_pub, reason = "each test binary is a crate of its own and uses a part of this")]

#[cfg(feature = "lookup")]
pub mod server;
#[cfg(feature = "lookup")]
pub mod tls;

#[cfg(feature = "lookup")]
pub mod images;
#[cfg(feature = "lookup")]
pub mod lookup;
