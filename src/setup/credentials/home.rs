//! Copying the written credentials to where git, ssh and docker look for them: the home directory.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::call::CallError;
use crate::go_path;
use crate::host::Dirs;
use crate::log;
use crate::quote::{OneLine, Quoted};
use crate::sys::cause::chain;
use crate::sys::directory::{self, DirectoryError};
use crate::sys::file;
use crate::sys::strangers;

/// What is copied, in this order.
const NAMES: [&str; 4] = [".docker", ".gitconfig", ".git-credentials", ".ssh"];

/// A credential that could not be copied. The sentences are Tekton's.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("unable to read source file info")]
    Info(#[source] CallError),
    #[error("unable to open source")]
    Source(#[source] CallError),
    #[error("unable to create destination directory")]
    Directory(#[from] DirectoryError),
    #[error("unable to read subdirectories of source")]
    List(#[source] CallError),
    #[error("unable to open destination")]
    Destination(#[source] CallError),
    #[error("error copying from source to destination")]
    Content(#[source] CallError),
    /// What Tekton would wait for.
    #[error("unable to open source: {} is {what}, not a regular file", path.display())]
    NotAFile { path: PathBuf, what: &'static str },
}

/// Copies what is in the directory of credentials, by whomever it was written, to the home directory. A failure is said,
/// and is none of the step's.
pub(super) fn copy(dirs: &Dirs, home: Option<&OsStr>) {
    if !dirs.creds.is_dir() {
        return;
    }
    let Some(home) = home.filter(|home| !home.is_empty()) else {
        let error = "error getting the user's home directory: $HOME is not defined";
        log::say(format_args!("non-fatal error copying credentials: {}", Quoted::new(OsStr::new(error))));
        return;
    };
    for name in NAMES {
        if let Err(error) = copy_one(&dirs.creds.join(name), &go_path::join(Path::new(home), name)) {
            log::say(format_args!(
                "warning: unsuccessful cred copy: {} from {} to {}: {}",
                Quoted::new(OsStr::new(name)),
                Quoted::new(dirs.creds.as_os_str()),
                Quoted::new(home),
                OneLine(chain(&error))
            ));
        }
    }
}

/// Copies a file or a tree.
fn copy_one(source: &Path, destination: &Path) -> Result<(), CopyError> {
    // Everything is found before anything is made: a home directory below the source would never be done.
    for found in find(source)? {
        let destination = go_path::join(destination, &found.below);
        match found.what {
            What::Directory => directory::make_all(&destination, 0o700)?,
            What::File(source) => copy_file(&source, &destination)?,
        }
    }
    Ok(())
}

/// A part of a tree.
struct Found {
    /// Its path below the tree's root.
    below: PathBuf,
    what: What,
}

enum What {
    Directory,
    /// Where it is.
    File(PathBuf),
}

/// All parts of a tree, each behind its directory. What is not there is no part.
fn find(root: &Path) -> Result<Vec<Found>, CopyError> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let path = if below.as_os_str().is_empty() { root.to_owned() } else { root.join(&below) };
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(CopyError::Info(CallError::of("lstat", &path)(error))),
        };
        if !metadata.is_dir() {
            found.push(Found { below, what: What::File(path) });
            continue;
        }
        let entries = fs::read_dir(&path).map_err(|error| CopyError::Source(CallError::of("open", &path)(error)))?;
        for entry in entries {
            let entry = entry.map_err(|error| CopyError::List(CallError::of("readdirent", &path)(error)))?;
            waiting.push(below.join(entry.file_name()));
        }
        found.push(Found { below, what: What::Directory });
    }
    Ok(found)
}

/// Copies the content of a file, or of what a link leads to. A new copy can be read by its owner alone; an old one keeps
/// its mode.
fn copy_file(source: &Path, destination: &Path) -> Result<(), CopyError> {
    let (mut from, file_type) = match file::open(source, OpenOptions::new().read(true)) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CopyError::Source(CallError::of("open", source)(error))),
    };
    if !file_type.is_file() {
        return Err(CopyError::NotAFile { path: source.into(), what: file::in_words(file_type) });
    }
    // Not cut before it is known to be another file.
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let (mut to, file_type) = strangers::open(destination, options)
        .map_err(|error| CopyError::Destination(CallError::of("open", destination)(error)))?;
    let failed = |call, path| move |error| CopyError::Content(CallError::of(call, path)(error));
    if same(&from, &to).map_err(failed("stat", destination))? {
        return Ok(());
    }
    let mut copy = || {
        if file_type.is_file() {
            // A link to /dev/null has no length.
            to.set_len(0).map_err(failed("truncate", destination))?;
        }
        let mut buffer = [0; 8 * 1024];
        loop {
            let length = from.read(&mut buffer).map_err(failed("read", source))?;
            let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
            to.write_all(read).map_err(failed("write", destination))?;
        }
    };
    // Half a file is worse than none.
    copy().inspect_err(|_| file::take_back(destination, &to, None))
}

/// Whether both are one file, by whatever paths: in a home directory that is the directory of credentials, for one.
fn same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}
