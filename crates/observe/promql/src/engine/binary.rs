//! Operators between two expressions: what they do with two samples, and with scalars.

use std::sync::Arc;

use super::{
    Annotation, Histogram, QueryError,
    annotations::{ADDITION, SUBTRACTION},
    context::{Context, Frame},
    eval::{self, Evaluated, Outer, collect, drop_name},
    matching,
    series::{Cell, Series},
};
use crate::{
    histogram::CounterResetHint,
    parser::ast::{Binary, BinaryOp, ValueType},
};

/// What an operator made of two samples.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub value: Owned,
    /// Whether a comparison holds; else true.
    pub keep: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Owned {
    Float(f64),
    Histogram(Histogram),
}

impl Owned {
    pub fn push_to(self, series: &mut Series, step: usize) {
        match self {
            Owned::Float(value) => series.push_float(step, value),
            Owned::Histogram(value) => series.push_histogram(step, value),
        }
    }
}

/// An element, or nothing; and what has to be told in either case.
pub(super) type Combined = (Option<Element>, Option<Annotation>);

pub(super) fn eval(context: &Context<'_>, node: &Binary, frame: Frame, outer: Outer) -> Evaluated {
    // Trimming looks at buckets.
    let trims = matches!(node.op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
    let outer = Outer { without_buckets: outer.without_buckets && !trims };
    let lhs = eval::eval_in(context, &node.lhs, frame, outer)?;
    let rhs = eval::eval_in(context, &node.rhs, frame, outer)?;
    let held: usize = lhs.iter().chain(&rhs).map(Series::sample_count).sum();
    let all = match (node.lhs.value_type(), node.rhs.value_type()) {
        (ValueType::Scalar, ValueType::Scalar) => scalars(node.op, &lhs[0], &rhs[0], frame),
        (ValueType::Vector, ValueType::Scalar) => with_scalar(context, node, lhs, &rhs[0], frame, false)?,
        (ValueType::Scalar, ValueType::Vector) => with_scalar(context, node, rhs, &lhs[0], frame, true)?,
        _ => matching::eval(context, node, lhs, rhs, frame)?,
    };
    context.release(held);
    context.hold(all.iter().map(Series::sample_count).sum())?;
    Ok(all)
}

fn scalars(op: BinaryOp, lhs: &Series, rhs: &Series, frame: Frame) -> Vec<Series> {
    let floats = (0..frame.steps).map(|step| {
        let (left, right) = (lhs.float(step), rhs.float(step));
        match compare(op, left, right) {
            Some(holds) => f64::from(u8::from(holds)),
            None => arithmetic(op, left, right).unwrap_or(f64::NAN),
        }
    });
    vec![Series { floats: floats.collect(), ..Series::default() }]
}

fn arithmetic(op: BinaryOp, lhs: f64, rhs: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => lhs + rhs,
        BinaryOp::Sub => lhs - rhs,
        BinaryOp::Mul => lhs * rhs,
        BinaryOp::Div => lhs / rhs,
        BinaryOp::Mod => lhs % rhs,
        BinaryOp::Pow => lhs.powf(rhs),
        BinaryOp::Atan2 => lhs.atan2(rhs),
        _ => return None,
    })
}

fn compare(op: BinaryOp, lhs: f64, rhs: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => lhs == rhs,
        BinaryOp::NotEqual => lhs != rhs,
        BinaryOp::Less => lhs < rhs,
        BinaryOp::LessEqual => lhs <= rhs,
        BinaryOp::Greater => lhs > rhs,
        BinaryOp::GreaterEqual => lhs >= rhs,
        _ => return None,
    })
}

/// Whether the result means something else than what went in, and so loses its name.
pub(super) fn changes_meaning(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow | Atan2)
}

/// One sample by another.
pub(super) fn element(op: BinaryOp, lhs: Cell<'_>, rhs: Cell<'_>) -> Combined {
    let incompatible = |lhs, rhs| (None, Some(Annotation::IncompatibleTypes { op: op.name(), lhs, rhs }));
    let kept = |value| (Some(Element { value, keep: true }), None);
    let histogram = |value| kept(Owned::Histogram(Arc::new(value)));
    match (lhs, rhs) {
        (Cell::Float(left), Cell::Float(right)) => {
            if let Some(value) = arithmetic(op, left, right) {
                return kept(Owned::Float(value));
            }
            match compare(op, left, right) {
                Some(keep) => (Some(Element { value: Owned::Float(left), keep }), None),
                None => incompatible("float", "float"),
            }
        }
        (Cell::Float(factor), Cell::Histogram(right)) => match op {
            BinaryOp::Mul => {
                let mut result = (**right).clone();
                result.mul(factor).compact();
                histogram(result)
            }
            _ => incompatible("float", "histogram"),
        },
        (Cell::Histogram(left), Cell::Float(right)) => {
            let mut result = (**left).clone();
            match op {
                BinaryOp::Mul => histogram(std::mem::take(result.mul(right).compact())),
                BinaryOp::Div => histogram(std::mem::take(result.div(right).compact())),
                BinaryOp::TrimUpper => histogram(left.trimmed(right, true)),
                BinaryOp::TrimLower => histogram(left.trimmed(right, false)),
                _ => incompatible("histogram", "float"),
            }
        }
        (Cell::Histogram(left), Cell::Histogram(right)) => match op {
            BinaryOp::Add | BinaryOp::Sub => add_histograms(op, left, right),
            BinaryOp::Equal => (Some(Element { value: Owned::Histogram(left.clone()), keep: left == right }), None),
            BinaryOp::NotEqual => (Some(Element { value: Owned::Histogram(left.clone()), keep: left != right }), None),
            _ => incompatible("histogram", "histogram"),
        },
    }
}

fn add_histograms(op: BinaryOp, left: &Histogram, right: &Histogram) -> Combined {
    let mut result = (**left).clone();
    let (combined, operation) = match op {
        BinaryOp::Add => (result.add(right), ADDITION),
        _ => (result.sub(right), SUBTRACTION),
    };
    let Ok(combined) = combined else {
        return (None, Some(Annotation::IncompatibleBucketLayout { op: op.name() }));
    };
    if combined.counter_reset_collision {
        return (None, Some(Annotation::CounterResetCollision { operation }));
    }
    if op == BinaryOp::Sub {
        result.counter_reset_hint = CounterResetHint::Gauge;
    }
    result.compact();
    let annotation = combined.bounds_reconciled.then_some(Annotation::MismatchedCustomBuckets { operation });
    (Some(Element { value: Owned::Histogram(Arc::new(result)), keep: true }), annotation)
}

/// A vector and a scalar; `swapped` when the scalar stands on the left.
fn with_scalar(
    context: &Context<'_>,
    node: &Binary,
    vector: Vec<Series>,
    scalar: &Series,
    frame: Frame,
    swapped: bool,
) -> Result<Vec<Series>, QueryError> {
    let op = node.op;
    let names_go = changes_meaning(op) || node.return_bool;
    // Of several complaints at one step, the last is told.
    let mut complaints: Vec<Option<Annotation>> = vec![None; frame.steps];
    let mut all = Vec::with_capacity(vector.len());
    for mut series in vector {
        if !series.has_histograms() && !op.is_comparison() && arithmetic(op, 0.0, 0.0).is_some() {
            floats_with_scalar(op, &mut series, scalar, swapped);
        } else {
            let mut result = Series::new(series.labels.clone(), series.drop_name);
            for (step, cell) in series.cells() {
                let scalar = Cell::Float(scalar.float(step));
                let (lhs, rhs) = if swapped { (scalar, cell) } else { (cell, scalar) };
                let (element, complaint) = element(op, lhs, rhs);
                if element.is_none() && complaint.is_some() {
                    complaints[step] = complaint;
                }
                let Some(Element { value, keep }) = element else { continue };
                if node.return_bool {
                    result.push_float(step, f64::from(u8::from(keep)));
                } else if op.is_comparison() {
                    // The vector's sample is the answer, on whichever side it stands.
                    if keep {
                        result.push(step, cell);
                    }
                } else {
                    value.push_to(&mut result, step);
                }
            }
            series = result;
        }
        if names_go {
            drop_name(context, &mut series);
        }
        all.push(series);
    }
    for complaint in complaints.into_iter().flatten() {
        context.annotate(complaint, node.lhs.span().to(node.rhs.span()));
    }
    collect(context, frame, all)
}

/// The common case: columns of floats.
fn floats_with_scalar(op: BinaryOp, series: &mut Series, scalar: &Series, swapped: bool) {
    let first = series.first;
    let present = |value: &f64| super::series::is_present(*value);
    for (at, value) in series.floats.iter_mut().enumerate().filter(|(_, value)| present(value)) {
        let other = scalar.float(first + at);
        let (lhs, rhs) = if swapped { (other, *value) } else { (*value, other) };
        *value = arithmetic(op, lhs, rhs).unwrap_or(*value);
    }
}
