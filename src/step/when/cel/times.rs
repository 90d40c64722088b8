//! The parts of moments and durations: `getHours()` and its like, in UTC, at an offset, or in a named time zone.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cel_core::time::TimestampComponent;
use cel_core::{Duration, EvalError, Timestamp, Value};

use super::conversions;
use crate::sys::clock;

/// Where Go looks for time zones.
const ZONES: [&str; 4] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"];

/// The part that a function gets.
pub(super) fn component(function: &str) -> Option<TimestampComponent> {
    Some(match function {
        "getFullYear" => TimestampComponent::FullYear,
        "getMonth" => TimestampComponent::Month,
        "getDate" => TimestampComponent::Date,
        "getDayOfMonth" => TimestampComponent::DayOfMonth,
        "getDayOfWeek" => TimestampComponent::DayOfWeek,
        "getDayOfYear" => TimestampComponent::DayOfYear,
        "getHours" => TimestampComponent::Hours,
        "getMinutes" => TimestampComponent::Minutes,
        "getSeconds" => TimestampComponent::Seconds,
        "getMilliseconds" => TimestampComponent::Milliseconds,
        _ => return None,
    })
}

/// The part of a moment, or how many of them a duration has.
pub(super) fn get(component: TimestampComponent, args: &[Value]) -> Value {
    let part = match args {
        [Value::Timestamp(moment)] => of_moment(component, moment, 0),
        [Value::Timestamp(moment), Value::String(zone)] => match offset(zone, moment.seconds) {
            Ok(offset) => of_moment(component, moment, offset),
            Err(reason) => return Value::error(EvalError::invalid_argument(reason)),
        },
        [Value::Duration(length)] => of_duration(component, *length),
        _ => None,
    };
    part.map_or_else(|| Value::error(EvalError::no_matching_overload("get a part of a time")), Value::Int)
}

fn of_moment(component: TimestampComponent, moment: &Timestamp, offset: i64) -> Option<i64> {
    let there = Timestamp::new(moment.seconds.checked_add(offset)?, moment.nanos);
    Some(component.extract(&there.to_datetime_utc()?))
}

fn of_duration(component: TimestampComponent, length: Duration) -> Option<i64> {
    let nanoseconds = conversions::nanoseconds(length)?;
    match component {
        TimestampComponent::Hours => Some(nanoseconds / 3_600_000_000_000),
        TimestampComponent::Minutes => Some(nanoseconds / 60_000_000_000),
        TimestampComponent::Seconds => Some(nanoseconds / 1_000_000_000),
        TimestampComponent::Milliseconds => Some(nanoseconds / 1_000_000),
        TimestampComponent::FullYear
        | TimestampComponent::Month
        | TimestampComponent::Date
        | TimestampComponent::DayOfMonth
        | TimestampComponent::DayOfWeek
        | TimestampComponent::DayOfYear => None,
    }
}

/// Seconds east of UTC at a moment, by a zone's name or an offset such as `-02:30`.
fn offset(zone: &str, moment: i64) -> Result<i64, String> {
    match zone.split_once(':') {
        Some((hours, minutes)) => fixed(zone, hours, minutes),
        None if zone.is_empty() || zone == "UTC" => Ok(0),
        None => named(zone, moment),
    }
}

fn fixed(zone: &str, hours: &str, minutes: &str) -> Result<i64, String> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("invalid time zone offset: {zone}"));
    let (hours_east, minutes) = (number(hours)?, number(minutes)?);
    if !(-23..=23).contains(&hours_east) {
        return Err(format!("timezone offset hours out of range [-23, 23]: {zone}"));
    }
    if !(0..=59).contains(&minutes) {
        return Err(format!("timezone offset minutes out of range [0, 59]: {zone}"));
    }
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    Ok(hours_east * 3600 + sign * minutes * 60)
}

/// A zone of the step's own image, as in Tekton: the program brings none.
fn named(zone: &str, moment: i64) -> Result<i64, String> {
    if zone.split(['/', '\\']).any(|part| part == "..") || zone.starts_with(['/', '\\']) {
        return Err("time: invalid location name".to_owned());
    }
    let found = ZONES.iter().map(|directory| Path::new(directory).join(zone)).find(|file| is_zone(file));
    let unknown = || {
        format!(
            "unknown time zone {zone}: it is looked for in the time zones of the step's image (tzdata); an offset such as \
             +02:00 is always known"
        )
    };
    let found: PathBuf = found.ok_or_else(unknown)?;
    clock::offset_by(&found, moment).ok_or_else(unknown)
}

fn is_zone(file: &Path) -> bool {
    let mut magic = [0; 4];
    file.is_file() && File::open(file).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"TZif"
}
