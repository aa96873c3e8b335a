//! Go's quoted text: `strconv.Quote` and its inverse.

use std::fmt::Write as _;

/// `strconv.Quote`, of bytes that need not be UTF-8.
pub fn quote(bytes: &[u8]) -> String {
    quote_with(bytes, '"', false)
}

/// `strconv.QuoteToASCII`.
pub(crate) fn quote_ascii(bytes: &[u8]) -> String {
    quote_with(bytes, '"', true)
}

/// `strconv.QuoteRune`.
pub(crate) fn quote_char(character: char, ascii: bool) -> String {
    let mut buffer = [0; 4];
    quote_with(character.encode_utf8(&mut buffer).as_bytes(), '\'', ascii)
}

fn quote_with(bytes: &[u8], mark: char, ascii: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            quote_one(&mut out, character, mark, ascii);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push(mark);
    out
}

fn quote_one(out: &mut String, character: char, mark: char, ascii: bool) {
    match character {
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        _ if character == mark => {
            out.push('\\');
            out.push(mark);
        }
        _ if is_print(character) && (!ascii || character.is_ascii()) => out.push(character),
        _ => {
            let code = u32::from(character);
            let _ = match code {
                0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                0x20..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
        }
    }
}

/// `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub fn is_print(character: char) -> bool {
    if character.is_ascii() {
        return (' '..='~').contains(&character);
    }
    // The standard library knows what is printable but says so only when it escapes; after another character, marks
    // that combine are not escaped for that alone.
    let mut buffer = [b'a', 0, 0, 0, 0];
    let length = character.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..=length]).expect("two characters just encoded");
    text.escape_debug().nth(1) == Some(character)
}

/// `strconv.CanBackquote`: one line, UTF-8, without backquotes or control characters other than tab.
pub(crate) fn can_backquote(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    text.chars().all(|character| match character {
        '\t' => true,
        '\u{feff}' | '`' | '\x7f' => false,
        _ => character >= ' ',
    })
}

/// `strconv.Unquote`; `None` is its "invalid syntax".
pub(crate) fn unquote(text: &str) -> Option<Vec<u8>> {
    if let Some(raw) = text.strip_prefix('`') {
        let raw = raw.strip_suffix('`')?;
        return Some(raw.bytes().filter(|byte| *byte != b'\r').collect());
    }
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let (unit, tail) = unquote_one(rest, '"')?;
        match unit {
            Unit::Byte(byte) => out.push(byte),
            Unit::Char(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = tail;
    }
    Some(out)
}

/// What one step of unquoting gives: `\xff` is a byte, the rest are characters.
pub(crate) enum Unit {
    Byte(u8),
    Char(char),
}

/// `strconv.UnquoteChar`.
pub(crate) fn unquote_one(text: &str, mark: char) -> Option<(Unit, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first == mark || first == '\n' {
        return None;
    }
    if first != '\\' {
        return Some((Unit::Char(first), characters.as_str()));
    }
    let escape = characters.next()?;
    let rest = characters.as_str();
    let simple = |character| Some((Unit::Char(character), rest));
    match escape {
        'a' => simple('\x07'),
        'b' => simple('\x08'),
        'f' => simple('\x0c'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0b'),
        '\\' => simple('\\'),
        '\'' | '"' if escape == mark => simple(escape),
        'x' => byte(rest, 0, 2, 16),
        '0'..='7' => byte(&text[1..], 0, 3, 8),
        'u' => code_point(rest, 4),
        'U' => code_point(rest, 8),
        _ => None,
    }
}

fn byte(text: &str, from: usize, digits: usize, radix: u32) -> Option<(Unit, &str)> {
    let value = u32::from_str_radix(digits_of(text.get(from..digits)?, radix)?, radix).ok()?;
    Some((Unit::Byte(u8::try_from(value).ok()?), &text[digits..]))
}

fn code_point(text: &str, digits: usize) -> Option<(Unit, &str)> {
    let value = u32::from_str_radix(digits_of(text.get(..digits)?, 16)?, 16).ok()?;
    Some((Unit::Char(char::from_u32(value)?), &text[digits..]))
}

/// The text, if it is all digits: number parsers would take a sign as well.
fn digits_of(text: &str, radix: u32) -> Option<&str> {
    text.chars().all(|character| character.is_digit(radix)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{quote, unquote};

    #[test]
    fn quoting_is_gos() {
        let cases: [(&[u8], &str); 6] = [
            (b"plain", r#""plain""#),
            (b"a\"b\\c\n\x01", r#""a\"b\\c\n\x01""#),
            ("é\u{200b}\u{a0}".as_bytes(), r#""é\u200b\u00a0""#),
            (b"\xff", r#""\xff""#),
            ("e\u{301}".as_bytes(), "\"e\u{301}\""),
            ("\u{1f600}".as_bytes(), "\"\u{1f600}\""),
        ];
        for (bytes, quoted) in cases {
            assert_eq!(quote(bytes), quoted);
            assert_eq!(unquote(quoted).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_go_does_not_unquote_is_refused() {
        for text in ["\"a", "\"\\q\"", "\"\\'\"", "\"\\x+1\"", "\"\\400\"", "\"a\nb\""] {
            assert_eq!(unquote(text), None, "{text}");
        }
        assert_eq!(unquote("`a\r\n\\n`").as_deref(), Some(&b"a\n\\n"[..]));
        assert_eq!(unquote("\"\\101\\u00e9\"").as_deref(), Some("Aé".as_bytes()));
    }
}
