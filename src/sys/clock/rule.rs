//! A time zone as a rule: `CET-1CEST,M3.5.0,M10.5.0/3`, the form of POSIX's `TZ` and of the end of a zone's file.
//!
//! Grammar: <https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html#tag_08_03>, with the hours that
//! zone files may have beyond it (<https://www.rfc-editor.org/rfc/rfc9636#section-3.3.2>).

use super::calendar::{self, SECONDS_PER_DAY};

/// Seconds east of UTC at a moment (seconds since 1970), by a rule. `None` when it is none.
pub(super) fn offset(rule: &[u8], at: i64) -> Option<i64> {
    let mut rest = rule;
    name(&mut rest)?;
    let standard = -signed_time(&mut rest, 24)?;
    if rest.is_empty() {
        return Some(standard);
    }
    name(&mut rest)?;
    let daylight = match rest {
        [] | [b',', ..] => standard + 3600,
        _ => -signed_time(&mut rest, 24)?,
    };
    // What a rule that does not say when has always meant: the United States'.
    let mut changes = if rest.is_empty() { b",M3.2.0,M11.1.0".as_slice() } else { rest };
    let (start, end) = (Change::read(&mut changes)?, Change::read(&mut changes)?);
    if !changes.is_empty() {
        return None;
    }
    let [year, ..] = calendar::date((at.saturating_add(standard)).div_euclid(SECONDS_PER_DAY));
    // Each is told in the time that it ends.
    let (start, end) = (start.moment(year) - standard, end.moment(year) - daylight);
    let is_daylight = if start < end { (start..end).contains(&at) } else { !(end..start).contains(&at) };
    Some(if is_daylight { daylight } else { standard })
}

/// A change to the other time, every year.
struct Change {
    day: Day,
    /// Seconds from the beginning of that day; before it, or days after it, where a zone's law says it so.
    time: i64,
}

/// A day, every year.
enum Day {
    /// `J60`: the first of March, also in a leap year.
    LeaplessYear(i64),
    /// `59`: counted from 0, leap days too.
    OfYear(i64),
    /// `M3.5.0`: the last Sunday of March.
    OfWeek { month: i64, week: i64, weekday: i64 },
}

impl Change {
    /// Reads `,DAY[/TIME]`.
    fn read(rest: &mut &[u8]) -> Option<Self> {
        take(rest, b',').then_some(())?;
        let day = if take(rest, b'J') {
            Day::LeaplessYear(number(rest, 1, 365)?)
        } else if take(rest, b'M') {
            let month = number(rest, 1, 12)?;
            take(rest, b'.').then_some(())?;
            let week = number(rest, 1, 5)?;
            take(rest, b'.').then_some(())?;
            Day::OfWeek { month, week, weekday: number(rest, 0, 6)? }
        } else {
            Day::OfYear(number(rest, 0, 365)?)
        };
        let time = if take(rest, b'/') { signed_time(rest, 167)? } else { 2 * 3600 };
        Some(Self { day, time })
    }

    /// The moment in a year, as if local time were UTC.
    fn moment(&self, year: i64) -> i64 {
        let day = match self.day {
            Day::LeaplessYear(day) => {
                let leap_day = i64::from(day >= 60 && calendar::is_leap(year));
                calendar::day(year, 1, day) + leap_day
            }
            Day::OfYear(day) => calendar::day(year, 1, day + 1),
            Day::OfWeek { month, week, weekday } => {
                let first = calendar::day(year, month, 1);
                let next = if month == 12 { calendar::day(year + 1, 1, 1) } else { calendar::day(year, month + 1, 1) };
                // 1970 began on a Thursday.
                let day = first + (weekday - (first + 4)).rem_euclid(7) + 7 * (week - 1);
                // The fifth is the last, and some months have only four.
                if day < next { day } else { day - 7 }
            }
        };
        day * SECONDS_PER_DAY + self.time
    }
}

/// Whether the next byte is this one; it is gone then.
fn take(rest: &mut &[u8], byte: u8) -> bool {
    match rest.split_first() {
        Some((first, behind)) if *first == byte => {
            *rest = behind;
            true
        }
        _ => false,
    }
}

/// Skips the name of a time: three letters or more, or anything sensible in angle brackets.
fn name(rest: &mut &[u8]) -> Option<()> {
    let quoted = take(rest, b'<');
    let is_part = |byte: &u8| byte.is_ascii_alphabetic() || quoted && matches!(byte, b'0'..=b'9' | b'+' | b'-');
    let length = rest.iter().take_while(|byte| is_part(byte)).count();
    *rest = rest.get(length..)?;
    (length >= 3 && (!quoted || take(rest, b'>'))).then_some(())
}

/// A number between two others.
fn number(rest: &mut &[u8], least: i64, most: i64) -> Option<i64> {
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (least..=most).contains(&value).then_some(value)
}

/// `[+-]HH[:MM[:SS]]` in seconds.
fn signed_time(rest: &mut &[u8], most_hours: i64) -> Option<i64> {
    let negative = take(rest, b'-');
    let _ = !negative && take(rest, b'+');
    let mut seconds = number(rest, 0, most_hours)? * 3600;
    for unit in [60, 1] {
        if !take(rest, b':') {
            break;
        }
        seconds += number(rest, 0, 59)? * unit;
    }
    Some(if negative { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(rule: &str, at: i64) -> Option<f64> {
        offset(rule.as_bytes(), at).map(|seconds| seconds as f64 / 3600.0)
    }

    #[test]
    fn a_rule_without_a_second_time_is_an_offset() {
        for (rule, expected) in [
            ("UTC0", 0.0),
            ("IST-5:30", 5.5),
            ("NST3:30", -3.5),
            ("XST-14", 14.0),
            ("<+0545>-5:45", 5.75),
            ("<-03>+3", -3.0),
            ("LMT0:00:36", -0.01),
        ] {
            assert_eq!(hours(rule, 1_795_237_502), Some(expected), "{rule}");
        }
    }

    #[test]
    fn the_time_changes_at_the_moments_of_the_rule() {
        // The last second of one time, and the first of the other.
        for (rule, at, expected) in [
            // 2026-03-29T01:00Z and 2026-10-25T01:00Z.
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_774_745_999, 1.0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_774_746_000, 2.0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_792_889_999, 2.0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_792_890_000, 1.0),
            // 2026-03-08T07:00Z and 2026-11-01T06:00Z, told and untold.
            ("EST5EDT,M3.2.0,M11.1.0", 1_772_953_199, -5.0),
            ("EST5EDT,M3.2.0,M11.1.0", 1_772_953_200, -4.0),
            ("EST5EDT", 1_793_512_799, -4.0),
            ("EST5EDT", 1_793_512_800, -5.0),
            // In the south summer is over in April: 2026-04-04T15:00Z, at half an hour only.
            ("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 1_775_314_799, 11.0),
            ("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 1_775_314_800, 10.5),
            ("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 1_767_225_600, 11.0),
            // Ireland's winter is the exception.
            ("IST-1GMT0,M10.5.0,M3.5.0/1", 1_774_745_999, 0.0),
            ("IST-1GMT0,M10.5.0,M3.5.0/1", 1_774_746_000, 1.0),
            // Greenland's begins the evening before: 2026-03-29T01:00Z.
            ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1_774_745_999, -2.0),
            ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1_774_746_000, -1.0),
            // The first of March, in a leap year and by its number: 2024-03-01T00:00Z.
            ("AAA0BBB,J60/0,J300/0", 1_709_251_199, 0.0),
            ("AAA0BBB,J60/0,J300/0", 1_709_251_200, 1.0),
            ("AAA0BBB,60/0,J300/0", 1_709_251_200, 1.0),
            ("AAA0BBB,59/0,J300/0", 1_709_164_800, 1.0),
            // All the year.
            ("AAA3BBB,0/0,J365/25", 1_767_236_400, -2.0),
            ("AAA3BBB,0/0,J365/25", 1_798_772_399, -2.0),
        ] {
            assert_eq!(hours(rule, at), Some(expected), "{rule} at {at}");
        }
    }

    #[test]
    fn what_is_no_rule_is_none() {
        for rule in [
            "",
            "garbage",
            "Europe/Berlin",
            "AB1",
            "ABC",
            "ABC25",
            "ABC1:60",
            "<ABC1",
            "ABC1DE",
            "ABC1DEF,",
            "ABC1DEF,M3.2.0",
            "ABC1DEF,M13.2.0,M11.1.0",
            "ABC1DEF,M3.6.0,M11.1.0",
            "ABC1DEF,M3.2.7,M11.1.0",
            "ABC1DEF,J0,J1",
            "ABC1DEF,366,0",
            "ABC1DEF,0/168,1",
            "ABC1DEF,0,1,2",
            "ABC99999999999999999999",
            "\u{e9}\u{e9}\u{e9}1",
        ] {
            assert_eq!(hours(rule, 0), None, "{rule}");
        }
    }
}
