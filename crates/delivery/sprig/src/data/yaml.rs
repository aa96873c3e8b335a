//! YAML as Helm reads and writes it: through JSON, so numbers become floats and keys text.

use coracle_gotemplate::Value;
use coracle_yaml::{Build, Entries, Kind, Layout, Source};

use super::json;
use crate::{
    args::{is_nil_dict, is_nil_list},
    duration::Duration,
    nesting,
};

pub(super) const UNMARSHALING: &str = "error unmarshaling JSON: while decoding JSON: ";

/// The first document of `text`; nil if it is empty. The error is Go's.
pub fn read(text: &str) -> Result<Value, String> {
    let value =
        coracle_yaml::load(text, &mut Values).map_err(|error| format!("error converting YAML to JSON: {error}"))?;
    Ok(value.unwrap_or_default())
}

/// A value as YAML without the last line break; nothing for what JSON cannot hold.
pub fn write(value: &Value) -> String {
    write_checked(value).unwrap_or_default()
}

/// The same; the error is Go's for what JSON cannot hold.
pub(super) fn write_checked(value: &Value) -> Result<String, String> {
    json::check(value).map_err(|error| format!("error marshaling into JSON: {error}"))?;
    if !is_readable(value) {
        return Err("yaml: control characters are not allowed".to_owned());
    }
    Ok(without_break(coracle_yaml::write(&AsJson, value, Layout::Compact)))
}

/// With lists indented below their keys.
pub(super) fn write_pretty(value: &Value) -> String {
    if nesting::check(value).is_err() {
        return String::new();
    }
    without_break(coracle_yaml::write(&AsIs, value, Layout::Indented))
}

fn without_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Whether Go's library would read the JSON of a value: control characters that JSON leaves as they are it refuses.
fn is_readable(value: &Value) -> bool {
    let is_control = |char| matches!(char, '\u{7F}'..='\u{84}' | '\u{86}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}');
    let is_clean = |text: &str| text.is_ascii() && !text.contains('\u{7F}') || !text.contains(is_control);
    match value {
        Value::String(text) => is_clean(text),
        Value::List(list) => list.iter().all(is_readable),
        Value::Dict(dict) => dict.entries().iter().all(|(key, value)| is_clean(key) && is_readable(value)),
        _ => true,
    }
}

struct Values;

impl Build for Values {
    type Value = Value;

    fn null(&mut self) -> Value {
        Value::Nil
    }

    fn bool(&mut self, value: bool) -> Value {
        value.into()
    }

    fn number(&mut self, value: f64) -> Value {
        value.into()
    }

    fn text(&mut self, text: &str) -> Value {
        text.into()
    }

    fn list(&mut self, items: Vec<Value>) -> Value {
        Value::list(items)
    }

    fn map(&mut self, entries: Vec<(String, Value)>) -> Value {
        Value::dict(entries)
    }

    fn copy(&mut self, value: &Value) -> Value {
        crate::dict::deep_copy(value)
    }

    fn entries_of(&mut self, value: Value) -> Option<Vec<(String, Value)>> {
        let entries = value.as_dict()?.snapshot();
        Some(entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
    }

    fn size(&self, value: &Value) -> usize {
        match value {
            Value::List(list) => 1 + list.iter().map(|item| self.size(item)).sum::<usize>(),
            Value::Dict(dict) => 1 + dict.entries().values().map(|value| self.size(value)).sum::<usize>(),
            _ => 1,
        }
    }
}

/// Values as JSON would hold them.
struct AsJson;

/// Values as they are.
struct AsIs;

impl Source for AsJson {
    type Node = Value;

    fn kind<'a>(&self, node: &'a Value) -> Kind<'a> {
        match node {
            Value::Float(number) => whole_or_float(*number),
            Value::List(list) if is_nil_list(list) => Kind::Null,
            Value::Dict(dict) if is_nil_dict(dict) => Kind::Null,
            Value::Binary(_) | Value::Bytes(_) | Value::Object(_) => match json::plain(node) {
                Value::String(text) => Kind::Text(text.to_string().into()),
                other => collection_or(&other, Kind::Null),
            },
            other => kind(other),
        }
    }

    fn items(&self, node: &Value, see: &mut dyn FnMut(&[Value])) {
        show_items(node, see);
    }

    fn entries(&self, node: &Value, see: &mut dyn FnMut(Entries<'_, Value>)) {
        show_entries(node, see);
    }
}

impl Source for AsIs {
    type Node = Value;

    fn kind<'a>(&self, node: &'a Value) -> Kind<'a> {
        match node {
            Value::Float(number) => Kind::Float(*number),
            Value::Bytes(bytes) => {
                if bytes.is_empty() {
                    Kind::EmptyList
                } else {
                    Kind::List
                }
            }
            Value::Binary(_) => {
                Kind::Text(String::from_utf8_lossy(node.as_bytes().unwrap_or_default()).into_owned().into())
            }
            Value::Object(_) => match node.as_object::<Duration>() {
                Some(duration) => Kind::Text(duration.to_string().into()),
                None => AsJson.kind(node),
            },
            other => kind(other),
        }
    }

    fn items(&self, node: &Value, see: &mut dyn FnMut(&[Value])) {
        match node {
            Value::Bytes(bytes) => see(&bytes.iter().map(|byte| Value::Uint8(*byte)).collect::<Vec<_>>()),
            other => show_items(other, see),
        }
    }

    fn entries(&self, node: &Value, see: &mut dyn FnMut(Entries<'_, Value>)) {
        show_entries(node, see);
    }
}

fn kind(value: &Value) -> Kind<'_> {
    match value {
        Value::Bool(value) => Kind::Bool(*value),
        Value::Int(number) | Value::Int64(number) => Kind::Int(*number),
        Value::Uint8(number) => Kind::UInt(u64::from(*number)),
        Value::Uint64(number) => Kind::UInt(*number),
        Value::String(text) => Kind::Text((&**text).into()),
        other => collection_or(other, Kind::Null),
    }
}

fn collection_or<'a>(value: &Value, otherwise: Kind<'a>) -> Kind<'a> {
    match value {
        Value::Int(number) | Value::Int64(number) => Kind::Int(*number),
        Value::List(list) if list.is_empty() => Kind::EmptyList,
        Value::List(_) => Kind::List,
        Value::Dict(dict) if dict.is_empty() => Kind::EmptyMap,
        Value::Dict(_) => Kind::Map,
        _ => otherwise,
    }
}

/// JSON has one kind of number; what looks whole in it comes back as a whole one.
fn whole_or_float(number: f64) -> Kind<'static> {
    if number.fract() == 0.0 {
        if number >= -(2f64.powi(63)) && number < 2f64.powi(63) {
            return Kind::Int(number as i64);
        }
        if number >= 0.0 && number < 2f64.powi(64) {
            return Kind::UInt(number as u64);
        }
    }
    Kind::Float(number)
}

fn show_items(node: &Value, see: &mut dyn FnMut(&[Value])) {
    match json::plain(node) {
        Value::List(list) => see(&list),
        _ => see(&[]),
    }
}

fn show_entries(node: &Value, see: &mut dyn FnMut(Entries<'_, Value>)) {
    match json::plain(node) {
        Value::Dict(dict) => see(dict.entries().iter().map(|(key, value)| (&**key, value)).collect()),
        _ => see(Vec::new()),
    }
}
