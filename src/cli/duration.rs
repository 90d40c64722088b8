//! Go's duration syntax: `300ms`, `-1.5s`, `1h30m`.
//!
//! Rules: <https://pkg.go.dev/time#ParseDuration>.

/// The value is not in Go's duration syntax, or is outside of 64 bits of nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotADuration;

/// The greatest magnitude: that of the smallest 64-bit number.
const LIMIT: u64 = 1 << 63;

/// A duration in nanoseconds.
///
/// # Errors
///
/// Everything that Go refuses, among it a number without a unit (only `0` needs none), `1d`, and the empty text.
pub(super) fn parse(text: &str) -> Result<i64, NotADuration> {
    let (negative, magnitude) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..)),
        [b'+', ..] => (false, text.get(1..)),
        _ => (false, Some(text)),
    };
    let mut rest = magnitude.ok_or(NotADuration)?;
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(NotADuration);
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (part, behind) = part(rest)?;
        total = total.checked_add(part).filter(|&total| total <= LIMIT).ok_or(NotADuration)?;
        rest = behind;
    }
    if negative { 0_i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() }.ok_or(NotADuration)
}

/// One number with its unit, in nanoseconds, and what stands behind it.
fn part(text: &str) -> Result<(u64, &str), NotADuration> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(NotADuration);
    }
    let (name, rest) = rest.split_at(rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len()));
    let unit: u64 = match name {
        "ns" => 1,
        // The micro sign, and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return Err(NotADuration),
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| NotADuration)? };
    let nanoseconds = whole
        .checked_mul(unit)
        .filter(|&whole| whole <= LIMIT)
        .and_then(|whole| whole.checked_add(fraction_of(fraction, unit)))
        .filter(|&sum| sum <= LIMIT);
    nanoseconds.map(|nanoseconds| (nanoseconds, rest)).ok_or(NotADuration)
}

/// The ASCII digits that a text starts with, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// What the digits behind a point mean in nanoseconds. Digits beyond 64 bits are dropped, and the product is made in
/// floating point, because that is how Go rounds.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0_u64, 1_f64);
    for digit in digits.bytes().map(|byte| u64::from(byte.saturating_sub(b'0'))) {
        if value > (LIMIT - 1) / 10 {
            break;
        }
        let next = value * 10 + digit;
        if next > LIMIT {
            break;
        }
        (value, scale) = (next, scale * 10.0);
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;

    #[test]
    fn what_go_accepts_has_gos_value() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("5s", 5 * SECOND),
            ("30s", 30 * SECOND),
            ("1478s", 1478 * SECOND),
            ("-5s", -5 * SECOND),
            ("+5s", 5 * SECOND),
            ("0s", 0),
            ("-0s", 0),
            ("5.0s", 5 * SECOND),
            ("5.6s", 5_600_000_000),
            ("5.s", 5 * SECOND),
            (".5s", 500_000_000),
            ("1.0s", SECOND),
            ("1.004s", 1_004_000_000),
            ("1.0040s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("14s", 14 * SECOND),
            ("15m", 15 * MINUTE),
            ("16h", 16 * HOUR),
            ("1h0m0s", HOUR),
            ("3h30m", 3 * HOUR + 30 * MINUTE),
            ("10.5s4m", 4 * MINUTE + 10_500_000_000),
            ("-2m3.4s", -(2 * MINUTE + 3_400_000_000)),
            ("1h2m3s4ms5us6ns", HOUR + 2 * MINUTE + 3 * SECOND + 4_005_006),
            ("39h9m14.425s", 39 * HOUR + 9 * MINUTE + 14_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 20 * MINUTE),
            ("9007199254740993ns", (1 << 53) + 1),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("9223372036s854ms775us807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-9223372036854775.808us", i64::MIN),
            ("-2562047h47m16.854775808s", i64::MIN),
            ("0.100000000000000000000h", 6 * MINUTE),
            ("0.830103483285477580700h", 49 * MINUTE + 48 * SECOND + 372_539_827),
            // A fraction below one nanosecond is cut off.
            ("0.9ns", 0),
            ("1.9999999999999999999999999ns", 2),
        ] {
            assert_eq!(parse(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            "3",
            "10",
            "-",
            "+",
            "s",
            ".",
            "-.",
            ".s",
            "+.s",
            "-.s",
            "1d",
            "1w",
            "1S",
            "1H",
            "1 s",
            " 1s",
            "1s ",
            "1s2",
            "--1s",
            "+-1s",
            "1-s",
            "1e3s",
            "1.2.3s",
            "0x1s",
            "00",
            "1,5s",
            "\u{661}s",
            "1\u{b5}",
            "infinity",
            "9223372036854775808ns",
            "9223372036854775.808us",
            "9223372036854ms775us808ns",
            "-9223372036854775809ns",
            "3000000h",
            "18446744073709551616ns",
            "99999999999999999999999999h",
            // Go's sum wraps around to 0 here; an unlimited step is not what this means.
            "9223372036854775808ns9223372036854775808ns",
        ] {
            assert_eq!(parse(text), Err(NotADuration), "{text}");
        }
    }

    #[test]
    fn a_duration_as_go_prints_it_is_read_back() {
        // A linear congruence over many magnitudes, cut into hours, minutes and seconds as Go's String does.
        let mut state = 1_u64;
        for round in 0..5_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = i64::try_from(state >> (1 + round % 63)).unwrap();
            let (hours, minutes, rest) = (value / HOUR, value % HOUR / MINUTE, value % MINUTE);
            let text = format!("{hours}h{minutes}m{}.{:09}s", rest / SECOND, rest % SECOND);
            assert_eq!(parse(&text), Ok(value), "{text}");
            assert_eq!(parse(&format!("-{text}")), Ok(-value), "-{text}");
        }
    }
}
