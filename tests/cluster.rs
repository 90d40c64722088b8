//! What is for a cluster, as far as it can be known without one: the scenarios of `tests/e2e/kind`, and the pages that tell people
//! what to type (`docs/install-tekton.md`, `docs/debug-pod.md`).
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "support/skip.rs"]
mod skip;

#[path = "cluster/kind.rs"]
mod kind;
#[path = "cluster/kubectl.rs"]
mod kubectl;
#[path = "cluster/manifests.rs"]
mod manifests;
#[path = "cluster/pages.rs"]
mod pages;
