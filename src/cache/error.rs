//! Why there is no cache, or no use of it. None of this is a failure of a lookup: it is a note, and the registry is asked.

use std::io;
use std::path::PathBuf;

use crate::image::DigestMismatch;

/// What is wrong with a cache or with one of its entries.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory, or one of its own directories, cannot be opened.
    #[error("opening {path:?}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else stands in the place of a directory: a link is not followed.
    #[error("{path:?} is {found}, and must be a directory")]
    NotADirectory {
        /// Which.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// It is not there and cannot be made.
    #[error("making {path:?}")]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An entry cannot be read.
    #[error("reading {path:?}")]
    Read {
        /// The entry.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else stands in the place of an entry. It is neither read nor waited for.
    #[error("{path:?} is {found}, and must be a regular file{}", gone(*.removed))]
    NotRegular {
        /// The entry.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
        /// Whether it has been removed.
        removed: bool,
    },
    /// An entry, or what is to become one, is larger than it may be. It is not read.
    #[error("{path:?} has {size} bytes, and must not have more than {limit}{}", gone(*.removed))]
    TooLarge {
        /// The entry.
        path: PathBuf,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
        /// Whether it has been removed.
        removed: bool,
    },
    /// An entry is not what its name says: a step has written there, or a machine has crashed.
    #[error("{path:?} is not what its name says{}", gone(*.removed))]
    Poisoned {
        /// The entry.
        path: PathBuf,
        /// Whether it has been removed.
        removed: bool,
        /// What it is and what it should be.
        source: DigestMismatch,
    },
    /// Somebody else has made this image layout: it is read, and not changed.
    #[error("{path:?} is an image layout that somebody else has made: it is only read")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Something cannot be written: the directory is only readable, or the disk full.
    #[error("writing {path:?}")]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why it cannot.
        source: io::Error,
    },
    /// There is no room, and none can be made.
    #[error("{path:?} is full, and what is there cannot be removed")]
    Full {
        /// The directory.
        path: PathBuf,
    },
    /// The file of a lock cannot be locked.
    #[error("locking {path:?}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn gone(removed: bool) -> &'static str {
    if removed { "; it has been removed" } else { "" }
}
