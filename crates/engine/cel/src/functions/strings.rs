//! Texts. Places are counted in characters.

use super::{Implementation, lists};
use crate::value::{EvalError, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// Far more than any object holds.
const LONGEST_TEXT_BYTES: usize = 32 << 20;

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "contains" => |args| texts(args, |a, b| a.contains(b)),
        "startsWith" => |args| texts(args, |a, b| a.starts_with(b)),
        "endsWith" => |args| texts(args, |a, b| a.ends_with(b)),
        "charAt" => char_at,
        "indexOf" => |args| index_of(args, false),
        "lastIndexOf" => |args| index_of(args, true),
        "lowerAscii" => |args| map(args, |text| text.to_ascii_lowercase()),
        "upperAscii" => |args| map(args, |text| text.to_ascii_uppercase()),
        "trim" => |args| map(args, |text| text.trim().to_owned()),
        "replace" => replace,
        "split" => split,
        "substring" => substring,
        "join" => join,
        "strings.quote" => |args| map(args, quote),
        "jsonpatch.escapeKey" => |args| map(args, |text| text.replace('~', "~0").replace('/', "~1")),
        _ => return None,
    })
}

fn texts<'a>(args: &[Value<'a>], holds: fn(&str, &str) -> bool) -> Outcome<'a> {
    match args {
        [Value::String(a), Value::String(b)] => Ok(Value::Bool(holds(a, b))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn map<'a>(args: &[Value<'a>], change: fn(&str) -> String) -> Outcome<'a> {
    match args {
        [Value::String(text)] => Ok(Value::text(change(text))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn out_of_range(at: i64) -> EvalError {
    EvalError::new(format!("index out of range: {at}"))
}

/// The byte offset of a character; the end is a place too.
fn offset(text: &str, at: i64) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    if text.is_ascii() {
        return (at <= text.len()).then_some(at);
    }
    text.char_indices().map(|(offset, _)| offset).chain([text.len()]).nth(at)
}

fn char_at<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::Int(at)] = args else { return Err(EvalError::no_such_overload()) };
    let start = offset(text, *at).ok_or_else(|| out_of_range(*at))?;
    Ok(Value::text(text[start..].chars().take(1).collect::<String>()))
}

fn index_of<'a>(args: &[Value<'a>], from_end: bool) -> Outcome<'a> {
    let (text, wanted, at) = match args {
        [Value::List(_), _] => return lists::index_of(args, from_end),
        [Value::String(text), Value::String(wanted)] => (text, wanted, None),
        [Value::String(text), Value::String(wanted), Value::Int(at)] => (text, wanted, Some(*at)),
        _ => return Err(EvalError::no_such_overload()),
    };
    let length = text.chars().count() as i64;
    let count = |found: Option<usize>| found.map_or(-1, |found| text[..found].chars().count() as i64);
    let found = match at {
        Some(at) if at < 0 || at > length => return Err(out_of_range(at)),
        _ if wanted.is_empty() => return Ok(Value::Int(at.unwrap_or(if from_end { length } else { 0 }))),
        None if from_end => count(text.rfind(&**wanted)),
        None => count(text.find(&**wanted)),
        Some(at) if from_end => {
            // It may begin at the place itself.
            let last = offset(text, (at + wanted.chars().count() as i64).min(length)).unwrap_or(text.len());
            count(text[..last].rfind(&**wanted))
        }
        Some(at) => {
            let start = offset(text, at).unwrap_or(text.len());
            count(text[start..].find(&**wanted).map(|found| found + start))
        }
    };
    Ok(Value::Int(found))
}

fn replace<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, old, new, most) = match args {
        [Value::String(text), Value::String(old), Value::String(new)] => (text, old, new, -1),
        [Value::String(text), Value::String(old), Value::String(new), Value::Int(most)] => (text, old, new, *most),
        _ => return Err(EvalError::no_such_overload()),
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    // What comes out is not what the call costs: a long text in place of each letter is soon more than there is memory.
    let found = text.matches(&**old).take(most).count();
    check_length(text.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(Value::text(text.replacen(&**old, new, most)))
}

fn check_length(bytes: usize) -> Result<(), EvalError> {
    if bytes > LONGEST_TEXT_BYTES { Err(EvalError::new("the size of the text exceeds the limit")) } else { Ok(()) }
}

fn split<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, separator, most) = match args {
        [Value::String(text), Value::String(separator)] => (text, separator, -1),
        [Value::String(text), Value::String(separator), Value::Int(most)] => (text, separator, *most),
        _ => return Err(EvalError::no_such_overload()),
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let parts: Vec<&str> = if most == 0 {
        Vec::new()
    } else if separator.is_empty() {
        let mut parts = Vec::new();
        let mut rest: &str = text;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 == most {
                parts.push(rest);
                break;
            }
            parts.push(&rest[..c.len_utf8()]);
            rest = &rest[c.len_utf8()..];
        }
        parts
    } else {
        text.splitn(most, &**separator).collect()
    };
    Ok(Value::list(parts.into_iter().map(Value::text).collect()))
}

fn substring<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, start, end) = match args {
        [Value::String(text), Value::Int(start)] => (text, *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return Err(EvalError::no_such_overload()),
    };
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = offset(text, start).ok_or_else(|| out_of_range(start))?;
    let to = match end {
        Some(end) => offset(text, end).ok_or_else(|| out_of_range(end))?,
        None => text.len(),
    };
    Ok(Value::text(&text[from..to]))
}

fn join<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (list, separator) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, &**separator),
        _ => return Err(EvalError::no_such_overload()),
    };
    let mut out = String::new();
    for (index, item) in list.iter().enumerate() {
        let Value::String(text) = &item else { return Err(EvalError::no_such_overload()) };
        if index > 0 {
            out += separator;
        }
        out += text;
        check_length(out.len())?;
    }
    Ok(Value::text(out))
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\x07' => out += "\\a",
            '\x08' => out += "\\b",
            '\x0c' => out += "\\f",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            '\x0b' => out += "\\v",
            '\\' => out += "\\\\",
            '"' => out += "\\\"",
            other => out.push(other),
        }
    }
    out + "\""
}
