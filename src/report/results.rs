//! Results: the files that a step wrote for the steps and Tasks after it.

use std::path::Path;

use super::message::{Entry, EntryKind};
use crate::go_path;
use crate::sys::file::{self, FileError};

/// How many bytes of results are read, of one or of all together. Far more than a termination message takes, and little
/// enough to hold.
const LIMIT: u64 = 1 << 20;

/// Why a result could not be read. The names are those of the command line.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResultsError {
    /// The file is there and cannot be read.
    #[error("Result {name:?} cannot be read")]
    Unreadable {
        /// The result.
        name: String,
        /// Its file, and why.
        source: FileError,
    },
    /// The file is longer than anything that could be reported.
    #[error("Result {name:?} is too large")]
    TooLarge {
        /// The result.
        name: String,
        /// Its file, and how long it is.
        source: FileError,
    },
    /// The files are together longer than anything that could be reported.
    #[error("Result {name:?} and those before it are together too large")]
    TooLargeTogether {
        /// The result with which they are.
        name: String,
        /// Its file, and how long it is.
        source: FileError,
    },
}

impl ResultsError {
    fn new(name: &str, source: FileError) -> Self {
        let name = name.to_owned();
        match source {
            FileError::TooLarge { size, .. } if size <= LIMIT => Self::TooLargeTogether { name, source },
            FileError::TooLarge { .. } => Self::TooLarge { name, source },
            FileError::Open { .. } | FileError::NotRegular { .. } | FileError::Read { .. } => {
                Self::Unreadable { name, source }
            }
        }
    }
}

/// Reads the files of these results, in this order. A file that is missing is a result that the step did not write.
///
/// Values are the whole files, untouched. A name may lead elsewhere (`/`, `..`), and so may a link, as with Tekton, but not
/// into `/proc`: an earlier step could have this one's environment told.
///
/// # Errors
/// [`ResultsError`] at the first file that is there and cannot be read; Tekton gives up then too
/// (`readResultsFromDisk` in `pkg/entrypoint/entrypointer.go`).
pub(super) fn read(dir: &Path, names: &[String], kind: EntryKind) -> Result<Vec<Entry>, ResultsError> {
    let mut entries = Vec::new();
    let mut room = LIMIT;
    for name in names {
        let value = file::read_written_if_there(&go_path::join(dir, name), room)
            .map_err(|error| ResultsError::new(name, error))?;
        room = room.saturating_sub(value.as_ref().map_or(0, |value| value.len() as u64));
        entries.extend(value.map(|value| Entry::new(kind, name, &value)));
    }
    Ok(entries)
}

/// Looks whether the files of these results could be read. Whoever takes them from there has limits of his own, so that
/// none is too large here.
///
/// # Errors
/// [`ResultsError::Unreadable`] at the first file that is there and cannot be read.
pub(super) fn probe(dir: &Path, names: &[String]) -> Result<(), ResultsError> {
    names
        .iter()
        .try_for_each(|name| file::probe(&go_path::join(dir, name)).map_err(|error| ResultsError::new(name, error)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::super::message;
    use super::*;
    use crate::sys::cause::chain;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn results_are_read_verbatim_in_the_order_of_their_names_and_missing_ones_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "two\n\n").unwrap();
        fs::write(dir.path().join("a"), " one").unwrap();
        fs::write(dir.path().join("empty"), "").unwrap();
        fs::write(dir.path().join("bytes"), b"\xff\x00").unwrap();
        let wanted = names(&["b", "missing", "a", "empty", "bytes", "a"]);
        let entries = read(dir.path(), &wanted, EntryKind::TASK_RESULT).unwrap();
        assert_eq!(
            message::encode(&entries),
            concat!(
                r#"[{"key":"b","value":"two\n\n","type":1},{"key":"a","value":" one","type":1},"#,
                r#"{"key":"empty","value":"","type":1},"#,
                "{\"key\":\"bytes\",\"value\":\"\u{fffd}\\u0000\",\"type\":1},",
                r#"{"key":"a","value":" one","type":1}]"#
            )
        );
    }

    #[test]
    fn names_are_joined_below_the_directory_as_go_joins_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("results")).unwrap();
        fs::create_dir(dir.path().join("results/sub")).unwrap();
        fs::write(dir.path().join("results/sub/r"), "below").unwrap();
        fs::write(dir.path().join("above"), "above").unwrap();
        let wanted = names(&["/sub/r", "sub/r", "../above"]);
        let entries = read(&dir.path().join("results"), &wanted, EntryKind::STEP_RESULT).unwrap();
        let values: Vec<_> = entries.iter().map(|entry| entry.value.as_str()).collect();
        assert_eq!(values, ["below", "below", "above"]);
        assert!(entries.iter().all(|entry| entry.kind == EntryKind::STEP_RESULT));
    }

    #[test]
    fn a_missing_results_directory_means_that_no_result_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let entries = read(&dir.path().join("nowhere"), &names(&["r"]), EntryKind::TASK_RESULT).unwrap();
        assert_eq!(entries, []);
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("device")).unwrap();
        for (name, found) in [("dir", "a directory"), ("fifo", "a FIFO"), ("device", "a device")] {
            let wanted = names(&[name]);
            let path = dir.path().join(name);
            let expected = format!("Result {name:?} cannot be read: {path:?} is {found}, and must be a regular file");
            assert_eq!(chain(&read(dir.path(), &wanted, EntryKind::TASK_RESULT).unwrap_err()), expected);
            assert_eq!(chain(&probe(dir.path(), &wanted).unwrap_err()), expected);
        }
    }

    #[test]
    fn a_result_below_a_file_is_an_error_not_a_missing_result() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = read(dir.path(), &names(&["file/r"]), EntryKind::TASK_RESULT).unwrap_err();
        let path = dir.path().join("file/r");
        assert_eq!(chain(&error), format!("Result \"file/r\" cannot be read: opening {path:?}: not a directory"));
    }

    #[test]
    fn a_result_above_one_mebibyte_is_not_read_in_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        // Sparse: reading it in full would take a tebibyte of memory.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read(dir.path(), &names(&["huge"]), EntryKind::TASK_RESULT).unwrap_err();
        assert!(matches!(error, ResultsError::TooLarge { .. }));
        assert_eq!(chain(&error), format!("Result \"huge\" is too large: {path:?} has 1099511627776 bytes"));
        // Whoever takes results from their files has his own limit.
        probe(dir.path(), &names(&["huge", "missing"])).unwrap();

        File::create(&path).unwrap().set_len(LIMIT).unwrap();
        let entries = read(dir.path(), &names(&["huge"]), EntryKind::TASK_RESULT).unwrap();
        assert_eq!(entries[0].value.len() as u64, LIMIT);
    }

    #[test]
    fn results_that_are_together_too_large_are_not_all_held_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("half")).unwrap().set_len(LIMIT / 2).unwrap();
        assert_eq!(read(dir.path(), &names(&["half", "half"]), EntryKind::TASK_RESULT).unwrap().len(), 2);
        File::create(dir.path().join("last")).unwrap().set_len(1).unwrap();
        let error = read(dir.path(), &names(&["half", "half", "last"]), EntryKind::TASK_RESULT).unwrap_err();
        let path = dir.path().join("last");
        assert_eq!(
            chain(&error),
            format!("Result \"last\" and those before it are together too large: {path:?} has 1 bytes")
        );
    }
}
