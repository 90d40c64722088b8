//! A step that must have no network has none, and is otherwise a step like any other.
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

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use step::{Step, eventually, only_child, send};

/// A step that is to be hermetic.
fn hermetic() -> Step {
    Step::new().env("TEKTON_HERMETIC", "1")
}

/// Whether namespaces can be had here; otherwise the test is skipped, loudly.
fn namespaces() -> bool {
    const MAKE: [&str; 5] = ["--user", "--net", "--pid", "--mount", "--fork"];
    if !skip::root("a step without network") || !skip::programs("namespaces", &[("unshare", "util-linux")]) {
        return false;
    }
    let can = Command::new("unshare").args(MAKE).arg("true").status().is_ok_and(|status| status.success());
    if !can {
        skip::skip("a step without network: no user namespaces here");
    }
    can
}

/// Set in the process that is a step: the address that it connects to.
const CONNECT: &str = "ENTRYPOINT_TEST_CONNECT";

#[test]
fn a_hermetic_step_has_no_network() {
    if let Some(address) = std::env::var_os(CONNECT) {
        TcpStream::connect(address.to_str().unwrap()).unwrap();
        return;
    }
    if !namespaces() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let this = std::env::current_exe().unwrap().display().to_string();
    let connect = ["-entrypoint", &this, "--", "--exact", "a_hermetic_step_has_no_network", "--nocapture"];
    let ended = Step::new().env(CONNECT, &address).run(&connect);
    assert_eq!(ended.code(), 0, "with a network it connects: {ended:#?}");
    let ended = hermetic().env(CONNECT, &address).run(&connect);
    assert_eq!(ended.code(), 101, "{ended:#?}");
    assert!(ended.stderr.contains("Network is unreachable") || ended.stdout.contains("Network is unreachable"));

    let ended = hermetic().sh("tail -n +3 /proc/self/net/dev; cat /proc/self/net/route | tail -n +2");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:#?}");
    assert!(ended.stdout.trim_start().starts_with("lo:"), "{ended:#?}");
}

#[test]
fn a_hermetic_step_is_pid_1_with_every_id_as_it_was() {
    if !namespaces() {
        return;
    }
    let script = "echo $$; id -u; id -G; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups";
    let ended = hermetic().sh(script);
    let words: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let groups = Step::new().sh("id -G").stdout;
    let groups: Vec<&str> = groups.split_whitespace().collect();
    let every = vec!["0", "0", "4294967295"];
    assert_eq!(words, [vec!["1"], vec!["0"], groups, every.clone(), every, vec!["allow"]], "{ended:#?}");
}

#[test]
fn a_hermetic_step_has_what_any_step_has() {
    if !namespaces() {
        return;
    }
    let script = r"pwd; echo $A; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; echo err >&2
        read pid comm state ppid pgrp session rest </proc/self/stat; [ $pid != $pgrp ] || echo leads";
    let wrapper = ["env", "--block-signal=USR1", "--ignore-signal=USR2", "--ignore-signal=PIPE"];
    let signals = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    for script in [script, signals] {
        let plain = Step::new().under(&wrapper).env("A", "value").sh(script);
        let ended = hermetic().under(&wrapper).env("A", "value").sh(script);
        assert_eq!((&ended.stdout, &ended.stderr), (&plain.stdout, &plain.stderr));
        assert!(!ended.stdout.is_empty());
    }
    // The two signals that the C library keeps for itself have no name for `env`.
    let ended = hermetic().run(&["-entrypoint", "/bin/cat", "--", "/proc/self/status"]);
    assert!(ended.stdout.contains("SigIgn:\t0000000000000000\n"), "{ended:#?}");
}

#[test]
fn exit_codes_of_hermetic_steps_pass() {
    if !namespaces() {
        return;
    }
    for code in [0, 1, 42, 255] {
        let ended = hermetic().sh(&format!("exit {code}"));
        assert_eq!((ended.code(), ended.post, ended.err), (code, code == 0, code != 0), "{ended:#?}");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn signals_reach_a_hermetic_step_that_listens_and_its_death_is_reported() {
    if !namespaces() {
        return;
    }
    for (signal, code) in [(libc::SIGTERM, 7), (libc::SIGUSR1, 8), (libc::SIGRTMIN() + 3, 9)] {
        let step = hermetic();
        let script = format!("trap 'exit {code}' {signal}; : >{}; while :; do :; done", step.path("ready").display());
        let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &script]);
        eventually("the step listens", || step.path("ready").exists());
        send(i32::try_from(child.id()).unwrap(), signal);
        assert_eq!(step.finish(child).code(), code, "signal {signal}");
    }
    let step = hermetic();
    let child = step.start(&["-entrypoint", "/bin/sleep", "--", "60"]);
    let mut sleeper = None;
    eventually("the step runs", || {
        sleeper = only_child(child.id())
            .filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep"));
        sleeper.is_some()
    });
    send(sleeper.unwrap(), libc::SIGKILL);
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err), (255, true), "{ended:#?}");
}

#[test]
fn everything_in_a_hermetic_step_ends_with_it() {
    if !namespaces() {
        return;
    }
    for (flags, then, code) in [(&[][..], "exit 3", 3), (&["-timeout", "1s"][..], "exec sleep 60", 1)] {
        let step = hermetic().flags(flags.iter().copied());
        // Nobody else sleeps so long.
        let word = format!("60.{}{code}", std::process::id());
        let ended = step.sh(&format!("setsid sleep {word} >/dev/null 2>&1 & {then}"));
        assert_eq!(ended.code(), code, "{ended:#?}");
        let left: Vec<_> = commands().into_iter().filter(|command| command.contains(&word)).collect();
        assert_eq!(left, [""; 0], "the kernel ends a namespace with its first process");
    }
}

/// The command lines of all processes.
fn commands() -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    processes.filter_map(|file| fs::read_to_string(file).ok()).collect()
}

#[test]
fn a_hermetic_step_s_output_can_be_copied() {
    if !namespaces() {
        return;
    }
    let step = hermetic();
    let log = step.path("log");
    let flags = ["-stdout_path", &log.display().to_string(), "-stderr_path", &log.display().to_string()];
    let step = step.flags(flags);
    let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", "echo out; echo err >&2"]);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(fs::read_to_string(&log).unwrap().len(), 8);
}

#[test]
fn a_program_that_cannot_be_executed_is_explained_for_a_hermetic_step_too() {
    if !namespaces() {
        return;
    }
    let ended = hermetic().run(&["-entrypoint", "/no/such/program", "--"]);
    assert_eq!((ended.code(), ended.err), (1, true));
    let line = "Error executing command: fork/exec /no/such/program: no such file or directory: there is no such file in \
                this step's image";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
}

#[test]
fn a_step_that_cannot_be_without_network_is_not_run_and_told_what_to_do() {
    if !namespaces() {
        return;
    }
    let no_more = r#"echo 0 >/proc/sys/user/max_user_namespaces; exec "$@""#;
    let no_proc = r#"umount -l /proc; exec "$@""#;
    for (wrapper, cause, advice) in [
        (&["setpriv", "--bounding-set=-all", "--inh-caps=-all"][..], "operation not permitted", "run the step as root"),
        (&["unshare", "-Ur", "sh", "-c", no_more, "sh"], "no space left on device", "user.max_user_namespaces"),
        (&["unshare", "-m", "sh", "-c", no_proc, "sh"], "no such file or directory", "/proc, which is not mounted"),
    ] {
        let ended = hermetic().under(wrapper).sh("echo ran");
        assert_eq!((ended.code(), ended.err, ended.stdout.as_str()), (1, true, ""), "{ended:#?}");
        let words = format!("Error executing command: fork/exec /bin/sh: {cause}: TEKTON_HERMETIC=1 asks for a step ");
        assert!(ended.stderr.contains(&words), "{}", ended.stderr);
        assert!(ended.stderr.contains(advice), "{}", ended.stderr);
        assert!(ended.message.as_ref().is_some_and(|message| message.contains(&words)), "{ended:#?}");
    }
}

#[test]
fn any_other_value_or_a_resource_is_an_ordinary_step() {
    let own = Step::new().sh("readlink /proc/self/ns/net").stdout;
    for (name, value) in [("TEKTON_HERMETIC", "true"), ("TEKTON_HERMETIC", ""), ("TEKTON_RESOURCE_NAME", "r")] {
        let step = if name == "TEKTON_HERMETIC" { Step::new() } else { hermetic() };
        assert_eq!(step.env(name, value).sh("readlink /proc/self/ns/net").stdout, own, "{name}={value}");
    }
}
