//! Writing to a stream that belongs to others too, without ever waiting for its reader.
//!
//! The stream is an open file description that we were given: switching it to non-blocking would switch it for everybody
//! who has it. So each write is made in a way that does not wait, by what the stream is.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::sys::stat::{SFlag, fstat, major};

use super::poll;

/// What fits into a pipe that has room at all, in bytes: `PIPE_BUF`.
const FITS_PIPE: usize = 4096;

/// What fits into a terminal that has room at all, in bytes. The kernel gives its room away in pieces, so that behind one
/// line there may be none for the next.
const FITS_TERMINAL: usize = 1;

/// The number of the kernel's own devices: `/dev/null`, `/dev/zero`, `/dev/full`.
const MEMORY_DEVICES: u64 = 1;

/// How a write to a stream does not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It never does: a file, a device without anybody behind it, or one that we have opened for ourselves.
    Plain,
    /// The call has a flag for it.
    Socket,
    /// A pipe: what it has room for is asked first, and it can be given another pipe's bytes.
    Pipe,
    /// A terminal or another device that cannot be opened again: what it has room for is asked first.
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
        if kind == Kind::Device
            && let Ok(own) = opened_again(&fd)
        {
            return Ok(Self { fd: own, kind: Kind::Plain });
        }
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

/// An open file description of our own, which does not wait. Another user's terminal may refuse it, and so does a root
/// without `/proc`.
fn opened_again(fd: &OwnedFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    Ok(OpenOptions::new().write(true).custom_flags(flags).open(path)?.into())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::FromRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::time::Duration;

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

    /// The two ends of a new terminal.
    fn terminal() -> (File, File) {
        let (mut master, mut slave) = (-1, -1);
        let none = std::ptr::null_mut();
        // SAFETY: the first two pointers are to live integers, and the others may be null.
        let opened = unsafe { libc::openpty(&raw mut master, &raw mut slave, none, none.cast(), none.cast()) };
        assert_eq!(opened, 0, "{}", io::Error::last_os_error());
        // SAFETY: it was opened just now, and nobody else has it.
        let own = |fd| unsafe { File::from_raw_fd(fd) };
        (own(master), own(slave))
    }

    #[test]
    fn lines_on_a_terminal_that_nobody_reads_are_never_waited_for() {
        for again in [true, false] {
            let (mut master, slave) = terminal();
            let stream = match Stream::of(&slave).unwrap() {
                opened if again => opened,
                _ => Stream { fd: slave.try_clone().unwrap().into(), kind: Kind::Device },
            };
            let (done, ended) = mpsc::channel();
            std::thread::spawn(move || {
                let (lines, mut at) = (b"y\n".repeat(300), 0);
                while let Ok(written) = stream.write_now(&lines[at..]) {
                    at = (at + written) % lines.len();
                }
                done.send(())
            });
            ended.recv_timeout(Duration::from_secs(60)).expect("a write is being waited for");
            let mut some = [0; 3];
            master.read_exact(&mut some).unwrap();
            assert_eq!(&some, b"y\r\n");
        }
    }
}
