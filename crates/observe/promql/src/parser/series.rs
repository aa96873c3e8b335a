//! Series with values, as test scripts write them: `name{a="b"} 1 2+3x4 _ stale {{schema:0 count:3}}x2`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ast::BinaryOp,
    grammar::{Parsed, Parser},
    token::Kind,
};
use crate::{
    histogram::{CounterResetHint, FloatHistogram, Span as Buckets},
    labels::Labels,
    storage::STALE_NAN,
};

/// How many values one line may stand for.
const MAX_VALUES: u64 = 10_000_000;

#[derive(Debug, Clone, PartialEq)]
pub struct SeriesDescription {
    pub labels: Labels,
    pub values: Vec<SequenceValue>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SequenceValue {
    /// No sample at this time.
    Omitted,
    Float(f64),
    /// And whether its counter reset hint was written down.
    Histogram(Arc<FloatHistogram>, bool),
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Integer(i64),
    Float(f64),
    List(Vec<f64>),
    Hint(CounterResetHint),
}

impl Parser<'_> {
    pub(super) fn whole_series(&mut self) -> Parsed<SeriesDescription> {
        let labels = self.metric()?;
        let mut values = Vec::new();
        while self.accept(Kind::Space) {
            if !matches!(self.token.kind, Kind::Space | Kind::Eof) {
                self.series_item(&mut values)?;
            }
        }
        if self.token.kind != Kind::Eof {
            return self.unexpected_in("series values", "");
        }
        Ok(SeriesDescription { labels, values })
    }

    fn series_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        match self.token.kind {
            Kind::Blank => {
                self.advance();
                let times = if self.accept(Kind::Times) { self.repetitions()? } else { 1 };
                values.extend((0..times).map(|_| SequenceValue::Omitted));
            }
            Kind::OpenHistogram => self.histogram_item(values)?,
            _ => self.float_item(values)?,
        }
        Ok(())
    }

    fn float_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        let mut value = if self.token.kind == Kind::Identifier {
            if self.token.text != "stale" {
                return self.unexpected_in("series values", "number or \"stale\"");
            }
            self.advance();
            f64::from_bits(STALE_NAN)
        } else {
            self.signed_number()?
        };
        let step = match self.token.kind {
            Kind::Op(BinaryOp::Add | BinaryOp::Sub) => Some(self.signed_number()?),
            _ => None,
        };
        if step.is_none() && self.token.kind != Kind::Times {
            values.push(SequenceValue::Float(value));
            return Ok(());
        }
        if !self.accept(Kind::Times) {
            return self.unexpected_in("series values", "");
        }
        // The first value stands at time zero, the repetitions follow it.
        for _ in 0..=self.repetitions()? {
            values.push(SequenceValue::Float(value));
            if let Some(step) = step {
                value += step;
            }
        }
        Ok(())
    }

    fn histogram_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        let (base, hinted) = self.histogram()?;
        match self.token.kind {
            Kind::Times => {
                self.advance();
                let shared = Arc::new(base);
                let times = self.repetitions()?;
                values.extend((0..=times).map(|_| SequenceValue::Histogram(shared.clone(), hinted)));
            }
            Kind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.advance();
                let (step, hinted) = self.histogram()?;
                if !self.accept(Kind::Times) {
                    return self.unexpected_in("series values", "");
                }
                let times = self.repetitions()?;
                let mut current = base;
                for index in 0..=times {
                    values.push(SequenceValue::Histogram(Arc::new(current.clone()), hinted));
                    if index == times {
                        break;
                    }
                    if current.schema > step.schema {
                        let (from, to) = (step.schema, current.schema);
                        let span = self.token.span();
                        return self.stop(
                            span,
                            format!("error combining histograms: cannot merge from schema {from} to {to}"),
                        );
                    }
                    let combined = if op == BinaryOp::Add { current.add(&step) } else { current.sub(&step) };
                    if let Err(error) = combined {
                        return self.stop(self.token.span(), error.to_string());
                    }
                }
            }
            _ => values.push(SequenceValue::Histogram(Arc::new(base), hinted)),
        }
        Ok(())
    }

    fn repetitions(&mut self) -> Parsed<u64> {
        if self.token.kind != Kind::Number {
            return self.unexpected_in("series values", "");
        }
        let token = self.advance();
        match token.text.parse::<u64>() {
            Ok(times) if times <= MAX_VALUES => Ok(times),
            Ok(_) => self.stop(token.span(), format!("invalid repetition in series values: more than {MAX_VALUES}")),
            Err(error) => self.stop(token.span(), format!("invalid repetition in series values: {error}")),
        }
    }

    fn signed_number(&mut self) -> Parsed<f64> {
        let negative = match self.token.kind {
            Kind::Op(BinaryOp::Sub) => true,
            Kind::Op(BinaryOp::Add) => false,
            _ => return self.within(("series values", ""), |parser| parser.number().map(|number| number.value)),
        };
        self.advance();
        let value = self.within(("series values", ""), |parser| parser.number())?.value;
        Ok(if negative { -value } else { value })
    }

    fn histogram(&mut self) -> Parsed<(FloatHistogram, bool)> {
        if self.token.kind != Kind::OpenHistogram {
            return self.unexpected_in("series values", "");
        }
        self.advance();
        let mut parts = BTreeMap::new();
        loop {
            while self.accept(Kind::Space) {}
            match self.token.kind {
                Kind::CloseHistogram => break,
                Kind::Descriptor => {
                    let key = self.token.text.to_ascii_lowercase();
                    let value = self.histogram_part(&key)?;
                    if parts.insert(key.clone(), value).is_some() {
                        self.error(Default::default(), format!("duplicate key \"{key}\" in histogram"));
                    }
                }
                _ => {
                    let expected = "histogram description key, e.g. buckets:[5 10 7]";
                    return self.unexpected_in("histogram description", expected);
                }
            }
        }
        self.advance();
        Ok((build(&mut parts), parts.contains_key("counter_reset_hint")))
    }

    fn histogram_part(&mut self, key: &str) -> Parsed<Part> {
        self.advance();
        self.expect(Kind::Colon)?;
        Ok(match key {
            "schema" | "offset" | "n_offset" => {
                let negative = self.accept(Kind::Op(BinaryOp::Sub));
                let magnitude = self.repetitions()? as i64;
                Part::Integer(if negative { -magnitude } else { magnitude })
            }
            "buckets" | "n_buckets" | "custom_values" => {
                self.expect(Kind::LeftBracket)?;
                let mut list = vec![self.signed_number()?];
                while self.accept(Kind::Space) {
                    if self.token.kind != Kind::RightBracket {
                        list.push(self.signed_number()?);
                    }
                }
                self.expect(Kind::RightBracket)?;
                Part::List(list)
            }
            "counter_reset_hint" => {
                let hint = self.expect(Kind::ResetHint)?;
                Part::Hint(match hint.text.to_ascii_lowercase().as_str() {
                    "reset" => CounterResetHint::Reset,
                    "not_reset" => CounterResetHint::NotReset,
                    "gauge" => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                })
            }
            _ => Part::Float(self.signed_number()?),
        })
    }
}

fn build(parts: &mut BTreeMap<String, Part>) -> FloatHistogram {
    let mut histogram = FloatHistogram::default();
    let (mut offset, mut negative_offset) = (0, 0);
    for (key, part) in parts.iter() {
        match (key.as_str(), part) {
            ("schema", Part::Integer(value)) => histogram.schema = *value as i32,
            ("offset", Part::Integer(value)) => offset = *value as i32,
            ("n_offset", Part::Integer(value)) => negative_offset = *value as i32,
            ("sum", Part::Float(value)) => histogram.sum = *value,
            ("count", Part::Float(value)) => histogram.count = *value,
            ("z_bucket", Part::Float(value)) => histogram.zero_count = *value,
            ("z_bucket_w", Part::Float(value)) => histogram.zero_threshold = *value,
            ("custom_values", Part::List(values)) => histogram.custom_values = Some(Arc::from(values.as_slice())),
            ("buckets", Part::List(values)) => histogram.positive_buckets = values.clone(),
            ("n_buckets", Part::List(values)) => histogram.negative_buckets = values.clone(),
            ("counter_reset_hint", Part::Hint(hint)) => histogram.counter_reset_hint = *hint,
            _ => {}
        }
    }
    let spans = |offset: i32, buckets: &[f64]| match buckets.len() {
        0 => Vec::new(),
        length => vec![Buckets { offset, length: length as u32 }],
    };
    histogram.positive_spans = spans(offset, &histogram.positive_buckets);
    histogram.negative_spans = spans(negative_offset, &histogram.negative_buckets);
    histogram
}
