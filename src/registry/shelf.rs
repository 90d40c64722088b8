//! The cache as one lookup uses it: asked for its turn once, told of once, and never a reason to fail.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use crate::cache::{Cache, CacheError, Entry, Turn, WAIT};
use crate::credential::Note;
use crate::image::Digest;
use crate::sys::cause::chain;

/// A cache for one lookup.
#[derive(Debug)]
pub struct Shelf {
    cache: Cache,
    /// What the lookup is for: others with the same wait for each other.
    key: String,
    /// How long others are waited for.
    patience: Duration,
    /// The source of its notes.
    name: String,
    /// The turn, as far as it was asked for; it ends with the shelf.
    turn: RefCell<Option<Turn>>,
    /// Whether there is nothing left to wait for.
    waited: Cell<bool>,
    /// Whether somebody may have looked up the same before.
    may_have: Cell<bool>,
}

impl Shelf {
    /// Opens the cache in a directory, for a lookup of `key`. `pod` is the UID of this pod, if that is known. Nobody is
    /// waited for longer than `patience`, nor than [`WAIT`].
    ///
    /// # Errors
    ///
    /// [`CacheError`]: there is no cache.
    pub fn open(dir: &Path, pod: Option<&str>, key: String, patience: Duration) -> Result<Self, CacheError> {
        let cache = Cache::open(dir, pod)?;
        Ok(Self {
            cache,
            key,
            patience: Duration::from_millis(u64::try_from(patience.min(WAIT).as_millis()).unwrap_or_default()),
            name: shelf_name(dir),
            turn: RefCell::new(None),
            waited: Cell::new(false),
            may_have: Cell::new(true),
        })
    }

    /// Takes the turn to fetch if nobody has it, and learns whether anybody has had it before. Once, and without waiting: what
    /// is here already is had without a turn.
    pub(super) fn glance(&self, notes: &mut Vec<Note>) {
        if self.turn.borrow().is_none() {
            let turn = self.cache.try_turn(&self.key);
            self.settle(turn, notes);
        }
    }

    /// Waits, but not for long, until nobody else fetches the same: what they fetch need not be fetched twice. Once.
    /// Whether it is worth looking again.
    pub(super) async fn turn(&self, notes: &mut Vec<Note>) -> bool {
        if self.waited.get() {
            return false;
        }
        let turn = tokio::time::timeout(self.patience, self.cache.turn(&self.key)).await.unwrap_or(Turn::Taken);
        if let Turn::Taken = turn {
            let waited = self.patience;
            let outcome =
                format!("somebody else has held the lock of this lookup for {waited:?}: not waited for any longer");
            self.note(notes, outcome);
        }
        self.settle(turn, notes);
        self.waited.set(true);
        true
    }

    fn settle(&self, turn: Turn, notes: &mut Vec<Note>) {
        match &turn {
            Turn::Ours { first, .. } => self.may_have.set(!first),
            Turn::Taken => {}
            Turn::Unknown(error) => self.note(notes, chain(error)),
        }
        self.waited.set(!matches!(turn, Turn::Taken));
        *self.turn.borrow_mut() = Some(turn);
    }

    /// Whether it is worth asking which document a tag means, because that may be here.
    pub(super) fn may_have(&self) -> bool {
        self.may_have.get()
    }

    /// A document, verified. What is wrong with it is a note.
    pub(super) fn take(&self, digest: &Digest, limit: usize, notes: &mut Vec<Note>) -> Option<Entry> {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        self.cache.get(digest, limit).unwrap_or_else(|error| {
            self.note(notes, chain(&error));
            None
        })
    }

    /// Keeps a document for others. That it cannot be kept is a note.
    pub(super) fn keep(&self, document: &[u8], notes: &mut Vec<Note>) {
        if let Err(error) = self.cache.put(document) {
            self.note(notes, chain(&error));
        }
    }

    fn note(&self, notes: &mut Vec<Note>, outcome: String) {
        let note = Note::new(self.name.as_str(), outcome);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

/// The source of a note about a cache.
#[must_use]
pub fn shelf_name(dir: &Path) -> String {
    format!("cache {}", dir.display())
}
