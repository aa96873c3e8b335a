//! Filling in what was left out: a table of constants, a rule where a default hangs on other fields, and a custom resource's own
//! defaults. Built-in objects also come out in the form upstream stores: canonical quantities, no empty lists or maps.

mod rules;

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::kinds::Kind;
use crate::quantity::Quantity;
use crate::types::{Shape, Type};

/// Fills in the defaults of an object of this kind.
pub fn apply(kind: &Kind, object: &mut Value) {
    let root = kind.schema.root();
    if kind.is_builtin() {
        fill(root, object);
        tidy(root, object);
    } else {
        fill_custom(root, object);
        // Metadata is held in a type of upstream's for all kinds.
        if let (Some(of), Some(metadata)) = (root.member("metadata"), object.get_mut("metadata")) {
            tidy(of, metadata);
        }
    }
}

struct Constant {
    field: &'static str,
    value: Value,
    zero_is_missing: bool,
}

/// The constants of one definition, by its name without the common beginning.
fn constants(definition: &str) -> &'static [Constant] {
    static TABLE: OnceLock<HashMap<&'static str, Vec<Constant>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table: HashMap<_, Vec<Constant>> = HashMap::new();
        let lines = include_str!("../../facts/defaults.txt").lines();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&'static str> = line.split(' ').collect();
            let value = serde_json::from_str(words[2]).expect("facts/defaults.txt holds JSON in the third column");
            let zero_is_missing = words.get(3) == Some(&"zero");
            table.entry(words[0]).or_default().push(Constant { field: words[1], value, zero_is_missing });
        }
        table
    });
    table.get(short_name(definition)).map(Vec::as_slice).unwrap_or_default()
}

/// `core.v1.Pod` of `io.k8s.api.core.v1.Pod`.
fn short_name(definition: &str) -> &str {
    definition
        .strip_prefix("io.k8s.api.")
        .or_else(|| definition.strip_prefix("io.k8s.apiextensions-apiserver.pkg.apis."))
        .or_else(|| definition.strip_prefix("io.k8s.kube-aggregator.pkg.apis."))
        .unwrap_or(definition)
}

fn is_missing(value: Option<&Value>, constant: &Constant) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => constant.zero_is_missing && number.as_i64() == Some(0),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

fn fill(of: Type<'_>, value: &mut Value) {
    match (of.shape(), value) {
        (Shape::Object, Value::Object(members)) => {
            if !of.name().is_empty() {
                let name = short_name(of.name());
                rules::before(name, members);
                for constant in constants(of.name()) {
                    if is_missing(members.get(constant.field), constant) {
                        members.insert(constant.field.to_owned(), constant.value.clone());
                    }
                }
                rules::after(name, members);
            }
            for (name, member) in members.iter_mut() {
                if let Some(member_type) = of.member(name) {
                    fill(member_type, member);
                }
            }
        }
        (Shape::List, Value::Array(items)) => {
            if let Some(element) = of.element() {
                items.iter_mut().for_each(|item| fill(element, item));
            }
        }
        _ => {}
    }
}

/// Writes quantities canonically, and drops what upstream's types do not tell from nothing: empty lists and maps, and zeros of
/// fields that are no pointers.
fn tidy(of: Type<'_>, value: &mut Value) {
    match (of.shape(), value) {
        (Shape::Object, Value::Object(members)) => {
            for (name, member) in members.iter_mut() {
                if let Some(member_type) = of.member(name) {
                    tidy(member_type, member);
                }
            }
            members.retain(|name, member| {
                let Some(field) = of.field(name) else { return true };
                let empty = match (field.value().shape(), &*member) {
                    (_, Value::Null) => true,
                    (_, Value::Bool(value)) => field.omits_zero() && !value,
                    (_, Value::Number(number)) => field.omits_zero() && number.as_f64() == Some(0.0),
                    (_, Value::String(text)) => field.omits_zero() && text.is_empty(),
                    (Shape::List, Value::Array(items)) => items.is_empty(),
                    (Shape::Object, Value::Object(members)) => {
                        members.is_empty() && !field.value().has_fields() && field.value().element().is_some()
                    }
                    _ => false,
                };
                !empty || field.is_required()
            });
        }
        (Shape::List, Value::Array(items)) => {
            if let Some(element) = of.element() {
                items.iter_mut().for_each(|item| tidy(element, item));
            }
        }
        (Shape::Quantity, value) => {
            let text = match &*value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return,
            };
            if let Ok(quantity) = Quantity::parse(&text) {
                *value = Value::String(quantity.to_string());
            }
        }
        _ => {}
    }
}

/// A custom resource's defaults stand in its schema. An unwanted null is a missing value, or is dropped where nothing takes its
/// place.
fn fill_custom(of: Type<'_>, value: &mut Value) {
    match (of.shape(), value) {
        (Shape::Object, Value::Object(members)) => {
            for field in of.fields() {
                fill_field(members, field);
            }
            for (name, member) in members.iter_mut() {
                if let Some(member_type) = of.member(name) {
                    fill_custom(member_type, member);
                }
            }
        }
        (Shape::List, Value::Array(items)) => {
            if let Some(element) = of.element() {
                items.iter_mut().for_each(|item| fill_custom(element, item));
            }
        }
        _ => {}
    }
}

fn fill_field(members: &mut Map<String, Value>, field: crate::types::Field<'_>) {
    let Some(default) = field.default_text() else { return };
    let missing = match members.get(field.name()) {
        None => true,
        Some(Value::Null) => !field.value().is_nullable(),
        Some(_) => false,
    };
    if missing {
        let default = serde_json::from_str(default).expect("the default was written from a JSON value");
        members.insert(field.name().to_owned(), default);
    }
}

#[cfg(test)]
mod tests;
