//! The pipes that a step writes to where its output is copied.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

/// How much a pipe is asked to hold, in bytes: four times the usual, so that writer and reader seldom wait for each other.
/// More was measured to be no faster, and what is in it is lost when we are killed.
const CAPACITY: i32 = 1 << 18;

/// A pipe: the end to read from, which never waits, and the end that is somebody else's stdout or stderr. Neither is
/// inherited by a program.
///
/// # Errors
/// When there is no descriptor to be had.
pub fn new() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // A user with many large pipes gets small ones: slower, and nothing else.
    let _ = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(CAPACITY));
    Ok((File::from(reader), writer))
}

/// How many bytes are in a pipe now.
///
/// # Errors
/// When the descriptor is no pipe.
pub fn content(reader: &File) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one integer, and the pointer is to a live one.
    if unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut bytes) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Puts up to `most` bytes that are in one pipe into another one as well, without waiting and without taking them out of
/// the first: `tee(2)`. Returns how many. Where there are none, or there is no room, the answer is
/// [`io::ErrorKind::WouldBlock`] or 0.
///
/// # Errors
/// That of the call: `EPIPE` when nobody reads the other one, `EINVAL` when it is no pipe.
pub fn duplicate(from: &File, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    // SAFETY: descriptor numbers and a length; the call touches no memory of ours.
    let copied = unsafe { libc::tee(from.as_raw_fd(), to.as_raw_fd(), most, libc::SPLICE_F_NONBLOCK) };
    usize::try_from(copied).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_duplicated_stays_where_it_was() {
        let (mut from, writer) = new().unwrap();
        let (mut reader, to) = io::pipe().unwrap();
        File::from(writer).write_all(b"some bytes").unwrap();
        assert_eq!(content(&from).unwrap(), 10);
        assert_eq!(duplicate(&from, to.as_fd(), 4).unwrap(), 4);
        assert_eq!(content(&from).unwrap(), 10);
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"some");
        let mut all = String::new();
        from.read_to_string(&mut all).unwrap();
        assert_eq!(all, "some bytes");
    }

    #[test]
    fn a_full_pipe_an_unread_one_and_what_is_no_pipe_are_told_apart() {
        let (from, writer) = new().unwrap();
        File::from(writer).write_all(b"x").unwrap();
        let (reader, mut to) = io::pipe().unwrap();
        to.write_all(&[0; 65536]).unwrap();
        assert_eq!(duplicate(&from, to.as_fd(), 1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(reader);
        assert_eq!(duplicate(&from, to.as_fd(), 1).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let file = tempfile::tempfile().unwrap();
        assert_eq!(duplicate(&from, file.as_fd(), 1).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
