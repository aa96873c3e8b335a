//! Dates: Go's layouts, zones by name, the clock of the host.

mod layout;
mod parse;
mod time;

use coracle_gotemplate::{Call, Context, Function, FunctionError, Type, Value};

pub use self::time::Time;
use crate::{
    args::{int, text},
    duration::{self, Duration},
};
use time::Zone;

const S: Type = Type::String;
const ANY: Type = Type::Any;
const TIME: Type = Type::Object("time.Time");
const DAY: &str = "2006-01-02";

pub(crate) const TABLE: &[Function] = &[
    Function::new("now", &[], |context, _| Ok(now(context).into())),
    Function::new("date", &[S, ANY], |context, a| {
        let zone = Zone::local(context);
        Ok(in_zone(context, &a[1], zone).format(&text(&a[0])).into())
    }),
    Function::new("dateInZone", &[S, ANY, S], DATE_IN_ZONE),
    Function::new("date_in_zone", &[S, ANY, S], DATE_IN_ZONE),
    Function::new("htmlDate", &[ANY], |context, a| {
        let zone = Zone::local(context);
        Ok(in_zone(context, &a[0], zone).format(DAY).into())
    }),
    Function::new("htmlDateInZone", &[ANY, S], |context, a| {
        let zone = named(context, &text(&a[1]));
        Ok(in_zone(context, &a[0], zone).format(DAY).into())
    }),
    Function::new("dateModify", &[S, TIME], DATE_MODIFY),
    Function::new("date_modify", &[S, TIME], DATE_MODIFY),
    Function::new("mustDateModify", &[S, TIME], MUST_DATE_MODIFY),
    Function::new("must_date_modify", &[S, TIME], MUST_DATE_MODIFY),
    Function::new("ago", &[ANY], |context, a| {
        let then = moment(&a[0]).unwrap_or_else(|| now(context));
        Ok(since(context, &then).round(Duration(duration::SECOND)).to_string().into())
    }),
    Function::new("duration", &[ANY], |_, a| Ok(seconds(&a[0]).to_string().into())),
    Function::new("durationRound", &[ANY], |context, a| Ok(rounded(context, &a[0]).into())),
    Function::new("toDate", &[S, S], |context, a| {
        Ok(parse::parse(&text(&a[0]), &text(&a[1]), Zone::local(context)).unwrap_or(Time::ZERO).into())
    }),
    Function::new("mustToDate", &[S, S], |context, a| {
        parse::parse(&text(&a[0]), &text(&a[1]), Zone::local(context)).map(Value::from).map_err(FunctionError::from)
    }),
    Function::new("unixEpoch", &[TIME], |_, a| Ok(time_of(&a[0]).seconds.to_string().into())),
];

const DATE_IN_ZONE: Call = |context, a| {
    let zone = named(context, &text(&a[2]));
    Ok(in_zone(context, &a[1], zone).format(&text(&a[0])).into())
};

const DATE_MODIFY: Call = |_, a| Ok(duration::parse(&text(&a[0])).map_or_else(|_| a[1].clone(), |by| time_of(&a[1]).plus(by).into()));

const MUST_DATE_MODIFY: Call = |_, a| Ok(time_of(&a[1]).plus(duration::parse(&text(&a[0]))?).into());

fn now(context: &mut Context<'_>) -> Time {
    let (seconds, nanos) = context.host.now();
    Time { seconds, nanos, zone: Zone::local(context) }
}

/// `Local`, a name of the zone data base, or UTC for what is neither.
fn named(context: &mut Context<'_>, name: &str) -> Zone {
    match name {
        "Local" => Zone::local(context),
        name => Zone::named(name).unwrap_or(Zone::Utc),
    }
}

/// The time a value stands for, as Sprig reads it, in a zone; what is no time is now.
fn in_zone(context: &mut Context<'_>, value: &Value, zone: Zone) -> Time {
    let time = moment(value).unwrap_or_else(|| now(context));
    Time { zone, ..time }
}

/// A time, or seconds since 1970.
fn moment(value: &Value) -> Option<Time> {
    match value {
        Value::Int(seconds) | Value::Int64(seconds) => Some(Time { seconds: *seconds, nanos: 0, zone: Zone::Utc }),
        other => other.as_object::<Time>().cloned(),
    }
}

fn time_of(value: &Value) -> Time {
    value.as_object::<Time>().cloned().unwrap_or(Time::ZERO)
}

fn since(context: &mut Context<'_>, then: &Time) -> Duration {
    now(context).since(then)
}

fn seconds(value: &Value) -> Duration {
    let seconds = match value {
        Value::String(text) => text.parse().unwrap_or(0),
        Value::Int64(_) => int(value),
        _ => 0,
    };
    Duration(seconds.wrapping_mul(duration::SECOND))
}

/// A duration in its largest unit, cut off: `3d`.
fn rounded(context: &mut Context<'_>, value: &Value) -> String {
    let length = match value {
        Value::String(text) => duration::parse(text).unwrap_or(Duration(0)),
        Value::Int64(nanos) => Duration(*nanos),
        other => other.as_object::<Time>().cloned().map_or(Duration(0), |then| since(context, &then)),
    };
    let hour = duration::HOUR.unsigned_abs();
    let units = [
        (hour * 24 * 365, "y"),
        (hour * 24 * 30, "mo"),
        (hour * 24, "d"),
        (hour, "h"),
        (duration::MINUTE.unsigned_abs(), "m"),
        (duration::SECOND.unsigned_abs(), "s"),
    ];
    let length = length.0.unsigned_abs();
    let unit = units.into_iter().find(|(unit, _)| length > *unit);
    unit.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", length / unit))
}

/// What reading gives, or why it cannot.
type Parsed<T> = std::result::Result<T, String>;
