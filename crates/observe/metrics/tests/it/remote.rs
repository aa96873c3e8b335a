//! Remote write's messages, as senders make them.

pub fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// What a field begins with: its number and how it is written.
fn key(into: &mut Vec<u8>, number: u8, kind: u64) {
    varint(into, u64::from(number) << 3 | kind);
}

/// A field of bytes.
pub fn bytes(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    key(into, number, 2);
    varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

pub fn double(into: &mut Vec<u8>, number: u8, value: f64) {
    key(into, number, 1);
    into.extend_from_slice(&value.to_bits().to_le_bytes());
}

pub fn number(into: &mut Vec<u8>, number: u8, value: u64) {
    key(into, number, 0);
    varint(into, value);
}

/// Labels, sorted, as fields of a series.
pub fn labels(pairs: &[(&str, String)]) -> Vec<u8> {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort();
    let mut message = Vec::new();
    for (name, value) in sorted {
        let mut label = Vec::new();
        bytes(&mut label, 1, name.as_bytes());
        bytes(&mut label, 2, value.as_bytes());
        bytes(&mut message, 1, &label);
    }
    message
}

/// A series with samples, as a field of a request.
pub fn series(into: &mut Vec<u8>, labels: &[u8], samples: &[(i64, f64)]) {
    let mut message = labels.to_vec();
    for (time_ms, value) in samples {
        let mut sample = Vec::new();
        double(&mut sample, 1, *value);
        number(&mut sample, 2, *time_ms as u64);
        bytes(&mut message, 2, &sample);
    }
    bytes(into, 1, &message);
}

pub fn pack(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}
