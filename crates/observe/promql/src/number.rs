//! Numbers and durations as Go and Prometheus read and write them.

/// Milliseconds in a second, for times that people see as seconds.
pub const MS_PER_SECOND: f64 = 1000.0;

/// A number as PromQL has it: decimal, hexadecimal, octal, binary, with underscores, `Inf` and `NaN`.
pub fn parse_number(text: &str) -> Result<f64, String> {
    parse_integer(text).map(|integer| Ok(integer as f64)).unwrap_or_else(|| parse_float(text))
}

/// As Go's `strconv.ParseFloat`.
pub fn parse_float(text: &str) -> Result<f64, String> {
    let invalid = || format!("strconv.ParseFloat: parsing {}: invalid syntax", crate::quote::quote(text));
    let plain = text.replace('_', "");
    let unsigned = plain.trim_start_matches(['+', '-']);
    if unsigned.is_empty() || plain.len() - unsigned.len() > 1 {
        return Err(invalid());
    }
    let is_named = matches!(unsigned.to_ascii_lowercase().as_str(), "inf" | "infinity" | "nan");
    let value: f64 = plain.parse().map_err(|_| invalid())?;
    if value.is_infinite() && !is_named {
        return Err(format!("strconv.ParseFloat: parsing {}: value out of range", crate::quote::quote(text)));
    }
    Ok(value)
}

fn parse_integer(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0b") => (&lower[2..], 2),
        Some("0o") => (&lower[2..], 8),
        _ if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    let value = i64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    Some(if negative { -value } else { value })
}

/// The shortest text that reads back the same, without an exponent: Go's `FormatFloat(value, 'f', -1, 64)`.
pub fn plain_float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => format!("{value}"),
    }
}

/// The shortest text that reads back the same, with an exponent when it is large or small: Go's `%g` and `%v`.
pub fn short_float(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return plain_float(value);
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("the e format has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// `1h30m` in milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    let invalid = || format!("not a valid duration string: {}", crate::quote::quote(text));
    match text {
        "0" => return Ok(0),
        "" => return Err("empty duration string".into()),
        _ => {}
    }
    let mut rest = text;
    let mut total_ms = 0i64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit_length = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + unit_length];
        if digits == 0 || unit.is_empty() {
            return Err(invalid());
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!(
                "unknown unit {} in duration {}",
                crate::quote::quote(unit),
                crate::quote::quote(text)
            ));
        }
        // From the largest to the smallest, each once.
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let out_of_range = || "duration out of range".to_owned();
        let count: i64 = rest[..digits].parse().map_err(|_| out_of_range())?;
        let ms = count.checked_mul(*unit_ms).ok_or_else(out_of_range)?;
        total_ms = total_ms.checked_add(ms).ok_or_else(out_of_range)?;
        if total_ms.checked_mul(1_000_000).is_none() {
            return Err(out_of_range());
        }
        rest = &rest[digits + unit_length..];
    }
    Ok(total_ms)
}

/// Milliseconds as `1h30m`; years and weeks only when nothing is left over.
pub fn duration_text(mut ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, unit_ms) in UNITS {
        let exact_only = matches!(name, "y" | "w" | "d");
        if exact_only && ms % unit_ms != 0 {
            continue;
        }
        let count = ms / unit_ms;
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
            ms -= count * unit_ms;
        }
    }
    text
}
