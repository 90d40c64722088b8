//! `cp`: a copy of a program that everybody may execute and nobody but its owner may change.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The mode of the copy before the umask: Tekton's. It needs no bit for reading, since it is only executed.
const MODE: u32 = 0o311;

/// How many names for a new file are tried in a directory, before it is taken for one that nobody cleans.
const NAMES: u32 = 1_000;

/// A program that could not be placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The source cannot be opened for reading.
    #[error("open {}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The destination is the empty text.
    #[error("the destination of {} is empty", source_path.display())]
    NoDestination {
        /// The source.
        source_path: PathBuf,
    },
    /// The destination is a directory.
    #[error("{} is a directory: the destination must be the name of the copy", path.display())]
    Directory {
        /// The destination.
        path: PathBuf,
    },
    /// The destination is a device, a pipe or a socket.
    #[error("{} is not a regular file, so it is not replaced", path.display())]
    NotAFile {
        /// The destination.
        path: PathBuf,
    },
    /// No file can be created beside the destination.
    #[error("create a file in {}, where {} shall be", directory.display(), destination.display())]
    Create {
        /// The directory.
        directory: PathBuf,
        /// The destination.
        destination: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Too many unfinished copies lie beside the destination.
    #[error("{} holds too many unfinished copies (.entrypoint-*): remove them", directory.display())]
    NoFreeName {
        /// The directory.
        directory: PathBuf,
    },
    /// The content could not be read or written.
    #[error("copy {} to {}", source_path.display(), destination.display())]
    Copy {
        /// The source.
        source_path: PathBuf,
        /// The destination.
        destination: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The finished copy could not take the destination's name.
    #[error("rename the copy of {} to {}", source_path.display(), destination.display())]
    Rename {
        /// The source.
        source_path: PathBuf,
        /// The destination.
        destination: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// Copies a program. The copy appears under its name only when it is complete, so one that is being executed may be
/// replaced, and after a failure the name is what it was. A symbolic link of that name is replaced, not followed.
pub(super) fn place(source: &Path, destination: &Path) -> Result<(), PlaceError> {
    let mut program = File::open(source).map_err(|error| PlaceError::Source { path: source.into(), cause: error })?;
    if destination.as_os_str().is_empty() {
        return Err(PlaceError::NoDestination { source_path: source.into() });
    }
    check(destination)?;
    let (mut file, sibling) = Sibling::create(destination)?;
    let failed = |error: io::Error| PlaceError::Copy {
        source_path: source.into(),
        destination: destination.into(),
        cause: error,
    };
    io::copy(&mut program, &mut file).map_err(failed)?;
    // A file that is open for writing cannot be executed.
    drop(file);
    sibling.rename(destination).map_err(|error| PlaceError::Rename {
        source_path: source.into(),
        destination: destination.into(),
        cause: error,
    })
}

/// Refuses what must not be replaced. What cannot be looked at is left to the calls that follow, and their errors.
fn check(destination: &Path) -> Result<(), PlaceError> {
    match fs::metadata(destination) {
        Ok(found) if found.is_dir() => Err(PlaceError::Directory { path: destination.into() }),
        Ok(found) if !found.is_file() => Err(PlaceError::NotAFile { path: destination.into() }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A new file in the destination's directory, which is removed unless it takes the destination's name.
struct Sibling {
    path: PathBuf,
    renamed: bool,
}

impl Sibling {
    fn create(destination: &Path) -> Result<(File, Self), PlaceError> {
        let directory = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        // An own name by pid is not enough: every container's first process has the same one.
        let names = (0..NAMES).map(|n| directory.join(format!(".entrypoint-{}-{n}", std::process::id())));
        for path in names {
            match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path) {
                Ok(file) => return Ok((file, Self { path, renamed: false })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(PlaceError::Create {
                        directory: directory.into(),
                        destination: destination.into(),
                        cause: error,
                    });
                }
            }
        }
        Err(PlaceError::NoFreeName { directory: directory.into() })
    }

    fn rename(mut self, destination: &Path) -> io::Result<()> {
        fs::rename(&self.path, destination)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Sibling {
    fn drop(&mut self) {
        if !self.renamed {
            // What led here is reported; that a file stays behind besides is not worth hiding it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_copy_left_behind_does_not_stop_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let left = path(&format!(".entrypoint-{}-0", std::process::id()));
        fs::write(&left, "half").unwrap();
        fs::write(path("source"), "program").unwrap();
        place(&path("source"), &path("destination")).unwrap();
        assert_eq!(fs::metadata(path("destination")).unwrap().len(), 7);
        assert_eq!(fs::read(&left).unwrap(), b"half");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_directory_full_of_unfinished_copies_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for n in 0..NAMES {
            fs::write(directory.path().join(format!(".entrypoint-{}-{n}", std::process::id())), "").unwrap();
        }
        let source = directory.path().join("source");
        fs::write(&source, "program").unwrap();
        let error = place(&source, &directory.path().join("destination")).unwrap_err();
        let expected =
            format!("{} holds too many unfinished copies (.entrypoint-*): remove them", directory.path().display());
        assert_eq!(error.to_string(), expected);
    }
}
