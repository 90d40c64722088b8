//! The file that tells the next step of the pod how this one ended: its post file.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::outcome::PostFile;
use crate::sys::lock;

/// A file that could not be created. The text begins as Tekton's does.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// A directory above it could not be made.
    #[error("Creating {path:?}: making the directory {dir:?}")]
    Directory {
        /// The file.
        path: PathBuf,
        /// The directory it was to stand in.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file itself could not be made.
    #[error("Creating {path:?}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there and its content could not be written.
    #[error("Creating {path:?}: writing its content")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where the post file of this kind stands: `.err` is appended to the whole name.
#[must_use]
pub(super) fn path(post_file: &Path, kind: PostFile) -> PathBuf {
    let mut name = OsString::from(post_file);
    match kind {
        PostFile::Success => {}
        PostFile::Err => name.push(".err"),
    }
    name.into()
}

/// Creates an empty file and the directories above it. An existing one is emptied.
///
/// Modes are 0666 and 0777 less the umask, as with Tekton (`cmd/entrypoint/post_writer.go`). What the step put there to have
/// us write elsewhere, or to wait, is replaced: a link, a second name of a file, a FIFO, a socket.
///
/// # Errors
/// [`PostError`] when the file does not stand there afterwards.
fn create(path: &Path) -> Result<(), PostError> {
    let subject = || path.to_owned();
    let opened = match (emptied(path), path.parent()) {
        // Only now: a disk that fails may refuse to make what is there.
        (Err(error), Some(dir)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            fs::create_dir_all(dir).map_err(|source| PostError::Directory {
                path: subject(),
                dir: dir.to_owned(),
                source,
            })?;
            emptied(path)
        }
        (opened, _) => opened,
    };
    opened.map_err(|source| PostError::Create { path: subject(), source })
}

/// Creates the post file of this kind. Where nothing new can be made, because the disk is full, the lock that was made
/// beside it when the step began becomes the post file: as empty as one, and with a place on the disk already.
///
/// # Errors
/// [`PostError`] when neither is possible.
pub(super) fn release(post_file: &Path, kind: PostFile) -> Result<PathBuf, PostError> {
    let path = path(post_file, kind);
    create(&path).or_else(|error| {
        let full = matches!(error.cause().kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if full && fs::rename(lock::of(post_file), &path).is_ok() { Ok(()) } else { Err(error) }
    })?;
    Ok(path)
}

impl PostError {
    fn cause(&self) -> &io::Error {
        match self {
            Self::Directory { source, .. } | Self::Create { source, .. } | Self::Write { source, .. } => source,
        }
    }
}

/// An empty file of this name, the device, or one of our streams.
fn emptied(path: &Path) -> io::Result<()> {
    own(path).or_else(|error| match error.raw_os_error() {
        // `/dev/stdout`, for example, which the whole container would miss.
        Some(libc::ELOOP) if is_stream(path) => Ok(()),
        // Another link; a FIFO that nobody reads, or a socket.
        Some(libc::ELOOP | libc::ENXIO) => replaced(path),
        _ => Err(error),
    })
}

/// Whether a link is the kernel's own for one of the three streams that every process has, or leads to that: it is there for
/// whoever looks, whatever stands behind it.
fn is_stream(path: &Path) -> bool {
    let is_kernels =
        |link: &Path| ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"].map(Path::new).contains(&link);
    is_kernels(path) || fs::read_link(path).is_ok_and(|text| is_kernels(&text))
}

/// The file of this very name, empty, or the device.
fn own(path: &Path) -> io::Result<()> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if found.file_type().is_char_device() {
        return Ok(());
    }
    if !found.is_file() || found.nlink() > 1 {
        return replaced(path);
    }
    // A new one is as it should be: a failure at it would be told beside the success that it stands for.
    if found.len() > 0 { file.set_len(0) } else { Ok(()) }
}

/// A new file in the place of what has the name.
fn replaced(path: &Path) -> io::Result<()> {
    // Whoever looks for it in between finds nothing there, as before it was written.
    fs::remove_file(path)?;
    OpenOptions::new().write(true).create_new(true).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_post_file_is_empty_and_its_directories_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run/0/out");
        create(&path(&file, PostFile::Success)).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"");

        fs::write(&file, "something old").unwrap();
        create(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"");
    }

    #[test]
    fn the_file_of_a_failure_has_err_behind_its_whole_name() {
        for (given, expected) in [("/run/0/out", "/run/0/out.err"), ("out.txt", "out.txt.err"), ("d/", "d/.err")] {
            assert_eq!(path(Path::new(given), PostFile::Err), Path::new(expected));
            assert_eq!(path(Path::new(given), PostFile::Success), Path::new(given));
        }
    }

    #[test]
    fn a_file_in_the_way_of_a_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("run"), "").unwrap();
        let file = dir.path().join("run/0/out");
        let error = create(&file).unwrap_err();
        let parent = dir.path().join("run/0");
        assert_eq!(error.to_string(), format!("Creating {file:?}: making the directory {parent:?}"));
        assert!(error.source().unwrap().to_string().starts_with("Not a directory"), "{error:?}");
    }

    #[test]
    fn a_directory_in_the_way_of_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = create(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("Creating {:?}", dir.path()));
        assert!(error.source().unwrap().to_string().starts_with("Is a directory"), "{error:?}");
    }

    #[test]
    fn what_would_lead_elsewhere_or_make_us_wait_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        let elsewhere = dir.path().join("elsewhere");
        let is_nothing = dir.path().join("nothing");
        let plant: [&dyn Fn(); 5] = [
            &|| symlink(&elsewhere, &file).unwrap(),
            &|| symlink(&is_nothing, &file).unwrap(),
            &|| fs::hard_link(&elsewhere, &file).unwrap(),
            &|| nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            &|| drop(UnixListener::bind(&file).unwrap()),
        ];
        fs::write(&elsewhere, "as it was").unwrap();
        for plant in plant {
            plant();
            create(&file).unwrap();
            assert!(file.symlink_metadata().unwrap().is_file());
            assert_eq!((fs::read(&file).unwrap(), fs::read(&elsewhere).unwrap()), (vec![], b"as it was".into()));
            fs::remove_file(&file).unwrap();
        }
        assert!(!is_nothing.exists());
        // A reader makes it possible to open a FIFO.
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&file).unwrap();
        create(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"");
        drop(reader);
    }

    #[test]
    fn our_own_streams_are_there_and_are_left_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        // As `/dev/stdout` is one, which would be missed.
        let link = dir.path().join("stdout");
        symlink("/proc/self/fd/1", &link).unwrap();
        for stream in [&link, Path::new("/proc/self/fd/1")] {
            create(stream).unwrap();
            assert!(stream.is_symlink());
        }
        // Not one of the three, which every process has.
        symlink("/proc/self/fd/1000", dir.path().join("other")).unwrap();
        create(&dir.path().join("other")).unwrap();
        assert!(!dir.path().join("other").is_symlink());
    }
}
