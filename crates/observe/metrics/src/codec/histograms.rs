//! A chunk of native histograms that grows a sample at a time: the layout of the buckets once, then only how the counts
//! move. Counts that are whole numbers take a byte or two, others what differs in their bits.
//!
//! ```text
//! chunk  = count:varint sample*
//! sample = flags:u8 time_change:zigzag [layout] [sum count zero buckets*]
//! layout = schema:zigzag zero_threshold:u64 spans spans bounds:varint bound:u64*
//! spans  = spans:varint (offset:zigzag length:varint)*
//! ```

use std::sync::Arc;

use coracle_promql::{
    Column, FloatHistogram,
    histogram::{CounterResetHint, Span},
    storage::STALE_NAN,
};

use super::varint::{self, Cursor, unzigzag};

const SAME_LAYOUT: u8 = 1;
const WHOLE: u8 = 2;
const STALE: u8 = 4;
const HINT_SHIFT: u8 = 4;

/// Buckets a histogram may have; anything above is damage, or an attack.
pub(crate) const BUCKETS_MAX: usize = 10_000;
/// Counts up to here are exact as floats and as integers.
const WHOLE_MAX: f64 = 4_503_599_627_370_496.0;

/// Samples in ascending order of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenHistograms {
    bytes: Vec<u8>,
    count: u16,
    first_ms: i64,
    last_ms: i64,
    last_delta: i64,
    last: FloatHistogram,
}

impl OpenHistograms {
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    pub(crate) fn first_ms(&self) -> i64 {
        self.first_ms
    }

    pub(crate) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let last = &self.last;
        self.bytes.capacity()
            + size_of::<Self>()
            + 8 * (last.positive_buckets.len() + last.negative_buckets.len())
            + size_of::<Span>() * (last.positive_spans.len() + last.negative_spans.len())
    }

    pub(crate) fn push(&mut self, time_ms: i64, histogram: &FloatHistogram) {
        if self.count == 0 {
            self.first_ms = time_ms;
        }
        let delta = time_ms.wrapping_sub(self.last_ms);
        let hint = (histogram.counter_reset_hint as u8) << HINT_SHIFT;
        let time_change = delta.wrapping_sub(self.last_delta);
        (self.last_ms, self.last_delta) = (time_ms, delta);
        self.count += 1;
        if histogram.is_stale() {
            self.bytes.push(STALE | hint);
            return varint::put_signed(&mut self.bytes, time_change);
        }
        let same_layout = same_layout(&self.last, histogram);
        // Where the layout changes there is nothing to compare with.
        let whole = is_whole(histogram) && (!same_layout || is_whole(&self.last));
        self.bytes.push(if same_layout { SAME_LAYOUT } else { 0 } | if whole { WHOLE } else { 0 } | hint);
        varint::put_signed(&mut self.bytes, time_change);
        if !same_layout {
            put_layout(&mut self.bytes, histogram);
            self.last = empty_like(histogram);
        }
        put_bits(&mut self.bytes, self.last.sum, histogram.sum);
        for (before, after) in counts(&self.last).zip(counts(histogram)) {
            match whole {
                true => varint::put_signed(&mut self.bytes, after as i64 - before as i64),
                false => put_bits(&mut self.bytes, before, after),
            }
        }
        self.last.clone_from(histogram);
    }

    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        varint::put(into, u64::from(self.count));
        into.extend_from_slice(&self.bytes);
    }
}

/// Low bytes that are zero become high ones, and a varint drops those.
fn put_bits(into: &mut Vec<u8>, before: f64, after: f64) {
    varint::put(into, (before.to_bits() ^ after.to_bits()).swap_bytes());
}

fn counts(histogram: &FloatHistogram) -> impl Iterator<Item = f64> + '_ {
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets).copied();
    [histogram.count, histogram.zero_count].into_iter().chain(buckets)
}

fn is_whole(histogram: &FloatHistogram) -> bool {
    counts(histogram)
        .all(|count| count.abs() < WHOLE_MAX && count.fract() == 0.0 && (count != 0.0 || count.is_sign_positive()))
}

/// Whether both have the same buckets.
pub(crate) fn same_layout(one: &FloatHistogram, other: &FloatHistogram) -> bool {
    one.schema == other.schema
        && one.zero_threshold.to_bits() == other.zero_threshold.to_bits()
        && one.positive_spans == other.positive_spans
        && one.negative_spans == other.negative_spans
        && one.positive_buckets.len() == other.positive_buckets.len()
        && one.negative_buckets.len() == other.negative_buckets.len()
        && one.bounds().iter().map(|bound| bound.to_bits()).eq(other.bounds().iter().map(|bound| bound.to_bits()))
}

fn empty_like(histogram: &FloatHistogram) -> FloatHistogram {
    FloatHistogram {
        counter_reset_hint: CounterResetHint::Unknown,
        zero_count: 0.0,
        count: 0.0,
        sum: 0.0,
        positive_buckets: vec![0.0; histogram.positive_buckets.len()],
        negative_buckets: vec![0.0; histogram.negative_buckets.len()],
        ..histogram.clone()
    }
}

fn put_layout(into: &mut Vec<u8>, histogram: &FloatHistogram) {
    varint::put_signed(into, i64::from(histogram.schema));
    into.extend_from_slice(&histogram.zero_threshold.to_bits().to_le_bytes());
    for (spans, buckets) in [
        (&histogram.positive_spans, &histogram.positive_buckets),
        (&histogram.negative_spans, &histogram.negative_buckets),
    ] {
        varint::put(into, spans.len() as u64);
        for span in spans {
            varint::put_signed(into, i64::from(span.offset));
            varint::put(into, u64::from(span.length));
        }
        varint::put(into, buckets.len() as u64);
    }
    varint::put(into, histogram.bounds().len() as u64);
    for bound in histogram.bounds() {
        into.extend_from_slice(&bound.to_bits().to_le_bytes());
    }
}

fn take_layout(cursor: &mut Cursor<'_>) -> Option<FloatHistogram> {
    let schema = cursor.signed()?.try_into().ok()?;
    let zero_threshold = f64::from_bits(cursor.u64()?);
    let (positive_spans, positive_buckets) = take_spans(cursor)?;
    let (negative_spans, negative_buckets) = take_spans(cursor)?;
    let bounds = cursor.usize().filter(|bounds| *bounds <= cursor.0.len() / 8)?;
    let bounds: Option<Arc<[f64]>> = (0..bounds).map(|_| cursor.u64().map(f64::from_bits)).collect();
    Some(FloatHistogram {
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        custom_values: bounds.filter(|bounds| !bounds.is_empty()),
        ..FloatHistogram::default()
    })
}

fn take_spans(cursor: &mut Cursor<'_>) -> Option<(Vec<Span>, Vec<f64>)> {
    let spans = cursor.usize().filter(|spans| *spans <= cursor.0.len() / 2)?;
    let spans = (0..spans)
        .map(|_| Some(Span { offset: cursor.signed()?.try_into().ok()?, length: cursor.varint()?.try_into().ok()? }))
        .collect::<Option<_>>()?;
    let buckets = cursor.usize().filter(|buckets| *buckets <= BUCKETS_MAX)?;
    Some((spans, vec![0.0; buckets]))
}

/// Appends what lies in `start_ms..=end_ms`; `None` where the bytes are no such chunk.
pub(crate) fn decode(bytes: &[u8], start_ms: i64, end_ms: i64, into: &mut Column<Arc<FloatHistogram>>) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let count = cursor.usize()?;
    let (mut time_ms, mut delta) = (0i64, 0i64);
    let mut last = FloatHistogram::default();
    for _ in 0..count {
        let flags = cursor.u8()?;
        delta = delta.wrapping_add(cursor.signed()?);
        time_ms = time_ms.wrapping_add(delta);
        let hint = hint(flags >> HINT_SHIFT);
        let histogram = if flags & STALE != 0 {
            FloatHistogram { sum: f64::from_bits(STALE_NAN), counter_reset_hint: hint, ..FloatHistogram::default() }
        } else {
            if flags & SAME_LAYOUT == 0 {
                last = take_layout(&mut cursor)?;
            }
            last.sum = take_bits(&mut cursor, last.sum)?;
            take_counts(&mut cursor, flags & WHOLE != 0, &mut last)?;
            last.counter_reset_hint = hint;
            if time_ms < start_ms || time_ms > end_ms {
                continue;
            }
            last.clone()
        };
        if (start_ms..=end_ms).contains(&time_ms) {
            into.push(time_ms, Arc::new(histogram));
        }
    }
    Some(())
}

fn hint(bits: u8) -> CounterResetHint {
    match bits & 3 {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        _ => CounterResetHint::Gauge,
    }
}

fn take_bits(cursor: &mut Cursor<'_>, before: f64) -> Option<f64> {
    Some(f64::from_bits(before.to_bits() ^ cursor.varint()?.swap_bytes()))
}

fn take_counts(cursor: &mut Cursor<'_>, whole: bool, into: &mut FloatHistogram) -> Option<()> {
    let buckets = into.positive_buckets.iter_mut().chain(&mut into.negative_buckets);
    for count in [&mut into.count, &mut into.zero_count].into_iter().chain(buckets) {
        *count = match whole {
            true => (*count as i64).wrapping_add(unzigzag(cursor.varint()?)) as f64,
            false => take_bits(cursor, *count)?,
        };
    }
    Some(())
}
