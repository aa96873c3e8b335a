//! Reading dates by Go's layouts.

use super::{
    Parsed,
    layout::{DAYS, MONTHS, OffsetStyle, Part, next_part},
    time::{Time, Zone, days_from_civil, days_in},
};

/// What has been read so far; absent fields have Go's defaults.
struct Fields {
    year: i64,
    month: Option<u8>,
    day: Option<u8>,
    year_day: Option<u16>,
    hour: u8,
    minute: u8,
    second: u8,
    nanos: u32,
    half: Option<bool>,
    offset: Option<i32>,
    is_utc: bool,
    zone_name: String,
}

/// A text in a layout, as Go's `time.ParseInLocation` reads it; `local` is the zone of texts that name none.
pub(super) fn parse(layout: &str, text: &str, local: Zone) -> Parsed<Time> {
    let quote = |text: &str| coracle_gotemplate::quote(text.as_bytes());
    let wrong = |value: &str, element: &str| {
        format!(
            "parsing time {} as {}: cannot parse {} as {}",
            quote(text),
            quote(layout),
            quote(value),
            quote(element)
        )
    };
    let out_of_range = |what: &str| format!("parsing time {}: {what} out of range", quote(text));
    let mut fields = Fields {
        year: 0,
        month: None,
        day: None,
        year_day: None,
        hour: 0,
        minute: 0,
        second: 0,
        nanos: 0,
        half: None,
        offset: None,
        is_utc: false,
        zone_name: String::new(),
    };
    let (mut rest, mut value) = (layout, text);
    loop {
        let (literal, part) = next_part(rest);
        value = skip(value, literal).ok_or_else(|| wrong(value, literal))?;
        let Some((part, after)) = part else {
            if !value.is_empty() {
                return Err(format!("parsing time {}: extra text: {}", quote(text), quote(value)));
            }
            break;
        };
        let element = &rest[literal.len()..rest.len() - after.len()];
        value = match read(part, value, &mut fields, after) {
            Ok(value) => value,
            Err(Trouble::Syntax) => return Err(wrong(value, element)),
            Err(Trouble::Range(what)) => return Err(out_of_range(what)),
        };
        rest = after;
    }
    assemble(fields, local).map_err(out_of_range)
}

enum Trouble {
    Syntax,
    Range(&'static str),
}

type Read<T> = Result<T, Trouble>;

/// Takes a literal off; a run of blanks matches any run of blanks.
fn skip<'a>(mut value: &'a str, mut literal: &str) -> Option<&'a str> {
    while let Some(char) = literal.chars().next() {
        if char == ' ' {
            if !value.is_empty() && !value.starts_with(' ') {
                return None;
            }
            literal = literal.trim_start_matches(' ');
            value = value.trim_start_matches(' ');
            continue;
        }
        value = value.strip_prefix(char)?;
        literal = &literal[char.len_utf8()..];
    }
    Some(value)
}

/// Reads one part off `value` into `fields`.
fn read<'a>(part: Part, value: &'a str, fields: &mut Fields, after: &str) -> Read<&'a str> {
    match part {
        Part::Year => {
            let (year, rest) = digits(value, 2, true)?;
            fields.year = if year >= 69 { year + 1900 } else { year + 2000 };
            Ok(rest)
        }
        Part::LongYear => {
            let (year, rest) = digits(value, 4, true)?;
            fields.year = year;
            Ok(rest)
        }
        Part::ShortMonth => name(value, &MONTHS, 3).map(|(index, rest)| {
            fields.month = Some(index + 1);
            rest
        }),
        Part::LongMonth => name(value, &MONTHS, usize::MAX).map(|(index, rest)| {
            fields.month = Some(index + 1);
            rest
        }),
        Part::Month | Part::ZeroMonth => {
            let (month, rest) = digits(value, 2, part == Part::ZeroMonth)?;
            if !(1..=12).contains(&month) {
                return Err(Trouble::Range("month"));
            }
            fields.month = Some(small(month));
            Ok(rest)
        }
        Part::ShortWeekday => name(value, &DAYS, 3).map(|(_, rest)| rest),
        Part::LongWeekday => name(value, &DAYS, usize::MAX).map(|(_, rest)| rest),
        Part::Day | Part::SpaceDay | Part::ZeroDay => {
            let value = if part == Part::SpaceDay { value.strip_prefix(' ').unwrap_or(value) } else { value };
            let (day, rest) = digits(value, 2, part == Part::ZeroDay)?;
            fields.day = Some(small(day));
            Ok(rest)
        }
        Part::SpaceYearDay | Part::ZeroYearDay => {
            let trimmed = if part == Part::SpaceYearDay { value.trim_start_matches(' ') } else { value };
            let (day, rest) = digits(trimmed, 3, part == Part::ZeroYearDay)?;
            fields.year_day = u16::try_from(day).ok();
            Ok(rest)
        }
        Part::Hour => clock(value, false, 23, "hour", &mut fields.hour),
        Part::Hour12 | Part::ZeroHour12 => clock(value, part == Part::ZeroHour12, 12, "hour", &mut fields.hour),
        Part::Minute | Part::ZeroMinute => clock(value, part == Part::ZeroMinute, 59, "minute", &mut fields.minute),
        Part::Second | Part::ZeroSecond => {
            let rest = clock(value, part == Part::ZeroSecond, 59, "second", &mut fields.second)?;
            let layout_has_fraction = matches!(next_part(after), ("", Some((Part::Fraction { .. }, _))));
            Ok(if layout_has_fraction { rest } else { loose_fraction(rest, fields) })
        }
        Part::UpperHalf => half(value, "AM", "PM", fields),
        Part::LowerHalf => half(value, "am", "pm", fields),
        Part::Offset(style) => offset(value, style, fields),
        Part::ZoneName => zone_name(value, fields),
        Part::Fraction { digits, exact: true, .. } => exact_fraction(value, digits, fields),
        Part::Fraction { exact: false, .. } => Ok(loose_fraction(value, fields)),
    }
}

fn small(number: i64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Up to `width` digits; exactly that many where the layout has leading zeros.
fn digits(value: &str, width: usize, fixed: bool) -> Read<(i64, &str)> {
    let count = value.bytes().take(width).take_while(u8::is_ascii_digit).count();
    if count == 0 || (fixed && count < width) {
        return Err(Trouble::Syntax);
    }
    let number = value[..count].parse().map_err(|_| Trouble::Syntax)?;
    Ok((number, &value[count..]))
}

fn clock<'a>(value: &'a str, fixed: bool, most: i64, what: &'static str, field: &mut u8) -> Read<&'a str> {
    let (number, rest) = digits(value, 2, fixed)?;
    if number > most {
        return Err(Trouble::Range(what));
    }
    *field = small(number);
    Ok(rest)
}

fn name<'a>(value: &'a str, names: &[&str], length: usize) -> Read<(u8, &'a str)> {
    let found = names.iter().enumerate().find_map(|(index, name)| {
        let name = &name[..name.len().min(length)];
        let start = value.get(..name.len())?;
        start.eq_ignore_ascii_case(name).then(|| (index, &value[name.len()..]))
    });
    found.map(|(index, rest)| (u8::try_from(index).unwrap_or_default(), rest)).ok_or(Trouble::Syntax)
}

fn half<'a>(value: &'a str, morning: &str, afternoon: &str, fields: &mut Fields) -> Read<&'a str> {
    if let Some(rest) = value.strip_prefix(afternoon) {
        fields.half = Some(true);
        return Ok(rest);
    }
    let rest = value.strip_prefix(morning).ok_or(Trouble::Syntax)?;
    fields.half = Some(false);
    Ok(rest)
}

fn offset<'a>(value: &'a str, style: OffsetStyle, fields: &mut Fields) -> Read<&'a str> {
    if style.zulu && value.starts_with('Z') {
        fields.is_utc = true;
        return Ok(&value[1..]);
    }
    let sign = match value.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Trouble::Syntax),
    };
    let mut rest = &value[1..];
    let mut total = 0;
    let units = [(3600, true), (60, style.minutes), (1, style.seconds)];
    for (index, (unit, _)) in units.into_iter().enumerate().filter(|(_, (_, wanted))| *wanted) {
        if index > 0 && style.colons {
            rest = rest.strip_prefix(':').ok_or(Trouble::Syntax)?;
        }
        let (number, after) = digits(rest, 2, true)?;
        let most = if index == 0 { 24 } else { 60 };
        if number > most {
            return Err(Trouble::Range("time zone offset"));
        }
        total += i32::from(small(number)) * unit;
        rest = after;
    }
    fields.offset = Some(sign * total);
    Ok(rest)
}

fn zone_name<'a>(value: &'a str, fields: &mut Fields) -> Read<&'a str> {
    if let Some(rest) = value.strip_prefix("UTC") {
        fields.is_utc = true;
        return Ok(rest);
    }
    let letters = value.bytes().take_while(u8::is_ascii_uppercase).count();
    let mut length = match letters {
        3 => 3,
        4 if value.as_bytes()[3] == b'T' || value.starts_with("WITA") => 4,
        5 if value.as_bytes()[4] == b'T' => 5,
        _ => return Err(Trouble::Syntax),
    };
    if let Some(hours) = value.strip_prefix("GMT") {
        let signed = hours.strip_prefix(['+', '-']);
        let count = signed.map_or(0, |rest| rest.bytes().take(2).take_while(u8::is_ascii_digit).count());
        length += if count > 0 { count + 1 } else { 0 };
    }
    fields.zone_name = value[..length].to_owned();
    Ok(&value[length..])
}

fn exact_fraction<'a>(value: &'a str, digits: usize, fields: &mut Fields) -> Read<&'a str> {
    let body = value.get(1..=digits).ok_or(Trouble::Syntax)?;
    if !value.starts_with(['.', ',']) || !body.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Trouble::Syntax);
    }
    fields.nanos = nanos(body);
    Ok(&value[digits + 1..])
}

/// Digits behind a point, however many, or none.
fn loose_fraction<'a>(value: &'a str, fields: &mut Fields) -> &'a str {
    let Some(body) = value.strip_prefix(['.', ',']) else { return value };
    let count = body.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 {
        return value;
    }
    fields.nanos = nanos(&body[..count]);
    &body[count..]
}

fn nanos(digits: &str) -> u32 {
    format!("{:0<9}", &digits[..digits.len().min(9)]).parse().unwrap_or_default()
}

fn assemble(fields: Fields, local: Zone) -> Result<Time, &'static str> {
    let hour = match (fields.half, fields.hour) {
        (Some(true), hour) if hour < 12 => hour + 12,
        (Some(false), 12) => 0,
        (_, hour) => hour,
    };
    let days = day_number(&fields)?;
    let seconds = days * 86_400 + i64::from(hour) * 3600 + i64::from(fields.minute) * 60 + i64::from(fields.second);
    let at = |seconds: i64, zone: Zone| Time { seconds, nanos: fields.nanos, zone };
    if fields.is_utc {
        return Ok(at(seconds, Zone::Utc));
    }
    if let Some(offset) = fields.offset {
        let moment = seconds - i64::from(offset);
        let (local_offset, name) = local.offset_at(moment);
        let is_local = local_offset == offset && (fields.zone_name.is_empty() || name == fields.zone_name);
        let zone = if is_local { local } else { Zone::Fixed { seconds: offset, name: fields.zone_name } };
        return Ok(at(moment, zone));
    }
    let (guess, _) = local.offset_at(seconds);
    let (offset, name) = local.offset_at(seconds - i64::from(guess));
    if fields.zone_name.is_empty() || fields.zone_name == name {
        return Ok(at(seconds - i64::from(offset), local));
    }
    // An unknown abbreviation names a zone of its own, at an offset only `GMT+3` tells.
    let hours: i32 = fields.zone_name.strip_prefix("GMT").and_then(|hours| hours.parse().ok()).unwrap_or(0);
    let zone = Zone::Fixed { seconds: hours * 3600, name: fields.zone_name };
    Ok(at(seconds - i64::from(hours) * 3600, zone))
}

fn day_number(fields: &Fields) -> Result<i64, &'static str> {
    if let Some(year_day) = fields.year_day {
        let most = if super::time::is_leap(fields.year) { 366 } else { 365 };
        if !(1..=most).contains(&year_day) {
            return Err("day-of-year");
        }
        return Ok(days_from_civil(fields.year, 1, i64::from(year_day)));
    }
    let (month, day) = (fields.month.unwrap_or(1), fields.day.unwrap_or(1));
    if day < 1 || day > days_in(fields.year, month) {
        return Err("day");
    }
    Ok(days_from_civil(fields.year, month.into(), day.into()))
}
