//! Time as Amazon writes it.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(i64);

impl Instant {
    /// This machine's.
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap())
    }

    pub fn later(self, seconds: i64) -> Self {
        Self(self.0 + seconds)
    }

    pub fn seconds(self) -> i64 {
        self.0
    }

    /// `20150830T123600Z`.
    pub fn from_basic(text: &str) -> Option<Self> {
        let digits = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        if text.len() != 16 || text.get(8..9) != Some("T") || !text.ends_with('Z') {
            return None;
        }
        let days = days(digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
        Some(Self(days * DAY + digits(9, 11)? * 3600 + digits(11, 13)? * 60 + digits(13, 15)?))
    }

    /// `20150830T123600Z`.
    pub fn basic(self) -> String {
        let (year, month, day) = date(self.0.div_euclid(DAY));
        let (hour, minute, second) = self.clock();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// `2015-08-30T12:36:00Z`.
    pub fn extended(self) -> String {
        let (year, month, day) = date(self.0.div_euclid(DAY));
        let (hour, minute, second) = self.clock();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// `Sun, 30 Aug 2015 12:36:00 GMT`.
    pub fn http(self) -> String {
        let days = self.0.div_euclid(DAY);
        let (year, month, day) = date(days);
        let (hour, minute, second) = self.clock();
        let weekday = &"ThuFriSatSunMonTueWed"[days.rem_euclid(7) as usize * 3..][..3];
        let month = &"JanFebMarAprMayJunJulAugSepOctNovDec"[(month as usize - 1) * 3..][..3];
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    fn clock(self) -> (i64, i64, i64) {
        let second = self.0.rem_euclid(DAY);
        (second / 3600, second / 60 % 60, second % 60)
    }
}

/// Days since 1970 of a date: years are counted from March, so that a leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 719_469
}

/// The date of a day since 1970.
fn date(day: i64) -> (i64, i64, i64) {
    let mut year = 1970 + day / 366;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|&month| days(year, month, 1) <= day).unwrap();
    (year, month, day - days(year, month, 1) + 1)
}

#[test]
fn time_is_written_as_amazon_does() {
    let time = Instant::from_basic("20150830T123600Z").unwrap();
    assert_eq!(time.seconds(), 1_440_938_160);
    assert_eq!(time.basic(), "20150830T123600Z");
    assert_eq!(time.extended(), "2015-08-30T12:36:00Z");
    assert_eq!(time.http(), "Sun, 30 Aug 2015 12:36:00 GMT");
    assert_eq!(Instant(1_709_164_800).basic(), "20240229T000000Z");
}
