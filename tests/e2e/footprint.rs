//! What the supervisor of a looked-up step costs while the step runs.

use std::env;
use std::fs;

use nix::sys::signal::Signal;

use crate::step::{Task, eventually};
use crate::world::World;

/// The most that may be resident, in kB as `/proc` counts them: 2.5 MB.
const RESIDENT: u64 = 2_500_000 / 1024;

/// A number of `/proc/PID/status`.
fn number(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect(field);
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect(field)
}

#[test]
fn a_step_that_was_looked_up_is_watched_by_one_small_thread() {
    let Some(world) = World::with_password(&["held"]) else { return };
    let release = env::var_os("ENTRYPOINT_BINARY").is_some();
    if !release {
        eprintln!("a development build: how much of it is resident is not checked");
    }
    let task = Task::new();
    let mut step = world.look_up(&task, 0, "held:1");
    assert_eq!(step.first_line(), "started");
    let status = format!("/proc/{}/status", step.pid());
    // The step's first line may come before the supervisor has gone to sleep.
    eventually("the supervisor is one thread, and small", || {
        let status = fs::read_to_string(&status).expect("the supervisor is there");
        let (threads, resident) = (number(&status, "Threads"), number(&status, "VmRSS"));
        let small = !release || resident <= RESIDENT;
        if threads == 1 && small { Ok(()) } else { Err(format!("{threads} threads, {resident} kB resident")) }
    });
    assert_eq!(step.children().len(), 1, "the lookup's process is gone, the step's is there");
    step.send(Signal::SIGTERM);
    let ended = step.end();
    assert_eq!((ended.code, ended.post), (Some(255), Some("out.err")), "{ended:?}");
}
