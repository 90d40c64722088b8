//! Noticing that something happened in a directory.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::statfs::statfs;

/// The process's one inotify instance: it watches at most one directory at a time. Instances are a small quota that
/// all root containers of a node share, so it is dropped as soon as the wait is over.
#[derive(Debug)]
pub struct DirectoryWatch {
    instance: Inotify,
    watched: Option<WatchDescriptor>,
}

/// What is watched for in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Names that come and go.
    Names,
    /// Also what the files there hold.
    Contents,
}

impl DirectoryWatch {
    /// Opens the instance.
    ///
    /// # Errors
    /// `EMFILE` when the user's quota is used up; `ENOSYS` where a sandbox has no inotify.
    pub fn open() -> io::Result<Self> {
        Ok(Self { instance: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?, watched: None })
    }

    /// Watches this directory, and none that was watched before.
    ///
    /// # Errors
    /// When the directory is not there (any more), cannot be read, or the quota of watches is used up.
    pub fn watch(&mut self, directory: &Path, news: News) -> io::Result<()> {
        let names = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let events = match news {
            News::Names => names,
            News::Contents => names | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE,
        };
        let watched = self.instance.add_watch(directory, events)?;
        if let Some(before) = self.watched.replace(watched)
            && before != watched
        {
            // Gone already when the directory was deleted.
            let _ = self.instance.rm_watch(before);
        }
        Ok(())
    }

    /// Forgets events that have come: that there were some is all that is asked of them. One read, and not until there
    /// are none: in a directory that somebody writes to all the time there would be no end of it.
    pub fn drain(&mut self) {
        let _ = self.instance.read_events();
    }
}

impl AsFd for DirectoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}

/// Whether changes made elsewhere reach inotify on this directory's filesystem. Network and host-shared filesystems
/// accept a watch and then report only what this kernel's own processes did.
#[must_use]
pub fn reports_every_change(directory: &Path) -> bool {
    /// Magic numbers of `linux/magic.h` and of the filesystems' own sources.
    const SILENT: [i64; 8] = [
        0x6969,      // nfs
        0x0102_1997, // 9p
        0x6573_5546, // fuse, virtiofs
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x00c3_6400, // ceph
        0x5346_414f, // afs
        0x0bd0_0bd0, // lustre
    ];
    #[allow(clippy::useless_conversion, reason = "the field's type differs between C libraries")]
    statfs(directory).is_ok_and(|fs| {
        let kind = i64::from(fs.filesystem_type().0) & 0xffff_ffff;
        !SILENT.contains(&kind)
    })
}
