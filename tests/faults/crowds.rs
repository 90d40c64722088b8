//! Many at once: orphans, steps, bytes.

#[path = "crowds/bytes.rs"]
mod bytes;
#[path = "crowds/orphans.rs"]
mod orphans;
#[path = "crowds/steps.rs"]
mod steps;
