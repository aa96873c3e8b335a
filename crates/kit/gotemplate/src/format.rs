//! `%v`: how Go prints a value.

use std::fmt;

use crate::{
    number,
    value::{Dict, Value},
};

/// Values nested deeper than this are printed as an ellipsis; Go would print a map that holds itself until it dies.
const DEPTH_LIMIT: u32 = 200;

impl fmt::Display for Value {
    /// `%v`. Binary text is written with U+FFFD for what is not UTF-8; [`Value::as_bytes`] has it exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        plain(self, f, 0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.type_name())
    }
}

fn plain(value: &Value, f: &mut fmt::Formatter<'_>, depth: u32) -> fmt::Result {
    if depth > DEPTH_LIMIT {
        return f.write_str("...");
    }
    match value {
        Value::Nil => f.write_str("<nil>"),
        Value::Bool(value) => write!(f, "{value}"),
        Value::Int(value) | Value::Int64(value) => write!(f, "{value}"),
        Value::Uint8(value) => write!(f, "{value}"),
        Value::Uint64(value) => write!(f, "{value}"),
        Value::Float(value) => f.write_str(&number::format_float(*value)),
        Value::String(text) => f.write_str(text),
        Value::Binary(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
        Value::Bytes(bytes) => sequence(f, bytes.iter(), |byte, f| write!(f, "{byte}")),
        Value::List(list) => sequence(f, list.iter(), |item, f| plain(item, f, depth + 1)),
        Value::Dict(dict) => entries(dict, f, depth),
        Value::Object(object) => object.format(f),
    }
}

fn entries(dict: &Dict, f: &mut fmt::Formatter<'_>, depth: u32) -> fmt::Result {
    f.write_str("map")?;
    sequence(f, dict.entries().iter(), |(key, value), f| {
        write!(f, "{key}:")?;
        plain(value, f, depth + 1)
    })
}

fn sequence<'a, T, F: Fn(T, &mut fmt::Formatter<'a>) -> fmt::Result>(
    f: &mut fmt::Formatter<'a>,
    items: impl Iterator<Item = T>,
    write: F,
) -> fmt::Result {
    f.write_str("[")?;
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        write(item, f)?;
    }
    f.write_str("]")
}
