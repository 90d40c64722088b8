//! Files of credentials that belong to somebody else: read without waiting, and not without end.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use thiserror::Error;
use zeroize::Zeroizing;

use super::document::LIMIT;
use crate::secret::Secret;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("absent")]
    Absent,
    #[error("absent: its directory is not a directory")]
    NoDirectory,
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("not read: it is not a regular file")]
    NotAFile,
    #[error("not read: it is larger than {LIMIT} bytes")]
    TooLarge,
    #[error("it is not UTF-8")]
    NotUtf8,
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            Self::Absent
        } else if kind == io::ErrorKind::NotADirectory {
            Self::NoDirectory
        } else {
            Self::Unreadable(error)
        }
    }
}

/// Reads a file of at most [`LIMIT`] bytes.
pub(super) fn read(path: &Path) -> Result<Secret, FileError> {
    // The file belongs to somebody else: opening a FIFO must not wait for a writer, nor a terminal become ours.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile);
    }
    // Roomy from the start: a vector that grows leaves copies behind that nobody wipes.
    let room = usize::try_from(metadata.len().min(LIMIT) + 1).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LIMIT) {
        return Err(FileError::TooLarge);
    }
    std::str::from_utf8(&bytes).map(|text| Secret::new(text.to_owned())).map_err(|_| FileError::NotUtf8)
}
