//! Container, user and volumes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::skip;
use crate::step::entrypoint;
use crate::world::{World, row, rows, told};

/// A `doctor` in a root of its own, in which a directory of the world is `/tekton` and a script has been at work.
fn in_tekton(world: &World, script: &str) -> Option<Command> {
    const ROOT: &str = r#"
        set -e
        root=$1/root tekton=$1/tekton script=$2; shift 2
        mkdir -p "$root" "$tekton/bin" "$tekton/scripts"
        mount -t tmpfs none "$root"
        for entry in /*; do
            if [ -L "$entry" ]; then cp -P "$entry" "$root/"
            elif [ -d "$entry" ] && [ "$entry" != /tekton ]; then mkdir "$root$entry"; mount --rbind "$entry" "$root$entry"
            fi
        done
        mkdir "$root/tekton"
        mount --bind "$tekton" "$root/tekton"
        eval "$script"
        exec chroot "$root" "$@""#;
    let purpose = "volumes below /tekton";
    if !skip::root(purpose) || !skip::programs(purpose, &[("unshare", "util-linux"), ("mount", "mount")]) {
        return None;
    }
    let mut command = Command::new(skip::program("unshare").unwrap());
    command.args(["-m", "--propagation", "private", "sh", "-c", ROOT, "sh"]).arg(world.path()).arg(script);
    command.arg(entrypoint()).arg("doctor").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Some(command)
}

fn volumes(report: &Value) -> Vec<(String, String)> {
    rows(report, "volume").into_iter().map(|row| (row.verdict, row.says)).collect()
}

#[test]
fn a_volume_that_is_mounted_noexec_is_a_problem() {
    let world = World::new();
    let script = r#"mount -t tmpfs -o noexec none "$root/tekton/bin""#;
    let Some(mut command) = in_tekton(&world, script) else { return };
    let (told, report) = told(&mut command);
    assert_eq!(told.code, Some(0), "problems are told, and no failure");
    let volumes = volumes(&report);
    let noexec = "/tekton/bin (the steps' program) is mounted noexec: no program there can be run";
    assert!(volumes.contains(&("problem".to_owned(), noexec.to_owned())), "{volumes:?}");
    let scripts = "/tekton/scripts (the steps' scripts): programs there can be run";
    assert!(volumes.contains(&("ok".to_owned(), scripts.to_owned())), "{volumes:?}");
    assert_eq!(volumes.len(), 3, "what is not there is not told: {volumes:?}");
}

#[test]
fn the_program_of_the_steps_is_looked_for_and_its_mode() {
    let world = World::new();
    let Some(mut command) = in_tekton(&world, "") else { return };
    let (_, report) = told(&mut command);
    let none = "/tekton/bin (the steps' program): there is no /tekton/bin/entrypoint";
    assert!(volumes(&report).contains(&("note".to_owned(), none.to_owned())), "{report}");
    let program = world.path().join("tekton/bin/entrypoint");
    fs::write(&program, "").unwrap();
    for (mode, verdict, sentence) in [
        (0o311, "ok", "/tekton/bin (the steps' program): programs there can be run".to_owned()),
        (
            0o600,
            "problem",
            "/tekton/bin (the steps' program): /tekton/bin/entrypoint may not be run by this user: permission denied"
                .to_owned(),
        ),
    ] {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let Some(mut command) = in_tekton(&world, "") else { return };
        let (_, report) = told(&mut command);
        assert!(volumes(&report).contains(&(verdict.to_owned(), sentence)), "{mode:o}: {report}");
    }
}

#[test]
fn the_user_and_the_home_are_told() {
    let world = World::new();
    let none: &[&str] = &[];
    let (_, report) = told(world.command(none).env("HOME", world.path()));
    let process = rows(&report, "process");
    assert!(process[0].says.starts_with("uid ") && process[0].says.contains("; seccomp: "), "{process:?}");
    assert_eq!(process[1].says, format!("HOME={} can be written to", world.path().display()));
    let (_, report) = told(world.command(none).env("HOME", "/absent"));
    assert_eq!((rows(&report, "process")[1].verdict.as_str()), "note");
}

#[test]
fn the_container_is_told_by_what_kubelet_mounts() {
    let world = World::new();
    let none: &[&str] = &[];
    let (_, report) = told(&mut world.command(none));
    assert_eq!(row(&report, "container").0, "not_checked");
    // What kubelet does: a file below pods/UID/containers/NAME is mounted at the termination path.
    let script = r#"
        own=$1/kubelet/pods/0a4c9bd6-1f0b/containers/step-build
        mkdir -p "$own"
        touch "$own/5d1e2f3a" "$root/tekton/termination"
        mount --bind "$own/5d1e2f3a" "$root/tekton/termination""#;
    let script = script.replace("$1", &world.path().display().to_string());
    let Some(mut command) = in_tekton(&world, &script) else { return };
    let (_, report) = told(&mut command);
    let (verdict, sentence) = row(&report, "container");
    let expected = "container step-build of the pod with UID 0a4c9bd6-1f0b";
    assert_eq!((verdict.as_str(), sentence.as_str()), ("ok", expected));
}
