//! Whether this machine's clock is off, by the `Date` of somebody's answer.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::seconds_of_date;

/// What is no difference, in seconds: services allow for this much and more.
const ALLOWED: u64 = 60;

/// A clock that is off, by so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skew {
    /// It shows a time that is to come.
    Ahead(u64),
    /// It shows a time that is past.
    Behind(u64),
}

impl Skew {
    /// By how much the clock is off, if it is, by the date of an answer.
    pub(super) fn by(date: &str, now: SystemTime) -> Option<Self> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let date = seconds_of_date(date)?;
        let off = now.abs_diff(date);
        let skew = if now > date { Self::Ahead(off) } else { Self::Behind(off) };
        (off > ALLOWED).then_some(skew)
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(off) => write!(f, "this machine's clock is {off} s ahead of the service's: set it right"),
            Self::Behind(off) => write!(f, "this machine's clock is {off} s behind the service's: set it right"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_is_off_by_more_than_a_minute() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (now, expected) in [
            (784_111_777, None),
            (784_111_777 + 60, None),
            (784_111_777 + 61, Some(Skew::Ahead(61))),
            (784_111_777 - 60, None),
            (784_111_777 - 3600, Some(Skew::Behind(3600))),
            (0, Some(Skew::Behind(784_111_777))),
        ] {
            assert_eq!(Skew::by(date, at(now)), expected, "{now}");
        }
        for odd in ["", "yesterday", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov"] {
            assert_eq!(Skew::by(odd, at(0)), None, "{odd}");
        }
    }
}
