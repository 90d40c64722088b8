//! A file that is locked as long as its owner lives: the kernel takes the lock back however the owner ends.
//!
//! The lock is `flock`'s: it belongs to the open file, so it ends with the last descriptor of it, and it can be asked for
//! through a descriptor that is open for reading only.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// How often a directory is tried that somebody else looks at just now, and the pause before the next try.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// Locks a directory, for which nothing need be written: where no file can be made, that is all that is left.
///
/// # Errors
/// When there is no such directory, somebody else has locked it, or the filesystem has no locks.
pub fn hold_directory(path: &Path) -> io::Result<Lock> {
    let directory = open_directory(path)?;
    let mut tried = directory.try_lock();
    for _ in 1..TRIES {
        if !matches!(tried, Err(TryLockError::WouldBlock)) {
            break;
        }
        // Whoever looks has it for a moment.
        std::thread::sleep(PAUSE);
        tried = directory.try_lock();
    }
    tried?;
    Ok(Lock(directory))
}

/// Looks whether somebody holds the lock of this directory.
#[must_use]
pub fn look_at_directory(path: &Path) -> Sight {
    open_directory(path).map_or(Sight::Unknown, |directory| own_sight(&directory))
}

fn open_directory(path: &Path) -> io::Result<File> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)
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
    fn a_directory_is_locked_without_a_write_and_seen_to_be() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look_at_directory(dir.path()), Sight::Free);
        let lock = hold_directory(dir.path()).unwrap();
        assert_eq!([look_at_directory(dir.path()), look_at_directory(dir.path())], [Sight::Held, Sight::Held]);
        assert!(hold_directory(dir.path()).is_err(), "somebody has it");
        drop(lock);
        assert_eq!(look_at_directory(dir.path()), Sight::Free);
        fs::write(dir.path().join("file"), "").unwrap();
        for other in ["file", "missing"] {
            assert_eq!(look_at_directory(&dir.path().join(other)), Sight::Unknown);
            assert!(hold_directory(&dir.path().join(other)).is_err());
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
