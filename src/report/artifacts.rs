//! Artifacts: the provenance of what a step, or its Task, took and made.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::message::{Entry, EntryKind};
use crate::go_json;
use crate::go_path;
use crate::sys::file::{self, FileError};

/// How many bytes of a provenance are read. Far more than a termination message takes, and little enough to hold.
const LIMIT: u64 = 1 << 20;

/// The provenance of artifacts could not be read. The text begins as Tekton's does.
#[derive(Debug, thiserror::Error)]
#[error("Error while handling {whose} artifacts")]
pub(super) struct ArtifactsError {
    /// `step` or `task`.
    whose: &'static str,
    /// The file, and why.
    source: FileError,
}

impl ArtifactsError {
    /// Whether the file is only too long.
    #[must_use]
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self.source, FileError::TooLarge { .. })
    }
}

/// The provenance of the step's artifacts, if it wrote any: the key is the whole path.
///
/// # Errors
/// [`ArtifactsError`] when the file is there and cannot be read.
pub(super) fn of_step(metadata_dir: &Path) -> Result<Option<Entry>, ArtifactsError> {
    read(metadata_dir, "artifacts/provenance.json", EntryKind::STEP_ARTIFACTS, "step")
}

/// The provenance of the Task's artifacts, which its steps write together.
///
/// # Errors
/// [`ArtifactsError`] when the file is there and cannot be read.
pub(super) fn of_task(artifacts_dir: &Path) -> Result<Option<Entry>, ArtifactsError> {
    read(artifacts_dir, "provenance.json", EntryKind::TASK_ARTIFACTS, "task")
}

fn read(dir: &Path, name: &str, kind: EntryKind, whose: &'static str) -> Result<Option<Entry>, ArtifactsError> {
    let path = go_path::join(dir, name);
    let value = file::read_if_there(&path, LIMIT).map_err(|source| ArtifactsError { whose, source })?;
    let key = go_json::text(path.as_os_str().as_bytes());
    Ok(value.map(|value| Entry::new(kind, &key, &value)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::message;
    use super::*;
    use crate::sys::cause::chain;

    #[test]
    fn the_provenance_of_a_step_has_the_whole_path_as_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("artifacts/provenance.json");
        fs::create_dir(dir.path().join("artifacts")).unwrap();
        assert_eq!(of_step(dir.path()).unwrap(), None);
        fs::write(&path, "{}\n").unwrap();
        let entry = of_step(&dir.path().join(".//x/..")).unwrap().unwrap();
        assert_eq!(message::encode([&entry]), format!(r#"[{{"key":"{}","value":"{{}}\n","type":5}}]"#, path.display()));
    }

    #[test]
    fn the_provenance_of_a_task_stands_in_the_directory_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("provenance.json");
        assert_eq!(of_task(dir.path()).unwrap(), None);
        fs::write(&path, b"\xff").unwrap();
        let entry = of_task(dir.path()).unwrap().unwrap();
        assert_eq!(
            message::encode([&entry]),
            format!("[{{\"key\":\"{}\",\"value\":\"\u{fffd}\",\"type\":6}}]", path.display())
        );
    }

    #[test]
    fn a_provenance_that_cannot_be_read_is_told_in_tektons_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("provenance.json");
        fs::create_dir(&path).unwrap();
        let error = of_task(dir.path()).unwrap_err();
        assert!(!error.is_too_large());
        assert_eq!(
            chain(&error),
            format!("Error while handling task artifacts: {path:?} is a directory, and must be a regular file")
        );
        fs::write(dir.path().join("artifacts"), "").unwrap();
        let path = dir.path().join("artifacts/provenance.json");
        assert_eq!(
            chain(&of_step(dir.path()).unwrap_err()),
            format!("Error while handling step artifacts: opening {path:?}: not a directory")
        );
    }

    #[test]
    fn a_provenance_above_one_mebibyte_is_not_read_in_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("provenance.json");
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = of_task(dir.path()).unwrap_err();
        assert!(error.is_too_large());
        assert_eq!(chain(&error), format!("Error while handling task artifacts: {path:?} has 1099511627776 bytes"));
    }
}
