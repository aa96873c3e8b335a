//! PEM, as Go writes and reads it.

use crate::encoding::BASE64;

const LINE: usize = 64;

pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for at in (0..body.len()).step_by(LINE) {
        out.push_str(&body[at..body.len().min(at + LINE)]);
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The label and bytes of the first block; headers are skipped.
pub(super) fn decode(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, from_label) = text.split_once("-----BEGIN ")?;
    let (label, rest) = from_label.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body = match body.rsplit_once("\n\n") {
        Some((headers, body)) if headers.contains(':') => body,
        _ => body,
    };
    let bytes: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    Some((label, BASE64.decode(&bytes).ok()?))
}
