//! One stream of a step on its way from the step's pipe to our own stream and to a file.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use super::file::CopyFile;
use crate::sys::cause::Cause;
use crate::sys::pipe;
use crate::sys::stream::Stream;

/// How much is read at once, in bytes: what an ordinary pipe holds.
const CHUNK: usize = 1 << 16;

/// How much is passed on before others get a look in.
const TURN: usize = 1 << 20;

/// What a copy waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// That the step writes, or ends.
    Step,
    /// That somebody reads our own stream.
    Reader,
}

/// What became of one attempt to pass something on.
enum Passed {
    /// So many bytes were taken by our own stream.
    Bytes(usize),
    /// There is none to be passed on, or no room.
    Nothing(Wait),
    /// There will be no more.
    End,
}

/// One stream that is being copied.
#[derive(Debug)]
pub(super) struct Copying {
    /// `stdout` or `stderr`.
    name: &'static str,
    /// Our end of the step's pipe, until all has been passed on. Dropping it tells who still writes that nobody reads.
    source: Option<File>,
    /// How much of what is in the pipe is still the step's, once it has ended.
    left: Option<usize>,
    real: Stream,
    file: CopyFile,
    /// Whether the kernel copies from pipe to pipe for us.
    by_tee: bool,
    buffer: Box<[u8]>,
    /// What of the buffer is in the file, and not in our own stream yet.
    pending: Range<usize>,
    wait: Wait,
    /// What the log is to say.
    warning: Option<String>,
}

impl Copying {
    /// A copy of what comes out of `source`.
    pub(super) fn new(name: &'static str, source: File, real: Stream, file: CopyFile) -> Self {
        Self {
            name,
            source: Some(source),
            left: None,
            by_tee: real.is_pipe(),
            real,
            file,
            buffer: vec![0; CHUNK].into_boxed_slice(),
            pending: 0..0,
            wait: Wait::Step,
            warning: None,
        }
    }

    /// The descriptor that becomes readable when there is more to do.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().filter(|_| self.wait == Wait::Step).map(AsFd::as_fd)
    }

    /// The descriptor that becomes writable when there is more to do.
    pub(super) fn sink(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().filter(|_| self.wait == Wait::Reader).map(|_| self.real.fd())
    }

    /// Whether nothing more will be passed on.
    pub(super) fn is_over(&self) -> bool {
        self.source.is_none()
    }

    /// The step has ended: what it has written is in the pipe now. Whatever comes later is somebody else's.
    pub(super) fn step_ended(&mut self) {
        // Without a number, what a pipe may hold: an orphan's bytes are better than none of the step's.
        self.left = self.source.as_ref().map(|source| pipe::content(source).unwrap_or(TURN));
    }

    /// Passes on what can be passed on without waiting. Returns how much our own stream has taken.
    pub(super) fn advance(&mut self) -> usize {
        let mut passed = 0;
        while passed < TURN {
            match self.pass_on() {
                Ok(Passed::Bytes(bytes)) => {
                    passed += bytes;
                    // A pipe that held less than a chunk is empty now, most likely: the sleep will tell.
                    if bytes < CHUNK / 2 && self.left.is_none() && self.pending.is_empty() {
                        self.wait = Wait::Step;
                        break;
                    }
                }
                Ok(Passed::Nothing(wait)) => {
                    self.wait = wait;
                    break;
                }
                Ok(Passed::End) => {
                    self.source = None;
                    break;
                }
                Err(error) => {
                    self.lose_stream(&error);
                    break;
                }
            }
        }
        passed
    }

    /// Gives up on our own stream, and says why: the file still gets what is there.
    pub(super) fn give_up(&mut self, why: &str) {
        let lost = self.pending.len() + self.rest_to_file();
        let (name, path) = (self.name, self.file.path().display());
        self.warning = Some(format!("the last {lost} bytes of the step's {name} are only in {path}: {why}"));
    }

    /// What the log is to say.
    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// What is wrong with the file, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        self.file.fault(self.name)
    }

    /// Passes on one chunk at the most.
    fn pass_on(&mut self) -> io::Result<Passed> {
        if self.source.is_none() {
            return Ok(Passed::End);
        }
        if let Some(pending) = self.buffer.get(self.pending.clone()).filter(|pending| !pending.is_empty()) {
            return match self.real.write_now(pending) {
                Ok(written) => {
                    self.pending.start += written;
                    Ok(Passed::Bytes(written))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Passed::Nothing(Wait::Reader)),
                Err(error) => Err(error),
            };
        }
        let most = CHUNK.min(self.left.unwrap_or(CHUNK));
        if most == 0 {
            return Ok(Passed::End);
        }
        if self.by_tee
            && let Some(passed) = self.tee(most)?
        {
            return Ok(passed);
        }
        let Some(source) = &mut self.source else { return Ok(Passed::End) };
        match source.read(self.buffer.get_mut(..most).unwrap_or_default()) {
            Ok(0) => Ok(Passed::End),
            Ok(bytes) => {
                self.file.append(self.buffer.get(..bytes).unwrap_or_default());
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                self.pending = 0..bytes;
                Ok(Passed::Bytes(0))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.left {
                None => Ok(Passed::Nothing(Wait::Step)),
                Some(_) => Ok(Passed::End),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Passed::Bytes(0)),
            Err(error) => Err(error),
        }
    }

    /// Has the kernel put up to `most` bytes into our own stream, and takes them for the file. Nothing where reading has to
    /// tell what there is, or the call is not to be had.
    fn tee(&mut self, most: usize) -> io::Result<Option<Passed>> {
        let Some(source) = &mut self.source else { return Ok(None) };
        match pipe::duplicate(source, self.real.fd(), most) {
            Ok(bytes) if bytes > 0 => {
                let chunk = self.buffer.get_mut(..bytes).unwrap_or_default();
                // They are there, and nobody else reads them.
                source.read_exact(chunk)?;
                self.file.append(chunk);
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                Ok(Some(Passed::Bytes(bytes)))
            }
            Ok(_) if pipe::content(source)? > 0 => Ok(Some(Passed::Nothing(Wait::Reader))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && pipe::content(source)? > 0 => {
                Ok(Some(Passed::Nothing(Wait::Reader)))
            }
            // Nothing there for now, or for ever: reading tells.
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // A sandbox that has no such call.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP)
                ) =>
            {
                self.by_tee = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Our own stream cannot be written to any more: neither can the step's, from now on, as if it were ours.
    fn lose_stream(&mut self, error: &io::Error) {
        self.rest_to_file();
        // A reader that has gone is none of our business, as it is none without a copy.
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.warning = Some(format!("the step's {} cannot be passed on: {}", self.name, Cause(error)));
        }
    }

    /// Has the file take what is in the pipe, and closes the pipe. Returns how much that was.
    fn rest_to_file(&mut self) -> usize {
        let Some(mut source) = self.source.take() else { return 0 };
        let rest = self.left.unwrap_or_else(|| pipe::content(&source).unwrap_or(0));
        let mut taken = 0;
        while taken < rest {
            let most = CHUNK.min(rest - taken);
            match source.read(self.buffer.get_mut(..most).unwrap_or_default()) {
                Ok(0) | Err(_) => break,
                Ok(bytes) => {
                    self.file.append(self.buffer.get(..bytes).unwrap_or_default());
                    taken += bytes;
                }
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A copy, the step's end of its pipe, and the file.
    struct World {
        copying: Copying,
        step: Option<File>,
        dir: tempfile::TempDir,
    }

    impl World {
        fn new(real: impl AsFd) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (reader, writer) = pipe::new().unwrap();
            let file = CopyFile::open(&dir.path().join("file")).unwrap();
            let copying = Copying::new("stdout", reader, Stream::of(real).unwrap(), file);
            Self { copying, step: Some(File::from(writer)), dir }
        }

        fn says(&mut self, bytes: &[u8]) {
            self.step.as_mut().unwrap().write_all(bytes).unwrap();
        }

        fn ends(&mut self) {
            self.copying.step_ended();
            self.step = None;
        }

        fn file(&self) -> Vec<u8> {
            fs::read(self.dir.path().join("file")).unwrap()
        }
    }

    /// Bytes that are different everywhere.
    fn some(length: usize) -> Vec<u8> {
        (0_u32..).flat_map(u32::to_be_bytes).take(length).collect()
    }

    /// Both ways to a reader: a pipe, by `tee(2)` or without it, and a socket.
    fn each_way(test: impl Fn(World, File)) {
        let (reader, writer) = io::pipe().unwrap();
        test(World::new(writer), File::from(OwnedFd::from(reader)));
        let (reader, writer) = io::pipe().unwrap();
        let mut world = World::new(writer);
        world.copying.by_tee = false;
        test(world, File::from(OwnedFd::from(reader)));
        let (reader, writer) = UnixStream::pair().unwrap();
        test(World::new(writer), File::from(OwnedFd::from(reader)));
    }

    #[test]
    fn both_copies_are_complete_and_in_order_whoever_is_slow() {
        each_way(|mut world, mut reader| {
            let sent = some(3 << 20);
            let (mut received, mut said) = (Vec::new(), 0);
            while !world.copying.is_over() {
                // Never more than fits: nobody here may wait.
                let room = (128 << 10) - pipe::content(world.copying.source.as_ref().unwrap()).unwrap();
                let next = sent.len().min(said + room);
                if let Some(step) = &mut world.step {
                    step.write_all(&sent[said..next]).unwrap();
                    said = next;
                }
                if said == sent.len() && world.step.is_some() {
                    world.ends();
                }
                world.copying.advance();
                if world.copying.sink().is_some() {
                    let mut some = [0; 10_000];
                    let read = reader.read(&mut some).unwrap();
                    received.extend(&some[..read]);
                }
            }
            assert!(world.file() == sent, "the file");
            drop(world);
            reader.read_to_end(&mut received).unwrap();
            assert!(received == sent, "the reader");
        });
    }

    #[test]
    fn a_reader_that_does_not_read_is_waited_for_and_then_given_up() {
        each_way(|mut world, _reader| {
            let mut passed = 0;
            while world.copying.sink().is_none() {
                world.says(&some(4096));
                passed += world.copying.advance();
            }
            assert_eq!(world.copying.advance(), 0);
            assert!(world.copying.source().is_none(), "the step's pipe stays ready, and waking for it would never end");
            let length = world.file().len();
            world.says(b"the end");
            world.ends();
            world.copying.give_up("nobody read it");
            let all = world.file();
            assert!(world.copying.is_over() && all.ends_with(b"the end") && all.len() >= length + 7);
            let warning = world.copying.warning().unwrap();
            let start = format!("the last {} bytes of the step's stdout are only in ", all.len() - passed);
            assert!(warning.starts_with(&start) && warning.ends_with(": nobody read it"), "{warning}");
        });
    }

    #[test]
    fn what_orphans_write_after_the_step_s_end_is_not_waited_for() {
        each_way(|mut world, mut reader| {
            world.says(b"the step's");
            world.copying.step_ended();
            world.says(b", an orphan's");
            world.copying.advance();
            assert!(world.copying.is_over());
            assert_eq!(world.file(), b"the step's");
            let error = world.step.take().unwrap().write_all(b"more").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            drop(world);
            let mut read = String::new();
            reader.read_to_string(&mut read).unwrap();
            assert_eq!(read, "the step's");
        });
    }

    #[test]
    fn a_reader_that_is_gone_is_gone_for_the_step_too() {
        each_way(|mut world, reader| {
            world.says(b"one ");
            world.copying.advance();
            drop(reader);
            world.says(b"two");
            world.copying.advance();
            assert!(world.copying.is_over());
            assert_eq!((world.file(), world.copying.warning()), (b"one two".to_vec(), None));
            let error = world.step.take().unwrap().write_all(b"three").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn a_stream_that_takes_no_more_is_named_with_the_cause() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut world = World::new(full);
        world.says(b"some");
        world.copying.advance();
        assert!(world.copying.is_over());
        assert_eq!(world.file(), b"some");
        assert_eq!(world.copying.warning(), Some("the step's stdout cannot be passed on: no space left on device"));
    }

    #[test]
    fn a_pipe_that_ends_ends_the_copy() {
        each_way(|mut world, _reader| {
            world.says(b"all");
            world.copying.advance();
            assert!(!world.copying.is_over() && world.copying.source().is_some());
            // Long before the step itself ends: it closed its stdout.
            world.step = None;
            world.copying.advance();
            assert!(world.copying.is_over());
            assert_eq!(world.file(), b"all");
        });
    }
}
