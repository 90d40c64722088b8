//! The supervisor against the real kernel: as PID 1 of a namespace and beside one, with real signals and orphans.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;

use std::fmt::Write as _;
use std::process::Command;

use step::{Step, eventually, only_child, send};

const PID1: [&str; 4] = ["unshare", "-pf", "--mount-proc", "--kill-child"];
/// Every signal that can be caught, but SIGCHLD, and but the two that the C library keeps for itself.
fn forwarded() -> impl Iterator<Item = i32> {
    (1..=64).filter(|number| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, 32, 33].contains(number))
}

/// Whether a PID namespace can be had; otherwise the test is skipped, loudly.
fn can_be_pid1() -> bool {
    let can =
        Command::new("unshare").args(["-pf", "--mount-proc", "true"]).status().is_ok_and(|status| status.success());
    if !can {
        skip::skip("no PID namespace: run the tests as root, with util-linux's unshare");
    }
    can
}

#[test]
fn every_exit_code_passes_through_pid_1() {
    if !can_be_pid1() {
        return;
    }
    for code in 0..=255 {
        let ended = Step::new().under(&PID1).sh(&format!("exit {code}"));
        assert_eq!(ended.code(), code, "{ended:#?}");
        assert_eq!((ended.post, ended.err), (code == 0, code != 0), "{code}");
        assert_eq!(ended.exit_code.as_deref(), (code == 0).then_some("0"), "{code}");
        assert_eq!(ended.stderr, "", "a step's own exit code is silent");
    }
}

/// A shell script that writes down every signal, and ends when the file `stop` is there.
fn recorder(step: &Step) -> String {
    let (heard, stop) = (step.path("heard"), step.path("stop"));
    let mut script = String::new();
    for number in forwarded() {
        let _ = writeln!(script, "trap 'echo {number} >>{}' {number}", heard.display());
    }
    let _ = write!(script, "echo ready >>{}; while ! [ -e {} ]; do :; done", heard.display(), stop.display());
    script
}

/// Sends every signal to the supervisor that `pid` gives, and checks that the step heard each.
fn hears_every_signal(step: Step, supervisor: impl Fn(u32) -> Option<i32>) {
    let script = recorder(&step);
    let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &script]);
    let heard = |line: &str| {
        std::fs::read_to_string(step.path("heard")).is_ok_and(|text| text.lines().any(|heard| heard == line))
    };
    eventually("the step is ready", || heard("ready"));
    let pid = supervisor(child.id()).expect("the supervisor's number");
    for number in forwarded() {
        send(pid, number);
        eventually(&format!("signal {number} reaches the step"), || heard(&number.to_string()));
    }
    std::fs::write(step.path("stop"), "").expect("the step is told to stop");
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
}

#[test]
fn every_signal_reaches_the_step_of_pid_1() {
    if can_be_pid1() {
        hears_every_signal(Step::new().under(&PID1), only_child);
    }
}

#[test]
fn every_signal_reaches_the_step_of_an_ordinary_process() {
    hears_every_signal(Step::new(), |pid| i32::try_from(pid).ok());
}

#[test]
fn a_forwarded_signal_reaches_the_whole_group_and_its_death_is_reported() {
    let step = Step::new();
    let script = format!("sleep 1000 & echo $! >{0}.new; mv {0}.new {0}; wait", step.path("grandchild").display());
    let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &script]);
    eventually("the grandchild is there", || step.path("grandchild").exists());
    let grandchild: i32 = std::fs::read_to_string(step.path("grandchild")).unwrap().trim().parse().unwrap();
    send(i32::try_from(child.id()).unwrap(), libc::SIGTERM);
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err, ended.post), (255, true, false), "{ended:#?}");
    assert_eq!(ended.message.as_deref(), Some(r#"[{"key":"StartedAt","value":"T","type":3}]"#));
    eventually("the grandchild is gone", || {
        std::fs::read_to_string(format!("/proc/{grandchild}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn the_step_gets_the_mask_found_at_the_start_and_default_dispositions() {
    let ended = Step::new()
        .under(&["env", "--block-signal=USR1", "--ignore-signal=USR2", "--ignore-signal=PIPE"])
        .run(&["-entrypoint", "/bin/cat", "--", "/proc/self/status"]);
    let signals: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("Sig")).skip(2).collect();
    let none = "0000000000000000";
    assert_eq!(
        signals,
        ["SigBlk:\t0000000000000200", &format!("SigIgn:\t{none}"), &format!("SigCgt:\t{none}")],
        "{ended:#?}"
    );
}

#[test]
fn a_step_s_end_is_seen_even_when_we_were_started_with_sigchld_ignored() {
    // The kernel reaps the children of such a process itself, and tells nobody. The time limit is for a test that fails.
    let ended = Step::new().under(&["timeout", "-s", "KILL", "60", "env", "--ignore-signal=CHLD"]).sh("exit 3");
    assert_eq!((ended.code(), ended.err), (3, true), "{ended:#?}");
}

#[test]
fn a_log_that_nobody_reads_does_not_kill_the_step() {
    // Writing a line to it is answered with SIGPIPE, which is ours and not to be forwarded.
    let step = Step::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let flag = |name: &str, file: &str| format!("-{name}={}", step.path(file).display());
    let status = Command::new(step::entrypoint())
        .args([flag("post_file", "out"), flag("termination_path", "termination"), flag("step_metadata_dir", "status")])
        .args(["-entrypoint", "/bin/sleep", "an argument that is warned of", "--", "0.2"])
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(step.path("out").exists());
}

#[test]
fn the_step_has_its_own_group_our_session_and_none_of_our_descriptors() {
    let ended = Step::new().sh("read pid comm state ppid pgrp session rest </proc/$$/stat; \
         [ $pid = $pgrp ] && [ $session != $pid ] && exec ls -l /proc/self/fd");
    assert!(ended.stdout.contains(" 0 -> /dev/null\n"), "{ended:#?}");
    assert!(!ended.stdout.contains("anon_inode"), "{ended:#?}");
}

#[test]
fn no_zombie_is_left_of_a_thousand_orphans() {
    if !can_be_pid1() {
        return;
    }
    // Each subshell ends before its own child, which becomes ours. Then the zombies are counted until there are none.
    let script = r#"
        n=0
        while [ $n -lt 1000 ]; do ( ( : ) & ); n=$((n+1)); done
        tries=0
        while grep -lqs '^State:.Z' /proc/[0-9]*/status; do
            tries=$((tries+1)); [ $tries -lt 200 ] || exit 9; sleep 0.02
        done"#;
    let ended = Step::new().under(&PID1).sh(script);
    assert_eq!(ended.code(), 0, "{ended:#?}");
}

#[test]
fn orphans_are_reaped_also_when_we_are_not_pid_1() {
    let script = r#"
        supervisor=$PPID
        ( ( sleep 0.05; exec true ) & )
        tries=0
        until [ "$(cat /proc/$supervisor/task/$supervisor/children)" = "$$ " ]; do
            tries=$((tries+1)); [ $tries -lt 1000 ] || exit 9; sleep 0.01
        done"#;
    let ended = Step::new().sh(script);
    assert_eq!(ended.code(), 0, "{ended:#?}");
}

#[test]
fn beside_a_running_step_there_is_one_thread_and_no_inotify_instance() {
    let step = Step::new();
    std::fs::write(step.path("go"), "").unwrap();
    let go = step.path("go").display().to_string();
    let ended = step
        .flags(["-wait_file", &go])
        .sh("grep Threads /proc/$PPID/status; for fd in /proc/$PPID/fd/*; do readlink $fd; done | grep anon_inode");
    assert_eq!(ended.stdout, "Threads:\t1\nanon_inode:[signalfd]\n", "{ended:#?}");
}

#[test]
fn a_waiting_pid_1_that_is_told_to_end_reports_and_exits_with_2() {
    if !can_be_pid1() {
        return;
    }
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        let step = Step::new().under(&PID1).flags(["-wait_file", "/nowhere/out"]);
        let child = step.start(&["-entrypoint", "/bin/true", "--"]);
        let status = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mut pid = 0;
        eventually("the supervisor waits", || {
            pid = only_child(child.id()).unwrap_or(0);
            status(pid).contains("Name:\tentrypoint") && status(pid).contains("SigBlk:\tfffffffe7ffbfeff")
        });
        send(pid, signal);
        let ended = step.finish(child);
        assert_eq!((ended.code(), ended.err), (2, true), "{ended:#?}");
        let message = ended.message.expect("a message");
        assert!(message.contains(r#"{"key":"Reason","value":"Interrupted","type":3}"#), "{message}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("ended the step before its turn came"), "{}", ended.stderr);
    }
}

#[test]
fn a_waiting_ordinary_process_reports_and_dies_of_the_signal() {
    use std::os::unix::process::ExitStatusExt;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let step = Step::new().flags(["-wait_file", "/nowhere/out"]);
        let child = step.start(&["-entrypoint", "/bin/true", "--"]);
        let status = format!("/proc/{}/status", child.id());
        eventually("signals are blocked", || {
            std::fs::read_to_string(&status).is_ok_and(|text| text.contains("SigBlk:\tfffffffe7ffbfeff"))
        });
        send(i32::try_from(child.id()).unwrap(), signal);
        let ended = step.finish(child);
        assert_eq!((ended.status.signal(), ended.err), (Some(signal), true), "{ended:#?}");
    }
}

#[test]
fn other_signals_leave_a_waiting_step_waiting() {
    let step = Step::new();
    let before = step.path("before").display().to_string();
    let step = step.flags(["-wait_file", &before]);
    let child = step.start(&["-entrypoint", "/bin/true", "--"]);
    let status = format!("/proc/{}/status", child.id());
    let field = |name: &str| {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned())).unwrap_or_default()
    };
    eventually("signals are blocked", || field("SigBlk:") == "fffffffe7ffbfeff");
    for number in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGPIPE, libc::SIGWINCH, libc::SIGCONT] {
        send(i32::try_from(child.id()).unwrap(), number);
    }
    eventually("the signals are read", || field("ShdPnd:") == "0000000000000000");
    std::fs::write(&before, "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.err), (0, true, false), "{ended:#?}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_step_whose_time_is_up_is_killed_with_its_whole_group() {
    let step = Step::new();
    // It holds none of our pipes: if it were left alive, nobody would wait for it but those who look for it below.
    let script = format!("sleep 1000 >/dev/null 2>&1 & echo $! >{}; wait", step.path("grandchild").display());
    let grandchild = step.path("grandchild");
    let keep = grandchild.with_file_name("kept");
    let child = step.start(&["-timeout", "1s", "-entrypoint", "/bin/sh", "--", "-c", &script]);
    eventually("the grandchild is there", || {
        std::fs::read_to_string(&grandchild).is_ok_and(|text| text.ends_with('\n'))
            && std::fs::copy(&grandchild, &keep).is_ok()
    });
    let pid: i32 = std::fs::read_to_string(&keep).unwrap().trim().parse().unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err, ended.exit_code), (1, true, None));
    assert_eq!(
        ended.message.as_deref(),
        Some(r#"[{"key":"StartedAt","value":"T","type":3},{"key":"Reason","value":"TimeoutExceeded","type":3}]"#)
    );
    eventually("the grandchild is gone", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

/// Set in the process that is a step: it leaves its group for the supervisor's.
const LEAVE_GROUP: &str = "ENTRYPOINT_TEST_LEAVE_GROUP";

#[test]
fn a_step_that_has_left_its_group_is_killed_when_its_time_is_up() {
    use nix::unistd::{Pid, getpgid, getppid, setpgid};
    if std::env::var_os(LEAVE_GROUP).is_some() {
        setpgid(Pid::from_raw(0), getpgid(Some(getppid())).unwrap()).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(60));
        return;
    }
    let this = std::env::current_exe().unwrap().display().to_string();
    let name = "a_step_that_has_left_its_group_is_killed_when_its_time_is_up";
    let ended = Step::new().env(LEAVE_GROUP, "1").run(&[
        "-timeout",
        "1s",
        "-entrypoint",
        &this,
        "--",
        "--exact",
        name,
        "--nocapture",
    ]);
    assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
    assert!(ended.message.as_ref().is_some_and(|message| message.contains("TimeoutExceeded")), "{ended:#?}");
}
