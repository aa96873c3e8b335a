//! Functions on text.

use base64::{Engine, prelude::BASE64_STANDARD};
use coracle_gotemplate::{Call, Function, FunctionError, Type, Value};

use super::numbers::int;
use crate::{go, regexp};

const S: Type = Type::String;
const I: Type = Type::Int;

/// Nothing makes text larger than this.
const MAX_TEXT_BYTES: usize = 4 << 20;

pub(super) const TABLE: &[Function] = &[
    Function::new("ToLower", &[S], LOWER),
    Function::new("lower", &[S], LOWER),
    Function::new("ToUpper", &[S], UPPER),
    Function::new("upper", &[S], UPPER),
    Function::new("title", &[S], |_, a| Ok(title(&text(&a[0])).into())),
    Function::new("Replace", &[S, S, S, I], |_, a| {
        let (whole, old, new) = (text(&a[0]), text(&a[1]), text(&a[2]));
        let count = usize::try_from(int(&a[3])).unwrap_or(usize::MAX);
        bounded(whole.replacen(&*old, &new, count))
    }),
    Function::new("replace", &[S, S, S], |_, a| bounded(text(&a[2]).replace(&*text(&a[0]), &text(&a[1])))),
    Function::new("Trim", &[S, S], |_, a| Ok(trimmed(&text(&a[0]), &text(&a[1]), true, true))),
    Function::new("TrimLeft", &[S, S], |_, a| Ok(trimmed(&text(&a[0]), &text(&a[1]), true, false))),
    Function::new("TrimRight", &[S, S], |_, a| Ok(trimmed(&text(&a[0]), &text(&a[1]), false, true))),
    Function::new("TrimPrefix", &[S, S], |_, a| Ok(without_prefix(&text(&a[1]), &text(&a[0])))),
    Function::new("TrimSuffix", &[S, S], |_, a| Ok(without_suffix(&text(&a[1]), &text(&a[0])))),
    Function::new("TrimSpace", &[S], TRIM_SPACE),
    Function::new("trim", &[S], TRIM_SPACE),
    Function::new("trimAll", &[S, S], |_, a| Ok(trimmed(&text(&a[1]), &text(&a[0]), true, true))),
    Function::new("trimPrefix", &[S, S], |_, a| Ok(without_prefix(&text(&a[0]), &text(&a[1])))),
    Function::new("trimSuffix", &[S, S], |_, a| Ok(without_suffix(&text(&a[0]), &text(&a[1])))),
    Function::new("trunc", &[I, S], |_, a| Ok(truncated(int(&a[0]), &text(&a[1])).into())),
    Function::new("substr", &[I, I, S], |_, a| Ok(substring(int(&a[0]), int(&a[1]), &text(&a[2])).into())),
    Function::new("contains", &[S, S], |_, a| Ok(text(&a[1]).contains(&*text(&a[0])).into())),
    Function::new("hasPrefix", &[S, S], |_, a| Ok(text(&a[1]).starts_with(&*text(&a[0])).into())),
    Function::new("hasSuffix", &[S, S], |_, a| Ok(text(&a[1]).ends_with(&*text(&a[0])).into())),
    Function::new("indent", &[I, S], |_, a| bounded(indented(int(&a[0]), &text(&a[1])))),
    Function::new("nindent", &[I, S], |_, a| bounded(format!("\n{}", indented(int(&a[0]), &text(&a[1]))))),
    Function::new("repeat", &[I, S], |_, a| {
        let (count, unit) = (usize::try_from(int(&a[0])).unwrap_or(0), text(&a[1]));
        if count.saturating_mul(unit.len()) > MAX_TEXT_BYTES {
            return Err(FunctionError::new("the text would be too large"));
        }
        Ok(unit.repeat(count).into())
    }),
    Function::new("alignLeft", &[I, S], |_, a| Ok(aligned(int(&a[0]), &text(&a[1]), false)?.into())),
    Function::new("alignRight", &[I, S], |_, a| Ok(aligned(int(&a[0]), &text(&a[1]), true)?.into())),
    Function::new("regexReplaceAll", &[S, S, S], |_, a| {
        let regex = regexp::compile(&text(&a[0])).map_err(|error| error.to_string())?;
        bounded(regex.replace_all(&text(&a[1]), &*text(&a[2])).into_owned())
    }),
    Function::new("regexReplaceAllLiteral", &[S, S, S], |_, a| {
        let regex = regexp::compile(&text(&a[0])).map_err(|error| error.to_string())?;
        bounded(regex.replace_all(&text(&a[1]), regex::NoExpand(&text(&a[2]))).into_owned())
    }),
    Function::new("count", &[S, S], |_, a| {
        let regex = regexp::compile(&text(&a[0])).map_err(|error| error.to_string())?;
        Ok(Value::Int(regex.find_iter(&text(&a[1])).count() as i64))
    }),
    Function::new("b64enc", &[S], |_, a| Ok(BASE64_STANDARD.encode(&*text(&a[0])).into())),
    Function::new("b64dec", &[S], |_, a| match BASE64_STANDARD.decode(&*text(&a[0])) {
        Ok(bytes) => Ok(Value::string_from_bytes(bytes)),
        Err(_) => Ok("illegal base64 data".into()),
    }),
    Function::new("urlencode", &[S], |_, a| Ok(url_encoded(&text(&a[0])).into())),
    Function::new("urldecode", &[S], |_, a| url_decoded(&text(&a[0]))),
    Function::variadic("default", &[Type::Any], Type::Any, |_, a| {
        let given = a.get(1).filter(|given| given.is_true());
        Ok(given.unwrap_or(&a[0]).clone())
    }),
    Function::new("fromJson", &[S], |_, a| {
        Ok(serde_json::from_str(&text(&a[0])).map_or(Value::Nil, |json: serde_json::Value| from_json(&json)))
    }),
];

const LOWER: Call = |_, a| Ok(text(&a[0]).to_lowercase().into());
const UPPER: Call = |_, a| Ok(text(&a[0]).to_uppercase().into());
const TRIM_SPACE: Call = |_, a| Ok(text(&a[0]).trim().into());

/// The text of an argument; what is no text is mended.
pub(super) fn text(value: &Value) -> std::borrow::Cow<'_, str> {
    value.as_bytes().map_or_else(Default::default, String::from_utf8_lossy)
}

fn bounded(text: String) -> Result<Value, FunctionError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(FunctionError::new("the text would be too large"));
    }
    Ok(text.into())
}

fn title(text: &str) -> String {
    let mut before = ' ';
    let upper = |c: char| {
        let starts = !(before.is_alphanumeric() || before == '_' || before == '\'');
        before = c;
        if starts { c.to_uppercase().next().unwrap_or(c) } else { c }
    };
    text.chars().map(upper).collect()
}

fn trimmed(text: &str, characters: &str, start: bool, end: bool) -> Value {
    let cut = |c: char| characters.contains(c);
    let text = if start { text.trim_start_matches(cut) } else { text };
    let text = if end { text.trim_end_matches(cut) } else { text };
    text.into()
}

fn without_prefix(prefix: &str, text: &str) -> Value {
    text.strip_prefix(prefix).unwrap_or(text).into()
}

fn without_suffix(suffix: &str, text: &str) -> Value {
    text.strip_suffix(suffix).unwrap_or(text).into()
}

/// The byte where a character starts, or the end.
fn place(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

/// Sprig counts bytes here; a character that would be cut is left out.
fn truncated(count: i64, text: &str) -> &str {
    let len = text.len() as i64;
    if count < 0 && len + count > 0 {
        let start = text.ceil_char_boundary((len + count) as usize);
        return &text[start..];
    }
    if count >= 0 && len > count {
        return &text[..text.floor_char_boundary(count as usize)];
    }
    text
}

fn substring(start: i64, end: i64, text: &str) -> &str {
    let byte = |at: i64| text.floor_char_boundary(usize::try_from(at).unwrap_or(0).min(text.len()));
    match (start < 0, end < 0 || end > text.len() as i64) {
        (true, true) => text,
        (true, false) => &text[..byte(end)],
        (false, true) => &text[byte(start)..],
        (false, false) => text.get(byte(start)..byte(end)).unwrap_or_default(),
    }
}

fn indented(spaces: i64, text: &str) -> String {
    let pad = " ".repeat(usize::try_from(spaces).unwrap_or(0).min(MAX_TEXT_BYTES));
    if pad.len().saturating_mul(text.matches('\n').count() + 1) > MAX_TEXT_BYTES {
        return text.to_owned();
    }
    format!("{pad}{}", text.replace('\n', &format!("\n{pad}")))
}

fn aligned(width: i64, text: &str, right: bool) -> Result<String, FunctionError> {
    let Ok(width) = usize::try_from(width) else { return Ok(text.to_owned()) };
    let len = text.chars().count();
    if width > MAX_TEXT_BYTES {
        return Err(FunctionError::new("the text would be too large"));
    }
    let pad = " ".repeat(width.saturating_sub(len));
    Ok(match (len > width, right) {
        (true, true) => text[place(text, len - width)..].to_owned(),
        (true, false) => text[..place(text, width)].to_owned(),
        (false, true) => pad + text,
        (false, false) => text.to_owned() + &pad,
    })
}

fn url_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn url_decoded(text: &str) -> Result<Value, FunctionError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['%', '+']) {
        decoded.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at..];
        if let Some(after) = escape.strip_prefix('+') {
            decoded.push(b' ');
            rest = after;
            continue;
        }
        let wrong = || {
            let shown = &escape[..escape.floor_char_boundary(escape.len().min(3))];
            FunctionError::new(format!("invalid URL escape {}", go::quote(shown)))
        };
        let hex = escape.get(1..3).ok_or_else(wrong)?;
        decoded.push(u8::from_str_radix(hex, 16).map_err(|_| wrong())?);
        rest = &escape[3..];
    }
    decoded.extend_from_slice(rest.as_bytes());
    Ok(Value::string_from_bytes(decoded))
}

fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(items) => Value::list(items.iter().map(from_json).collect()),
        serde_json::Value::Object(members) => {
            Value::dict(members.iter().map(|(name, value)| (name.as_str(), from_json(value))))
        }
    }
}
