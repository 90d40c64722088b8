//! `init`: everything that a pod's first init container does for its steps.

use std::ffi::OsString;
use std::path::Path;

use super::{SetupError, place, step_init};
use crate::host::Dirs;

/// Places the program, then makes the steps' links.
pub(super) fn init(source: &Path, destination: &Path, steps: &[OsString], dirs: &Dirs) -> Result<(), SetupError> {
    place::place(source, destination)?;
    step_init::step_init(&dirs.steps, &dirs.run, steps)?;
    Ok(())
}
