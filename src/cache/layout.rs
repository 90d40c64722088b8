//! The directory of a cache: what is made in it, so that whoever sees it sees it whole, and what is opened of it.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::CacheError;
use crate::sys::beneath::Directory;
use crate::sys::file::in_words;

/// How the name of what is not finished begins.
pub(super) const UNFINISHED: &str = "new-";

/// Everybody may read what is here: it is no secret, and whoever may not see it is not given the directory.
const FILE: u32 = 0o444;

/// How often another name is tried for something new, if there is one of that name.
const TRIES: u64 = 16;

/// The directory of what is not an image layout's: locks, unfinished files, notes of who wrote an entry.
const OWN: &str = "entrypoint";

/// Something that is made.
#[derive(Debug)]
enum Node {
    File(&'static str, &'static str),
    Directory(&'static str, &'static [Self]),
}

/// A whole layout. Our own directory is made first: a layout without it is somebody else's. None of these directories is
/// empty when it gets its name, so that it does not replace one that somebody else made at the same time.
const LAYOUT: &[Node] = &[
    Node::Directory(
        OWN,
        &[Node::File(
            "README",
            "Locks, unfinished files and notes of a cache of image lookups, which is the directory above. That can be\n\
             removed at any time, as a whole. Without this directory in it, it is only read.\n",
        )],
    ),
    Node::Directory(BLOBS, &[SHA256]),
    Node::File(
        "index.json",
        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[]}\n",
    ),
    Node::File(MARK, "{\"imageLayoutVersion\":\"1.0.0\"}\n"),
];
const BLOBS: &str = "blobs";
const SHA256: Node = Node::Directory("sha256", &[]);
const MARK: &str = "oci-layout";

/// What is open of a cache's directory.
#[derive(Debug)]
pub(super) enum Layout {
    /// All of it is there.
    Whole {
        /// The entries.
        blobs: Directory,
        /// What is not an image layout's.
        own: Directory,
    },
    /// It is only read.
    ReadOnly {
        /// The entries, if there may be any.
        blobs: Option<Directory>,
        /// Why nothing is written.
        why: ReadOnly,
    },
}

/// Why nothing is written to a cache.
#[derive(Debug)]
pub(super) enum ReadOnly {
    /// The layout is somebody else's.
    Foreign,
    /// Something is not there and cannot be made.
    Incomplete(io::Error),
}

impl Layout {
    /// Opens a directory, and makes what is missing of it.
    pub(super) fn open(path: &Path) -> Result<Self, CacheError> {
        let root = match Directory::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path).map_err(|source| CacheError::Make { path: path.to_owned(), source })?;
                Directory::open(path)
            }
            opened => opened,
        };
        let root = root.map_err(|source| refused(path, path.symlink_metadata(), source))?;
        // In this order: whoever makes a layout like ours makes our own directory first.
        let is_layout = is_there(&root, BLOBS) || is_there(&root, MARK);
        let foreign = is_layout && !is_there(&root, OWN);
        let completed = if foreign { Ok(()) } else { complete(&root) };
        let own = below(&root, OWN, &path.join(OWN))?;
        let path = path.join(BLOBS);
        let blobs = below(&root, BLOBS, &path)?;
        let blobs = blobs.map(|blobs| below(&blobs, SHA256.name(), &path.join(SHA256.name()))).transpose()?.flatten();
        Ok(match (foreign, blobs, own) {
            (true, blobs, _) => Self::ReadOnly { blobs, why: ReadOnly::Foreign },
            (false, Some(blobs), Some(own)) => Self::Whole { blobs, own },
            (false, blobs, _) => {
                // If all has been made, somebody has removed it since.
                let error = completed.err().unwrap_or_else(|| io::Error::from_raw_os_error(libc::ENOENT));
                Self::ReadOnly { blobs, why: ReadOnly::Incomplete(error) }
            }
        })
    }

    /// The directory of the entries, if there may be any.
    pub(super) fn blobs(&self) -> Option<&Directory> {
        match self {
            Self::Whole { blobs, .. } => Some(blobs),
            Self::ReadOnly { blobs, .. } => blobs.as_ref(),
        }
    }
}

/// A directory of the layout, if it is there.
fn below(parent: &Directory, name: &str, path: &Path) -> Result<Option<Directory>, CacheError> {
    match parent.directory(name) {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(refused(path, parent.look(name), source)),
    }
}

/// Why something could not be opened as a directory.
fn refused(path: &Path, found: io::Result<Metadata>, source: io::Error) -> CacheError {
    let path = path.to_owned();
    match found {
        Ok(found) if !found.is_dir() => CacheError::NotADirectory { path, found: in_words(found.file_type()) },
        _ => CacheError::Open { path, source },
    }
}

/// Whether anything stands there: what cannot be seen does.
fn is_there(directory: &Directory, name: impl AsRef<OsStr>) -> bool {
    !directory.look(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Makes the whole directory, in one that is there, open to those to whom that one is.
fn make(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    put(&Directory::follow(parent)?, name, &Node::Directory("", LAYOUT))
}

/// Makes what is missing, as far as that is possible.
fn complete(root: &Directory) -> io::Result<()> {
    let missing = LAYOUT.iter().filter(|node| !is_there(root, node.name()));
    let made = missing.map(|node| put(root, node.name().as_ref(), node)).fold(Ok(()), Result::and);
    match root.directory(BLOBS) {
        Ok(blobs) if !is_there(&blobs, SHA256.name()) => made.and(put(&blobs, SHA256.name().as_ref(), &SHA256)),
        _ => made,
    }
}

impl Node {
    const fn name(&self) -> &'static str {
        match self {
            Self::File(name, _) | Self::Directory(name, _) => name,
        }
    }

    /// Makes it. A directory is as open as the one above: who may write there may write here.
    fn build(&self, parent: &Directory, name: &str) -> io::Result<()> {
        match self {
            Self::File(_, content) => parent.create(name, FILE)?.write_all(content.as_bytes()),
            Self::Directory(_, nodes) => {
                let made = parent.make(name, parent.metadata()?.permissions().mode() & 0o3777)?;
                nodes.iter().try_for_each(|node| node.build(&made, node.name()))
            }
        }
    }

    /// Removes what has been made of it; none of it need be there.
    fn demolish(&self, parent: &Directory, name: &str) {
        let Self::Directory(_, nodes) = self else {
            let _ = parent.remove(name);
            return;
        };
        if let Ok(made) = parent.directory(name) {
            nodes.iter().for_each(|node| node.demolish(&made, node.name()));
        }
        let _ = parent.remove_directory(name);
    }
}

/// Makes something whole under a name that nobody looks for, then gives it its own. If somebody was faster, that is as good.
fn put(parent: &Directory, name: &OsStr, node: &Node) -> io::Result<()> {
    let unfinished = new_name(0);
    let made = node.build(parent, &unfinished).and_then(|()| parent.rename(&unfinished, parent, name));
    made.or_else(|error| {
        node.demolish(parent, &unfinished);
        if is_there(parent, name) { Ok(()) } else { Err(error) }
    })
}

/// A name that nobody can have thought of.
fn new_name(attempt: u64) -> String {
    format!("{UNFINISHED}{:016x}", RandomState::new().hash_one(attempt))
}

/// Writes a file: whole under a name that nobody looks for, then under its own, in place of what was there.
///
/// There is no `fsync`: what a crash of the machine leaves is found not to be what its name says.
pub(super) fn write(unfinished: &Directory, content: &[u8], place: &Directory, name: &str) -> io::Result<()> {
    let (mut file, new) = create(unfinished)?;
    let written = file.write_all(content).and_then(|()| unfinished.rename(&new, place, name));
    written.inspect_err(|_| {
        let _ = unfinished.remove(&new);
    })
}

/// A file under a name that nobody looks for, and that name.
pub(super) fn create(directory: &Directory) -> io::Result<(File, String)> {
    let mut attempt = 0;
    loop {
        let name = new_name(attempt);
        match directory.create(&name, FILE) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < TRIES => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
