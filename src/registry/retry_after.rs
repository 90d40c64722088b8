//! `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::http::seconds_of_date;

/// The pause that a server asks for; none when it is neither seconds nor a date. A date is counted from the answer's own
/// `Date`, if there is one: the clocks of a pod and of a registry need not agree. One that is past is no pause.
pub(super) fn pause(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than a number can hold is longer than anybody waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let then = seconds_of_date(text)?;
    let now =
        date.and_then(seconds_of_date).or_else(|| now.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs()))?;
    Some(Duration::from_secs(then.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Sat, 21 Nov 2026 12:00:00 GMT";

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
