//! Filesystems that are full or read-only, below each of the files: all others are written, and the next step learns of it.

use std::fs;
use std::path::Path;

use entrypoint::outcome::{ChildExit, Outcome};

use super::pod::{Pod, STARTED_AT, internal, message};
use super::{Mounted, SUCCESS, WAITING, read_only, tmpfs, with_own_mounts};

/// A filesystem on which nothing more can be written, but for empty files.
fn full(target: &Path) -> Mounted {
    let mounted = tmpfs(target, "size=4k");
    fs::write(target.join("filler"), [b'x'; 4096]).unwrap();
    mounted
}

/// A filesystem that takes nothing.
fn sealed(target: &Path) -> Mounted {
    fs::create_dir_all(target).unwrap();
    read_only(target)
}

#[test]
fn a_termination_file_that_cannot_be_made_fails_the_step_and_the_rest_is_written() {
    with_own_mounts(|| {
        for (outcome, exit_code) in [(SUCCESS, None), (Outcome::Cancelled, Some("killed"))] {
            let mut pod = Pod::new();
            let _sealed = sealed(&pod.path("sealed"));
            let path = pod.path("sealed/termination");
            pod.spec.report.termination_path = path.clone();
            let ended = pod.report(&outcome);
            assert_eq!(
                ended.lines.last(),
                Some(&format!("Error while writing message: opening {path:?}: read-only file system"))
            );
            assert_eq!((ended.exit, ended.exit_code.as_deref()), (1, exit_code));
            assert_eq!((ended.post, ended.err), (false, true));
        }
    });
}

#[test]
fn a_message_with_results_on_a_full_filesystem_is_left_empty_and_fails_the_step() {
    with_own_mounts(|| {
        let mut pod = Pod::new().result("r", "x".repeat(2000)).step_result("s", "v").task_artifacts("{}");
        let _full = full(&pod.path("full"));
        let path = pod.path("full/termination");
        pod.spec.report.termination_path = path.clone();
        let ended = pod.report(&Outcome::Ran(ChildExit::Code(3)));
        assert_eq!(ended.lines, [format!("Error while writing message: writing {path:?}: no space left on device")]);
        assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
        assert_eq!(fs::read(path).unwrap(), b"");
    });
}

#[test]
fn an_exit_code_on_a_full_or_read_only_filesystem_fails_the_step_and_releases_the_next() {
    with_own_mounts(|| {
        type Disk = fn(&Path) -> Mounted;
        let rows: [(Disk, &str); 2] =
            [(full, ": writing its content: no space left on device"), (sealed, ": read-only file system")];
        for (disk, cause) in rows {
            let mut pod = Pod::new();
            pod.spec.report.metadata_dir = pod.path("status");
            let _disk = disk(&pod.path("status"));
            let path = pod.path("status/exitCode");
            for (outcome, entries) in [(SUCCESS, vec![]), (Outcome::Cancelled, vec![internal("Reason", "Cancelled")])] {
                let _ = fs::remove_file(pod.path("termination"));
                let ended = pod.report(&outcome);
                assert_eq!(ended.lines.last(), Some(&format!("Creating {path:?}{cause}")));
                assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
                let mut expected = vec![STARTED_AT];
                expected.extend(entries.iter().map(String::as_str));
                assert_eq!(ended.message, message(&expected));
            }
        }
    });
}

#[test]
fn a_post_file_needs_no_room_on_a_full_filesystem() {
    with_own_mounts(|| {
        for (outcome, name) in [(SUCCESS, "full/out"), (Outcome::Skipped, "full/out.err")] {
            let mut pod = Pod::new();
            let _full = full(&pod.path("full"));
            pod.spec.report.post_file = Some(pod.path("full/out"));
            let _ = pod.report(&outcome);
            assert!(pod.path(name).is_file(), "{outcome:?}");
        }
    });
}

#[test]
fn a_post_file_for_which_there_is_no_room_is_made_of_the_lock() {
    with_own_mounts(|| {
        for (outcome, name) in [(SUCCESS, "small/out"), (Outcome::Skipped, "small/out.err")] {
            let mut pod = Pod::new();
            // The directory itself is one.
            let _small = tmpfs(&pod.path("small"), "nr_inodes=2");
            fs::write(pod.path("small/out.lock"), "").unwrap();
            pod.spec.report.post_file = Some(pod.path("small/out"));
            let ended = pod.report(&outcome);
            assert_eq!(fs::read_dir(pod.path("small")).unwrap().count(), 1);
            assert!(pod.path(name).is_file(), "{outcome:?}");
            assert_eq!(ended.exit == 0, outcome == SUCCESS);
        }
    });
}

#[test]
fn a_post_file_on_a_read_only_filesystem_is_said_and_the_rest_is_written() {
    with_own_mounts(|| {
        let mut pod = Pod::new();
        let _sealed = sealed(&pod.path("sealed"));
        let (out, err) = (pod.path("sealed/out"), pod.path("sealed/out.err"));
        pod.spec.report.post_file = Some(out.clone());
        let ended = pod.report(&SUCCESS);
        assert_eq!(
            ended.lines,
            [
                format!("Creating {out:?}: read-only file system"),
                format!("Creating {err:?}: read-only file system; {WAITING}"),
            ]
        );
        assert_eq!((ended.exit, ended.exit_code.as_deref()), (1, Some("0")));
        assert_eq!(ended.message, message(&[STARTED_AT]));
    });
}

#[test]
fn results_on_a_read_only_filesystem_are_read() {
    with_own_mounts(|| {
        let pod = Pod::new().result("r", "v");
        let _sealed = read_only(&pod.path("results"));
        let ended = pod.report(&SUCCESS);
        assert_eq!(ended.exit, 0);
        assert_eq!(ended.message, message(&[r#"{"key":"r","value":"v","type":1}"#, STARTED_AT]));
    });
}
