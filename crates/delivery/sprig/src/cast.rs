//! Conversions to numbers: what cannot be read as one is zero.

use coracle_gotemplate::{Function, Type, Value};

use crate::args::text;

const ANY: &[Type] = &[Type::Any];

pub(crate) const TABLE: &[Function] = &[
    Function::new("int", ANY, |_, a| Ok(Value::Int(to_int(&a[0])))),
    Function::new("int64", ANY, |_, a| Ok(Value::Int64(to_int(&a[0])))),
    Function::new("float64", ANY, |_, a| Ok(Value::Float(to_float(&a[0])))),
    Function::new("atoi", &[Type::String], |_, a| Ok(Value::Int(atoi(&text(&a[0]))))),
    Function::new("toDecimal", ANY, |_, a| Ok(Value::Int64(from_octal(&a[0].to_string())))),
];

/// A whole number from anything: floats are cut off, text is read in any of Go's bases.
pub(crate) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(number) | Value::Int64(number) => *number,
        Value::Uint8(number) => i64::from(*number),
        Value::Uint64(number) => number.cast_signed(),
        Value::Float(number) => cut_off(*number),
        Value::Bool(flag) => i64::from(*flag),
        Value::String(text) => parse_int(without_zero_fraction(text)).unwrap_or(0),
        _ => 0,
    }
}

pub(crate) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        Value::Int(number) | Value::Int64(number) => *number as f64,
        Value::Uint8(number) => f64::from(*number),
        Value::Uint64(number) => *number as f64,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::String(text) => parse_float(text).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// Go's conversion on common machines: what does not fit becomes the smallest number.
fn cut_off(number: f64) -> i64 {
    let fits = number >= -(2f64.powi(63)) && number < 2f64.powi(63);
    if fits { number as i64 } else { i64::MIN }
}

/// `8.00` is 8, while `8.50` is no whole number.
fn without_zero_fraction(text: &str) -> &str {
    match text.rsplit_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    }
}

/// `strconv.ParseInt(text, 0, 64)`: a base by prefix, underscores between digits.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, body) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let plain = if body.contains('_') {
        let begins_well = radix != 10 || !body.starts_with('_');
        let placed_well = begins_well && !body.ends_with('_') && !body.contains("__");
        placed_well.then(|| body.replace('_', ""))?
    } else {
        body.to_owned()
    };
    if plain.is_empty() || !plain.chars().all(|char| char.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(&plain, radix).ok()?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `strconv.ParseFloat` where it succeeds.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = bare.to_ascii_lowercase();
    if let Some(digits) = lower.strip_prefix("0x") {
        return hexadecimal_float(digits).map(|number| if text.starts_with('-') { -number } else { number });
    }
    let is_word = matches!(lower.as_str(), "inf" | "infinity" | "nan");
    if !is_word && !bare.starts_with(|char: char| char.is_ascii_digit() || char == '.') {
        return None;
    }
    text.parse().ok().filter(|number: &f64| is_word || number.is_finite())
}

/// `1.8p3`: a mantissa of hexadecimal digits and a power of two.
fn hexadecimal_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let value = u64::from_str_radix(&digits, 16).ok()? as f64;
    let exponent: i32 = exponent.parse().ok()?;
    Some(value * 2f64.powi(exponent - 4 * i32::try_from(fraction.len()).ok()?))
}

/// `strconv.Atoi`: decimal digits only; out of range gives the nearest number, as Go's result beside its error does.
fn atoi(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
}

fn from_octal(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.starts_with(['+', '-']) { 0 } else { i64::from_str_radix(text, 8).unwrap_or(0) }
}
