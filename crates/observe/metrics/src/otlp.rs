//! OpenTelemetry's metrics: what a request says, read from protocol buffers or JSON, and how it becomes series.

mod json;
mod names;
mod proto;
mod series;

pub(crate) use json::decode as decode_json;
pub(crate) use proto::decode as decode_proto;
pub(crate) use series::{OwnedSeries, series};

use coracle_promql::Labels;

use crate::Exemplar;

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
    pub(crate) exemplars: Vec<Exemplar>,
}

/// An observation that stands for others, as it is sent.
#[derive(Debug, Default)]
pub(crate) struct SentExemplar {
    /// In hexadecimal; empty where there is none.
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) attributes: Attributes,
    pub(crate) time_ns: u64,
    pub(crate) value: f64,
}

/// Characters that names and values of an exemplar's labels may have together, by OpenMetrics.
const EXEMPLAR_CHARACTERS_MAX: usize = 128;

impl SentExemplar {
    /// With the attributes as labels, unless that makes too many of them.
    fn finish(mut self) -> Exemplar {
        let ids = [("trace_id", self.trace_id), ("span_id", self.span_id)];
        let ids = ids.into_iter().filter(|(_, id)| !id.is_empty()).map(|(name, id)| (name.to_owned(), id));
        let mut labels: Attributes = ids.collect();
        let characters = |(name, value): &(String, String)| name.chars().count() + value.chars().count();
        if labels.iter().chain(&self.attributes).map(characters).sum::<usize>() <= EXEMPLAR_CHARACTERS_MAX {
            labels.append(&mut self.attributes);
        }
        Exemplar { labels: Labels::new(labels), value: self.value, time_ms: (self.time_ns / 1_000_000) as i64 }
    }
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
