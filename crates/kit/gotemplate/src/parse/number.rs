//! Numeric constants.

use crate::{
    lex::TokenKind,
    node::Number,
    quote::{Unit, quote, unquote_one},
};

/// Reads a constant; the error is Go's.
pub(super) fn parse(text: &str, kind: TokenKind) -> Result<Number, String> {
    match kind {
        TokenKind::CharConstant => character(text),
        TokenKind::Complex => Err(illegal(text)),
        _ => real(text),
    }
}

fn illegal(text: &str) -> String {
    format!("illegal number syntax: {}", quote(text.as_bytes()))
}

fn character(text: &str) -> Result<Number, String> {
    let (unit, tail) = unquote_one(&text[1..], '\'').ok_or("invalid syntax")?;
    if tail != "'" {
        return Err(format!("malformed character constant: {text}"));
    }
    let code = match unit {
        Unit::Byte(byte) => u32::from(byte),
        Unit::Char(character) => u32::from(character),
    };
    Ok(Number { text: text.into(), int: Some(code.into()), uint: Some(code.into()), float: Some(code.into()) })
}

fn real(text: &str) -> Result<Number, String> {
    let mut number = Number { text: text.into(), int: signed(text), uint: unsigned(text), float: None };
    if number.int == Some(0) {
        number.uint = Some(0);
    }
    number.float = match (number.int, number.uint) {
        (Some(int), _) => Some(int as f64),
        (None, Some(uint)) => Some(uint as f64),
        (None, None) => Some(float(text)?),
    };
    if let (None, Some(value)) = (number.int, number.float)
        && number.uint.is_none()
    {
        number.int = Some(value as i64).filter(|int| *int as f64 == value);
        number.uint = Some(value as u64).filter(|uint| *uint as f64 == value);
    }
    Ok(number)
}

fn float(text: &str) -> Result<f64, String> {
    let value: f64 = match hexadecimal(text) {
        Some(value) => value,
        None => text.parse().map_err(|_| illegal(text))?,
    };
    if value.is_infinite() {
        return Err(illegal(text));
    }
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(format!("integer overflow: {}", quote(text.as_bytes())));
    }
    Ok(value)
}

/// `0x1.8p3`: hexadecimal digits and a power of two.
fn hexadecimal(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let (sign, rest) = match lower.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, lower.strip_prefix('+').unwrap_or(&lower)),
    };
    let (mantissa, exponent) = rest.strip_prefix("0x")?.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let exponent: i32 = exponent.parse().ok()?;
    let scale = exponent.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    Some(sign * u64::from_str_radix(&digits, 16).ok()? as f64 * 2f64.powi(scale))
}

fn signed(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = unsigned(digits)?;
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// `strconv.ParseUint` with base 0: prefixes name the base, and underscores may separate digits.
fn unsigned(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, &lower[..], false),
    };
    if digits.contains('_') {
        let misplaced = digits.ends_with('_') || digits.contains("__") || (!prefixed && digits.starts_with('_'));
        if misplaced {
            return None;
        }
    }
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), radix).ok()
}
