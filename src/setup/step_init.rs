//! `step-init`: links by which a step finds the metadata of another one, by name and by index.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Links that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StepInitError {
    /// The directory of the links cannot be created.
    #[error("error creating steps directory {path:?}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A step's name cannot be the name of a link.
    #[error("the step name {name:?} contains a slash, so it cannot be a file name")]
    Name {
        /// The name.
        name: OsString,
    },
    /// A link cannot be created.
    #[error("symlink {} {}", target.display(), link.display())]
    Link {
        /// What the link shall say.
        target: PathBuf,
        /// The link.
        link: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// Makes `<steps>/<name>` and `<steps>/<index>` links to `<run>/<index>/status`, which need not exist yet. What is
/// there already stays as it is, so a restarted init container finds its own work done.
pub(super) fn step_init(steps: &Path, run: &Path, names: &[OsString]) -> Result<(), StepInitError> {
    fs::create_dir_all(steps).map_err(|error| StepInitError::Directory { path: steps.into(), cause: error })?;
    for (index, name) in names.iter().enumerate() {
        // Joined to the directory, it would name something outside of it.
        if name.as_bytes().contains(&b'/') {
            return Err(StepInitError::Name { name: name.clone() });
        }
        let index = index.to_string();
        let target = run.join(&index).join("status");
        for name in [name, OsStr::new(&index)] {
            link(&target, steps.join(name))?;
        }
    }
    Ok(())
}

fn link(target: &Path, link: PathBuf) -> Result<(), StepInitError> {
    match symlink(target, &link) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StepInitError::Link { target: target.into(), link, cause: error }),
    }
}
