//! The termination message file: read, and written in place.
//!
//! In a pod the path is a file of the host, bound there by kubelet: it cannot be replaced by a rename, and kubelet reads
//! what stands in it when the container has ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::existing::{Existing, NotAMessage};
use super::message::{self, Entry, Fitted, Spare, TooLarge};
use crate::sys::file::FileError;
use crate::sys::strangers;

/// How much of an existing file is read. What is longer is no message of anybody.
const EXISTING_LIMIT: u64 = 1 << 20;

/// Why the termination message was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    /// The file can neither be opened nor made, cannot hold a message, or what stands in it already cannot be read. It is
    /// left as it is.
    #[error(transparent)]
    File(#[from] FileError),
    /// The message does not fit. The file is left as it is.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The message could not be written. The file is empty now, unless that failed too.
    #[error("writing {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The message was written, and may be lost if the machine fails.
    #[error("syncing {path:?}")]
    Sync {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A message that stands in its file and has yet to reach the disk.
#[derive(Debug)]
#[must_use = "the message reaches the disk only with sync()"]
pub(super) struct Written {
    file: File,
    path: PathBuf,
    size: usize,
    lost: Option<Lost>,
    left_out: Option<usize>,
}

/// What stood in the file and was overwritten.
#[derive(Debug)]
pub(super) enum Lost {
    /// A step's own text, or a message that is damaged.
    Unreadable(NotAMessage),
    /// A file longer than any message.
    Huge,
}

impl Written {
    /// Bytes of the message.
    #[must_use]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// What was overwritten, if the file was not blank and no message stood there.
    #[must_use]
    pub(super) fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// How many bytes the message would have had with the spare entry, if that was left out.
    #[must_use]
    pub(super) fn left_out(&self) -> Option<usize> {
        self.left_out
    }

    /// Waits until the message is on the disk. What cannot be synced (a device) needs none.
    ///
    /// # Errors
    /// [`MessageError::Sync`].
    pub(super) fn sync(self) -> Result<(), MessageError> {
        match self.file.sync_all() {
            Err(source) if source.raw_os_error() != Some(libc::EINVAL) => {
                Err(MessageError::Sync { path: self.path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Writes the message that keeps the entries in the file and has these behind them, compressed if it may be and is
/// shorter so; `message::fit_with` says what becomes of them when they do not fit. No directory is made.
///
/// # Errors
/// [`MessageError`]; only after a [`MessageError::Write`] has the file changed.
pub(super) fn write(
    path: &Path,
    spare: Option<&Spare>,
    entries: &[Entry],
    compress: bool,
) -> Result<Written, MessageError> {
    let subject = || path.to_owned();
    let (mut file, file_type) =
        strangers::open(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .map_err(|source| FileError::Open { path: subject(), source })?;
    let (existing, lost) = if file_type.is_file() {
        read(&mut file).map_err(|source| FileError::Read { path: subject(), source })?
    } else if std::os::unix::fs::FileTypeExt::is_char_device(&file_type) {
        // `/dev/null`, `/dev/stderr`: written to, never read.
        (Vec::new(), None)
    } else {
        return Err(FileError::NotRegular { path: subject(), found: file_type }.into());
    };
    let Fitted { text: message, left_out } = message::fit_with(&existing, spare, entries, compress)?;

    let mut replace = || {
        if file_type.is_file() {
            file.set_len(0)?;
            file.rewind()?;
        }
        file.write_all(message.as_bytes())
    };
    if let Err(source) = replace() {
        // Half a message would make the controller stumble over the JSON; no message is only a message that is missing.
        let _ = file.set_len(0);
        return Err(MessageError::Write { path: subject(), source });
    }
    Ok(Written { file, path: subject(), size: message.len(), lost, left_out })
}

/// The entries that stand in the file, or what else does.
fn read(file: &mut File) -> io::Result<(Vec<Entry>, Option<Lost>)> {
    let mut content = Vec::new();
    let read = file.take(EXISTING_LIMIT + 1).read_to_end(&mut content)?;
    if read as u64 > EXISTING_LIMIT {
        return Ok((Vec::new(), Some(Lost::Huge)));
    }
    Ok(match Existing::parse(&content) {
        Existing::Entries(entries) => (entries, None),
        Existing::Unreadable(why) => (Vec::new(), Some(Lost::Unreadable(why))),
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::super::message::EntryKind;
    use super::*;

    fn started_at() -> Entry {
        Entry::internal("StartedAt", "2026-11-21T05:55:02.402Z")
    }

    const STARTED_AT: &str = r#"{"key":"StartedAt","value":"2026-11-21T05:55:02.402Z","type":3}"#;

    /// The file's content after a message was written over this one, and whether something was lost.
    fn written_over(content: &[u8]) -> (String, bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("termination");
        fs::write(&path, content).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        let written = write(&path, None, &[started_at()], false).unwrap();
        let lost = matches!(written.lost(), Some(Lost::Unreadable(_)));
        let size = written.size();
        written.sync().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), before, "the file was replaced, not written in place");
        let message = fs::read_to_string(&path).unwrap();
        assert_eq!(message.len(), size);
        (message, lost)
    }

    #[test]
    fn a_missing_file_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("termination");
        write(&path, None, &[started_at()], false).unwrap().sync().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("[{STARTED_AT}]"));
    }

    #[test]
    fn entries_that_stand_there_stay_in_front() {
        assert_eq!(
            written_over(br#" [{"type":"TaskRunResult","key":"a","value":"b","more":1}] "#),
            (format!(r#"[{{"key":"a","value":"b","type":1}},{STARTED_AT}]"#), false)
        );
    }

    #[test]
    fn garbage_is_overwritten_to_its_last_byte() {
        for garbage in [&b"not json"[..], &[0xff; 5000], b"[{\"key\":\"a\"", b"{}"] {
            assert_eq!(written_over(garbage), (format!("[{STARTED_AT}]"), true));
        }
    }

    #[test]
    fn a_blank_file_loses_nothing() {
        for blank in [&b""[..], b" \n", b"null", b"[]"] {
            assert_eq!(written_over(blank), (format!("[{STARTED_AT}]"), false));
        }
    }

    #[test]
    fn a_compressed_message_is_kept_also_when_ours_is_not_compressed() {
        assert_eq!(
            written_over(b"tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA"),
            (format!(r#"[{{"key":"old","value":"1","type":1}},{STARTED_AT}]"#), false)
        );
    }

    #[test]
    fn a_huge_file_is_not_read_in_full_and_counted_as_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("termination");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(write(&path, None, &[started_at()], false).unwrap().lost(), Some(Lost::Huge)));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("[{STARTED_AT}]"));
    }

    #[test]
    fn a_directory_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(dir.path(), None, &[started_at()], false).unwrap_err();
        assert_eq!(error.to_string(), format!("opening {:?}", dir.path()));
        assert!(error.source().unwrap().to_string().starts_with("Is a directory"), "{error:?}");
    }

    #[test]
    fn no_directory_is_made_for_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none/termination");
        let error = write(&path, None, &[started_at()], false).unwrap_err();
        assert_eq!(error.to_string(), format!("opening {path:?}"));
        assert!(error.source().unwrap().to_string().starts_with("No such file or directory"), "{error:?}");
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn a_fifo_is_an_error_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = write(&path, None, &[started_at()], false).unwrap_err();
        assert_eq!(error.to_string(), format!("{path:?} is a FIFO, and must be a regular file"));
    }

    #[test]
    fn a_full_device_is_an_error_and_the_null_device_is_none() {
        let error = write(Path::new("/dev/full"), None, &[started_at()], false).unwrap_err();
        assert_eq!(error.to_string(), "writing \"/dev/full\"");
        assert!(error.source().unwrap().to_string().starts_with("No space left on device"), "{error:?}");
        write(Path::new("/dev/null"), None, &[started_at()], false).unwrap().sync().unwrap();
    }

    #[test]
    fn a_message_that_does_not_fit_leaves_the_file_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("termination");
        for content in ["", "garbage", r#"[{"key":"old","value":"v"}]"#] {
            fs::write(&path, content).unwrap();
            let large = Entry::new(EntryKind::TASK_RESULT, "r", &[b'x'; 4096]);
            let error = write(&path, None, &[large, started_at()], false).unwrap_err();
            assert!(matches!(error, MessageError::TooLarge(_)), "{error:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_message_that_cannot_be_synced_is_an_error_that_names_the_file() {
        let error = MessageError::Sync { path: "/t".into(), source: io::Error::from_raw_os_error(libc::EIO) };
        assert_eq!(error.to_string(), "syncing \"/t\"");
    }
}
