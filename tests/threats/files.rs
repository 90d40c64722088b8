//! What a step plants at the names of the files that are written for it or read from it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::skip;
use crate::step::{Ended, Step, waits};
use crate::tekton;

/// Somebody who is neither root nor whoever runs the tests.
const STRANGER: u32 = 4711;
const VICTIM: &str = "the victim, as it was";

/// A step with a file that nobody is to write; what becomes of it is looked at before the scratch directory goes.
fn with_victim() -> Step {
    let step = Step::new();
    fs::create_dir(step.path("elsewhere")).unwrap();
    fs::write(step.path("elsewhere/victim"), VICTIM).unwrap();
    step
}

/// Runs a script as the step, with `$0` its directory. The victim is as it was, and has no neighbour.
fn spared(step: Step, script: &str) -> Ended {
    let dir = step.path("").display().to_string();
    let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", script, &dir]);
    let left = {
        let mut child = child;
        child.wait().unwrap();
        child
    };
    spare(&step);
    step.finish(left)
}

fn spare(step: &Step) {
    assert_eq!(fs::read_to_string(step.path("elsewhere/victim")).unwrap(), VICTIM);
    assert_eq!(fs::read_dir(step.path("elsewhere")).unwrap().count(), 1);
}

/// A step in whose directory everybody may write, as in an `emptyDir`.
fn open_to_all(step: &Step) {
    for dir in ["", "status"] {
        fs::create_dir_all(step.path(dir)).unwrap();
        fs::set_permissions(step.path(dir), fs::Permissions::from_mode(0o777)).unwrap();
    }
}

/// The script as somebody else, who has no rights; root's supervisor starts it.
fn as_stranger(script: &str) -> String {
    format!("setpriv --reuid={STRANGER} --regid={STRANGER} --clear-groups sh -c '{script}' $0")
}

fn strangers(purpose: &str) -> bool {
    skip::root(purpose) && skip::programs(purpose, &[("setpriv", "util-linux")])
}

#[test]
fn what_a_step_plants_at_our_names_has_us_write_nowhere_else_and_releases_the_next_step() {
    for name in ["out", "out.err", "out.lock", "status/exitCode"] {
        for plant in [
            "ln -s $0/elsewhere/victim $name",
            "ln -s $0/elsewhere/new $name",
            "ln $0/elsewhere/victim $name",
            "mkfifo $name",
            "mkdir $name",
            "ln -s /dev/full $name",
            "ln -s $name $name",
        ] {
            for code in [0, 3] {
                // A step that fails leaves no such file, and what it planted stays.
                if code != 0 && name == "status/exitCode" {
                    continue;
                }
                let script = format!("name=$0/{name}; rm -f $name; {plant}; exit {code}");
                let ended = spared(with_victim(), &script);
                let told = format!("{name}: {plant}: {ended:#?}");
                // `exists` follows links: what stands there is a file.
                assert!(ended.post || ended.err, "{told}");
                let is_in_the_way = plant.starts_with("mkdir") && name != "out.lock";
                if !is_in_the_way {
                    assert_eq!(ended.code(), code, "{told}");
                    assert!(code != 0 || ended.exit_code.as_deref() == Some("0"), "{told}");
                }
                // What the step says of itself by its own hand is the contract; it cannot hide a failure of its own.
                assert!(code == 0 || ended.err || name == "out", "{told}");
            }
        }
    }
}

#[test]
fn a_step_without_rights_has_a_supervisor_with_rights_write_nothing_that_it_may_not() {
    if !strangers("links of a step without rights") {
        return;
    }
    for name in ["termination", "out", "out.err", "status/exitCode"] {
        for to in ["victim", "new"] {
            for code in [0, 3] {
                let step = with_victim();
                open_to_all(&step);
                fs::write(step.path("termination"), "").unwrap();
                let script = format!("rm -f $0/{name}; ln -s $0/elsewhere/{to} $0/{name}; exit {code}");
                let ended = spared(step, &as_stranger(&script));
                let told = format!("{name} to {to}: {ended:#?}");
                assert!(ended.post || ended.err, "{told}");
                if name == "termination" {
                    // What is told by a file that cannot be written is a failure of the step, as on a full disk.
                    assert_eq!((ended.code(), ended.err), (1, true), "{told}");
                    let why =
                        if to == "new" { "no such file" } else { "a link of user 4711 leads there, and the file" };
                    assert!(ended.stderr.contains(why), "{told}");
                } else {
                    assert_eq!(ended.code(), code, "{told}");
                }
            }
        }
    }
}

#[test]
fn a_link_of_the_user_itself_is_followed_for_the_message_as_tekton_does() {
    let step = with_victim();
    symlink("message", step.path("termination")).unwrap();
    let ended = spared(step, "true");
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
    assert!(ended.message.is_some_and(|message| message.contains("StartedAt")));
}

#[test]
fn an_earlier_step_of_another_user_has_no_copy_of_the_output_written_elsewhere() {
    if !skip::root("links of another user") {
        return;
    }
    for flag in ["-stdout_path", "-stderr_path"] {
        let step = with_victim();
        open_to_all(&step);
        symlink(step.path("elsewhere/victim"), step.path("log")).unwrap();
        lchown(step.path("log"), Some(STRANGER), None).unwrap();
        let log = step.path("log").display().to_string();
        let ended = spared(step.flags([flag.to_owned(), log]), "echo said; echo said >&2");
        assert_eq!((ended.code(), ended.err, ended.stdout.as_str()), (1, true, ""), "{ended:#?}");
        assert!(
            ended.stderr.contains(": a link of user 4711 leads there, and the file is that of user 0"),
            "{ended:#?}"
        );
    }
}

#[test]
fn an_earlier_step_of_another_user_has_no_credential_written_elsewhere() {
    if !skip::root("links of another user") {
        return;
    }
    let Some(step) = tekton::in_tekton() else { return };
    for dir in ["elsewhere", "home", "tekton/creds"] {
        fs::create_dir(step.path(dir)).unwrap();
    }
    fs::write(step.path("elsewhere/victim"), VICTIM).unwrap();
    fs::write(step.path("tekton/creds/.git-credentials"), "https://ann:hunter2@git.example\n").unwrap();
    symlink(step.path("elsewhere/victim"), step.path("home/.git-credentials")).unwrap();
    lchown(step.path("home/.git-credentials"), Some(STRANGER), None).unwrap();
    let home = step.path("home").display().to_string();
    let ended = spared(step.env("HOME", &home), "true");
    assert_eq!(ended.code(), 0, "{ended:#?}");
    assert!(ended.stderr.contains("warning: unsuccessful cred copy: \".git-credentials\""), "{ended:#?}");
    assert!(!ended.stderr.contains("hunter2"), "{ended:#?}");
}

#[test]
fn a_name_that_changes_while_it_is_written_leads_nowhere_else_either() {
    if !skip::root("links of another user") {
        return;
    }
    for name in ["termination", "out", "status/exitCode"] {
        let step = with_victim();
        open_to_all(&step);
        let (name, spare_name) = (step.path(name), step.path("spare"));
        let link = |path: &Path| {
            let making = step.path("making");
            symlink(step.path("elsewhere/victim"), &making).unwrap();
            lchown(&making, Some(STRANGER), None).unwrap();
            fs::rename(&making, path).unwrap();
        };
        fs::write(&name, "").unwrap();
        link(&spare_name);
        let (done, mut reached) = (AtomicBool::new(false), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let swapped = renameat2(AT_FDCWD, &name, AT_FDCWD, &spare_name, RenameFlags::RENAME_EXCHANGE);
                    // It was replaced, and that is not a link.
                    if swapped.is_err() || !spare_name.is_symlink() && !name.is_symlink() {
                        link(&spare_name);
                    }
                }
            });
            for _ in 0..40 {
                let mut child = step.start(&["-entrypoint", "/bin/true", "--"]);
                child.stderr.take();
                child.stdout.take();
                let status = child.wait().unwrap();
                reached += u32::from(status.success());
            }
            done.store(true, Ordering::Relaxed);
        });
        spare(&step);
        assert!(reached > 0, "never written: {name:?}");
    }
}

#[test]
fn a_steps_directory_that_is_a_link_gets_files_of_fixed_names_elsewhere() {
    let step = with_victim();
    fs::create_dir(step.path("other")).unwrap();
    let dir = step.path("").display().to_string();
    let script = "rm -r $0/status; ln -s $0/other $0/status";
    let mut child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", script, &dir]);
    assert!(child.wait().unwrap().success());
    let names: Vec<_> = fs::read_dir(step.path("other")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["exitCode"], "a name and a content that are not his");
    assert_eq!(fs::read_to_string(step.path("other/exitCode")).unwrap(), "0");
    spare(&step);
}

#[test]
fn a_step_can_release_the_next_one_early_and_say_that_it_failed() {
    for (name, released) in [("out", true), ("out.err", false)] {
        let step = Step::new();
        let next = Step::new().flags(["-wait_file", &step.path("out").display().to_string()]);
        let gate = step.path("gate");
        let script = format!("> $0/{name}; until [ -e $0/gate ]; do sleep 0.01; done");
        let dir = step.path("").display().to_string();
        let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &script, &dir]);
        let waiting = next.start(&["-entrypoint", "/bin/true", "--"]);
        // It ends although the step runs.
        let next = next.finish(waiting);
        assert_eq!(next.post, released, "{next:#?}");
        fs::write(gate, "").unwrap();
        step.finish(child);
    }
}

#[test]
fn the_environment_of_a_later_step_is_no_result() {
    for target in ["/proc/self/environ", "/proc/thread-self/environ", "/proc/self/task/../environ"] {
        let Some(step) = tekton::in_tekton() else { return };
        symlink(target, step.path("tekton/results/x")).unwrap();
        let ended = step.env("PASSWORD", "hunter2-in-the-environment").flags(["-results", "x"]).sh("true");
        assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
        assert!(!format!("{ended:?}").contains("hunter2"), "{ended:#?}");
        assert!(ended.stderr.contains("it is in /proc, and not a file that somebody wrote"), "{ended:#?}");
    }
}

#[test]
fn a_lock_beside_the_post_file_is_never_written_through_a_link() {
    let step = with_victim();
    for name in ["out.lock", "out.lock.1"] {
        symlink(step.path("elsewhere/victim"), step.path(name)).unwrap();
    }
    let child = step.start(&["-wait_file", &step.path("turn").display().to_string(), "-entrypoint", "/bin/true", "--"]);
    waits(&child);
    assert!(step.path("out.lock").symlink_metadata().unwrap().is_file());
    assert_eq!(step.path("out.lock").metadata().unwrap().len(), 0);
    fs::write(step.path("turn"), "").unwrap();
    spare(&step);
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
}
