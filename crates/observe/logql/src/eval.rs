//! Answers to queries.

pub(crate) mod arithmetic;
mod binary;
mod lines;
mod range;
mod series;
mod source;
mod step;
mod vector;
mod window;

use std::sync::Arc;

pub use lines::{EntryLabels, LogEntry, LogStream};
pub use source::{Request, Sink, Source, SourceEntry};

use crate::{
    labels::Labels,
    pipeline::Moment,
    syntax::{Expr, MetricExpr, ParseError, VectorOp},
};

/// Which end of the time range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    #[default]
    Backward,
}

/// A query with when and how. Times are nanoseconds since 1970.
#[derive(Debug, Clone)]
pub struct Query {
    /// What is asked.
    pub expr: Expr,
    /// From when; for numbers, the first step.
    pub start: i64,
    /// Until when, for lines exclusively; for numbers, the last step at the latest.
    pub end: i64,
    /// Between steps; 0 for an answer at one moment, where start and end are the same.
    pub step: i64,
    /// Between lines, at least; 0 gives all.
    pub interval: i64,
    /// How many lines.
    pub limit: usize,
    /// Which lines come first, where there are more.
    pub direction: Direction,
    /// What `now` is for templates.
    pub now: i64,
}

/// What one query may hold in memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Series in an answer.
    pub max_series: usize,
    /// Samples, or counters of steps, that are held while a query runs.
    pub max_samples: usize,
    /// Lines that are held while a query with an interval runs.
    pub max_lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_series: 500, max_samples: 3_000_000, max_lines: 100_000 }
    }
}

/// A value at a moment, in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Of which series.
    pub labels: Arc<Labels>,
    /// When.
    pub at_ms: i64,
    /// How much.
    pub value: f64,
}

/// Values over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Of which series.
    pub labels: Arc<Labels>,
    /// When, in milliseconds, and how much.
    pub points: Vec<(i64, f64)>,
}

/// What a query gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Lines, by the labels they came out with.
    Streams(Vec<LogStream>),
    /// Values at one moment.
    Vector(Vec<Sample>),
    /// Values over time.
    Matrix(Vec<Series>),
    /// A number at one moment, in milliseconds.
    Scalar(i64, f64),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EvalError<S: std::error::Error + 'static> {
    /// The query cannot run.
    #[error(transparent)]
    Query(#[from] ParseError),
    /// A line went wrong on its way to a number, and the query does not say that it minds not.
    #[error("{0}")]
    Pipeline(String),
    /// More than may be.
    #[error("{0}")]
    Limit(String),
    /// What the query asks for cannot be computed.
    #[error("{0}")]
    Compute(String),
    /// The source failed.
    #[error(transparent)]
    Source(S),
}

/// The same without a source, inside.
#[derive(Debug)]
pub(crate) enum Failure {
    Pipeline(String),
    Limit(String),
    Compute(String),
}

impl<S: std::error::Error + 'static> From<Failure> for EvalError<S> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Pipeline(text) => Self::Pipeline(text),
            Failure::Limit(text) => Self::Limit(text),
            Failure::Compute(text) => Self::Compute(text),
        }
    }
}

/// Runs a query over what a source has.
pub fn evaluate<S: Source>(query: &Query, limits: &Limits, source: &S) -> Result<Answer, EvalError<S::Error>> {
    match &query.expr {
        Expr::Log(log) => lines::evaluate(log, query, limits, source).map(Answer::Streams),
        Expr::Metric(metric) => metric_answer(metric, query, limits, source),
    }
}

/// The moments of a query with steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    pub(crate) start: i64,
    pub(crate) step: i64,
    pub(crate) count: usize,
}

impl Steps {
    fn of(query: &Query) -> Self {
        if query.step <= 0 || query.start == query.end {
            return Self { start: query.start, step: 1, count: 1 };
        }
        let count = usize::try_from((query.end - query.start) / query.step + 1).unwrap_or(0);
        Self { start: query.start, step: query.step, count }
    }

    pub(crate) fn at(&self, index: usize) -> i64 {
        self.start + self.step * index as i64
    }

    fn at_ms(&self, index: usize) -> i64 {
        self.at(index).div_euclid(1_000_000)
    }
}

fn metric_answer<S: Source>(
    metric: &MetricExpr,
    query: &Query,
    limits: &Limits,
    source: &S,
) -> Result<Answer, EvalError<S::Error>> {
    let steps = Steps::of(query);
    let instant = query.step <= 0 || query.start == query.end;
    if let MetricExpr::Literal(value) = metric {
        return Ok(literal(*value, &steps, instant));
    }
    let mut evaluator = step::Evaluator::prepare(metric, &steps, limits, Moment(query.now), source)?;
    if instant {
        let mut vector = evaluator.next(0)?;
        check_series(vector.len(), limits)?;
        if !keeps_order(metric) {
            vector.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let at_ms = steps.at_ms(0);
        let samples = vector.into_iter().map(|(labels, value)| Sample { labels, at_ms, value }).collect();
        return Ok(Answer::Vector(samples));
    }
    let mut matrix = series::Collector::default();
    for index in 0..steps.count {
        matrix.add(steps.at_ms(index), evaluator.next(index)?);
        check_series(matrix.len(), limits)?;
    }
    Ok(Answer::Matrix(matrix.finish()))
}

fn check_series(count: usize, limits: &Limits) -> Result<(), Failure> {
    if count <= limits.max_series {
        return Ok(());
    }
    Err(Failure::Limit(format!(
        "maximum number of series ({}) reached for a single query; consider reducing query cardinality by adding more \
         specific stream selectors, reducing the time range, or aggregating results with functions like sum(), count() \
         or topk()",
        limits.max_series
    )))
}

fn literal(value: f64, steps: &Steps, instant: bool) -> Answer {
    if instant {
        return Answer::Scalar(steps.at_ms(0), value);
    }
    let points = (0..steps.count).map(|index| (steps.at_ms(index), value)).collect();
    Answer::Matrix(vec![Series { labels: Arc::default(), points }])
}

/// Whether the order of a vector is part of the answer.
fn keeps_order(metric: &MetricExpr) -> bool {
    match metric {
        MetricExpr::Vector(vector) => {
            matches!(vector.op, VectorOp::Sort | VectorOp::SortDesc) || keeps_order(&vector.of)
        }
        MetricExpr::Binary(binary) => keeps_order(&binary.left) || keeps_order(&binary.right),
        MetricExpr::LabelReplace(replace) => keeps_order(&replace.of),
        _ => false,
    }
}
