//! `/tekton` as a disk of one's own: a thread with a mount namespace, below a root directory that is the real one but for
//! that.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::step::entrypoint;

/// Where the disk is.
pub const DISK: &str = "/tekton";

/// What stands on the disk.
pub type Files = BTreeMap<String, Node>;

#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    Directory,
    Link(PathBuf),
    File { content: Vec<u8>, mode: u32 },
    Other,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("directory"),
            Self::Link(to) => write!(f, "link to {}", to.display()),
            Self::File { content, mode } => write!(f, "file 0{mode:o} {:.300?}", String::from_utf8_lossy(content)),
            Self::Other => f.write_str("something else"),
        }
    }
}

/// Does something on a thread that has `/tekton` to itself: an empty filesystem with room for everything.
pub fn with_disk<T: Send + 'static>(job: impl FnOnce(&Path) -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(move || {
        let none: Option<&str> = None;
        let quiet = tempfile::tempdir().unwrap();
        let root = quiet.path().join("root");
        fs::create_dir(&root).unwrap();
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("none"), &root, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        for entry in fs::read_dir("/").unwrap() {
            let entry = entry.unwrap();
            let (from, to) = (entry.path(), root.join(entry.file_name()));
            if entry.file_type().unwrap().is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(&from).unwrap(), to).unwrap();
            } else if entry.file_type().unwrap().is_dir() && from != Path::new(DISK) {
                fs::create_dir(&to).unwrap();
                mount(Some(&from), &to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
            }
        }
        fs::create_dir(root.join("tekton")).unwrap();
        nix::unistd::chroot(&root).unwrap();
        std::env::set_current_dir("/").unwrap_or_else(|error| panic!("{error}"));
        mount(Some("none"), DISK, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        let done = job(quiet.path());
        drop(quiet);
        done
    })
}

/// Takes everything off the disk.
pub fn clear() {
    for entry in fs::read_dir(DISK).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Writes a file and makes the directories above it.
pub fn put(path: &str, content: impl AsRef<[u8]>) {
    let path = Path::new(DISK).join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Everything that stands on the disk, by its path there.
pub fn files() -> Files {
    fn walk(dir: &Path, found: &mut Files) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let node = if metadata.is_dir() {
                walk(&path, found);
                Node::Directory
            } else if metadata.is_symlink() {
                Node::Link(fs::read_link(&path).unwrap())
            } else if metadata.is_file() {
                Node::File { content: fs::read(&path).unwrap(), mode: metadata.permissions().mode() & 0o7777 }
            } else {
                Node::Other
            };
            let name = path.strip_prefix(DISK).unwrap().to_str().unwrap();
            found.insert(known(name).to_owned(), node);
        }
    }
    let mut found = Files::new();
    walk(Path::new(DISK), &mut found);
    found
}

/// The name that a file is known by: some names are random.
pub fn known(name: &str) -> &str {
    if name.starts_with("tmp/script-") { "tmp/script" } else { name }
}

/// The program under test with arguments, and an environment that leads it to the disk.
pub fn command<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(entrypoint());
    command.args(args).env_clear();
    command.envs([("PATH", "/usr/bin:/bin"), ("HOME", "/tekton/home"), ("TMPDIR", "/tekton/tmp"), (MARK, &mark())]);
    command
}

/// The variable by which everything that was started on this thread is known.
const MARK: &str = "ENTRYPOINT_TEST_DISK";

fn mark() -> String {
    nix::unistd::gettid().to_string()
}

/// The processes that are left of those that were started on this thread.
pub fn left() -> Vec<String> {
    let mark = format!("{MARK}={}", mark());
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            left.push(format!(
                "{}: {}",
                entry.path().display(),
                fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default()
            ));
        }
    }
    left
}
