//! Files of credentials that belong to somebody else: read without waiting, and not without end.

use std::io;
use std::path::Path;

use thiserror::Error;
use zeroize::Zeroizing;

use super::document::LIMIT;
use crate::secret::Secret;
use crate::sys::file;

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

impl From<file::FileError> for FileError {
    fn from(error: file::FileError) -> Self {
        let absent = error.is_absent();
        match error {
            file::FileError::Open { .. } if absent => Self::Absent,
            file::FileError::Open { source, .. } if source.kind() == io::ErrorKind::NotADirectory => Self::NoDirectory,
            file::FileError::Open { source, .. } | file::FileError::Read { source, .. } => Self::Unreadable(source),
            file::FileError::NotRegular { .. } => Self::NotAFile,
            file::FileError::TooLarge { .. } => Self::TooLarge,
        }
    }
}

/// Reads a file of at most [`LIMIT`] bytes.
pub(super) fn read(path: &Path) -> Result<Secret, FileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    file::read_into(&mut bytes, path, LIMIT)?;
    std::str::from_utf8(&bytes).map(|text| Secret::new(text.to_owned())).map_err(|_| FileError::NotUtf8)
}
