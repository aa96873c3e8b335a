//! Histograms as answers and errors show them, and as test scripts write them.

use std::fmt;

use super::{Bucket, CounterResetHint, FloatHistogram};
use crate::number::short_float;

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (short_float(self.lower), short_float(self.upper));
        write!(f, "{open}{lower},{upper}{close}:{}", short_float(self.count))
    }
}

/// `{count:3, sum:1.5, (1,2]:3}`: populated buckets in ascending order.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", short_float(self.count), short_float(self.sum))?;
        let mut below: Vec<Bucket> = self.buckets(false).collect();
        below.reverse();
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        let all = below.into_iter().chain(zero).chain(self.buckets(true));
        for bucket in all.filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

impl FloatHistogram {
    /// `{{schema:1 count:3 buckets:[1 2]}}`, as test scripts write it.
    pub fn test_expression(&self) -> String {
        let mut histogram = self.clone();
        histogram.compact_to_one_span();
        let list = |values: &[f64]| values.iter().map(|value| short_float(*value)).collect::<Vec<_>>().join(" ");
        let mut parts = Vec::new();
        if self.schema != 0 {
            parts.push(format!("schema:{}", self.schema));
        }
        let numbers = [
            ("count", self.count),
            ("sum", self.sum),
            ("z_bucket", self.zero_count),
            ("z_bucket_w", self.zero_threshold),
        ];
        for (name, value) in numbers.into_iter().filter(|(_, value)| *value != 0.0) {
            parts.push(format!("{name}:{}", short_float(value)));
        }
        if self.uses_custom_buckets() {
            parts.push(format!("custom_values:[{}]", list(self.bounds())));
        }
        match self.counter_reset_hint {
            CounterResetHint::Unknown => {}
            CounterResetHint::Reset => parts.push("counter_reset_hint:reset".into()),
            CounterResetHint::NotReset => parts.push("counter_reset_hint:not_reset".into()),
            CounterResetHint::Gauge => parts.push("counter_reset_hint:gauge".into()),
        }
        let sides = [
            ("offset", "buckets", &histogram.positive_spans, &histogram.positive_buckets),
            ("n_offset", "n_buckets", &histogram.negative_spans, &histogram.negative_buckets),
        ];
        for (offset_name, name, spans, buckets) in sides {
            if let Some(span) = spans.first().filter(|span| span.offset != 0) {
                parts.push(format!("{offset_name}:{}", span.offset));
            }
            if !buckets.is_empty() {
                parts.push(format!("{name}:[{}]", list(buckets)));
            }
        }
        format!("{{{{{}}}}}", parts.join(" "))
    }
}
