//! Queries answered: instant ones and ranges, with limits, annotations and Prometheus' errors.

mod aggregate;
mod aggregate_k;
mod annotations;
mod binary;
mod calendar;
mod classic;
mod context;
mod eval;
mod extended;
mod extrapolate;
mod info;
mod instant;
mod labels;
mod matching;
mod natural;
mod over_time;
mod prepare;
mod quantile;
mod range;
mod regression;
mod select;
mod series;
mod value;
mod window;

use std::sync::Arc;

pub use annotations::{Annotation, Annotations};
pub use value::{MatrixSeries, Point, Sample, SampleValue, Value};

use crate::{
    parser::{
        self, ParseError,
        ast::{Expr, ValueType},
    },
    quote::quote,
    storage::{Storage, StorageError},
};
use context::{Context, Frame};

/// Who wants a running query to end, and why; asked every now and then while it runs.
pub type Interrupt<'a> = &'a (dyn Fn() -> Option<Interruption> + Sync);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    Cancelled,
    TimedOut,
}

/// Never.
pub fn never() -> Option<Interruption> {
    None
}

#[derive(Debug, Clone, PartialEq)]
pub struct EngineOptions {
    /// How many samples a query may hold at once.
    pub max_samples: usize,
    /// How far back a sample may lie to count as current.
    pub lookback_ms: i64,
    /// The step of subqueries that name none.
    pub subquery_step_ms: i64,
    pub parser: parser::Options,
    /// Names are dropped at the very end, not at every step of the way.
    pub delayed_name_removal: bool,
    /// Types and units are labels.
    pub type_and_unit_labels: bool,
    /// Counter resets are read off start timestamps too.
    pub start_timestamps: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            max_samples: 50_000_000,
            lookback_ms: 5 * 60 * 1000,
            subquery_step_ms: 60 * 1000,
            parser: parser::Options::default(),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            start_timestamps: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// The query can be read, but not be run like this.
    #[error("{0}")]
    Invalid(String),
    #[error("query timed out in {0}")]
    TimedOut(&'static str),
    #[error("query was canceled in {0}")]
    Cancelled(&'static str),
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    #[error("expanding series: {0}")]
    Storage(#[from] StorageError),
    /// The data does not allow it.
    #[error("{0}")]
    Execution(String),
}

/// What a query gave, and what a person should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub value: Value,
    pub annotations: Annotations,
}

/// Runs queries. Holds no data and no state: cheap to make and to share.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    pub options: EngineOptions,
}

impl Engine {
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// One moment.
    pub fn instant(
        &self,
        storage: &dyn Storage,
        query: &str,
        time_ms: i64,
        interrupt: Interrupt<'_>,
    ) -> Result<Answer, QueryError> {
        let expr = parser::parse(query, self.options.parser)?;
        self.instant_expr(storage, expr, time_ms, interrupt)
    }

    /// One moment, of an expression that was parsed already.
    pub fn instant_expr(
        &self,
        storage: &dyn Storage,
        expr: Expr,
        time_ms: i64,
        interrupt: Interrupt<'_>,
    ) -> Result<Answer, QueryError> {
        let frame = Frame { start_ms: time_ms, step_ms: 1, steps: 1, is_range: false };
        let prepared = prepare::prepare(expr, time_ms, time_ms, 0)?;
        let context = Context::new(&self.options, storage, interrupt);
        let value_type = prepared.value_type();
        let value = if let Expr::String(text) = prepared.unwrapped() {
            Value::String { time_ms, value: text.value.clone() }
        } else if value_type == ValueType::Matrix {
            let mut series = eval::range_vector(&context, &prepared, frame)?;
            series.sort_by(|one, other| one.labels.cmp(&other.labels));
            Value::Matrix(series)
        } else {
            let series = eval::finish(&context, eval::eval(&context, &prepared, frame)?)?;
            match value_type {
                ValueType::Scalar => Value::Scalar { time_ms, value: series[0].float(0) },
                _ => Value::Vector(series.into_iter().filter_map(|series| series.into_sample(time_ms)).collect()),
            }
        };
        Ok(Answer { value, annotations: context.take_annotations() })
    }

    /// Every `step_ms` from `start_ms` to `end_ms`, both included.
    pub fn range(
        &self,
        storage: &dyn Storage,
        query: &str,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        interrupt: Interrupt<'_>,
    ) -> Result<Answer, QueryError> {
        let expr = parser::parse(query, self.options.parser)?;
        if !matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) {
            let found = quote(expr.value_type().documented());
            let wanted = "must be Scalar or instant Vector";
            return Err(QueryError::Invalid(format!("invalid expression type {found} for range query, {wanted}")));
        }
        if step_ms <= 0 {
            return Err(QueryError::Invalid("zero or negative query resolution step widths are not accepted".into()));
        }
        let prepared = prepare::prepare(expr, start_ms, end_ms, step_ms)?;
        let steps = if end_ms < start_ms { 0 } else { ((end_ms - start_ms) / step_ms) as usize + 1 };
        if steps > self.options.max_samples {
            return Err(QueryError::TooManySamples);
        }
        let frame = Frame { start_ms, step_ms, steps, is_range: start_ms != end_ms };
        let context = Context::new(&self.options, storage, interrupt);
        context.check("expression evaluation")?;
        let series = eval::finish(&context, eval::eval(&context, &prepared, frame)?)?;
        let mut matrix: Vec<MatrixSeries> = series.into_iter().map(|series| series.into_matrix(frame)).collect();
        matrix.sort_by(|one, other| one.labels.cmp(&other.labels));
        Ok(Answer { value: Value::Matrix(matrix), annotations: context.take_annotations() })
    }
}

/// Shared, so that steps can repeat it for nothing.
type Histogram = Arc<crate::histogram::FloatHistogram>;
