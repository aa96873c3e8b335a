//! OpenTelemetry's metrics: what a request says, read from protocol buffers or JSON, and how it becomes series.

mod json;
mod names;
mod proto;
mod series;

pub(crate) use json::decode as decode_json;
pub(crate) use proto::decode as decode_proto;
pub(crate) use series::{OwnedSeries, series};

/// Names with the texts of their values.
pub(crate) type Attributes = Vec<(String, String)>;

/// What one resource sends.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Resource {
    pub(crate) attributes: Attributes,
    pub(crate) metrics: Vec<Metric>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) unit: String,
    pub(crate) data: Data,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Data {
    #[default]
    Nothing,
    Gauge(Vec<Number>),
    Sum {
        points: Vec<Number>,
        delta: bool,
        monotonic: bool,
    },
    Histogram {
        points: Vec<Histogram>,
        delta: bool,
    },
    Exponential {
        points: Vec<Exponential>,
        delta: bool,
    },
    Summary(Vec<Summary>),
}

/// What all points have.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) attributes: Attributes,
    pub(crate) time_ns: u64,
    /// Whether it says that there is no value (any more).
    pub(crate) ended: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Number {
    pub(crate) point: Point,
    pub(crate) value: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) point: Point,
    pub(crate) count: u64,
    pub(crate) sum: Option<f64>,
    pub(crate) counts: Vec<u64>,
    pub(crate) bounds: Vec<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Exponential {
    pub(crate) point: Point,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) scale: i32,
    pub(crate) zero_count: u64,
    pub(crate) zero_threshold: f64,
    pub(crate) positive: Buckets,
    pub(crate) negative: Buckets,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Buckets {
    pub(crate) offset: i32,
    pub(crate) counts: Vec<u64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) point: Point,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// Quantiles with their values.
    pub(crate) quantiles: Vec<(f64, f64)>,
}

/// The number of the temporality that counts anew in each interval.
const DELTA: u64 = 1;
/// The flag of a point without a value.
const NO_RECORDED_VALUE: u64 = 1;
