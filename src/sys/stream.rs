//! Writing to a stream that belongs to others too, without ever waiting for its reader.
//!
//! The stream is an open file description that we were given: switching it to non-blocking would switch it for everybody
//! who has it. So each write is made in a way that does not wait, by what the stream is.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::stat::{SFlag, fstat, major};

use super::poll;

/// What fits into a pipe that has room at all, in bytes: `PIPE_BUF`.
const FITS_PIPE: usize = 4096;

/// What fits into a terminal that has room at all, in bytes: half of the smallest piece in which the kernel counts, for
/// a newline may become two characters.
const FITS_TERMINAL: usize = 128;

/// The number of the kernel's own devices: `/dev/null`, `/dev/zero`, `/dev/full`.
const MEMORY_DEVICES: u64 = 1;

/// How a write to a stream does not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It never does: a file, or a device without anybody behind it.
    Plain,
    /// The call has a flag for it.
    Socket,
    /// A pipe: what it has room for is asked first, and it can be given another pipe's bytes.
    Pipe,
    /// A terminal or another device: what it has room for is asked first.
    Device,
}

/// A stream that is written to.
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
    kind: Kind,
}

impl Stream {
    /// The stream behind a descriptor, by a descriptor of its own.
    ///
    /// # Errors
    /// When the descriptor is not open, or there is none left.
    pub fn of(fd: impl AsFd) -> io::Result<Self> {
        let fd = fd.as_fd().try_clone_to_owned()?;
        let found = fstat(&fd)?;
        let kind = match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFIFO => Kind::Pipe,
            SFlag::S_IFSOCK => Kind::Socket,
            SFlag::S_IFCHR if major(found.st_rdev) != MEMORY_DEVICES => Kind::Device,
            _ => Kind::Plain,
        };
        Ok(Self { fd, kind })
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether it is a pipe.
    #[must_use]
    pub fn is_pipe(&self) -> bool {
        self.kind == Kind::Pipe
    }

    /// Writes as much as there is room for, and returns how much that was.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is no room now; whatever else the system says.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Plain => Ok(nix::unistd::write(&self.fd, bytes)?),
            Kind::Socket => self.send(bytes),
            // Where the room is taken by another writer between the two calls, the second one waits for the reader. Pipes
            // are written to in this way only where `tee(2)` is not to be had.
            Kind::Pipe | Kind::Device if poll::is_writable(self.fd()) => {
                let most = if self.kind == Kind::Pipe { FITS_PIPE } else { FITS_TERMINAL };
                Ok(nix::unistd::write(&self.fd, bytes.get(..most).unwrap_or(bytes))?)
            }
            Kind::Pipe | Kind::Device => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the pointer and the length are those of a live slice, which is only read.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Writes until there is no room.
    fn fill(stream: &Stream) -> usize {
        let mut filled = 0;
        loop {
            match stream.write_now(&[7; 65536]) {
                Ok(written) => filled += written,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return filled;
                }
            }
        }
    }

    #[test]
    fn a_stream_that_nobody_reads_is_filled_and_never_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        let stream = Stream::of(&writer).unwrap();
        let filled = fill(&stream);
        assert!(filled >= 65536, "{filled}");
        reader.read_exact(&mut [0; 65536]).unwrap();
        assert_eq!(stream.write_now(&[7; 65536]).unwrap(), FITS_PIPE);

        let (mut reader, writer) = UnixStream::pair().unwrap();
        let stream = Stream::of(&writer).unwrap();
        let mut bytes = vec![0; fill(&stream)];
        reader.read_exact(&mut bytes).unwrap();
        assert!(stream.write_now(&[7; 65536]).unwrap() > 0);
    }

    #[test]
    fn a_stream_whose_reader_is_gone_is_an_error() {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let error = Stream::of(&writer).unwrap().write_now(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn files_and_the_kernel_s_own_devices_take_all_at_once() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Stream::of(&file).unwrap().write_now(&[0; 65536]).unwrap(), 65536);
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert_eq!(Stream::of(&null).unwrap().write_now(&[0; 65536]).unwrap(), 65536);
    }
}
