//! The Gregorian calendar, as numbers of days from the first of January 1970.

/// Leap seconds are nobody's seconds here.
pub(super) const SECONDS_PER_DAY: i64 = 86_400;

/// The calendar repeats itself after 400 years.
const DAYS_PER_ERA: i64 = 146_097;
/// From 0000-03-01, where the count below begins, to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

/// The day's number. A month's days may be counted beyond its end.
///
/// Years are counted from March, so that the day that is not always there is the last one of a year, and the lengths of
/// the months before it follow a line: 153 days in five months.
pub(super) fn day(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    era * DAYS_PER_ERA + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - DAYS_TO_1970
}

/// Year, month and day of a day's number.
pub(super) fn date(number: i64) -> [i64; 3] {
    let number = number + DAYS_TO_1970;
    let (era, of_era) = (number.div_euclid(DAYS_PER_ERA), number.rem_euclid(DAYS_PER_ERA));
    // Without the days that leap years have more, every year has 365 of them.
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    [era * 400 + year, month, day]
}

/// Whether the year has a 29th of February.
pub(super) fn is_leap(year: i64) -> bool {
    day(year + 1, 1, 1) - day(year, 1, 1) == 366
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (number, expected) in [
            (0, [1970, 1, 1]),
            (-1, [1969, 12, 31]),
            (59, [1970, 3, 1]),
            (11_016, [2000, 2, 29]),
            (11_017, [2000, 3, 1]),
            (20_778, [2026, 11, 21]),
            (47_540, [2100, 2, 28]),
            (47_541, [2100, 3, 1]),
            (-719_468, [0, 3, 1]),
        ] {
            assert_eq!(date(number), expected);
            let [year, month, of_month] = expected;
            assert_eq!(day(year, month, of_month), number);
        }
    }

    #[test]
    fn each_day_of_four_centuries_follows_the_one_before() {
        let lengths = |year| [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut number = day(1_900, 1, 1);
        for year in 1_900..2_301 {
            for (month, length) in (1..).zip(lengths(year)) {
                for of_month in 1..=length {
                    assert_eq!(date(number), [year, month, of_month]);
                    number += 1;
                }
            }
        }
        let leap: Vec<_> = [1900, 1996, 2000, 2023, 2024, 2100].into_iter().filter(|&year| is_leap(year)).collect();
        assert_eq!(leap, [1996, 2000, 2024]);
    }
}
