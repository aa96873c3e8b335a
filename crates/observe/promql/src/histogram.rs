//! Native histograms with float counts: exponential buckets of every schema and custom buckets, with Prometheus'
//! arithmetic.

mod arithmetic;
mod bounds;
mod cells;
mod compact;
mod reset;
mod text;
mod trim;
mod validate;

use std::sync::Arc;

pub use arithmetic::Combined;
pub use bounds::{Bucket, Side, bound, exponential_bound};
pub use validate::HistogramError;

/// The schema that says that the bounds stand in `custom_values`.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// The coarsest schema of exponential buckets.
pub const EXPONENTIAL_SCHEMA_MIN: i32 = -4;
/// The finest schema of exponential buckets.
pub const EXPONENTIAL_SCHEMA_MAX: i32 = 8;

/// What is known about a counter reset between the sample before and this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CounterResetHint {
    #[default]
    Unknown = 0,
    Reset = 1,
    NotReset = 2,
    Gauge = 3,
}

/// A run of `length` consecutive buckets, `offset` behind the last one (the first: from bucket 0).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

/// A native histogram. Bucket counts are absolute, in the order of the spans, away from zero.
#[derive(Debug, Clone, Default)]
pub struct FloatHistogram {
    pub counter_reset_hint: CounterResetHint,
    /// -4 to 8: every power of two is divided into 2^schema buckets; or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    /// Also the place of the stale marker.
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub negative_spans: Vec<Span>,
    pub positive_buckets: Vec<f64>,
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, strictly ascending, without the +Inf at the end; shared by a series' samples.
    pub custom_values: Option<Arc<[f64]>>,
}

/// Equal as data: floats by their bits, the hint left out.
impl PartialEq for FloatHistogram {
    fn eq(&self, other: &Self) -> bool {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && self.bounds() == other.bounds()
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && bits(&self.positive_buckets) == bits(&other.positive_buckets)
            && bits(&self.negative_buckets) == bits(&other.negative_buckets)
    }
}

impl FloatHistogram {
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The custom buckets' upper bounds; empty for exponential ones.
    pub fn bounds(&self) -> &[f64] {
        self.custom_values.as_deref().unwrap_or(&[])
    }

    pub fn is_stale(&self) -> bool {
        crate::storage::is_stale(self.sum)
    }
}
