//! The wall clock in local time, as Tekton prints it; other places' time for who asks.

mod zone;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tz::UtcDateTime;

/// A moment in local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Year, month, day, hour, minute and second in local time.
    civil: [i32; 6],
    /// Milliseconds within the second.
    millis: u32,
    /// Seconds east of UTC.
    offset: i64,
}

/// The present moment, in the time zone of `TZ` or `/etc/localtime`; UTC where the image has neither.
#[must_use]
pub fn now() -> Timestamp {
    // A clock before 1970 is a broken clock: show the epoch rather than fail a step over it.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::new(seconds, since.subsec_millis(), zone::offset(zone::local(), seconds))
}

/// Seconds east of UTC at a moment, in seconds since 1970, where the time zone is described by this file (TZif). `None`
/// when it describes none.
#[must_use]
pub fn offset_by(zone: &Path, moment: i64) -> Option<i64> {
    zone::read(zone).map(|zone| zone::offset(&zone, moment))
}

impl Timestamp {
    /// So many seconds and milliseconds after the beginning of 1970 in UTC, shown so many seconds east of it.
    fn new(seconds: i64, millis: u32, offset: i64) -> Self {
        // A year that has more digits than fit there is a broken clock too.
        let civil =
            UtcDateTime::from_timespec(seconds.saturating_add(offset), 0).map_or([1970, 1, 1, 0, 0, 0], |time| {
                let [month, day, hour, minute, second] =
                    [time.month(), time.month_day(), time.hour(), time.minute(), time.second()].map(i32::from);
                [time.year(), month, day, hour, minute, second]
            });
        Self { civil, millis, offset }
    }

    /// RFC 3339 with exactly three fractional digits: `2026-11-21T05:55:02.402Z`, `2026-11-21T11:49:53.253+05:30`.
    #[must_use]
    pub fn rfc3339(&self) -> String {
        let [year, month, day, hour, minute, second] = self.civil;
        let time = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}", self.millis);
        if self.offset == 0 {
            return format!("{time}Z");
        }
        let (sign, minutes) = (if self.offset < 0 { '-' } else { '+' }, self.offset.abs() / 60);
        format!("{time}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// The prefix of a log line: `2026/11/21 05:56:16`.
    #[must_use]
    pub fn log_prefix(&self) -> String {
        let [year, month, day, hour, minute, second] = self.civil;
        format!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T05:05:02Z.
    const MOMENT: i64 = 1_795_237_502;

    #[test]
    fn moments_are_printed_as_go_prints_them() {
        for (millis, offset, expected) in [
            (402, 0, "2026-11-21T05:05:02.402Z"),
            (0, 19_800, "2026-11-21T10:35:02.000+05:30"),
            (7, -12_600, "2026-11-21T01:35:02.007-03:30"),
            (0, -43_200, "2026-11-20T17:05:02.000-12:00"),
            (0, 50_400, "2026-11-21T19:05:02.000+14:00"),
        ] {
            assert_eq!(Timestamp::new(MOMENT, millis, offset).rfc3339(), expected);
        }
    }

    #[test]
    fn a_log_line_starts_with_date_and_time() {
        assert_eq!(Timestamp::new(1_767_323_045, 0, 0).log_prefix(), "2026/01/02 03:04:05");
    }

    #[test]
    fn a_broken_clock_is_no_failure() {
        assert_eq!(Timestamp::new(0, 0, -3600).rfc3339(), "1969-12-31T23:00:00.000-01:00");
        assert!(!Timestamp::new(i64::MAX, 0, 3600).rfc3339().is_empty());
    }

    #[test]
    fn the_present_is_after_this_was_written() {
        assert!(now().rfc3339().as_str() > "2026-11-20");
    }
}
