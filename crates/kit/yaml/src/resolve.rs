//! What a plain scalar means, by the rules of the Go libraries Kubernetes tools read YAML with: YAML 1.2's words for
//! truth and nothing, numbers in Go's notations (`0x1F`, `0b11`, `0o17`, `017`, `1_000`), and dates.
//!
//! [`old_meaning`] is the second rule set: what the *writer* takes care not to produce unquoted, because a reader of
//! YAML 1.1 would misread it (`yes`, `on`, `1:30`).

use crate::node::{Scalar, Style};

/// The value of a scalar.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    /// A date, in RFC 3339.
    Timestamp(String),
    /// The text itself.
    String,
}

pub(crate) fn scalar(scalar: &Scalar) -> Resolved {
    match scalar.tag.as_deref() {
        Some("str" | "binary" | "!") => return Resolved::String,
        Some("int" | "float" | "bool" | "null" | "timestamp") => return plain(&scalar.text),
        _ => {}
    }
    if scalar.style == Style::Plain { plain(&scalar.text) } else { Resolved::String }
}

/// The value of a scalar to a reader of YAML 1.1, to whom `yes` and `off` are truth values.
pub(crate) fn words_of_old(scalar: &Scalar) -> Resolved {
    let is_bare = scalar.style == Style::Plain && scalar.tag.is_none();
    match &*scalar.text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" if is_bare => Resolved::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" if is_bare => Resolved::Bool(false),
        _ => self::scalar(scalar),
    }
}

/// Whether a plain scalar is anything but a string; most are told by their first letter.
pub(crate) fn plain_is_no_string(text: &str) -> bool {
    let may_be_special = match text.as_bytes().first() {
        None => true,
        Some(first) => first.is_ascii_digit() || b"+-.~tTfFnN".contains(first),
    };
    may_be_special && plain(text) != Resolved::String
}

/// The meaning of a plain scalar.
fn plain(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        "true" | "True" | "TRUE" => return Resolved::Bool(true),
        "false" | "False" | "FALSE" => return Resolved::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'0'..=b'9' => timestamp(text).map(Resolved::Timestamp).or_else(|| number(text)).unwrap_or(Resolved::String),
        b'+' | b'-' | b'.' => number(text).unwrap_or(Resolved::String),
        _ => Resolved::String,
    }
}

fn number(text: &str) -> Option<Resolved> {
    let joined;
    let bare = if text.contains('_') {
        joined = text.replace('_', "");
        joined.as_str()
    } else {
        text
    };
    integer(bare).or_else(|| looks_like_float(bare).then(|| bare.parse().ok().map(Resolved::Float)).flatten())
}

fn integer(text: &str) -> Option<Resolved> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match lower.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    let magnitude = u128::from_str_radix(digits, radix).ok()?;
    if negative {
        let value = i128::try_from(magnitude).ok()?;
        return i64::try_from(-value).ok().map(Resolved::Int);
    }
    match i64::try_from(magnitude) {
        Ok(value) => Some(Resolved::Int(value)),
        Err(_) => u64::try_from(magnitude).ok().map(Resolved::UInt),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn looks_like_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    let exponent_fits = exponent.is_none_or(|part| digits(part.strip_prefix(['-', '+']).unwrap_or(part)));
    mantissa_fits && exponent_fits
}

/// `2001-01-02`, and with a time after `T`, `t` or a space; given back in RFC 3339.
fn timestamp(text: &str) -> Option<String> {
    let (year, rest) = text.split_at_checked(4)?;
    if !year.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut parts = rest.strip_prefix('-')?.splitn(2, '-');
    let month: u8 = short_number(parts.next()?)?;
    let rest = parts.next()?;
    let day_end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    let day: u8 = short_number(&rest[..day_end])?;
    if !(1..=12).contains(&month) || day == 0 || day > days_in(year.parse().ok()?, month) {
        return None;
    }
    let date = format!("{year}-{month:02}-{day:02}");
    let rest = &rest[day_end..];
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let (zoned, time) = match rest.as_bytes()[0] {
        b'T' | b't' => (true, &rest[1..]),
        b' ' => (false, rest.trim_start_matches(' ')),
        _ => return None,
    };
    time_of_day(time, zoned).map(|time| format!("{date}T{time}"))
}

fn days_in(year: u32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

fn short_number(text: &str) -> Option<u8> {
    (matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn time_of_day(text: &str, zoned: bool) -> Option<String> {
    let zone_at = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let zone = match (zoned, zone) {
        (false, "") => "Z",
        (true, "Z") => "Z",
        (true, zone)
            if zone.len() == 6 && zone.as_bytes()[3] == b':' && short_number(&zone[1..3]).is_some_and(|h| h < 24) =>
        {
            zone
        }
        _ => return None,
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':').map(short_number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{hour:02}:{minute:02}:{second:02}{dot}{fraction}{zone}"))
}

/// Whether some reader of YAML, old or new, would take the plain text for anything but a string.
pub(crate) fn old_meaning(text: &str) -> bool {
    let word = matches!(
        text,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF"
    );
    word || plain(text) != Resolved::String || is_base_sixty(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: times of day that YAML 1.1 takes for numbers.
fn is_base_sixty(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':');
    let first = parts.next().unwrap_or_default();
    let digit_or_underscore = |byte: u8| byte.is_ascii_digit() || byte == b'_';
    let mut later = 0;
    for part in parts {
        let fits = match part.as_bytes() {
            [only] => only.is_ascii_digit(),
            [tens, ones] => (b'0'..=b'5').contains(tens) && ones.is_ascii_digit(),
            _ => false,
        };
        if !fits {
            return false;
        }
        later += 1;
    }
    later > 0
        && first.starts_with(|char: char| char.is_ascii_digit())
        && first.bytes().all(digit_or_underscore)
        && fraction.bytes().all(digit_or_underscore)
}
