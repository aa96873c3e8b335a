//! Whether a histogram makes sense.

use super::{EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, FloatHistogram, Span};
use crate::number::short_float;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    #[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
    IncompatibleSchemas,
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom \
         buckets, got schema {0}"
    )]
    InvalidSchema(i32),
    #[error("{0}")]
    Invalid(String),
}

fn invalid<T>(message: impl Into<String>) -> Result<T, HistogramError> {
    Err(HistogramError::Invalid(message.into()))
}

impl FloatHistogram {
    /// Spans fit the buckets, counts are not negative, and nothing is set that the schema does not use.
    pub fn validate(&self) -> Result<(), HistogramError> {
        if self.uses_custom_buckets() {
            self.validate_custom()?;
        } else if (EXPONENTIAL_SCHEMA_MIN..=EXPONENTIAL_SCHEMA_MAX).contains(&self.schema) {
            self.validate_exponential()?;
        } else {
            return Err(HistogramError::InvalidSchema(self.schema));
        }
        if self.count < 0.0 {
            let count = short_float(self.count);
            return invalid(format!("observation count is  {count}: histogram's observation count is negative"));
        }
        validate_buckets("positive", &self.positive_buckets)
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        let bounds = self.bounds();
        if bounds.iter().any(|bound| bound.is_nan()) {
            return invalid("custom buckets: histogram custom bounds must not be NaN");
        }
        if let Some(pair) = bounds.windows(2).find(|pair| pair[1] <= pair[0]) {
            let problem = "histogram custom bounds must be in strictly increasing order";
            return invalid(format!(
                "custom buckets: previous bound is {:.6} and current is {:.6}: {problem}",
                pair[0], pair[1]
            ));
        }
        if bounds.last() == Some(&f64::INFINITY) {
            let problem = "histogram custom bounds must be finite";
            return invalid(format!("custom buckets: last +Inf bound must not be explicitly defined: {problem}"));
        }
        let first_is_negative = self.positive_spans.first().is_some_and(|span| span.offset < 0);
        validate_spans("custom buckets", &self.positive_spans, self.positive_buckets.len(), first_is_negative)?;
        let needed: i64 = self.positive_spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
        if (bounds.len() as i64) + 1 < needed {
            let problem =
                format!("insufficient to cover total span length of {needed}: histogram custom bounds are too few");
            return invalid(format!("custom buckets: only {} custom bounds defined which is {problem}", bounds.len()));
        }
        match () {
            () if self.zero_count != 0.0 => invalid("custom buckets: must have zero count of 0"),
            () if self.zero_threshold != 0.0 => invalid("custom buckets: must have zero threshold of 0"),
            () if !self.negative_spans.is_empty() => invalid("custom buckets: must not have negative spans"),
            () if !self.negative_buckets.is_empty() => invalid("custom buckets: must not have negative buckets"),
            () => Ok(()),
        }
    }

    fn validate_exponential(&self) -> Result<(), HistogramError> {
        validate_spans("positive side", &self.positive_spans, self.positive_buckets.len(), false)?;
        validate_spans("negative side", &self.negative_spans, self.negative_buckets.len(), false)?;
        validate_buckets("negative", &self.negative_buckets)?;
        if self.zero_count < 0.0 {
            let problem = "histogram has a bucket whose observation count is negative";
            return invalid(format!(
                "zero bucket has observation count of {}: {problem}",
                short_float(self.zero_count)
            ));
        }
        if self.custom_values.is_some() {
            return invalid("histogram with exponential schema must not have custom bounds");
        }
        Ok(())
    }

    /// Whether any number became infinite.
    pub fn has_overflow(&self) -> bool {
        let totals = [self.zero_count, self.count, self.sum];
        let buckets = self.positive_buckets.iter().chain(&self.negative_buckets).chain(self.bounds());
        totals.iter().chain(buckets).any(|value| value.is_infinite())
    }
}

fn validate_spans(place: &str, spans: &[Span], buckets: usize, first_is_negative: bool) -> Result<(), HistogramError> {
    let later = spans.iter().enumerate().skip(1).find(|(_, span)| span.offset < 0);
    let negative = if first_is_negative { spans.iter().enumerate().next() } else { later };
    if let Some((at, span)) = negative {
        let problem = "histogram has a span whose offset is negative";
        return invalid(format!("{place}: span number {} with offset {}: {problem}", at + 1, span.offset));
    }
    let needed: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if needed != buckets as u64 {
        let problem = "histogram spans specify different number of buckets than provided";
        return invalid(format!("{place}: spans need {needed} buckets, have {buckets} buckets: {problem}"));
    }
    Ok(())
}

fn validate_buckets(side: &str, buckets: &[f64]) -> Result<(), HistogramError> {
    match buckets.iter().enumerate().find(|(_, count)| **count < 0.0) {
        None => Ok(()),
        Some((at, count)) => {
            let problem = "histogram has a bucket whose observation count is negative";
            let count = short_float(*count);
            invalid(format!("{side} side: bucket number {} has observation count of {count}: {problem}", at + 1))
        }
    }
}
