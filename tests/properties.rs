//! What holds for every input, tried on many.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

#[path = "properties/substitution.rs"]
mod substitution;
