//! The sign by which later steps see that this one's process lives: a locked file beside its post file, or, where none can
//! be made, a lock on the post file's name in the directory that both were to stand in.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::wait::SAFETY_POLL;
use crate::sys::lock::{self, Lock};

/// How long a name is locked at least, unless there is a post file: as long as the steps that wait need to see it.
/// Nothing wakes them for it.
const SEEN: Duration = SAFETY_POLL.saturating_mul(2);

/// The lock of a post file.
#[must_use]
pub fn lock_of(post_file: &Path) -> PathBuf {
    lock::of(post_file)
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
    /// Until when a name in a directory stays locked.
    until: Option<Instant>,
}

impl Alive {
    /// Announces the process beside its post file, in a directory that is made as for the post file itself.
    ///
    /// On a disk that is full or read-only the directory bears the sign. The file, if there is one, has more to it: it can
    /// become the post file later, for which there may be no room then.
    ///
    /// # Errors
    /// When there is nothing to be locked. The step is none the worse for it: those who wait for it do so as they wait for
    /// Tekton's own entrypoint.
    pub fn announce(post_file: &Path) -> io::Result<Self> {
        let made = post_file.parent().map_or(Ok(()), fs::create_dir_all);
        let (lock, until) = match made.and_then(|()| lock::hold(&lock_of(post_file))) {
            Ok(lock) => (lock, None),
            Err(error) => {
                let lock = lock::hold_name(post_file).map_err(|_| error)?;
                (lock, Instant::now().checked_add(SEEN))
            }
        };
        Ok(Self { post_file: post_file.to_owned(), _lock: lock, until })
    }

    /// Lets go of it when there is nothing left to do: of a name only once the steps that wait have seen it, unless there is
    /// a post file to be seen.
    pub fn end(self) {
        if let Some(until) = self.until.filter(|_| !is_reported(&self.post_file)) {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        withdraw(&self.post_file);
    }
}

/// Takes the announcement away, if a post file says what it would say. For an end on which nothing is dropped.
pub fn withdraw(post_file: &Path) {
    if is_reported(post_file) {
        // Only the directory's tidiness depends on it.
        let _ = fs::remove_file(lock_of(post_file));
    }
}

/// Whether there is a post file, as the waiting steps look for it.
fn is_reported(post_file: &Path) -> bool {
    post_file.metadata().is_ok() || with(post_file, ".err").metadata().is_ok()
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
    fn where_there_can_be_no_file_the_directory_is_the_sign_until_there_is_a_post_file() {
        let dir = tempfile::tempdir().unwrap();
        let post_file = dir.path().join("out");
        // In the way of the file.
        fs::create_dir(lock_of(&post_file)).unwrap();
        let alive = Alive::announce(&post_file).unwrap();
        assert_eq!((alive.until.is_some(), lock::look_at_name(&post_file)), (true, Sight::Held));
        fs::write(&post_file, "").unwrap();
        alive.end();
        assert_eq!(lock::look_at_name(&post_file), Sight::Free);
    }

    #[test]
    fn nothing_is_announced_where_nothing_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(Alive::announce(&dir.path().join("file/out")).is_err());
    }
}
