//! TOML as Helm writes it (plain values of a table before its tables, keys in order) and reads it.

use coracle_gotemplate::{Dict, Value, number::format_float};

use super::json::plain;
use crate::{args::is_nil_list, date::Time, nesting};

pub(super) fn write(value: &Value) -> Result<String, String> {
    nesting::check(value)?;
    let mut writer = Writer { out: String::new() };
    match &plain_but_times(value) {
        Value::Dict(dict) => writer.table(&[], dict)?,
        Value::Nil => return Err("runtime error: invalid memory address or nil pointer dereference".to_owned()),
        Value::List(list) if is_table_list(list)? => {
            return Err("top-level values must be Go maps or structs".to_owned());
        }
        other => writer.element(other)?,
    }
    Ok(writer.out)
}

/// Times are TOML's own; everything else is as in JSON.
fn plain_but_times(value: &Value) -> Value {
    if value.as_object::<Time>().is_some() { value.clone() } else { plain(value) }
}

/// Whether a list holds nothing but tables; nil may not be in any list.
fn is_table_list(items: &[Value]) -> Result<bool, String> {
    if items.iter().any(Value::is_nil) {
        return Err("toml: cannot encode array with nil element".to_owned());
    }
    Ok(!items.is_empty() && items.iter().all(|item| matches!(plain_but_times(item), Value::Dict(_))))
}

fn is_table(value: &Value) -> Result<bool, String> {
    Ok(match value {
        Value::Dict(_) => true,
        Value::List(list) => is_table_list(list)?,
        _ => false,
    })
}

struct Writer {
    out: String,
}

impl Writer {
    fn table(&mut self, path: &[String], dict: &Dict) -> Result<(), String> {
        let (mut values, mut tables) = (Vec::new(), Vec::new());
        for (key, value) in dict.snapshot() {
            let value = plain_but_times(&value);
            if is_table(&value)? { tables.push((key, value)) } else { values.push((key, value)) }
        }
        for (key, value) in values.into_iter().chain(tables) {
            let below: Vec<String> = path.iter().cloned().chain([key.to_string()]).collect();
            self.entry(&below, &value)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &[String], value: &Value) -> Result<(), String> {
        match value {
            Value::Nil => {}
            Value::List(list) if is_nil_list(list) => {}
            Value::Dict(dict) => {
                if path.len() == 1 {
                    self.gap();
                }
                self.header(path, "[", "]");
                self.table(path, dict)?;
            }
            Value::List(list) if is_table_list(list)? => {
                for item in list.iter() {
                    if let Value::Dict(dict) = plain_but_times(item) {
                        self.gap();
                        self.header(path, "[[", "]]");
                        self.table(path, &dict)?;
                    }
                }
            }
            value => {
                self.indent(path);
                self.out.push_str(&path.last().map(|key| key_text(key)).unwrap_or_default());
                self.out.push_str(" = ");
                self.element(value)?;
                self.out.push('\n');
            }
        }
        Ok(())
    }

    fn header(&mut self, path: &[String], open: &str, close: &str) {
        self.indent(path);
        self.out.push_str(open);
        self.out.push_str(&path.iter().map(|key| key_text(key)).collect::<Vec<_>>().join("."));
        self.out.push_str(close);
        self.out.push('\n');
    }

    fn gap(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, path: &[String]) {
        (1..path.len()).for_each(|_| self.out.push_str("  "));
    }

    fn element(&mut self, value: &Value) -> Result<(), String> {
        if let Some(time) = value.as_object::<Time>() {
            self.out.push_str(&time.rfc3339());
            return Ok(());
        }
        match &plain(value) {
            Value::Bool(value) => self.out.push_str(&value.to_string()),
            Value::Int(number) | Value::Int64(number) => self.out.push_str(&number.to_string()),
            Value::Uint8(number) => self.out.push_str(&number.to_string()),
            Value::Uint64(number) => self.out.push_str(&number.to_string()),
            Value::Float(number) => self.out.push_str(&float(*number)),
            Value::String(text) => self.out.push_str(&quoted(text)),
            Value::List(list) => {
                self.out.push('[');
                for (index, item) in list.iter().enumerate() {
                    self.out.push_str(if index > 0 { ", " } else { "" });
                    self.element(item)?;
                }
                self.out.push(']');
            }
            Value::Dict(dict) => self.inline(dict)?,
            other => return Err(format!("unexpected type: {}", other.type_name())),
        }
        Ok(())
    }

    fn inline(&mut self, dict: &Dict) -> Result<(), String> {
        let (mut values, mut tables) = (Vec::new(), Vec::new());
        for (key, value) in dict.snapshot() {
            let value = plain_but_times(&value);
            if is_table(&value)? { tables.push((key, value)) } else { values.push((key, value)) }
        }
        let (value_count, any_tables) = (values.len(), !tables.is_empty());
        let last = value_count + tables.len();
        self.out.push('{');
        for (index, (key, value)) in values.into_iter().chain(tables).enumerate() {
            if value.is_nil() {
                continue;
            }
            self.out.push_str(&key_text(&key));
            self.out.push_str(" = ");
            self.element(&value)?;
            let is_last_value = index + 1 == value_count && !any_tables;
            if index + 1 < last && !is_last_value {
                self.out.push_str(", ");
            }
        }
        self.out.push('}');
        Ok(())
    }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let text = format_float(number);
    if text.contains(['e', '.']) { text } else { format!("{text}.0") }
}

fn key_text(key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_bare { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x08' => out.push_str("\\b"),
            '\x0C' => out.push_str("\\f"),
            '\0'..='\x1F' | '\x7F' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

pub(super) fn read(text: &str) -> Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("toml: line {line}: {}", error.message())
    })?;
    Ok(from_table(table))
}

fn from_table(table: toml::Table) -> Value {
    Value::dict(table.into_iter().map(|(key, value)| (key, from_toml(value))))
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => Value::Int64(number),
        toml::Value::Float(number) => Value::Float(number),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => from_datetime(time),
        toml::Value::Array(items) => {
            let are_tables = !items.is_empty() && items.iter().all(toml::Value::is_table);
            let items: Vec<Value> = items.into_iter().map(from_toml).collect();
            if are_tables {
                let list_type = coracle_gotemplate::ListType::Named("[]map[string]interface {}");
                Value::List(coracle_gotemplate::List::new(list_type, items).into())
            } else {
                Value::list(items)
            }
        }
        toml::Value::Table(table) => from_table(table),
    }
}

fn from_datetime(time: toml::value::Datetime) -> Value {
    let text = time.to_string();
    let layouts = ["2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02", "15:04:05"];
    let read = layouts.into_iter().find_map(|layout| Time::parse_utc(layout, &text));
    read.map_or_else(|| text.into(), Value::from)
}
