//! `index`, `slice` and `len`.

use crate::{
    function::FunctionError,
    value::{Dict, DictType, List, Value},
};

pub(super) fn index(item: &Value, indexes: &[Value]) -> Result<Value, FunctionError> {
    if item.is_nil() {
        return Err("index of untyped nil".into());
    }
    let mut item = item.clone();
    for index in indexes {
        item = step(&item, index)?;
    }
    Ok(item)
}

fn step(item: &Value, index: &Value) -> Result<Value, FunctionError> {
    match item {
        // A nil within: an interface that holds nothing.
        Value::Nil => Err("index of nil pointer".into()),
        Value::List(list) => at(index, list.len(), |position| list[position].clone()),
        Value::Bytes(bytes) | Value::Binary(bytes) => at(index, bytes.len(), |position| Value::Uint8(bytes[position])),
        Value::String(text) => at(index, text.len(), |position| Value::Uint8(text.as_bytes()[position])),
        Value::Dict(dict) => entry(dict, index),
        Value::Object(object) => match object.underlying() {
            Some(inner) => step(&inner, index),
            None => Err(format!("can't index item of type {}", item.type_name()).into()),
        },
        _ => Err(format!("can't index item of type {}", item.type_name()).into()),
    }
}

fn entry(dict: &Dict, key: &Value) -> Result<Value, FunctionError> {
    match key {
        Value::String(key) => Ok(dict.get(key).unwrap_or_else(|| zero(dict.dict_type()))),
        Value::Binary(_) => Ok(zero(dict.dict_type())),
        Value::Nil => Err("value is nil; should be of type string".into()),
        _ => Err(format!("value has type {}; should be string", key.type_name()).into()),
    }
}

/// The zero of a map's element type.
pub(crate) fn zero(dict_type: DictType) -> Value {
    match dict_type {
        DictType::String => Value::from(""),
        DictType::Any | DictType::Named(_) => Value::Nil,
    }
}

fn at(index: &Value, length: usize, get: impl Fn(usize) -> Value) -> Result<Value, FunctionError> {
    let position = position(index, length)?;
    if position == length {
        // Go lets the length itself through here, and then its slice panics.
        return Err("reflect: slice index out of range".into());
    }
    Ok(get(position))
}

/// An index from 0 to `limit`, both included.
fn position(index: &Value, limit: usize) -> Result<usize, FunctionError> {
    let number = match index {
        Value::Int(value) | Value::Int64(value) => *value,
        Value::Uint8(value) => i64::from(*value),
        Value::Uint64(value) => *value as i64,
        Value::Nil => return Err("cannot index slice/array with nil".into()),
        _ => return Err(format!("cannot index slice/array with type {}", index.type_name()).into()),
    };
    usize::try_from(number)
        .ok()
        .filter(|position| *position <= limit)
        .ok_or_else(|| format!("index out of range: {number}").into())
}

pub(super) fn slice(item: &Value, indexes: &[Value]) -> Result<Value, FunctionError> {
    if item.is_nil() {
        return Err("slice of untyped nil".into());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()).into());
    }
    let is_text = matches!(item, Value::String(_) | Value::Binary(_));
    if is_text && indexes.len() == 3 {
        return Err("cannot 3-index slice a string".into());
    }
    let length = match item {
        Value::String(text) => text.len(),
        Value::Binary(bytes) | Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        _ => return Err(format!("can't slice item of type {}", item.type_name()).into()),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length)?;
    }
    let [from, to, most] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}").into());
    }
    if to > most {
        return Err(format!("invalid slice index: {to} > {most}").into());
    }
    Ok(match item {
        Value::List(list) => Value::List(List::new(list.list_type(), list[from..to].to_vec()).into()),
        Value::Bytes(bytes) => Value::Bytes(bytes[from..to].into()),
        _ => Value::string_from_bytes(item.as_bytes().unwrap_or_default()[from..to].to_vec()),
    })
}

pub(super) fn len(item: &Value) -> Result<Value, FunctionError> {
    let length = match item {
        Value::String(text) => text.len(),
        Value::Binary(bytes) | Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Dict(dict) => dict.len(),
        Value::Object(object) => match object.underlying() {
            Some(inner) => return len(&inner),
            None => return Err(format!("len of type {}", item.type_name()).into()),
        },
        Value::Nil => return Err("len of nil pointer".into()),
        _ => return Err(format!("len of type {}", item.type_name()).into()),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}
