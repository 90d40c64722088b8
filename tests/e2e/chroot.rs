//! The poorest image: an empty root that holds nothing but the program and a static busybox; and a hostile one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::registry::{PASSWORD, run};
use crate::world::{World, nowhere};
use crate::{images, skip};

/// In a mount namespace of its own: the root read-only, one writable directory, no `/proc`, no `/dev`; then, as a user
/// that nobody knows and with nothing in the environment but where a pull secret may be, the program.
const SCRIPT: &str = r#"
set -e
root=$1
shift
mount --bind "$root" "$root"
mount --bind "$root.out" "$root/out"
mount -o remount,bind,ro "$root"
exec env -i DOCKER_CONFIG=/docker "$(command -v chroot)" --userspec=65532:65532 --groups= "$root" "$@"
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

/// By this no name has an address, for whoever asks the C library.
const NSSWITCH: &str = "passwd: hostile\ngroup: hostile\nhosts: hostile [!SUCCESS=return]\n";

/// A world and a root to look up from: the registry's authority and a pull secret are there, and files that an image
/// could have; `None` is a skip.
fn world_and_root(dir: &Path, resolv_conf: Option<&[u8]>) -> Option<World> {
    poor_root(dir)?;
    let world = World::with_password(&["poor"])?;
    let root = dir.join("root");
    fs::copy(world.path("authority.pem"), root.join("ca.pem")).expect("the authority");
    images::docker_config(&root.join("docker"), &[world.host(), &by_name(&world)], PASSWORD);
    fs::create_dir(root.join("etc")).expect("a directory");
    fs::write(root.join("etc/nsswitch.conf"), NSSWITCH).expect("nsswitch.conf");
    if let Some(text) = resolv_conf {
        fs::write(root.join("etc/resolv.conf"), text).expect("resolv.conf");
    }
    Some(world)
}

/// The registry's other name: one that is in no file, and that nobody has to be asked for.
fn by_name(world: &World) -> String {
    world.host().replace("127.0.0.1", "localhost")
}

/// Looks an image up from the root, as a step and by `run-image`, at a name of the registry.
fn looks_up(dir: &Path, world: &World, host: &str) {
    let out = dir.join("root.out");
    let image = format!("{host}/ci/poor:1");
    let certificate = format!("{host}=/ca.pem");
    let trust = ["-image_registry_certificate", certificate.as_str()];

    let reports =
        ["-post_file", "/out/out", "-termination_path", "/out/termination", "-step_metadata_dir", "/out/status"];
    let step = [&["/entrypoint"], &reports[..], &["-image", &image], &trust].concat();
    let (code, stdout, stderr) = in_root(dir, &step);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "hello world\n", ""), "as a step, {host}");
    assert!(out.join("out").exists());
    nowhere(&world.secrets(), [], &[&out]);
    fs::remove_file(out.join("out")).expect("the post file");

    let run_image = [&["/entrypoint", "run-image", &image], &trust[..], &["--", "from", "run-image"]].concat();
    let (code, stdout, stderr) = in_root(dir, &run_image);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "hello from run-image\n", ""), "run-image, {host}");
}

#[test]
fn an_image_is_looked_up_where_there_is_nothing_but_the_program_and_a_hostile_nsswitch_conf() {
    let dir = TempDir::new().expect("a directory");
    let Some(world) = world_and_root(dir.path(), None) else { return };
    let before = world.registry.requests().len();
    looks_up(dir.path(), &world, world.host());
    looks_up(dir.path(), &world, &by_name(&world));
    let requests = world.registry.requests().split_off(before);
    let found = |path: &str| requests.iter().filter(|line| line.contains(path) && line.contains("\" 200 ")).count();
    assert_eq!((found("/manifests/1 "), found("/blobs/")), (4, 4), "{requests:#?}");
}

#[test]
fn a_hostile_resolv_conf_is_no_way_to_mislead_the_lookup() {
    // Greedy, long, and with bytes that are no text.
    let servers = "nameserver 192.0.2.1\n".repeat(20_000);
    let text = format!("options ndots:99999999 timeout:99999999 attempts:99999999\nsearch {}\n", "a.b ".repeat(9_999));
    let text = [text.as_bytes(), b"\0\xff\xfe\n", servers.as_bytes()].concat();
    let dir = TempDir::new().expect("a directory");
    let Some(world) = world_and_root(dir.path(), Some(&text)) else { return };
    looks_up(dir.path(), &world, world.host());
    looks_up(dir.path(), &world, &by_name(&world));
}
