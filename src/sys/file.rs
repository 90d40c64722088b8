//! Files at whose path somebody else may have put something odd: never waited for, read up to a limit, told what they are.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::filesystem;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened; mostly it is not there.
    #[error("opening {path:?}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What stands there is not a regular file.
    #[error("{path:?} is {}, and must be a regular file", in_words(*.found))]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: FileType,
    },
    /// Reading failed.
    #[error("reading {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than what is read.
    #[error("{path:?} has {size} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes of the file.
        size: u64,
    },
}

impl FileError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The whole content of a regular file of at most `limit` bytes, links followed.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    read_into(&mut content, path, limit)?;
    Ok(content)
}

/// The same, or none if there is no file.
///
/// # Errors
/// [`FileError`].
pub fn read_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    none_if_absent(read(path, limit))
}

/// The same, of a file that is to be told to others: one that tells of this process, its environment for example, is none.
///
/// # Errors
/// [`FileError`].
pub fn read_written_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let Some(file) = none_if_absent(open_regular(path))? else { return Ok(None) };
    if filesystem::is_kernels(&file) {
        let source =
            io::Error::new(io::ErrorKind::PermissionDenied, "it is in /proc, and not a file that somebody wrote");
        return Err(FileError::Open { path: path.to_owned(), source });
    }
    let mut content = Vec::new();
    read_whole(&mut content, file, path, limit)?;
    Ok(Some(content))
}

/// The same, appended to `content`. That has room for the whole file before the first byte is read, so that a secret is
/// not left behind in memory by a buffer that grew; after an error it holds what was read.
///
/// # Errors
/// [`FileError`].
pub fn read_into(content: &mut Vec<u8>, path: &Path, limit: u64) -> Result<(), FileError> {
    read_whole(content, open_regular(path)?, path, limit)
}

fn read_whole(content: &mut Vec<u8>, file: File, path: &Path, limit: u64) -> Result<(), FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let size = file.metadata().map_err(failed)?.len();
    content.reserve(usize::try_from(size.min(limit) + 1).unwrap_or_default());
    let read = file.take(limit + 1).read_to_end(content).map_err(failed)? as u64;
    if read > limit {
        // For the person who reads the error: what the file says of itself, or what was read of it.
        return Err(FileError::TooLarge { path: path.to_owned(), size: size.max(read) });
    }
    Ok(())
}

/// The first bytes, at most `limit`, of whatever stands there: of a FIFO that nobody writes to there are none.
///
/// # Errors
/// Those of the system for `open` and `read`.
pub fn head(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open(path, OpenOptions::new().read(true))?;
    let mut head = Vec::new();
    file.take(limit).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether a file could be read, however long it is. One that is not there could.
///
/// # Errors
/// [`FileError`].
pub fn probe(path: &Path) -> Result<(), FileError> {
    let Some(file) = none_if_absent(open_regular(path))? else { return Ok(()) };
    // One byte, or none in an empty file.
    let read = file.take(1).read_to_end(&mut Vec::new());
    read.map(drop).map_err(|source| FileError::Read { path: path.to_owned(), source })
}

fn none_if_absent<T>(found: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match found {
        Err(error) if error.is_absent() => Ok(None),
        found => found.map(Some),
    }
}

fn open_regular(path: &Path) -> Result<File, FileError> {
    let (file, file_type) = open(path, OpenOptions::new().read(true))
        .map_err(|source| FileError::Open { path: path.to_owned(), source })?;
    if file_type.is_file() { Ok(file) } else { Err(FileError::NotRegular { path: path.to_owned(), found: file_type }) }
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

/// Takes back what was written to a file that could not take all of it: it has the length again that it had before, or goes.
/// What is not a regular file stays as it is.
pub fn take_back(path: &Path, file: &File, before: Option<u64>) {
    let Ok(now) = file.metadata() else { return };
    if !now.is_file() {
        return;
    }
    // A link would go, and what it leads to stay.
    let is_it = |found: Metadata| (found.dev(), found.ino()) == (now.dev(), now.ino());
    let goes = before.is_none() && fs::symlink_metadata(path).is_ok_and(is_it) && fs::remove_file(path).is_ok();
    if !goes {
        // The failure that led here is told; that this is not possible either is not worth hiding it.
        let _ = file.set_len(before.unwrap_or(0));
    }
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
    } else if file_type.is_symlink() {
        "a symbolic link"
    } else {
        "a file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cause::chain;

    #[test]
    fn what_was_written_in_vain_is_taken_back_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old and half").unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        take_back(&path, &file, Some(3));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        take_back(&link, &file, None);
        assert_eq!((fs::read(&path).unwrap(), link.is_symlink()), (vec![], true));
        take_back(&path, &file, None);
        assert!(!path.exists());
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
        take_back(Path::new("/dev/null"), &null, None);
        assert!(Path::new("/dev/null").exists());
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_not_a_byte_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(read(&path, 4).unwrap_err().is_absent());
        assert_eq!(read_if_there(&path, 4).unwrap(), None);
        probe(&path).unwrap();
        fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read_if_there(&path, 4).unwrap().as_deref(), Some(&b"four"[..]));
        assert_eq!(head(&path, 3).unwrap(), b"fou");
        assert_eq!(read(&path, 3).unwrap_err().to_string(), format!("{path:?} has 4 bytes"));
        probe(&path).unwrap();
    }

    #[test]
    fn what_is_to_be_told_is_not_read_of_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link");
        assert_eq!(read_written_if_there(&path, 9).unwrap(), None);
        std::os::unix::fs::symlink("/proc/self/environ", &path).unwrap();
        let error = read_written_if_there(&path, 1 << 20).unwrap_err();
        assert_eq!(chain(&error), format!("opening {path:?}: it is in /proc, and not a file that somebody wrote"));
        assert!(!read(&path, 1 << 20).unwrap().is_empty());
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
        assert_eq!(head(&fifo, 9).unwrap(), b"");
    }

    #[test]
    fn a_secret_is_read_into_a_buffer_that_does_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, vec![b's'; 100_000]).unwrap();
        let mut content = Vec::new();
        content.reserve_exact(100_001);
        let place = content.as_ptr();
        read_into(&mut content, &path, 1 << 20).unwrap();
        assert_eq!((content.len(), content.as_ptr()), (100_000, place));
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
