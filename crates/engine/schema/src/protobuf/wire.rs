//! The wire format itself: tags, lengths and numbers, read and written.

use super::ProtobufError;

/// One field's content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self, name: &str) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::WireType(name.to_owned())),
        }
    }

    pub(super) fn text(self, name: &str) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.bytes(name)?).map_err(|_| ProtobufError::Text(name.to_owned()))
    }

    pub(super) fn number(self, name: &str) -> Result<u64, ProtobufError> {
        match self {
            Self::Varint(number) | Self::Fixed64(number) => Ok(number),
            Self::Fixed32(number) => Ok(u64::from(number)),
            Self::Bytes(_) => Err(ProtobufError::WireType(name.to_owned())),
        }
    }

    pub(super) fn double(self, name: &str) -> Result<f64, ProtobufError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Self::Fixed32(bits) => Ok(f64::from(f32::from_bits(bits))),
            _ => Err(ProtobufError::WireType(name.to_owned())),
        }
    }
}

/// The fields of a message, in the order they stand in.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = read_field(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn read_field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Wire<'a>), ProtobufError> {
    let tag = varint(rest)?;
    let wire = match tag & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => Wire::Fixed64(u64::from_le_bytes(take(rest, 8)?.try_into().map_err(|_| ProtobufError::Truncated)?)),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| ProtobufError::Truncated)?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => Wire::Fixed32(u32::from_le_bytes(take(rest, 4)?.try_into().map_err(|_| ProtobufError::Truncated)?)),
        _ => return Err(ProtobufError::WireType(format!("number {}", tag >> 3))),
    };
    Ok((tag >> 3, wire))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ProtobufError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
    *rest = left;
    Ok(taken)
}

pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first().ok_or(ProtobufError::Truncated)?;
        *rest = left;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ProtobufError::Truncated)
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How a field's content is told from what follows it.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
}

pub(super) fn put_tag(out: &mut Vec<u8>, number: u8, kind: Kind) {
    put_varint(out, u64::from(number) << 3 | kind as u64);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    put_tag(out, number, Kind::Bytes);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

pub(super) fn put_number(out: &mut Vec<u8>, number: u8, value: i64) {
    put_tag(out, number, Kind::Varint);
    put_varint(out, value.cast_unsigned());
}

/// A message whose length is known only once it is written. One byte is left for it, which is enough for most; a longer
/// length moves what was written.
#[must_use = "a message that is opened has to be closed"]
pub(super) struct Open(usize);

pub(super) fn open(out: &mut Vec<u8>, number: u8) -> Open {
    put_tag(out, number, Kind::Bytes);
    out.push(0);
    Open(out.len())
}

pub(super) fn close(out: &mut Vec<u8>, Open(start): Open) {
    let length = out.len() - start;
    if let Ok(short @ ..0x80) = u8::try_from(length) {
        out[start - 1] = short;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    put_varint(&mut prefix, length as u64);
    out.splice(start - 1..start, prefix);
}
