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
