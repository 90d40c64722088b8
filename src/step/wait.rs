//! Waiting for the previous step's post file, or any other file that means "your turn".
//!
//! The rules for one file are those of Tekton (`cmd/entrypoint/waiter.go`); how a change is noticed is ours: inotify
//! where it can be had and trusted, with a slow poll behind it, and a quick poll where not.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::alive;
use super::predecessor::{Dead, Life, Predecessor};
use crate::log;
use crate::spec::WaitSpec;
use crate::sys::cause::Cause;
use crate::sys::filesystem;
use crate::sys::inotify::{DirectoryWatch, News};

/// How long a change may stay unnoticed where no event tells of it.
const QUICK_POLL: Duration = Duration::from_millis(250);
/// How often a watched directory is looked at all the same.
pub(super) const SAFETY_POLL: Duration = Duration::from_secs(4);

/// What a look at the awaited files has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Everything that was waited for is there.
    Now,
    /// An earlier step failed.
    Never,
    /// An earlier step's process ended and left no post file: there will be none.
    Dead(Dead),
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

/// What there is of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It is as it is awaited.
    There,
    /// Its `.err` twin is there.
    Failed,
    /// It is there, and lacks its content.
    Empty,
    /// Neither it nor its twin is there.
    Absent,
}

/// Decides about one file from its size, if it exists, and from whether its `.err` twin exists. A file that is there
/// wins over its twin. The twin counts also while a file that must have content is still empty.
fn judge(size: Option<u64>, failed: impl Fn() -> bool, content: bool) -> Seen {
    match size {
        Some(size) if size > 0 || !content => Seen::There,
        Some(_) | None if failed() => Seen::Failed,
        Some(_) => Seen::Empty,
        None => Seen::Absent,
    }
}

/// Looks at one file. Links are followed: the files of a downward API volume are links.
fn look_at(file: &Path, content: bool) -> Result<Seen, WaitError> {
    let size = match file.metadata() {
        // The size of a directory differs between filesystems; Tekton's never see an empty one.
        Ok(metadata) if metadata.is_dir() => Some(1),
        Ok(metadata) => Some(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => return Err(WaitError { file: file.to_owned(), cause }),
    };
    let failed = || alive::with(file, ".err").metadata().is_ok();
    Ok(judge(size, failed, content))
}

/// A wait in progress. Dropping it gives the inotify instance back.
#[derive(Debug)]
pub struct Wait {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<PathBuf>,
    content: bool,
    despite_failure: bool,
    /// Where links name the steps.
    steps: PathBuf,
    /// Of the current file.
    predecessor: Predecessor,
    watch: Option<DirectoryWatch>,
    /// Whether an instance was asked for: one refusal is an answer.
    asked: bool,
    pace: Duration,
}

impl Wait {
    /// A wait for these files, one after the other. The directory `steps` has links from names of steps to their
    /// metadata.
    #[must_use]
    pub fn new(spec: &WaitSpec, steps: &Path) -> Self {
        let mut files = spec.files.clone().into_iter();
        let current = files.next();
        Self {
            files,
            current,
            content: spec.content,
            despite_failure: spec.despite_failure,
            steps: steps.to_owned(),
            predecessor: Predecessor::default(),
            watch: None,
            asked: false,
            pace: QUICK_POLL,
        }
    }

    /// Looks whether the turn has come. When it has not, the directory in which the next change is to be expected is
    /// being watched by the time that this returns.
    ///
    /// # Errors
    /// When a file cannot be looked at for another reason than that it is not there.
    pub fn look(&mut self) -> Result<Turn, WaitError> {
        while let Some(file) = self.current.clone() {
            let mut seen = look_at(&file, self.content)?;
            let mut life = Life::Presumed;
            if matches!(seen, Seen::Empty | Seen::Absent) {
                let closed = self.watch_for(&file);
                let tried = self.predecessor.try_lock(&file, closed, Instant::now());
                // Only what is seen after the try tells death from an end. And the file may have come before the watch.
                seen = look_at(&file, self.content)?;
                life = self.predecessor.judge(tried, seen != Seen::Absent);
            }
            match (seen, life) {
                (Seen::There, _) => {}
                (Seen::Failed, _) if self.despite_failure => {}
                (Seen::Failed, _) => return Ok(Turn::Never),
                (Seen::Absent, Life::Dead) => {
                    let dead = Dead::of(&file, &self.steps);
                    if !self.despite_failure {
                        return Ok(Turn::Dead(dead));
                    }
                    log::warn(format_args!("{dead}; this step runs all the same: -breakpoint_on_failure"));
                }
                (Seen::Empty | Seen::Absent, life) => {
                    if let Life::Doubtful(left) = life {
                        self.pace = self.pace.min(left);
                    }
                    return Ok(Turn::Later);
                }
            }
            self.current = self.files.next();
            self.predecessor = Predecessor::default();
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

    /// Watches the directory in which the next change is to be expected. Whether the file's lock was closed before that.
    fn watch_for(&mut self, file: &Path) -> bool {
        let lock = alive::lock_of(file);
        let lock = lock.file_name().unwrap_or_default();
        let mut closed = false;
        // Not for ever: somebody may make and remove a directory all the time, and the poll is there too.
        for _ in 0..4 {
            let directory = nearest_directory(file);
            closed |= self.watch(directory, lock);
            // A nearer one may have come before the watch was there, and sent no event.
            if nearest_directory(file) == directory {
                break;
            }
        }
        closed
    }

    /// Forgets the events that led to this look, and watches `directory` from now on. Whether `lock` was closed.
    fn watch(&mut self, directory: &Path, lock: &OsStr) -> bool {
        let mut closed = false;
        if let Some(watch) = &mut self.watch {
            closed = watch.drain(lock);
        } else if !self.asked {
            self.asked = true;
            self.watch = DirectoryWatch::open().ok();
        }
        let news = if self.content { News::Contents } else { News::Names };
        // Each time anew: a directory that was removed and made again has the same name and no watch.
        let watched = self.watch.as_mut().is_some_and(|watch| watch.watch(directory, news).is_ok());
        // Elsewhere a watch is accepted, and then tells only what this kernel's own processes did.
        self.pace = if watched && filesystem::is_own_directory(directory) { SAFETY_POLL } else { QUICK_POLL };
        closed
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
    use crate::step::alive::Alive;

    #[test]
    fn one_file_is_judged_by_itself_and_its_twin() {
        for (size, failed, content, seen) in [
            (Some(0), false, false, Seen::There),
            (Some(0), true, false, Seen::There),
            (Some(5), true, true, Seen::There),
            (Some(0), false, true, Seen::Empty),
            (Some(0), true, true, Seen::Failed),
            (None, false, false, Seen::Absent),
            (None, false, true, Seen::Absent),
            (None, true, false, Seen::Failed),
            (None, true, true, Seen::Failed),
        ] {
            assert_eq!(judge(size, || failed, content), seen, "size {size:?} err {failed} content {content}");
        }
    }

    fn wait_for(files: &[&Path], content: bool) -> Wait {
        wait_by(WaitSpec { content, ..spec(files) })
    }

    fn spec(files: &[&Path]) -> WaitSpec {
        WaitSpec { files: files.iter().map(|file| file.to_path_buf()).collect(), ..WaitSpec::default() }
    }

    fn wait_by(spec: WaitSpec) -> Wait {
        Wait::new(&spec, Path::new("/no steps here"))
    }

    /// Looks until the turn has come or never will, as the loop of a step does.
    fn turn(wait: &mut Wait) -> Turn {
        for _ in 0..10 {
            let turn = wait.look().unwrap();
            if turn != Turn::Later {
                return turn;
            }
            assert!(wait.pace() <= Duration::from_millis(50), "{:?}", wait.pace());
            std::thread::sleep(wait.pace());
        }
        Turn::Later
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
    #[test]
    fn behind_a_dead_predecessor_the_turn_never_comes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        let mut waits = [wait_for(&[&file], false), wait_for(&[&file], true)];
        let alive = Alive::announce(&file).unwrap();
        for wait in &mut waits {
            assert_eq!((wait.look().unwrap(), wait.pace()), (Turn::Later, SAFETY_POLL));
        }
        drop(alive);
        for wait in &mut waits {
            assert_eq!(turn(wait), Turn::Dead(Dead::of(&file, Path::new("/no steps here"))));
        }
    }

    #[test]
    fn with_a_breakpoint_the_turn_comes_all_the_same_and_the_other_files_are_still_awaited() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, third] = ["a", "b", "c"].map(|name| dir.path().join(name));
        drop(Alive::announce(&first).unwrap());
        std::fs::write(dir.path().join("b.err"), "").unwrap();
        let alive = Alive::announce(&third).unwrap();
        let mut wait = wait_by(WaitSpec { despite_failure: true, ..spec(&[&first, &second, &third]) });
        assert_eq!(wait.look().unwrap(), Turn::Later);
        assert!(wait.pace() <= Duration::from_millis(50));
        std::thread::sleep(wait.pace());
        assert_eq!((wait.look().unwrap(), wait.pace()), (Turn::Later, SAFETY_POLL), "the third one lives");
        std::fs::write(&third, "").unwrap();
        drop(alive);
        assert_eq!(wait.look().unwrap(), Turn::Now);
    }

    #[test]
    fn a_file_without_the_awaited_content_is_a_report_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        drop(Alive::announce(&file).unwrap());
        std::fs::write(&file, "").unwrap();
        let mut wait = wait_for(&[&file], true);
        for _ in 0..3 {
            assert_eq!((wait.look().unwrap(), wait.pace()), (Turn::Later, SAFETY_POLL));
        }
    }

    #[test]
    fn the_end_of_the_predecessor_makes_the_descriptor_readable() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        let alive = Alive::announce(&file).unwrap();
        let mut wait = wait_for(&[&file], false);
        assert_eq!(wait.look().unwrap(), Turn::Later);
        let readable = |wait: &Wait, within: u16| {
            let mut sources = [nix::poll::PollFd::new(wait.events().expect("inotify"), nix::poll::PollFlags::POLLIN)];
            nix::poll::poll(&mut sources, within).unwrap()
        };
        // A look at the lock is no event, or the wait would wake itself.
        assert_eq!((wait.look().unwrap(), readable(&wait, 0)), (Turn::Later, 0));
        drop(alive);
        // A program that another test starts just now may hold the descriptor until it is executed.
        assert_eq!(readable(&wait, 60_000), 1);
    }
}
