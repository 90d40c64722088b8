//! The file that gets a copy of what a step prints: opened so that nobody is waited for, appended to as long as it takes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::sys::cause::Cause;
use crate::sys::directory::{self, DirectoryError};
use crate::sys::strangers;

/// A file that cannot be opened. The texts begin as Tekton's do (`cmd/entrypoint/runner.go:newStdLogWriter`).
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A directory above it cannot be made.
    #[error("error creating parent directory")]
    Directory(#[from] DirectoryError),
    /// The file itself cannot be opened.
    #[error("error opening {path}: open {path}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What stands there would have to be waited for.
    #[error("error opening {path}: it is a pipe or a socket, which only takes what somebody reads: name a file", path = .path.display())]
    Waits {
        /// The path.
        path: PathBuf,
    },
    /// There is no pipe to be had, or our own stream cannot be looked at.
    #[error("error copying the step's {stream}")]
    Pipe {
        /// The stream.
        stream: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct CopyFile {
    path: PathBuf,
    file: File,
    /// Why a byte could not be written. Nothing is written after that: a file with a gap would be worse than a short one.
    failure: Option<io::Error>,
    /// How many bytes are not there.
    missing: u64,
}

impl CopyFile {
    /// Opens the file at its end, and makes it and the directories above it where they are missing: 0644 and 0777 less
    /// the umask, as with Tekton.
    pub(super) fn open(path: &Path) -> Result<Self, OutputError> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            directory::make_all(parent, 0o777)?;
        }
        let refused = |source: io::Error| match source.raw_os_error() {
            // A FIFO that nobody reads.
            Some(libc::ENXIO) => OutputError::Waits { path: path.to_owned() },
            _ => OutputError::Open { path: path.to_owned(), source },
        };
        let (file, file_type) =
            strangers::open(path, OpenOptions::new().append(true).create(true).mode(0o644)).map_err(refused)?;
        if file_type.is_fifo() || file_type.is_socket() {
            return Err(OutputError::Waits { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), file, failure: None, missing: 0 })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends the bytes, or counts them as missing.
    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        while self.failure.is_none() && !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => self.failure = Some(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.failure = Some(error),
            }
        }
        self.missing += bytes.len() as u64;
    }

    /// What is wrong with the copy, if anything is.
    pub(super) fn fault(&self, stream: &str) -> Option<String> {
        let failure = self.failure.as_ref()?;
        Some(format!(
            "write {}: {}: the last {} bytes of the step's {stream} are missing there (-{stream}_path must name a file on a \
             volume with room for all that the step prints)",
            self.path.display(),
            Cause(failure),
            self.missing
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::sys::cause::chain;

    #[test]
    fn a_file_is_appended_to_and_made_with_its_directories() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/log");
        CopyFile::open(&path).unwrap().append(b"one ");
        CopyFile::open(&path).unwrap().append(b"two");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o133, 0, "0644 less the umask");
    }

    #[test]
    fn what_cannot_be_opened_is_told_in_tektons_words() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        let refused = |path: PathBuf| chain(&CopyFile::open(&path).unwrap_err());
        let base = dir.path().display();
        assert_eq!(
            refused(at("file/a/log")),
            format!("error creating parent directory: mkdir {base}/file: not a directory")
        );
        assert_eq!(
            refused("/proc/none/log".into()),
            "error creating parent directory: mkdir /proc/none: no such file or directory"
        );
        assert_eq!(refused(base.to_string().into()), format!("error opening {base}: open {base}: is a directory"));
    }

    #[test]
    fn what_would_be_waited_for_is_refused_with_and_without_a_reader() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(CopyFile::open(&fifo), Err(OutputError::Waits { .. })));
        let _reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
        assert!(matches!(CopyFile::open(&fifo), Err(OutputError::Waits { .. })));
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(matches!(CopyFile::open(&socket), Err(OutputError::Waits { .. })));
    }

    #[test]
    fn after_a_failure_nothing_is_written_and_everything_is_counted() {
        let mut full = CopyFile::open(Path::new("/dev/full")).unwrap();
        assert_eq!(full.fault("stdout"), None);
        full.append(b"12345");
        full.append(b"678");
        let fault = full.fault("stdout").unwrap();
        for part in ["write /dev/full: no space left on device: ", "last 8 bytes", "-stdout_path"] {
            assert!(fault.contains(part), "{fault}");
        }
    }
}
