//! The chunks of Prometheus, read: floats in two encodings, histograms of whole counts and of floats.

use std::sync::Arc;

use coracle_promql::{
    FloatHistogram,
    histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Span},
    is_stale,
};

use crate::{
    Value,
    codec::{bits::BitReader, varint::unzigzag, xor::Window},
};

pub(crate) const XOR: u8 = 1;
pub(crate) const HISTOGRAM: u8 = 2;
pub(crate) const FLOAT_HISTOGRAM: u8 = 3;
pub(crate) const XOR2: u8 = 4;

/// The two highest bits of a histogram chunk's flags, of a gauge.
pub(super) const GAUGE: u8 = 0b1100_0000;

/// Widths of the change of a time step in XOR chunks, behind no, one, two, three and four ones.
pub(super) const TIME_WIDTHS: [u32; 5] = [0, 14, 17, 20, 64];
/// The same in XOR2 chunks, behind two, three and four ones.
const TIME_WIDTHS_2: [u32; 3] = [13, 20, 64];
/// Widths of whole numbers, behind so many ones.
pub(super) const VARBIT_WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Shows each sample of a chunk; `None` where the bytes are no such chunk.
pub(crate) fn decode(encoding: u8, bytes: &[u8], each: &mut dyn FnMut(i64, Value)) -> Option<()> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    let count = u16::from_be_bytes(*count);
    match encoding {
        XOR => xor(count, rest, each),
        XOR2 => xor2(count, rest, each),
        HISTOGRAM => histograms::<WholeCounts>(count, rest, each),
        FLOAT_HISTOGRAM => histograms::<FloatCounts>(count, rest, each),
        _ => None,
    }
}

/// A number of seven bits a byte, wherever in the bits it begins.
fn uvarint(bits: &mut BitReader<'_>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bits.read(8);
        value |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn varint(bits: &mut BitReader<'_>) -> Option<i64> {
    uvarint(bits).map(unzigzag)
}

/// A number of `width` bits, of which the upper half but one stands for negative ones.
fn signed(bits: &mut BitReader<'_>, width: u32) -> i64 {
    let value = bits.read(width);
    if width > 0 && width < 64 && value > 1 << (width - 1) {
        value.wrapping_sub(1 << width) as i64
    } else {
        value as i64
    }
}

fn varbit(bits: &mut BitReader<'_>) -> i64 {
    let width = VARBIT_WIDTHS[bits.ones(8) as usize];
    signed(bits, width)
}

fn varbit_unsigned(bits: &mut BitReader<'_>) -> u64 {
    let width = VARBIT_WIDTHS[bits.ones(8) as usize];
    bits.read(width)
}

fn xor(count: u16, bytes: &[u8], each: &mut dyn FnMut(i64, Value)) -> Option<()> {
    let mut bits = BitReader::new(bytes);
    let (mut time_ms, mut delta, mut value, mut window) = (0i64, 0i64, 0, Window::default());
    for number in 0..count {
        match number {
            0 => (time_ms, value) = (varint(&mut bits)?, bits.read(64)),
            1 => delta = uvarint(&mut bits)? as i64,
            _ => {
                let width = TIME_WIDTHS[bits.ones(4) as usize];
                delta = delta.wrapping_add(signed(&mut bits, width));
            }
        }
        if number > 0 {
            time_ms = time_ms.wrapping_add(delta);
            value = window.read(value, &mut bits)?;
        }
        if bits.overrun() {
            return None;
        }
        each(time_ms, Value::Float(f64::from_bits(value)));
    }
    Some(())
}

/// Floats of an XOR2 chunk: the last one that was not a stale marker, and the window of bits that changed.
#[derive(Default)]
struct Baseline {
    value: u64,
    window: Window,
}

impl Baseline {
    fn reuse(&mut self, bits: &mut BitReader<'_>) -> Option<u64> {
        self.value = self.window.read_same(self.value, bits)?;
        Some(self.value)
    }

    fn renew(&mut self, bits: &mut BitReader<'_>) -> Option<u64> {
        self.value = self.window.read_new(self.value, bits)?;
        Some(self.value)
    }

    fn next(&mut self, bits: &mut BitReader<'_>) -> Option<u64> {
        match bits.ones(3) {
            0 => Some(self.value),
            1 => self.reuse(bits),
            2 => self.renew(bits),
            _ => Some(STALE.to_bits()),
        }
    }
}

/// Like XOR, with the time's change and the value's fate in one prefix, and start times that are skipped here.
fn xor2(count: u16, bytes: &[u8], each: &mut dyn FnMut(i64, Value)) -> Option<()> {
    let (starts, bytes) = bytes.split_first()?;
    let (first_has_start, starts_from) = (starts & 0x80 != 0, u16::from(starts & 0x7f));
    let mut bits = BitReader::new(bytes);
    let (mut time_ms, mut delta, mut baseline) = (0i64, 0i64, Baseline::default());
    for number in 0..count {
        let value = match number {
            0 => {
                time_ms = varint(&mut bits)?;
                let value = bits.read(64);
                if !is_stale(f64::from_bits(value)) {
                    baseline.value = value;
                }
                if first_has_start {
                    varint(&mut bits)?;
                }
                value
            }
            1 => {
                delta = uvarint(&mut bits)? as i64;
                time_ms = time_ms.wrapping_add(delta);
                baseline.next(&mut bits)?
            }
            _ => {
                let prefix = bits.ones(5);
                if let Some(width) = (2..5).contains(&prefix).then(|| TIME_WIDTHS_2[prefix as usize - 2]) {
                    let change = bits.read(width);
                    let negative = width < 64 && change >= 1 << (width - 1);
                    delta = delta.wrapping_add(if negative { change.wrapping_sub(1 << width) } else { change } as i64);
                }
                time_ms = time_ms.wrapping_add(delta);
                match prefix {
                    0 => baseline.value,
                    1 if bits.ones(1) == 0 => baseline.reuse(&mut bits)?,
                    1 => baseline.renew(&mut bits)?,
                    5 => STALE.to_bits(),
                    _ => baseline.next(&mut bits)?,
                }
            }
        };
        if number > 0 && starts_from > 0 && number >= starts_from {
            varbit(&mut bits);
        }
        if bits.overrun() {
            return None;
        }
        each(time_ms, Value::Float(f64::from_bits(value)));
    }
    Some(())
}

/// What all histograms of a chunk have in common.
struct Layout {
    schema: i32,
    zero_threshold: f64,
    positive_spans: Vec<Span>,
    negative_spans: Vec<Span>,
    custom_values: Option<Arc<[f64]>>,
}

impl Layout {
    /// `bits_max` bounds what a damaged chunk may claim: a bucket takes a bit or more.
    fn read(bits: &mut BitReader<'_>, bits_max: usize) -> Option<Self> {
        let zero_threshold = match bits.read(8) {
            0 => 0.0,
            255 => f64::from_bits(bits.read(64)),
            exponent => 0.5 * f64::powi(2.0, exponent as i32 - 243),
        };
        let schema = varbit(bits) as i32;
        let (positive_spans, negative_spans) = (spans(bits, bits_max)?, spans(bits, bits_max)?);
        let mut custom_values = None;
        if schema == CUSTOM_BUCKETS_SCHEMA {
            let count = varbit_unsigned(bits) as usize;
            let bound = |bits: &mut BitReader<'_>| match varbit_unsigned(bits) {
                0 => f64::from_bits(bits.read(64)),
                thousandths => (thousandths - 1) as f64 / 1000.0,
            };
            custom_values = Some((0..Some(count).filter(|count| *count <= bits_max)?).map(|_| bound(bits)).collect());
        }
        Some(Self { schema, zero_threshold, positive_spans, negative_spans, custom_values })
    }
}

fn spans(bits: &mut BitReader<'_>, bits_max: usize) -> Option<Vec<Span>> {
    let count = varbit_unsigned(bits) as usize;
    let mut spans = Vec::new();
    let mut buckets = 0;
    for _ in 0..count {
        let length = varbit_unsigned(bits) as u32;
        spans.push(Span { length, offset: varbit(bits) as i32 });
        buckets += length as usize;
        if buckets > bits_max || bits.overrun() {
            return None;
        }
    }
    Some(spans)
}

fn buckets(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.length as usize).sum()
}

/// How a chunk holds counts. The first two of `read`'s numbers are the count and the zero bucket.
trait Counts {
    fn new(buckets: usize) -> Self;
    /// The first histogram's.
    fn first(&mut self, bits: &mut BitReader<'_>, buckets: std::ops::Range<usize>);
    /// A later one's.
    fn next(&mut self, bits: &mut BitReader<'_>, buckets: std::ops::Range<usize>) -> Option<()>;
    fn value(&self, index: usize) -> f64;
    /// The counts of some buckets.
    fn values(&self, buckets: std::ops::Range<usize>) -> Vec<f64>;
}

/// Whole numbers: changes of changes. A bucket's is its difference from the bucket before.
struct WholeCounts(Vec<(i64, i64)>);

impl Counts for WholeCounts {
    fn new(numbers: usize) -> Self {
        Self(vec![(0, 0); numbers])
    }

    fn first(&mut self, bits: &mut BitReader<'_>, range: std::ops::Range<usize>) {
        for (index, (value, _)) in range.clone().zip(&mut self.0[range]) {
            *value = if index < 2 { varbit_unsigned(bits) as i64 } else { varbit(bits) };
        }
    }

    fn next(&mut self, bits: &mut BitReader<'_>, range: std::ops::Range<usize>) -> Option<()> {
        for (value, delta) in &mut self.0[range] {
            *delta = delta.wrapping_add(varbit(bits));
            *value = value.wrapping_add(*delta);
        }
        Some(())
    }

    fn value(&self, index: usize) -> f64 {
        self.0[index].0 as f64
    }

    fn values(&self, range: std::ops::Range<usize>) -> Vec<f64> {
        let mut count = 0i64;
        let counts = self.0[range].iter().map(|(delta, _)| {
            count = count.wrapping_add(*delta);
            count as f64
        });
        counts.collect()
    }
}

/// Floats, each with a window of its own.
struct FloatCounts(Vec<(u64, Window)>);

impl Counts for FloatCounts {
    fn new(numbers: usize) -> Self {
        Self(vec![(0, Window::default()); numbers])
    }

    fn first(&mut self, bits: &mut BitReader<'_>, range: std::ops::Range<usize>) {
        self.0[range].iter_mut().for_each(|(value, _)| *value = bits.read(64));
    }

    fn next(&mut self, bits: &mut BitReader<'_>, range: std::ops::Range<usize>) -> Option<()> {
        for (value, window) in &mut self.0[range] {
            *value = window.read(*value, bits)?;
        }
        Some(())
    }

    fn value(&self, index: usize) -> f64 {
        f64::from_bits(self.0[index].0)
    }

    fn values(&self, range: std::ops::Range<usize>) -> Vec<f64> {
        range.map(|index| self.value(index)).collect()
    }
}

fn histograms<C: Counts>(count: u16, bytes: &[u8], each: &mut dyn FnMut(i64, Value)) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let (flags, bytes) = bytes.split_first()?;
    let hint = if flags & GAUGE == GAUGE { CounterResetHint::Gauge } else { CounterResetHint::Unknown };
    let mut bits = BitReader::new(bytes);
    let layout = Layout::read(&mut bits, bytes.len() * 8)?;
    let negative = 2 + buckets(&layout.positive_spans);
    let end = negative + buckets(&layout.negative_spans);
    let mut counts = C::new(end);
    let (mut time_ms, mut delta, mut sum, mut sum_window) = (0i64, 0i64, 0, Window::default());
    for number in 0..count {
        if number == 0 {
            time_ms = varbit(&mut bits);
            counts.first(&mut bits, 0..2);
            sum = bits.read(64);
            counts.first(&mut bits, 2..end);
        } else {
            delta = delta.wrapping_add(varbit(&mut bits));
            time_ms = time_ms.wrapping_add(delta);
            counts.next(&mut bits, 0..2)?;
            sum = sum_window.read(sum, &mut bits)?;
            if !is_stale(f64::from_bits(sum)) {
                counts.next(&mut bits, 2..end)?;
            }
        }
        if bits.overrun() {
            return None;
        }
        let sum = f64::from_bits(sum);
        let histogram = match is_stale(sum) {
            true => FloatHistogram { sum, ..FloatHistogram::default() },
            false => FloatHistogram {
                counter_reset_hint: hint,
                schema: layout.schema,
                zero_threshold: layout.zero_threshold,
                zero_count: counts.value(1),
                count: counts.value(0),
                sum,
                positive_spans: layout.positive_spans.clone(),
                negative_spans: layout.negative_spans.clone(),
                positive_buckets: counts.values(2..negative),
                negative_buckets: counts.values(negative..end),
                custom_values: layout.custom_values.clone(),
            },
        };
        each(time_ms, Value::Histogram(Arc::new(histogram)));
    }
    Some(())
}
