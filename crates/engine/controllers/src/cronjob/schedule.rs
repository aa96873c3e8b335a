//! Schedules in crontab's five fields, and the times they name.

use k8s_openapi::jiff::{Timestamp, civil, tz::TimeZone};

/// No schedule that has a next time at all has to be looked for longer: the 29th of February, over a century's turn.
const LOOK_AHEAD_DAYS: u32 = 366 * 9;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When a cron job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At what the fields say: a bit for each minute, hour, day, month and weekday.
    Fields { minutes: u64, hours: u64, days: u64, months: u64, weekdays: u64, any_day: bool, any_weekday: bool },
    /// Every so many seconds: `@every 90s`.
    Every(i64),
}

/// Why a schedule cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unparseable(String);

impl Schedule {
    pub(super) fn parse(text: &str) -> Result<Self, Unparseable> {
        let text = text.trim();
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ => text,
        };
        if let Some(duration) = fields.strip_prefix("@every ") {
            return every(duration).ok_or_else(|| Unparseable(format!("failed to parse duration @every {duration}")));
        }
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(Unparseable(format!("expected exactly 5 fields, found {}: [{text}]", fields.len())));
        };
        let is_any = |field: &str| field.starts_with(['*', '?']);
        let weekday_bits = field(weekdays, 0, 7, &WEEKDAYS)?;
        Ok(Self::Fields {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            // Both 0 and 7 are Sunday.
            weekdays: weekday_bits | weekday_bits >> 7 & 1,
            any_day: is_any(days),
            any_weekday: is_any(weekdays),
        })
    }

    /// The first time after a moment.
    pub(super) fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let Self::Fields { minutes, hours, .. } = self else {
            let Self::Every(seconds) = self else { return None };
            return Timestamp::from_second(after.as_second() + seconds).ok();
        };
        let mut date = zone.to_datetime(after).date();
        for _ in 0..LOOK_AHEAD_DAYS {
            if self.is_on(date) {
                let times = bits(*hours).flat_map(|hour| bits(*minutes).map(move |minute| (hour, minute)));
                for (hour, minute) in times {
                    let time = date.at(hour as i8, minute as i8, 0, 0);
                    // A time that the clocks pass over does not come on that day.
                    let zoned = zone.to_zoned(time).ok().filter(|zoned| zoned.datetime() == time);
                    let moment = zoned.map(|zoned| zoned.timestamp());
                    if let Some(moment) = moment.filter(|moment| *moment > after) {
                        return Some(moment);
                    }
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn is_on(&self, date: civil::Date) -> bool {
        let Self::Fields { days, months, weekdays, any_day, any_weekday, .. } = self else { return false };
        let has = |bits: u64, number: i8| bits >> number & 1 == 1;
        let day = has(*days, date.day());
        let weekday = has(*weekdays, date.weekday().to_sunday_zero_offset());
        // Where both are given, either will do.
        let on_day = if *any_day || *any_weekday { day && weekday } else { day || weekday };
        has(*months, date.month()) && on_day
    }
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}

/// One field: numbers or names, ranges, steps, lists.
fn field(text: &str, first: u32, last: u32, names: &[&str]) -> Result<u64, Unparseable> {
    let mut set = 0;
    for part in text.split(',') {
        let bad = || Unparseable(format!("failed to parse {part:?}: values are {first} to {last}"));
        let number = |text: &str| -> Option<u32> {
            let named = names.iter().position(|name| name.eq_ignore_ascii_case(text)).map(|at| at as u32);
            // Months are counted from one, weekdays from zero: as their fields begin.
            named.map(|at| at + first).or_else(|| text.parse().ok())
        };
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let step: u32 = step.parse().ok().filter(|step| *step > 0).ok_or_else(bad)?;
        let (from, to) = match range {
            "*" | "?" => (first, last),
            _ => match range.split_once('-') {
                Some((from, to)) => (number(from).ok_or_else(bad)?, number(to).ok_or_else(bad)?),
                // `5/15` goes on to the end.
                None if part.contains('/') => (number(range).ok_or_else(bad)?, last),
                None => {
                    let only = number(range).ok_or_else(bad)?;
                    (only, only)
                }
            },
        };
        if from < first || to > last || from > to {
            return Err(bad());
        }
        for value in (from..=to).step_by(step as usize) {
            set |= 1u64 << value;
        }
    }
    Ok(set)
}

/// `1h30m`, in whole seconds, at least one.
fn every(text: &str) -> Option<Schedule> {
    let (mut seconds, mut number) = (0i64, String::new());
    for character in text.trim().chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(std::mem::take(&mut number).parse::<i64>().ok()?.checked_mul(unit)?)?;
    }
    (number.is_empty() && seconds > 0).then_some(Schedule::Every(seconds))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// The next three times after a Thursday noon, or why there are none.
    fn check(schedule: &str, expected: Expect) {
        let mut after: Timestamp = "2026-01-01T12:00:30Z".parse().expect("a time");
        let text = match Schedule::parse(schedule) {
            Err(error) => error.to_string(),
            Ok(schedule) => {
                let next = std::iter::from_fn(|| {
                    after = schedule.next_after(after, &TimeZone::UTC)?;
                    Some(after.to_string())
                });
                next.take(3).collect::<Vec<_>>().join(" ")
            }
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn schedules_name_times() {
        check("* * * * *", expect!["2026-01-01T12:01:00Z 2026-01-01T12:02:00Z 2026-01-01T12:03:00Z"]);
        check("*/20 * * * *", expect!["2026-01-01T12:20:00Z 2026-01-01T12:40:00Z 2026-01-01T13:00:00Z"]);
        check("5/20 3 * * *", expect!["2026-01-02T03:05:00Z 2026-01-02T03:25:00Z 2026-01-02T03:45:00Z"]);
        check("0 9-17/4 * * mon-fri", expect!["2026-01-01T13:00:00Z 2026-01-01T17:00:00Z 2026-01-02T09:00:00Z"]);
        check("0 0 1 JAN,jul *", expect!["2026-07-01T00:00:00Z 2027-01-01T00:00:00Z 2027-07-01T00:00:00Z"]);
        check("0 0 29 2 *", expect!["2028-02-29T00:00:00Z 2032-02-29T00:00:00Z 2036-02-29T00:00:00Z"]);
        check("0 0 13 * 5", expect!["2026-01-02T00:00:00Z 2026-01-09T00:00:00Z 2026-01-13T00:00:00Z"]);
        check("0 0 * * 7", expect!["2026-01-04T00:00:00Z 2026-01-11T00:00:00Z 2026-01-18T00:00:00Z"]);
        check("@weekly", expect!["2026-01-04T00:00:00Z 2026-01-11T00:00:00Z 2026-01-18T00:00:00Z"]);
        check("@every 1h30m", expect!["2026-01-01T13:30:30Z 2026-01-01T15:00:30Z 2026-01-01T16:30:30Z"]);
        check("0 0 31 2 *", expect![[""]]);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "@every soon",
            "@often",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text:?}");
        }
        check("* * * * * *", expect!["expected exactly 5 fields, found 6: [* * * * * *]"]);
        check("0 24 * * *", expect![[r#"failed to parse "24": values are 0 to 23"#]]);
    }
}
