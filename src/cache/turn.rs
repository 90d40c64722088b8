//! One fetches while the others wait: a lock on a file, for which nobody waits long.
//!
//! A step can hold it for ever, make it anything but a file, or remove it. All that costs is time and requests, never more
//! of the one than [`WAIT`]; what is believed is decided elsewhere.

use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Cache, CacheError, layout};
use crate::image::Digest;
use crate::sys::beneath::Directory;
use crate::sys::lock::{self, Lock};

/// How long is waited for others through one [`Cache`], all its turns together.
pub const WAIT: Duration = Duration::from_secs(2);

/// The first pause between two looks at a lock that is held; each is twice as long as the one before, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(20);

/// Others must be able to open the file of a lock; nobody needs to write to it.
const MODE: u32 = 0o444;

/// Who fetches. Whichever it is, the cache is to be looked into once more now, and then it is this process that fetches.
#[derive(Debug)]
#[must_use = "the turn ends with it"]
pub enum Turn {
    /// It is ours, and those who come now wait, until this is dropped or the process ends.
    Ours {
        /// What ends with it.
        lock: Lock,
        /// Whether nobody has had this turn before, as far as anybody knows: then nothing of it will be in the cache.
        first: bool,
    },
    /// Somebody else has had it all the time that there was for waiting.
    Taken,
    /// It cannot be told.
    Unknown(CacheError),
}

impl Cache {
    /// Waits until nobody else fetches what this key stands for, at most what is left of [`WAIT`]. Nothing is lost when
    /// this is dropped before it ends.
    ///
    /// To be asked for once in a lookup, not for each of its documents. The runtime must have its time enabled.
    pub async fn turn(&self, key: &str) -> Turn {
        let mut pause = FIRST;
        loop {
            let turn = self.try_turn(key);
            let left = *self.patience.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(turn, Turn::Taken) || left.is_zero() {
                return turn;
            }
            let asleep = Asleep { cache: self, since: Instant::now() };
            tokio::time::sleep(pause.min(left)).await;
            drop(asleep);
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// The same without waiting.
    pub fn try_turn(&self, key: &str) -> Turn {
        let own = match self.writable() {
            Ok(writable) => writable.own,
            Err(error) => return Turn::Unknown(error),
        };
        let name = lock_name(key);
        match take(own, &name) {
            Ok(Some((lock, first))) => Turn::Ours { lock, first },
            Ok(None) => Turn::Taken,
            Err(source) => Turn::Unknown(CacheError::Lock { path: self.own_path(&name), source }),
        }
    }

    /// The file that is locked for a key, for who wants to look at it or to name it.
    #[must_use]
    pub fn lock_path(&self, key: &str) -> PathBuf {
        self.own_path(&lock_name(key))
    }
}

/// A pause, which counts however it ends.
struct Asleep<'a> {
    cache: &'a Cache,
    since: Instant,
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        let mut left = self.cache.patience.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(self.since.elapsed());
    }
}

/// One of 256 names, so that the files are not more than that. Two keys that share one wait for each other, no longer than
/// two of the same do.
fn lock_name(key: &str) -> String {
    let digest = super::hex(&Digest::of(key.as_bytes()));
    format!("lock-{}", digest.get(..2).unwrap_or_default())
}

/// The lock of this name, if nobody has it, and whether nobody has had it before.
fn take(own: &Directory, name: &str) -> io::Result<Option<(Lock, bool)>> {
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    // Not O_CREAT at once: the kernel may refuse that for the file of another user (`fs.protected_regular`).
    let file = match own.file(name) {
        Err(error) if absent(&error) => match first(own, name) {
            Ok(lock) => return Ok(Some((lock, true))),
            // Somebody was faster, or the filesystem has no second names.
            Err(_) => match own.create(name, MODE) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => own.file(name)?,
                created => created?,
            },
        },
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(lock::take(file)?.map(|lock| (lock, false)))
}

/// Makes the file of a lock, locked before it has the name by which others know it: so nobody can have been in between.
fn first(own: &Directory, name: &str) -> io::Result<Lock> {
    let (file, new) = layout::create(own)?;
    let lock = lock::take(file).and_then(|lock| own.link(&new, name).map(|()| lock));
    let _ = own.remove(&new);
    lock?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_locks_are_few_and_the_same_every_time() {
        for (key, name) in [("", "lock-e3"), ("docker.io/library/alpine", "lock-0f"), ("../../etc/passwd", "lock-37")] {
            assert_eq!(lock_name(key), name);
        }
        let names: std::collections::BTreeSet<String> = (0..4000).map(|key| lock_name(&key.to_string())).collect();
        assert_eq!(names.len(), 256);
        assert!(names.iter().all(|name| name.len() == 7));
    }
}
