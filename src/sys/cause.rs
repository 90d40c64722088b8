//! Errors in the words that Go, and so Tekton, prints: `no such file or directory`, and with all their causes.

use std::error::Error;
use std::fmt;
use std::io;

/// Shows an I/O error without Rust's `(os error 2)`, its first letter in lower case.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a>(pub &'a io::Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.0.raw_os_error() else { return self.0.fmt(f) };
        // The C library's text, from which Go's table was made.
        let text = self.0.to_string();
        let text = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
        // "Is a directory", but not "RFS specific error".
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
                write!(f, "{}{}", first.to_lowercase(), &text[first.len_utf8()..])
            }
            _ => f.write_str(text),
        }
    }
}

/// An error with its causes, each said once: `reading /a: permission denied`.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    let texts = causes.map(|error| match error.downcast_ref::<io::Error>() {
        Some(error) => Cause(error).to_string(),
        None => error.to_string(),
    });
    texts.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_says_every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("opening {path}")]
        struct Opening {
            path: &'static str,
            source: io::Error,
        }
        #[derive(Debug, thiserror::Error)]
        #[error("reading the secret")]
        struct Reading(#[source] Opening);

        let error = Reading(Opening { path: "/s", source: io::Error::from_raw_os_error(libc::ENOENT) });
        assert_eq!(chain(&error), "reading the secret: opening /s: no such file or directory");
    }

    #[test]
    fn causes_read_as_go_prints_them() {
        for (code, text) in [
            (libc::ENOENT, "no such file or directory"),
            (libc::EACCES, "permission denied"),
            (libc::ENOTDIR, "not a directory"),
            (libc::EISDIR, "is a directory"),
            (libc::ENOSPC, "no space left on device"),
            (libc::EROFS, "read-only file system"),
            (libc::E2BIG, "argument list too long"),
            (libc::EAGAIN, "resource temporarily unavailable"),
            (libc::ENOMEM, "cannot allocate memory"),
            (libc::ELOOP, "too many levels of symbolic links"),
            (libc::EIO, "input/output error"),
            (libc::EDQUOT, "disk quota exceeded"),
        ] {
            assert_eq!(Cause(&io::Error::from_raw_os_error(code)).to_string(), text);
        }
        assert_eq!(Cause(&io::Error::other("odd")).to_string(), "odd");
    }
}
