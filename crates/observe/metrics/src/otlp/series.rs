//! Points to samples: the attributes become labels, histograms become `_bucket`, `_sum` and `_count` or native ones, and
//! each resource has a `target_info`.

use std::sync::Arc;

use coracle_promql::{
    FloatHistogram,
    histogram::{EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, Span},
    labels::METRIC_NAME,
    number::plain_float,
    storage::STALE_NAN,
};

use super::{Attributes, Buckets, Data, Exponential, Histogram, Metric, Point, Resource, Summary, names};
use crate::{Exemplar, Metadata, Value};

/// What observations near zero are close to, when the sender does not say.
const ZERO_THRESHOLD: f64 = 1e-128;

/// A series with one sample, and what is known about its metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnedSeries {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) time_ms: i64,
    pub(crate) value: Value,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) exemplars: Vec<Exemplar>,
}

/// All samples of a request; errors name metrics that cannot be taken in.
pub(crate) fn series(resources: &[Resource]) -> (Vec<OwnedSeries>, Vec<String>) {
    let mut into = Vec::new();
    let mut errors = Vec::new();
    for resource in resources {
        let identity = identity(&resource.attributes);
        let mut newest_ms = None;
        for metric in &resource.metrics {
            let from = into.len();
            let mut writer = Writer { name: names::metric_name(metric), identity: &identity, into: &mut into };
            if let Err(why) = writer.metric(metric) {
                errors.push(format!("{}: {why}", metric.name));
            }
            newest_ms = newest_ms.max(into[from..].iter().map(|series| series.time_ms).max());
        }
        if let (Some(time_ms), Some(labels)) = (newest_ms, target_info(&resource.attributes, &identity)) {
            let metadata =
                Metadata { kind: "gauge".to_owned(), help: "Target metadata".to_owned(), unit: String::new() };
            let value = Value::Float(1.0);
            into.push(OwnedSeries { labels, time_ms, value, metadata: Some(metadata), exemplars: Vec::new() });
        }
    }
    (into, errors)
}

/// The labels that say who a resource is.
fn identity(attributes: &Attributes) -> Attributes {
    let of = |name: &str| attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    let job = match (of("service.namespace"), of("service.name")) {
        (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
        (_, name) => name,
    };
    let pair = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
    [pair("job", job), pair("instance", of("service.instance.id"))].into_iter().flatten().collect()
}

fn target_info(attributes: &Attributes, identity: &Attributes) -> Option<Attributes> {
    let says_who = ["service.namespace", "service.name", "service.instance.id"];
    let rest: Attributes = attributes.iter().filter(|(name, _)| !says_who.contains(&name.as_str())).cloned().collect();
    if rest.is_empty() || identity.is_empty() {
        return None;
    }
    Some(labels("target_info", identity, &rest, None))
}

/// Attributes as labels; those whose names become the same are joined.
fn labels(name: &str, identity: &Attributes, attributes: &Attributes, extra: Option<(&str, String)>) -> Attributes {
    let mut labels: Attributes = Vec::with_capacity(attributes.len() + 4);
    let mut sorted: Vec<&(String, String)> = attributes.iter().collect();
    sorted.sort();
    for (name, value) in sorted {
        let name = names::label_name(name);
        match labels.iter_mut().find(|(other, _)| *other == name) {
            Some((_, joined)) => {
                joined.push(';');
                joined.push_str(value);
            }
            None => labels.push((name, value.clone())),
        }
    }
    let mut set = |name: &str, value: String| {
        labels.retain(|(other, _)| other != name);
        labels.push((name.to_owned(), value));
    };
    for (name, value) in identity {
        set(name, value.clone());
    }
    if let Some((name, value)) = extra {
        set(name, value);
    }
    set(METRIC_NAME, name.to_owned());
    labels
}

struct Writer<'a> {
    name: String,
    identity: &'a Attributes,
    into: &'a mut Vec<OwnedSeries>,
}

impl Writer<'_> {
    fn metric(&mut self, metric: &Metric) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("a metric needs a name".to_owned());
        }
        let from = self.into.len();
        let kind = match &metric.data {
            Data::Nothing => return Ok(()),
            Data::Sum { delta: true, .. }
            | Data::Histogram { delta: true, .. }
            | Data::Exponential { delta: true, .. } => {
                return Err("invalid temporality and type combination: delta is not taken in".to_owned());
            }
            Data::Gauge(points) => {
                points.iter().for_each(|number| self.float("", &number.point, None, number.value));
                "gauge"
            }
            Data::Sum { points, monotonic, .. } => {
                for number in points {
                    self.float("", &number.point, None, number.value);
                    self.exemplars(&number.point.exemplars);
                }
                if *monotonic { "counter" } else { "gauge" }
            }
            Data::Histogram { points, .. } => {
                points.iter().for_each(|point| self.histogram(point));
                "histogram"
            }
            Data::Exponential { points, .. } => {
                points.iter().try_for_each(|point| self.exponential(point))?;
                "histogram"
            }
            Data::Summary(points) => {
                points.iter().for_each(|point| self.summary(point));
                "summary"
            }
        };
        if let Some(first) = self.into.get_mut(from) {
            let (help, unit) = (metric.description.clone(), metric.unit.clone());
            first.metadata = Some(Metadata { kind: kind.to_owned(), help, unit });
        }
        Ok(())
    }

    fn push(&mut self, suffix: &str, point: &Point, extra: Option<(&str, String)>, value: Value) {
        let name = format!("{}{suffix}", self.name);
        let labels = labels(&name, self.identity, &point.attributes, extra);
        let time_ms = (point.time_ns / 1_000_000) as i64;
        self.into.push(OwnedSeries { labels, time_ms, value, metadata: None, exemplars: Vec::new() });
    }

    fn float(&mut self, suffix: &str, point: &Point, extra: Option<(&str, String)>, value: f64) {
        let value = if point.ended { f64::from_bits(STALE_NAN) } else { value };
        self.push(suffix, point, extra, Value::Float(value));
    }

    fn histogram(&mut self, histogram: &Histogram) {
        let point = &histogram.point;
        if let Some(sum) = histogram.sum {
            self.float("_sum", point, None, sum);
        }
        self.float("_count", point, None, histogram.count as f64);
        let mut exemplars = point.exemplars.clone();
        exemplars.sort_by(|one, other| one.value.total_cmp(&other.value));
        let mut exemplars = &exemplars[..];
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below += count;
            self.float("_bucket", point, Some(("le", plain_float(*bound))), below as f64);
            let own;
            (own, exemplars) = exemplars.split_at(exemplars.partition_point(|exemplar| exemplar.value <= *bound));
            self.exemplars(own);
        }
        self.float("_bucket", point, Some(("le", "+Inf".to_owned())), histogram.count as f64);
        self.exemplars(exemplars);
    }

    /// Adds to the series that came last.
    fn exemplars(&mut self, exemplars: &[Exemplar]) {
        if let Some(series) = self.into.last_mut() {
            series.exemplars.extend_from_slice(exemplars);
        }
    }

    fn summary(&mut self, summary: &Summary) {
        self.float("_sum", &summary.point, None, summary.sum);
        self.float("_count", &summary.point, None, summary.count as f64);
        for (quantile, value) in &summary.quantiles {
            self.float("", &summary.point, Some(("quantile", plain_float(*quantile))), *value);
        }
    }

    fn exponential(&mut self, histogram: &Exponential) -> Result<(), String> {
        if histogram.scale < EXPONENTIAL_SCHEMA_MIN {
            return Err(format!(
                "cannot convert exponential to native histogram: scale {} is too coarse",
                histogram.scale
            ));
        }
        let narrower = (histogram.scale - EXPONENTIAL_SCHEMA_MAX).max(0) as u32;
        let (positive_spans, positive_buckets) = spans(&histogram.positive, narrower);
        let (negative_spans, negative_buckets) = spans(&histogram.negative, narrower);
        let threshold = histogram.zero_threshold;
        let native = FloatHistogram {
            schema: histogram.scale.min(EXPONENTIAL_SCHEMA_MAX),
            zero_threshold: if threshold > 0.0 { threshold } else { ZERO_THRESHOLD },
            zero_count: histogram.zero_count as f64,
            count: histogram.count as f64,
            sum: if histogram.point.ended { f64::from_bits(STALE_NAN) } else { histogram.sum },
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            ..FloatHistogram::default()
        };
        self.push("", &histogram.point, None, Value::Histogram(Arc::new(native)));
        self.exemplars(&histogram.point.exemplars);
        Ok(())
    }
}

/// Buckets by twos to the `narrower` joined. OpenTelemetry counts buckets by their lower bound, Prometheus by their upper.
fn spans(buckets: &Buckets, narrower: u32) -> (Vec<Span>, Vec<f64>) {
    let mut joined: Vec<(i32, f64)> = Vec::new();
    for (index, count) in (buckets.offset..).zip(&buckets.counts) {
        let index = (index >> narrower.min(31)) + 1;
        match joined.last_mut() {
            Some((last, sum)) if *last == index => *sum += *count as f64,
            _ => joined.push((index, *count as f64)),
        }
    }
    let filled: Vec<(i32, f64)> = joined.into_iter().filter(|(_, count)| *count != 0.0).collect();
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for (index, _) in &filled {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            _ => spans.push(Span { offset: index - next, length: 1 }),
        }
        next = index + 1;
    }
    (spans, filled.into_iter().map(|(_, count)| count).collect())
}
