//! Warnings and infos that go with an answer.

use std::{collections::HashMap, fmt};

use crate::{number::short_float, parser::ast::Span, quote::quote};

/// What happened. Metric names may be empty where they are not known.
#[derive(Debug, Clone, PartialEq)]
pub enum Annotation {
    Storage(String),
    InvalidRatio { ratio: f64, capped_to: f64 },
    InvalidQuantile(f64),
    BadBucketLabel { metric: String, label: String },
    MixedFloatsHistograms { metric: String },
    MixedFloatsHistogramsInAggregation,
    MixedClassicNativeHistograms { metric: String },
    NativeHistogramNotCounter { metric: String },
    NativeHistogramNotGauge { metric: String },
    MixedExponentialCustom { metric: String },
    IncompatibleBucketLayout { op: &'static str },
    SortInRangeQuery,
    PossibleNonCounter { metric: String },
    PossibleNonCounterLabel { metric: String, label: String },
    ForcedMonotonicity { metric: String, time_ms: (i64, i64), buckets: (f64, f64), difference: f64, samples: usize },
    IncompatibleTypes { op: &'static str, lhs: &'static str, rhs: &'static str },
    HistogramIgnoredInAggregation { op: &'static str },
    HistogramIgnoredInMixedRange { metric: String },
    QuantileIsNan { metric: String },
    QuantileIsSkewed { metric: String },
    FractionExcludesNan { metric: String },
    CounterResetCollision { operation: &'static str },
    MismatchedCustomBuckets { operation: &'static str },
}

/// The names of operations on histograms, as annotations call them.
pub(super) const ADDITION: &str = "addition";
pub(super) const SUBTRACTION: &str = "subtraction";
pub(super) const AGGREGATION: &str = "aggregation";

const MONOTONICITY: &str = "input to histogram_quantile needed to be fixed for monotonicity (see \
     https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";

impl Annotation {
    /// An info tells less urgently than a warning.
    pub fn is_info(&self) -> bool {
        use Annotation::*;
        matches!(
            self,
            PossibleNonCounter { .. }
                | PossibleNonCounterLabel { .. }
                | ForcedMonotonicity { .. }
                | IncompatibleTypes { .. }
                | HistogramIgnoredInAggregation { .. }
                | HistogramIgnoredInMixedRange { .. }
                | QuantileIsNan { .. }
                | QuantileIsSkewed { .. }
                | FractionExcludesNan { .. }
                | MismatchedCustomBuckets { .. }
        )
    }

    /// Two of the same kind about the same thing, made one.
    fn merge(&mut self, other: &Annotation) {
        let Annotation::ForcedMonotonicity { time_ms, buckets, difference, samples, .. } = self else { return };
        if let Annotation::ForcedMonotonicity {
            time_ms: other_time,
            buckets: other_buckets,
            difference: other_difference,
            samples: other_samples,
            ..
        } = other
        {
            *time_ms = (time_ms.0.min(other_time.0), time_ms.1.max(other_time.1));
            *buckets = (buckets.0.min(other_buckets.0), buckets.1.max(other_buckets.1));
            *difference = difference.max(*other_difference);
            *samples += other_samples;
        }
    }

    /// What goes between the message and the position once the query is known.
    fn details(&self) -> String {
        let Annotation::ForcedMonotonicity { time_ms, buckets, difference, samples, .. } = self else {
            return String::new();
        };
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {samples} samples from {} to {}",
            short_float(buckets.0),
            short_float(buckets.1),
            two_digits(*difference),
            super::calendar::rfc3339(i128::from(time_ms.0.div_euclid(1000))),
            super::calendar::rfc3339(i128::from(time_ms.1.div_euclid(1000))),
        )
    }
}

/// Go's `%.2g`.
fn two_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().expect("a float was just written");
    if rounded != 0.0 && rounded.abs() >= 100.0 {
        let scientific = format!("{rounded:e}");
        let (mantissa, exponent) = scientific.split_once('e').expect("the e format has an exponent");
        return format!("{mantissa}e+{:02}", exponent.parse::<i32>().unwrap_or_default());
    }
    short_float(rounded)
}

struct ForMetric<'a>(&'a str);

impl fmt::Display for ForMetric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " for metric name {}", quote(self.0)) }
    }
}

/// Without position, with the word for its kind in front.
impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Annotation::*;
        if let Storage(text) = self {
            return f.write_str(text);
        }
        f.write_str(if self.is_info() { "PromQL info: " } else { "PromQL warning: " })?;
        match self {
            Storage(_) => Ok(()),
            InvalidRatio { ratio, capped_to } => {
                let (ratio, capped) = (short_float(*ratio), short_float(*capped_to));
                write!(f, "ratio value should be between -1 and 1, got {ratio}, capping to {capped}")
            }
            InvalidQuantile(q) => write!(f, "quantile value should be between 0 and 1, got {}", short_float(*q)),
            BadBucketLabel { metric, label } => write!(
                f,
                "bucket label \"le\" is missing or has a malformed value of {}{}",
                quote(label),
                ForMetric(metric)
            ),
            MixedFloatsHistograms { metric } => {
                write!(f, "encountered a mix of histograms and floats for metric name {}", quote(metric))
            }
            MixedFloatsHistogramsInAggregation => {
                f.write_str("encountered a mix of histograms and floats for aggregation")
            }
            MixedClassicNativeHistograms { metric } => {
                write!(f, "vector contains a mix of classic and native histograms{}", ForMetric(metric))
            }
            NativeHistogramNotCounter { metric } => {
                write!(f, "this native histogram metric is not a counter: {}", quote(metric))
            }
            NativeHistogramNotGauge { metric } => {
                write!(f, "this native histogram metric is not a gauge: {}", quote(metric))
            }
            MixedExponentialCustom { metric } => write!(
                f,
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
                quote(metric)
            ),
            IncompatibleBucketLayout { op } => {
                write!(f, "incompatible bucket layout encountered for binary operator {op}")
            }
            SortInRangeQuery => {
                f.write_str("sort is ineffective for range queries since results are always ordered by labels")
            }
            PossibleNonCounter { metric } => write!(
                f,
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                quote(metric)
            ),
            PossibleNonCounterLabel { metric, label } => write!(
                f,
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {}",
                quote(label),
                quote(metric)
            ),
            ForcedMonotonicity { metric, .. } => write!(f, "{MONOTONICITY}{}", ForMetric(metric)),
            IncompatibleTypes { op, lhs, rhs } => {
                let op_quoted = quote(op);
                write!(f, "incompatible sample types encountered for binary operator {op_quoted}: {lhs} {op} {rhs}")
            }
            HistogramIgnoredInAggregation { op } => write!(f, "ignored histogram in {op} aggregation"),
            HistogramIgnoredInMixedRange { metric } => write!(
                f,
                "ignored histograms in a range containing both floats and histograms for metric name {}",
                quote(metric)
            ),
            QuantileIsNan { metric } => {
                write!(f, "input to histogram_quantile has NaN observations, result is NaN{}", ForMetric(metric))
            }
            QuantileIsSkewed { metric } => {
                let problem = "input to histogram_quantile has NaN observations, result is skewed higher";
                write!(f, "{problem}{}", ForMetric(metric))
            }
            FractionExcludesNan { metric } => {
                let problem = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                write!(f, "{problem}{}", ForMetric(metric))
            }
            CounterResetCollision { operation } => write!(f, "conflicting counter resets during histogram {operation}"),
            MismatchedCustomBuckets { operation } => {
                write!(f, "mismatched custom buckets were reconciled during {operation}")
            }
        }
    }
}

/// Each text once, in the order in which they came up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotations {
    list: Vec<(Annotation, Span)>,
    places: HashMap<String, usize>,
}

impl Annotations {
    /// The same text again moves to the new position.
    pub fn add(&mut self, annotation: Annotation, span: Span) {
        // Most repetitions come one after the other.
        if self.list.last().is_some_and(|(last, at)| *last == annotation && *at == span) && !mergeable(&annotation) {
            return;
        }
        match self.places.get(&annotation.to_string()) {
            Some(place) => {
                let (known, position) = &mut self.list[*place];
                known.merge(&annotation);
                *position = span;
            }
            None => {
                self.places.insert(annotation.to_string(), self.list.len());
                self.list.push((annotation, span));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Texts without positions.
    pub fn texts(&self, infos: bool) -> Vec<String> {
        self.of_kind(infos).map(|(annotation, _)| annotation.to_string()).collect()
    }

    fn of_kind(&self, infos: bool) -> impl Iterator<Item = &(Annotation, Span)> {
        self.list.iter().filter(move |(annotation, _)| annotation.is_info() == infos)
    }

    /// Warnings, then infos, with positions in `query`; at most so many of each (0 for all), and then how many more.
    pub fn for_people(&self, query: &str, max_warnings: usize, max_infos: usize) -> (Vec<String>, Vec<String>) {
        let told = |infos: bool, most: usize, kind: &str| {
            let all: Vec<String> =
                self.of_kind(infos).map(|(annotation, span)| told(annotation, *span, query)).collect();
            if most == 0 || all.len() <= most {
                return all;
            }
            let more = format!("{} more {kind} annotations omitted", all.len() - most);
            all.into_iter().take(most).chain([more]).collect()
        };
        (told(false, max_warnings, "warning"), told(true, max_infos, "info"))
    }
}

fn mergeable(annotation: &Annotation) -> bool {
    matches!(annotation, Annotation::ForcedMonotonicity { .. })
}

fn told(annotation: &Annotation, span: Span, query: &str) -> String {
    match annotation {
        Annotation::Storage(text) => text.clone(),
        annotation => format!("{annotation}{} ({})", annotation.details(), span.place(query)),
    }
}
