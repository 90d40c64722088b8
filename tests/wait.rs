//! The wait against real filesystems: whatever way a file appears, the step is released.
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

use std::os::unix::fs::symlink;
use std::process::{Child, Command};

use step::{Step, waits};

/// A step that waits for `file`, started and asleep.
fn waiting(step: &Step, file: &str, more: &[&str]) -> Child {
    let file = step.path(file).display().to_string();
    let mut flags = vec!["-wait_file", &file];
    flags.extend(more);
    flags.extend(["-entrypoint", "/bin/true", "--"]);
    let child = step.start(&flags);
    waits(&child);
    child
}

fn released(step: Step, child: Child) {
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.err), (0, true, false), "{ended:#?}");
}

#[test]
fn a_file_that_appears_releases_the_step() {
    let step = Step::new();
    let child = waiting(&step, "before", &[]);
    std::fs::write(step.path("before"), "").unwrap();
    released(step, child);
}

#[test]
fn a_file_renamed_into_place_releases_the_step() {
    let step = Step::new();
    std::fs::write(step.path("new"), "").unwrap();
    let child = waiting(&step, "before", &[]);
    std::fs::rename(step.path("new"), step.path("before")).unwrap();
    released(step, child);
}

#[test]
fn a_directory_that_appears_late_releases_the_step() {
    let step = Step::new();
    let child = waiting(&step, "run/0/deep/out", &[]);
    std::fs::create_dir(step.path("run")).unwrap();
    std::fs::create_dir_all(step.path("run/0/deep")).unwrap();
    std::fs::write(step.path("run/0/deep/out"), "").unwrap();
    released(step, child);
}

#[test]
fn a_directory_that_is_removed_and_made_again_releases_the_step() {
    let step = Step::new();
    std::fs::create_dir(step.path("run")).unwrap();
    let child = waiting(&step, "run/out", &[]);
    std::fs::remove_dir(step.path("run")).unwrap();
    std::fs::create_dir(step.path("run")).unwrap();
    std::fs::write(step.path("run/out"), "").unwrap();
    released(step, child);
}

#[test]
fn content_that_comes_later_releases_the_step() {
    let step = Step::new();
    std::fs::write(step.path("ready"), "").unwrap();
    let child = waiting(&step, "ready", &["-wait_file_content"]);
    std::fs::write(step.path("ready"), "READY").unwrap();
    released(step, child);
}

#[test]
fn a_downward_api_swap_releases_the_step() {
    // The kubelet's atomic writer: `ready` links to `..data/ready`, `..data` to a directory; an update makes a new
    // directory and renames a new `..data` over the old one. The awaited name itself never changes.
    let step = Step::new();
    let write = |name: &str, content: &str| {
        std::fs::create_dir(step.path(name)).unwrap();
        std::fs::write(step.path(name).join("ready"), content).unwrap();
    };
    write("..old", "");
    symlink("..old", step.path("..data")).unwrap();
    symlink("..data/ready", step.path("ready")).unwrap();
    let child = waiting(&step, "ready", &["-wait_file_content"]);
    write("..new", "READY");
    symlink("..new", step.path("..data_tmp")).unwrap();
    std::fs::rename(step.path("..data_tmp"), step.path("..data")).unwrap();
    released(step, child);
}

#[test]
fn an_earlier_failure_skips_the_step_and_the_next() {
    let step = Step::new();
    let child = waiting(&step, "before", &[]);
    std::fs::write(step.path("before.err"), "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.err, ended.exit_code), (1, false, true, None));
    assert!(ended.stderr.ends_with(" Skipping step because a previous step failed\n"), "{}", ended.stderr);
    assert_eq!(
        ended.message.as_deref(),
        Some(r#"[{"key":"StartedAt","value":"T","type":3},{"key":"Reason","value":"Skipped","type":3}]"#)
    );
}

#[test]
fn without_an_inotify_instance_the_step_is_released_all_the_same() {
    // A user namespace has quotas of its own: this one allows no instance at all.
    const NONE: &str = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let allowed = Command::new("unshare").args(["-Ur", "sh", "-c", NONE, "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        skip::skip("no user namespace to take the inotify quota away in: allow unprivileged user namespaces");
        return;
    }
    let step = Step::new().under(&["unshare", "-Ur", "sh", "-c", NONE]);
    let child = waiting(&step, "before", &[]);
    let descriptors = Command::new("ls").arg("-l").arg(format!("/proc/{}/fd", child.id())).output().unwrap().stdout;
    let descriptors = String::from_utf8_lossy(&descriptors).into_owned();
    assert!(descriptors.contains("signalfd") && !descriptors.contains("inotify"), "{descriptors}");
    std::fs::write(step.path("before"), "").unwrap();
    released(step, child);
}

#[test]
fn a_file_that_cannot_be_looked_at_fails_the_step_with_its_name() {
    let step = Step::new();
    std::fs::write(step.path("file"), "").unwrap();
    let file = step.path("file/out").display().to_string();
    let ended = step.flags(["-wait_file", &file]).run(&["-entrypoint", "/bin/true", "--"]);
    assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
    assert!(ended.stderr.contains(&format!("waiting for {file:?}: stat {file}: not a directory")), "{}", ended.stderr);
}
