//! `| logfmt`: `key=value key="quoted value"`.

use std::borrow::Cow;

use super::{DUPLICATE_SUFFIX, LabelsBuilder, sanitize};

const LOGFMT_ERROR: &str = "LogfmtParserErr";

/// What is wrong, and at which byte, from 1.
struct SyntaxError {
    message: String,
    position: usize,
}

impl SyntaxError {
    fn text(&self) -> String {
        format!("logfmt syntax error at pos {} : {}", self.position, self.message)
    }
}

/// Reads pairs off a line.
struct Reader<'l> {
    line: &'l str,
    at: usize,
}

/// Goes through the pairs of a line, up to the first that is none.
pub(super) fn pairs(line: &str, mut each: impl FnMut(&str, &str)) {
    let mut reader = Reader::new(line);
    while let Some(Ok(pair)) = reader.next() {
        each(pair.key, &pair.value);
    }
}

struct Pair<'l> {
    key: &'l str,
    value: Cow<'l, str>,
}

impl<'l> Reader<'l> {
    fn new(line: &'l str) -> Self {
        Self { line, at: 0 }
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError { message: message.into(), position: self.at + 1 }
    }

    fn unexpected(&mut self) -> SyntaxError {
        let error = self.error(format!("unexpected '{}'", char::from(self.line.as_bytes()[self.at])));
        self.skip_word();
        error
    }

    fn skip_word(&mut self) {
        self.at = self.find(|b| b <= b' ');
    }

    fn find(&self, wanted: impl Fn(u8) -> bool) -> usize {
        let bytes = self.line.as_bytes();
        bytes[self.at..].iter().position(|b| wanted(*b)).map_or(bytes.len(), |found| self.at + found)
    }

    /// The next pair, `None` at the end.
    fn next(&mut self) -> Option<Result<Pair<'l>, SyntaxError>> {
        self.at = self.find(|b| b > b' ');
        if self.at == self.line.len() {
            return None;
        }
        Some(self.pair())
    }

    fn pair(&mut self) -> Result<Pair<'l>, SyntaxError> {
        let start = self.at;
        self.at = self.find(|b| b <= b' ' || matches!(b, b'=' | b'"'));
        let key = &self.line[start..self.at];
        let broken_key = key.contains('\u{fffd}');
        match self.line.as_bytes().get(self.at) {
            Some(b'"') => return Err(self.unexpected()),
            Some(b'=') if key.is_empty() => return Err(self.unexpected()),
            Some(b'=') if broken_key => {
                let error = self.error("invalid key");
                self.skip_word();
                return Err(error);
            }
            _ if broken_key => return Err(self.error("invalid key")),
            Some(b'=') => {}
            _ => return Ok(Pair { key, value: Cow::Borrowed("") }),
        }
        self.at += 1;
        let value = match self.line.as_bytes().get(self.at) {
            Some(b'"') => self.quoted()?,
            _ => {
                let start = self.at;
                self.at = self.find(|b| b <= b' ' || matches!(b, b'=' | b'"'));
                if matches!(self.line.as_bytes().get(self.at), Some(b'=' | b'"')) {
                    return Err(self.unexpected());
                }
                Cow::Borrowed(&self.line[start..self.at])
            }
        };
        Ok(Pair { key, value })
    }

    fn quoted(&mut self) -> Result<Cow<'l, str>, SyntaxError> {
        let (start, mut escaped, mut has_escapes) = (self.at + 1, false, false);
        for (offset, byte) in self.line.as_bytes()[start..].iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => (escaped, has_escapes) = (true, true),
                b'"' => {
                    self.at = start + offset + 1;
                    let raw = &self.line[start..start + offset];
                    if !has_escapes {
                        return Ok(Cow::Borrowed(raw));
                    }
                    return unquote(raw).map(Cow::Owned).ok_or_else(|| self.error("invalid quoted value"));
                }
                _ => {}
            }
        }
        self.at = self.line.len();
        Err(self.error("unterminated quoted value"))
    }
}

/// JSON's escapes and `\'`; lone surrogates become the replacement character.
fn unquote(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = *rest.as_bytes().get(at + 1)?;
        let mut used = at + 2;
        text.push(match escape {
            b'"' | b'\\' | b'/' | b'\'' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let code = |at: usize| u32::from_str_radix(rest.get(at..at + 4)?, 16).ok();
                let first = code(used)?;
                used += 4;
                let low = rest[used..].starts_with("\\u").then(|| code(used + 2)).flatten();
                match low.filter(|low| (0xdc00..0xe000).contains(low) && (0xd800..0xdc00).contains(&first)) {
                    Some(low) => {
                        used += 6;
                        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00))?
                    }
                    None => char::from_u32(first).unwrap_or('\u{fffd}'),
                }
            }
            _ => return None,
        });
        rest = &rest[used..];
    }
    text.push_str(rest);
    Some(text)
}

pub(super) fn parse(line: &str, strict: bool, keep_empty: bool, labels: &mut LabelsBuilder) {
    if labels.wants_nothing() {
        return;
    }
    let mut reader = Reader::new(line);
    while let Some(pair) = reader.next() {
        match pair {
            Err(error) if strict => {
                labels.set_parser_error(LOGFMT_ERROR, &error.text());
                return;
            }
            Err(_) => {}
            Ok(pair) => {
                let value = spaces_for_broken(&pair.value);
                if keep_empty || !value.is_empty() {
                    labels.set_parsed(&sanitize(pair.key), &value);
                }
                if labels.has_all_required() {
                    return;
                }
            }
        }
    }
}

fn spaces_for_broken(value: &str) -> Cow<'_, str> {
    if value.contains('\u{fffd}') { Cow::Owned(value.replace('\u{fffd}', " ")) } else { Cow::Borrowed(value) }
}

/// The key that an expression names.
pub(super) fn parse_key(expression: &str) -> Result<String, String> {
    let text = expression.trim();
    if let Some(quoted) = text.strip_prefix('"') {
        let end = quoted.find('"').unwrap_or(quoted.len());
        return Ok(quoted[..end].to_owned());
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match text.chars().find(|c| !is_part(*c)) {
        None if text.is_empty() => Err("syntax error: unexpected $end, expecting STRING or KEY".to_owned()),
        None if !text.starts_with(|c: char| c.is_ascii_digit()) => Ok(text.to_owned()),
        None => Err(format!("unexpected char {}", &text[..1])),
        Some(c) => Err(format!("unexpected char {c}")),
    }
}

/// `| logfmt label="key"`: every label is there, and empty where the line has no such key.
pub(super) fn extract(line: &str, strict: bool, keys: &[(String, String)], labels: &mut LabelsBuilder) {
    if labels.wants_nothing() {
        return;
    }
    for (label, _) in keys {
        if !labels.is_taken(label) {
            labels.set(label, "");
        }
    }
    let mut reader = Reader::new(line);
    while let Some(pair) = reader.next() {
        let pair = match pair {
            Ok(pair) => pair,
            Err(error) if strict => {
                labels.set_parser_error(LOGFMT_ERROR, &error.text());
                return;
            }
            Err(_) => continue,
        };
        let key = sanitize(pair.key);
        let value = if pair.value.contains('\u{fffd}') { "" } else { &pair.value };
        let named = keys.iter().filter(|(_, wanted)| *wanted == key);
        for (label, _) in named {
            if labels.is_taken(label) {
                labels.set(&format!("{label}{DUPLICATE_SUFFIX}"), value);
            } else {
                labels.set(label, value);
            }
        }
    }
}
