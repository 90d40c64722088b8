//! The poorest image: an empty root that holds nothing but the program and a static busybox.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::registry::run;
use crate::skip;

/// In a mount namespace of its own: the root read-only, one writable directory, no `/proc`, no `/dev`; then, as a user
/// that nobody knows and with an empty environment, the program.
const SCRIPT: &str = r#"
set -e
root=$1
shift
mount --bind "$root" "$root"
mount --bind "$root.out" "$root/out"
mount -o remount,bind,ro "$root"
exec env -i "$(command -v chroot)" --userspec=65532:65532 --groups= "$root" "$@"
"#;

/// Makes the root beside its writable directory; `None` if something for it is missing.
fn poor_root(dir: &Path) -> Option<()> {
    let purpose = "an empty read-only root";
    let tools = [("unshare", "util-linux"), ("mount", "mount"), ("chroot", "coreutils"), ("busybox", "busybox-static")];
    if !skip::root(purpose) || !skip::programs(purpose, &tools) {
        return None;
    }
    let (root, out) = (dir.join("root"), dir.join("root.out"));
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("the directory is ours");
    for path in [&root, &out, &root.join("out")] {
        fs::create_dir(path).expect("a directory");
    }
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).expect("the directory is ours");
    fs::copy(skip::busybox().expect("busybox"), root.join("busybox")).expect("busybox");
    let mut install = Command::new(skip::entrypoint());
    run(install.arg("cp").arg(skip::entrypoint()).arg(root.join("entrypoint")));
    Some(())
}

/// Runs a command line in the root; exit code, stdout, stderr.
fn in_root(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(skip::program("unshare").expect("unshare"));
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"])
        .arg(dir.join("root"))
        .args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("unshare starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_step_runs_and_reports_in_an_image_that_has_nothing() {
    let dir = TempDir::new().expect("a directory");
    if poor_root(dir.path()).is_none() {
        return;
    }
    let installed = fs::metadata(dir.path().join("root/entrypoint")).expect("it was installed");
    assert_eq!(installed.permissions().mode() & 0o777, 0o311, "others may run it, and not read it");

    let reports =
        ["-post_file", "/out/post/out", "-termination_path", "/out/termination", "-step_metadata_dir", "/out/status"];
    let step = ["-entrypoint", "/busybox", "--", "id"];
    let (code, stdout, stderr) = in_root(dir.path(), &[&["/entrypoint"], &reports[..], &step].concat());
    assert_eq!((code, stdout.trim(), stderr.as_str()), (Some(0), "uid=65532 gid=65532", ""));
    let out = dir.path().join("root.out");
    assert_eq!(fs::read_to_string(out.join("post/out")).expect("the post file"), "");
    assert_eq!(fs::read_to_string(out.join("status/exitCode")).expect("exitCode"), "0");
    let message = fs::read_to_string(out.join("termination")).expect("the message");
    assert!(
        message.starts_with(r#"[{"key":"StartedAt","value":""#) && message.ends_with(r#"Z","type":3}]"#),
        "{message}"
    );
}

#[test]
fn a_program_without_a_slash_is_not_found_where_there_is_no_path() {
    let dir = TempDir::new().expect("a directory");
    if poor_root(dir.path()).is_none() {
        return;
    }
    let reports =
        ["-post_file", "/out/out", "-termination_path", "/out/termination", "-step_metadata_dir", "/out/status"];
    let step = ["-entrypoint", "busybox", "--", "true"];
    let (code, stdout, stderr) = in_root(dir.path(), &[&["/entrypoint"], &reports[..], &step].concat());
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
    assert!(stderr.contains("busybox") && stderr.contains("PATH"), "{stderr}");
    let out = dir.path().join("root.out");
    assert!(out.join("out.err").exists() && !out.join("out").exists());
}
