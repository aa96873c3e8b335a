//! Text in double quotes as Go's `%q` writes it, and back: PromQL's string literals are Go's.

use std::fmt::Write;

/// In double quotes, with what cannot be printed escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            c if (c as u32) < 0x80 => write_escape(&mut out, 'x', 2, c),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x10000 => write_escape(&mut out, 'u', 4, c),
            c => write_escape(&mut out, 'U', 8, c),
        }
    }
    out.push('"');
    out
}

fn write_escape(out: &mut String, letter: char, width: usize, c: char) {
    write!(out, "\\{letter}{:0width$x}", c as u32).expect("writing to a string cannot fail");
}

/// Close to Go's `unicode.IsPrint`: not a control, a space other than U+0020, a format character or a private one.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || c.is_whitespace()
        || matches!(c as u32, 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e
            | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xe0000..=0x10ffff))
}

/// A character in single quotes, as Go's `%q` writes a rune.
pub fn quote_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// As [`quote`], for bytes that may be no text: those are written as `\xff`.
pub fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = quote(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("writing to a string cannot fail");
        }
    }
    out.push('"');
    out
}

/// What a literal in single, double or back quotes says; nothing when it is not one. Escaped bytes that are no UTF-8
/// are replaced.
pub fn unquote(literal: &str) -> Option<String> {
    unquote_bytes(literal).map(|bytes| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// As [`unquote`], byte by byte.
pub fn unquote_bytes(literal: &str) -> Option<Vec<u8>> {
    let mut chars = literal.chars();
    let (open, close) = (chars.next()?, chars.next_back()?);
    let inner = chars.as_str();
    if open != close || !matches!(open, '"' | '\'' | '`') {
        return None;
    }
    if open == '`' {
        return (!inner.contains('`')).then(|| inner.as_bytes().to_vec());
    }
    if inner.contains('\n') {
        return None;
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => unescape(&mut chars, open, &mut bytes)?,
            c if c == open => return None,
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(bytes)
}

fn unescape(chars: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let c = chars.next()?;
    let mut number = |first: u32, digits: usize, radix: u32| {
        (0..digits).try_fold(first, |value, _| Some(value * radix + chars.next()?.to_digit(radix)?))
    };
    match c {
        'a' => bytes.push(0x07),
        'b' => bytes.push(0x08),
        'f' => bytes.push(0x0c),
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        'v' => bytes.push(0x0b),
        '\\' => bytes.push(b'\\'),
        c if c == quote => bytes.push(c as u8),
        'x' => bytes.push(u8::try_from(number(0, 2, 16)?).ok()?),
        'u' | 'U' => {
            let c = char::from_u32(number(0, if c == 'u' { 4 } else { 8 }, 16)?)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        c => bytes.push(u8::try_from(number(c.to_digit(8)?, 2, 8)?).ok()?),
    }
    Some(())
}
