//! `| json`: every scalar of an object becomes a label, nested keys joined by underscores. The reader is as lenient as the
//! one that Loki uses, and has its words for what is wrong.

use std::borrow::Cow;

use super::{LabelsBuilder, sanitize};

pub(super) const JSON_ERROR: &str = "JSONParserErr";

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    Json,
    Text,
    Escape,
    Array,
    Object,
    UnknownValue,
}

impl Malformed {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Json => "Malformed JSON error",
            Self::Text => "Value is string, but can't find closing '\"' symbol",
            Self::Escape => "Encountered an invalid escape sequence in a string",
            Self::Array => "Value is array, but can't find closing ']' symbol",
            Self::Object => "Value looks like object, but can't find closing '}' symbol",
            Self::UnknownValue => "Unknown value type",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
    Null,
    Array,
    Object,
}

/// A value as it stands in the text; of a string, what is between the quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'t> {
    pub(super) kind: Kind,
    pub(super) raw: &'t str,
}

/// Why a walk over an object ended.
pub(super) enum Stop {
    Malformed(Malformed),
    /// Everything that is needed was found.
    Enough,
}

pub(super) fn parse(line: &str, labels: &mut LabelsBuilder) {
    if labels.wants_nothing() {
        return;
    }
    let mut prefix = String::new();
    if let Err(Stop::Malformed(malformed)) = object(line, &mut |key, value| member(key, value, &mut prefix, labels)) {
        labels.set_parser_error(JSON_ERROR, malformed.message());
    }
}

fn member(key: &str, value: Value<'_>, prefix: &mut String, labels: &mut LabelsBuilder) -> Result<(), Stop> {
    let outer = prefix.len();
    match value.kind {
        Kind::Object => {
            extend(prefix, key);
            let walked = if labels.wants_prefix(prefix) {
                object(value.raw, &mut |key, value| member(key, value, prefix, labels))
            } else {
                Ok(())
            };
            prefix.truncate(outer);
            return walked;
        }
        Kind::Text | Kind::Number | Kind::Boolean => {
            extend(prefix, key);
            if let Some(name) = labels.wanted_name(prefix) {
                labels.set(&name, &text_of(value));
            }
            prefix.truncate(outer);
        }
        Kind::Null | Kind::Array => {}
    }
    if labels.has_all_required() { Err(Stop::Enough) } else { Ok(()) }
}

fn extend(prefix: &mut String, key: &str) {
    if prefix.is_empty() {
        prefix.push_str(&sanitize(key));
    } else if !key.trim().is_empty() {
        prefix.push('_');
        prefix.extend(key.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    }
}

/// A scalar as a label's value.
pub(super) fn text_of(value: Value<'_>) -> Cow<'_, str> {
    match value.kind {
        Kind::Text => clean(value.raw),
        Kind::Null => Cow::Borrowed(""),
        _ => Cow::Borrowed(value.raw),
    }
}

/// A string's escapes undone; wrong ones make it empty. What is no text becomes spaces.
pub(super) fn clean(raw: &str) -> Cow<'_, str> {
    let text = unescape(raw).unwrap_or_default();
    if text.contains('\u{fffd}') { Cow::Owned(text.replace('\u{fffd}', " ")) } else { text }
}

/// `None` where an escape is wrong.
pub(super) fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = *rest.as_bytes().get(at + 1)?;
        let mut used = at + 2;
        match escape {
            b'"' | b'\\' | b'/' => text.push(char::from(escape)),
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'n' => text.push('\n'),
            b'r' => text.push('\r'),
            b't' => text.push('\t'),
            b'u' => {
                let first = u32::from_str_radix(rest.get(used..used + 4)?, 16).ok()?;
                used += 4;
                let code = if (0xd800..0xdc00).contains(&first) {
                    let second = rest[used..].strip_prefix("\\u").and_then(|after| after.get(..4))?;
                    let second = u32::from_str_radix(second, 16).ok().filter(|low| (0xdc00..0xe000).contains(low))?;
                    used += 6;
                    0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                } else {
                    first
                };
                text.push(char::from_u32(code)?);
            }
            _ => return None,
        }
        rest = &rest[used..];
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

fn skip_spaces(text: &str, at: usize) -> Option<usize> {
    text.as_bytes()[at..].iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')).map(|skipped| at + skipped)
}

/// Where a string ends whose opening quote is before `at`: the place after the closing one.
fn string_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = at;
    loop {
        let quote = from + memchr::memchr(b'"', &bytes[from..])?;
        let backslashes = bytes[at..quote].iter().rev().take_while(|b| **b == b'\\').count();
        if backslashes.is_multiple_of(2) {
            return Some(quote + 1);
        }
        from = quote + 1;
    }
}

/// Where a block ends that opens at `at`.
fn block_end(text: &str, at: usize, open: u8, close: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut level, mut at) = (0_usize, at);
    while let Some(byte) = bytes.get(at) {
        match *byte {
            b'"' => {
                at = string_end(text, at + 1)?;
                continue;
            }
            b if b == open => level += 1,
            b if b == close => {
                level -= 1;
                if level == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The value at or after `at`, and where it ends.
pub(super) fn value(text: &str, at: usize) -> Result<(Value<'_>, usize), Malformed> {
    let start = skip_spaces(text, at).ok_or(Malformed::Json)?;
    let (kind, end) = match text.as_bytes()[start] {
        b'"' => {
            let end = string_end(text, start + 1).ok_or(Malformed::Text)?;
            return Ok((Value { kind: Kind::Text, raw: &text[start + 1..end - 1] }, end));
        }
        b'[' => (Kind::Array, block_end(text, start, b'[', b']').ok_or(Malformed::Array)?),
        b'{' => (Kind::Object, block_end(text, start, b'{', b'}').ok_or(Malformed::Object)?),
        first => {
            let ends = |b: &u8| matches!(b, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']');
            let len = text.as_bytes()[start..].iter().position(ends).unwrap_or(text.len() - start);
            let kind = match (first, &text[start..start + len]) {
                (_, "true" | "false") => Kind::Boolean,
                (_, "null") => Kind::Null,
                (b'0'..=b'9' | b'-', _) => Kind::Number,
                _ => return Err(Malformed::UnknownValue),
            };
            (kind, start + len)
        }
    };
    Ok((Value { kind, raw: &text[start..end] }, end))
}

/// Gives every member of an object.
pub(super) fn object<'t>(text: &'t str, each: &mut dyn FnMut(&str, Value<'t>) -> Result<(), Stop>) -> Result<(), Stop> {
    let wrong = Stop::Malformed;
    let open = skip_spaces(text, 0).ok_or(wrong(Malformed::Object))?;
    if text.as_bytes()[open] != b'{' {
        return Err(wrong(Malformed::Object));
    }
    let mut at = skip_spaces(text, open + 1).ok_or(wrong(Malformed::Json))?;
    loop {
        match text.as_bytes()[at] {
            b'}' => return Ok(()),
            b'"' => {}
            _ => return Err(wrong(Malformed::Object)),
        }
        let end = string_end(text, at + 1).ok_or(wrong(Malformed::Json))?;
        let key = unescape(&text[at + 1..end - 1]).ok_or(wrong(Malformed::Escape))?;
        let colon = skip_spaces(text, end).filter(|at| text.as_bytes()[*at] == b':').ok_or(wrong(Malformed::Json))?;
        let (value, end) = value(text, colon + 1).map_err(wrong)?;
        each(&key, value)?;
        at = skip_spaces(text, end).ok_or(wrong(Malformed::Array))?;
        match text.as_bytes()[at] {
            b'}' => return Ok(()),
            b',' => at = skip_spaces(text, at + 1).ok_or(wrong(Malformed::Array))?,
            _ => return Err(wrong(Malformed::Object)),
        }
    }
}

/// Gives every element of an array, up to where it goes wrong or is told to stop.
pub(super) fn array<'t>(text: &'t str, each: &mut dyn FnMut(Value<'t>) -> bool) {
    let Some(mut at) = skip_spaces(text, 0).and_then(|open| skip_spaces(text, open + 1)) else { return };
    while text.as_bytes().get(at).is_some_and(|b| *b != b']') {
        let Ok((value, end)) = value(text, at) else { return };
        if !each(value) {
            return;
        }
        match skip_spaces(text, end) {
            Some(next) if text.as_bytes()[next] == b',' => at = next + 1,
            _ => return,
        }
    }
}
