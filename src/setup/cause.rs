//! Why the system refused, in the words that Tekton's log has for it.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// An I/O error that prints as Go's do: `no such file or directory`, without a number.
#[derive(Debug)]
pub struct Cause(io::Error);

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = self.0.raw_os_error().map(Errno::from_raw).filter(|&errno| errno != Errno::UnknownErrno);
        let Some(errno) = errno else { return self.0.fmt(f) };
        let mut words = errno.desc().chars();
        let first = words.next().map(|c| c.to_ascii_lowercase());
        first.into_iter().chain(words).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl std::error::Error for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_read_as_in_tektons_log() {
        for (code, text) in [
            (libc::ENOENT, "no such file or directory"),
            (libc::EACCES, "permission denied"),
            (libc::EISDIR, "is a directory"),
            (libc::ENOSPC, "no space left on device"),
            (libc::EROFS, "read-only file system"),
        ] {
            assert_eq!(Cause(io::Error::from_raw_os_error(code)).to_string(), text);
        }
        assert_eq!(Cause(io::Error::other("short read")).to_string(), "short read");
        assert!(Cause(io::Error::from_raw_os_error(9999)).to_string().contains("9999"));
    }
}
