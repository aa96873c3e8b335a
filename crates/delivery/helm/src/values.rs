//! Values: how a user's, a chart's and its subcharts' come together.

mod coalesce;
pub mod options;
pub mod set;

use std::rc::Rc;

use coracle_gotemplate::{Dict, List, Value};

pub use coalesce::TypeMismatch;
pub(crate) use coalesce::{coalesce_values, merge_tables, merge_values};

use crate::{Flavour, YamlError};

/// The key whose table every subchart sees.
pub(crate) const GLOBAL: &str = "global";

/// A table of values that nobody else holds.
pub(crate) fn table() -> Rc<Dict> {
    Rc::default()
}

/// Reads a values file: one table. Helm 4 merges all documents of a file, later ones winning; Helm 3 reads the first.
pub fn read(text: &str, flavour: Flavour) -> Result<Rc<Dict>, YamlError> {
    if flavour == Flavour::Helm3 {
        return document(text);
    }
    let mut values = table();
    for text in documents(text) {
        let document =
            document(text).map_err(|error| YamlError::new(format!("cannot unmarshal yaml document: {error}")))?;
        values = merge_maps(&values, &document);
    }
    Ok(values)
}

fn document(text: &str) -> Result<Rc<Dict>, YamlError> {
    match coracle_sprig::yaml::read(text).map_err(YamlError::new)? {
        Value::Dict(document) => Ok(document),
        Value::Nil => Ok(table()),
        other => {
            let kind = json_kind(&other);
            Err(YamlError::new(format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type \
                 map[string]interface {{}}"
            )))
        }
    }
}

/// What Go's JSON decoder calls a value.
pub(crate) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "null",
        Value::Bool(_) => "bool",
        Value::String(_) | Value::Binary(_) | Value::Bytes(_) => "string",
        Value::List(_) => "array",
        Value::Dict(_) => "object",
        _ => "number",
    }
}

/// The documents of a text: separated by lines that are `---` and nothing else.
fn documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") && line[3..].trim_end_matches(char::is_whitespace).is_empty() {
            documents.push(&text[start..offset]);
            start = offset + line.len();
        }
        offset += line.len();
    }
    documents.push(&text[start..]);
    documents.retain(|document| !document.trim().is_empty());
    documents
}

/// `b` over `a`: tables are merged, all else in `b` wins. Neither changes.
pub(crate) fn merge_maps(a: &Dict, b: &Dict) -> Rc<Dict> {
    let out = Rc::new(Dict::from_entries(a.dict_type(), a.snapshot()));
    for (key, value) in b.entries().iter() {
        let merged = match (value, out.get(key)) {
            (Value::Dict(new), Some(Value::Dict(old))) => Value::Dict(merge_maps(&old, new)),
            _ => value.clone(),
        };
        out.set(key.clone(), merged);
    }
    out
}

/// A copy that shares no map with the original.
pub(crate) fn copy(value: &Value) -> Value {
    match value {
        Value::Dict(dict) => Value::Dict(copy_table(dict)),
        Value::List(list) => Value::List(Rc::new(List::new(list.list_type(), list.iter().map(copy).collect()))),
        other => other.clone(),
    }
}

pub(crate) fn copy_table(dict: &Dict) -> Rc<Dict> {
    let entries = dict.entries();
    let copies = entries.iter().map(|(key, value)| (key.clone(), copy(value)));
    Rc::new(Dict::from_entries(dict.dict_type(), copies))
}

/// The table under a path of keys between dots.
pub(crate) fn table_at(values: &Rc<Dict>, path: &str) -> Option<Rc<Dict>> {
    let mut table = values.clone();
    for key in path.split('.') {
        let Some(Value::Dict(next)) = table.get(key) else { return None };
        table = next;
    }
    Some(table)
}

/// The value under a path of keys between dots, if it is there and no table.
pub(crate) fn value_at(values: &Rc<Dict>, path: &str) -> Option<Value> {
    let (table, key) = match path.rsplit_once('.') {
        Some((path, key)) => (table_at(values, path)?, key),
        None => (values.clone(), path),
    };
    table.get(key).filter(|value| !matches!(value, Value::Dict(_)))
}
