//! Arguments as Go's functions see them, and the errors Go's run time raises when they are not what a function expects.

use std::borrow::Cow;

use coracle_gotemplate::{Dict, DictType, FunctionError, List, ListType, Str, Value};

pub(crate) type Result<T = Value> = std::result::Result<T, FunctionError>;

pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(FunctionError::new(message))
}

/// The bytes of a `string` or `[]byte` argument.
pub(crate) fn bytes(value: &Value) -> &[u8] {
    value.as_bytes().unwrap_or_default()
}

/// The text of a `string` argument; bytes that are not UTF-8 become replacement characters.
pub(crate) fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => String::from_utf8_lossy(bytes(other)),
    }
}

/// An argument of type `int`.
pub(crate) fn int(value: &Value) -> i64 {
    match value {
        Value::Int(value) | Value::Int64(value) => *value,
        _ => 0,
    }
}

/// An argument of type `string`, shared where it is UTF-8.
pub(crate) fn shared(value: &Value) -> Str {
    match value {
        Value::String(text) => text.clone(),
        other => text(other).into(),
    }
}

/// Sprig's `strval`: what `toString` gives.
pub(crate) fn to_text(value: &Value) -> Value {
    match value {
        Value::String(_) | Value::Binary(_) => value.clone(),
        Value::Bytes(bytes) => Value::string_from_bytes(bytes.to_vec()),
        other => other.to_string().into(),
    }
}

/// Sprig's `strslice`: the elements that are not nil, as text; one that is no list is a list of one.
pub(crate) fn strings_of(value: &Value) -> Vec<Str> {
    let is_nothing = |value: &&Value| !value.is_nil();
    match elements(value) {
        Some(items) => items.iter().filter(is_nothing).map(|item| shared(&to_text(item))).collect(),
        None if value.is_nil() => Vec::new(),
        None => vec![shared(&to_text(value))],
    }
}

/// The elements of anything Go's reflection calls a slice.
pub(crate) fn elements(value: &Value) -> Option<Cow<'_, [Value]>> {
    match value {
        Value::List(list) => Some(Cow::Borrowed(list)),
        Value::Bytes(bytes) => Some(Cow::Owned(bytes.iter().map(|byte| Value::Uint8(*byte)).collect())),
        Value::Object(object) => match object.underlying() {
            Some(Value::List(list)) => Some(Cow::Owned(list.to_vec())),
            _ => None,
        },
        _ => None,
    }
}

/// The elements of a list argument, or the complaint that begins with `complaint`.
pub(crate) fn list_or<'a>(value: &'a Value, complaint: &str) -> Result<Cow<'a, [Value]>> {
    if value.is_nil() {
        return Err(nil_dereference());
    }
    elements(value).ok_or_else(|| FunctionError::new(format!("{complaint} {}", value.kind().name())))
}

pub(crate) fn nil_dereference() -> FunctionError {
    FunctionError::new("runtime error: invalid memory address or nil pointer dereference")
}

pub(crate) fn out_of_range(from: i64, to: i64) -> FunctionError {
    FunctionError::new(format!("runtime error: slice bounds out of range [{from}:{to}]"))
}

/// A failed type assertion of Go's.
pub(crate) fn wrong_type(value: &Value, wanted: &str) -> FunctionError {
    let found = if value.is_nil() { "nil" } else { value.type_name() };
    FunctionError::new(format!("interface conversion: interface {{}} is {found}, not {wanted}"))
}

/// Type names of slices that are nil rather than empty: JSON tells them apart.
const NIL_LIST: ListType = ListType::Named("[]interface {}");
const NIL_STRINGS: ListType = ListType::Named("[]string");

/// `[]interface {}(nil)`: empty, and `null` in JSON.
pub(crate) fn nil_list() -> Value {
    Value::List(List::new(NIL_LIST, Vec::new()).into())
}

/// `[]string(nil)`.
pub(crate) fn nil_strings() -> Value {
    Value::List(List::new(NIL_STRINGS, Vec::new()).into())
}

/// The type name of a map that is nil rather than empty.
const NIL_DICT: DictType = DictType::Named("map[string]interface {}");

/// `map[string]interface {}(nil)`.
pub(crate) fn nil_dict() -> Value {
    Value::Dict(Dict::new(NIL_DICT).into())
}

/// Whether a map is nil.
pub(crate) fn is_nil_dict(dict: &Dict) -> bool {
    dict.is_empty() && dict.dict_type() == NIL_DICT
}

/// Whether a slice is nil.
pub(crate) fn is_nil_list(list: &List) -> bool {
    list.is_empty() && matches!(list.list_type(), NIL_LIST | NIL_STRINGS)
}
