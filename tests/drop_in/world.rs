//! A container for one scenario: mount, PID and network namespaces of the calling thread, and a root made of nothing but
//! busybox, four scratch filesystems and the program under test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, mkfifo, pivot_root};

use crate::format::{content, text};
use crate::scenario::{Kind, Node, Scenario};
use crate::tidy;

/// What a step may write to; everything else belongs to the image.
const SCRATCH: [&str; 4] = ["/tekton", "/home", "/workspace", "/tmp"];
/// What the controller mounts into a step's container.
const MOUNTED: [&str; 6] =
    ["/tekton/creds", "/tekton/downward", "/tekton/results", "/tekton/run", "/tekton/run/0", "/tekton/steps"];
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];
/// Where the program is.
pub const PROGRAM: &str = "/tekton/bin/entrypoint";
const APPLETS: &str = "sh awk base64 cat chmod cp cut dd echo env false grep head id kill ln ls mkdir mkfifo mv ps printf pwd \
    readlink rm sed seq sleep sort stat tail test touch tr true umask wc yes sha256sum mount ip";

/// Whatever the system refuses, with what was asked.
pub type Refusal = String;

fn tried<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, Refusal> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Moves the calling thread into a world of its own, whose root is mounted on `root`. It has no way back.
///
/// # Errors
/// What the system refused.
pub fn enter(scenario: &Scenario, root: &Path, program: &Path, busybox: &Path) -> Result<(), Refusal> {
    let none: Option<&str> = None;
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET;
    tried("unshare", unshare(namespaces))?;
    tried("no mount is shared", mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))?;
    let scratch = |path: &Path| {
        let data = Some("mode=0777");
        tried("mount a tmpfs", mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), data))
    };
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let directory =
        |path: &str, mode| tried(path, fs::create_dir_all(below(path)).and_then(|()| set_mode(&below(path), mode)));
    let bind = |from: &Path, to: &str| {
        tried(to, File::create(below(to)))?;
        tried(to, mount(Some(from), &below(to), none, MsFlags::MS_BIND, none))
    };
    umask(0);
    scratch(root)?;
    for path in ["/bin", "/dev", "/proc"].into_iter().chain(SCRATCH) {
        directory(path, 0o755)?;
    }
    bind(busybox, "/bin/busybox")?;
    for applet in APPLETS.split_whitespace() {
        tried(applet, symlink("busybox", below("/bin").join(applet)))?;
    }
    if let Some(absent) = scenario.absent.iter().find(|path| !MOUNTED.iter().chain(&DEVICES).any(|known| known == path))
    {
        return Err(format!("{absent} is never there"));
    }
    let has = |path: &&str| !scenario.absent.iter().any(|absent| absent == *path);
    for device in DEVICES.into_iter().filter(has) {
        bind(Path::new(device), device)?;
    }
    for path in SCRATCH {
        scratch(&below(path))?;
    }
    for path in MOUNTED.into_iter().filter(has) {
        directory(path, 0o777)?;
    }
    directory("/tekton/bin", 0o755)?;
    if scenario.uid == 0 {
        bind(program, PROGRAM)?;
    } else {
        // What `cp` makes of it: nobody but root may read it.
        tried(PROGRAM, fs::copy(program, below(PROGRAM)).and_then(|_| set_mode(&below(PROGRAM), 0o311)))?;
    }
    tried("chdir", chdir(root))?;
    tried("pivot_root", pivot_root(".", "."))?;
    tried("leave the old root", umount2(".", MntFlags::MNT_DETACH))?;
    tried("chdir", chdir("/"))?;
    for node in &scenario.files {
        put(node)?;
    }
    if scenario.read_only_root {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        tried("remount", mount(none, "/", none, flags, none))?;
    }
    Ok(())
}

/// Sets what modes of new files lack, for this thread and its children.
pub fn umask(mask: u32) {
    nix::sys::stat::umask(Mode::from_bits_truncate(mask));
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, PermissionsExt::from_mode(mode))
}

/// Makes a file, and the directories above it. A regular one appears whole.
pub fn put(node: &Node) -> Result<(), Refusal> {
    let path = Path::new(&node.path);
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    for above in missing.into_iter().rev() {
        tried(&node.path, fs::create_dir(above).and_then(|()| set_mode(above, 0o755)))?;
    }
    let owned = |owner: Option<(u32, u32)>| match owner {
        Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    };
    let result = match &node.kind {
        Kind::Directory { mode, owner } => {
            fs::create_dir_all(path).and_then(|()| owned(*owner)).and_then(|()| set_mode(path, *mode))
        }
        Kind::File { mode, owner, content } => {
            let new = path.with_extension("being-made");
            fs::write(&new, content)
                .and_then(|()| set_mode(&new, *mode))
                .and_then(|()| owner.map_or(Ok(()), |(uid, gid)| chown(&new, Some(uid), Some(gid))))
                .and_then(|()| fs::rename(&new, path))
        }
        Kind::Link { target } => symlink(target, path),
        Kind::Fifo => mkfifo(path, Mode::from_bits_truncate(0o644)).map_err(Into::into),
    };
    tried(&node.path, result)
}

/// Everything in the scratch filesystems, by name, in the words of an answer.
pub fn seen() -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for path in SCRATCH {
        look(Path::new(path), &mut seen);
    }
    seen
}

fn look(path: &Path, seen: &mut BTreeMap<String, String>) {
    if path == Path::new(PROGRAM) {
        return;
    }
    let name = text(&tidy::names(path.as_os_str().as_encoded_bytes())).replace(' ', "\\x20");
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let kind = metadata.file_type();
    let owner = match (metadata.uid(), metadata.gid()) {
        (0, 0) => String::new(),
        (uid, gid) => format!(" {uid}:{gid}"),
    };
    let mode = format!("{:o}{owner}", metadata.mode() & 0o7777);
    let (name, what) = if kind.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.for_each(|entry| look(&entry.path(), seen));
        (format!("{name}/"), format!(" {mode}"))
    } else if kind.is_symlink() {
        (name, format!(" -> {}", fs::read_link(path).unwrap_or_default().display()))
    } else if kind.is_fifo() {
        (name, " fifo".to_owned())
    } else {
        let bytes = fs::read(path).unwrap_or_default();
        (name, format!(" {mode}{}", content(&tidy::file(&bytes))))
    };
    seen.insert(name, what);
}
