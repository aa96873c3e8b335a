//! Kubernetes' quantities.

use coracle_schema::quantity::Quantity;

use super::{Implementation, semver};
use crate::value::{EvalError, Opaque, Value};

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "quantity" => |args| match &args[0] {
            Value::String(text) => Quantity::parse(text).map(made).map_err(|error| EvalError::new(error.to_string())),
            _ => Err(EvalError::no_such_overload()),
        },
        "isQuantity" => |args| match &args[0] {
            Value::String(text) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
            _ => Err(EvalError::no_such_overload()),
        },
        "sign" => |args| {
            let quantity = of(&args[0])?;
            Ok(Value::Int(if quantity.is_zero() {
                0
            } else if quantity.is_negative() {
                -1
            } else {
                1
            }))
        },
        "isGreaterThan" => |args| ordered(args).map(|order| Value::Bool(order.is_gt())),
        "isLessThan" => |args| ordered(args).map(|order| Value::Bool(order.is_lt())),
        "compareTo" => |args| ordered(args).map(|order| Value::Int(order as i64)),
        "asApproximateFloat" => |args| {
            let quantity = of(&args[0])?;
            let whole = quantity.is_whole();
            Ok(Value::Double(if whole { quantity.units() as f64 } else { quantity.millis() as f64 / 1000.0 }))
        },
        "asInteger" => |args| {
            let quantity = of(&args[0])?;
            if !quantity.is_whole() {
                return Err(EvalError::new("cannot convert value to integer"));
            }
            Ok(Value::Int(quantity.units()))
        },
        "isInteger" => |args| Ok(Value::Bool(of(&args[0])?.is_whole())),
        "add" => |args| Ok(made(of(&args[0])? + amount(&args[1])?)),
        "sub" => |args| Ok(made(of(&args[0])? - amount(&args[1])?)),
        _ => return None,
    })
}

fn made<'a>(quantity: Quantity) -> Value<'a> {
    Value::opaque(Opaque::Quantity(quantity))
}

fn of(value: &Value<'_>) -> Result<Quantity, EvalError> {
    match value {
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Quantity(quantity) => Ok(*quantity),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn amount(value: &Value<'_>) -> Result<Quantity, EvalError> {
    match value {
        Value::Int(units) => Ok(Quantity::from_units(*units)),
        other => of(other),
    }
}

/// Versions have the same three functions.
fn ordered(args: &[Value<'_>]) -> Result<std::cmp::Ordering, EvalError> {
    match semver::both(args) {
        Some((a, b)) => Ok(a.precedence(&b)),
        None => Ok(of(&args[0])?.cmp(&of(&args[1])?)),
    }
}
