//! Go's layouts of time: an example date that says how others are written.

use jiff::{
    Zoned,
    civil::{Date, Time},
    tz::{Offset, TimeZone},
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Year,
    ShortYear,
    Month,
    ShortMonth,
    ZeroMonth,
    NumberMonth,
    Weekday,
    ShortWeekday,
    ZeroDay,
    SpaceDay,
    NumberDay,
    DayOfYear,
    Hour,
    ZeroHour12,
    Hour12,
    ZeroMinute,
    Minute,
    ZeroSecond,
    Second,
    UpperHalf,
    LowerHalf,
    /// `-0700`, with or without colon, hours only, `Z` for none.
    Zone {
        colon: bool,
        minutes: bool,
        z: bool,
    },
    ZoneName,
    /// Digits after the point, which is part of it; with or without zeros at the end.
    Fraction {
        separator: char,
        digits: usize,
        zeros: bool,
    },
}

/// Longest first where one starts like another.
const PARTS: [(&str, Part); 29] = [
    ("2006", Part::Year),
    ("January", Part::Month),
    ("Jan", Part::ShortMonth),
    ("Monday", Part::Weekday),
    ("Mon", Part::ShortWeekday),
    ("MST", Part::ZoneName),
    ("002", Part::DayOfYear),
    ("01", Part::ZeroMonth),
    ("02", Part::ZeroDay),
    ("03", Part::ZeroHour12),
    ("04", Part::ZeroMinute),
    ("05", Part::ZeroSecond),
    ("06", Part::ShortYear),
    ("15", Part::Hour),
    ("_2", Part::SpaceDay),
    ("-07:00", Part::Zone { colon: true, minutes: true, z: false }),
    ("-0700", Part::Zone { colon: false, minutes: true, z: false }),
    ("-07", Part::Zone { colon: false, minutes: false, z: false }),
    ("Z07:00", Part::Zone { colon: true, minutes: true, z: true }),
    ("Z0700", Part::Zone { colon: false, minutes: true, z: true }),
    ("Z07", Part::Zone { colon: false, minutes: false, z: true }),
    ("PM", Part::UpperHalf),
    ("pm", Part::LowerHalf),
    ("1", Part::NumberMonth),
    ("2", Part::NumberDay),
    ("3", Part::Hour12),
    ("4", Part::Minute),
    ("5", Part::Second),
    ("", Part::Year),
];

/// The part that a layout starts with, and its length.
fn part(layout: &str) -> Option<(Part, usize)> {
    if let Some(separator) = layout.chars().next().filter(|c| matches!(c, '.' | ',')) {
        let digit = layout[1..].chars().next().filter(|c| matches!(c, '0' | '9'))?;
        let digits = layout[1..].chars().take_while(|c| *c == digit).count();
        let ends = !layout[1 + digits..].starts_with(|c: char| c.is_ascii_digit());
        return ends.then_some((Part::Fraction { separator, digits, zeros: digit == '0' }, digits + 1));
    }
    let (text, part) = PARTS.into_iter().find(|(text, _)| layout.starts_with(text))?;
    (!text.is_empty()).then_some((part, text.len()))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A time in a layout.
pub(super) fn format(time: &Zoned, layout: &str) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        match part(rest) {
            Some((part, len)) => {
                out.push_str(&write(time, part));
                rest = &rest[len..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

fn write(time: &Zoned, part: Part) -> String {
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let month = MONTHS[time.month() as usize - 1];
    let weekday = DAYS[time.weekday().to_sunday_zero_offset() as usize];
    match part {
        Part::Year => format!("{:04}", time.year()),
        Part::ShortYear => format!("{:02}", time.year().rem_euclid(100)),
        Part::Month => month.to_owned(),
        Part::ShortMonth => month[..3].to_owned(),
        Part::ZeroMonth => format!("{:02}", time.month()),
        Part::NumberMonth => time.month().to_string(),
        Part::Weekday => weekday.to_owned(),
        Part::ShortWeekday => weekday[..3].to_owned(),
        Part::ZeroDay => format!("{:02}", time.day()),
        Part::SpaceDay => format!("{:2}", time.day()),
        Part::NumberDay => time.day().to_string(),
        Part::DayOfYear => format!("{:03}", time.day_of_year()),
        Part::Hour => format!("{:02}", time.hour()),
        Part::ZeroHour12 => format!("{hour12:02}"),
        Part::Hour12 => hour12.to_string(),
        Part::ZeroMinute => format!("{:02}", time.minute()),
        Part::Minute => time.minute().to_string(),
        Part::ZeroSecond => format!("{:02}", time.second()),
        Part::Second => time.second().to_string(),
        Part::UpperHalf => if time.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        Part::LowerHalf => if time.hour() < 12 { "am" } else { "pm" }.to_owned(),
        Part::Zone { colon, minutes, z } => {
            let offset = time.offset().seconds();
            if z && offset == 0 {
                return "Z".to_owned();
            }
            let (sign, total) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
            let minutes = match (minutes, colon) {
                (false, _) => String::new(),
                (true, true) => format!(":{:02}", total % 60),
                (true, false) => format!("{:02}", total % 60),
            };
            format!("{sign}{:02}{minutes}", total / 60)
        }
        Part::ZoneName => time.time_zone().to_offset_info(time.timestamp()).abbreviation().to_owned(),
        Part::Fraction { separator, digits, zeros } => {
            let fraction = format!("{:09}", time.subsec_nanosecond());
            let shown = &fraction[..digits.min(9)];
            let shown = if zeros { shown } else { shown.trim_end_matches('0') };
            if shown.is_empty() { String::new() } else { format!("{separator}{shown}") }
        }
    }
}

/// Reads a time by a layout; what the layout has no place for is that of the year 0, in `zone`.
pub(super) fn parse(layout: &str, text: &str, zone: &TimeZone) -> Option<Zoned> {
    let mut read = Read::default();
    let (mut layout, mut text) = (layout, text);
    while let Some(c) = layout.chars().next() {
        match part(layout) {
            Some((part, len)) => {
                text = read.part(part, text)?;
                layout = &layout[len..];
                // A fraction may follow seconds that the layout shows without one.
                if matches!(part, Part::ZeroSecond | Part::Second) && text.starts_with(['.', ',']) {
                    let shown = self::part(layout).is_some_and(|(part, _)| matches!(part, Part::Fraction { .. }));
                    if !shown {
                        text = read.fraction(&text[1..])?;
                    }
                }
            }
            None => {
                text = text.strip_prefix(c)?;
                layout = &layout[c.len_utf8()..];
            }
        }
    }
    if text.is_empty() { read.finish(zone) } else { None }
}

#[derive(Default)]
struct Read {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    hour: i8,
    afternoon: Option<bool>,
    minute: i8,
    second: i8,
    nanosecond: i32,
    offset: Option<i32>,
}

impl Read {
    fn part<'t>(&mut self, part: Part, text: &'t str) -> Option<&'t str> {
        let (number, rest) = match part {
            Part::Year => digits(text, 4, 4)?,
            Part::DayOfYear => digits(text, 3, 3)?,
            Part::ZeroMonth
            | Part::ZeroDay
            | Part::Hour
            | Part::ZeroHour12
            | Part::ZeroMinute
            | Part::ZeroSecond
            | Part::ShortYear => digits(text, 2, 2)?,
            Part::NumberMonth | Part::NumberDay | Part::Hour12 | Part::Minute | Part::Second => digits(text, 1, 2)?,
            Part::SpaceDay => digits(text.trim_start(), 1, 2)?,
            _ => (0, text),
        };
        let small = i8::try_from(number).ok();
        match part {
            Part::Year => self.year = i16::try_from(number).ok()?,
            Part::ShortYear => {
                self.year = i16::try_from(if number >= 69 { 1900 + number } else { 2000 + number }).ok()?
            }
            Part::ZeroMonth | Part::NumberMonth => self.month = Some(small?),
            Part::ZeroDay | Part::NumberDay | Part::SpaceDay => self.day = Some(small?),
            Part::Hour | Part::ZeroHour12 | Part::Hour12 => self.hour = small?,
            Part::ZeroMinute | Part::Minute => self.minute = small?,
            Part::ZeroSecond | Part::Second => self.second = small?,
            Part::DayOfYear => {}
            Part::Month | Part::ShortMonth => {
                let (index, rest) = named(text, &MONTHS, part == Part::ShortMonth)?;
                self.month = i8::try_from(index + 1).ok();
                return Some(rest);
            }
            Part::Weekday | Part::ShortWeekday => return Some(named(text, &DAYS, part == Part::ShortWeekday)?.1),
            Part::UpperHalf | Part::LowerHalf => {
                let (half, rest) = text.split_at_checked(2)?;
                self.afternoon = Some(half.eq_ignore_ascii_case("pm"));
                return (half.eq_ignore_ascii_case("am") || half.eq_ignore_ascii_case("pm")).then_some(rest);
            }
            Part::Zone { colon, minutes, z } => return self.zone(text, colon, minutes, z),
            Part::ZoneName => {
                let len = text.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(text.len());
                if matches!(&text[..len], "UTC" | "GMT") {
                    self.offset = Some(0);
                }
                return (len >= 3).then(|| &text[len..]);
            }
            Part::Fraction { zeros, .. } => {
                return match text.strip_prefix(['.', ',']) {
                    Some(text) => self.fraction(text),
                    None => (!zeros).then_some(text),
                };
            }
        }
        Some(rest)
    }

    fn fraction<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let digits = &text[..len.min(9)];
        self.nanosecond = format!("{digits:0<9}").parse().ok()?;
        (len > 0).then(|| &text[len..])
    }

    fn zone<'t>(&mut self, text: &'t str, colon: bool, minutes: bool, z: bool) -> Option<&'t str> {
        if z && let Some(rest) = text.strip_prefix('Z') {
            self.offset = Some(0);
            return Some(rest);
        }
        let sign = match text.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let (hours, mut rest) = digits(&text[1..], 2, 2)?;
        let mut seconds = hours * 3600;
        if minutes {
            rest = if colon { rest.strip_prefix(':')? } else { rest };
            let (minutes, after) = digits(rest, 2, 2)?;
            seconds += minutes * 60;
            rest = after;
        }
        self.offset = Some(sign * i32::try_from(seconds).ok()?);
        Some(rest)
    }

    fn finish(self, zone: &TimeZone) -> Option<Zoned> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let date = Date::new(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?;
        let time = Time::new(hour, self.minute, self.second, self.nanosecond).ok()?;
        let zone = match self.offset {
            Some(0) => TimeZone::UTC,
            Some(seconds) => Offset::from_seconds(seconds).ok()?.to_time_zone(),
            None => zone.clone(),
        };
        date.to_datetime(time).to_zoned(zone).ok()
    }
}

fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let len = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if len < least { None } else { Some((text[..len].parse().ok()?, &text[len..])) }
}

fn named<'t>(text: &'t str, names: &[&str], short: bool) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = if short { &name[..3] } else { name };
        let start = text.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name))?;
        Some((index, &text[start.len()..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_both_ways() {
        let time: Zoned = "2023-11-14T22:13:20.5+01:00[+01:00]".parse().unwrap();
        assert_eq!(format(&time, "2006-01-02T15:04:05.000Z07:00"), "2023-11-14T22:13:20.500+01:00");
        assert_eq!(format(&time, "Mon Jan _2 3:04PM 06"), "Tue Nov 14 10:13PM 23");
        assert_eq!(format(&time, "15:04:05.999"), "22:13:20.5");
        let read = parse("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:20.25Z", &TimeZone::UTC).unwrap();
        assert_eq!(read.timestamp().as_millisecond(), 1_700_000_000_250);
        assert_eq!(parse("2006-01-02", "2023-13-01", &TimeZone::UTC), None);
        assert_eq!(parse("2006-01-02", "2023-11-14x", &TimeZone::UTC), None);
    }
}
