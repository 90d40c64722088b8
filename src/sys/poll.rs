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
    let mut sources: Vec<PollFd<'_>> = sources.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    match nix::poll::poll(&mut sources, timeout(limit)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
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
}
