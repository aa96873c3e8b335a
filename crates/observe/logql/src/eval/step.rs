//! The tree of a metric query, from leaves that have read their samples to the vector of each step.

use std::sync::Arc;

use super::{
    EvalError, Failure, Limits, Source, Steps,
    arithmetic::merge,
    binary::Matcher,
    range::{RangeValues, Vector},
    vector::{Aggregator, Replacer},
};
use crate::{
    pipeline::Moment,
    syntax::{Binary, BinaryOp, MetricExpr, ParseError, RangeOp, VectorAggregation, VectorOp},
};

/// Gives the vector of one step after the other.
pub(super) enum Evaluator {
    Range(RangeValues),
    Vector(Box<Evaluator>, Aggregator),
    Matched(Box<Evaluator>, Box<Evaluator>, Box<Matcher>),
    WithNumber { of: Box<Evaluator>, op: BinaryOp, number: f64, number_first: bool, return_bool: bool },
    Replaced(Box<Evaluator>, Replacer),
    Constant(f64),
}

impl Evaluator {
    /// Reads everything that the query needs.
    pub(super) fn prepare<S: Source>(
        metric: &MetricExpr,
        steps: &Steps,
        limits: &Limits,
        moment: Moment,
        source: &S,
    ) -> Result<Self, EvalError<S::Error>> {
        let prepare = |metric: &MetricExpr| Self::prepare(metric, steps, limits, moment, source).map(Box::new);
        Ok(match metric {
            MetricExpr::Range(range) => Self::Range(RangeValues::read(range, None, steps, limits, moment, source)?),
            MetricExpr::Vector(vector) => {
                let of = match pushed_down(vector) {
                    Some(range) => {
                        let outer = Some(&vector.grouping);
                        Box::new(Self::Range(RangeValues::read(range, outer, steps, limits, moment, source)?))
                    }
                    None => prepare(&vector.of)?,
                };
                Self::Vector(of, Aggregator::new(vector))
            }
            MetricExpr::Binary(binary) => match (&binary.left, &binary.right) {
                (MetricExpr::Literal(number), of) => with_number(prepare(of)?, binary, *number, true),
                (of, MetricExpr::Literal(number)) => with_number(prepare(of)?, binary, *number, false),
                (left, right) => Self::Matched(prepare(left)?, prepare(right)?, Box::new(Matcher::new(binary))),
            },
            MetricExpr::LabelReplace(replace) => {
                let replacer = Replacer::new(&replace.how).map_err(ParseError::new)?;
                Self::Replaced(prepare(&replace.of)?, replacer)
            }
            MetricExpr::Literal(value) | MetricExpr::VectorLiteral(value) => Self::Constant(*value),
        })
    }

    /// The vector of a step; steps come in order.
    pub(super) fn next(&mut self, step: usize) -> Result<Vector, Failure> {
        Ok(match self {
            Self::Range(values) => values.next(step),
            Self::Vector(of, aggregator) => aggregator.apply(of.next(step)?),
            Self::Matched(left, right, matcher) => {
                let (left, right) = (left.next(step)?, right.next(step)?);
                matcher.apply(left, right)?
            }
            Self::WithNumber { of, op, number, number_first, return_bool } => {
                let merged = of.next(step)?.into_iter().filter_map(|(labels, value)| {
                    let (left, right) = if *number_first { (*number, value) } else { (value, *number) };
                    merge(*op, left, right, *return_bool, value).map(|merged| (labels, merged))
                });
                merged.collect()
            }
            Self::Replaced(of, replacer) => replacer.apply(of.next(step)?),
            Self::Constant(value) => vec![(Arc::default(), *value)],
        })
    }
}

fn with_number(of: Box<Evaluator>, binary: &Binary, number: f64, number_first: bool) -> Evaluator {
    Evaluator::WithNumber { of, op: binary.op, number, number_first, return_bool: binary.return_bool }
}

/// The range aggregation that can group as the `sum` around it does, so that fewer labels are made and held.
fn pushed_down(vector: &VectorAggregation) -> Option<&crate::syntax::RangeAggregation> {
    let MetricExpr::Range(range) = &vector.of else { return None };
    let sums = matches!(range.op, RangeOp::Bytes | RangeOp::BytesRate | RangeOp::Sum | RangeOp::Rate | RangeOp::Count);
    (vector.op == VectorOp::Sum && sums && range.grouping.is_none()).then_some(&**range)
}
