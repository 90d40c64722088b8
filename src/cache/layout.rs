//! The directory of a cache: what is made in it, so that whoever sees it sees it whole, and what is opened of it.

use std::ffi::OsStr;
use std::fs::{File, FileType};
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
            "Locks, unfinished files and notes of a cache of image lookups, the directory above. Nobody needs any of it\n\
             to stay: it can be removed at any time, and is made again.\n",
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
pub(super) struct Layout {
    /// The directory of the entries, unless there is none and none can be made.
    pub(super) blobs: Option<Directory>,
    /// Ours, if there may be anything written.
    pub(super) own: Own,
}

/// The directory of what is not an image layout's.
#[derive(Debug)]
pub(super) enum Own {
    /// It is there.
    Open(Directory),
    /// The layout is somebody else's.
    Foreign,
    /// It is not there and cannot be made.
    Unwritable(io::Error),
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
        let root = root.map_err(|source| match path.symlink_metadata() {
            Ok(found) if !found.is_dir() => refused(path, found.file_type()),
            _ => CacheError::Open { path: path.to_owned(), source },
        })?;
        // In this order: whoever makes a layout like ours makes our own directory first.
        let is_layout = is_there(&root, BLOBS) || is_there(&root, MARK);
        let foreign = is_layout && !is_there(&root, OWN);
        let completed = if foreign { Ok(()) } else { complete(&root) };
        let open = |parent: &Directory, name: &str, below: &str| match parent.directory(name) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(match parent.look(name) {
                Ok(found) if !found.is_dir() => refused(&path.join(below), found.file_type()),
                _ => CacheError::Open { path: path.join(below), source },
            }),
        };
        let own = match (foreign, open(&root, OWN, OWN)?, completed) {
            (true, ..) => Own::Foreign,
            (false, Some(own), _) => Own::Open(own),
            (false, None, Err(error)) => Own::Unwritable(error),
            (false, None, Ok(())) => Own::Unwritable(io::ErrorKind::NotFound.into()),
        };
        let blobs = match open(&root, BLOBS, BLOBS)? {
            Some(blobs) => open(&blobs, SHA256.name(), "blobs/sha256")?,
            None => None,
        };
        Ok(Self { blobs, own })
    }
}

fn refused(path: &Path, found: FileType) -> CacheError {
    CacheError::NotADirectory { path: path.to_owned(), found: in_words(found) }
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

fn create(directory: &Directory) -> io::Result<(File, String)> {
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
