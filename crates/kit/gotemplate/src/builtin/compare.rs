//! `eq`, `lt` and the rest.

use std::{cmp::Ordering, rc::Rc};

use crate::{
    function::FunctionError,
    printf::sprintf_bytes,
    value::{Kind, Value},
};

/// The kinds Go compares as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Int,
    Uint,
    Float,
    String,
    Other,
}

fn basic(value: &Value) -> Basic {
    match value.kind() {
        Kind::Bool => Basic::Bool,
        Kind::Int | Kind::Int64 => Basic::Int,
        Kind::Uint8 | Kind::Uint64 => Basic::Uint,
        Kind::Float64 => Basic::Float,
        Kind::String => Basic::String,
        Kind::Invalid | Kind::Slice | Kind::Map | Kind::Struct | Kind::Ptr | Kind::Func => Basic::Other,
    }
}

/// An object whose underlying type is basic compares as that.
fn inner(value: &Value) -> Value {
    match value {
        Value::Object(object) if basic(value) != Basic::Other => object.underlying().unwrap_or_else(|| value.clone()),
        _ => value.clone(),
    }
}

pub(super) fn equal_to_any(value: &Value, others: &[Value]) -> Result<bool, FunctionError> {
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if equal(value, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn equal(left: &Value, right: &Value) -> Result<bool, FunctionError> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => return Ok(left == right),
        (Value::Nil, Value::Nil) => return Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => return Ok(false),
        _ => {}
    }
    match (basic(left), basic(right)) {
        (Basic::Other, Basic::Other) => identical(left, right),
        (left_kind, right_kind) if comparable(left_kind, right_kind) => {
            Ok(order(&inner(left), &inner(right)) == Some(Ordering::Equal))
        }
        _ => Err(incompatible(left, right)),
    }
}

fn comparable(left: Basic, right: Basic) -> bool {
    left == right || matches!((left, right), (Basic::Int, Basic::Uint) | (Basic::Uint, Basic::Int))
}

fn incompatible(left: &Value, right: &Value) -> FunctionError {
    format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name()).into()
}

/// Lists, maps and objects: Go compares pointers and refuses the rest.
fn identical(left: &Value, right: &Value) -> Result<bool, FunctionError> {
    let shown =
        |value: &Value| String::from_utf8_lossy(&sprintf_bytes(b"%s", std::slice::from_ref(value))).into_owned();
    if left.kind() != right.kind() {
        let (left_type, right_type) = (left.type_name(), right.type_name());
        let message = format!("non-comparable types {}: {left_type}, {right_type}: {right}", shown(left));
        return Err(message.into());
    }
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => Ok(Rc::ptr_eq(left, right)),
        _ => Err(format!("non-comparable type {}: {}", shown(right), right.type_name()).into()),
    }
}

pub(super) fn less(left: &Value, right: &Value) -> Result<bool, FunctionError> {
    let (left_kind, right_kind) = (basic(left), basic(right));
    if left_kind == Basic::Other || right_kind == Basic::Other {
        return Err("invalid type for comparison".into());
    }
    if !comparable(left_kind, right_kind) {
        return Err(incompatible(left, right));
    }
    if left_kind == Basic::Bool {
        return Err("invalid type for comparison".into());
    }
    Ok(order(&inner(left), &inner(right)) == Some(Ordering::Less))
}

pub(super) fn less_or_equal(left: &Value, right: &Value) -> Result<bool, FunctionError> {
    Ok(less(left, right)? || equal(left, right)?)
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        _ => match (left.as_bytes(), right.as_bytes()) {
            (Some(left), Some(right)) => Some(left.cmp(right)),
            _ => Some(integer(left)?.cmp(&integer(right)?)),
        },
    }
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value) | Value::Int64(value) => Some(i128::from(*value)),
        Value::Uint8(value) => Some(i128::from(*value)),
        Value::Uint64(value) => Some(i128::from(*value)),
        _ => None,
    }
}
