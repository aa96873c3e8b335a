//! Go's layouts: a date is formatted as the reference time, Mon Jan 2 15:04:05 MST 2006, is written in the layout.

use std::fmt::Write as _;

use super::time::{Civil, Time};

pub(super) const MONTHS: [&str; 12] = [
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
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// One part of the reference time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    LongMonth,
    ShortMonth,
    Month,
    ZeroMonth,
    LongWeekday,
    ShortWeekday,
    Day,
    SpaceDay,
    ZeroDay,
    SpaceYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperHalf,
    LowerHalf,
    ZoneName,
    Offset(OffsetStyle),
    /// Digits after a point or comma: exactly that many, or at most without trailing zeros.
    Fraction {
        digits: usize,
        exact: bool,
        comma: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetStyle {
    /// `Z` for an offset of zero.
    pub zulu: bool,
    pub colons: bool,
    pub minutes: bool,
    pub seconds: bool,
}

/// The text before the first part in `layout`, the part, and what follows it.
pub(super) fn next_part(layout: &str) -> (&str, Option<(Part, &str)>) {
    for (at, char) in layout.char_indices() {
        if let Some((skip, part, length)) = part_at(&layout[at..], char) {
            return (&layout[..at + skip], Some((part, &layout[at + skip + length..])));
        }
    }
    (layout, None)
}

/// A part that begins here: literal characters before it, the part, its length.
fn part_at(text: &str, first: char) -> Option<(usize, Part, usize)> {
    let found = |part, word: &str| text.starts_with(word).then_some((0, part, word.len()));
    let is_whole_word = |length: usize| !text[length..].starts_with(|char: char| char.is_ascii_lowercase());
    match first {
        'J' if text.starts_with("Jan") => {
            found(Part::LongMonth, "January").or_else(|| is_whole_word(3).then_some((0, Part::ShortMonth, 3)))
        }
        'M' => found(Part::LongWeekday, "Monday")
            .or_else(|| (text.starts_with("Mon") && is_whole_word(3)).then_some((0, Part::ShortWeekday, 3)))
            .or_else(|| found(Part::ZoneName, "MST")),
        '0' => [
            ("01", Part::ZeroMonth),
            ("02", Part::ZeroDay),
            ("03", Part::ZeroHour12),
            ("04", Part::ZeroMinute),
            ("05", Part::ZeroSecond),
            ("06", Part::Year),
            ("002", Part::ZeroYearDay),
        ]
        .into_iter()
        .find_map(|(word, part)| found(part, word)),
        '1' => found(Part::Hour, "15").or(Some((0, Part::Month, 1))),
        '2' => found(Part::LongYear, "2006").or(Some((0, Part::Day, 1))),
        '_' => {
            let year = text.starts_with("_2006").then_some((1, Part::LongYear, 4));
            year.or_else(|| found(Part::SpaceDay, "_2")).or_else(|| found(Part::SpaceYearDay, "__2"))
        }
        '3' => Some((0, Part::Hour12, 1)),
        '4' => Some((0, Part::Minute, 1)),
        '5' => Some((0, Part::Second, 1)),
        'P' => found(Part::UpperHalf, "PM"),
        'p' => found(Part::LowerHalf, "pm"),
        '-' | 'Z' => offset_at(text, first == 'Z'),
        '.' | ',' => fraction_at(text, first == ','),
        _ => None,
    }
}

fn offset_at(text: &str, zulu: bool) -> Option<(usize, Part, usize)> {
    let rest = &text[1..];
    let styles = [
        ("070000", false, true, true),
        ("07:00:00", true, true, true),
        ("0700", false, true, false),
        ("07:00", true, true, false),
        ("07", false, false, false),
    ];
    styles.into_iter().find(|(word, ..)| rest.starts_with(word)).map(|(word, colons, minutes, seconds)| {
        (0, Part::Offset(OffsetStyle { zulu, colons, minutes, seconds }), word.len() + 1)
    })
}

fn fraction_at(text: &str, comma: bool) -> Option<(usize, Part, usize)> {
    let rest = &text.as_bytes()[1..];
    let digit = *rest.first().filter(|byte| matches!(byte, b'0' | b'9'))?;
    let digits = rest.iter().take_while(|byte| **byte == digit).count();
    let ends_here = !rest.get(digits).is_some_and(u8::is_ascii_digit);
    ends_here.then_some((0, Part::Fraction { digits, exact: digit == b'0', comma }, digits + 1))
}

pub(super) fn format(layout: &str, time: &Time) -> String {
    let civil = time.civil();
    let mut out = String::with_capacity(layout.len() + 10);
    let mut rest = layout;
    loop {
        let (literal, part) = next_part(rest);
        out.push_str(literal);
        let Some((part, after)) = part else { return out };
        write_part(&mut out, part, &civil, time);
        rest = after;
    }
}

fn write_part(out: &mut String, part: Part, civil: &Civil, time: &Time) {
    let month = MONTHS[usize::from(civil.month) - 1];
    let weekday = DAYS[usize::from(civil.weekday)];
    let hour12 = if civil.hour.is_multiple_of(12) { 12 } else { civil.hour % 12 };
    let afternoon = civil.hour >= 12;
    // Writing to a string cannot fail.
    let _ = match part {
        Part::LongMonth => write!(out, "{month}"),
        Part::ShortMonth => write!(out, "{}", &month[..3]),
        Part::Month => write!(out, "{}", civil.month),
        Part::ZeroMonth => write!(out, "{:02}", civil.month),
        Part::LongWeekday => write!(out, "{weekday}"),
        Part::ShortWeekday => write!(out, "{}", &weekday[..3]),
        Part::Day => write!(out, "{}", civil.day),
        Part::SpaceDay => write!(out, "{:2}", civil.day),
        Part::ZeroDay => write!(out, "{:02}", civil.day),
        Part::SpaceYearDay => write!(out, "{:3}", civil.year_day),
        Part::ZeroYearDay => write!(out, "{:03}", civil.year_day),
        Part::Hour => write!(out, "{:02}", civil.hour),
        Part::Hour12 => write!(out, "{hour12}"),
        Part::ZeroHour12 => write!(out, "{hour12:02}"),
        Part::Minute => write!(out, "{}", civil.minute),
        Part::ZeroMinute => write!(out, "{:02}", civil.minute),
        Part::Second => write!(out, "{}", civil.second),
        Part::ZeroSecond => write!(out, "{:02}", civil.second),
        Part::LongYear if civil.year < 0 => write!(out, "-{:04}", -civil.year),
        Part::LongYear => write!(out, "{:04}", civil.year),
        Part::Year => write!(out, "{:02}", civil.year.rem_euclid(100)),
        Part::UpperHalf => write!(out, "{}", if afternoon { "PM" } else { "AM" }),
        Part::LowerHalf => write!(out, "{}", if afternoon { "pm" } else { "am" }),
        Part::ZoneName => {
            let (seconds, name) = time.offset();
            let style = OffsetStyle { zulu: false, colons: false, minutes: true, seconds: false };
            if name.is_empty() {
                write_offset(out, seconds, style);
            }
            write!(out, "{name}")
        }
        Part::Offset(style) => {
            write_offset(out, time.offset().0, style);
            Ok(())
        }
        Part::Fraction { digits, exact, comma } => {
            write_fraction(out, time.nanos, digits, exact, comma);
            Ok(())
        }
    };
}

fn write_offset(out: &mut String, seconds: i32, style: OffsetStyle) {
    if style.zulu && seconds == 0 {
        out.push('Z');
        return;
    }
    let absolute = seconds.unsigned_abs();
    out.push(if seconds < 0 { '-' } else { '+' });
    let _ = write!(out, "{:02}", absolute / 3600);
    let colon = if style.colons { ":" } else { "" };
    if style.minutes {
        let _ = write!(out, "{colon}{:02}", absolute / 60 % 60);
    }
    if style.seconds {
        let _ = write!(out, "{colon}{:02}", absolute % 60);
    }
}

fn write_fraction(out: &mut String, nanos: u32, digits: usize, exact: bool, comma: bool) {
    let nine = format!("{nanos:09}");
    let kept = &nine[..digits.min(9)];
    let kept = if exact { kept } else { kept.trim_end_matches('0') };
    if kept.is_empty() && !exact {
        return;
    }
    out.push(if comma { ',' } else { '.' });
    out.push_str(kept);
}
