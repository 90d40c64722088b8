//! What breaks where programs really run, tried everywhere that it can break: wires, disks, clocks, processes, crowds.
//! After each: the next step is released or told, no process is left, the files are whole. docs/faults.md has the table.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "faults/clocks.rs"]
mod clocks;
#[path = "faults/crowds.rs"]
mod crowds;
#[path = "faults/disks.rs"]
mod disks;
#[path = "support/images.rs"]
mod images;
#[path = "faults/kills.rs"]
mod kills;
#[path = "support/oci.rs"]
mod oci;
#[path = "../examples/demo/registry.rs"]
#[allow(unreachable_pub, reason = "shared with the demo")]
mod registry;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/server.rs"]
mod server;
#[path = "faults/shell.rs"]
mod shell;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;
#[path = "faults/tracer.rs"]
mod tracer;
#[path = "faults/wires.rs"]
mod wires;
