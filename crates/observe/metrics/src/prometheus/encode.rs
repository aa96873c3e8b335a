//! The chunks of Prometheus, written: floats as XOR, histograms with float counts.

use coracle_promql::{
    FloatHistogram,
    histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Span},
    is_stale,
};

use super::chunk::{FLOAT_HISTOGRAM, GAUGE, TIME_WIDTHS, VARBIT_WIDTHS, XOR};
use crate::codec::{bits::BitWriter, varint, xor::Window};

/// As many as Prometheus itself puts into a chunk.
const SAMPLES_MAX: usize = 120;

/// A chunk that is ready to be sent.
pub(crate) struct Chunk {
    pub(crate) encoding: u8,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) bytes: Vec<u8>,
}

/// Chunks of floats in ascending order of time.
pub(crate) fn floats(times_ms: &[i64], values: &[f64], mut each: impl FnMut(Chunk)) {
    for (times_ms, values) in times_ms.chunks(SAMPLES_MAX).zip(values.chunks(SAMPLES_MAX)) {
        let (first_ms, last_ms) = (times_ms[0], times_ms[times_ms.len() - 1]);
        each(Chunk { encoding: XOR, first_ms, last_ms, bytes: xor(times_ms, values) });
    }
}

fn xor(times_ms: &[i64], values: &[f64]) -> Vec<u8> {
    let mut bytes = (times_ms.len() as u16).to_be_bytes().to_vec();
    varint::put_signed(&mut bytes, times_ms[0]);
    let mut bits = BitWriter::after(bytes);
    bits.push(values[0].to_bits(), 64);
    let (mut delta, mut window) = (0, Window::default());
    for number in 1..times_ms.len() {
        let next = times_ms[number].wrapping_sub(times_ms[number - 1]);
        if number == 1 {
            let mut varint = Vec::new();
            varint::put(&mut varint, next as u64);
            varint.iter().for_each(|byte| bits.push(u64::from(*byte), 8));
        } else {
            put_signed(&mut bits, next.wrapping_sub(delta), &TIME_WIDTHS);
        }
        delta = next;
        window.write(values[number - 1].to_bits(), values[number].to_bits(), &mut bits);
    }
    bits.finish()
}

/// Writes a number behind as many ones as `widths` has narrower widths.
fn put_signed(bits: &mut BitWriter, value: i64, widths: &[u32]) {
    let holds = |width: u32| match width {
        0 => value == 0,
        64 => true,
        width => value > -(1 << (width - 1)) && value <= 1 << (width - 1),
    };
    put(bits, value as u64, widths, holds);
}

fn put(bits: &mut BitWriter, value: u64, widths: &[u32], holds: impl Fn(u32) -> bool) {
    let ones = widths.iter().position(|width| holds(*width)).expect("the last width holds everything");
    bits.push(u64::MAX, ones as u32);
    if ones + 1 < widths.len() {
        bits.push(0, 1);
    }
    bits.push(value, widths[ones]);
}

fn put_unsigned(bits: &mut BitWriter, value: u64) {
    put(bits, value, &VARBIT_WIDTHS, |width| 64 - value.leading_zeros() <= width);
}

/// Chunks of histograms in ascending order of time: a new one where the buckets change, or counts may have begun anew.
pub(crate) fn histograms<H: AsRef<FloatHistogram>>(times_ms: &[i64], values: &[H], mut each: impl FnMut(Chunk)) {
    let mut from = 0;
    while from < values.len() {
        let first = values[from].as_ref();
        let goes_on = |other: &&H| belongs(first, other.as_ref());
        let len = 1 + values[from + 1..].iter().take(SAMPLES_MAX - 1).take_while(goes_on).count();
        let bytes = float_histograms(&times_ms[from..from + len], &values[from..from + len]);
        let (first_ms, last_ms) = (times_ms[from], times_ms[from + len - 1]);
        each(Chunk { encoding: FLOAT_HISTOGRAM, first_ms, last_ms, bytes });
        from += len;
    }
}

/// Whether a histogram can follow in a chunk. Readers take later ones of a chunk for such that were not reset.
fn belongs(first: &FloatHistogram, other: &FloatHistogram) -> bool {
    !is_stale(first.sum)
        && !is_stale(other.sum)
        && first.schema == other.schema
        && first.zero_threshold == other.zero_threshold
        && first.positive_spans == other.positive_spans
        && first.negative_spans == other.negative_spans
        && first.custom_values == other.custom_values
        && match first.counter_reset_hint {
            CounterResetHint::Gauge => other.counter_reset_hint == CounterResetHint::Gauge,
            _ => other.counter_reset_hint == CounterResetHint::NotReset,
        }
}

fn float_histograms<H: AsRef<FloatHistogram>>(times_ms: &[i64], values: &[H]) -> Vec<u8> {
    let first = values[0].as_ref();
    let mut bytes = (times_ms.len() as u16).to_be_bytes().to_vec();
    bytes.push(if first.counter_reset_hint == CounterResetHint::Gauge { GAUGE } else { 0 });
    let mut bits = BitWriter::after(bytes);
    put_layout(&mut bits, first);
    put_signed(&mut bits, times_ms[0], &VARBIT_WIDTHS);
    let mut before = numbers(first);
    before.iter().for_each(|number| bits.push(*number, 64));
    let mut windows = vec![Window::default(); before.len()];
    let mut delta = 0;
    for number in 1..values.len() {
        let next = times_ms[number].wrapping_sub(times_ms[number - 1]);
        put_signed(&mut bits, next.wrapping_sub(delta), &VARBIT_WIDTHS);
        delta = next;
        let after = numbers(values[number].as_ref());
        for ((window, before), after) in windows.iter_mut().zip(&before).zip(&after) {
            window.write(*before, *after, &mut bits);
        }
        before = after;
    }
    bits.finish()
}

/// The numbers of a histogram in the order of a chunk.
fn numbers(histogram: &FloatHistogram) -> Vec<u64> {
    let FloatHistogram { count, zero_count, sum, positive_buckets, negative_buckets, .. } = histogram;
    let buckets = positive_buckets.iter().chain(negative_buckets);
    [count, zero_count, sum].into_iter().chain(buckets).map(|number| number.to_bits()).collect()
}

fn put_layout(bits: &mut BitWriter, histogram: &FloatHistogram) {
    if histogram.zero_threshold == 0.0 {
        bits.push(0, 8);
    } else {
        bits.push(255, 8);
        bits.push(histogram.zero_threshold.to_bits(), 64);
    }
    put_signed(bits, i64::from(histogram.schema), &VARBIT_WIDTHS);
    put_spans(bits, &histogram.positive_spans);
    put_spans(bits, &histogram.negative_spans);
    if histogram.schema == CUSTOM_BUCKETS_SCHEMA {
        let bounds = histogram.custom_values.as_deref().unwrap_or_default();
        put_unsigned(bits, bounds.len() as u64);
        for bound in bounds {
            // A zero, and all digits.
            bits.push(0, 1);
            bits.push(bound.to_bits(), 64);
        }
    }
}

fn put_spans(bits: &mut BitWriter, spans: &[Span]) {
    put_unsigned(bits, spans.len() as u64);
    for span in spans {
        put_unsigned(bits, u64::from(span.length));
        put_signed(bits, i64::from(span.offset), &VARBIT_WIDTHS);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{Value, prometheus::chunk::decode};

    proptest! {
        #[test]
        fn floats_come_back(
            start in -1_000_000i64..2_000_000_000_000,
            samples in prop::collection::vec((1i64..1 << 30, any::<f64>()), 1..300),
        ) {
            let mut time_ms = start;
            let times: Vec<i64> = samples.iter().map(|(step, _)| { time_ms += step; time_ms }).collect();
            let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
            let mut read = Vec::new();
            floats(&times, &values, |chunk| {
                let each = &mut |time_ms, value| match value {
                    Value::Float(value) => read.push((time_ms, f64::to_bits(value))),
                    Value::Histogram(_) => panic!("only floats were written"),
                };
                decode(chunk.encoding, &chunk.bytes, each).expect("it was written here");
            });
            let written: Vec<_> = times.iter().copied().zip(values.iter().map(|value| value.to_bits())).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn noise_is_no_reason_to_panic(encoding in 0u8..6, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(encoding, &bytes, &mut |_, _| {});
        }

        #[test]
        fn histograms_come_back(
            custom: bool, gauge: bool,
            steps in prop::collection::vec((1i64..100_000, prop::collection::vec(0.0f64..1e6, 5)), 1..140),
        ) {
            let span = |offset, length| Span { offset, length };
            let mut time_ms = 1_700_000_000_000;
            let hint = |number| match (gauge, number) {
                (true, _) => CounterResetHint::Gauge,
                (_, 0) => CounterResetHint::Unknown,
                _ => CounterResetHint::NotReset,
            };
            let mut written = Vec::new();
            for (number, (step, numbers)) in steps.iter().enumerate() {
                time_ms += step;
                written.push((time_ms, Arc::new(FloatHistogram {
                    counter_reset_hint: hint(number),
                    schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { 3 },
                    zero_threshold: if custom { 0.0 } else { 0.01 },
                    zero_count: numbers[0],
                    count: numbers[1],
                    sum: numbers[2],
                    positive_spans: vec![span(-3, 1), span(40, 1)],
                    negative_spans: if custom { vec![] } else { vec![span(2, 1)] },
                    positive_buckets: numbers[3..5].to_vec(),
                    negative_buckets: if custom { vec![] } else { vec![numbers[0]] },
                    custom_values: custom.then(|| Arc::from([0.5, 2.5, 1e9])),
                })));
            }
            let (times, values): (Vec<i64>, Vec<Arc<FloatHistogram>>) = written.iter().cloned().unzip();
            let mut read = Vec::new();
            histograms(&times, &values, |chunk| {
                let each = &mut |time_ms, value| match value {
                    Value::Histogram(value) => read.push((time_ms, value)),
                    Value::Float(_) => panic!("only histograms were written"),
                };
                decode(chunk.encoding, &chunk.bytes, each).expect("it was written here");
            });
            prop_assert_eq!(read, written);
        }
    }
}
