//! What is for a cluster, as far as it can be known without one: the scenarios of `tests/e2e/kind`, and the pages that tell people
//! what to type (`docs/install-tekton.md`, `docs/debug-pod.md`); and of every page, which of its lines were run.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;

#[path = "cluster/api.rs"]
mod api;
#[path = "cluster/kind.rs"]
mod kind;
#[path = "cluster/kubectl.rs"]
mod kubectl;
#[path = "cluster/lines.rs"]
mod lines;
#[path = "cluster/manifests.rs"]
mod manifests;
#[path = "cluster/marks.rs"]
mod marks;
#[path = "cluster/pages.rs"]
mod pages;
#[path = "cluster/played.rs"]
mod played;
#[path = "cluster/protobuf.rs"]
mod protobuf;
