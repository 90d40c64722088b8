//! Orphans by the thousand: they are all reaped, whatever the supervisor is at, and none of them is taken for the step.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::shell::{ShellImage, scratch};
use crate::skip;
use crate::step::{Step, eventually, only_child};

const PID1: [&str; 4] = ["unshare", "-pf", "--mount-proc", "--kill-child"];

fn can_be_pid1(purpose: &str) -> bool {
    skip::root(purpose) && skip::programs(purpose, &[("unshare", "util-linux"), ("nsenter", "util-linux")])
}

/// Leaves so many orphans, by tens: they live until somebody opens the FIFO `$gate` to write to it.
fn leave(orphans: usize) -> String {
    assert_eq!(orphans % 10, 0);
    let each = "( : <$gate ) </dev/null >/dev/null 2>&1 & ".repeat(10);
    format!("n=0; while [ $n -lt {} ]; do ( {each} ); n=$((n+1)); done", orphans / 10)
}

/// How many children a process has, zombies included, as long as it is there itself.
fn children(parent: i32) -> Option<usize> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    Some(children.split_whitespace().count())
}

/// The number of PID 1 behind `unshare`, once it is the program.
fn pid1(child: &Child) -> i32 {
    let mut found = 0;
    eventually("the container has started", || {
        found = only_child(child.id()).unwrap_or(0);
        fs::read(format!("/proc/{found}/comm")).is_ok_and(|name| name != b"unshare\n")
    });
    found
}

#[test]
fn ten_thousand_orphans_are_reaped_and_the_exit_code_is_the_step_s() {
    if !can_be_pid1("orphans of a PID 1") {
        return;
    }
    // Twenty times five hundred. All of one batch end at the same moment; every other one ends while it is being orphaned.
    let script = format!(
        r#"
        batch=0
        while [ $batch -lt 20 ]; do
            gate=$GATES/$batch; mkfifo $gate
            [ $((batch % 2)) = 0 ] || exec 3<>$gate
            {}
            exec 3<>$gate
            tries=0
            while set -- /proc/[0-9]*; [ $# != 2 ]; do
                tries=$((tries+1)); [ $tries -lt 3000 ] || exit 9; sleep 0.02
            done
            exec 3>&-
            batch=$((batch+1))
        done
        : &
        [ $! -gt 10000 ] || exit 8
        exit 7"#,
        leave(500)
    );
    let gates = scratch();
    let ended = Step::new().under(&PID1).env("GATES", gates.path().to_str().unwrap()).sh(&script);
    assert_eq!((ended.code(), ended.err, ended.stderr.as_str()), (7, true, ""), "{ended:#?}");
}

#[test]
fn orphans_that_end_while_what_the_step_printed_is_passed_on_are_reaped() {
    if !can_be_pid1("orphans of a PID 1") {
        return;
    }
    let dir = scratch();
    let gate = dir.path().join("gate");
    mkfifo(&gate, Mode::S_IRWXU).unwrap();
    let step = Step::new().under(&PID1).env("gate", gate.to_str().unwrap());
    let log = step.path("log");
    let step = step.flags(["-stdout_path", log.to_str().unwrap()]);
    // More than fits into the reader's pipe: the supervisor has something left to pass on.
    let script = format!("{}; head -c 100000 /dev/zero; exit 3", leave(1000));
    let mut child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &script]);
    let mut stdout = child.stdout.take().unwrap();
    let supervisor = pid1(&child);
    let mut program = 0;
    eventually("the step has started", || {
        program = only_child(u32::try_from(supervisor).unwrap()).unwrap_or(0);
        program != 0
    });
    eventually("the step has ended, and its orphans have not", || {
        !fs::exists(format!("/proc/{program}")).unwrap() && children(supervisor) == Some(1000)
    });
    let open = File::options().read(true).write(true).open(&gate).unwrap();
    let mut looks = 0;
    eventually("all are reaped by a supervisor that has something left to pass on", || {
        looks += 1;
        if looks % 200 == 0 {
            // A reader that does not read at all is given up.
            stdout.read_exact(&mut [0; 4096]).unwrap();
        }
        children(supervisor) == Some(0)
    });
    drop(open);
    stdout.read_to_end(&mut Vec::new()).unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err), (3, true), "{ended:#?}");
}

#[test]
fn orphans_that_arrive_with_the_end_of_the_step_do_not_change_how_it_ended() {
    if !can_be_pid1("orphans of a PID 1") {
        return;
    }
    for code in 1..=20 {
        let dir = scratch();
        let gate = dir.path().join("gate");
        mkfifo(&gate, Mode::S_IRWXU).unwrap();
        // They begin to end just before the step does, and are not done when it is.
        let script = format!("{}; exec 3<>$gate; exit {code}", leave(200));
        let ended = Step::new().under(&PID1).env("gate", gate.to_str().unwrap()).sh(&script);
        assert_eq!((ended.code(), ended.err, ended.stderr.as_str()), (code, true, ""), "{ended:#?}");
    }
}

#[test]
fn orphans_that_arrive_while_a_step_waits_and_looks_its_command_up_are_reaped() {
    static ANSWERS: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    if !can_be_pid1("orphans of a PID 1") {
        return;
    }
    // It takes its time until the orphans are gone.
    let image = ShellImage::watched(|_| {
        let open = ANSWERS.1.wait_timeout_while(ANSWERS.0.lock().unwrap(), Duration::from_secs(60), |open| !*open);
        drop(open.unwrap());
    });
    let dir = scratch();
    let gate = dir.path().join("gate");
    mkfifo(&gate, Mode::S_IRWXU).unwrap();
    let step = Step::new().under(&PID1).flags(image.flags(&dir.path().join("cache")));
    let before = step.path("before");
    let step = step.flags(["-wait_file", before.to_str().unwrap()]);
    let child = step.start(&["--", "exit 5"]);
    let supervisor = pid1(&child);
    eventually("the lookup asks", || !image.registry.requests().is_empty());
    // As `kubectl exec` does it: somebody who is no child of PID 1, and whose orphans become its children.
    let into = ["-t", &supervisor.to_string(), "-p", "--", "sh", "-c", &leave(1000)].map(str::to_owned);
    let run = Command::new("nsenter").args(into).env("gate", &gate).stdin(Stdio::null()).status().unwrap();
    assert!(run.success());
    eventually("they are orphans", || children(supervisor) == Some(1001));
    let open = File::options().read(true).write(true).open(&gate).unwrap();
    eventually("only the lookup is left", || children(supervisor) == Some(1));
    drop(open);
    *ANSWERS.0.lock().unwrap() = true;
    ANSWERS.1.notify_all();
    fs::write(before, "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err, ended.stderr.as_str()), (5, true, ""), "{ended:#?}");
}
