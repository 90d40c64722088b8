//! Files of credentials: bounded reads of what is mounted, and writes, in the words of Go's `os`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::super::call::CallError;
use crate::sys::file;

/// The longest file that is read, in bytes: Kubernetes allows a whole secret no more.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>
const LIMIT: u64 = 1 << 20;

/// A file of a secret that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system says why.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Something else stands there.
    #[error("read {}: it is {what}, not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is longer than any secret.
    #[error("read {}: it is longer than {LIMIT} bytes, and Kubernetes allows no secret to be", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    /// Whether there is no such file.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Call(CallError { cause, .. }) if cause.kind() == ErrorKind::NotFound)
    }
}

/// Reads a file of a secret. Links are followed: a secret's volume consists of them.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    file::read(path, LIMIT).map_err(|error| match error {
        file::FileError::NotRegular { path, found } if !found.is_dir() => {
            FileError::NotAFile { path, what: file::in_words(found) }
        }
        file::FileError::TooLarge { path, .. } => FileError::TooLong { path },
        error @ (file::FileError::Open { .. } | file::FileError::NotRegular { .. } | file::FileError::Read { .. }) => {
            FileError::Call(error.into())
        }
    })
}

/// Makes this the whole content of a file. A new one can be read by its owner alone; an old one keeps its mode. Half a file is
/// worse than none: where not all of it can be written, there is none afterwards.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), CallError> {
    write_with(path, OpenOptions::new().write(true).create(true).truncate(true), content, None)
}

/// Adds this to a file, as above. Where not all of it can be, the file is as it was.
pub(super) fn append(path: &Path, content: &[u8]) -> Result<(), CallError> {
    let before = fs::metadata(path).ok().map(|found| found.len());
    write_with(path, OpenOptions::new().append(true).create(true), content, before)
}

fn write_with(path: &Path, options: &mut OpenOptions, content: &[u8], before: Option<u64>) -> Result<(), CallError> {
    let (mut file, _) = file::open(path, options.mode(0o600)).map_err(CallError::of("open", path))?;
    file.write_all(content).inspect_err(|_| file::take_back(path, &file, before)).map_err(CallError::of("write", path))
}
