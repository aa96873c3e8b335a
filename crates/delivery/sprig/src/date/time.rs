//! `time.Time`: a moment and the zone it is shown in.

use std::{any::Any, fmt};

use coracle_gotemplate::{Context, FunctionError, Member, Object, Type, Value};
use jiff::{Timestamp, tz::TimeZone};

use super::layout;
use crate::{
    args::{int, text},
    duration::{Duration, SECOND},
};

/// Seconds of Go's zero time, the first second of the year one.
const ZERO_SECONDS: i64 = -62_135_596_800;
const DAY_SECONDS: i64 = 86_400;

/// A moment in seconds and nanoseconds since 1970, shown in a zone.
#[derive(Debug, Clone)]
pub struct Time {
    pub seconds: i64,
    pub nanos: u32,
    pub(super) zone: Zone,
}

/// Where a time is shown.
#[derive(Debug, Clone)]
pub(super) enum Zone {
    Utc,
    Named(TimeZone),
    Fixed { seconds: i32, name: String },
}

impl Zone {
    pub(super) fn local(context: &mut Context<'_>) -> Zone {
        Zone::named(&context.host.zone()).unwrap_or(Zone::Utc)
    }

    pub(super) fn named(name: &str) -> Option<Zone> {
        match name {
            "" | "UTC" => Some(Zone::Utc),
            name => TimeZone::get(name).ok().map(Zone::Named),
        }
    }

    /// Seconds east of Greenwich at a moment, and the zone's short name then.
    pub(super) fn offset_at(&self, seconds: i64) -> (i32, String) {
        match self {
            Zone::Utc => (0, "UTC".to_owned()),
            Zone::Fixed { seconds, name } => (*seconds, name.clone()),
            Zone::Named(zone) => match Timestamp::from_second(seconds) {
                Ok(moment) => {
                    let info = zone.to_offset_info(moment);
                    (info.offset().seconds(), info.abbreviation().to_owned())
                }
                Err(_) => (0, "UTC".to_owned()),
            },
        }
    }
}

/// What a calendar and a clock on the wall show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Civil {
    pub year: i64,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// Sunday is 0.
    pub weekday: u8,
    /// January 1 is 1.
    pub year_day: u16,
}

pub(super) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub(super) fn days_in(year: i64, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970 of a date; months out of range carry over into years, as Go's `time.Date` lets them.
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let months = year * 12 + (month - 1);
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted - era * 400;
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 + (day - 1)
}

impl Civil {
    fn at(local_seconds: i64) -> Civil {
        let days = local_seconds.div_euclid(DAY_SECONDS);
        let second_of_day = local_seconds.rem_euclid(DAY_SECONDS);
        let small = |number: i64| u8::try_from(number).unwrap_or_default();
        let (year, month, day) = civil_from_days(days);
        let year_day = days - days_from_civil(year, 1, 1) + 1;
        Civil {
            year,
            month: small(month),
            day: small(day),
            hour: small(second_of_day / 3600),
            minute: small(second_of_day / 60 % 60),
            second: small(second_of_day % 60),
            weekday: small((days + 4).rem_euclid(7)),
            year_day: u16::try_from(year_day).unwrap_or_default(),
        }
    }
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl Time {
    /// Go's zero time.
    pub(super) const ZERO: Time = Time { seconds: ZERO_SECONDS, nanos: 0, zone: Zone::Utc };

    /// A moment in UTC.
    pub fn utc(seconds: i64, nanos: u32) -> Time {
        Time { seconds, nanos, zone: Zone::Utc }
    }

    pub(super) fn civil(&self) -> Civil {
        Civil::at(self.seconds.saturating_add(i64::from(self.offset().0)))
    }

    pub(super) fn offset(&self) -> (i32, String) {
        self.zone.offset_at(self.seconds)
    }

    /// The time in one of Go's layouts.
    pub fn format(&self, pattern: &str) -> String {
        layout::format(pattern, self)
    }

    /// A text in a layout, in UTC where it names no zone.
    pub(crate) fn parse_utc(layout: &str, text: &str) -> Option<Time> {
        super::parse::parse(layout, text, Zone::Utc).ok()
    }

    /// As JSON writes it.
    pub(crate) fn rfc3339(&self) -> String {
        self.format("2006-01-02T15:04:05.999999999Z07:00")
    }

    pub(super) fn plus(&self, by: Duration) -> Time {
        let nanos = i64::from(self.nanos) + by.0.rem_euclid(SECOND);
        Time {
            seconds: self.seconds.saturating_add(by.0.div_euclid(SECOND)).saturating_add(nanos / SECOND),
            nanos: u32::try_from(nanos % SECOND).unwrap_or_default(),
            zone: self.zone.clone(),
        }
    }

    /// The span from `then` to this time, at most what fits.
    pub(super) fn since(&self, then: &Time) -> Duration {
        let total = |time: &Time| i128::from(time.seconds) * i128::from(SECOND) + i128::from(time.nanos);
        let nanos = total(self) - total(then);
        Duration(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }

    fn plus_date(&self, years: i64, months: i64, days: i64) -> Time {
        let civil = self.civil();
        let day = days_from_civil(civil.year + years, i64::from(civil.month) + months, i64::from(civil.day) + days);
        let clock = i64::from(civil.hour) * 3600 + i64::from(civil.minute) * 60 + i64::from(civil.second);
        let seconds = day * DAY_SECONDS + clock - i64::from(self.offset().0);
        Time { seconds, nanos: self.nanos, zone: self.zone.clone() }
    }

    fn total_nanos(&self) -> i64 {
        self.seconds.wrapping_mul(SECOND).wrapping_add(i64::from(self.nanos))
    }

    fn field(&self, name: &str) -> Option<Value> {
        let civil = self.civil();
        Some(match name {
            "Unix" => Value::Int64(self.seconds),
            "UnixMilli" => Value::Int64(self.total_nanos() / 1_000_000),
            "UnixMicro" => Value::Int64(self.total_nanos() / 1_000),
            "UnixNano" => Value::Int64(self.total_nanos()),
            "Year" => Value::Int(civil.year),
            "Month" => Named { type_name: "time.Month", text: layout::MONTHS[usize::from(civil.month) - 1] }.into(),
            "Weekday" => Named { type_name: "time.Weekday", text: layout::DAYS[usize::from(civil.weekday)] }.into(),
            "Day" => Value::Int(civil.day.into()),
            "Hour" => Value::Int(civil.hour.into()),
            "Minute" => Value::Int(civil.minute.into()),
            "Second" => Value::Int(civil.second.into()),
            "Nanosecond" => Value::Int(self.nanos.into()),
            "YearDay" => Value::Int(civil.year_day.into()),
            "UTC" => Time { zone: Zone::Utc, ..self.clone() }.into(),
            "Local" => self.clone().into(),
            "IsZero" => (self.seconds == ZERO_SECONDS && self.nanos == 0).into(),
            "String" => self.to_string().into(),
            _ => return None,
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

impl Object for Time {
    fn type_name(&self) -> &str {
        "time.Time"
    }

    fn member(&self, name: &str) -> Member {
        match name {
            "Format" => Member::Method { params: &[Type::String], rest: None },
            "AddDate" => Member::Method { params: &[Type::Int, Type::Int, Type::Int], rest: None },
            "Add" | "Truncate" | "Round" => Member::Method { params: &[Type::Object("time.Duration")], rest: None },
            "Before" | "After" | "Equal" | "Sub" | "Compare" => {
                Member::Method { params: &[Type::Object("time.Time")], rest: None }
            }
            other => self.field(other).map_or(Member::Absent, Member::Field),
        }
    }

    fn call(&self, name: &str, _: &mut Context<'_>, arguments: &[Value]) -> Result<Value, FunctionError> {
        let other = || arguments[0].as_object::<Time>().cloned().unwrap_or(Time::ZERO);
        let length = || arguments[0].as_object::<Duration>().copied().unwrap_or(Duration(0));
        let order = || (self.seconds, self.nanos).cmp(&(other().seconds, other().nanos));
        Ok(match name {
            "Format" => self.format(&text(&arguments[0])).into(),
            "AddDate" => self.plus_date(int(&arguments[0]), int(&arguments[1]), int(&arguments[2])).into(),
            "Add" => self.plus(length()).into(),
            "Truncate" | "Round" => {
                let since_zero = self.since(&Time::utc(ZERO_SECONDS, 0));
                let rest = if length().0 > 0 { since_zero.0 % length().0 } else { 0 };
                let up = name == "Round" && rest.saturating_mul(2) >= length().0 && rest > 0;
                self.plus(Duration(if up { length().0 - rest } else { -rest })).into()
            }
            "Before" => order().is_lt().into(),
            "After" => order().is_gt().into(),
            "Equal" => order().is_eq().into(),
            "Compare" => Value::Int(order() as i64),
            "Sub" => self.since(&other()).into(),
            _ => return Err(format!("{name} is not a method").into()),
        })
    }

    fn json(&self) -> Option<Value> {
        Some(self.rfc3339().into())
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl From<Time> for Value {
    fn from(time: Time) -> Value {
        Value::Object(std::rc::Rc::new(time))
    }
}

/// A number that prints as its name: a month, a day of the week.
struct Named {
    type_name: &'static str,
    text: &'static str,
}

impl Object for Named {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn kind(&self) -> coracle_gotemplate::Kind {
        coracle_gotemplate::Kind::Int
    }

    fn member(&self, name: &str) -> Member {
        if name == "String" { Member::Field(self.text.into()) } else { Member::Absent }
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl From<Named> for Value {
    fn from(named: Named) -> Value {
        Value::Object(std::rc::Rc::new(named))
    }
}
