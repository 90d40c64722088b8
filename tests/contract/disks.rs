//! Filesystems that are read-only or full below each file that a step's entrypoint writes: there is a sentence, and the
//! next step is released. Those of the report are in `tests/report/disks.rs`, with what else stands in its files.

use std::fs;

use super::step::{Ended, Step};
use super::{SH, STARTED_AT, assert_failed, assert_left, executable, in_tekton, lines};

/// What a disk does not take any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    /// Nothing at all.
    ReadOnly,
    /// Content: files can be made, and stay empty.
    Full,
    /// Files.
    FullOfFiles,
}

const DISKS: [Disk; 3] = [Disk::ReadOnly, Disk::Full, Disk::FullOfFiles];

impl Disk {
    /// The kernel's words about a file that cannot be made.
    fn cause(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only file system",
            Self::Full | Self::FullOfFiles => "no space left on device",
        }
    }

    /// Runs the step with such a disk in the place of a directory, as it is seen below what the step has so far.
    fn at(self, step: Step, path: &str) -> Step {
        let mount = match self {
            Self::ReadOnly => r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0""#,
            Self::Full => r#"mount -t tmpfs -o size=4k none "$0" && head -c 4096 /dev/zero >"$0/filler""#,
            Self::FullOfFiles => r#"mount -t tmpfs -o nr_inodes=1 none "$0""#,
        };
        step.under(&["sh", "-c", &format!("{mount} && exec \"$@\""), path])
    }
}

/// A step in `/tekton`, with this directory on such a disk.
fn on(disk: Disk, path: &str) -> Option<Step> {
    let step = in_tekton()?;
    fs::create_dir_all(step.path("tekton").join(path)).unwrap();
    Some(disk.at(step, &format!("/tekton/{path}")))
}

/// Runs a shell script as the step.
fn sh(step: Step, script: &str) -> Ended {
    step.run(&[&SH[..], &["-c", script]].concat())
}

#[test]
fn a_metadata_directory_that_cannot_be_made_fails_the_step_and_releases_the_next() {
    for disk in [Disk::ReadOnly, Disk::FullOfFiles] {
        let Some(step) = on(disk, "disk") else { return };
        let ended = sh(step.flags(["-step_metadata_dir", "/tekton/disk/status"]), "echo ran");
        let cause = disk.cause();
        assert_failed(
            &ended,
            &format!(
                "Error executing command: mkdir /tekton/disk/status/results: {cause} (-step_metadata_dir must be a directory \
                 that the step's user may write to)"
            ),
        );
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn an_exit_code_that_cannot_be_written_fails_the_step_and_releases_the_next() {
    let Some(step) = on(Disk::ReadOnly, "disk") else { return };
    fs::create_dir(step.path("tekton/disk/results")).unwrap();
    fs::create_dir(step.path("tekton/disk/artifacts")).unwrap();
    let ended = sh(step.flags(["-step_metadata_dir", "/tekton/disk"]), "echo ran");
    assert_left(&ended, 1, false, None, &[]);
    assert_eq!(lines(&ended.stderr), [r#"Creating "/tekton/disk/exitCode": read-only file system"#]);
}

#[test]
fn a_message_that_cannot_be_written_fails_the_step_and_releases_the_next() {
    for disk in DISKS {
        let Some(step) = on(disk, "disk") else { return };
        let ended = sh(step.flags(["-termination_path", "/tekton/disk/termination"]), "echo ran");
        assert_eq!((ended.code(), ended.post, ended.err, &ended.exit_code), (1, false, true, &None), "{ended:#?}");
        let what = if disk == Disk::Full { "writing" } else { "opening" };
        let cause = disk.cause();
        let line = format!(r#"Error while writing message: {what} "/tekton/disk/termination": {cause}"#);
        assert_eq!(lines(&ended.stderr), [line]);
    }
}

#[test]
fn a_copy_that_cannot_be_made_fails_the_step_and_releases_the_next() {
    for disk in [Disk::ReadOnly, Disk::FullOfFiles] {
        for (path, doing) in [
            ("log", "error opening /tekton/disk/log: open /tekton/disk/log"),
            ("logs/log", "error creating parent directory: mkdir /tekton/disk/logs"),
        ] {
            let Some(step) = on(disk, "disk") else { return };
            let ended = sh(step.flags(["-stdout_path", &format!("/tekton/disk/{path}")]), "echo ran");
            assert_eq!((ended.code(), ended.post, ended.err, &*ended.stdout), (1, false, true, ""), "{ended:#?}");
            let line = format!("Error executing command: {doing}: {}", disk.cause());
            assert!(lines(&ended.stderr).first().is_some_and(|told| told.starts_with(&line)), "{line}: {ended:#?}");
        }
    }
}

#[test]
fn a_copy_that_cannot_grow_fails_the_step_and_releases_the_next() {
    let Some(step) = on(Disk::Full, "disk") else { return };
    let ended = sh(step.flags(["-stderr_path", "/tekton/disk/log"]), "echo ran; echo lost >&2");
    assert_eq!((ended.code(), ended.post, ended.err), (1, false, true), "{ended:#?}");
    let line = "Error executing command: write /tekton/disk/log: no space left on device: the last 5 bytes of the step's \
                stderr are missing there";
    assert!(ended.stderr.contains(line) && ended.stderr.starts_with("lost\n"), "{ended:#?}");
}

#[test]
fn credentials_that_cannot_be_written_are_told_and_the_step_runs() {
    for disk in DISKS {
        for (path, told) in [
            ("creds", ["Error initializing credentials: ", "Error initializing credentials: "]),
            ("home", ["warning: unsuccessful cred copy: ", "warning: unsuccessful cred copy: "]),
        ] {
            let Some(step) = on(disk, path) else { return };
            for (name, content) in [
                ("username", "me"),
                ("password", "hunter2"),
                (".dockerconfigjson", r#"{"auths":{"h":{"auth":"eDp5"}}}"#),
            ] {
                fs::create_dir_all(step.path("tekton/creds-secrets/s")).unwrap();
                fs::write(step.path("tekton/creds-secrets/s").join(name), content).unwrap();
            }
            for name in ["creds", "home"] {
                fs::create_dir_all(step.path("tekton").join(name)).unwrap();
            }
            let step = step.env("HOME", "/tekton/home").flags(["-basic-git=s=https://h", "-docker-config=s"]);
            let ended = sh(step, "echo ran");
            assert_left(&ended, 0, true, Some("0"), &[]);
            assert_eq!(ended.stdout, "ran\n");
            let lines = lines(&ended.stderr);
            assert!(lines.len() >= 2, "{disk:?}, {path}: {lines:?}");
            for (line, told) in lines.iter().zip(told) {
                assert!(line.starts_with(told) && line.ends_with(disk.cause()), "{disk:?}, {path}: {line}");
            }
            assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_script_whose_copy_cannot_be_made_is_told_and_runs_as_it_is() {
    for disk in DISKS {
        let Some(step) = on(disk, "tmp") else { return };
        let step_a = step.path("tekton/steps/step-a/artifacts");
        fs::create_dir_all(&step_a).unwrap();
        fs::write(step_a.join("provenance.json"), r#"{"outputs":[{"name":"o"}]}"#).unwrap();
        fs::create_dir(step.path("tekton/scripts")).unwrap();
        executable(&step.path("tekton/scripts/s"), "#!/bin/sh\necho '$(steps.a.outputs.o)'\nls /tekton/tmp\n");
        let ended = step.env("TMPDIR", "/tekton/tmp").run(&["-entrypoint", "/tekton/scripts/s", "--"]);
        assert_left(&ended, 0, true, Some("0"), &[]);
        let left = if disk == Disk::Full { "filler\n" } else { "" };
        assert_eq!(ended.stdout, format!("$(steps.a.outputs.o)\n{left}"), "{disk:?}: half a script is left");
        let lines = lines(&ended.stderr);
        let [told] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(told.starts_with("ERROR Error while substituting step artifacts: error=\""), "{told}");
        assert!(told.contains(disk.cause()) && told.contains("/tekton/tmp/script-"), "{told}");
    }
}

#[test]
fn a_lock_that_cannot_be_made_changes_nothing() {
    // The post file has a disk of its own, which has room again when it is written.
    for disk in DISKS {
        let Some(step) = in_tekton() else { return };
        fs::create_dir(step.path("tekton/disk")).unwrap();
        let step = disk.at(step, "/tekton/disk").flags(["-post_file", "/tekton/disk/out"]);
        let mend = match disk {
            Disk::ReadOnly => "mount -o remount,bind,rw /tekton/disk",
            Disk::Full => "rm /tekton/disk/filler",
            Disk::FullOfFiles => "mount -o remount,nr_inodes=9 /tekton/disk",
        };
        // The second look is that of a process that outlives the step: what is mounted there is seen by nobody else.
        let script = format!(
            "ls /tekton/disk; {mend}; \
             (for try in $(seq 6000); do [ -e /tekton/disk/out ] && break; sleep 0.01; done; ls /tekton/disk) &"
        );
        let ended = sh(step, &script);
        assert_eq!(
            (ended.code(), &*ended.stderr, ended.exit_code.as_deref()),
            (0, "", Some("0")),
            "{disk:?}: {ended:#?}"
        );
        // The lock may go before the second look, or behind it.
        let expected: &[&str] = match disk {
            Disk::ReadOnly | Disk::FullOfFiles => &["out\n"],
            Disk::Full => &["filler\nout.lock\nout\n", "filler\nout.lock\nout\nout.lock\n"],
        };
        assert!(expected.contains(&&*ended.stdout), "{disk:?}: {ended:#?}");
    }
}

#[test]
fn a_post_file_that_cannot_be_made_is_told_with_what_it_means_for_the_next_step() {
    for disk in [Disk::ReadOnly, Disk::FullOfFiles] {
        let Some(step) = on(disk, "disk") else { return };
        let ended = sh(step.flags(["-post_file", "/tekton/disk/out"]), "echo ran");
        assert_eq!((ended.code(), ended.exit_code.as_deref()), (1, Some("0")), "{ended:#?}");
        assert_eq!(ended.message, Some(format!("[{STARTED_AT}]")));
        let cause = disk.cause();
        assert_eq!(
            lines(&ended.stderr),
            [
                format!(r#"Creating "/tekton/disk/out": {cause}"#),
                format!(
                    r#"Creating "/tekton/disk/out.err": {cause}; the steps after this one are not told how it ended: they take it for dead, or wait until they are stopped"#
                )
            ]
        );
    }
}
