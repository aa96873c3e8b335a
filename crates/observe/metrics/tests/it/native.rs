//! Native histograms as remote write has them.

use coracle_promql::{FloatHistogram, histogram::Span};

use crate::remote::{bytes, double, number, varint};

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_spans(into: &mut Vec<u8>, field: u8, spans: &[Span]) {
    for span in spans {
        let mut message = Vec::new();
        number(&mut message, 1, zigzag(i64::from(span.offset)));
        number(&mut message, 2, u64::from(span.length));
        bytes(into, field, &message);
    }
}

fn put_counts(into: &mut Vec<u8>, field: u8, counts: &[f64], whole: bool) {
    let mut packed = Vec::new();
    let mut before = 0;
    for count in counts {
        if whole {
            varint(&mut packed, zigzag(*count as i64 - before));
            before = *count as i64;
        } else {
            packed.extend_from_slice(&count.to_bits().to_le_bytes());
        }
    }
    bytes(into, if whole { field } else { field + 1 }, &packed);
}

/// Adds a histogram to a series: with whole counts where it has only such, with floats otherwise.
pub fn put(series: &mut Vec<u8>, time_ms: i64, histogram: &FloatHistogram) {
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
    let whole = buckets.chain([&histogram.count, &histogram.zero_count]).all(|count| count.fract() == 0.0);
    let mut message = Vec::new();
    if whole {
        number(&mut message, 1, histogram.count as u64);
        number(&mut message, 6, histogram.zero_count as u64);
    } else {
        double(&mut message, 2, histogram.count);
        double(&mut message, 7, histogram.zero_count);
    }
    double(&mut message, 3, histogram.sum);
    number(&mut message, 4, zigzag(i64::from(histogram.schema)));
    double(&mut message, 5, histogram.zero_threshold);
    put_spans(&mut message, 8, &histogram.negative_spans);
    put_counts(&mut message, 9, &histogram.negative_buckets, whole);
    put_spans(&mut message, 11, &histogram.positive_spans);
    put_counts(&mut message, 12, &histogram.positive_buckets, whole);
    number(&mut message, 14, histogram.counter_reset_hint as u64);
    number(&mut message, 15, time_ms as u64);
    let bounds = histogram.custom_values.iter().flat_map(|bounds| bounds.iter());
    let packed: Vec<u8> = bounds.flat_map(|bound| bound.to_bits().to_le_bytes()).collect();
    bytes(&mut message, 16, &packed);
    bytes(series, 4, &message);
}
