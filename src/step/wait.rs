//! Waiting for the previous step's post file, or any other file that means "your turn".
//!
//! The rules for one file are those of Tekton (`cmd/entrypoint/waiter.go`); how a change is noticed is ours: inotify
//! where it can be had and trusted, with a slow poll behind it, and a quick poll where not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::spec::WaitSpec;
use crate::sys::cause::Cause;
use crate::sys::inotify::{DirectoryWatch, News, reports_every_change};

/// How long a change may stay unnoticed where no event tells of it.
const QUICK_POLL: Duration = Duration::from_millis(250);
/// How often a watched directory is looked at all the same.
const SAFETY_POLL: Duration = Duration::from_secs(2);

/// What a look at the awaited files has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Everything that was waited for is there.
    Now,
    /// An earlier step failed.
    Never,
    /// Not yet.
    Later,
}

/// A file that cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[error("waiting for {file:?}: stat {}: {}", .file.display(), Cause(.cause))]
pub struct WaitError {
    /// The file.
    file: PathBuf,
    /// Why it cannot be looked at.
    cause: io::Error,
}

/// Decides about one file from its size, if it exists, and from whether its `.err` twin exists. A file that is there
/// wins over its twin. The twin counts also while a file that must have content is still empty.
fn judge(size: Option<u64>, failed: impl Fn() -> bool, content: bool) -> Turn {
    match size {
        Some(size) if size > 0 || !content => Turn::Now,
        Some(_) | None if failed() => Turn::Never,
        Some(_) | None => Turn::Later,
    }
}

/// Looks at one file. Links are followed: the files of a downward API volume are links.
fn look_at(file: &Path, content: bool) -> Result<Turn, WaitError> {
    let size = match file.metadata() {
        // The size of a directory differs between filesystems; Tekton's never see an empty one.
        Ok(metadata) if metadata.is_dir() => Some(1),
        Ok(metadata) => Some(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => return Err(WaitError { file: file.to_owned(), cause }),
    };
    let failed = || {
        let mut twin = file.as_os_str().to_owned();
        twin.push(".err");
        Path::new(&twin).metadata().is_ok()
    };
    Ok(judge(size, failed, content))
}

/// A wait in progress. Dropping it gives the inotify instance back.
#[derive(Debug)]
pub struct Wait {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<PathBuf>,
    content: bool,
    watch: Option<DirectoryWatch>,
    /// Whether an instance was asked for: one refusal is an answer.
    asked: bool,
    pace: Duration,
}

impl Wait {
    /// A wait for these files, one after the other.
    #[must_use]
    pub fn new(spec: &WaitSpec) -> Self {
        let mut files = spec.files.clone().into_iter();
        let current = files.next();
        Self { files, current, content: spec.content, watch: None, asked: false, pace: QUICK_POLL }
    }

    /// Looks whether the turn has come. When it has not, the directory in which the next change is to be expected is
    /// being watched by the time that this returns.
    ///
    /// # Errors
    /// When a file cannot be looked at for another reason than that it is not there.
    pub fn look(&mut self) -> Result<Turn, WaitError> {
        while let Some(file) = &self.current {
            let mut turn = look_at(file, self.content)?;
            if turn == Turn::Later {
                let file = file.clone();
                // Not for ever: somebody may make and remove a directory all the time, and the poll is there too.
                for _ in 0..4 {
                    let directory = nearest_directory(&file);
                    self.watch(directory);
                    // A nearer one may have come before the watch was there, and sent no event.
                    if nearest_directory(&file) == directory {
                        break;
                    }
                }
                // So may the file itself.
                turn = look_at(&file, self.content)?;
            }
            match turn {
                Turn::Now => self.current = self.files.next(),
                Turn::Never | Turn::Later => return Ok(turn),
            }
        }
        Ok(Turn::Now)
    }

    /// The descriptor that becomes readable when something happened where the file is to appear.
    #[must_use]
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// How long to sleep at most before looking again.
    #[must_use]
    pub fn pace(&self) -> Duration {
        self.pace
    }

    /// Forgets the events that led to this look, and watches `directory` from now on.
    fn watch(&mut self, directory: &Path) {
        if let Some(watch) = &mut self.watch {
            watch.drain();
        } else if !self.asked {
            self.asked = true;
            self.watch = DirectoryWatch::open().ok();
        }
        let news = if self.content { News::Contents } else { News::Names };
        // Each time anew: a directory that was removed and made again has the same name and no watch.
        let watched = self.watch.as_mut().is_some_and(|watch| watch.watch(directory, news).is_ok());
        self.pace = if watched && reports_every_change(directory) { SAFETY_POLL } else { QUICK_POLL };
    }
}

/// The nearest ancestor of a path that is a directory: where the next part of it will appear.
fn nearest_directory(path: &Path) -> &Path {
    path.ancestors()
        .skip(1)
        .map(|ancestor| if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor })
        .find(|ancestor| ancestor.is_dir())
        .unwrap_or_else(|| Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_judged_by_itself_and_its_twin() {
        for (size, failed, content, turn) in [
            (Some(0), false, false, Turn::Now),
            (Some(0), true, false, Turn::Now),
            (Some(5), true, true, Turn::Now),
            (Some(0), false, true, Turn::Later),
            (Some(0), true, true, Turn::Never),
            (None, false, false, Turn::Later),
            (None, true, false, Turn::Never),
            (None, true, true, Turn::Never),
        ] {
            assert_eq!(judge(size, || failed, content), turn, "size {size:?} err {failed} content {content}");
        }
    }

    fn wait_for(files: &[&Path], content: bool) -> Wait {
        Wait::new(&WaitSpec { files: files.iter().map(|file| file.to_path_buf()).collect(), content })
    }

    #[test]
    fn nothing_to_wait_for_is_a_turn_at_once() {
        assert_eq!(wait_for(&[], false).look().unwrap(), Turn::Now);
    }

    #[test]
    fn files_are_awaited_in_order_and_all_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let mut wait = wait_for(&[&first, &second], false);
        assert_eq!(wait.look().unwrap(), Turn::Later);
        std::fs::write(&second, "").unwrap();
        assert_eq!(wait.look().unwrap(), Turn::Later);
        std::fs::write(&first, "").unwrap();
        assert_eq!(wait.look().unwrap(), Turn::Now);
    }

    #[test]
    fn a_watched_file_makes_the_descriptor_readable() {
        let dir = tempfile::tempdir().unwrap();
        let mut wait = wait_for(&[&dir.path().join("late/out")], false);
        assert_eq!(wait.look().unwrap(), Turn::Later);
        for change in ["late", "late/out"] {
            match change {
                "late" => std::fs::create_dir(dir.path().join(change)).unwrap(),
                _ => std::fs::write(dir.path().join(change), "").unwrap(),
            }
            let events = wait.events().expect("inotify");
            let mut sources = [nix::poll::PollFd::new(events, nix::poll::PollFlags::POLLIN)];
            assert_eq!(nix::poll::poll(&mut sources, 0u8).unwrap(), 1, "no event for {change}");
            let turn = wait.look().unwrap();
            assert_eq!(turn, if change == "late" { Turn::Later } else { Turn::Now });
        }
    }

    #[test]
    fn a_file_that_cannot_be_looked_at_is_named_with_the_cause() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let below = dir.path().join("file/out");
        let error = wait_for(&[&below], false).look().unwrap_err().to_string();
        assert_eq!(error, format!("waiting for {below:?}: stat {}: not a directory", below.display()));
    }

    #[test]
    fn a_directory_that_is_awaited_with_content_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(wait_for(&[dir.path()], true).look().unwrap(), Turn::Now);
    }
}
