//! `fieldPath`: names and map keys below the place of the rule.

use serde_json::Value as Json;

/// The path in the form messages use, or what is wrong with it.
pub fn normalize(path: &str, schema: &Json) -> Result<String, String> {
    let mut out = String::new();
    let mut schema = schema;
    let mut rest = path.trim();
    while !rest.is_empty() {
        let name;
        if let Some(tail) = rest.strip_prefix("['") {
            let end = closing(tail).ok_or("unexpected end of JSON path")?;
            name = unescape(&tail[..end])?;
            rest = tail[end + 1..].strip_prefix(']').ok_or("expected ]")?;
        } else if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[', ']']).unwrap_or(tail.len());
            if end == 0 {
                return Err("unexpected end of JSON path".to_owned());
            }
            name = tail[..end].to_owned();
            rest = &tail[end..];
        } else {
            return Err(format!("expected [ or . but got: {rest}"));
        }
        if schema["properties"].is_object() {
            schema = schema["properties"].get(&name).ok_or("does not refer to a valid field")?;
            out += &format!(".{name}");
        } else if schema["additionalProperties"].is_object() {
            schema = &schema["additionalProperties"];
            out += &format!("[{name}]");
        } else {
            return Err("does not refer to a valid field".to_owned());
        }
    }
    Ok(out)
}

fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).find(|at| bytes[*at] == b'\'' && (*at == 0 || bytes[at - 1] != b'\\'))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\x0b',
            Some(same @ ('\'' | '\\')) => same,
            other => return Err(format!("invalid string literal: invalid escape char \\{}", other.unwrap_or(' '))),
        });
    }
    Ok(out)
}
