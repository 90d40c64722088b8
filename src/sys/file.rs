//! Files at whose path somebody else may have put something odd: never waited for, read up to a limit, told what they are.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a file that is there could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened.
    #[error("opening {path:?}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What stands there is not a regular file.
    #[error("{path:?} is {found}, and must be a regular file")]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// Reading failed.
    #[error("reading {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than anything that could be reported.
    #[error("{path:?} has {size} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes of the file.
        size: u64,
    },
}

/// The whole content of a regular file of at most `limit` bytes, links followed; none if there is no file.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let Some(mut file) = open_regular(path)? else { return Ok(None) };
    let mut content = Vec::new();
    let size = file.by_ref().take(limit + 1).read_to_end(&mut content).and_then(|read| {
        // The size for the person who reads the error: what the file says of itself, or what was read of it.
        Ok(if content.len() as u64 > limit { Some(file.metadata()?.len().max(read as u64)) } else { None })
    });
    match size {
        Ok(None) => Ok(Some(content)),
        Ok(Some(size)) => Err(FileError::TooLarge { path: path.to_owned(), size }),
        Err(source) => Err(FileError::Read { path: path.to_owned(), source }),
    }
}

/// Whether a file could be read, however long it is. One that is not there could.
///
/// # Errors
/// [`FileError`].
pub fn probe(path: &Path) -> Result<(), FileError> {
    let Some(mut file) = open_regular(path)? else { return Ok(()) };
    // One byte, or none in an empty file.
    let read = file.by_ref().take(1).read_to_end(&mut Vec::new());
    read.map(drop).map_err(|source| FileError::Read { path: path.to_owned(), source })
}

fn open_regular(path: &Path) -> Result<Option<File>, FileError> {
    let (file, file_type) = match open(path, OpenOptions::new().read(true)) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError::Open { path: path.to_owned(), source }),
    };
    if !file_type.is_file() {
        return Err(FileError::NotRegular { path: path.to_owned(), found: in_words(file_type) });
    }
    Ok(Some(file))
}

/// Opens a file so that neither a FIFO nor a terminal can make us wait or become our controlling terminal. What it is
/// stands beside it.
///
/// # Errors
/// Those of the system for `open` and `stat`.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, FileType)> {
    let file = options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let file_type = file.metadata()?.file_type();
    Ok((file, file_type))
}

/// A file's type, in words.
#[must_use]
pub fn in_words(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "a device"
    } else {
        "a file"
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sys::cause::chain;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_not_a_byte_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path, 4).unwrap(), None);
        fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap().as_deref(), Some(&b"four"[..]));
        assert_eq!(read(&path, 3).unwrap_err().to_string(), format!("{path:?} has 4 bytes"));
        probe(&path).unwrap();
    }

    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_probed() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, found) in [(dir.path(), "a directory"), (&fifo, "a FIFO"), (Path::new("/dev/zero"), "a device")] {
            let expected = format!("{path:?} is {found}, and must be a regular file");
            assert_eq!(read(path, 9).unwrap_err().to_string(), expected);
            assert_eq!(probe(path).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_file_that_can_be_opened_and_not_read_is_named() {
        // The memory of a process at address 0: the kernel opens it and has nothing to read there.
        let path = Path::new("/proc/self/mem");
        for error in [read(path, 9).unwrap_err(), probe(path).unwrap_err()] {
            assert_eq!(chain(&error), "reading \"/proc/self/mem\": input/output error");
        }
    }
}
