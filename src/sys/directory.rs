//! Making a directory with those above it, so that an error names the one that cannot be made.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A directory that cannot be made, in Go's words.
#[derive(Debug, thiserror::Error)]
#[error("mkdir {}", path.display())]
pub struct DirectoryError {
    /// The directory, or what stands in its place.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Makes a directory and those above it that are missing, with this mode less the umask. What is there stays as it is.
///
/// # Errors
/// The first that cannot be made, as of Go's [`os.MkdirAll`](https://pkg.go.dev/os#MkdirAll).
pub fn make_all(path: &Path, mode: u32) -> Result<(), DirectoryError> {
    let refused = |directory: &Path, source| DirectoryError { path: directory.to_owned(), source };
    let mut missing = Vec::new();
    for directory in path.ancestors().take_while(|directory| !directory.as_os_str().is_empty()) {
        match fs::metadata(directory) {
            Ok(found) if found.is_dir() => break,
            Ok(_) => return Err(refused(directory, io::Error::from_raw_os_error(libc::ENOTDIR))),
            // Its upper part could be made, for nothing.
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => return Err(refused(directory, error)),
            Err(_) => missing.push(directory),
        }
    }
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(mode).create(directory) {
            // Somebody else made it in the meantime: another step, perhaps.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
            made => made.map_err(|error| refused(directory, error))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cause::chain;

    #[test]
    fn what_is_missing_is_made_and_what_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let below = |name: &str| dir.path().join(name);
        make_all(&below("a/b/c"), 0o700).unwrap();
        make_all(&below("a/b/c/"), 0o700).unwrap();
        assert!(below("a/b/c").is_dir());
        make_all(Path::new(""), 0o700).unwrap();
        fs::write(below("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", below("link")).unwrap();
        for (path, named, cause) in [
            ("file", "file", "not a directory"),
            ("file/a/b", "file", "not a directory"),
            ("link/a", "link", "file exists"),
        ] {
            let error = make_all(&below(path), 0o700).unwrap_err();
            assert_eq!(chain(&error), format!("mkdir {}: {cause}", below(named).display()));
        }
    }

    #[test]
    fn nothing_is_made_of_a_path_that_is_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let error = make_all(&dir.path().join("d/".repeat(1 << 20)), 0o700).unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::ENAMETOOLONG));
        assert!(!dir.path().join("d").exists());
    }
}
