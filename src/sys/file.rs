//! Opening a path at which somebody else may have put something odd: never waits, and tells what stands there.

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file so that neither a FIFO nor a terminal can make us wait or become our controlling terminal. What it is
/// stands beside it.
///
/// # Errors
/// Those of the system for `open` and `stat`.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, FileType)> {
    let file = options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let file_type = file.metadata()?.file_type();
    Ok((file, file_type))
}

/// A file's type, in words.
#[must_use]
pub fn in_words(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "a device"
    } else {
        "a file"
    }
}
