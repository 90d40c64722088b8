//! Noticing that something happened in a directory.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

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
    /// Names that come, and files that whoever wrote to them closes, be it by dying.
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
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let events = match news {
            News::Names => names,
            News::Contents => names | AddWatchFlags::IN_MODIFY,
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

    /// Forgets events that have come, and says whether one of them may mean that a writer has closed the file of this
    /// name. One read, and not until there are none: in a directory that somebody writes to all the time there would be
    /// no end of it.
    pub fn drain(&mut self, name: &OsStr) -> bool {
        let Ok(events) = self.instance.read_events() else { return false };
        events.iter().any(|event| {
            let closed = event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE) && event.name.as_deref() == Some(name);
            closed || event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
        })
    }
}

impl AsFd for DirectoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}
