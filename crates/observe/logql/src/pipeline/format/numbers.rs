//! Functions on numbers, which take text for them too.

use coracle_gotemplate::{Call, Function, FunctionError, Type, Value};

use super::{decimal, texts::text};
use crate::{go, pipeline::seconds};

const A: Type = Type::Any;
const S: Type = Type::String;

pub(super) const TABLE: &[Function] = &[
    Function::new("int", &[A], |_, a| Ok(Value::Int(int(&a[0])))),
    Function::new("float64", &[A], |_, a| Ok(Value::Float(float(&a[0])))),
    Function::variadic("add", &[], A, |_, a| Ok(Value::Int64(a.iter().fold(0, |sum, v| sum.wrapping_add(int(v)))))),
    Function::new("sub", &[A, A], |_, a| Ok(Value::Int64(int(&a[0]).wrapping_sub(int(&a[1]))))),
    Function::variadic("mul", &[A], A, |_, a| {
        Ok(Value::Int64(a[1..].iter().fold(int(&a[0]), |product, v| product.wrapping_mul(int(v)))))
    }),
    Function::new("div", &[A, A], |_, a| divided(a, i64::wrapping_div)),
    Function::new("mod", &[A, A], |_, a| divided(a, i64::wrapping_rem)),
    Function::variadic("addf", &[], A, |_, a| {
        Ok(a.iter().fold(0.0, |sum, v| decimal::calculate('+', sum, float(v))).into())
    }),
    Function::variadic("subf", &[A], A, |_, a| Ok(folded('-', a))),
    Function::variadic("mulf", &[A], A, |_, a| Ok(folded('*', a))),
    Function::variadic("divf", &[A], A, |_, a| {
        if a[1..].iter().any(|v| float(v) == 0.0) {
            return Err(FunctionError::new("decimal division by 0"));
        }
        Ok(folded('/', a))
    }),
    Function::variadic("max", &[A], A, |_, a| Ok(Value::Int64(a.iter().map(int).max().unwrap_or_default()))),
    Function::variadic("min", &[A], A, |_, a| Ok(Value::Int64(a.iter().map(int).min().unwrap_or_default()))),
    Function::variadic("maxf", &[A], A, |_, a| Ok(a.iter().map(float).fold(f64::NEG_INFINITY, f64::max).into())),
    Function::variadic("minf", &[A], A, |_, a| Ok(a.iter().map(float).fold(f64::INFINITY, f64::min).into())),
    Function::new("ceil", &[A], |_, a| Ok(float(&a[0]).ceil().into())),
    Function::new("floor", &[A], |_, a| Ok(float(&a[0]).floor().into())),
    Function::variadic("round", &[A, Type::Int], Type::Float64, |_, a| {
        let up_from = a.get(2).map_or(0.5, float);
        let scale = 10_f64.powi(i32::try_from(int(&a[1])).unwrap_or(0));
        let shifted = float(&a[0]) * scale;
        let rounded = if shifted.fract() >= up_from { shifted.ceil() } else { shifted.floor() };
        Ok((rounded / scale).into())
    }),
    Function::new("bytes", &[S], |_, a| Ok((go::parse_bytes(&text(&a[0]))? as f64).into())),
    Function::new("duration", &[S], DURATION),
    Function::new("duration_seconds", &[S], DURATION),
];

const DURATION: Call = |_, a| Ok(seconds(go::parse_duration(&text(&a[0]))?).into());

fn divided(a: &[Value], by: fn(i64, i64) -> i64) -> Result<Value, FunctionError> {
    match int(&a[1]) {
        0 => Err(FunctionError::new("runtime error: integer divide by zero")),
        divisor => Ok(Value::Int64(by(int(&a[0]), divisor))),
    }
}

fn folded(op: char, a: &[Value]) -> Value {
    a[1..].iter().fold(float(&a[0]), |result, v| decimal::calculate(op, result, float(v))).into()
}

/// What text or a number is as a whole number; 0 where it is none.
pub(super) fn int(value: &Value) -> i64 {
    match value {
        Value::Int(number) | Value::Int64(number) => *number,
        Value::Uint8(number) => i64::from(*number),
        Value::Uint64(number) => i64::try_from(*number).unwrap_or(i64::MAX),
        Value::Float(number) => *number as i64,
        Value::Bool(value) => i64::from(*value),
        Value::String(text) => whole(text),
        _ => 0,
    }
}

fn whole(text: &str) -> i64 {
    // `5.00` is whole.
    let text = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    };
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let number = match digits.get(..2) {
        Some("0x" | "0X") => i64::from_str_radix(&digits[2..], 16).ok(),
        Some("0b" | "0B") => i64::from_str_radix(&digits[2..], 2).ok(),
        _ => digits.parse().ok(),
    };
    number.map_or(0, |number: i64| if negative { -number } else { number })
}

/// What text or a number is as a float; 0 where it is none.
pub(super) fn float(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        Value::String(text) => go::parse_float(text).unwrap_or(0.0),
        Value::Uint64(number) => *number as f64,
        other => int(other) as f64,
    }
}
