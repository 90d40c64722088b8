//! The report against real filesystems: what is left behind, and what is said, when one of its files cannot be had.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "report/budget.rs"]
mod budget;
#[path = "report/compressed.rs"]
mod compressed;
#[path = "report/disks.rs"]
mod disks;
#[path = "report/outcomes.rs"]
mod outcomes;
#[path = "support/pod.rs"]
mod pod;
#[path = "support/skip.rs"]
mod skip;
#[path = "report/step_files.rs"]
mod step_files;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use entrypoint::outcome::{ChildExit, NotRunKind, Outcome};
use entrypoint::report::{Line, leave_usage};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use pod::{Ended, Pod, STARTED_AT, failure, internal, message, no_lines};

const SUCCESS: Outcome = Outcome::Ran(ChildExit::Code(0));
const TOO_LARGE: &str = "Termination message is above max allowed size 4096, caused by large task result.";

/// Runs in a mount namespace of its own, where nothing that is mounted is seen by anybody else.
fn with_own_mounts(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        if unshare(CloneFlags::CLONE_NEWNS).is_err() {
            return skip::skip("no mount namespace: run the tests as root");
        }
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A mount that goes when the test is over with it: a directory in which something is mounted cannot be removed.
#[must_use = "it is unmounted when this is dropped"]
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn tmpfs(target: &Path, options: &str) -> Mounted {
    fs::create_dir_all(target).unwrap();
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
    Mounted(target.to_owned())
}

fn read_only(target: &Path) -> Mounted {
    mount(Some(target), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).unwrap();
    Mounted(target.to_owned())
}

#[test]
fn the_post_file_comes_last_and_is_there_before_the_disk_is_waited_for() {
    let mut pod = Pod::new();
    pod.spec.report.post_file = Some(pod.path("out"));
    pod.spec.report.metadata_dir = pod.path("");
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE;
    // The exit code is given its name when it is whole.
    let events = events | AddWatchFlags::IN_MOVED_TO;
    inotify.add_watch(pod.dir.path(), events).unwrap();
    let seen = || -> Vec<_> {
        let events = inotify.read_events().unwrap();
        events.into_iter().map(|event| (event.name.unwrap().into_string().unwrap(), event.mask)).collect()
    };

    let left = pod.leave(&SUCCESS);
    let before = seen();
    let at = |name: &str, mask| before.iter().position(|event| *event == (name.to_owned(), mask)).unwrap();
    assert!(at("termination", AddWatchFlags::IN_MODIFY) < at("exitCode", AddWatchFlags::IN_MOVED_TO), "{before:?}");
    assert!(at("exitCode", AddWatchFlags::IN_MOVED_TO) < at("out", AddWatchFlags::IN_CREATE), "{before:?}");
    assert!(
        !before.contains(&("termination".to_owned(), AddWatchFlags::IN_CLOSE_WRITE)),
        "the message was closed before the post file was there: {before:?}"
    );

    assert_eq!(left.finish(), 0);
    assert_eq!(seen(), [("termination".to_owned(), AddWatchFlags::IN_CLOSE_WRITE)]);
}

#[test]
fn results_stand_before_what_is_internal_and_behind_what_was_there() {
    let pod = Pod::new()
        .existing(r#"[{"key":"old","value":"1","type":"TaskRunResult"}]"#)
        .result("b", "2\n")
        .result("a", b"\xff<");
    let ended = pod.report(&Outcome::TimedOut);
    assert_eq!(
        ended.message.unwrap(),
        format!(
            "[{},{},{},{STARTED_AT},{}]",
            r#"{"key":"old","value":"1","type":1}"#,
            r#"{"key":"b","value":"2\n","type":1}"#,
            "{\"key\":\"a\",\"value\":\"\u{fffd}\\u003c\",\"type\":1}",
            internal("Reason", "TimeoutExceeded"),
        )
    );
}

/// A pod whose termination message will have this many bytes.
fn pod_with_message_of(size: usize) -> Pod {
    let rest = r#"[{"key":"r","value":"","type":1},{"key":"StartedAt","value":"2026-11-21T05:55:02.402Z","type":3}]"#;
    // The time is local: elsewhere than in UTC it is five bytes longer.
    let zone = entrypoint::sys::clock::now().rfc3339().len() - "2026-11-21T05:55:02.402Z".len();
    Pod::new().result("r", "x".repeat(size - rest.len() - zone))
}

#[test]
fn a_message_of_4096_bytes_is_fine() {
    let pod = pod_with_message_of(4096);
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines, ended.post, ended.err), (0, no_lines(), true, false));
    assert_eq!(fs::metadata(pod.path("termination")).unwrap().len(), 4096);
}

#[test]
fn a_message_of_4097_bytes_is_a_failure_that_names_the_result_and_the_controller_gets_the_reason() {
    let pod = pod_with_message_of(4097);
    let size = pod.path("results/r").metadata().unwrap().len() + r#"{"key":"r","value":"","type":1}"#.len() as u64;
    assert_eq!(
        pod.report(&SUCCESS),
        Ended {
            exit: 1,
            lines: vec![
                format!(
                    "The termination message would have 4097 bytes: result \"r\" takes {size}; no result is reported"
                ),
                TOO_LARGE.to_owned()
            ],
            message: message(&[STARTED_AT, &internal("Reason", "ResultsTooLarge")]),
            exit_code: None,
            post: false,
            err: true,
        }
    );
}

#[test]
fn results_that_do_not_fit_leave_what_was_there_and_the_reason_that_the_step_has_already() {
    let old = r#"{"key":"old","value":"1","type":1}"#;
    for (outcome, reason) in [
        (Outcome::Cancelled, "Cancelled"),
        (Outcome::TimedOut, "TimeoutExceeded"),
        (Outcome::Ran(ChildExit::Code(7)), "ResultsTooLarge"),
    ] {
        let pod = Pod::new().existing(format!("[{old}]")).result("r", "x".repeat(5000));
        let ended = pod.report(&outcome);
        assert_eq!(ended.message, message(&[old, STARTED_AT, &internal("Reason", reason)]));
        assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
        assert_eq!(ended.lines.last().map(String::as_str), Some(TOO_LARGE));
    }
}

#[test]
fn a_continued_step_whose_results_do_not_fit_is_a_failure() {
    let ended = Pod::new().continuing().result("r", "x".repeat(5000)).report(&Outcome::Ran(ChildExit::Code(3)));
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("Reason", "ResultsTooLarge")]));
    assert_eq!((ended.exit, ended.exit_code, ended.post, ended.err), (1, None, false, true));
}

#[test]
fn a_result_above_one_mebibyte_is_named_with_its_size() {
    let pod = Pod::new().result("small", "v").result("huge", "");
    fs::File::options().write(true).open(pod.path("results/huge")).unwrap().set_len(1 << 40).unwrap();
    let ended = pod.report(&SUCCESS);
    let path = pod.path("results/huge");
    assert_eq!(
        ended.lines,
        [
            format!("Result \"huge\" is too large: {path:?} has 1099511627776 bytes; no result is reported"),
            TOO_LARGE.to_owned()
        ]
    );
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("Reason", "ResultsTooLarge")]));
    assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
}

#[test]
fn an_existing_message_that_leaves_no_room_stays_as_it_is() {
    let existing = format!(r#"[{{"key":"old","value":"{}"}}]"#, "x".repeat(4050));
    for results in [false, true] {
        let mut pod = Pod::new().existing(&existing);
        if results {
            pod = pod.result("r", "v");
        }
        let ended = pod.report(&SUCCESS);
        assert_eq!(ended.message.as_deref(), Some(existing.as_str()));
        assert_eq!((ended.exit, ended.exit_code, ended.post, ended.err), (1, None, false, true));
        let path = pod.path("termination");
        let [.., details, last] = ended.lines.as_slice() else { panic!("{:?}", ended.lines) };
        assert!(details.contains("what stood there before takes 4074"), "{details}");
        assert!(details.ends_with(&format!("; {path:?} is left as it was")), "{details}");
        assert_eq!(*last, format!("Error while writing message: {TOO_LARGE}"));
    }
}

#[test]
fn the_sentence_of_a_failure_gives_way_when_the_message_is_nearly_full() {
    let existing = format!(r#"{{"key":"old","value":"{}"}}"#, "x".repeat(3950));
    let pod = Pod::new().existing(format!("[{existing}]"));
    let ended = pod.report(&Outcome::not_run(NotRunKind::ImageLookup, "s".repeat(100)));
    assert_eq!(ended.message, message(&[&existing, STARTED_AT, &internal("Reason", "ImageLookupFailed")]));
    assert_eq!((ended.exit, ended.lines), (1, vec!["s".repeat(100)]));
}

#[test]
fn garbage_in_the_termination_file_is_overwritten_silently_as_tekton_does() {
    for garbage in [&b"not json\n"[..], b"{}", &[0xff; 10_000], b"[{\"key\":\"a\""] {
        let ended = Pod::new().existing(garbage).report(&SUCCESS);
        assert_eq!((ended.exit, ended.lines, ended.message), (0, no_lines(), message(&[STARTED_AT])));
    }
}

#[test]
fn a_result_that_is_a_directory_fails_the_step_and_is_named() {
    let line = |pod: &Pod| {
        let path = pod.path("results/r");
        format!("Result \"r\" cannot be read: {path:?} is a directory, and must be a regular file")
    };
    for outcome in [SUCCESS, Outcome::NothingToRun, Outcome::Ran(ChildExit::Code(3))] {
        let pod = Pod::new().result("fine", "v").directory_as_result("r");
        assert_eq!(
            pod.report(&outcome),
            Ended {
                exit: 1,
                lines: vec![line(&pod)],
                message: message(&[STARTED_AT, &failure(&line(&pod))]),
                exit_code: None,
                post: false,
                err: true,
            },
            "{outcome:?}"
        );
    }
    let pod = Pod::new().continuing().directory_as_result("r");
    let ended = pod.report(&Outcome::Ran(ChildExit::Code(3)));
    assert_eq!(ended.message, message(&[STARTED_AT, &failure(&line(&pod))]));
    assert_eq!((ended.exit, ended.exit_code, ended.post, ended.err), (1, None, false, true));

    let pod = Pod::new().directory_as_result("r");
    let ended = pod.report(&Outcome::Cancelled);
    assert_eq!(ended.lines, ["Step was cancelled".to_owned(), line(&pod)]);
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("Reason", "Cancelled"), &failure(&line(&pod))]));
    assert_eq!((ended.exit, ended.exit_code.as_deref(), ended.err), (1, Some("killed"), true));
}

#[test]
fn a_termination_path_that_is_a_directory_fails_the_step_and_the_rest_is_written() {
    for (outcome, exit_code) in [(SUCCESS, None), (Outcome::Cancelled, Some("killed".to_owned()))] {
        let pod = Pod::new();
        fs::create_dir(pod.path("termination")).unwrap();
        let ended = pod.report(&outcome);
        let path = pod.path("termination");
        assert_eq!(ended.lines.last(), Some(&format!("Error while writing message: opening {path:?}: is a directory")));
        assert_eq!((ended.exit, ended.exit_code, ended.post, ended.err), (1, exit_code, false, true));
    }
}

#[test]
fn a_termination_path_below_nothing_is_not_made() {
    let mut pod = Pod::new();
    pod.spec.report.termination_path = pod.path("none/termination");
    let ended = pod.report(&SUCCESS);
    let path = pod.path("none/termination");
    assert_eq!(ended.lines, [format!("Error while writing message: opening {path:?}: no such file or directory")]);
    assert_eq!((ended.exit, ended.err, pod.path("none").exists()), (1, true, false));
}

#[test]
fn a_termination_message_on_a_full_device_fails_the_step_and_the_rest_is_written() {
    let pod = Pod::new();
    symlink("/dev/full", pod.path("termination")).unwrap();
    let left = pod.leave(&Outcome::Cancelled);
    let path = pod.path("termination");
    assert_eq!(
        left.lines().last(),
        Some(&Line::Say(format!("Error while writing message: writing {path:?}: no space left on device")))
    );
    assert_eq!(left.exit_code(), 1);
    assert_eq!(fs::read(pod.path("run/0/status/exitCode")).unwrap(), b"killed");
    assert!(pod.path("run/0/out.err").is_file());
}

#[test]
fn a_termination_file_on_a_full_filesystem_is_left_empty_and_fails_the_step() {
    with_own_mounts(|| {
        let mut pod = Pod::new();
        let _full = tmpfs(&pod.path("full"), "size=4k");
        fs::write(pod.path("full/filler"), [b'x'; 4096]).unwrap();
        let path = pod.path("full/termination");
        pod.spec.report.termination_path = path.clone();
        let ended = pod.report(&SUCCESS);
        assert_eq!(ended.lines, [format!("Error while writing message: writing {path:?}: no space left on device")]);
        assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
        assert_eq!(fs::read(path).unwrap(), b"");
    });
}

#[test]
fn a_read_only_termination_file_fails_the_step_and_keeps_its_content() {
    with_own_mounts(|| {
        let pod = Pod::new().existing("old");
        let path = pod.path("termination");
        let _sealed = read_only(&path);
        let ended = pod.report(&SUCCESS);
        assert_eq!(ended.lines, [format!("Error while writing message: opening {path:?}: read-only file system")]);
        assert_eq!((ended.exit, ended.message.as_deref(), ended.post, ended.err), (1, Some("old"), false, true));
    });
}

#[test]
fn a_post_path_that_is_a_directory_is_told_as_a_failure_instead() {
    let pod = Pod::new();
    let out = pod.path("run/0/out");
    fs::create_dir_all(&out).unwrap();
    let ended = pod.report(&SUCCESS);
    let err = pod.path("run/0/out.err");
    assert_eq!(
        ended.lines,
        [
            format!("Creating {out:?}: is a directory"),
            format!("Created {err:?} instead: the steps after this one are skipped"),
        ]
    );
    assert_eq!((ended.exit, ended.exit_code.as_deref(), ended.err), (1, Some("0"), true));
    assert_eq!(ended.message, message(&[STARTED_AT]));
}

const WAITING: &str =
    "the steps after this one are not told how it ended: they take it for dead, or wait until they are stopped";

#[test]
fn a_post_file_that_cannot_be_had_at_all_is_said_and_the_rest_is_written() {
    let mut pod = Pod::new();
    fs::write(pod.path("file"), "").unwrap();
    let (dir, out, err) = (pod.path("file/0"), pod.path("file/0/out"), pod.path("file/0/out.err"));
    pod.spec.report.post_file = Some(out.clone());
    let creating = |path: &Path| format!("Creating {path:?}: making the directory {dir:?}: not a directory");

    let ended = pod.report(&SUCCESS);
    assert_eq!(ended.lines, [creating(&out), format!("{}; {WAITING}", creating(&err))]);
    assert_eq!((ended.exit, ended.exit_code.as_deref()), (1, Some("0")));
    assert_eq!(ended.message, message(&[STARTED_AT]));

    let ended = pod.report(&Outcome::Ran(ChildExit::Code(3)));
    assert_eq!(ended.lines, [creating(&err), WAITING.to_owned()]);
    assert_eq!(ended.exit, 1);
}

#[test]
fn a_post_file_on_a_full_filesystem_is_said() {
    with_own_mounts(|| {
        let mut pod = Pod::new();
        // The root directory is the first inode and the file in it the second.
        let _full = tmpfs(&pod.path("full"), "nr_inodes=2");
        fs::write(pod.path("full/filler"), "").unwrap();
        let (out, err) = (pod.path("full/out"), pod.path("full/out.err"));
        pod.spec.report.post_file = Some(out.clone());
        let ended = pod.report(&SUCCESS);
        assert_eq!(
            ended.lines,
            [
                format!("Creating {out:?}: no space left on device"),
                format!("Creating {err:?}: no space left on device; {WAITING}"),
            ]
        );
        assert_eq!((ended.exit, ended.message), (1, message(&[STARTED_AT])));
    });
}

#[test]
fn an_exit_code_that_cannot_be_written_does_not_lose_the_post_file() {
    let pod = Pod::new();
    let path = pod.path("run/0/status/exitCode");
    fs::create_dir_all(&path).unwrap();
    let ended = pod.report(&SUCCESS);
    assert_eq!(ended.lines, [format!("Creating {path:?}: is a directory")]);
    assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
    assert_eq!(ended.message, message(&[STARTED_AT]));
}

#[test]
fn on_a_read_only_filesystem_every_file_is_tried_and_each_failure_is_said() {
    with_own_mounts(|| {
        let pod = Pod::new();
        let _sealed = read_only(pod.dir.path());
        let lines = pod.report(&Outcome::Cancelled).lines;
        let starts = ["Step was cancelled", "Error while writing message: opening", "Creating", "Creating", WAITING];
        assert_eq!(lines.len(), starts.len(), "{lines:?}");
        assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.ends_with(": read-only file system")).count(), 3, "{lines:?}");
    });
}

#[test]
fn a_failure_of_our_own_keeps_its_exit_code_whatever_fails_after_it() {
    let pod = Pod::new();
    fs::create_dir(pod.path("termination")).unwrap();
    let ended = pod.report(&Outcome::not_run(NotRunKind::Interrupted(15), "SIGTERM while waiting"));
    assert_eq!((ended.exit, ended.err), (2, true));
    let started = "Error while writing message: opening";
    assert!(ended.lines.last().is_some_and(|line| line.starts_with(started)), "{:?}", ended.lines);
}

#[test]
fn without_a_post_file_none_is_written() {
    let mut pod = Pod::new();
    pod.spec.report.post_file = None;
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.post, ended.err, ended.lines), (0, false, false, no_lines()));
    assert_eq!(ended.exit_code.as_deref(), Some("0"));
}

#[test]
fn a_usage_error_leaves_its_sentence_and_the_post_file_of_a_failure() {
    let pod = Pod::new();
    let (out, termination) = (pod.path("run/0/out"), pod.path("termination"));
    let left = leave_usage("flag provided but not defined: -nope", Some(&out), Some(&termination));
    assert_eq!(
        pod.ended(&left),
        Ended {
            exit: 2,
            lines: no_lines(),
            message: message(&[STARTED_AT, &failure("flag provided but not defined: -nope")]),
            exit_code: None,
            post: false,
            err: true,
        }
    );
}

#[test]
fn a_usage_error_outside_a_pod_says_nothing_about_a_message_that_nobody_reads() {
    let pod = Pod::new();
    let left = leave_usage("wrong", None, Some(&pod.path("none/termination")));
    assert_eq!((left.exit_code(), left.lines()), (2, &[][..]));
    let left = leave_usage("wrong", Some(&pod.path("run/0/out")), None);
    assert_eq!((left.exit_code(), left.lines()), (2, &[][..]));
    assert!(pod.path("run/0/out.err").is_file());
}

#[test]
fn a_usage_error_whose_files_cannot_be_written_is_still_one() {
    let pod = Pod::new();
    fs::create_dir(pod.path("termination")).unwrap();
    let left = leave_usage("wrong", Some(&pod.path("results/../termination")), Some(&pod.path("termination")));
    let ended = pod.ended(&left);
    assert_eq!((ended.exit, ended.lines.len()), (2, 1), "{ended:?}");
    assert!(pod.path("termination.err").is_file());
}
