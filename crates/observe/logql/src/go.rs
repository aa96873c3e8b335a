//! Go's way of writing strings, numbers and durations, which LogQL's syntax and answers are made of.

use std::fmt::Write as _;

/// `strconv.Quote`.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if is_printable(c) => quoted.push(c),
            c if (c as u32) < 0x80 => write!(quoted, "\\x{:02x}", c as u32).expect("a string takes everything"),
            c if (c as u32) < 0x1_0000 => write!(quoted, "\\u{:04x}", c as u32).expect("a string takes everything"),
            c => write!(quoted, "\\U{:08x}", c as u32).expect("a string takes everything"),
        }
    }
    quoted.push('"');
    quoted
}

/// What `unicode.IsPrint` says of all characters that logs have: no controls, no spaces but the plain one, no private use.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{f0000}'..='\u{10ffff}'))
}

/// `strconv.Unquote` for text in double quotes or backticks.
pub fn unquote(text: &str) -> Option<String> {
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    match (text.as_bytes()[0], text.as_bytes()[text.len() - 1]) {
        (b'`', b'`') => (!inner.contains('`')).then(|| inner.replace('\r', "")),
        (b'"', b'"') => unescape(inner),
        _ => None,
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\n' || c == '"' {
            return None;
        }
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.next()?;
        let simple = match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            '"' => b'"',
            _ => 0,
        };
        if simple != 0 {
            bytes.push(simple);
            continue;
        }
        match escape {
            'x' => bytes.push(u8::try_from(digits(&mut rest, 2, 16)?).ok()?),
            'u' => {
                bytes.extend_from_slice(char::from_u32(digits(&mut rest, 4, 16)?)?.encode_utf8(&mut [0; 4]).as_bytes())
            }
            'U' => {
                bytes.extend_from_slice(char::from_u32(digits(&mut rest, 8, 16)?)?.encode_utf8(&mut [0; 4]).as_bytes())
            }
            '0'..='7' => {
                let low = digits(&mut rest, 2, 8)?;
                bytes.push(u8::try_from(escape.to_digit(8)? * 64 + low).ok()?);
            }
            _ => return None,
        }
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    (0..count).try_fold(0, |number, _| Some(number * radix + rest.next()?.to_digit(radix)?))
}

/// `strconv.ParseFloat` with its message.
pub fn parse_float(text: &str) -> Result<f64, String> {
    let syntax = || format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(text));
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    if body.eq_ignore_ascii_case("infinity") || body.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("nan") {
        return text.parse().map_err(|_| syntax());
    }
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') || body.eq_ignore_ascii_case("nan") {
        return Err(syntax());
    }
    let number: f64 = text.parse().map_err(|_| syntax())?;
    if number.is_infinite() {
        return Err(format!("strconv.ParseFloat: parsing {}: value out of range", quote(text)));
    }
    Ok(number)
}

/// `strconv.FormatFloat(number, 'f', -1, 64)`.
pub fn plain_float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{number}")
    }
}

/// `fmt.Sprint` of a float: the shortest digits, with an exponent where it is below -4 or from 21 on.
pub fn shortest_float(number: f64) -> String {
    if !number.is_finite() || number == 0.0 {
        return plain_float(number);
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if (-4..21).contains(&exponent) {
        return plain_float(number);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `time.ParseDuration`, in nanoseconds, with its message.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (whole_digits, after) = rest.split_at(whole);
        let (fraction_digits, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len()),
            None => ("", after),
        };
        if whole_digits.is_empty() && fraction_digits.is_empty() {
            return Err(invalid());
        }
        let unit_len = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text))),
        };
        let whole: i128 = if whole_digits.is_empty() { 0 } else { whole_digits.parse().map_err(|_| invalid())? };
        total += whole.checked_mul(scale).ok_or_else(invalid)?;
        if !fraction_digits.is_empty() {
            let fraction: f64 = format!("0.{fraction_digits}").parse().map_err(|_| invalid())?;
            total += (fraction * scale as f64) as i128;
        }
        if total > i128::from(i64::MAX) {
            return Err(invalid());
        }
        rest = after;
    }
    let nanoseconds = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -nanoseconds } else { nanoseconds })
}

/// `time.Duration.String`.
pub fn format_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let magnitude = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let rest = value % unit;
        if rest == 0 {
            return (value / unit).to_string();
        }
        let width = unit.ilog10() as usize;
        format!("{}.{}", value / unit, format!("{rest:0width$}").trim_end_matches('0'))
    };
    match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{magnitude}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(magnitude, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(magnitude, 1_000_000)),
        _ => {
            let minutes = magnitude / 60_000_000_000;
            let seconds = fraction(magnitude % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

const PROMETHEUS_UNITS: [(&str, i64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Prometheus' durations (`1h30m`, units from years to milliseconds in falling order), in nanoseconds.
pub fn parse_prometheus_duration(text: &str) -> Result<i64, String> {
    match text {
        "0" => return Ok(0),
        "" => return Err("empty duration string".to_owned()),
        _ => {}
    }
    let invalid = || format!("not a valid duration string: {}", quote(text));
    let (mut rest, mut last, mut total) = (text, None, 0_i64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return Err(invalid());
        }
        let number: i64 = rest[..digits].parse().map_err(|_| "duration out of range".to_owned())?;
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(unit_len);
        if unit.is_empty() {
            return Err(invalid());
        }
        let Some(index) = PROMETHEUS_UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        if last.is_some_and(|last| index <= last) {
            return Err(invalid());
        }
        last = Some(index);
        let step = number.checked_mul(PROMETHEUS_UNITS[index].1).and_then(|ms| ms.checked_mul(1_000_000));
        total = step.and_then(|step| total.checked_add(step)).ok_or_else(|| "duration out of range".to_owned())?;
        rest = after;
    }
    Ok(total)
}

/// Prometheus' text of a duration.
pub fn format_prometheus_duration(nanoseconds: i64) -> String {
    let mut milliseconds = nanoseconds.unsigned_abs() / 1_000_000;
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut text = if nanoseconds < 0 { "-".to_owned() } else { String::new() };
    for (unit, size) in PROMETHEUS_UNITS {
        let size = size.unsigned_abs();
        // Years and weeks are written only where they come out even.
        if matches!(unit, "y" | "w") && !milliseconds.is_multiple_of(size) {
            continue;
        }
        let count = milliseconds / size;
        if count > 0 {
            write!(text, "{count}{unit}").expect("a string takes everything");
            milliseconds -= count * size;
        }
    }
    text
}

/// A size such as `1.5KiB` or `42 MB`, in bytes.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let number = parse_float(&text[..digits].replace(',', ""))?;
    let unit = text[digits..].trim().to_lowercase();
    let scale = match unit.as_str() {
        "b" | "" => 1.0,
        "kib" | "ki" => 1024.0,
        "kb" | "k" => 1e3,
        "mib" | "mi" => 1024f64.powi(2),
        "mb" | "m" => 1e6,
        "gib" | "gi" => 1024f64.powi(3),
        "gb" | "g" => 1e9,
        "tib" | "ti" => 1024f64.powi(4),
        "tb" | "t" => 1e12,
        "pib" | "pi" => 1024f64.powi(5),
        "pb" | "p" => 1e15,
        "eib" | "ei" => 1024f64.powi(6),
        "eb" | "e" => 1e18,
        _ => return Err(format!("unhandled size name: {unit}")),
    };
    let bytes = number * scale;
    if bytes >= u64::MAX as f64 {
        return Err(format!("too large: {text}"));
    }
    Ok(bytes as u64)
}

/// A size as people read it (`1.5kB`), without a space.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let exponent = ((bytes as f64).ln() / 1000f64.ln()).floor();
    let value = (bytes as f64 / 1000f64.powf(exponent) * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS[exponent as usize];
    if value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1h2m3.5s"), Ok(3_723_500_000_000));
        assert_eq!(parse_duration("-1.5ms"), Ok(-1_500_000));
        assert_eq!(parse_duration("5"), Err(r#"time: missing unit in duration "5""#.to_owned()));
        assert_eq!(parse_duration("1d"), Err(r#"time: unknown unit "d" in duration "1d""#.to_owned()));
        assert_eq!(format_duration(3_723_500_000_000), "1h2m3.5s");
        assert_eq!(format_duration(250_000_000), "250ms");
        assert_eq!(format_duration(1_500), "1.5µs");
        assert_eq!(format_duration(300_000_000_000), "5m0s");
        assert_eq!(parse_prometheus_duration("1w2d"), Ok(777_600_000_000_000));
        assert!(parse_prometheus_duration("1m1h").is_err());
        assert_eq!(format_prometheus_duration(5_400_000_000_000), "1h30m");
        assert_eq!(format_prometheus_duration(691_200_000_000_000), "8d");
    }

    #[test]
    fn numbers_and_sizes() {
        assert_eq!(shortest_float(1e21), "1e+21");
        assert_eq!(shortest_float(0.000_01), "1e-05");
        assert_eq!(shortest_float(1.5), "1.5");
        assert_eq!(plain_float(f64::INFINITY), "+Inf");
        assert!(parse_float("inf").unwrap().is_infinite());
        assert!(parse_float("1.2.3").is_err());
        assert_eq!(parse_bytes("1.5KiB"), Ok(1536));
        assert_eq!(parse_bytes("42 MB"), Ok(42_000_000));
        assert_eq!(format_bytes(1_500), "1.5kB");
        assert_eq!(format_bytes(20_000_000), "20MB");
    }

    #[test]
    fn strings() {
        assert_eq!(quote("a\"\n\u{1}é"), r#""a\"\n\x01é""#);
        assert_eq!(unquote(r#""a\"\n\x41é""#).unwrap(), "a\"\nAé");
        assert_eq!(unquote("`a\\n`").unwrap(), "a\\n");
        assert_eq!(unquote(r#""\q""#), None);
    }
}
