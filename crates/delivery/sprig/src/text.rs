//! Text: cutting, padding, quoting, wrapping. Go strings are bytes, so whatever cuts works on bytes.

use std::borrow::Cow;

use coracle_gotemplate::{Call, DictType, Function, Type, Value};

use crate::args::{Result, bytes, fail, int, out_of_range, strings_of, text, to_text};

const S: Type = Type::String;
const I: Type = Type::Int;

pub(crate) const TABLE: &[Function] = &[
    Function::new("hello", &[], |_, _| Ok("Hello!".into())),
    Function::new("abbrev", &[I, S], |_, a| Ok(abbrev(0, int(&a[0]), &a[1]))),
    Function::new("abbrevboth", &[I, I, S], |_, a| Ok(abbrev_both(int(&a[0]), int(&a[1]), &a[2]))),
    Function::new("trunc", &[I, S], |_, a| Ok(trunc(int(&a[0]), &a[1]))),
    Function::new("substr", &[I, I, S], |_, a| substr(int(&a[0]), int(&a[1]), &a[2])),
    Function::new("trim", &[S], |_, a| Ok(map_text(&a[0], str::trim))),
    Function::new("trimall", &[S, S], TRIM_ALL),
    Function::new("trimAll", &[S, S], TRIM_ALL),
    Function::new("trimSuffix", &[S, S], |_, a| Ok(trim_end_once(&a[1], bytes(&a[0])))),
    Function::new("trimPrefix", &[S, S], |_, a| Ok(trim_start_once(&a[1], bytes(&a[0])))),
    Function::new("repeat", &[I, S], |_, a| repeat(int(&a[0]), bytes(&a[1]))),
    Function::new("contains", &[S, S], |_, a| Ok(find(bytes(&a[1]), bytes(&a[0])).is_some().into())),
    Function::new("hasPrefix", &[S, S], |_, a| Ok(bytes(&a[1]).starts_with(bytes(&a[0])).into())),
    Function::new("hasSuffix", &[S, S], |_, a| Ok(bytes(&a[1]).ends_with(bytes(&a[0])).into())),
    Function::new("replace", &[S, S, S], |_, a| Ok(replace(&a[2], bytes(&a[0]), bytes(&a[1])))),
    Function::variadic("quote", &[], Type::Any, |_, a| Ok(quote(a))),
    Function::variadic("squote", &[], Type::Any, |_, a| Ok(single_quote(a))),
    Function::variadic("cat", &[], Type::Any, |_, a| Ok(join_shown(a, " ", |value| value.to_string()))),
    Function::new("indent", &[I, S], |_, a| indent(int(&a[0]), &a[1], "")),
    Function::new("nindent", &[I, S], |_, a| indent(int(&a[0]), &a[1], "\n")),
    Function::new("plural", &[S, S, I], |_, a| Ok(if int(&a[2]) == 1 { a[0].clone() } else { a[1].clone() })),
    Function::new("toString", &[Type::Any], |_, a| Ok(to_text(&a[0]))),
    Function::new("toStrings", &[Type::Any], |_, a| Ok(Value::strings(strings_of(&a[0])))),
    Function::new("join", &[S, Type::Any], |_, a| Ok(strings_of(&a[1]).join(&*text(&a[0])).into())),
    Function::new("split", &[S, S], |_, a| Ok(numbered(split(bytes(&a[0]), bytes(&a[1]), None)))),
    Function::new("splitn", &[S, I, S], |_, a| {
        let limit = usize::try_from(int(&a[1])).ok();
        Ok(numbered(split(bytes(&a[0]), bytes(&a[2]), limit)))
    }),
    Function::new("splitList", &[S, S], |_, a| {
        let parts = split(bytes(&a[0]), bytes(&a[1]), None);
        Ok(Value::List(coracle_gotemplate::List::new(coracle_gotemplate::ListType::String, parts).into()))
    }),
    Function::new("wrap", &[I, S], |_, a| Ok(wrap(bytes(&a[1]), int(&a[0]), b"\n", false))),
    Function::new("wrapWith", &[I, S, S], |_, a| {
        let between = if bytes(&a[1]).is_empty() { b"\n" } else { bytes(&a[1]) };
        Ok(wrap(bytes(&a[2]), int(&a[0]), between, true))
    }),
];

const TRIM_ALL: Call = |_, a| {
    let cut: Vec<char> = text(&a[0]).chars().collect();
    Ok(map_text(&a[1], |text| text.trim_matches(&cut[..])))
};

/// Applies what only takes parts of a text away, without a copy when it takes nothing.
fn map_text(value: &Value, part: impl Fn(&str) -> &str) -> Value {
    let whole = text(value);
    let kept = part(&whole);
    if kept.len() == whole.len() { value.clone() } else { kept.into() }
}

fn part(bytes: &[u8]) -> Value {
    Value::string_from_bytes(bytes.to_vec())
}

fn abbrev(left: i64, width: i64, value: &Value) -> Value {
    if width < 4 {
        return value.clone();
    }
    abbreviated(bytes(value), left, width).map_or_else(|| value.clone(), Value::string_from_bytes)
}

fn abbrev_both(left: i64, right: i64, value: &Value) -> Value {
    if right < 4 || (left > 0 && right < 7) {
        return value.clone();
    }
    abbreviated(bytes(value), left, right).map_or_else(|| value.clone(), Value::string_from_bytes)
}

/// At most `width` bytes of `text` with dots where something is left out, or nothing if all of it fits. `offset` is a
/// byte that has to be seen.
fn abbreviated(text: &[u8], offset: i64, width: i64) -> Option<Vec<u8>> {
    let length = i64::try_from(text.len()).ok()?;
    if length <= width {
        return None;
    }
    let mut offset = offset.min(length);
    if length - offset < width - 3 {
        offset = length - (width - 3);
    }
    let at = |index: i64| usize::try_from(index.max(0)).unwrap_or(0);
    if offset <= 4 {
        return Some([&text[..at(width - 3)], b"..."].concat());
    }
    if width < 7 {
        return Some(Vec::new());
    }
    if offset + width - 3 < length {
        let rest = &text[at(offset)..];
        let shorter = abbreviated(rest, 0, width - 3).unwrap_or_else(|| rest.to_vec());
        return Some([b"...", &shorter[..]].concat());
    }
    Some([b"...", &text[at(length - (width - 3))..]].concat())
}

fn trunc(count: i64, value: &Value) -> Value {
    let whole = bytes(value);
    let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    if count < 0 && length + count > 0 {
        return part(&whole[whole.len() - usize::try_from(-count).unwrap_or(0)..]);
    }
    match usize::try_from(count) {
        Ok(count) if whole.len() > count => part(&whole[..count]),
        _ => value.clone(),
    }
}

fn substr(start: i64, end: i64, value: &Value) -> Result {
    let whole = bytes(value);
    let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let (from, to) = match (start, end) {
        (start, end) if start < 0 => (0, end),
        (start, end) if end < 0 || end > length => (start, length),
        both => both,
    };
    if to < 0 {
        return fail(format!("runtime error: slice bounds out of range [:{to}]"));
    }
    if to > length {
        return fail(format!("runtime error: slice bounds out of range [:{to}] with length {length}"));
    }
    if from > to {
        return Err(out_of_range(from, to));
    }
    let at = |index: i64| usize::try_from(index).unwrap_or(0);
    Ok(part(&whole[at(from)..at(to)]))
}

fn trim_end_once(value: &Value, suffix: &[u8]) -> Value {
    match bytes(value).strip_suffix(suffix) {
        Some(rest) if !suffix.is_empty() => part(rest),
        _ => value.clone(),
    }
}

fn trim_start_once(value: &Value, prefix: &[u8]) -> Value {
    match bytes(value).strip_prefix(prefix) {
        Some(rest) if !prefix.is_empty() => part(rest),
        _ => value.clone(),
    }
}

fn repeat(count: i64, text: &[u8]) -> Result {
    let Ok(count) = usize::try_from(count) else { return fail("strings: negative Repeat count") };
    if text.len().saturating_mul(count) > crate::LARGEST_TEXT_BYTES {
        return fail(format!("repeat: the text would be larger than {} bytes", crate::LARGEST_TEXT_BYTES));
    }
    Ok(Value::string_from_bytes(text.repeat(count)))
}

pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

fn replace(value: &Value, old: &[u8], new: &[u8]) -> Value {
    let whole = bytes(value);
    if old.is_empty() {
        let pieces = explode(whole);
        let mut out = new.to_vec();
        for piece in pieces {
            out.extend_from_slice(piece);
            out.extend_from_slice(new);
        }
        return Value::string_from_bytes(out);
    }
    let mut found = memchr::memmem::find_iter(whole, old).peekable();
    if found.peek().is_none() {
        return value.clone();
    }
    let mut out = Vec::with_capacity(whole.len());
    let mut from = 0;
    for at in found {
        out.extend_from_slice(&whole[from..at]);
        out.extend_from_slice(new);
        from = at + old.len();
    }
    out.extend_from_slice(&whole[from..]);
    Value::string_from_bytes(out)
}

/// The characters of a text, each as its bytes; a byte that begins none is one of its own.
fn explode(text: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        parts.extend(valid.char_indices().map(|(at, char)| &valid.as_bytes()[at..at + char.len_utf8()]));
        parts.extend(chunk.invalid().chunks(1));
    }
    parts
}

/// Go's `strings.SplitN`: at most `limit` parts, all of them without a limit.
fn split(separator: &[u8], whole: &[u8], limit: Option<usize>) -> Vec<Value> {
    let limit = limit.unwrap_or(usize::MAX);
    if limit == 0 {
        return Vec::new();
    }
    if separator.is_empty() {
        let chars = explode(whole);
        if chars.len() <= limit {
            return chars.into_iter().map(part).collect();
        }
        let rest: usize = chars[..limit - 1].iter().map(|char| char.len()).sum();
        return chars[..limit - 1].iter().copied().chain([&whole[rest..]]).map(part).collect();
    }
    let mut parts = Vec::new();
    let mut from = 0;
    for at in memchr::memmem::find_iter(whole, separator) {
        if parts.len() + 1 == limit {
            break;
        }
        parts.push(part(&whole[from..at]));
        from = at + separator.len();
    }
    parts.push(part(&whole[from..]));
    parts
}

/// `_0`, `_1`, …: a list as a map, which older templates index by name.
fn numbered(parts: Vec<Value>) -> Value {
    let entries = parts.into_iter().enumerate().map(|(index, part)| (format!("_{index}"), part));
    Value::Dict(coracle_gotemplate::Dict::from_entries(DictType::String, entries).into())
}

/// The values that are not nil, each shown by `show`.
fn join_shown(values: &[Value], between: &str, show: impl Fn(&Value) -> String) -> Value {
    let shown: Vec<String> = values.iter().filter(|value| !value.is_nil()).map(show).collect();
    shown.join(between).into()
}

fn quote(values: &[Value]) -> Value {
    join_shown(values, " ", |value| match value {
        Value::String(text) => coracle_gotemplate::quote(text.as_bytes()),
        other => coracle_gotemplate::quote(bytes(&to_text(other))),
    })
}

fn single_quote(values: &[Value]) -> Value {
    join_shown(values, " ", |value| format!("'{value}'"))
}

fn indent(spaces: i64, value: &Value, before: &str) -> Result {
    let Ok(spaces) = usize::try_from(spaces) else { return fail("strings: negative Repeat count") };
    let text = bytes(value);
    let lines = memchr::memchr_iter(b'\n', text).count() + 1;
    let length = lines.saturating_mul(spaces).saturating_add(text.len());
    if length > crate::LARGEST_TEXT_BYTES {
        return fail(format!("indent: the text would be larger than {} bytes", crate::LARGEST_TEXT_BYTES));
    }
    let mut out = Vec::with_capacity(length + before.len());
    out.extend_from_slice(before.as_bytes());
    let pad = |out: &mut Vec<u8>| out.resize(out.len() + spaces, b' ');
    pad(&mut out);
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', text) {
        out.extend_from_slice(&text[from..=at]);
        pad(&mut out);
        from = at + 1;
    }
    out.extend_from_slice(&text[from..]);
    Ok(Value::string_from_bytes(out))
}

/// Breaks a text at spaces so that lines have at most `width` bytes; a longer word is broken too, or stands alone.
fn wrap(text: &[u8], width: i64, between: &[u8], break_words: bool) -> Value {
    let width = usize::try_from(width).unwrap_or(1).max(1);
    let mut out = Vec::with_capacity(text.len());
    let mut offset = 0;
    while text.len() - offset > width {
        if text[offset] == b' ' {
            offset += 1;
            continue;
        }
        let line = &text[offset..=offset + width];
        let (end, skip) = match memchr::memrchr(b' ', line) {
            Some(space) => (offset + space, 1),
            None if break_words => (offset + width, 0),
            None => match memchr::memchr(b' ', &text[offset + width..]) {
                Some(space) => (offset + width + space, 1),
                None => break,
            },
        };
        out.extend_from_slice(&text[offset..end]);
        out.extend_from_slice(between);
        offset = end + skip;
    }
    out.extend_from_slice(&text[offset..]);
    Value::string_from_bytes(out)
}

/// Text for functions that look at characters; bytes that are none become replacement characters.
pub(crate) fn chars(value: &Value) -> Cow<'_, str> {
    text(value)
}
