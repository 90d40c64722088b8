//! What a disk does when it fails, at one position of a run or from there on: the calls that change it are counted.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use entrypoint::sys::cause::Cause;

use super::world::DISK;
use crate::tracer::{Call, Verdict, Watcher};

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This one call.
    Once(Errno),
    /// From this call on nothing can be made or become longer, everything else goes on.
    Full,
    /// From this call on nothing at all can be changed; what is open for writing stays open.
    Dead(Errno),
    /// This one call writes less than it was asked to.
    Short,
    /// The same, and then it is full: so does a disk that fills up.
    ShortThenFull,
}

/// All of them.
pub const FAULTS: [Fault; 12] = [
    Fault::Full,
    Fault::Once(Errno::ENOSPC),
    Fault::ShortThenFull,
    Fault::Dead(Errno::EROFS),
    Fault::Once(Errno::EROFS),
    Fault::Dead(Errno::EIO),
    Fault::Short,
    Fault::Once(Errno::EDQUOT),
    Fault::Dead(Errno::EDQUOT),
    Fault::Once(Errno::EIO),
    Fault::Dead(Errno::ENOSPC),
    Fault::Once(Errno::EINTR),
];

impl Fault {
    /// The kernel's words, as they are in every sentence about it.
    pub fn words(self) -> String {
        let errno = match self {
            Self::Once(errno) | Self::Dead(errno) => errno,
            Self::Full | Self::Short | Self::ShortThenFull => Errno::ENOSPC,
        };
        Cause(&errno.into()).to_string()
    }
}

/// What a call does to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Open {
        makes: bool,
    },
    /// The argument that says how much.
    Write(Option<usize>),
    Make,
    Rename,
    Remove,
    Sync,
    Cut,
    Mode,
    Close,
}

impl Change {
    /// Whether it takes room.
    fn takes_room(self) -> bool {
        matches!(self, Self::Open { makes: true } | Self::Write(_) | Self::Make)
    }
}

/// A position: a call that changes the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub change: Change,
    pub path: PathBuf,
}

/// Counts the positions, and fails at one of them.
#[derive(Debug, Default)]
pub struct Disk {
    fault: Option<(usize, Fault)>,
    pub positions: Vec<Position>,
    /// What was refused, or cut short.
    pub refused: Vec<Position>,
}

impl Disk {
    pub fn failing(at: usize, fault: Fault) -> Self {
        Self { fault: Some((at, fault)), ..Self::default() }
    }
}

impl Watcher for Disk {
    fn called(&mut self, call: &Call) -> Verdict {
        let Some((change, path)) = change(call) else { return Verdict::Pass };
        // What is there need not be made, on no disk; and only what was written can be lost when it is closed.
        let nothing = (change == Change::Make && is_there(&path)) || (change == Change::Close && !path.is_file());
        if nothing || !path.starts_with(DISK) {
            return Verdict::Pass;
        }
        let position = Position { change, path };
        let at = self.positions.len();
        self.positions.push(position.clone());
        let verdict = match self.fault {
            None => Verdict::Pass,
            Some((from, _)) if at < from => Verdict::Pass,
            Some((from, fault)) => verdict(fault, at == from, change, call),
        };
        if verdict != Verdict::Pass {
            self.refused.push(position);
        }
        verdict
    }
}

fn verdict(fault: Fault, first: bool, change: Change, call: &Call) -> Verdict {
    // However it answers, a descriptor that is closed is free afterwards.
    let refused = |errno| if change == Change::Close { Verdict::Late(errno) } else { Verdict::Refused(errno) };
    let full = || if change.takes_room() { Verdict::Refused(Errno::ENOSPC) } else { Verdict::Pass };
    let short = || {
        let Change::Write(Some(at)) = change else { return Verdict::Pass };
        if call.args[at] > 1 { Verdict::With(at, call.args[at] / 2) } else { Verdict::Pass }
    };
    match fault {
        Fault::Once(Errno::EINTR) if matches!(change, Change::Close) => Verdict::Pass,
        Fault::Once(errno) if first => refused(errno),
        Fault::Full => full(),
        // Where nothing is lost, nothing fails.
        Fault::Dead(Errno::EROFS) if change == Change::Close => Verdict::Pass,
        Fault::Dead(errno) => refused(errno),
        Fault::Short | Fault::ShortThenFull if first => short(),
        Fault::ShortThenFull => full(),
        Fault::Once(_) | Fault::Short => Verdict::Pass,
    }
}

/// What a call changes, if it is one that changes a file.
fn change(call: &Call) -> Option<(Change, PathBuf)> {
    let flags = |at: usize| call.args[at] as i32;
    let opens = |path: Option<PathBuf>, flags: i32| {
        let path = path?;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
        let makes = flags & libc::O_CREAT != 0 && !is_there(&path);
        writes.then_some((Change::Open { makes }, path))
    };
    let with = |change, path: Option<PathBuf>| path.map(|path| (change, path));
    match call.number {
        libc::SYS_openat => opens(call.path(Some(0), 1), flags(2)),
        // The flags are in memory.
        libc::SYS_openat2 => {
            let how = crate::tracer::word(&crate::tracer::memory(call.pid).ok()?, call.args[2]).ok()?;
            opens(call.path(Some(0), 1), how as i32)
        }
        libc::SYS_write | libc::SYS_pwrite64 => with(Change::Write(Some(2)), call.descriptor(0)),
        libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 | libc::SYS_fallocate => {
            with(Change::Write(None), call.descriptor(0))
        }
        libc::SYS_sendfile => with(Change::Write(Some(3)), call.descriptor(0)),
        libc::SYS_copy_file_range | libc::SYS_splice => with(Change::Write(Some(4)), call.descriptor(2)),
        libc::SYS_fsync | libc::SYS_fdatasync => with(Change::Sync, call.descriptor(0)),
        libc::SYS_ftruncate => with(Change::Cut, call.descriptor(0)),
        libc::SYS_fchmod | libc::SYS_fchown => with(Change::Mode, call.descriptor(0)),
        libc::SYS_close => with(Change::Close, call.descriptor(0)),
        libc::SYS_mkdirat | libc::SYS_mknodat => with(Change::Make, call.path(Some(0), 1)),
        libc::SYS_symlinkat => with(Change::Make, call.path(Some(1), 2)),
        libc::SYS_linkat => with(Change::Make, call.path(Some(2), 3)),
        libc::SYS_renameat | libc::SYS_renameat2 => with(Change::Rename, call.path(Some(2), 3)),
        libc::SYS_unlinkat => with(Change::Remove, call.path(Some(0), 1)),
        libc::SYS_fchmodat | libc::SYS_fchownat | libc::SYS_utimensat => with(Change::Mode, call.path(Some(0), 1)),
        number => old(call, number),
    }
}

/// The calls that only older processors have.
#[cfg(target_arch = "x86_64")]
fn old(call: &Call, number: i64) -> Option<(Change, PathBuf)> {
    let (change, at) = match number {
        libc::SYS_open => {
            let path = call.path(None, 0)?;
            let flags = call.args[1] as i32;
            let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
            let makes = flags & libc::O_CREAT != 0 && !is_there(&path);
            return writes.then_some((Change::Open { makes }, path));
        }
        libc::SYS_mkdir | libc::SYS_mknod => (Change::Make, 0),
        libc::SYS_symlink | libc::SYS_link => (Change::Make, 1),
        libc::SYS_rename => (Change::Rename, 1),
        libc::SYS_unlink | libc::SYS_rmdir => (Change::Remove, 0),
        libc::SYS_chmod | libc::SYS_chown => (Change::Mode, 0),
        libc::SYS_truncate => (Change::Cut, 0),
        _ => return None,
    };
    Some((change, call.path(None, at)?))
}

#[cfg(not(target_arch = "x86_64"))]
fn old(_: &Call, _: i64) -> Option<(Change, PathBuf)> {
    None
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
