//! The little of ASN.1's distinguished encoding that keys and certificates take.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0C;
const PRINTABLE_STRING: u8 = 0x13;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const TRUE: &[u8] = &[0x01, 0x01, 0xFF];

/// A value with its tag and length in front.
pub(super) fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match body.len() {
        length @ 0..0x80 => out.push(length as u8),
        length => {
            let bytes = length.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(body);
    out
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, &parts.concat())
}

/// A number that is not negative, from its bytes, the most significant first.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    match bytes.first() {
        None => tagged(INTEGER, &[0]),
        Some(first) if *first >= 0x80 => tagged(INTEGER, &[&[0], bytes].concat()),
        Some(_) => tagged(INTEGER, bytes),
    }
}

pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    tagged(BIT_STRING, &[&[0], bytes].concat())
}

/// An object identifier of small numbers.
pub(super) fn object_id(arcs: &[u32]) -> Vec<u8> {
    let mut body = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let groups = (32 - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            body.push((arc >> (7 * group) & 0x7F) as u8 | more);
        }
    }
    tagged(OBJECT_ID, &body)
}

/// Text in the narrowest string type, as Go chooses.
pub(super) fn text(text: &str) -> Vec<u8> {
    let is_printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    let tag = if text.bytes().all(is_printable) { PRINTABLE_STRING } else { UTF8_STRING };
    tagged(tag, text.as_bytes())
}

/// The parts of a sequence of integers, as their bytes.
pub(super) fn read_integers(der: &[u8]) -> Option<Vec<&[u8]>> {
    let (body, _) = read(der, SEQUENCE)?;
    let mut rest = body;
    let mut integers = Vec::new();
    while !rest.is_empty() {
        let (integer, after) = read(rest, INTEGER)?;
        integers.push(integer);
        rest = after;
    }
    Some(integers)
}

/// The body of a value of a tag, and what follows it.
fn read(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        length @ 0..0x80 => (usize::from(*length), rest),
        more => {
            let (bytes, rest) = rest.split_at_checked(usize::from(more & 0x7F))?;
            if bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    let (body, after) = rest.split_at_checked(length)?;
    (*found == tag).then_some((body, after))
}
