//! A file that is locked as long as its owner lives: the kernel takes the lock back however the owner ends.
//!
//! The lock of a file is `flock`'s: it belongs to the open file, so it ends with the last descriptor of it, and it can be asked for
//! through a descriptor that is open for reading only.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};

use super::filesystem;

/// Whoever is to see that the lock is held must be able to open the file, whatever the owner's umask.
const MODE: u32 = 0o644;

/// A lock that this process holds until it drops it or ends. It is not inherited by programs; a forked child must close
/// its descriptors ([`super::isolation::isolate`]).
#[derive(Debug)]
#[must_use = "the lock ends with it"]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // The descriptor's end is not enough as long as a forked child has a copy of it.
        let _ = self.0.unlock();
        let all = libc::flock { l_start: 0, l_len: 0, ..byte_of(Path::new(""), libc::F_UNLCK) };
        let _ = fcntl(&self.0, FcntlArg::F_OFD_SETLK(&all));
    }
}

/// What a look at somebody's lock has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Somebody holds it.
    Held,
    /// The file is there, and nobody holds it.
    Free,
    /// That cannot be told: there is no file, it may not be opened, it is no regular one, or the filesystem has no locks
    /// or shares them with other machines.
    Unknown,
}

/// Makes a locked file of this name. It appears only once it is locked, and replaces a file that another process left.
///
/// # Errors
/// When the file cannot be made or renamed, or the filesystem has no locks.
pub fn hold(path: &Path) -> io::Result<Lock> {
    let new = new_name(path);
    // Left by a process that was killed in between: in a container everybody has the same number.
    let _ = fs::remove_file(&new);
    // The standard library adds O_CLOEXEC.
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new)?;
    // Where modes cannot be set the file has one that everybody may read.
    let _ = file.set_permissions(Permissions::from_mode(MODE));
    file.try_lock().map_err(io::Error::from).and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })?;
    Ok(Lock(file))
}

/// The name of the lock that is beside a file.
#[must_use]
pub fn of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

/// Locks a name in its directory, for which nothing need be written: where no file can be made, that is all that is left.
///
/// The lock is one of `fcntl`'s, that belongs to the open directory, on a byte that follows from the name: what others lock
/// there, other names or the directory as a whole by `flock`, is not mistaken for it.
///
/// # Errors
/// When there is no such directory, or the filesystem has no locks.
pub fn hold_name(path: &Path) -> io::Result<Lock> {
    let directory = open_directory(path)?;
    // A directory cannot be open for writing, which a lock for oneself alone needs: this one is for all who want it.
    fcntl(&directory, FcntlArg::F_OFD_SETLK(&byte_of(path, libc::F_RDLCK)))?;
    Ok(Lock(directory))
}

/// Looks whether somebody holds the lock of this name. That is asked without taking it.
#[must_use]
pub fn look_at_name(path: &Path) -> Sight {
    let Ok(directory) = open_directory(path) else { return Sight::Unknown };
    // What a lock for oneself alone would meet.
    let mut met = byte_of(path, libc::F_WRLCK);
    match fcntl(&directory, FcntlArg::F_OFD_GETLK(&mut met)) {
        Ok(_) if i32::from(met.l_type) != libc::F_UNLCK => Sight::Held,
        Ok(_) if filesystem::is_own_file(&directory) => Sight::Free,
        Ok(_) | Err(_) => Sight::Unknown,
    }
}

/// The byte of a directory that stands for a name in it (FNV-1a), for a call about its lock.
fn byte_of(path: &Path, kind: i32) -> libc::flock {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        // Where offsets have 32 bits, too, and with room for a length of one.
        l_start: (hash >> 34) as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

/// The directory that a name is in.
fn open_directory(path: &Path) -> io::Result<File> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(directory)
}

/// Locks a file that others lock too, without waiting. `None` if one of them has it.
///
/// # Errors
/// When the filesystem has no locks.
pub fn take(file: File) -> io::Result<Option<Lock>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The name under which the file waits for its lock.
fn new_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}", std::process::id()));
    name.into()
}

/// Looks whether somebody holds the lock of this file. Others may have put anything there: it is never waited for, links
/// are not followed, and nothing is kept open.
#[must_use]
pub fn look(path: &Path) -> Sight {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return Sight::Unknown };
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Sight::Unknown;
    }
    own_sight(&file)
}

fn own_sight(file: &File) -> Sight {
    let seen = sight(file.try_lock_shared());
    // Where locks are shared with other machines, or not even that, one that is free here may be held elsewhere.
    if seen == Sight::Free && !filesystem::is_own_file(file) { Sight::Unknown } else { seen }
}

/// What the answer to a try means.
fn sight(tried: Result<(), TryLockError>) -> Sight {
    match tried {
        Ok(()) => Sight::Free,
        Err(TryLockError::WouldBlock) => Sight::Held,
        // EINVAL, ENOLCK, ENOSYS, EOPNOTSUPP: as on a filesystem without locks.
        Err(TryLockError::Error(_)) => Sight::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_name_is_locked_in_its_directory_without_a_write_and_seen_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let [name, other] = ["out", "other"].map(|name| dir.path().join(name));
        assert_eq!(look_at_name(&name), Sight::Free);
        let lock = hold_name(&name).unwrap();
        assert_eq!([look_at_name(&name), look_at_name(&name)], [Sight::Held, Sight::Held]);
        assert_eq!(look_at_name(&other), Sight::Free);
        // Another's is in nobody's way, nor is the same one that is held again, nor is `flock`.
        let (second, again) = (hold_name(&other).unwrap(), hold_name(&name).unwrap());
        File::open(dir.path()).unwrap().try_lock().unwrap();
        drop((second, lock));
        assert_eq!((look_at_name(&name), look_at_name(&other)), (Sight::Held, Sight::Free));
        // As after a fork, the copy of a descriptor.
        let copy = again.0.try_clone().unwrap();
        drop(again);
        assert_eq!(look_at_name(&name), Sight::Free);
        drop(copy);
        fs::write(dir.path().join("file"), "").unwrap();
        for directory in ["file", "missing"] {
            let name = dir.path().join(directory).join("out");
            assert_eq!(look_at_name(&name), Sight::Unknown);
            assert!(hold_name(&name).is_err());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_is_seen_while_it_is_held_and_free_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.lock");
        assert_eq!(look(&path), Sight::Unknown, "no file");
        let lock = hold(&path).unwrap();
        assert_eq!([look(&path), look(&path)], [Sight::Held, Sight::Held]);
        drop(lock);
        assert_eq!([look(&path), look(&path)], [Sight::Free, Sight::Free]);
    }

    #[test]
    fn one_of_those_who_take_a_lock_has_it_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        fs::write(&path, "").unwrap();
        let again = || take(File::open(&path).unwrap()).unwrap();
        let lock = again();
        assert!(lock.is_some() && again().is_none());
        drop(lock);
        assert!(again().is_some());
    }

    #[test]
    fn two_that_look_at_once_are_not_in_each_others_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.lock");
        drop(hold(&path).unwrap());
        let other = File::open(&path).unwrap();
        other.try_lock_shared().unwrap();
        assert_eq!(look(&path), Sight::Free);
    }

    #[test]
    fn the_file_has_mode_0644_whatever_the_umask_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.lock");
        // What a process of the same number left when it was killed.
        fs::write(new_name(&path), "").unwrap();
        fs::set_permissions(new_name(&path), Permissions::from_mode(0o000)).unwrap();
        let _lock = hold(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_file_of_a_killed_owner_is_replaced_by_a_locked_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.lock");
        drop(hold(&path).unwrap());
        let before = File::open(&path).unwrap();
        let _lock = hold(&path).unwrap();
        assert_eq!(look(&path), Sight::Held);
        before.try_lock().expect("another file");
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_replaced_and_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("out.lock"), dir.path().join("elsewhere"));
        fs::write(&elsewhere, "as it was").unwrap();
        symlink(&elsewhere, &path).unwrap();
        symlink(&elsewhere, new_name(&path)).unwrap();
        let _lock = hold(&path).unwrap();
        assert_eq!((look(&path), fs::read(&elsewhere).unwrap().as_slice()), (Sight::Held, &b"as it was"[..]));
    }

    #[test]
    fn where_no_file_can_be_made_there_is_no_lock_and_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        assert!(hold(&dir.path().join("missing/out.lock")).is_err());
        fs::create_dir_all(dir.path().join("out.lock/full")).unwrap();
        assert!(hold(&dir.path().join("out.lock")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        drop(hold(&path("free")).unwrap());
        symlink("free", path("link")).unwrap();
        symlink("/dev/zero", path("device link")).unwrap();
        symlink("loop", path("loop")).unwrap();
        fs::create_dir(path("directory")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["link", "device link", "loop", "directory", "fifo", "socket", "free/below", "missing"] {
            assert_eq!(look(&path(name)), Sight::Unknown, "{name}");
        }
        assert_eq!(look(Path::new("/dev/null")), Sight::Unknown);
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.lock");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(look(&path), Sight::Free);
    }

    #[test]
    fn a_filesystem_that_answers_with_an_error_tells_nothing() {
        for error in [libc::EINVAL, libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP, libc::EIO, libc::EINTR] {
            let refused = TryLockError::Error(io::Error::from_raw_os_error(error));
            assert_eq!(sight(Err(refused)), Sight::Unknown, "{error}");
        }
        assert_eq!(sight(Err(TryLockError::WouldBlock)), Sight::Held);
        assert_eq!(sight(Ok(())), Sight::Free);
    }
}
