//! `format`: texts with places for values.

use super::Implementation;
use crate::{
    numbers,
    value::{EvalError, Value},
};

type Outcome<'a> = Result<Value<'a>, EvalError>;

pub fn implementation(name: &str) -> Option<Implementation> {
    (name == "format").then_some(format)
}

/// Without a precision so many places are written.
const PLACES: usize = 6;

fn format<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::List(values)] = args else { return Err(EvalError::no_such_overload()) };
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = text;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        out += &rest[..at];
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        let mut precision = None;
        if let Some(tail) = rest.strip_prefix('.') {
            let len = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            let digits = tail[..len].parse().map_err(|_| fail("could not find end of precision specifier"))?;
            precision = Some(digits);
            rest = &tail[len..];
        }
        let verb = rest.chars().next().ok_or_else(|| fail("unexpected end of string"))?;
        rest = &rest[verb.len_utf8()..];
        let value = values.get(next).ok_or_else(|| fail(&format!("index {next} out of range")))?;
        next += 1;
        out += &write(verb, precision, &value)?;
    }
    out += rest;
    Ok(Value::text(out))
}

fn fail(why: &str) -> EvalError {
    EvalError::new(why)
}

fn write(verb: char, precision: Option<usize>, value: &Value<'_>) -> Result<String, EvalError> {
    let places = precision.unwrap_or(PLACES);
    let wrong = |what: &str| {
        fail(&format!(
            "error during formatting: {what} clause can only be used on {}, was given {}",
            accepted(verb),
            value.type_name()
        ))
    };
    match verb {
        's' => plain(value),
        'd' => match value {
            Value::Int(value) => Ok(value.to_string()),
            Value::Uint(value) => Ok(value.to_string()),
            Value::Double(value) if !value.is_finite() => Ok(special(*value)),
            _ => Err(wrong("decimal")),
        },
        'f' => match number(value) {
            Some(value) if value.is_finite() => Ok(format!("{value:.places$}")),
            Some(value) => Ok(special(value)),
            None => Err(wrong("fixed-point")),
        },
        'e' => match number(value) {
            Some(value) if value.is_finite() => {
                let text = format!("{value:.places$e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or_default();
                // Kubernetes' version of the library writes exponents as people do.
                let sign = if exponent < 0 { "⁻" } else { "" };
                let raised = |digit: char| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit.to_digit(10).unwrap_or(0) as usize);
                let exponent: String = format!("{:02}", exponent.abs()).chars().filter_map(raised).collect();
                Ok(format!("{digits}×10{sign}{exponent}"))
            }
            Some(value) => Ok(special(value)),
            None => Err(wrong("scientific")),
        },
        'b' => match value {
            Value::Int(value) if *value < 0 => Ok(format!("-{:b}", value.unsigned_abs())),
            Value::Int(value) => Ok(format!("{value:b}")),
            Value::Uint(value) => Ok(format!("{value:b}")),
            Value::Bool(value) => Ok(u8::from(*value).to_string()),
            _ => Err(wrong("binary")),
        },
        'o' => match value {
            Value::Int(value) if *value < 0 => Ok(format!("-{:o}", value.unsigned_abs())),
            Value::Int(value) => Ok(format!("{value:o}")),
            Value::Uint(value) => Ok(format!("{value:o}")),
            _ => Err(wrong("octal")),
        },
        'x' | 'X' => {
            let text = match value {
                Value::Int(value) if *value < 0 => format!("-{:x}", value.unsigned_abs()),
                Value::Int(value) => format!("{value:x}"),
                Value::Uint(value) => format!("{value:x}"),
                Value::String(text) => hex(text.as_bytes()),
                Value::Bytes(bytes) => hex(bytes),
                _ => return Err(wrong("hex")),
            };
            Ok(if verb == 'X' { text.to_uppercase() } else { text })
        }
        other => Err(fail(&format!("could not parse formatting clause: unrecognized formatting clause {other:?}"))),
    }
}

fn accepted(verb: char) -> &'static str {
    match verb {
        'd' | 'o' => "integers",
        'b' => "integers and bools",
        'f' | 'e' => "doubles",
        _ => "integers, byte buffers, and strings",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn special(value: f64) -> String {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
    .to_owned()
}

fn plain(value: &Value<'_>) -> Result<String, EvalError> {
    Ok(match value {
        Value::Double(value) if !value.is_finite() => special(*value),
        Value::Double(value) => numbers::double_text(*value),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| nested(&item)).collect::<Result<_, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut entries: Vec<String> = map
                .iter()
                .map(|(key, value)| Ok(format!("{}: {}", nested(&key)?, nested(&value)?)))
                .collect::<Result<_, EvalError>>()?;
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Opaque(_) | Value::Optional(_) | Value::Object(_) => {
            return Err(fail(&format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
                value.type_name()
            )));
        }
        other => other.to_text(),
    })
}

fn nested(value: &Value<'_>) -> Result<String, EvalError> {
    plain(value)
}
