//! Base 64 and base 32; what cannot be decoded gives the error's text, as Sprig has it.

use coracle_gotemplate::{Function, Type, Value};

use crate::args::bytes;

const S: &[Type] = &[Type::String];

pub(crate) const TABLE: &[Function] = &[
    Function::new("b64enc", S, |_, a| Ok(BASE64.encode(bytes(&a[0])).into())),
    Function::new("b64dec", S, |_, a| Ok(BASE64.decode(bytes(&a[0])).map_or_else(Value::from, Value::string_from_bytes))),
    Function::new("b32enc", S, |_, a| Ok(BASE32.encode(bytes(&a[0])).into())),
    Function::new("b32dec", S, |_, a| Ok(BASE32.decode(bytes(&a[0])).map_or_else(Value::from, Value::string_from_bytes))),
];

/// The standard alphabet, with padding.
pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// An encoding by its alphabet, whose length is a power of two.
pub(crate) struct Base {
    alphabet: &'static [u8],
    name: &'static str,
    /// Bits a character carries.
    bits: u32,
    /// Characters of a whole group.
    group: usize,
}

pub(crate) const BASE64: Base = Base {
    alphabet: b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    name: "base64",
    bits: 6,
    group: 4,
};
const BASE32: Base = Base { alphabet: b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", name: "base32", bits: 5, group: 8 };

impl Base {
    pub(crate) fn encode(&self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len().div_ceil(self.group * self.bits as usize / 8) * self.group);
        let (mut pending, mut count) = (0u32, 0);
        let mask = (1 << self.bits) - 1;
        for byte in bytes {
            pending = pending << 8 | u32::from(*byte);
            count += 8;
            while count >= self.bits {
                count -= self.bits;
                out.push(char::from(self.alphabet[(pending >> count & mask) as usize]));
            }
            pending &= (1 << count) - 1;
        }
        if count > 0 {
            out.push(char::from(self.alphabet[(pending << (self.bits - count) & mask) as usize]));
        }
        while !out.len().is_multiple_of(self.group) {
            out.push('=');
        }
        out
    }

    /// The bytes, or Go's complaint about the first character that is wrong. Line breaks are skipped.
    pub(crate) fn decode(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let corrupt = |at: usize| format!("illegal {} data at input byte {at}", self.name);
        let chars: Vec<(usize, u8)> =
            text.iter().copied().enumerate().filter(|(_, byte)| !matches!(byte, b'\n' | b'\r')).collect();
        let mut out = Vec::with_capacity(chars.len() * self.bits as usize / 8);
        let groups = chars.chunks(self.group);
        let last = groups.len().saturating_sub(1);
        for (index, group) in groups.enumerate() {
            let padding_from = group.iter().position(|(_, byte)| *byte == b'=');
            let body = &group[..padding_from.unwrap_or(group.len())];
            if let Some((at, _)) = body.iter().find(|(_, byte)| !self.alphabet.contains(byte)) {
                return Err(corrupt(*at));
            }
            if let Some(from) = padding_from {
                self.check_padding(group, from, index == last, &chars, index, text.len()).map_err(corrupt)?;
            } else if group.len() < self.group {
                return Err(corrupt(self.truncated_at(group, text.len())));
            }
            self.decode_group(body, &mut out);
        }
        Ok(out)
    }

    fn decode_group(&self, body: &[(usize, u8)], out: &mut Vec<u8>) {
        let (mut pending, mut count) = (0u64, 0);
        for (_, byte) in body {
            let digit = self.alphabet.iter().position(|char| char == byte).unwrap_or_default() as u64;
            pending = pending << self.bits | digit;
            count += self.bits;
        }
        while count >= 8 {
            count -= 8;
            out.push((pending >> count & 0xFF) as u8);
        }
    }

    fn truncated_at(&self, group: &[(usize, u8)], end: usize) -> usize {
        match self.bits {
            6 => end - group.len().min(end),
            _ => end,
        }
    }

    /// Padding may only fill up the last group, after as many characters as make whole bytes.
    fn check_padding(
        &self,
        group: &[(usize, u8)],
        from: usize,
        is_last: bool,
        chars: &[(usize, u8)],
        index: usize,
        end: usize,
    ) -> Result<(), usize> {
        let possible = if self.bits == 6 { from >= 2 } else { matches!(from, 2 | 4 | 5 | 7) };
        if !possible {
            return Err(group[from].0);
        }
        if let Some((at, _)) = group[from..].iter().find(|(_, byte)| *byte != b'=') {
            return Err(*at);
        }
        if group.len() < self.group {
            return Err(end);
        }
        if is_last { Ok(()) } else { Err(chars[(index + 1) * self.group].0) }
    }
}
