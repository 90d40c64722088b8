//! A dead predecessor is noticed: real supervisors are killed, and the steps behind them end; those that end as they should
//! are never taken for dead.
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

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use entrypoint::step::alive::{Alive, lock_of};
use entrypoint::sys::lock::{Sight, look};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use step::{Ended, Step, eventually, only_child, send, waits};

/// A child of a killed supervisor, which nobody else would end.
struct Orphan(i32);

impl Orphan {
    fn lives(&self) -> bool {
        Path::new(&format!("/proc/{}", self.0)).exists()
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

/// A step that has been started and runs until somebody kills it.
fn running() -> (Step, Child, Orphan) {
    let step = Step::new();
    let child = step.start(&["-entrypoint", "/bin/sleep", "--", "1000"]);
    let mut found = None;
    eventually("the step runs", || {
        found = only_child(child.id());
        found.is_some_and(|found| fs::read(format!("/proc/{found}/comm")).is_ok_and(|name| name == b"sleep\n"))
    });
    assert_eq!(look(&lock_of(&step.path("out"))), Sight::Held);
    (step, child, Orphan(found.unwrap()))
}

/// Kills a supervisor as the out-of-memory killer does.
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A step behind another one, asleep.
fn behind(first: &Step) -> (Step, Child) {
    let step = Step::new().flags(["-wait_file", &first.path("out").display().to_string()]);
    let child = step.start(&["-entrypoint", "/bin/echo", "--", "ran"]);
    waits(&child);
    (step, child)
}

/// What a step left that is to end by itself.
fn end((step, mut child): (Step, Child)) -> Ended {
    eventually("the step ends", || child.try_wait().unwrap().is_some());
    step.finish(child)
}

/// The step noticed that the one that was to write this file is dead.
#[track_caller]
fn noticed(waiting: (Step, Child), file: &Path) {
    let ended = end(waiting);
    assert_eq!((ended.code(), ended.post, ended.err, &*ended.stdout), (1, false, true, ""), "{ended:#?}");
    let sentence = format!("Skipping step because a previous step failed: the step that was to write {file:?} ended");
    assert!(ended.stderr.contains(&sentence), "{}", ended.stderr);
    let message = ended.message.unwrap();
    assert!(message.contains(r#"{"key":"Reason","value":"Skipped","type":3}"#), "{message}");
    assert!(message.contains(r#"{"key":"entrypoint/error","value":"Skipping step because "#), "{message}");
}

#[track_caller]
fn released(waiting: (Step, Child)) {
    let ended = end(waiting);
    assert_eq!((ended.code(), ended.post, &*ended.stdout, &*ended.stderr), (0, true, "ran\n", ""), "{ended:#?}");
}

#[test]
fn a_supervisor_that_is_killed_beside_its_step_releases_all_that_wait_although_the_step_lives_on() {
    let (first, child, orphan) = running();
    let waiting = [behind(&first), behind(&first)];
    kill(child);
    for waiting in waiting {
        noticed(waiting, &first.path("out"));
    }
    assert!(orphan.lives(), "or this test shows nothing");
}

#[test]
fn a_supervisor_that_is_killed_while_it_waits_is_noticed() {
    let before = Step::new();
    let (first, child) = behind(&before);
    let second = behind(&first);
    kill(child);
    noticed(second, &first.path("out"));
}

#[test]
fn a_supervisor_that_is_killed_while_its_log_takes_no_line_is_noticed() {
    let first = Step::new();
    let second = behind(&first);
    let (_reader, writer) = std::io::pipe().unwrap();
    // Full, and nobody reads it: what it has to say of its first argument must wait.
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    while (&writer).write(&[b'x'; 4096]).is_ok() {}
    let child = Command::new(step::entrypoint())
        .args(["-post_file".as_ref(), first.path("out").as_os_str()])
        .args(["-termination_path".as_ref(), first.path("termination").as_os_str()])
        .args(["-entrypoint", "/bin/true", "no flag", "--"])
        .stderr(writer)
        .spawn()
        .unwrap();
    waits(&child);
    kill(child);
    noticed(second, &first.path("out"));
}

#[test]
fn a_step_that_starts_behind_a_dead_one_notices_too() {
    let (first, child, _orphan) = running();
    kill(child);
    let step = Step::new().flags(["-wait_file", &first.path("out").display().to_string()]);
    let child = step.start(&["-entrypoint", "/bin/echo", "--", "ran"]);
    noticed((step, child), &first.path("out"));
}

#[test]
fn a_supervisor_that_is_killed_in_the_middle_of_its_start_is_noticed_from_its_announcement_on() {
    let (mut announced, mut silent) = (0, 0);
    for moment in 0..24_u64 {
        let first = Step::new();
        let second = behind(&first);
        let child = first.start(&["-wait_file", &first.path("never").display().to_string()]);
        std::thread::sleep(Duration::from_micros(200 * moment));
        kill(child);
        if lock_of(&first.path("out")).exists() {
            announced += 1;
            noticed(second, &first.path("out"));
        } else {
            silent += 1;
            fs::write(first.path("out"), "").unwrap();
            released(second);
        }
    }
    eprintln!("{announced} had announced themselves, {silent} had not");
}

#[test]
fn a_dead_predecessor_is_noticed_through_a_read_only_mount() {
    const READ_ONLY: &str = r#"
        set -e
        from=$1 to=$2; shift 2
        mount --bind "$from" "$to"
        mount -o remount,bind,ro "$to"
        ! touch "$to/writable" 2>/dev/null
        exec "$@""#;
    if !skip::root("a read-only mount") || !skip::programs("a read-only mount", &[("unshare", "util-linux")]) {
        return;
    }
    let (first, child, _orphan) = running();
    let second = Step::new();
    let mounted = second.path("mounted");
    fs::create_dir(&mounted).unwrap();
    let [from, to] = [first.path(""), mounted.clone()].map(|path| path.display().to_string());
    let second = second.under(&["unshare", "-m", "sh", "-c", READ_ONLY, "sh", &from, &to]);
    let waiting =
        second.start(&["-wait_file", &mounted.join("out").display().to_string(), "-entrypoint", "/bin/true", "--"]);
    eventually("it is the entrypoint that waits", || {
        fs::read(format!("/proc/{}/comm", waiting.id())).is_ok_and(|name| name == b"entrypoint\n")
    });
    waits(&waiting);
    kill(child);
    noticed((second, waiting), &mounted.join("out"));
}

#[test]
fn a_post_file_that_could_not_be_written_counts_as_a_death() {
    if !skip::root("a read-only mount") || !skip::programs("a read-only mount", &[("unshare", "util-linux")]) {
        return;
    }
    // Only by the step, when the lock is there: nothing more can be made beside it.
    const READ_ONLY: &str = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0""#;
    let first = Step::new().under(&["unshare", "-m"]);
    let second = behind(&first);
    let directory = first.path("").display().to_string();
    let mut child = first.start(&["-entrypoint", "/bin/sh", "--", "-c", READ_ONLY, &directory]);
    child.wait().unwrap();
    noticed(second, &first.path("out"));
}

#[test]
fn an_owner_that_starts_again_replaces_the_lock_that_was_left() {
    let (first, child, orphan) = running();
    kill(child);
    drop(orphan);
    assert_eq!(look(&lock_of(&first.path("out"))), Sight::Free);
    let go = first.path("go").display().to_string();
    let again = first.start(&["-wait_file", &go, "-entrypoint", "/bin/true", "--"]);
    eventually("the lock is held again", || look(&lock_of(&first.path("out"))) == Sight::Held);
    let second = behind(&first);
    fs::write(go, "").unwrap();
    released(second);
    assert_eq!(end((first, again)).code(), 0);
}

#[test]
fn what_stands_in_the_place_of_the_lock_changes_nothing() {
    type Put = fn(&Path);
    let put: [(&str, Put); 6] = [
        ("nothing, as with Tekton's own entrypoint", |_| {}),
        ("a link to a free lock", |lock| {
            drop(Alive::announce(&lock.with_file_name("other")).unwrap());
            symlink("other.lock", lock).unwrap();
        }),
        ("a link to itself", |lock| symlink(lock, lock).unwrap()),
        ("a directory", |lock| fs::create_dir(lock).unwrap()),
        ("a FIFO", |lock| nix::unistd::mkfifo(lock, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a socket", |lock| drop(std::os::unix::net::UnixListener::bind(lock).unwrap())),
    ];
    for (what, put) in put {
        let first = Step::new();
        put(&lock_of(&first.path("out")));
        let second = behind(&first);
        // Events, so that it looks more than once.
        fs::write(first.path("something"), "").unwrap();
        fs::write(first.path("something"), "").unwrap();
        eprintln!("{what}");
        fs::write(first.path("out"), "").unwrap();
        released(second);
    }
}

#[test]
fn somebody_who_keeps_the_lock_of_a_dead_owner_only_delays() {
    let (first, child, _orphan) = running();
    let second = behind(&first);
    let keeper = File::open(lock_of(&first.path("out"))).unwrap();
    // It is granted in the moment in which the owner's ends.
    let keeping = std::thread::spawn(move || keeper.lock().map(|()| keeper));
    eventually("the keeper waits for the lock", || {
        fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.contains("-> FLOCK"))
    });
    kill(child);
    let keeper = keeping.join().unwrap().unwrap();
    assert_eq!(look(&lock_of(&first.path("out"))), Sight::Held);
    drop(keeper);
    // Nobody tells of it any more: the slow poll finds it.
    noticed(second, &first.path("out"));
}

#[test]
fn no_end_of_a_process_leaves_its_lock_behind() {
    let ends: [(&str, &[&str], i32); 5] = [
        ("success", &["-entrypoint", "/bin/true", "--"], 0),
        ("failure", &["-entrypoint", "/bin/false", "--"], 1),
        ("no program", &["-entrypoint", "/nonexistent", "--"], 1),
        ("time is up", &["-timeout", "10ms", "-entrypoint", "/bin/sleep", "--", "1000"], 1),
        ("wrong", &["-no_such_flag"], 2),
    ];
    for (what, argv, code) in ends {
        let step = Step::new();
        let mut child = step.start(argv);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{what}");
        assert_tidy(&step, what);
    }
    let step = Step::new();
    fs::write(step.path("before.err"), "").unwrap();
    let mut child = step.start(&["-wait_file", &step.path("before").display().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_tidy(&step, "skipped");

    let (step, mut child) = behind(&Step::new());
    send(i32::try_from(child.id()).unwrap(), libc::SIGTERM);
    child.wait().unwrap();
    assert_tidy(&step, "asked to end while it waits");
}

/// Nothing that Tekton would not leave.
#[track_caller]
fn assert_tidy(step: &Step, what: &str) {
    let names = fs::read_dir(step.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.filter_map(|name| name.into_string().ok()).filter(|name| name.contains("lock")).collect();
    assert!(names.is_empty(), "{what}: {names:?}");
    assert!(step.path("out").exists() || step.path("out.err").exists(), "{what}");
}

/// Each process of a chain is a normal exit that the next one races against.
#[test]
fn a_thousand_normal_exits_are_no_deaths() {
    const CHAINS: usize = 20;
    const STEPS: usize = 50;
    for chain in 0..CHAINS {
        // A message on a disk is waited for: a thousand times that is most of the time.
        let step = || Step::new().flags(["-termination_path", "/dev/null"]);
        let mut steps: Vec<Step> = (0..=STEPS).map(|_| step()).collect();
        let start = |at: usize| {
            let wait: Option<String> = at.checked_sub(1).map(|before| steps[before].path("out").display().to_string());
            let flags = wait.iter().flat_map(|file| ["-wait_file", file]).chain(["-entrypoint", "/bin/true", "--"]);
            steps[at].start(&flags.collect::<Vec<_>>())
        };
        // From the first on, a step ends while the next one starts; from the last on, the next one is asleep.
        let mut children: Vec<Child> = if chain % 2 == 0 {
            (0..=STEPS).map(start).collect()
        } else {
            let mut children: Vec<Child> = (0..=STEPS).rev().map(start).collect();
            children.reverse();
            children
        };
        for child in &mut children {
            eventually("a step of a chain ends", || child.try_wait().unwrap().is_some());
        }
        for (at, (step, child)) in steps.drain(..).zip(children).enumerate().rev() {
            assert_tidy(&step, "a step of a chain");
            let ended = step.finish(child);
            assert_eq!((ended.code(), &*ended.stderr), (0, ""), "chain {chain}, step {at}: {ended:#?}");
        }
    }
}

#[test]
#[cfg(feature = "lookup")]
fn the_lookup_does_not_hold_the_lock_of_its_supervisor() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = silent.local_addr().unwrap().to_string();
    let first = Step::new();
    let never = first.path("never").display().to_string();
    let image = format!("{registry}/team/tool:v1");
    let child = first.start(&["-wait_file", &never, "-image", &image, "-image_insecure_registry", &registry, "--"]);
    let _connection = silent.accept().unwrap();
    let lookup = only_child(child.id()).expect("the lookup asks");
    if skip::root("the descriptors of a process that may not be looked into") {
        let descriptors = fs::read_dir(format!("/proc/{lookup}/fd")).unwrap();
        let files: Vec<_> = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
        assert!(!files.is_empty() && !files.contains(&lock_of(&first.path("out"))), "{files:?}");
    }
    let second = behind(&first);
    // It cannot end of itself, and does not close anything any more.
    send(lookup, libc::SIGSTOP);
    kill(child);
    noticed(second, &first.path("out"));
}
