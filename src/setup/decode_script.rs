//! `decode-script`: a script file that was written as base64 becomes the script, in place.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use super::base64::{self, Corrupt};
use super::call::CallError;
use crate::sys::file;

/// The longest file that is decoded, in bytes. A script comes with its pod, for which etcd has 1.5 MiB.
const LIMIT: u64 = 16 << 20;

/// A script that could not be decoded. The sentences are Tekton's, its repetition included.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read or does not hold base64; it is unchanged.
    #[error("error decoding script file {path:?}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: ContentError,
    },
    /// The decoded script cannot be written.
    #[error("error writing decoded script file {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Which call failed.
        #[source]
        cause: CallError,
    },
}

/// What is wrong with a script file before it is changed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It cannot be read.
    #[error("error reading from script file {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Which call failed.
        #[source]
        cause: CallError,
    },
    /// It does not hold base64.
    #[error("error decoding script file {path:?}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        cause: Corrupt,
    },
}

/// Replaces a file's base64 by what it means. Its inode and its mode stay; after a failure it is unchanged, so that it can be
/// tried again, unless the disk takes nothing at all any more.
pub(super) fn decode_script(path: &Path) -> Result<(), ScriptError> {
    let undecoded = |cause| ScriptError::Decode { path: path.into(), cause };
    let encoded = read(path).map_err(undecoded)?;
    let decoded = base64::decode(&encoded).map_err(|cause| ContentError::Corrupt { path: path.into(), cause });
    write(path, &decoded.map_err(undecoded)?, &encoded).map_err(|cause| ScriptError::Write { path: path.into(), cause })
}

fn read(path: &Path) -> Result<Vec<u8>, ContentError> {
    file::read(path, LIMIT).map_err(|error| ContentError::Read { path: path.into(), cause: error.into() })
}

/// Overwrites, then cuts: the script is never longer than its base64, so a full disk has room for it.
fn write(path: &Path, content: &[u8], before: &[u8]) -> Result<(), CallError> {
    let failed = |call| CallError::of(call, path);
    let (mut file, _) = file::open(path, OpenOptions::new().write(true)).map_err(failed("open"))?;
    let written = overwrite(&mut file, content);
    if written.is_err() {
        // Half a script and half its base64 must not be taken for either.
        let _ = overwrite(&mut file, before);
    }
    written.map_err(|(call, cause)| failed(call)(cause))
}

fn overwrite(file: &mut File, content: &[u8]) -> Result<(), (&'static str, io::Error)> {
    file.rewind().map_err(|cause| ("seek", cause))?;
    file.write_all(content).map_err(|cause| ("write", cause))?;
    // A u64 holds the length of anything in memory.
    file.set_len(content.len() as u64).map_err(|cause| ("truncate", cause))
}
