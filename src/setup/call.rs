//! A call of the system that failed, in the words of Go's file functions: `open /a: permission denied`.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::directory::DirectoryError;
use crate::sys::file::FileError;

/// A call that failed on a file or a directory.
#[derive(Debug, thiserror::Error)]
#[error("{call} {}", path.display())]
pub struct CallError {
    /// The call's name.
    pub call: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

impl CallError {
    /// For `map_err`: what the system said becomes the failure of this call on this file.
    pub(super) fn of(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self { call, path: path.into(), cause }
    }
}

impl From<DirectoryError> for CallError {
    fn from(DirectoryError { path, source }: DirectoryError) -> Self {
        Self { call: "mkdir", path, cause: source }
    }
}

/// What cannot be read as a file is told by the number that the system has for it.
impl From<FileError> for CallError {
    fn from(error: FileError) -> Self {
        let number = io::Error::from_raw_os_error;
        let (call, path, cause) = match error {
            FileError::Open { path, source } => ("open", path, source),
            FileError::Read { path, source } => ("read", path, source),
            FileError::NotRegular { path, found } if found.is_dir() => ("read", path, number(libc::EISDIR)),
            FileError::NotRegular { path, .. } => ("read", path, number(libc::EINVAL)),
            FileError::TooLarge { path, .. } => ("read", path, number(libc::EFBIG)),
        };
        Self { call, path, cause }
    }
}
