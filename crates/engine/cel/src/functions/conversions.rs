//! From one type to another.

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};

use super::Implementation;
use crate::{
    numbers,
    value::{EvalError, Opaque, Value},
};

type Outcome<'a> = Result<Value<'a>, EvalError>;

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "bool" => to_bool,
        "bytes" => to_bytes,
        "double" => to_double,
        "duration" => to_duration,
        "int" => to_int,
        "string" => to_string,
        "timestamp" => to_timestamp,
        "uint" => to_uint,
        _ => return None,
    })
}

fn conversion_error(value: &Value<'_>, to: &str) -> EvalError {
    EvalError::new(format!("type conversion error from '{}' to '{to}'", value.type_name()))
}

fn to_bool<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            other => Err(EvalError::new(format!("strconv.ParseBool: parsing {other:?}: invalid syntax"))),
        },
        other => Err(conversion_error(other, "bool")),
    }
}

fn to_bytes<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
        Value::String(text) => Ok(Value::Bytes(text.as_bytes().into())),
        other => Err(conversion_error(other, "bytes")),
    }
}

fn to_double<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Double(match &args[0] {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::String(text) => text
            .parse()
            .map_err(|_| EvalError::new(format!("strconv.ParseFloat: parsing {:?}: invalid syntax", &**text)))?,
        other => return Err(conversion_error(other, "double")),
    }))
}

fn to_int<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let overflow = || EvalError::new("integer overflow");
    Ok(Value::Int(match &args[0] {
        Value::Int(value) => *value,
        Value::Uint(value) => i64::try_from(*value).map_err(|_| overflow())?,
        // The largest doubles below the bounds, as upstream has it.
        Value::Double(value) if value.is_finite() && *value > i64::MIN as f64 && *value < i64::MAX as f64 => {
            *value as i64
        }
        Value::Double(_) => return Err(overflow()),
        Value::String(text) => text.parse().map_err(|error| parse_error("ParseInt", text, error))?,
        Value::Timestamp(at) => at.as_second(),
        Value::Duration(span) => i64::try_from(span.as_nanos()).map_err(|_| overflow())?,
        other => return Err(conversion_error(other, "int")),
    }))
}

fn parse_error(function: &str, text: &str, error: std::num::ParseIntError) -> EvalError {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let what = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    EvalError::new(format!("strconv.{function}: parsing {text:?}: {what}"))
}

fn to_uint<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let overflow = || EvalError::new("unsigned integer overflow");
    Ok(Value::Uint(match &args[0] {
        Value::Uint(value) => *value,
        Value::Int(value) => u64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value) if value.is_finite() && *value >= 0.0 && *value < u64::MAX as f64 => *value as u64,
        Value::Double(_) => return Err(overflow()),
        Value::String(text) => text.parse().map_err(|error| parse_error("ParseUint", text, error))?,
        other => return Err(conversion_error(other, "uint")),
    }))
}

fn to_string<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match &args[0] {
        Value::String(text) => Value::String(text.clone()),
        Value::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| EvalError::new("invalid UTF-8 in bytes, cannot convert to string"))?;
            Value::text(text)
        }
        Value::Double(value) => Value::text(numbers::double_text(*value)),
        value @ (Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Duration(_) | Value::Timestamp(_)) => {
            Value::text(value.to_text())
        }
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Ip(address) => Value::text(address.to_string()),
            Opaque::Cidr(cidr) => Value::text(cidr.to_string()),
            Opaque::Quantity(quantity) => Value::text(quantity.to_string()),
            _ => return Err(conversion_error(&args[0], "string")),
        },
        other => return Err(conversion_error(other, "string")),
    })
}

fn to_duration<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Duration(span) => Ok(Value::Duration(*span)),
        Value::Int(nanos) => Ok(Value::Duration(SignedDuration::from_nanos(*nanos))),
        Value::String(text) => duration(text)
            .map(Value::Duration)
            .ok_or_else(|| EvalError::new(format!("time: invalid duration {:?}", &**text))),
        other => Err(conversion_error(other, "google.protobuf.Duration")),
    }
}

fn to_timestamp<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Timestamp(at) => Ok(Value::Timestamp(*at)),
        Value::Int(seconds) => Timestamp::from_second(*seconds)
            .ok()
            .filter(|at| super::time::is_in_range(*at))
            .map(Value::Timestamp)
            .ok_or_else(|| EvalError::new("timestamp overflow")),
        Value::String(text) => timestamp(text).map(Value::Timestamp).ok_or_else(|| {
            EvalError::new(format!(
                "parsing time {0:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {0:?} as \"2006\"",
                &**text
            ))
        }),
        other => Err(conversion_error(other, "google.protobuf.Timestamp")),
    }
}

/// Go's notation: `1h2m3.5s`.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(len);
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter().find(|unit| {
            tail.strip_prefix(*unit).is_some_and(|after| !after.starts_with(|c: char| c.is_alphabetic()))
        })?;
        let scale: i128 = match unit {
            "ns" => 1,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => 1_000,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !whole.is_empty() {
            nanos = nanos.checked_add(whole.parse::<i64>().ok().map(i128::from)?.checked_mul(scale)?)?;
        }
        if !fraction.is_empty() {
            let digits = &fraction[..fraction.len().min(18)];
            let part: i128 = digits.parse().ok()?;
            nanos += part * scale / 10_i128.pow(digits.len() as u32);
        }
        rest = &tail[unit.len()..];
    }
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
    Some(SignedDuration::from_nanos(nanos))
}

/// RFC 3339, between the years 1 and 9999.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    // jiff reads more than RFC 3339 has.
    let shaped = bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && matches!(bytes[10], b'T' | b't');
    if !shaped {
        return None;
    }
    text.parse::<Timestamp>().ok().filter(|at| super::time::is_in_range(*at))
}

pub(crate) fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Seconds with as many places as are needed.
pub(crate) fn format_duration(span: SignedDuration) -> String {
    let (seconds, nanos) = (span.as_secs(), span.subsec_nanos());
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    if nanos == 0 {
        return format!("{sign}{}s", seconds.unsigned_abs());
    }
    let fraction = format!("{:09}", nanos.unsigned_abs());
    format!("{sign}{}.{}s", seconds.unsigned_abs(), fraction.trim_end_matches('0'))
}

pub(crate) fn format_timestamp(at: Timestamp) -> String {
    at.to_string()
}
