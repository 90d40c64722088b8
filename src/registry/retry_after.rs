//! `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3); and when the next try is made.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::http::seconds_of_date;
use crate::pause;

/// The pause that an answer's headers ask for.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    pause_of(text(RETRY_AFTER)?, text(DATE), SystemTime::now())
}

/// The pause that a text asks for; none when it is neither seconds nor a date. A date is counted from the answer's own
/// `Date`, if there is one: the clocks of a pod and of a registry need not agree. One that is past is no pause.
pub(super) fn pause_of(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
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

/// The pause before the next try, given the one that the server asks for, the one that there would be by itself, and what is
/// left for pauses: none if it does not fit there, whatever chance would add.
pub(super) fn fitting(asked_for: Option<Duration>, own: Duration, left: Duration, chance: u32) -> Option<Duration> {
    let (least, spread) = asked_for.map_or((own, Duration::ZERO), |asked_for| (asked_for, own));
    (least <= left).then(|| pause::not_before(least, spread, chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Sat, 21 Nov 2026 12:00:00 GMT";

    #[test]
    fn what_is_asked_for_must_fit_and_what_chance_adds_need_not() {
        let most = 1_000_000;
        for (asked_for, own, left, chance, pause) in [
            // By itself.
            (None, 1_000, 10_000, 0, Some(1_000)),
            (None, 1_000, 1_000, most, Some(1_250)),
            (None, 3_000, 2_999, 0, None),
            // As the server asks.
            (Some(0), 1_000, 10_000, 0, Some(0)),
            (Some(0), 1_000, 10_000, most, Some(1_000)),
            (Some(2_000), 1_000, 10_000, most, Some(3_000)),
            (Some(10_000), 1_000, 10_000, 0, Some(10_000)),
            (Some(10_000), 1_000, 10_000, most, Some(12_500)),
            (Some(10_001), 1_000, 10_000, 0, None),
            (Some(1_000), 3_000, 10_000, most, Some(4_000)),
            // Without any pauses.
            (None, 0, 0, most, Some(0)),
            (Some(0), 0, 0, most, Some(0)),
            (Some(1_000), 0, 0, 0, None),
        ] {
            let (millis, asked) = (Duration::from_millis, asked_for.map(Duration::from_millis));
            let fitting = fitting(asked, millis(own), millis(left), chance);
            assert_eq!(fitting, pause.map(millis), "{asked_for:?} {own} {left} {chance}");
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
            assert_eq!(pause_of(text, date, now), pause_in_seconds.map(Duration::from_secs), "{text} {date:?}");
        }
    }
}
