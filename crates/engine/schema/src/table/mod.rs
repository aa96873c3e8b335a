//! Tables, as `kubectl get` asks for them: the columns of each kind and the cells of each object, in upstream's words.

mod age;
mod cells;
mod network;
mod pod;
mod text;
mod workload;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::json_path;
use crate::kinds::{Kind, PrinterColumn};
pub use age::{duration, since};

/// One column. Those with a priority above zero are shown only on wide output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// integer, number, string, boolean or date.
    pub kind: Cow<'static, str>,
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    pub priority: i64,
}

/// The columns of a kind's Table.
pub fn columns(kind: &Kind) -> Vec<Column> {
    let builtin = |text: &'static str| text.split('|').map(builtin_column).collect();
    match (&kind.custom, layout(kind)) {
        (Some(custom), _) if custom.columns.is_empty() => builtin("Name|Age@"),
        (Some(custom), _) => {
            let mut columns = vec![builtin_column("Name")];
            columns.extend(custom.columns.iter().map(custom_column));
            columns
        }
        (None, Some(layout)) => builtin(layout),
        (None, None) => builtin("Name|Created At@"),
    }
}

/// The columns of a built-in kind that has some of its own.
fn layout(kind: &Kind) -> Option<&'static str> {
    static LAYOUTS: OnceLock<HashMap<(&'static str, &'static str), &'static str>> = OnceLock::new();
    let layouts = LAYOUTS.get_or_init(|| {
        let lines = include_str!("../../facts/columns.txt").lines().filter(|line| !line.starts_with('#'));
        let split = |line: &'static str| {
            let (group, rest) = line.split_once(' ')?;
            let (kind, columns) = rest.split_once(' ')?;
            Some(((if group == "-" { "" } else { group }, kind), columns))
        };
        lines.filter_map(split).collect()
    });
    layouts.get(&(&*kind.group, &*kind.kind)).copied()
}

fn builtin_column(text: &'static str) -> Column {
    let (text, priority) = text.strip_suffix('*').map_or((text, 0), |text| (text, 1));
    let (name, kind) = match text.as_bytes().last() {
        Some(b'#') => (&text[..text.len() - 1], "integer"),
        Some(b'?') => (&text[..text.len() - 1], "boolean"),
        Some(b'@') => (&text[..text.len() - 1], "date"),
        _ => (text, "string"),
    };
    let format = if name == "Name" { "name" } else { "" };
    Column { name: name.into(), kind: kind.into(), format: format.into(), description: "".into(), priority }
}

fn custom_column(column: &PrinterColumn) -> Column {
    Column {
        name: column.name.clone().into(),
        kind: column.kind.clone().into(),
        format: column.format.clone().into(),
        description: column.description.clone().into(),
        priority: column.priority,
    }
}

/// The cells of one object's row, one for each column. `now_seconds` is Unix time.
pub fn cells(kind: &Kind, object: &Value, now_seconds: i64) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let created = &object["metadata"]["creationTimestamp"];
    match &kind.custom {
        Some(custom) if custom.columns.is_empty() => vec![name, json!(since(created, now_seconds))],
        Some(custom) => {
            let mut cells = vec![name];
            cells.extend(custom.columns.iter().map(|column| custom_cell(column, object, now_seconds)));
            cells
        }
        None if layout(kind).is_some() => cells::builtin(kind, object, now_seconds),
        None => vec![name, created.clone()],
    }
}

fn custom_cell(column: &PrinterColumn, object: &Value, now_seconds: i64) -> Value {
    let Some(value) = json_path::find(object, &column.json_path).into_iter().next() else { return Value::Null };
    match column.kind.as_str() {
        "integer" => value.as_i64().or_else(|| value.as_f64().map(|n| n as i64)).map_or(Value::Null, Value::from),
        "number" => {
            if value.is_number() {
                value.clone()
            } else {
                Value::Null
            }
        }
        "boolean" => {
            if value.is_boolean() {
                value.clone()
            } else {
                Value::Null
            }
        }
        "date" => match value {
            Value::String(text) if text.parse::<jiff::Timestamp>().is_err() => json!("<invalid>"),
            Value::String(_) => json!(since(value, now_seconds)),
            _ => Value::Null,
        },
        _ => match value {
            Value::String(text) => json!(text),
            Value::Null => json!("<nil>"),
            other => json!(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests;
