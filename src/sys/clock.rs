//! The wall clock in local time, as Tekton prints it; other places' time for who asks.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

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
    let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(libc::time_t::MAX);
    // SAFETY: an all-zero `tm` is a valid value of that plain C struct.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type. The C library reads `TZ`, which nothing here changes.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    Timestamp {
        civil: [tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec],
        millis: since.subsec_millis(),
        offset: tm.tm_gmtoff,
    }
}

/// Seconds east of UTC at a moment, in seconds since 1970, where the time zone is described by this file (TZif, with an
/// absolute path). `None` when the path cannot be handed over.
///
/// From then on this process lives in that time zone: for a child of one purpose only.
#[must_use]
pub fn offset_by(zone: &Path, moment: i64) -> Option<i64> {
    let setting = CString::new([b":", zone.as_os_str().as_bytes()].concat()).ok()?;
    // SAFETY: both are strings with a NUL at their end, which the C library copies; this process has one thread.
    if unsafe { libc::setenv(c"TZ".as_ptr(), setting.as_ptr(), 1) } != 0 {
        return None;
    }
    // SAFETY: reads the variable that was just set; no other thread looks at the C library's time zone.
    unsafe { tzset() };
    let moment = libc::time_t::try_from(moment).ok()?;
    // SAFETY: an all-zero `tm` is a valid value of that plain C struct.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type.
    let converted = unsafe { libc::localtime_r(&raw const moment, &raw mut tm) };
    (!converted.is_null()).then_some(tm.tm_gmtoff)
}

unsafe extern "C" {
    /// POSIX: takes the time zone from `TZ`.
    fn tzset();
}

impl Timestamp {
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

    #[test]
    fn moments_are_printed_as_go_prints_them() {
        for (millis, offset, expected) in [
            (402, 0, "2026-11-21T05:05:02.402Z"),
            (0, 19_800, "2026-11-21T05:05:02.000+05:30"),
            (7, -12_600, "2026-11-21T05:05:02.007-03:30"),
        ] {
            assert_eq!(Timestamp { civil: [2026, 11, 21, 5, 5, 2], millis, offset }.rfc3339(), expected);
        }
    }

    #[test]
    fn a_log_line_starts_with_date_and_time() {
        let moment = Timestamp { civil: [2026, 1, 2, 3, 4, 5], millis: 0, offset: 0 };
        assert_eq!(moment.log_prefix(), "2026/01/02 03:04:05");
    }

    #[test]
    fn the_present_is_after_this_was_written() {
        assert!(now().rfc3339().as_str() > "2026-11-20");
    }
}
