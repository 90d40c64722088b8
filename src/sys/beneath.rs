//! A directory that is held open, and what is beneath it: reached by one name at a time, so that no link leads elsewhere and
//! nothing that stands there is waited for.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

/// A directory, wherever its path leads by now.
///
/// Every name is that of something in it: neither a path nor `.` or `..`; another is refused with `EINVAL`.
#[derive(Debug)]
pub struct Directory(OwnedFd);

/// The names in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// They, in no order, without `.` and `..`.
    pub listed: Vec<OsString>,
    /// Whether there are no more of them.
    pub complete: bool,
}

impl Directory {
    /// Opens a directory. Links are followed on the way there, and not at the end of it, with or without a slash.
    ///
    /// # Errors
    /// Those of the system for `open`: `ENOTDIR` if there is a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A slash behind its name would follow a link after all.
        let path = path.components().as_path();
        let opened = openat(AT_FDCWD, path, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty());
        opened.map(Self).map_err(io::Error::from)
    }

    /// Opens a directory to which a link may lead.
    ///
    /// # Errors
    /// Those of the system for `open`.
    pub fn follow(path: &Path) -> io::Result<Self> {
        openat(AT_FDCWD, path, DIRECTORY, Mode::empty()).map(Self).map_err(io::Error::from)
    }

    /// Opens a directory in this one.
    ///
    /// # Errors
    /// Those of the system for `openat`: `ENOTDIR` if there is a link.
    pub fn directory(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        self.opened(name.as_ref(), DIRECTORY | OFlag::O_NOFOLLOW, 0).map(Self)
    }

    /// Opens a file in it for reading. What it opens may be anything but a link or a socket: its metadata tell.
    ///
    /// # Errors
    /// Those of the system for `openat`: `ELOOP` if there is a link, `EWOULDBLOCK` if somebody has a lease on it.
    pub fn file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.opened(name.as_ref(), OFlag::O_RDONLY | OFlag::O_NOFOLLOW, 0).map(File::from)
    }

    /// Makes a file in it, where nothing was, and opens it for writing. It has this mode whatever the umask, if the
    /// filesystem can set modes.
    ///
    /// # Errors
    /// Those of the system for `openat`: `EEXIST` if there is anything of this name.
    pub fn create(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let file = self.opened(name.as_ref(), flags, mode)?;
        let _ = fchmod(&file, Mode::from_bits_truncate(mode));
        Ok(file.into())
    }

    /// Makes a directory in it, where nothing was, and opens it. It has this mode whatever the umask, if the filesystem
    /// can set modes.
    ///
    /// # Errors
    /// Those of the system for `mkdirat` and `openat`.
    pub fn make(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<Self> {
        let mode = Mode::from_bits_truncate(mode);
        mkdirat(&self.0, single(name.as_ref())?, mode)?;
        let made = self.directory(name)?;
        let _ = fchmod(&made.0, mode);
        Ok(made)
    }

    /// What the directory itself is.
    ///
    /// # Errors
    /// Those of the system for `stat`.
    pub fn metadata(&self) -> io::Result<Metadata> {
        File::from(self.0.try_clone()?).metadata()
    }

    /// What stands in it under a name, a link itself and not what it leads to. Nothing is opened by this.
    ///
    /// # Errors
    /// Those of the system for `openat` and `stat`.
    pub fn look(&self, name: impl AsRef<OsStr>) -> io::Result<Metadata> {
        File::from(self.opened(name.as_ref(), OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)?).metadata()
    }

    /// At most so many of the names in it.
    ///
    /// # Errors
    /// Those of the system for reading a directory.
    pub fn names(&self, most: usize) -> io::Result<Names> {
        // A descriptor of its own: the place up to which a directory has been read belongs to the open file.
        let mut directory = Dir::openat(&self.0, ".", DIRECTORY, Mode::empty())?;
        let mut names = Names { listed: Vec::new(), complete: true };
        for entry in directory.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if names.listed.len() == most {
                names.complete = false;
                break;
            }
            names.listed.push(OsStr::from_bytes(name).to_owned());
        }
        Ok(names)
    }

    /// Renames what is in it into a directory on the same filesystem. What had the name there is gone.
    ///
    /// # Errors
    /// Those of the system for `renameat`.
    pub fn rename(&self, name: impl AsRef<OsStr>, to: &Self, new: impl AsRef<OsStr>) -> io::Result<()> {
        renameat(&self.0, single(name.as_ref())?, &to.0, single(new.as_ref())?).map_err(io::Error::from)
    }

    /// Gives a file that is in it a second name there.
    ///
    /// # Errors
    /// Those of the system for `linkat`: `EEXIST` if there is anything of the second name.
    pub fn link(&self, name: impl AsRef<OsStr>, new: impl AsRef<OsStr>) -> io::Result<()> {
        let (name, new) = (single(name.as_ref())?, single(new.as_ref())?);
        linkat(&self.0, name, &self.0, new, AtFlags::empty()).map_err(io::Error::from)
    }

    /// Removes what is in it, unless that is a directory.
    ///
    /// # Errors
    /// Those of the system for `unlinkat`.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        unlinkat(&self.0, single(name.as_ref())?, UnlinkatFlags::NoRemoveDir).map_err(io::Error::from)
    }

    /// Removes an empty directory that is in it.
    ///
    /// # Errors
    /// Those of the system for `unlinkat`.
    pub fn remove_directory(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        unlinkat(&self.0, single(name.as_ref())?, UnlinkatFlags::RemoveDir).map_err(io::Error::from)
    }

    fn opened(&self, name: &OsStr, flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
        let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        openat(&self.0, single(name)?, flags, Mode::from_bits_truncate(mode)).map_err(io::Error::from)
    }
}

/// How directories are opened.
const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// A name that stays in the directory.
fn single(name: &OsStr) -> io::Result<&OsStr> {
    let path = matches!(name.as_bytes(), b"" | b"." | b"..") || name.as_bytes().contains(&b'/');
    if path { Err(io::Error::from_raw_os_error(libc::EINVAL)) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn code<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
        result.unwrap_err().raw_os_error().unwrap()
    }

    #[test]
    fn a_link_is_followed_on_the_way_to_a_directory_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let below = |name: &str| dir.path().join(name);
        fs::create_dir_all(below("real/inner")).unwrap();
        fs::write(below("real/file"), "content").unwrap();
        for (link, to) in [("link", "real"), ("real/link", "inner"), ("real/file link", "file")] {
            symlink(to, below(link)).unwrap();
        }
        Directory::open(&below("link/inner")).unwrap();
        Directory::follow(&below("link")).unwrap();
        for path in ["link", "link/", "link//", "link/.", "link/./"] {
            assert_eq!(code(Directory::open(&below(path))), libc::ENOTDIR, "{path}");
        }
        let real = Directory::open(&below("real/")).unwrap();
        real.directory("inner").unwrap();
        assert_eq!(code(real.directory("link")), libc::ENOTDIR);
        assert_eq!(code(real.file("file link")), libc::ELOOP);
        assert!(real.look("file link").unwrap().is_symlink());
        assert_eq!(code(real.create("file link", 0o600)), libc::EEXIST);
        let mut content = String::new();
        real.file("file").unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let inside = Directory::open(&dir.path().join("in")).unwrap();
        for name in ["", ".", "..", "/", "../file", "/etc/hosts", "a/b"] {
            for refused in [
                inside.directory(name).map(drop),
                inside.file(name).map(drop),
                inside.create(name, 0o600).map(drop),
                inside.make(name, 0o700).map(drop),
                inside.look(name).map(drop),
                inside.rename(name, &inside, "x"),
                inside.rename("x", &inside, name),
                inside.link(name, "x"),
                inside.link("x", name),
                inside.remove(name),
                inside.remove_directory(name),
            ] {
                assert_eq!(code(refused), libc::EINVAL, "{name:?}");
            }
        }
    }

    #[test]
    fn modes_are_those_that_are_asked_for_whatever_the_umask() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        directory.make("made", 0o1777).unwrap();
        directory.create("file", 0o666).unwrap().write_all(b"x").unwrap();
        let mode = |name| directory.look(name).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("made"), mode("file")), (0o1777, 0o666));
    }

    #[test]
    fn nothing_is_waited_for_that_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();
        fs::write(dir.path().join("leased"), "").unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        assert!(!directory.file("fifo").unwrap().metadata().unwrap().is_file());
        // The holder is told by a signal that it is to give the lease back, of which it would die.
        // SAFETY: no handler is installed, the signal is ignored from here on.
        let before = unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        assert_ne!(before, libc::SIG_ERR);
        let holder = directory.file("leased").unwrap();
        // SAFETY: two numbers, and the descriptor is open.
        let leased = unsafe { libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
        assert_eq!(leased, 0, "{}", io::Error::last_os_error());
        // Otherwise this would wait until the kernel takes the lease away, for 45 seconds.
        assert_eq!(code(directory.file("leased")), libc::EWOULDBLOCK);
    }

    #[test]
    fn names_are_listed_up_to_a_limit_each_time_from_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let directory = Directory::open(dir.path()).unwrap();
        for _ in 0..2 {
            let mut names = directory.names(3).unwrap();
            names.listed.sort();
            assert_eq!(names, Names { listed: ["a", "b", "c"].map(OsString::from).to_vec(), complete: true });
            let some = directory.names(2).unwrap();
            assert_eq!((some.listed.len(), some.complete), (2, false));
        }
    }

    #[test]
    fn what_is_renamed_replaces_and_what_is_removed_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let inner = directory.make("inner", 0o700).unwrap();
        for (place, name) in [(&directory, "new"), (&inner, "old")] {
            place.create(name, 0o600).unwrap().write_all(name.as_bytes()).unwrap();
        }
        directory.link("new", "second").unwrap();
        assert_eq!(code(directory.link("new", "second")), libc::EEXIST);
        directory.remove("second").unwrap();
        directory.rename("new", &inner, "old").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("inner/old")).unwrap(), "new");
        assert_eq!(code(directory.remove_directory("inner")), libc::ENOTEMPTY);
        assert_eq!(code(directory.remove("inner")), libc::EISDIR);
        inner.remove("old").unwrap();
        directory.remove_directory("inner").unwrap();
        assert_eq!(directory.names(9).unwrap().listed, Vec::<OsString>::new());
    }
}
