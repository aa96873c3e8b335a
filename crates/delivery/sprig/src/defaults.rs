//! Choosing between values: emptiness is Go's zero value, or nothing in it.

use coracle_gotemplate::{Function, Kind, Type, Value};

const ANY: Type = Type::Any;

pub(crate) const TABLE: &[Function] = &[
    Function::variadic("default", &[ANY], ANY, |_, a| {
        Ok(a.get(1).filter(|given| !is_empty(given)).unwrap_or(&a[0]).clone())
    }),
    Function::new("empty", &[ANY], |_, a| Ok(is_empty(&a[0]).into())),
    Function::variadic("coalesce", &[], ANY, |_, a| {
        Ok(a.iter().find(|value| !is_empty(value)).cloned().unwrap_or_default())
    }),
    Function::variadic("all", &[], ANY, |_, a| Ok(a.iter().all(|value| !is_empty(value)).into())),
    Function::variadic("any", &[], ANY, |_, a| Ok(a.iter().any(|value| !is_empty(value)).into())),
    Function::new("ternary", &[ANY, ANY, Type::Bool], |_, a| {
        Ok(if a[2].is_true() { a[0].clone() } else { a[1].clone() })
    }),
];

/// Whether a value is its type's zero value; a struct never is.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) if object.kind() == Kind::Struct => false,
        other => !other.is_true(),
    }
}
