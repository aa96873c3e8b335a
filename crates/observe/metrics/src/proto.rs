//! Protocol buffers on the wire, read without copies and written by hand.

use coracle_promql::{FloatHistogram, histogram::Span};

use crate::codec::varint::{self, Cursor, unzigzag};

/// The bytes are not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be decoded")]
pub(crate) struct Malformed;

/// A field's content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(crate) fn double(self) -> Result<f64, Malformed> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(number) | Self::Fixed64(number) => Ok(number),
            Self::Fixed32(number) => Ok(u64::from(number)),
            Self::Bytes(_) => Err(Malformed),
        }
    }

    pub(crate) fn signed(self) -> Result<i64, Malformed> {
        self.number().map(|number| number as i64)
    }

    /// A `sint`.
    pub(crate) fn zigzag(self) -> Result<i64, Malformed> {
        self.number().map(unzigzag)
    }

    /// A repeated number, alone or packed.
    pub(crate) fn each_varint(self, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
        match self {
            Self::Bytes(bytes) => {
                let mut cursor = Cursor(bytes);
                while !cursor.is_empty() {
                    each(cursor.varint().ok_or(Malformed)?);
                }
            }
            other => each(other.number()?),
        }
        Ok(())
    }

    /// A repeated fixed number of 64 bits, alone or packed.
    pub(crate) fn each_fixed64(self, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
        match self {
            Self::Bytes(bytes) => {
                let (words, rest) = bytes.as_chunks::<8>();
                words.iter().for_each(|word| each(u64::from_le_bytes(*word)));
                rest.is_empty().then_some(()).ok_or(Malformed)
            }
            Self::Fixed64(bits) => {
                each(bits);
                Ok(())
            }
            _ => Err(Malformed),
        }
    }
}

/// Walks over a message's fields.
pub(crate) struct Message<'a>(Cursor<'a>);

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor(bytes))
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut take = || {
            let key = self.0.varint()?;
            let field = match key & 7 {
                0 => Field::Varint(self.0.varint()?),
                1 => Field::Fixed64(self.0.u64()?),
                2 => Field::Bytes(self.0.bytes()?),
                5 => Field::Fixed32(self.0.u32()?),
                _ => return None,
            };
            Some((key >> 3, field))
        };
        take().map(Some).ok_or(Malformed)
    }
}

/// Shows each field of a message.
pub(crate) fn each_field<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(u64, Field<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        each(number, field)?;
    }
    Ok(())
}

pub(crate) fn put_varint(into: &mut Vec<u8>, number: u64, value: u64) {
    varint::put(into, number << 3);
    varint::put(into, value);
}

pub(crate) fn put_double(into: &mut Vec<u8>, number: u64, value: f64) {
    varint::put(into, number << 3 | 1);
    into.extend_from_slice(&value.to_bits().to_le_bytes());
}

pub(crate) fn put_bytes(into: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint::put(into, number << 3 | 2);
    varint::put_bytes(into, bytes);
}

/// A message within a message.
pub(crate) fn put_message(into: &mut Vec<u8>, number: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    write(&mut message);
    put_bytes(into, number, &message);
}

/// A native histogram of either version of remote write, with its time.
pub(crate) fn histogram(bytes: &[u8]) -> Result<(i64, FloatHistogram), Malformed> {
    let mut histogram = FloatHistogram::default();
    let mut time_ms = 0;
    let (mut positive, mut negative, mut bounds) = (Deltas::default(), Deltas::default(), Vec::new());
    each_field(bytes, |number, field| {
        match number {
            1 => histogram.count = field.number()? as f64,
            2 => histogram.count = field.double()?,
            3 => histogram.sum = field.double()?,
            4 => histogram.schema = field.zigzag()?.try_into().map_err(|_| Malformed)?,
            5 => histogram.zero_threshold = field.double()?,
            6 => histogram.zero_count = field.number()? as f64,
            7 => histogram.zero_count = field.double()?,
            8 => histogram.negative_spans.push(span(field.bytes()?)?),
            9 => field.each_varint(|delta| negative.push(unzigzag(delta), &mut histogram.negative_buckets))?,
            10 => field.each_fixed64(|bits| histogram.negative_buckets.push(f64::from_bits(bits)))?,
            11 => histogram.positive_spans.push(span(field.bytes()?)?),
            12 => field.each_varint(|delta| positive.push(unzigzag(delta), &mut histogram.positive_buckets))?,
            13 => field.each_fixed64(|bits| histogram.positive_buckets.push(f64::from_bits(bits)))?,
            14 => histogram.counter_reset_hint = reset_hint(field.number()?),
            15 => time_ms = field.signed()?,
            16 => field.each_fixed64(|bits| bounds.push(f64::from_bits(bits)))?,
            _ => {}
        }
        Ok(())
    })?;
    histogram.custom_values = (!bounds.is_empty()).then(|| bounds.into());
    Ok((time_ms, histogram))
}

/// Counts that come as differences from the one before.
#[derive(Default)]
struct Deltas(i64);

impl Deltas {
    fn push(&mut self, delta: i64, into: &mut Vec<f64>) {
        self.0 = self.0.wrapping_add(delta);
        into.push(self.0 as f64);
    }
}

fn span(bytes: &[u8]) -> Result<Span, Malformed> {
    let mut span = Span::default();
    each_field(bytes, |number, field| {
        match number {
            1 => span.offset = field.zigzag()?.try_into().map_err(|_| Malformed)?,
            2 => span.length = field.number()?.try_into().map_err(|_| Malformed)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(span)
}

fn reset_hint(number: u64) -> coracle_promql::histogram::CounterResetHint {
    use coracle_promql::histogram::CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    match number {
        1 => Reset,
        2 => NotReset,
        3 => Gauge,
        _ => Unknown,
    }
}

/// Writes a native histogram as remote read has it, counts as floats.
pub(crate) fn put_histogram(into: &mut Vec<u8>, number: u64, time_ms: i64, histogram: &FloatHistogram) {
    put_message(into, number, |message| {
        put_double(message, 2, histogram.count);
        put_double(message, 3, histogram.sum);
        put_varint(message, 4, varint::zigzag(i64::from(histogram.schema)));
        put_double(message, 5, histogram.zero_threshold);
        put_double(message, 7, histogram.zero_count);
        put_spans(message, 8, &histogram.negative_spans);
        put_doubles(message, 10, &histogram.negative_buckets);
        put_spans(message, 11, &histogram.positive_spans);
        put_doubles(message, 13, &histogram.positive_buckets);
        put_varint(message, 14, histogram.counter_reset_hint as u64);
        put_varint(message, 15, time_ms as u64);
        put_doubles(message, 16, histogram.bounds());
    });
}

fn put_spans(into: &mut Vec<u8>, number: u64, spans: &[Span]) {
    for span in spans {
        put_message(into, number, |message| {
            put_varint(message, 1, varint::zigzag(i64::from(span.offset)));
            put_varint(message, 2, u64::from(span.length));
        });
    }
}

fn put_doubles(into: &mut Vec<u8>, number: u64, doubles: &[f64]) {
    if !doubles.is_empty() {
        let bytes: Vec<u8> = doubles.iter().flat_map(|double| double.to_bits().to_le_bytes()).collect();
        put_bytes(into, number, &bytes);
    }
}
