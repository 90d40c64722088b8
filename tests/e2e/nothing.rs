//! The scenarios show something: with a program that does nothing in the place of the one under test, they fail.

use std::env;
use std::fs;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::skip;

/// One of each kind: a step, an empty root, a pod.
const SCENARIOS: [&str; 3] = [
    "lookup::what_the_image_would_run_is_found",
    "chroot::a_step_runs_and_reports_in_an_image_that_has_nothing",
    "pod_ends::in_a_pod_the_steps_behind_a_failed_one_are_skipped_and_none_waits_for_ever",
];

/// Runs one scenario in a process of its own, with another program under test; whether it passed, and what it printed. `None`
/// where something that it needs is not here.
fn passes(scenario: &str, program: &str) -> Option<(bool, String)> {
    let dir = TempDir::new().expect("a directory");
    let skipped = dir.path().join("skipped");
    let output = Command::new(env::current_exe().expect("this test program"))
        .args(["--exact", scenario, "--test-threads", "1"])
        .env("ENTRYPOINT_BINARY", program)
        .env("SKIP_LOG", &skipped)
        .env_remove("STRICT")
        .stdin(Stdio::null())
        .output()
        .expect("it starts once more");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if let Ok(reasons) = fs::read_to_string(&skipped) {
        skip::skip(&format!("{scenario} with {program}: {}", reasons.trim_end()));
        return None;
    }
    assert!(printed.contains("running 1 test\n"), "there is no scenario {scenario}: {printed}");
    Some((output.status.success(), printed))
}

#[test]
fn a_scenario_fails_when_the_program_does_nothing() {
    for scenario in SCENARIOS {
        let Some((passed, printed)) = passes(scenario, "/bin/true") else { continue };
        assert!(!passed && printed.contains("\ntest result: FAILED. 0 passed; 1 failed;"), "{scenario}: {printed}");
    }
}
