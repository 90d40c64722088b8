//! Conversions as `cel-go` makes them, whose words in turn are Go's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cel_core::{Duration, EvalError, Timestamp, Value, time};

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// Whether an expression has read a timestamp with an offset from UTC. `cel-go` writes it with that offset again, which
/// the crate has forgotten by then.
#[derive(Debug, Clone, Default)]
pub(super) struct Offsets(Arc<AtomicBool>);

/// `string(value)`.
pub(super) fn string(args: &[Value], offsets: &Offsets) -> Value {
    let text = match args {
        [value @ Value::String(_)] => return value.clone(),
        [Value::Int(number)] => number.to_string(),
        [Value::UInt(number)] => number.to_string(),
        [Value::Double(number)] => shortest(*number),
        [Value::Bool(value)] => value.to_string(),
        [Value::Bytes(bytes)] => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Value::error(EvalError::invalid_conversion("bytes that are no UTF-8", "string")),
        },
        [Value::Timestamp(_)] if offsets.0.load(Ordering::Relaxed) => {
            let reason = "this version cannot make a string of a timestamp where one has an offset from UTC";
            return Value::error(EvalError::invalid_argument(reason));
        }
        [Value::Timestamp(moment)] => time::format_timestamp(moment),
        [Value::Duration(length)] => format!("{}s", seconds(*length)),
        _ => return Value::error(EvalError::no_matching_overload("string")),
    };
    Value::from(text)
}

/// A number as Go's `strconv.FormatFloat(number, 'g', -1, 64)` writes it.
/// <https://pkg.go.dev/strconv#FormatFloat>
fn shortest(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    number.to_string()
}

/// `bool(value)`.
pub(super) fn bool(args: &[Value]) -> Value {
    match args {
        [value @ Value::Bool(_)] => value.clone(),
        [Value::String(text)] => match text.as_ref() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Value::Bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Value::Bool(false),
            _ => Value::error(EvalError::invalid_conversion("this string", "bool")),
        },
        _ => Value::error(EvalError::no_matching_overload("bool")),
    }
}

/// `double(value)`. A text whose number is too great is an error, not infinite.
pub(super) fn double(args: &[Value]) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "that is the conversion: the nearest number")]
    match args {
        [value @ Value::Double(_)] => value.clone(),
        [Value::Int(number)] => Value::Double(*number as f64),
        [Value::UInt(number)] => Value::Double(*number as f64),
        [Value::String(text)] => match text.parse::<f64>() {
            Ok(number) if number.is_finite() || !text.contains(|digit: char| digit.is_ascii_digit()) => {
                Value::Double(number)
            }
            Ok(_) | Err(_) => Value::error(EvalError::invalid_conversion("this string", "double")),
        },
        _ => Value::error(EvalError::no_matching_overload("double")),
    }
}

/// `duration(value)`.
pub(super) fn duration(args: &[Value]) -> Value {
    match args {
        [value @ Value::Duration(_)] => value.clone(),
        [Value::String(text)] => match parsed(text) {
            Some(length) => Value::Duration(length),
            None => Value::error(EvalError::invalid_conversion("this string", "google.protobuf.Duration")),
        },
        _ => Value::error(EvalError::no_matching_overload("duration")),
    }
}

/// `timestamp(value)`. The crate also takes small letters, a space and a leap second.
pub(super) fn timestamp(args: &[Value], offsets: &Offsets) -> Value {
    if let [Value::String(text)] = args
        && !text.ends_with('Z')
    {
        offsets.0.store(true, Ordering::Relaxed);
    }
    let moment = match args {
        [value @ Value::Timestamp(_)] => return value.clone(),
        [Value::Int(seconds)] => Some(Timestamp::new(*seconds, 0)).filter(Timestamp::is_valid),
        [Value::String(text)] if is_strict(text) => time::parse_timestamp(text).ok(),
        [Value::String(_)] => None,
        _ => return Value::error(EvalError::no_matching_overload("timestamp")),
    };
    match moment {
        Some(moment) => Value::Timestamp(moment),
        None => Value::error(EvalError::invalid_conversion("this value", "google.protobuf.Timestamp")),
    }
}

/// Whether what may be written in several ways is written as Go wants it: `2024-02-29T23:59:59Z`.
fn is_strict(text: &str) -> bool {
    text.get(10..11) == Some("T") && text.get(17..19) != Some("60") && !text.contains('z')
}

/// A duration as nanoseconds, if it is one in Go.
pub(super) fn nanoseconds(length: Duration) -> Option<i64> {
    i64::try_from(i128::from(length.seconds) * SECOND + i128::from(length.nanos)).ok()
}

/// A duration as Go's `time.ParseDuration` reads it, to the nanosecond.
/// <https://pkg.go.dev/time#ParseDuration>
fn parsed(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(Duration::new(0, 0));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (whole, behind) = digits(rest);
        let (fraction, behind) = behind.strip_prefix('.').map_or(("", behind), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit = behind.split(|next: char| next.is_ascii_digit() || next == '.').next().unwrap_or_default();
        let unit_length: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return None,
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        // More digits than these say nothing about nanoseconds.
        let fraction = fraction.get(..18).unwrap_or(fraction);
        let parts = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit_length)?)?.checked_add(fraction * unit_length / parts)?;
        rest = behind.get(unit.len()..).unwrap_or_default();
    }
    let total = i64::try_from(if negative { -total } else { total }).ok()?;
    Some(Duration::new(total / 1_000_000_000, i32::try_from(total % 1_000_000_000).ok()?))
}

/// The digits at the start, and what is behind them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// A duration in seconds, as Go has it.
fn seconds(length: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "Go's Seconds() rounds so, too")]
    let seconds = length.seconds as f64;
    seconds + f64::from(length.nanos) / 1e9
}
