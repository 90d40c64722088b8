//! A cache of manifests and configs, in a directory that several containers, users and pods may share and that a step may
//! have tampered with.
//!
//! # What is there
//!
//! An [image layout](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md) with an empty index: each
//! document is a file `blobs/sha256/HEX`, and its name is the digest of its content. Tags are not kept. Beside it the
//! directory `entrypoint` has locks (`lock-XX`), files that are being written (`new-XXXX`), and notes of the pod that wrote an
//! entry (`pod-HEX`).
//!
//! # What is believed
//!
//! Nothing but what verifies: an entry is read into memory, bounded, and is used only if those bytes have its digest. So
//! nobody who can write there can make a lookup believe anything, and a crash at any point leaves at worst a file that is
//! found to be wrong and replaced. Everything is opened beneath the directory that was opened first, one name at a time, without
//! following links and without waiting, and only regular files are read.
//!
//! What those who can write there *can* do is to remove the cache, to fill it, and to hold its locks: that costs the
//! others requests to the registry, and at most [`WAIT`] of their time.
//!
//! # Whose it is
//!
//! Files can be read by every user. Directories that are made are as open as the one they are made in, so that those who may
//! write to the directory of the cache may write to all of it. A layout without the directory `entrypoint` has been made by
//! somebody else and is only read. A directory for the pods of a node is to be root's, and read-only in steps.
//!
//! # How large it becomes
//!
//! 1024 entries and 64 MiB, of at most [`ENTRY`] each; the oldest go first. Those who write at the same time do not see each
//! other, and may exceed that by what they write. Looking through the directory is bounded too: where others have put
//! thousands of files, it may take several writes until they are gone.

mod bound;
mod error;
mod layout;
mod turn;

use std::collections::HashSet;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

pub use self::bound::ENTRY;
use self::bound::{Item, Kind, make_room};
pub use self::error::CacheError;
use self::layout::{Layout, ReadOnly};
pub use self::turn::{Turn, WAIT};
use crate::image::Digest;
use crate::sys::beneath::Directory;
use crate::sys::file::in_words;

/// How many names of a directory are looked at.
const LISTED: usize = 4096;

/// How the name of a note begins that says which pod has written an entry.
const POD: &str = "pod-";

/// A cache that is open.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    layout: Layout,
    pod: Option<String>,
    /// What is left of the time for waiting.
    patience: Mutex<Duration>,
}

/// What was asked for, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The document.
    pub bytes: Vec<u8>,
    /// Whether a note says that a process of this very pod has put it here, from which follows that it had it before.
    ///
    /// The note is a file like the others: it proves nothing against those who can write to the directory, which are
    /// the steps of this pod and of every pod that shares it. They can read all entries as well. It is there for those who
    /// tell the truth: what this pod has fetched it need not show again that it may read.
    pub by_this_pod: bool,
}

impl Cache {
    /// Opens a cache. A directory that is missing is made, in one that is there. One that cannot be written is read.
    ///
    /// `pod` is the UID of the pod in which this process runs, if it knows.
    ///
    /// # Errors
    /// [`CacheError::Open`], [`CacheError::NotADirectory`], [`CacheError::Make`]: there is no cache.
    pub fn open(dir: &Path, pod: Option<&str>) -> Result<Self, CacheError> {
        // Without a slash at its end, behind which a link would be followed.
        let path: PathBuf = dir.components().collect();
        let layout = Layout::open(&path)?;
        let pod = pod.filter(|pod| !pod.is_empty()).map(str::to_owned);
        Ok(Self { path, layout, pod, patience: Mutex::new(WAIT) })
    }

    /// The document of a digest, of at most so many bytes and at most [`ENTRY`]; none if it is not there.
    ///
    /// # Errors
    /// [`CacheError::Read`], [`CacheError::NotRegular`], [`CacheError::TooLarge`], [`CacheError::Poisoned`]: what is there is as
    /// good as nothing. It has been removed if that was possible, unless it may be right and only is larger than asked for.
    pub fn get(&self, digest: &Digest, limit: u64) -> Result<Option<Entry>, CacheError> {
        let Some(blobs) = self.layout.blobs() else { return Ok(None) };
        let name = hex(digest);
        let path = self.entry_path(&name);
        let limit = limit.min(ENTRY);
        let file = match blobs.file(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(match blobs.look(&name) {
                    Ok(found) if !found.is_file() => self.not_regular(blobs, name, &found),
                    _ => CacheError::Read { path, source },
                });
            }
        };
        let failed = |source| CacheError::Read { path: path.clone(), source };
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(self.not_regular(blobs, name, &found));
        }
        if found.len() > limit {
            let removed = found.len() > ENTRY && self.remove(blobs, &name, &found);
            return Err(CacheError::TooLarge { path, size: found.len(), limit, removed });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found.len() + 1).unwrap_or_default());
        // One that grows meanwhile is not read to its end, and has another digest.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
        if let Err(source) = digest.verify(&bytes) {
            return Err(CacheError::Poisoned { path, removed: self.remove(blobs, &name, &found), source });
        }
        Ok(Some(Entry { bytes, by_this_pod: self.is_by_this_pod(&name) }))
    }

    /// Keeps a document under its digest, in place of whatever is there.
    ///
    /// # Errors
    /// [`CacheError::TooLarge`], [`CacheError::Foreign`], [`CacheError::Write`], [`CacheError::Full`]: it is not kept.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let digest = Digest::of(bytes);
        let name = hex(&digest);
        let path = self.entry_path(&name);
        let size = bytes.len() as u64;
        if size > ENTRY {
            return Err(CacheError::TooLarge { path, size, limit: ENTRY, removed: false });
        }
        let Writable { blobs, own } = self.writable()?;
        self.make_room(own, blobs, size)?;
        layout::write(own, bytes, blobs, &name).map_err(|source| CacheError::Write { path, source })?;
        if let Some(pod) = &self.pod {
            // Without it the next step shows once more that it may read this.
            let _ = layout::write(own, pod.as_bytes(), own, &note_name(&name));
        }
        Ok(digest)
    }

    /// Where an entry is, or would be.
    fn entry_path(&self, name: &str) -> PathBuf {
        self.path.join("blobs/sha256").join(name)
    }

    fn own_path(&self, name: &str) -> PathBuf {
        self.path.join("entrypoint").join(name)
    }

    /// What is open, if anything may be changed here.
    fn writable(&self) -> Result<Writable<'_>, CacheError> {
        let path = self.path.clone();
        match &self.layout {
            Layout::Whole { blobs, own } => Ok(Writable { blobs, own }),
            Layout::ReadOnly { why: ReadOnly::Foreign, .. } => Err(CacheError::Foreign { path }),
            Layout::ReadOnly { why: ReadOnly::Incomplete(error), .. } => {
                let source = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
                Err(CacheError::Write { path, source })
            }
        }
    }

    fn not_regular(&self, blobs: &Directory, name: String, found: &Metadata) -> CacheError {
        let removed = self.remove(blobs, &name, found);
        CacheError::NotRegular { path: self.entry_path(&name), found: in_words(found.file_type()), removed }
    }

    /// Removes what has been found to be wrong, if it may be removed and nobody has replaced it in between.
    fn remove(&self, blobs: &Directory, name: &str, found: &Metadata) -> bool {
        let same = |now: Metadata| (now.dev(), now.ino()) == (found.dev(), found.ino());
        self.writable().is_ok() && blobs.look(name).is_ok_and(same) && blobs.remove(name).is_ok()
    }

    fn is_by_this_pod(&self, name: &str) -> bool {
        let (Layout::Whole { own, .. }, Some(pod)) = (&self.layout, &self.pod) else { return false };
        let Ok(file) = own.file(note_name(name)) else { return false };
        let mut note = Vec::new();
        let is_file = file.metadata().is_ok_and(|found| found.is_file());
        is_file && file.take(pod.len() as u64 + 1).read_to_end(&mut note).is_ok() && note == pod.as_bytes()
    }

    /// Makes room for an entry, and removes what processes that were killed have left.
    fn make_room(&self, own: &Directory, blobs: &Directory, incoming: u64) -> Result<(), CacheError> {
        let failed = |source| CacheError::Write { path: self.path.clone(), source };
        // Ours first: an entry is there before its note is, so a note that is seen without its entry has lost it.
        let ours = own.names(LISTED).map_err(failed)?;
        let entries = blobs.names(LISTED).map_err(failed)?;
        let mut items = Vec::new();
        let mut present = HashSet::new();
        for name in entries.listed.iter().filter_map(|name| name.to_str()).filter(|name| is_entry(name)) {
            present.insert(name);
            items.extend(item(blobs, name, Kind::Entry));
        }
        for name in ours.listed.iter().filter_map(|name| name.to_str()) {
            if name.starts_with(layout::UNFINISHED) {
                items.extend(item(own, name, Kind::Unfinished));
            } else if name.strip_prefix(POD).is_some_and(|entry| entries.complete && !present.contains(entry)) {
                let _ = own.remove(name);
            }
        }
        let room = make_room(items, incoming, SystemTime::now(), |item| match item.kind {
            Kind::Unfinished => is_gone(own.remove(&item.name)),
            Kind::Entry => {
                let _ = own.remove(note_name(&item.name));
                is_gone(blobs.remove(&item.name))
            }
        });
        if room && entries.complete && ours.complete {
            Ok(())
        } else {
            Err(CacheError::Full { path: self.path.clone() })
        }
    }
}

/// A cache to which something may be written.
#[derive(Debug, Clone, Copy)]
struct Writable<'a> {
    blobs: &'a Directory,
    own: &'a Directory,
}

/// A file that counts, if it is still there.
fn item(directory: &Directory, name: &str, kind: Kind) -> Option<Item> {
    let found = directory.look(name).ok()?;
    let modified = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Some(Item { name: name.to_owned(), kind, size: found.len(), modified })
}

/// Whether something has been removed, by whomever.
fn is_gone(removed: io::Result<()>) -> bool {
    removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

/// The name of an entry.
fn hex(digest: &Digest) -> String {
    let mut text = digest.to_string();
    text.split_off(text.find(':').map_or(0, |colon| colon + 1))
}

/// Whether a name is that of an entry: nothing else is counted, or removed.
fn is_entry(name: &str) -> bool {
    format!("sha256:{name}").parse::<Digest>().is_ok()
}

/// The name of the note beside an entry.
fn note_name(entry: &str) -> String {
    format!("{POD}{entry}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_entries_are_64_hexadecimal_digits_and_nothing_else() {
        let name = hex(&Digest::of(b""));
        assert_eq!(name, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(is_entry(&name));
        for other in [
            "",
            ".",
            "..",
            "new-0123456789abcdef",
            "sha256",
            &format!("sha256:{name}"),
            &name.to_uppercase(),
            &name[1..],
            &format!("{name}0"),
            &format!("{}/", &name[1..]),
            &format!("../{}", &name[3..]),
            &format!(" {}", &name[1..]),
            &format!("{}\0", &name[1..]),
        ] {
            assert!(!is_entry(other), "{other:?}");
        }
    }
}
