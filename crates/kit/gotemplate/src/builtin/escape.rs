//! `html`, `js` and `urlquery`.

use crate::{quote::is_print, value::Value};

pub(super) fn html(text: &[u8]) -> Value {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            byte => out.push(*byte),
        }
    }
    Value::string_from_bytes(out)
}

pub(super) fn js(text: &[u8]) -> Value {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '\'' => out.push_str("\\'"),
                '"' => out.push_str("\\\""),
                '<' => out.push_str("\\u003C"),
                '>' => out.push_str("\\u003E"),
                '&' => out.push_str("\\u0026"),
                '=' => out.push_str("\\u003D"),
                '\x7f' => out.push(character),
                _ if is_print(character) => out.push(character),
                _ => out.push_str(&format!("\\u{:04X}", u32::from(character))),
            }
        }
        chunk.invalid().iter().for_each(|_| out.push_str("\\uFFFD"));
    }
    Value::from(out)
}

pub(super) fn url_query(text: &[u8]) -> Value {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(*byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Value::from(out)
}
