//! The sign by which later steps see that this one's process lives: a locked file beside its post file.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::lock::{self, Lock};

/// The lock of a post file.
#[must_use]
pub fn lock_of(post_file: &Path) -> PathBuf {
    with(post_file, ".lock")
}

/// A name with something appended to it as a whole.
pub(super) fn with(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}

/// The announcement that this process lives and will leave a post file. It holds until it is dropped, or the process has
/// ended in whatever way. Dropping it takes the file away, provided that there is a post file by then: otherwise it stays
/// and says, unlocked, that there will be none.
#[derive(Debug)]
#[must_use = "the step counts as dead once it is dropped"]
pub struct Alive {
    post_file: PathBuf,
    _lock: Lock,
}

impl Alive {
    /// Announces the process beside its post file, in a directory that is made as for the post file itself.
    ///
    /// # Errors
    /// When there is no file to be made or locked. The step is none the worse for it: those who wait for it do so as they
    /// wait for Tekton's own entrypoint.
    pub fn announce(post_file: &Path) -> io::Result<Self> {
        if let Some(directory) = post_file.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(Self { post_file: post_file.to_owned(), _lock: lock::hold(&lock_of(post_file))? })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        withdraw(&self.post_file);
    }
}

/// Takes the announcement away, if a post file says what it would say. For an end on which nothing is dropped.
pub fn withdraw(post_file: &Path) {
    // As the waiting steps look for them.
    if post_file.metadata().is_ok() || with(post_file, ".err").metadata().is_ok() {
        // Only the directory's tidiness depends on it.
        let _ = fs::remove_file(lock_of(post_file));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::lock::{Sight, look};

    #[test]
    fn the_announcement_makes_its_directory_and_is_a_lock_that_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let post_file = dir.path().join("run/0/out");
        let _alive = Alive::announce(&post_file).unwrap();
        assert_eq!(look(&dir.path().join("run/0/out.lock")), Sight::Held);
    }

    #[test]
    fn the_file_goes_with_its_owner_only_when_there_is_a_post_file() {
        for (left, stays) in [(None, true), (Some("out"), false), (Some("out.err"), false), (Some("out.other"), true)] {
            let dir = tempfile::tempdir().unwrap();
            let post_file = dir.path().join("out");
            let alive = Alive::announce(&post_file).unwrap();
            if let Some(left) = left {
                fs::write(dir.path().join(left), "").unwrap();
            }
            drop(alive);
            assert_eq!(lock_of(&post_file).exists(), stays, "{left:?}");
            assert_eq!(look(&lock_of(&post_file)), if stays { Sight::Free } else { Sight::Unknown }, "{left:?}");
        }
    }

    #[test]
    fn nothing_is_announced_where_nothing_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(Alive::announce(&dir.path().join("file/out")).is_err());
    }
}
