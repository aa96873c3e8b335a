//! The operators: arithmetic that notices overflow, order, membership, and what every value has.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use super::Implementation;
use crate::{
    numbers,
    types::ListKind,
    value::{EvalError, List, Value, map_key, same_key},
};

type Outcome<'a> = Result<Value<'a>, EvalError>;

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "!_" => not,
        "-_" => negate,
        "_==_" => |args| Ok(Value::Bool(args[0].equals(&args[1]))),
        "_!=_" => |args| Ok(Value::Bool(!args[0].equals(&args[1]))),
        "_<_" => |args| ordered(args, Ordering::is_lt),
        "_<=_" => |args| ordered(args, Ordering::is_le),
        "_>_" => |args| ordered(args, Ordering::is_gt),
        "_>=_" => |args| ordered(args, Ordering::is_ge),
        "_+_" => add,
        "_-_" => subtract,
        "_*_" => multiply,
        "_/_" => divide,
        "_%_" => modulo,
        "@in" => contains,
        // Planned as steps of their own.
        "_[_]" | "_[?_]" => |_| Err(EvalError::no_such_overload()),
        "size" => |args| match &args[0] {
            Value::Opaque(_) | Value::Optional(_) => Err(EvalError::no_such_overload()),
            value => value.size().map(|size| Value::Int(size as i64)).ok_or_else(EvalError::no_such_overload),
        },
        "type" => |args| Ok(Value::Type(args[0].type_name().into())),
        "dyn" => |args| Ok(args[0].clone()),
        _ => return None,
    })
}

/// The order of two values of one type, or of two numbers.
pub fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some((**a).cmp(&**b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (a, b) => numbers::compare(a, b),
    }
}

fn ordered<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Outcome<'a> {
    let [a, b] = args else { return Err(EvalError::no_such_overload()) };
    match compare(a, b) {
        Some(order) => Ok(Value::Bool(holds(order))),
        None if a.is_number() && b.is_number() => Err(EvalError::new("NaN values cannot be ordered")),
        None => Err(EvalError::no_such_overload()),
    }
}

fn not<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Bool(value)] => Ok(Value::Bool(!value)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn integer<'a>(value: Option<i64>) -> Outcome<'a> {
    value.map(Value::Int).ok_or_else(|| EvalError::new("integer overflow"))
}

fn unsigned<'a>(value: Option<u64>) -> Outcome<'a> {
    value.map(Value::Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
}

fn span<'a>(value: Option<SignedDuration>) -> Outcome<'a> {
    let fits = value.filter(|span| i64::try_from(span.as_nanos()).is_ok());
    fits.map(Value::Duration).ok_or_else(|| EvalError::new("duration overflow"))
}

fn moment<'a>(value: Result<Timestamp, jiff::Error>) -> Outcome<'a> {
    let value = value.ok().filter(|value| super::time::is_in_range(*value));
    value.map(Value::Timestamp).ok_or_else(|| EvalError::new("timestamp overflow"))
}

fn negate<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(value)] => integer(value.checked_neg()),
        [Value::Double(value)] => Ok(Value::Double(-value)),
        _ => Err(EvalError::no_such_overload()),
    }
}

pub(crate) fn add<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => integer(a.checked_add(*b)),
        [Value::Uint(a), Value::Uint(b)] => unsigned(a.checked_add(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a + b)),
        [Value::String(a), Value::String(b)] => Ok(Value::text(format!("{}{}", &**a, &**b))),
        [Value::Bytes(a), Value::Bytes(b)] => Ok(Value::Bytes([&**a, &**b].concat().into())),
        [Value::List(a), Value::List(b)] => Ok(Value::List(together(a, b))),
        [Value::Duration(a), Value::Duration(b)] => span(a.checked_add(*b)),
        [Value::Duration(by), Value::Timestamp(at)] | [Value::Timestamp(at), Value::Duration(by)] => {
            moment(at.checked_add(*by))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// One list after the other; a set takes only what is new, an associative list replaces what has the same key.
fn together<'a>(a: &List<'a>, b: &List<'a>) -> List<'a> {
    let mut items: Vec<Value<'a>> = a.iter().collect();
    let Some(declaration) = a.declaration() else {
        items.extend(b.iter());
        return List::Owned(items.into());
    };
    match &declaration.list {
        ListKind::Atomic => items.extend(b.iter()),
        ListKind::Set => {
            for item in b.iter() {
                if !items.iter().any(|known| known.equals(&item)) {
                    items.push(item);
                }
            }
        }
        ListKind::Map(keys) => {
            for item in b.iter() {
                let key = map_key(keys, &item);
                match items.iter_mut().find(|known| same_key(&map_key(keys, known), &key)) {
                    Some(known) => *known = item,
                    None => items.push(item),
                }
            }
        }
    }
    List::Kind(items.into(), declaration)
}

fn subtract<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => integer(a.checked_sub(*b)),
        [Value::Uint(a), Value::Uint(b)] => unsigned(a.checked_sub(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        [Value::Duration(a), Value::Duration(b)] => span(a.checked_sub(*b)),
        [Value::Timestamp(a), Value::Duration(b)] => moment(a.checked_sub(*b)),
        [Value::Timestamp(a), Value::Timestamp(b)] => span(Some(a.duration_since(*b))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn multiply<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => integer(a.checked_mul(*b)),
        [Value::Uint(a), Value::Uint(b)] => unsigned(a.checked_mul(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn divide<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(EvalError::new("division by zero")),
        [Value::Int(a), Value::Int(b)] => integer(a.checked_div(*b)),
        [Value::Uint(a), Value::Uint(b)] => unsigned(a.checked_div(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn modulo<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(EvalError::new("modulus by zero")),
        [Value::Int(a), Value::Int(b)] => integer(a.checked_rem(*b)),
        [Value::Uint(a), Value::Uint(b)] => unsigned(a.checked_rem(*b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn contains<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [value, Value::List(list)] => Ok(Value::Bool(list.contains(value))),
        [key, Value::Map(map)] => Ok(Value::Bool(map.get(key).is_some())),
        _ => Err(EvalError::no_such_overload()),
    }
}
