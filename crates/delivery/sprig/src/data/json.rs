//! JSON as Go writes and reads it.

mod read;

use coracle_gotemplate::{Value, number::shortest};

pub use read::read;

use crate::{
    args::{is_nil_dict, is_nil_list},
    encoding::BASE64,
    nesting,
};

/// Whether `<`, `>` and `&` are escaped, as in text for web pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Html {
    Escaped,
    Plain,
}

/// One line; the error is Go's for what JSON cannot hold.
pub fn write(value: &Value, html: Html) -> Result<String, String> {
    nesting::check(value)?;
    let mut writer = Writer { out: String::new(), html, indent: None };
    writer.value(value, 0)?;
    Ok(writer.out)
}

/// One line an item, indented by two blanks.
pub(super) fn write_pretty(value: &Value) -> Result<String, String> {
    nesting::check(value)?;
    let mut writer = Writer { out: String::new(), html: Html::Escaped, indent: Some("  ") };
    writer.value(value, 0)?;
    Ok(writer.out)
}

/// Whether JSON can hold a value.
pub(super) fn check(value: &Value) -> Result<(), String> {
    nesting::check_each(value, |value| match value {
        Value::Float(number) if !number.is_finite() => Err(unsupported(*number)),
        _ => Ok(()),
    })
}

fn unsupported(number: f64) -> String {
    format!("json: unsupported value: {}", coracle_gotemplate::number::special(number).unwrap_or_default())
}

/// A value in terms of JSON's own types: bytes as base 64, times and versions as text, structs as maps.
pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::Bytes(bytes) => BASE64.encode(bytes).into(),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        Value::Object(object) => object.json().unwrap_or_default(),
        other => other.clone(),
    }
}

struct Writer {
    out: String,
    html: Html,
    indent: Option<&'static str>,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(number) | Value::Int64(number) => self.out.push_str(&number.to_string()),
            Value::Uint8(number) => self.out.push_str(&number.to_string()),
            Value::Uint64(number) => self.out.push_str(&number.to_string()),
            Value::Float(number) if !number.is_finite() => return Err(unsupported(*number)),
            Value::Float(number) => push_float(&mut self.out, *number),
            Value::String(text) => self.text(text),
            Value::List(list) if is_nil_list(list) => self.out.push_str("null"),
            Value::Dict(dict) if is_nil_dict(dict) => self.out.push_str("null"),
            Value::List(list) => self.items(list, depth)?,
            Value::Dict(dict) => {
                let entries = dict.entries();
                let fields = entries.iter().map(|(key, value)| (&**key, value));
                self.fields(fields, depth)?;
            }
            Value::Binary(_) | Value::Bytes(_) | Value::Object(_) => self.value(&plain(value), depth)?,
        }
        Ok(())
    }

    fn items(&mut self, items: &[Value], depth: usize) -> Result<(), String> {
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            self.next_item(index, depth + 1);
            self.value(item, depth + 1)?;
        }
        self.end(items.is_empty(), depth);
        self.out.push(']');
        Ok(())
    }

    fn fields<'a>(&mut self, fields: impl Iterator<Item = (&'a str, &'a Value)>, depth: usize) -> Result<(), String> {
        self.out.push('{');
        let mut is_empty = true;
        for (index, (key, value)) in fields.enumerate() {
            is_empty = false;
            self.next_item(index, depth + 1);
            self.text(key);
            self.out.push_str(if self.indent.is_some() { ": " } else { ":" });
            self.value(value, depth + 1)?;
        }
        self.end(is_empty, depth);
        self.out.push('}');
        Ok(())
    }

    fn next_item(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push(',');
        }
        self.line(depth);
    }

    fn end(&mut self, is_empty: bool, depth: usize) {
        if !is_empty {
            self.line(depth);
        }
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            (0..depth).for_each(|_| self.out.push_str(indent));
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        let mut from = 0;
        for (at, char) in text.char_indices() {
            let Some(escape) = self.escape(char) else { continue };
            self.out.push_str(&text[from..at]);
            self.out.push_str(&escape);
            from = at + char.len_utf8();
        }
        self.out.push_str(&text[from..]);
        self.out.push('"');
    }

    fn escape(&self, char: char) -> Option<String> {
        let fixed = match char {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\x08' => "\\b",
            '\x0C' => "\\f",
            '<' | '>' | '&' if self.html == Html::Plain => return None,
            '\0'..='\x1F' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                return Some(format!("\\u{:04x}", u32::from(char)));
            }
            _ => return None,
        };
        Some(fixed.to_owned())
    }
}

/// A float as JavaScript writes it: an exponent only below 10⁻⁶ and from 10²¹ on, without a leading zero.
fn push_float(out: &mut String, number: f64) {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let (negative, digits, exponent) = shortest(number);
        if negative {
            out.push('-');
        }
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        // Two digits at least above zero; below, a single digit stays single.
        let width = if exponent < 0 { 1 } else { 2 };
        out.push_str(&format!("e{sign}{:0width$}", exponent.unsigned_abs()));
    } else {
        out.push_str(&format!("{number}"));
    }
}
