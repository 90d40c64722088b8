//! Replacing a file by a whole new one, whatever somebody else has put at its name: nothing of that is opened or followed.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// How many names for the new file are tried: others were left behind by processes that were killed.
const NAMES: u32 = 16;

/// Who may write to the new file, less the umask. Everybody may read it, less the umask too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Its owner: 0644.
    Owner,
    /// Everybody: 0666. Where it replaces a file, whoever may write to that one: it is as if that had been written.
    All,
}

/// Writes a file of this name into a directory. It appears complete or not at all, and takes the place of a file, link, FIFO
/// or socket. `directory` may be a link; `name` is one name without slashes.
///
/// # Errors
/// Those of the system: there is no such directory, it may not be written or is full, or a directory has the name.
pub fn replace(directory: &Path, name: &OsStr, content: &[u8], writers: Writers) -> io::Result<()> {
    // Everything goes through the one directory, also when its name leads elsewhere meanwhile.
    // It need not be readable for that.
    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_PATH).open(directory)?;
    let (mut file, new) = create(&directory, name, writers)?;
    if writers == Writers::All
        && let Ok(found) = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        && SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
    {
        // Without it the file is a new one like any other.
        let _ = fchmod(&file, Mode::from_bits_truncate(found.st_mode & 0o777));
    }
    let placed = file.write_all(content).and_then(|()| Ok(renameat(&directory, new.as_str(), &directory, name)?));
    placed.inspect_err(|_| {
        let _ = unlinkat(&directory, new.as_str(), UnlinkatFlags::NoRemoveDir);
    })
}

/// Makes a new file beside the one that it will replace.
fn create(directory: &File, name: &OsStr, writers: Writers) -> io::Result<(File, String)> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(match writers {
        Writers::Owner => 0o644,
        Writers::All => 0o666,
    });
    let mut refused = Errno::EEXIST;
    for n in 0..NAMES {
        // No number of a process: in every container the first has the same.
        let new = format!(".{}.{n}.new", name.to_string_lossy());
        match openat(directory, new.as_str(), flags, mode) {
            Ok(file) => return Ok((File::from(file), new)),
            Err(Errno::EEXIST) => {}
            Err(other) => {
                refused = other;
                break;
            }
        }
    }
    Err(refused.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const NAME: &str = "image.json";

    fn put(directory: &Path, content: &str) -> io::Result<()> {
        replace(directory, OsStr::new(NAME), content.as_bytes(), Writers::Owner)
    }

    /// The names in a directory.
    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn whatever_has_the_name_is_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (dir.path().join("own"), dir.path().join("other"));
        fs::create_dir(&own).unwrap();
        fs::write(&other, "others").unwrap();
        let path = own.join(NAME);
        let prepare: [&dyn Fn(); 6] = [
            &|| {},
            &|| fs::write(&path, "a longer content than the new one").unwrap(),
            &|| symlink(&other, &path).unwrap(),
            &|| symlink("nowhere", &path).unwrap(),
            &|| nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap(),
            &|| fs::hard_link(&other, &path).unwrap(),
        ];
        for prepare in prepare {
            let _ = fs::remove_file(&path);
            prepare();
            put(&own, "new").unwrap();
            assert!(fs::symlink_metadata(&path).unwrap().is_file());
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
            assert_eq!(fs::read_to_string(&other).unwrap(), "others");
            assert_eq!(names(&own), [NAME]);
        }
        // The directory itself may be named by a link, as a step's is.
        symlink(&own, dir.path().join("link")).unwrap();
        put(&dir.path().join("link"), "newer").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
    }

    #[test]
    fn what_everybody_may_write_to_keeps_the_mode_that_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        for (writers, expected) in [(Writers::All, 0o600), (Writers::Owner, 0o644)] {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o4600)).unwrap();
            replace(dir.path(), OsStr::new(NAME), b"new", writers).unwrap();
            assert_eq!(mode(), expected, "{writers:?}");
        }
    }

    #[test]
    fn a_directory_that_may_be_written_and_not_read_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o733)).unwrap();
        // SAFETY: numbers only. It holds for this thread alone, and root's rights over files go with it.
        let own = unsafe { libc::setfsuid(4711) };
        if own != 0 {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o300)).unwrap();
        }
        put(dir.path(), "new").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap(), "new");
        // SAFETY: as above.
        unsafe { libc::setfsuid(own.cast_unsigned()) };
    }

    #[test]
    fn what_is_left_beside_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let left = |n: u32| dir.path().join(format!(".{NAME}.{n}.new"));
        symlink("/nonexistent/x", left(0)).unwrap();
        fs::write(left(1), "half").unwrap();
        put(dir.path(), "new").unwrap();
        assert_eq!(fs::read_to_string(left(1)).unwrap(), "half");
        assert_eq!(names(dir.path()).len(), 3);
        for n in 2..NAMES {
            fs::write(left(n), "").unwrap();
        }
        let error = put(dir.path(), "newer").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap(), "new");
    }

    #[test]
    fn what_cannot_be_replaced_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("in/image.json")).unwrap();
        assert_eq!(put(&dir.path().join("in"), "x").unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(names(&dir.path().join("in")), [NAME]);
        assert_eq!(put(&dir.path().join("no"), "x").unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(put(&dir.path().join("file"), "x").unwrap_err().kind(), io::ErrorKind::NotADirectory);
        nix::unistd::mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();
        assert_eq!(put(&dir.path().join("fifo"), "x").unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
