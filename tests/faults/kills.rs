//! SIGKILL at any moment, of any process.

#[path = "kills/boundaries.rs"]
mod boundaries;
#[path = "kills/judge.rs"]
mod judge;
#[path = "kills/moments.rs"]
mod moments;
#[path = "kills/pod.rs"]
mod pod;
#[path = "kills/tracer.rs"]
mod tracer;
