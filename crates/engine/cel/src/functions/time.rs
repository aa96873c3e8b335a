//! What can be asked of points in time and of spans.

use jiff::{Timestamp, tz::TimeZone};

use super::Implementation;
use crate::value::{EvalError, Value};

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "getFullYear" => |args| part(args, |at| at.year().into()),
        "getMonth" => |args| part(args, |at| i64::from(at.month()) - 1),
        "getDayOfYear" => |args| part(args, |at| i64::from(at.day_of_year()) - 1),
        "getDayOfMonth" => |args| part(args, |at| i64::from(at.day()) - 1),
        "getDate" => |args| part(args, |at| at.day().into()),
        "getDayOfWeek" => |args| part(args, |at| at.weekday().to_sunday_zero_offset().into()),
        "getHours" => |args| either(args, 3_600_000, |at| at.hour().into()),
        "getMinutes" => |args| either(args, 60_000, |at| at.minute().into()),
        "getSeconds" => |args| either(args, 1_000, |at| at.second().into()),
        "getMilliseconds" => |args| match args {
            [Value::Duration(span)] => Ok(Value::Int(i64::from(span.subsec_millis()))),
            _ => part(args, |at| at.millisecond().into()),
        },
        _ => return None,
    })
}

/// The years 1 to 9999, the only ones there are.
pub fn is_in_range(at: Timestamp) -> bool {
    const SECOND: i128 = 1_000_000_000;
    (-62_135_596_800 * SECOND..253_402_300_800 * SECOND).contains(&at.as_nanosecond())
}

fn either<'a>(args: &[Value<'a>], unit_ms: i128, of: fn(&jiff::Zoned) -> i64) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Duration(span)] => Ok(Value::Int((span.as_millis() / unit_ms) as i64)),
        _ => part(args, of),
    }
}

fn part<'a>(args: &[Value<'a>], of: fn(&jiff::Zoned) -> i64) -> Result<Value<'a>, EvalError> {
    let (at, zone) = match args {
        [Value::Timestamp(at)] => (at, TimeZone::UTC),
        [Value::Timestamp(at), Value::String(zone)] => (at, read_zone(zone)?),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Int(of(&at.to_zoned(zone))))
}

/// A name of the time zone database, or hours and minutes east of Greenwich.
fn read_zone(text: &str) -> Result<TimeZone, EvalError> {
    let unknown = || EvalError::new(format!("unknown time zone {text}"));
    let Some((hours, minutes)) = text.split_once(':') else {
        return if text.is_empty() || text == "UTC" {
            Ok(TimeZone::UTC)
        } else {
            TimeZone::get(text).map_err(|_| unknown())
        };
    };
    let hours_east: i32 = hours.parse().map_err(|_| unknown())?;
    let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
    let minutes = if hours.starts_with('-') { hours_east * 60 - minutes } else { hours_east * 60 + minutes };
    jiff::tz::Offset::from_seconds(minutes * 60).map(TimeZone::fixed).map_err(|_| unknown())
}
