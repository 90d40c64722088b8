//! The subcommands of init containers, on real files.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use entrypoint::host::Dirs;
use entrypoint::setup::{SetupError, run};
use entrypoint::spec::SetupCommand;
use tempfile::TempDir;

/// A directory for one test, with the contract's directories inside.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn dirs(&self) -> Dirs {
        Dirs { steps: self.path("tekton/steps"), run: self.path("tekton/run"), ..Dirs::default() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(self.directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn copy(&self, source: &str, destination: &str) -> Result<String, SetupError> {
        run(&SetupCommand::Copy { source: self.path(source), destination: self.path(destination) }, &self.dirs())
    }

    fn step_init(&self, steps: &[&str]) -> Result<String, SetupError> {
        run(&SetupCommand::StepInit { steps: names(steps) }, &self.dirs())
    }

    fn decode(&self, name: &str) -> Result<String, SetupError> {
        run(&SetupCommand::DecodeScript { file: self.path(name) }, &self.dirs())
    }

    /// The directory's name is in every message; this makes it `D`.
    fn message(&self, result: Result<String, SetupError>) -> String {
        entrypoint::sys::cause::chain(&result.unwrap_err()).replace(&self.directory.path().display().to_string(), "D")
    }

    /// The bits that the umask of this process leaves of a mode.
    fn masked(&self, mode: u32) -> u32 {
        let probe = self.path("probe");
        fs::OpenOptions::new().write(true).create_new(true).mode(0o777).open(&probe).unwrap();
        let mask = mode_of(&probe);
        fs::remove_file(probe).unwrap();
        mode & mask
    }
}

fn names(names: &[&str]) -> Vec<OsString> {
    names.iter().map(OsString::from).collect()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The content of a file whose mode forbids reading it.
fn content(path: &Path) -> Vec<u8> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn cp_places_a_program_that_everybody_may_execute_and_says_so() {
    let place = Place::new();
    let source = place.write("source", vec![7; 300_000]);
    fs::set_permissions(&source, fs::Permissions::from_mode(0o444)).unwrap();
    let line = place.copy("source", "entrypoint").unwrap();
    let root = place.directory.path().display();
    assert_eq!(line, format!("Copied {root}/source to {root}/entrypoint"));
    assert_eq!(mode_of(&place.path("entrypoint")), place.masked(0o311));
    assert_eq!(content(&place.path("entrypoint")), vec![7; 300_000]);
    assert_eq!(place.names(), names(&["entrypoint", "source"]));
}

#[test]
fn cp_replaces_a_longer_and_differently_moded_file_as_a_whole() {
    let place = Place::new();
    place.write("source", "short");
    let destination = place.write("entrypoint", "a much longer file that was there before");
    fs::set_permissions(&destination, fs::Permissions::from_mode(0o400)).unwrap();
    let before = fs::metadata(&destination).unwrap().ino();
    place.copy("source", "entrypoint").unwrap();
    assert_ne!(fs::metadata(&destination).unwrap().ino(), before);
    assert_eq!(mode_of(&destination), place.masked(0o311));
    assert_eq!(content(&destination), b"short");
    // Again, as a restarted init container does.
    place.copy("source", "entrypoint").unwrap();
    assert_eq!(content(&destination), b"short");
    assert_eq!(place.names(), names(&["entrypoint", "source"]));
}

#[test]
fn cp_of_a_file_onto_itself_keeps_its_content() {
    let place = Place::new();
    place.write("program", "content");
    place.copy("program", "program").unwrap();
    assert_eq!(content(&place.path("program")), b"content");
}

#[test]
fn cp_to_no_name_at_all_is_refused() {
    let place = Place::new();
    place.write("source", "content");
    let command = SetupCommand::Copy { source: place.path("source"), destination: PathBuf::new() };
    assert_eq!(place.message(run(&command, &place.dirs())), "the destination of D/source is empty");
}

/// A copy of this very test binary, as a program that reads from its stdin until that ends.
const ROLE: &str = "SETUP_TEST_ROLE";

#[test]
fn cp_replaces_a_program_that_is_being_executed() {
    let place = Place::new();
    let destination = place.path("entrypoint");
    let command = SetupCommand::Copy { source: std::env::current_exe().unwrap(), destination: destination.clone() };
    run(&command, &place.dirs()).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    // It blocks in a read of the pipe, so it is running until the pipe is closed.
    let mut running = Command::new(&destination)
        .args(["--exact", "role_of_the_running_program", "--nocapture"])
        .env(ROLE, "1")
        .stdin(reader)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The kernel refuses to write into it: that is what a copy in place would meet.
    let busy = fs::OpenOptions::new().write(true).open(&destination).unwrap_err();
    assert_eq!(busy.kind(), io::ErrorKind::ExecutableFileBusy);
    let replaced = run(&command, &place.dirs());
    drop(writer);
    let status = running.wait().unwrap();
    assert!(replaced.is_ok(), "{replaced:?}");
    assert!(status.success(), "{status}");
    assert_eq!(mode_of(&destination), place.masked(0o311));
}

#[test]
fn role_of_the_running_program() {
    if std::env::vars_os().any(|(name, _)| name == ROLE) {
        io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
    }
}

#[test]
fn whoever_looks_while_cp_replaces_sees_one_whole_file_or_the_other() {
    const SIZES: [u64; 2] = [3_000_000, 1_000_000];
    let place = Place::new();
    place.write("long", vec![1; 3_000_000]);
    place.write("short", vec![2; 1_000_000]);
    place.copy("long", "entrypoint").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let size = fs::metadata(place.path("entrypoint")).unwrap().len();
                assert!(SIZES.contains(&size), "{size}");
                seen += 1;
            }
            seen
        });
        for source in ["short", "long"].into_iter().cycle().take(40) {
            place.copy(source, "entrypoint").unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 0);
    });
}

#[test]
fn cp_that_fails_leaves_everything_as_it_was() {
    let place = Place::new();
    fs::create_dir(place.path("directory")).unwrap();
    let destination = place.write("entrypoint", "before");
    let file = place.write("file", "");
    place.write("source", "x");
    let before = place.names();
    for (source, to, expected) in [
        ("missing", "entrypoint", "open D/missing: no such file or directory"),
        // A directory can be opened, so this fails in the middle.
        ("directory", "entrypoint", "copy D/directory to D/entrypoint: is a directory"),
        ("source", "directory", "D/directory is a directory: the destination must be the name of the copy"),
        (
            "source",
            "missing/entrypoint",
            "create a file in D/missing, where D/missing/entrypoint shall be: no such file or directory",
        ),
        ("source", "file/entrypoint", "create a file in D/file, where D/file/entrypoint shall be: not a directory"),
    ] {
        assert_eq!(place.message(place.copy(source, to)), expected);
    }
    assert_eq!(place.names(), before);
    assert_eq!((fs::read(destination).unwrap(), fs::read(file).unwrap()), (b"before".to_vec(), Vec::new()));
}

#[test]
fn cp_does_not_replace_what_is_no_file() {
    let place = Place::new();
    place.write("source", "x");
    let socket = place.path("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(place.message(place.copy("source", "socket")), "D/socket is not a regular file, so it is not replaced");
    assert!(fs::metadata(socket).unwrap().file_type().is_socket());
}

#[test]
fn cp_replaces_a_link_and_not_what_it_points_to() {
    let place = Place::new();
    place.write("source", "new");
    let other = place.write("other", "other");
    symlink(&other, place.path("entrypoint")).unwrap();
    symlink(place.path("nowhere"), place.path("dangling")).unwrap();
    place.copy("source", "entrypoint").unwrap();
    place.copy("source", "dangling").unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"other");
    for name in ["entrypoint", "dangling"] {
        assert!(fs::symlink_metadata(place.path(name)).unwrap().is_file());
        assert_eq!(content(&place.path(name)), b"new");
    }
}

#[test]
fn step_init_links_every_step_by_name_and_by_index() {
    let place = Place::new();
    assert_eq!(place.step_init(&["step-build", "step-test"]).unwrap(), "Setup /step directories");
    let steps = place.dirs().steps;
    assert_eq!(mode_of(&steps), place.masked(0o777));
    for (link, index) in [("step-build", "0"), ("0", "0"), ("step-test", "1"), ("1", "1")] {
        let target = fs::read_link(steps.join(link)).unwrap();
        assert_eq!(target, place.path(&format!("tekton/run/{index}/status")), "{link}");
    }
    assert_eq!(fs::read_dir(&steps).unwrap().count(), 4);
    assert!(!place.dirs().run.exists());
}

#[test]
fn step_init_again_changes_nothing_and_adds_what_is_missing() {
    let place = Place::new();
    let steps = place.dirs().steps;
    fs::create_dir_all(&steps).unwrap();
    symlink("/elsewhere", steps.join("a")).unwrap();
    for _ in 0..2 {
        place.step_init(&["a", "b"]).unwrap();
    }
    assert_eq!(fs::read_link(steps.join("a")).unwrap(), Path::new("/elsewhere"));
    assert_eq!(fs::read_link(steps.join("b")).unwrap(), place.path("tekton/run/1/status"));
    assert_eq!(fs::read_dir(&steps).unwrap().count(), 4);
}

#[test]
fn step_init_without_steps_makes_the_directory() {
    let place = Place::new();
    place.step_init(&[]).unwrap();
    assert!(place.dirs().steps.is_dir());
}

#[test]
fn step_init_that_fails_says_which_directory_or_link() {
    let place = Place::new();
    place.write("tekton", "a file");
    assert_eq!(
        place.message(place.step_init(&["a"])),
        r#"error creating steps directory "D/tekton/steps": not a directory"#
    );
    let place = Place::new();
    let long = "a".repeat(300);
    let expected = format!("symlink D/tekton/run/0/status D/tekton/steps/{long}: file name too long");
    assert_eq!(place.message(place.step_init(&[&long])), expected);
    for name in ["a/b", "/etc/x", "../x"] {
        let expected = format!("the step name {name:?} contains a slash, so it cannot be a file name");
        assert_eq!(place.message(place.step_init(&[name])), expected);
    }
}

#[test]
fn init_places_the_program_and_links_the_steps() {
    let place = Place::new();
    place.write("source", "program");
    let init = |source: &str| SetupCommand::Init {
        source: place.path(source),
        destination: place.path("entrypoint"),
        steps: names(&["step-a"]),
    };
    assert!(run(&init("missing"), &place.dirs()).is_err());
    assert!(!place.dirs().steps.exists());
    for _ in 0..2 {
        assert_eq!(run(&init("source"), &place.dirs()).unwrap(), "Entrypoint initialization");
    }
    assert_eq!(mode_of(&place.path("entrypoint")), place.masked(0o311));
    assert_eq!(content(&place.path("entrypoint")), b"program");
    assert_eq!(fs::read_link(place.dirs().steps.join("step-a")).unwrap(), place.path("tekton/run/0/status"));
}

#[test]
fn decode_script_makes_the_script_in_place_with_the_same_mode() {
    for mode in [0o755, 0o700, 0o600, 0o4755] {
        let place = Place::new();
        let script = place.write("script", "IyEvYmluL3NoCmVj\naG8gaGVsbG8K\n");
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
        let before = fs::metadata(&script).unwrap().ino();
        let line = place.decode("script").unwrap();
        assert_eq!(line, format!("Decoded script {}", script.display()));
        assert_eq!(fs::read(&script).unwrap(), b"#!/bin/sh\necho hello\n");
        // The kernel takes the set-user-ID bit from a file that somebody but root writes to.
        assert_eq!(mode_of(&script) & 0o777, mode & 0o777);
        assert_eq!(fs::metadata(&script).unwrap().ino(), before);
        assert_eq!(place.names(), names(&["script"]));
    }
}

#[test]
fn decode_script_of_an_empty_file_is_an_empty_script() {
    for content in ["", "\r\n"] {
        let place = Place::new();
        place.write("script", content);
        place.decode("script").unwrap();
        assert_eq!(fs::read(place.path("script")).unwrap(), b"");
    }
}

#[test]
fn decode_script_that_fails_leaves_the_file_and_says_where() {
    let place = Place::new();
    fs::create_dir(place.path("directory")).unwrap();
    for (content, offset) in [("#!/bin/sh\necho hello\n", 0), ("aGVsbG8=\ngarbage", 9), ("aGVsbG", 4)] {
        place.write("script", content);
        let expected = format!(
            r#"error decoding script file "D/script": error decoding script file "D/script": illegal base64 data at input byte {offset}"#
        );
        assert_eq!(place.message(place.decode("script")), expected);
        assert_eq!(fs::read(place.path("script")).unwrap(), content.as_bytes());
    }
    assert_eq!(
        place.message(place.decode("missing")),
        r#"error decoding script file "D/missing": error reading from script file "D/missing": open D/missing: no such file or directory"#
    );
    assert_eq!(
        place.message(place.decode("directory")),
        r#"error decoding script file "D/directory": error reading from script file "D/directory": read D/directory: is a directory"#
    );
}

#[test]
fn decode_script_neither_waits_for_a_fifo_nor_reads_without_end() {
    let place = Place::new();
    nix::unistd::mkfifo(&place.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::File::create(place.path("huge")).unwrap().set_len(1 << 40).unwrap();
    for (name, cause) in [("fifo", "invalid argument"), ("huge", "file too large")] {
        let expected = format!(
            r#"error decoding script file "D/{name}": error reading from script file "D/{name}": read D/{name}: {cause}"#
        );
        assert_eq!(place.message(place.decode(name)), expected);
    }
}

#[test]
fn a_subcommand_that_hangs_is_ended_by_a_signal() {
    use std::os::unix::process::ExitStatusExt;
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_entrypoint"))
        .arg("cp")
        .args([&fifo, &dir.path().join("copy")])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), nix::sys::signal::SIGTERM)
        .unwrap();
    let status = child.wait_with_output().unwrap().status;
    assert_eq!(status.signal(), Some(libc::SIGTERM));
}
