//! Sleeping until a descriptor is ready or a time has come.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

/// Sleeps until one of the descriptors can be read, or has ended, or `limit` has passed; for ever without a limit.
///
/// # Errors
/// When the system refuses; an interruption is a wake-up like any other.
pub fn readable(sources: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    ready(sources, &[], limit)
}

/// Sleeps until one of `sources` can be read, or one of `sinks` written to, or one of either has ended, or `limit` has
/// passed.
///
/// # Errors
/// When the system refuses; an interruption is a wake-up like any other.
pub fn ready(sources: &[BorrowedFd<'_>], sinks: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let wanted = |fds, flags| {
        let fds: &[BorrowedFd<'_>] = fds;
        fds.iter().map(move |fd| PollFd::new(*fd, flags))
    };
    let mut all: Vec<PollFd<'_>> =
        wanted(sources, PollFlags::POLLIN).chain(wanted(sinks, PollFlags::POLLOUT)).collect();
    match nix::poll::poll(&mut all, timeout(limit)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is room to write now, or a reason why there never will be, which a write would tell.
#[must_use]
pub fn is_writable(sink: BorrowedFd<'_>) -> bool {
    let mut sink = [PollFd::new(sink, PollFlags::POLLOUT)];
    nix::poll::poll(&mut sink, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// A limit in whole milliseconds, rounded up so that a deadline has passed when the sleep ends.
fn timeout(limit: Option<Duration>) -> PollTimeout {
    limit.map_or(PollTimeout::NONE, |limit| {
        let millis = limit.as_nanos().div_ceil(1_000_000);
        i32::try_from(millis).ok().and_then(|millis| PollTimeout::try_from(millis).ok()).unwrap_or(PollTimeout::MAX)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_limit_is_rounded_up_and_capped() {
        for (limit, millis) in [
            (Some(Duration::ZERO), Some(0)),
            (Some(Duration::from_nanos(1)), Some(1)),
            (Some(Duration::from_millis(250)), Some(250)),
            (Some(Duration::from_secs(u64::MAX)), Some(i32::MAX as u32)),
            (None, None),
        ] {
            let expected = millis.map_or(PollTimeout::NONE, |millis| PollTimeout::try_from(millis).unwrap());
            assert_eq!(timeout(limit), expected, "{limit:?}");
        }
    }

    #[test]
    fn room_in_a_pipe_is_seen_and_so_is_that_nobody_reads_it() {
        let (reader, mut writer) = io::pipe().unwrap();
        ready(&[reader.as_fd()], &[writer.as_fd()], None).unwrap();
        assert!(is_writable(writer.as_fd()));
        writer.write_all(&[0; 65536]).unwrap();
        ready(&[reader.as_fd()], &[writer.as_fd()], None).unwrap();
        assert!(!is_writable(writer.as_fd()));
        drop(reader);
        assert!(is_writable(writer.as_fd()), "a write says that nobody reads");
    }
}
