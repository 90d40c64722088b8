//! A call of the system that failed, in the words of Go's file functions: `open /a: permission denied`.

use std::io;
use std::path::{Path, PathBuf};

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
