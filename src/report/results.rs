//! Results: the files that a step wrote for the steps and Tasks after it.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::message::{Entry, EntryKind};
use crate::sys::file;

/// How many bytes of one result are read. Far more than a termination message takes, and little enough to hold.
const LIMIT: u64 = 1 << 20;

/// Why a result could not be read. The names are those of the command line.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file is there and cannot be opened.
    #[error("Result {name:?} cannot be read: opening {path:?}")]
    Open {
        /// The result.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What stands there is not a regular file.
    #[error("Result {name:?} cannot be read: {path:?} is {found}, and must be a regular file")]
    NotRegular {
        /// The result.
        name: String,
        /// Its file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// Reading failed.
    #[error("Result {name:?} cannot be read: reading {path:?}")]
    Read {
        /// The result.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than anything that could be reported.
    #[error("Result {name:?} is too large: {path:?} has {size} bytes")]
    TooLarge {
        /// The result.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Bytes of the file.
        size: u64,
    },
}

/// Reads the files of these results, in this order. A file that is missing is a result that the step did not write.
///
/// Values are the whole files, untouched. A name may lead elsewhere (`/`, `..`), as with Tekton.
///
/// # Errors
/// [`ResultsError`] at the first file that is there and cannot be read; Tekton gives up then too
/// (`readResultsFromDisk` in `pkg/entrypoint/entrypointer.go`).
pub fn read(dir: &Path, names: &[String], kind: EntryKind) -> Result<Vec<Entry>, ResultsError> {
    let mut entries = Vec::new();
    for name in names {
        // Go joins an absolute name below the directory too.
        let path = dir.join(name.trim_start_matches('/'));
        if let Some(value) = read_one(name, &path)? {
            entries.push(Entry::new(kind, name, &value));
        }
    }
    Ok(entries)
}

fn read_one(name: &str, path: &Path) -> Result<Option<Vec<u8>>, ResultsError> {
    let subject = || (name.to_owned(), path.to_owned());
    let (mut file, file_type) = match file::open(path, OpenOptions::new().read(true)) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let (name, path) = subject();
            return Err(ResultsError::Open { name, path, source });
        }
    };
    if !file_type.is_file() {
        let (name, path) = subject();
        return Err(ResultsError::NotRegular { name, path, found: file::in_words(file_type) });
    }
    let mut value = Vec::new();
    let outcome = file.by_ref().take(LIMIT + 1).read_to_end(&mut value).and_then(|read| {
        // The size for the person who reads the error: what the file says of itself, or what was read of it.
        Ok(if value.len() as u64 > LIMIT { Some(file.metadata()?.len().max(read as u64)) } else { None })
    });
    let (name, path) = subject();
    match outcome {
        Ok(None) => Ok(Some(value)),
        Ok(Some(size)) => Err(ResultsError::TooLarge { name, path, size }),
        Err(source) => Err(ResultsError::Read { name, path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs::{self, File};

    use super::super::message;
    use super::*;

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
            let error = read(dir.path(), &names(&[name]), EntryKind::TASK_RESULT).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "Result {name:?} cannot be read: {:?} is {found}, and must be a regular file",
                    dir.path().join(name)
                )
            );
        }
    }

    #[test]
    fn a_result_below_a_file_is_an_error_not_a_missing_result() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = read(dir.path(), &names(&["file/r"]), EntryKind::TASK_RESULT).unwrap_err();
        let path = dir.path().join("file/r");
        assert_eq!(error.to_string(), format!("Result \"file/r\" cannot be read: opening {path:?}"));
        assert!(error.source().unwrap().to_string().contains("Not a directory"));
    }

    #[test]
    fn a_result_above_one_mebibyte_is_not_read_in_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        // Sparse: reading it in full would take a tebibyte of memory.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read(dir.path(), &names(&["huge"]), EntryKind::TASK_RESULT).unwrap_err();
        assert_eq!(error.to_string(), format!("Result \"huge\" is too large: {path:?} has 1099511627776 bytes"));

        File::create(&path).unwrap().set_len(LIMIT).unwrap();
        let entries = read(dir.path(), &names(&["huge"]), EntryKind::TASK_RESULT).unwrap();
        assert_eq!(entries[0].value.len() as u64, LIMIT);
    }
}
