//! `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The pause that a server asks for; none when it is neither seconds nor a date. A date is counted from the answer's own
/// `Date`, if there is one: the clocks of a pod and of a registry need not agree. One that is past is no pause.
pub(super) fn pause(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than a number can hold is longer than anybody waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let then = seconds(text)?;
    let now = date.and_then(seconds).or_else(|| now.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs()))?;
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// The seconds since 1970 of an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`. The two older forms died with HTTP/1.0.
fn seconds(text: &str) -> Option<u64> {
    let (_, text) = text.trim().split_once(", ")?;
    let mut words = text.split(' ');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let mut clock = words.next()?.split(':');
    let (hour, minute, second) = (clock.next()?, clock.next()?, clock.next()?);
    if words.next() != Some("GMT") || words.next().is_some() || clock.next().is_some() {
        return None;
    }
    let number = |text: &str, width: usize, most: u64| {
        let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number <= most)
    };
    let month = MONTHS.iter().position(|name| *name == month).and_then(|month| u64::try_from(month).ok())? + 1;
    let day = number(day, 2, 31).filter(|day| *day > 0)?;
    let year = number(year, 4, 9999).filter(|year| *year >= 1970)?;
    // A leap second is the first of the next minute.
    let (hour, minute, second) = (number(hour, 2, 23)?, number(minute, 2, 59)?, number(second, 2, 60)?);
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970: years that begin in March have their leap day at the end.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719 469 days lie between 1 March of the year 0 and 1 January 1970, counted with the first day as 1.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Sat, 21 Nov 2026 12:00:00 GMT";

    #[test]
    fn a_date_is_what_the_calendar_says() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Tue, 29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
            ("Wed, 01 Mar 2000 00:00:00 GMT", Some(951_868_800)),
            ("Fri, 31 Dec 2100 00:00:00 GMT", Some(4_133_894_400)),
            (NOON, Some(1_795_262_400)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37 1994", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT x", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1969 08:49:37 GMT", None),
            ("Sun, +6 Nov 1994 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_pause_is_in_seconds_or_until_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_262_400);
        for (text, date, pause_in_seconds) in [
            ("120", None, Some(120)),
            (" 0 ", None, Some(0)),
            ("99999999999999999999999", None, Some(u64::MAX)),
            ("-1", None, None),
            ("soon", None, None),
            ("", None, None),
            ("Sat, 21 Nov 2026 12:00:07 GMT", None, Some(7)),
            // The server's clock is an hour ahead.
            ("Sat, 21 Nov 2026 13:00:07 GMT", Some("Sat, 21 Nov 2026 13:00:00 GMT"), Some(7)),
            ("Sat, 21 Nov 2026 12:00:07 GMT", Some("today"), Some(7)),
            ("Sat, 21 Nov 2026 11:59:00 GMT", Some(NOON), Some(0)),
        ] {
            assert_eq!(pause(text, date, now), pause_in_seconds.map(Duration::from_secs), "{text} {date:?}");
        }
    }
}
