//! Whether the process that is to write an awaited post file still lives.
//!
//! Its lock says so. A lock that nobody holds means death only if there is no post file either, and that must be looked
//! for *after* the lock: a process that ends as it should writes its post file first and is seen to be gone then.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::alive;
use crate::sys::lock::{self, Sight};

/// When a lock is tried again. The kernel tells of a closed file just before it takes its lock back.
const AGAIN: Duration = Duration::from_millis(50);

/// How many links of step names are looked at.
const LINKS: usize = 1_000;

/// What is thought of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It lives, or has reported, or nobody can tell.
    Presumed,
    /// That will be seen at another try, this much later.
    Doubtful(Duration),
    /// It ended and left nothing.
    Dead,
}

/// Decides from what the lock shows; from whether the try before left a doubt, or the lock's file was closed since; and
/// from whether there was a post file (or `.err`) *after* the lock was tried.
fn judge(lock: Sight, doubted: bool, closed: bool, reported: bool) -> Life {
    match lock {
        _ if reported => Life::Presumed,
        Sight::Free if doubted => Life::Dead,
        Sight::Free => Life::Doubtful(AGAIN),
        Sight::Held if closed => Life::Doubtful(AGAIN),
        Sight::Held | Sight::Unknown => Life::Presumed,
    }
}

/// What the tries so far have left.
#[derive(Debug, Default)]
pub(super) struct Predecessor {
    /// When the last try left a doubt.
    doubted: Option<Instant>,
    /// Whether the lock's file was closed since the last try.
    closed: bool,
    /// Whether the name was seen to be locked in its directory, in place of a file: only then does it mean anything that it
    /// is free.
    by_name: bool,
}

/// A try, or that it is too early for one.
#[derive(Debug)]
#[must_use = "it is for the judgement"]
pub(super) struct Tried {
    at: Instant,
    lock: Result<Sight, Duration>,
}

impl Predecessor {
    /// Tries the lock of an awaited file, if it is time to. `closed`: whether an event said that the lock's file was
    /// closed.
    pub(super) fn try_lock(&mut self, file: &Path, closed: bool, at: Instant) -> Tried {
        self.closed |= closed;
        let left = self.doubted.map(|doubted| (doubted + AGAIN).saturating_duration_since(at));
        let lock = match left.filter(|left| !left.is_zero()) {
            Some(left) => Err(left),
            None => Ok(self.look(file)),
        };
        Tried { at, lock }
    }

    /// What the lock shows, or that of the name where there is no file.
    fn look(&mut self, file: &Path) -> Sight {
        let seen = lock::look(&alive::lock_of(file));
        if seen != Sight::Unknown {
            return seen;
        }
        let seen = lock::look_at_name(file);
        self.by_name |= seen == Sight::Held;
        if self.by_name { seen } else { Sight::Unknown }
    }

    /// Judges by a try, and by whether there was a report when it was looked for after the try.
    pub(super) fn judge(&mut self, tried: Tried, reported: bool) -> Life {
        let lock = match tried.lock {
            Ok(lock) => lock,
            Err(left) => return Life::Doubtful(left),
        };
        let life = judge(lock, self.doubted.is_some(), std::mem::take(&mut self.closed), reported);
        self.doubted = matches!(life, Life::Doubtful(_)).then_some(tried.at);
        life
    }
}

/// A step that ended without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The post file that it has not written.
    file: PathBuf,
    /// Its name, as a link has it, and its number.
    step: Option<(String, String)>,
}

impl Dead {
    /// The step that was to write this file, with the name that it has among the links in `steps`.
    pub(super) fn of(file: &Path, steps: &Path) -> Self {
        Self { file: file.to_owned(), step: file.parent().and_then(|run| named(run, steps)) }
    }

    /// Why the step after it does not run: Tekton's words, and which step it was.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("Skipping step because a previous step failed: {self}")
    }
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PREFIX: &str = "step-";
        let file = &self.file;
        let container = match &self.step {
            Some((name, number)) => {
                write!(f, "step {} (number {number})", name.strip_prefix(PREFIX).unwrap_or(name))?;
                if name.starts_with(PREFIX) { format!("container {name}") } else { "its container".to_owned() }
            }
            None => {
                write!(f, "the step that was to write {file:?}")?;
                "its container".to_owned()
            }
        };
        write!(
            f,
            " ended without a report: its entrypoint was killed, perhaps because memory ran out, or it could not write \
             {file:?}; look at the status and the log of {container}, and raise its memory limit if it was OOMKilled"
        )
    }
}

/// The name and the number of the step whose directory this is: of the two links to its metadata, one is named by its
/// number.
fn named(run: &Path, steps: &Path) -> Option<(String, String)> {
    let number = |name: &str| name.bytes().all(|letter| letter.is_ascii_digit());
    let index = run.file_name()?.to_str().filter(|name| number(name))?.to_owned();
    let metadata = run.join("status");
    let links = std::fs::read_dir(steps).ok()?.take(LINKS).flatten();
    let names = links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|target| target == metadata));
    let names = names.filter_map(|link| link.file_name().into_string().ok());
    // The directory's order is nobody's.
    let name = names.filter(|name| !number(name) && !name.contains(char::is_control)).min()?;
    Some((name, index))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::step::alive::Alive;

    const DOUBTFUL: Life = Life::Doubtful(AGAIN);

    #[test]
    fn only_a_lock_that_is_free_a_second_time_and_no_report_mean_death() {
        for (lock, doubted, closed, reported, life) in [
            // Nobody can tell: whatever came before, as with Tekton's own entrypoint.
            (Sight::Unknown, false, false, false, Life::Presumed),
            (Sight::Unknown, false, true, false, Life::Presumed),
            (Sight::Unknown, true, false, false, Life::Presumed),
            (Sight::Unknown, true, true, false, Life::Presumed),
            // The event comes before the kernel takes the lock back.
            (Sight::Held, false, false, false, Life::Presumed),
            (Sight::Held, false, true, false, DOUBTFUL),
            (Sight::Held, true, false, false, Life::Presumed),
            (Sight::Held, true, true, false, DOUBTFUL),
            (Sight::Free, false, false, false, DOUBTFUL),
            (Sight::Free, false, true, false, DOUBTFUL),
            (Sight::Free, true, false, false, Life::Dead),
            (Sight::Free, true, true, false, Life::Dead),
        ] {
            assert_eq!(judge(lock, doubted, closed, reported), life, "{lock:?} {doubted} {closed}");
            assert_eq!(judge(lock, doubted, closed, true), Life::Presumed, "reported: {lock:?} {doubted} {closed}");
        }
    }

    /// Looks after the owner of `out` in a directory, at a moment.
    fn look(it: &mut Predecessor, dir: &Path, closed: bool, now: Instant) -> Life {
        let file = dir.join("out");
        let tried = it.try_lock(&file, closed, now);
        it.judge(tried, file.exists())
    }

    #[test]
    fn a_second_try_is_not_made_before_its_time() {
        let dir = tempfile::tempdir().unwrap();
        drop(Alive::announce(&dir.path().join("out")).unwrap());
        let mut it = Predecessor::default();
        let start = Instant::now();
        assert_eq!(look(&mut it, dir.path(), false, start), DOUBTFUL);
        assert_eq!(look(&mut it, dir.path(), true, start + AGAIN / 2), Life::Doubtful(AGAIN / 2));
        assert_eq!(look(&mut it, dir.path(), false, start + AGAIN), Life::Dead);
    }

    #[test]
    fn an_owner_that_comes_back_between_the_tries_lives() {
        let dir = tempfile::tempdir().unwrap();
        let post_file = dir.path().join("out");
        drop(Alive::announce(&post_file).unwrap());
        let mut it = Predecessor::default();
        let start = Instant::now();
        assert_eq!(look(&mut it, dir.path(), false, start), DOUBTFUL);
        let alive = Alive::announce(&post_file).unwrap();
        assert_eq!(look(&mut it, dir.path(), false, start + AGAIN), Life::Presumed);
        drop(alive);
        assert_eq!(look(&mut it, dir.path(), false, start + 2 * AGAIN), DOUBTFUL, "doubts are forgotten");
    }

    #[test]
    fn a_lock_that_is_closed_and_not_yet_free_is_tried_again_soon() {
        let dir = tempfile::tempdir().unwrap();
        let alive = Alive::announce(&dir.path().join("out")).unwrap();
        let mut it = Predecessor::default();
        let start = Instant::now();
        assert_eq!(look(&mut it, dir.path(), true, start), DOUBTFUL);
        // An event that comes before its time is remembered.
        assert_eq!(look(&mut it, dir.path(), true, start + AGAIN / 2), Life::Doubtful(AGAIN / 2));
        assert_eq!(look(&mut it, dir.path(), false, start + AGAIN), DOUBTFUL);
        drop(alive);
        assert_eq!(look(&mut it, dir.path(), false, start + 2 * AGAIN), Life::Dead);
    }

    #[test]
    fn a_name_that_was_locked_in_place_of_a_file_tells_of_a_death_too() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut it = Predecessor::default();
        // Nobody ever locked it: that is no sign.
        for n in 0..3 {
            assert_eq!(look(&mut it, dir.path(), false, start + n * AGAIN), Life::Presumed);
        }
        let lock = lock::hold_name(&dir.path().join("out")).unwrap();
        assert_eq!(look(&mut it, dir.path(), false, start), Life::Presumed);
        drop(lock);
        assert_eq!(look(&mut it, dir.path(), false, start), DOUBTFUL);
        assert_eq!(look(&mut it, dir.path(), false, start + AGAIN), Life::Dead);
    }

    #[test]
    fn a_directory_that_somebody_else_has_locked_tells_nothing() {
        type Held = Box<dyn std::any::Any>;
        let lock: [fn(&Path) -> Held; 2] = [
            // Another step that has its post file here, and no room for a lock.
            |dir| {
                std::fs::create_dir(dir.join("other.lock")).unwrap();
                Box::new(Alive::announce(&dir.join("other")).unwrap())
            },
            // `flock DIRECTORY COMMAND`, in a script.
            |dir| {
                let script = std::fs::File::open(dir).unwrap();
                script.try_lock().unwrap();
                Box::new(script)
            },
        ];
        for (n, lock) in lock.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let start = Instant::now();
            let mut it = Predecessor::default();
            let held = lock(dir.path());
            assert_eq!(look(&mut it, dir.path(), false, start), Life::Presumed, "{n}");
            drop(held);
            for again in 0..3 {
                assert_eq!(look(&mut it, dir.path(), false, start + again * AGAIN), Life::Presumed, "{n}");
            }
        }
    }

    #[test]
    fn a_report_that_is_there_once_the_lock_was_tried_is_no_death() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        drop(Alive::announce(&file).unwrap());
        let mut it = Predecessor::default();
        let start = Instant::now();
        assert_eq!(look(&mut it, dir.path(), false, start), DOUBTFUL);
        let tried = it.try_lock(&file, false, start + AGAIN);
        std::fs::write(&file, "").unwrap();
        assert_eq!(it.judge(tried, file.exists()), Life::Presumed);
    }

    #[test]
    fn the_sentence_names_the_step_by_the_link_to_its_metadata() {
        let dir = tempfile::tempdir().unwrap();
        let (steps, run) = (dir.path().join("steps"), dir.path().join("run"));
        std::fs::create_dir(&steps).unwrap();
        for (name, index) in [("step-build", "0"), ("0", "0"), ("deploy", "1"), ("1", "1"), ("2", "2")] {
            symlink(run.join(index).join("status"), steps.join(name)).unwrap();
        }
        std::fs::write(steps.join("no link"), "").unwrap();
        let begin = |index: &str, steps: &Path| {
            let sentence = Dead::of(&run.join(index).join("out"), steps).to_string();
            let (begin, rest) = sentence.split_once(" ended without a report: ").unwrap();
            assert!(rest.contains("killed") && rest.contains("memory"), "{rest}");
            (begin.to_owned(), rest.contains("container step-build"))
        };
        let unnamed = |index: &str| format!("the step that was to write {:?}", run.join(index).join("out"));
        assert_eq!(begin("0", &steps), ("step build (number 0)".to_owned(), true));
        assert_eq!(begin("1", &steps), ("step deploy (number 1)".to_owned(), false));
        for index in ["2", "3", "elsewhere"] {
            assert_eq!(begin(index, &steps), (unnamed(index), false));
        }
        assert_eq!(begin("0", &dir.path().join("missing")), (unnamed("0"), false));
    }
}
