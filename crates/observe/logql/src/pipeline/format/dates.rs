//! Functions on time.

use std::{any::Any, fmt, rc::Rc};

use coracle_gotemplate::{Context, Function, FunctionError, Member, Object, Type, Value};
use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{layout, texts::text};
use crate::go;

const S: Type = Type::String;
const TIME: Type = Type::Object("time.Time");

pub(super) const TABLE: &[Function] = &[
    Function::new("date", &[S, Type::Any], |context, a| {
        let time = match &a[1] {
            Value::Int(seconds) | Value::Int64(seconds) => Time::of(seconds.saturating_mul(1_000_000_000)),
            other => match other.as_object::<Time>() {
                Some(time) => time.clone(),
                None => {
                    let (seconds, nanoseconds) = context.host.now();
                    Time::of(seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanoseconds)))
                }
            },
        };
        Ok(layout::format(&time.0.with_time_zone(TimeZone::UTC), &text(&a[0])).into())
    }),
    Function::new("toDate", &[S, S], |_, a| Ok(parsed(&text(&a[0]), &text(&a[1]), &TimeZone::UTC).into())),
    Function::new("toDateInZone", &[S, S, S], |_, a| {
        let zone = TimeZone::get(&text(&a[1])).unwrap_or(TimeZone::UTC);
        Ok(parsed(&text(&a[0]), &text(&a[2]), &zone).into())
    }),
    Function::new("unixEpoch", &[TIME], |_, a| Ok(timestamp(&a[0]).as_second().to_string().into())),
    Function::new("unixEpochMillis", &[TIME], |_, a| Ok(timestamp(&a[0]).as_millisecond().to_string().into())),
    Function::new("unixEpochNanos", &[TIME], |_, a| Ok(timestamp(&a[0]).as_nanosecond().to_string().into())),
    Function::new("unixToTime", &[S], |_, a| unix_to_time(&text(&a[0]))),
];

/// A moment in a zone.
#[derive(Clone)]
pub(super) struct Time(Zoned);

impl Time {
    /// Of nanoseconds since 1970.
    pub(super) fn of(nanoseconds: i64) -> Self {
        let at = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default();
        Self(at.to_zoned(TimeZone::UTC))
    }

    /// What Go has for a time that could not be read.
    fn zero() -> Self {
        let zero: Timestamp = "0001-01-01T00:00:00Z".parse().unwrap_or_default();
        Self(zero.to_zoned(TimeZone::UTC))
    }
}

impl From<Time> for Value {
    fn from(time: Time) -> Self {
        Self::Object(Rc::new(time))
    }
}

impl Object for Time {
    fn type_name(&self) -> &str {
        "time.Time"
    }

    fn member(&self, name: &str) -> Member {
        let number = |number: i64| Member::Field(Value::Int64(number));
        match name {
            "Unix" => number(self.0.timestamp().as_second()),
            "UnixMilli" => number(self.0.timestamp().as_millisecond()),
            "UnixNano" => number(i64::try_from(self.0.timestamp().as_nanosecond()).unwrap_or_default()),
            "Year" => Member::Field(Value::Int(i64::from(self.0.year()))),
            "Day" => Member::Field(Value::Int(i64::from(self.0.day()))),
            "Hour" => Member::Field(Value::Int(i64::from(self.0.hour()))),
            "Minute" => Member::Field(Value::Int(i64::from(self.0.minute()))),
            "Second" => Member::Field(Value::Int(i64::from(self.0.second()))),
            "Nanosecond" => Member::Field(Value::Int(i64::from(self.0.subsec_nanosecond()))),
            "UTC" => Member::Field(Self(self.0.with_time_zone(TimeZone::UTC)).into()),
            "Format" => Member::Method { params: &[S], rest: None },
            _ => Member::Absent,
        }
    }

    fn call(&self, _name: &str, _context: &mut Context<'_>, arguments: &[Value]) -> Result<Value, FunctionError> {
        Ok(layout::format(&self.0, &text(&arguments[0])).into())
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&layout::format(&self.0, "2006-01-02 15:04:05.999999999 -0700 MST"))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn timestamp(value: &Value) -> Timestamp {
    value.as_object::<Time>().map_or_else(Timestamp::default, |time| time.0.timestamp())
}

fn parsed(layout: &str, text: &str, zone: &TimeZone) -> Time {
    layout::parse(layout, text, zone).map_or_else(Time::zero, Time)
}

/// By how many digits there are: days, seconds, milliseconds, microseconds, nanoseconds.
fn unix_to_time(text: &str) -> Result<Value, FunctionError> {
    let number: i64 = text.parse().map_err(|_| {
        let quoted = go::quote(text);
        format!("unable to parse time '{text}': strconv.ParseInt: parsing {quoted}: invalid syntax")
    })?;
    let unit = match text.len() {
        5 => 86_400_000_000_000,
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return Err(FunctionError::new(format!("unable to parse time '{text}': %!w(<nil>)"))),
    };
    Ok(Time::of(number.saturating_mul(unit)).into())
}
