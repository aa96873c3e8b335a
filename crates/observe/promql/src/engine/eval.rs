//! The walk over an expression: every node becomes series over all steps.

use std::sync::Arc;

use super::{
    QueryError, aggregate, binary,
    context::{Context, Frame},
    info, instant, labels, range,
    select::{self, Shift, Wanted},
    series::{Series, contains_same_labels, merge_same_labels, same_labels},
    value::{MatrixSeries, Point},
};
use crate::{
    histogram::CounterResetHint,
    parser::ast::{Call, Expr, Subquery, Unary, ValueType},
    storage::Columns,
};

pub(super) type Evaluated = Result<Vec<Series>, QueryError>;

/// What stands around an expression and matters to its selectors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outer {
    pub without_buckets: bool,
}

pub(super) fn eval(context: &Context<'_>, expr: &Expr, frame: Frame) -> Evaluated {
    eval_in(context, expr, frame, Outer::default())
}

pub(super) fn eval_in(context: &Context<'_>, expr: &Expr, frame: Frame, outer: Outer) -> Evaluated {
    context.check("expression evaluation")?;
    if frame.steps == 0 {
        return Ok(Vec::new());
    }
    match expr {
        Expr::Aggregate(node) => aggregate::eval(context, node, frame, outer),
        Expr::Binary(node) => binary::eval(context, node, frame, outer),
        Expr::Call(call) => eval_call(context, call, frame, outer),
        Expr::Number(number) => Ok(vec![Series::constant(number.value, frame.steps)]),
        Expr::Paren(paren) => eval_in(context, &paren.expr, frame, outer),
        Expr::Unary(unary) => eval_unary(context, unary, frame, outer),
        Expr::Vector(selector) => {
            let wanted = Wanted { without_buckets: outer.without_buckets, ..Wanted::default() };
            select::instant(context, selector, frame, wanted)
        }
        Expr::StepInvariant(inner) => eval_once(context, inner, frame, outer),
        Expr::String(_) | Expr::Matrix(_) | Expr::Subquery(_) => {
            Err(QueryError::Execution(format!("a {} cannot stand here", expr.value_type().documented())))
        }
    }
}

/// Evaluates the first step and repeats it.
fn eval_once(context: &Context<'_>, inner: &Expr, frame: Frame, outer: Outer) -> Evaluated {
    let mut all = eval_in(context, inner, frame.once(), outer)?;
    for series in &mut all {
        if let Some(value) = series.floats.first().copied() {
            series.floats.resize(frame.steps, value);
        }
        if let Some(histogram) = series.histograms.first().cloned() {
            series.histograms.resize(frame.steps, histogram);
        }
        context.hold(series.sample_count() - series.sample_count() / frame.steps)?;
    }
    Ok(all)
}

fn eval_unary(context: &Context<'_>, unary: &Unary, frame: Frame, outer: Outer) -> Evaluated {
    let mut all = eval_in(context, &unary.expr, frame, outer)?;
    if !unary.negative {
        return Ok(all);
    }
    for series in &mut all {
        series.map_floats(|value| -value);
        for histogram in series.histograms.iter_mut().flatten() {
            let mut negated = (**histogram).clone();
            negated.mul(-1.0);
            *histogram = Arc::new(negated);
        }
        drop_name(context, series);
    }
    if context.options.delayed_name_removal { Ok(all) } else { merge_same_labels(all) }
}

/// The name goes now, or is marked to go at the end.
pub(super) fn drop_name(context: &Context<'_>, series: &mut Series) {
    series.drop_name = true;
    if !context.options.delayed_name_removal {
        series.drop_metadata();
    }
}

/// What a node answers with: series of the same labels are one, empty ones are none.
pub(super) fn collect(context: &Context<'_>, frame: Frame, mut all: Vec<Series>) -> Evaluated {
    all.retain(|series| !series.is_empty());
    if frame.steps == 1 {
        if !context.options.delayed_name_removal && contains_same_labels(&all) {
            return Err(same_labels());
        }
    } else {
        all = merge_same_labels(all)?;
    }
    Ok(all)
}

/// The end of an evaluation: names go that were marked.
pub(super) fn finish(context: &Context<'_>, mut all: Vec<Series>) -> Evaluated {
    if context.options.delayed_name_removal {
        for series in all.iter_mut().filter(|series| series.drop_name) {
            series.drop_metadata();
        }
        all = merge_same_labels(all)?;
    }
    all.retain(|series| !series.is_empty());
    Ok(all)
}

fn eval_call(context: &Context<'_>, call: &Call, frame: Frame, outer: Outer) -> Evaluated {
    let outer = Outer {
        without_buckets: match call.function.name {
            "histogram_count" | "histogram_sum" | "histogram_avg" => true,
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => false,
            _ => outer.without_buckets,
        },
    };
    match call.function.name {
        "label_replace" => labels::replace(context, call, frame, outer),
        "label_join" => labels::join(context, call, frame, outer),
        "info" => info::eval(context, call, frame),
        _ if call.args.iter().any(|arg| arg.value_type() == ValueType::Matrix) => {
            range::eval(context, call, frame, outer)
        }
        _ => instant::eval(context, call, frame, outer),
    }
}

/// Samples of a subquery, at its own steps.
pub(super) struct Raw {
    pub series: Series,
    pub columns: Columns,
}

/// Evaluates a subquery for all windows that the steps of `frame` need.
pub(super) fn subquery(context: &Context<'_>, node: &Subquery, frame: Frame) -> Result<Vec<Raw>, QueryError> {
    let shift = Shift::new(node.at, &node.offset, frame);
    let range_ms = node.range.ns() / 1_000_000;
    let step_ms = match &node.step {
        Some(step) if step.ns() != 0 => (step.ns() / 1_000_000).max(1),
        _ => context.options.subquery_step_ms,
    };
    let (from_ms, to_ms) = (shift.reference(frame.start_ms) - range_ms, shift.reference(frame.end_ms()));
    // Steps lie on multiples of their distance; the first comes after the window's open start.
    let mut start_ms = step_ms * (from_ms / step_ms);
    if start_ms <= from_ms {
        start_ms += step_ms;
    }
    let steps = if to_ms < start_ms { 0 } else { ((to_ms - start_ms) / step_ms) as usize + 1 };
    // Columns have a place for every step.
    if steps > context.options.max_samples {
        return Err(QueryError::TooManySamples);
    }
    let inner = Frame { start_ms, step_ms, steps, is_range: start_ms != to_ms };
    let all = eval(context, &node.expr, inner)?;
    Ok(all.into_iter().map(|series| raw(series, inner)).collect())
}

fn raw(series: Series, frame: Frame) -> Raw {
    let mut columns = Columns::default();
    for (step, cell) in series.cells() {
        match cell {
            super::series::Cell::Float(value) => columns.floats.push(frame.time_ms(step), value),
            super::series::Cell::Histogram(histogram) => {
                // What the store knew of resets does not hold between samples picked by a subquery.
                let known =
                    matches!(histogram.counter_reset_hint, CounterResetHint::Reset | CounterResetHint::NotReset);
                let histogram = if known {
                    let mut copy = (**histogram).clone();
                    copy.counter_reset_hint = CounterResetHint::Unknown;
                    Arc::new(copy)
                } else {
                    histogram.clone()
                };
                columns.histograms.push(frame.time_ms(step), histogram);
            }
        }
    }
    Raw { series: Series::new(series.labels, series.drop_name), columns }
}

/// A range as the answer itself: samples with their own times.
pub(super) fn range_vector(context: &Context<'_>, expr: &Expr, frame: Frame) -> Result<Vec<MatrixSeries>, QueryError> {
    match expr {
        Expr::Paren(paren) => range_vector(context, &paren.expr, frame),
        Expr::StepInvariant(inner) => range_vector(context, inner, frame),
        Expr::Matrix(matrix) => select::range(context, matrix, frame),
        Expr::Subquery(node) => {
            let raw = subquery_answer(context, node, frame)?;
            Ok(raw)
        }
        other => Err(QueryError::Execution(format!("a {} is no range", other.value_type().documented()))),
    }
}

fn subquery_answer(context: &Context<'_>, node: &Subquery, frame: Frame) -> Result<Vec<MatrixSeries>, QueryError> {
    let raw = subquery(context, node, frame)?;
    let mut all = Vec::with_capacity(raw.len());
    for Raw { mut series, columns } in raw {
        if series.drop_name {
            series.drop_metadata();
        }
        let floats = columns.floats.times_ms.iter().zip(&columns.floats.values);
        let histograms = columns.histograms.times_ms.iter().zip(&columns.histograms.values);
        all.push(MatrixSeries {
            labels: series.labels,
            floats: floats.map(|(time_ms, value)| Point { time_ms: *time_ms, value: *value }).collect(),
            histograms: histograms.map(|(time_ms, value)| Point { time_ms: *time_ms, value: value.clone() }).collect(),
        });
    }
    all.sort_by(|one, other| one.labels.cmp(&other.labels));
    if all.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
        return Err(same_labels());
    }
    Ok(all)
}
