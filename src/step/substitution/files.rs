//! The files that steps leave for those after them, below `/tekton/steps`: read once, without waiting, not without end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::provenance::{Provenance, ProvenanceError};
use super::reference::{ArtifactReference, ResultReference, shown_name};
use super::value::Value;
use crate::go_path;
use crate::sys::file;

/// How many bytes of a file are read: as of a result that is reported.
const LIMIT: u64 = 1 << 20;

/// How many bytes of files are kept for the next reference to them.
const KEPT: usize = 2 << 20;

/// Why a file was not read. Paths are shown as far as they look like names.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened; mostly it is not there.
    #[error("open {path}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What stands there is not a regular file.
    #[error("read {path}: it is {found}, and must be a regular file")]
    NotRegular {
        /// The file.
        path: String,
        /// What it is instead.
        found: &'static str,
    },
    /// Reading failed.
    #[error("read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is longer than what is read.
    #[error("read {path}: it has more than {limit} bytes")]
    TooLong {
        /// The file.
        path: String,
        /// The longest that is read, in bytes.
        limit: u64,
    },
    /// It is no provenance.
    #[error("read {path}")]
    Provenance {
        /// The file.
        path: String,
        /// Why.
        source: ProvenanceError,
    },
}

/// Reads a whole file of somebody else, as long as it is not longer than `limit` bytes. `shown` names it in errors.
///
/// # Errors
/// [`FileError`].
pub(super) fn read(path: &Path, limit: u64, shown: &str) -> Result<Vec<u8>, FileError> {
    let read = file::read(path, limit);
    let path = || shown.to_owned();
    read.map_err(|error| match error {
        file::FileError::Open { source, .. } => FileError::Open { path: path(), source },
        file::FileError::NotRegular { found, .. } => {
            FileError::NotRegular { path: path(), found: file::in_words(found) }
        }
        file::FileError::Read { source, .. } => FileError::Read { path: path(), source },
        file::FileError::TooLarge { .. } => FileError::TooLong { path: path(), limit },
    })
}

/// What steps left, by the steps' directory.
pub(super) struct Files<'d> {
    dir: &'d Path,
    results: Kept<Value>,
    provenances: Kept<Provenance>,
}

impl<'d> Files<'d> {
    pub(super) fn new(dir: &'d Path) -> Self {
        Self { dir, results: Kept::default(), provenances: Kept::default() }
    }

    /// The value of a step's result.
    pub(super) fn result(&mut self, reference: &ResultReference<'_>) -> Result<Rc<Value>, FileError> {
        let parts = [reference.step, b"results", &reference.result];
        self.results.get_or_read(
            path(self.dir, parts),
            || shown_path(self.dir, parts),
            |content, _| Ok(Value::read(content)),
        )
    }

    /// What a step says of its artifacts.
    pub(super) fn provenance(&mut self, reference: &ArtifactReference<'_>) -> Result<Rc<Provenance>, FileError> {
        let parts = [reference.step, b"artifacts", b"provenance.json"];
        self.provenances.get_or_read(
            path(self.dir, parts),
            || shown_path(self.dir, parts),
            |content, path| Provenance::read(&content).map_err(|source| FileError::Provenance { path, source }),
        )
    }
}

/// A file of a step. No name of a reference has a dot, so none of them leads out of the directory; a link may.
fn path(dir: &Path, [step, kind, name]: [&[u8]; 3]) -> PathBuf {
    go_path::join(dir, OsStr::from_bytes(&[b"step-", step, b"/", kind, b"/", name].concat()))
}

fn shown_path(dir: &Path, [step, kind, name]: [&[u8]; 3]) -> String {
    format!("{}/step-{}/{}/{}", dir.display(), shown_name(step), shown_name(kind), shown_name(name))
}

/// What was read, until it is too much to keep.
struct Kept<T> {
    read: BTreeMap<PathBuf, Rc<T>>,
    bytes: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { read: BTreeMap::new(), bytes: 0 }
    }
}

impl<T> Kept<T> {
    fn get_or_read(
        &mut self,
        path: PathBuf,
        shown: impl FnOnce() -> String,
        parse: impl FnOnce(Vec<u8>, String) -> Result<T, FileError>,
    ) -> Result<Rc<T>, FileError> {
        if let Some(kept) = self.read.get(&path) {
            return Ok(Rc::clone(kept));
        }
        let shown = shown();
        let content = read(&path, LIMIT, &shown)?;
        self.bytes = self.bytes.saturating_add(content.len()).saturating_add(path.as_os_str().len());
        if self.bytes > KEPT {
            self.read.clear();
            self.bytes = content.len();
        }
        let read = Rc::new(parse(content, shown)?);
        self.read.insert(path, Rc::clone(&read));
        Ok(read)
    }
}
