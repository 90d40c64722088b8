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
    /// The turn, once it was asked for; it ends with the shelf.
    turn: RefCell<Option<Turn>>,
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
            name: format!("cache {}", dir.display()),
            turn: RefCell::new(None),
            may_have: Cell::new(true),
        })
    }

    /// Waits, but not for long, until nobody else looks up the same: what they fetch need not be fetched twice. Once.
    pub(super) async fn turn(&self, notes: &mut Vec<Note>) {
        if self.turn.borrow().is_some() {
            return;
        }
        let turn = tokio::time::timeout(self.patience, self.cache.turn(&self.key)).await.unwrap_or(Turn::Taken);
        match &turn {
            Turn::Ours { first, .. } => self.may_have.set(!first),
            Turn::Taken => {
                let waited = self.patience;
                let outcome =
                    format!("somebody else has been looking up the same for {waited:?}: not waited for any longer");
                self.note(notes, outcome);
            }
            Turn::Unknown(error) => self.note(notes, chain(error)),
        }
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
