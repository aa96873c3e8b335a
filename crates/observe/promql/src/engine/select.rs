//! Reading series: what instant and range selectors give.

use super::{
    Annotation, QueryError,
    context::{Context, Frame},
    extended,
    series::Series,
    value::{MatrixSeries, Point},
    window::without_stale_markers,
};
use std::sync::Arc;

use crate::{
    histogram::{CounterResetHint, FloatHistogram},
    parser::ast::{At, MatrixSelector, Offset, VectorSelector},
    storage::{self, Columns, SelectHints, is_stale},
};

/// No sample lies farther from the epoch than this.
const FARTHEST_MS: i64 = 1 << 60;

/// How a selector moves the times of steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    at_ms: Option<i64>,
    offset_ms: i64,
}

impl Shift {
    pub fn new(at: Option<At>, offset: &Offset) -> Self {
        let at_ms = match at {
            // Far enough from the ends of what a number holds that lengths can be added.
            Some(At::TimeMs(ms)) => Some(ms.clamp(-FARTHEST_MS, FARTHEST_MS)),
            _ => None,
        };
        Self { at_ms, offset_ms: offset_ms(offset) }
    }

    pub fn of(selector: &VectorSelector) -> Self {
        Self::new(selector.at, &selector.offset)
    }

    /// The moment that a step looks at.
    pub fn reference(self, time_ms: i64) -> i64 {
        self.at_ms.unwrap_or(time_ms).saturating_sub(self.offset_ms)
    }

    pub fn is_fixed(self) -> bool {
        self.at_ms.is_some()
    }
}

pub(super) fn offset_ms(offset: &Offset) -> i64 {
    match offset {
        Offset::Ns(ns) => ns / 1_000_000,
        _ => 0,
    }
}

/// What an expression around a selector wants of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub function: &'static str,
    /// Only counts and sums of histograms.
    pub without_buckets: bool,
    pub start_timestamps: bool,
}

pub(super) fn fetch(
    context: &Context<'_>,
    selector: &VectorSelector,
    (start_ms, end_ms): (i64, i64),
    (step_ms, range_ms): (i64, i64),
    wanted: Wanted,
) -> Result<Vec<Box<dyn storage::Series>>, QueryError> {
    let hints = SelectHints {
        start_ms,
        end_ms,
        step_ms,
        range_ms,
        function: wanted.function.to_owned(),
        start_timestamps: wanted.start_timestamps,
        ..SelectHints::default()
    };
    let selected = context.storage.select(&selector.matchers, &hints).map_err(storage_error)?;
    context.warn(selected.warnings);
    Ok(selected.series)
}

pub(super) fn storage_error(error: storage::StorageError) -> QueryError {
    match error {
        storage::StorageError::Cancelled => QueryError::Cancelled("expression evaluation"),
        other => QueryError::Storage(other),
    }
}

/// An instant selector at every step.
pub(super) fn instant(
    context: &Context<'_>,
    selector: &VectorSelector,
    frame: Frame,
    wanted: Wanted,
) -> Result<Vec<Series>, QueryError> {
    let shift = Shift::of(selector);
    let lookback_ms = context.options.lookback_ms;
    let start_ms = shift.reference(frame.start_ms) - lookback_ms + 1;
    let end_ms = shift.reference(frame.end_ms()) + if selector.smoothed { lookback_ms } else { 0 };
    let found = fetch(context, selector, (start_ms, end_ms), (frame.step_ms, 0), wanted)?;
    let mut columns = Columns::default();
    let mut all = Vec::with_capacity(found.len());
    for source in found {
        context.check("expression evaluation")?;
        columns.clear();
        source.read(start_ms, end_ms, &mut columns).map_err(storage_error)?;
        let mut series = Series::new(source.labels().clone(), false);
        if selector.smoothed {
            without_stale_markers(&mut columns);
            extended::smooth(context, selector, &columns, frame, &mut series);
        } else {
            if wanted.without_buckets {
                strip_buckets(&mut columns);
            }
            look_back(&columns, frame, shift, lookback_ms, &mut series);
        }
        if series.len() > 0 {
            context.hold(series.sample_count())?;
            all.push(series);
        }
    }
    Ok(all)
}

/// The last sample at or before a time, if it is not too old and no end of the series.
struct Lookup<'a> {
    columns: &'a Columns,
    lookback_ms: i64,
    floats: usize,
    histograms: usize,
}

enum Found {
    Float(usize),
    Histogram(usize),
}

impl<'a> Lookup<'a> {
    fn new(columns: &'a Columns, lookback_ms: i64) -> Self {
        Self { columns, lookback_ms, floats: 0, histograms: 0 }
    }

    /// Times have to come in ascending order.
    #[inline]
    fn find(&mut self, time_ms: i64) -> Option<Found> {
        let floats = &self.columns.floats;
        let histograms = &self.columns.histograms;
        while floats.times_ms.get(self.floats).is_some_and(|time| *time <= time_ms) {
            self.floats += 1;
        }
        while histograms.times_ms.get(self.histograms).is_some_and(|time| *time <= time_ms) {
            self.histograms += 1;
        }
        let float = self.floats.checked_sub(1).map(|at| (floats.times_ms[at], at));
        let histogram = self.histograms.checked_sub(1).map(|at| (histograms.times_ms[at], at));
        let is_recent = |time: i64| time > time_ms - self.lookback_ms;
        match (float, histogram) {
            (Some((time, at)), other) if other.is_none_or(|(later, _)| later < time) => {
                (is_recent(time) && !is_stale(floats.values[at])).then_some(Found::Float(at))
            }
            (_, Some((time, at))) => {
                (is_recent(time) && !histograms.values[at].is_stale()).then_some(Found::Histogram(at))
            }
            _ => None,
        }
    }
}

fn look_back(columns: &Columns, frame: Frame, shift: Shift, lookback_ms: i64, series: &mut Series) {
    let mut lookup = Lookup::new(columns, lookback_ms);
    for step in 0..frame.steps {
        match lookup.find(shift.reference(frame.time_ms(step))) {
            None => {}
            Some(Found::Float(at)) => series.push_float(step, columns.floats.values[at]),
            Some(Found::Histogram(at)) => series.push_histogram(step, columns.histograms.values[at].clone()),
        }
    }
}

/// The time of the sample that an instant selector finds, in seconds (`timestamp`) or milliseconds (`info`).
pub(super) fn times_of_samples(
    context: &Context<'_>,
    selector: &VectorSelector,
    frame: Frame,
    in_seconds: bool,
) -> Result<Vec<Series>, QueryError> {
    let shift = Shift::of(selector);
    let lookback_ms = context.options.lookback_ms;
    let start_ms = shift.reference(frame.start_ms) - lookback_ms + 1;
    let end_ms = shift.reference(frame.end_ms());
    let wanted = Wanted { function: if in_seconds { "timestamp" } else { "info" }, ..Wanted::default() };
    let found = fetch(context, selector, (start_ms, end_ms), (frame.step_ms, 0), wanted)?;
    let mut columns = Columns::default();
    let mut all = Vec::with_capacity(found.len());
    for source in found {
        columns.clear();
        source.read(start_ms, end_ms, &mut columns).map_err(storage_error)?;
        let mut series = Series::new(source.labels().clone(), false);
        let mut lookup = Lookup::new(&columns, lookback_ms);
        for step in 0..frame.steps {
            let time_ms = match lookup.find(shift.reference(frame.time_ms(step))) {
                None => continue,
                Some(Found::Float(at)) => columns.floats.times_ms[at],
                Some(Found::Histogram(_)) if !in_seconds => {
                    let problem = "this should be an info metric, with float samples";
                    return Err(QueryError::Execution(format!("{problem}: {}", series.labels)));
                }
                Some(Found::Histogram(at)) => columns.histograms.times_ms[at],
            };
            series.push_float(step, if in_seconds { time_ms as f64 / 1000.0 } else { time_ms as f64 });
        }
        if series.len() > 0 {
            context.hold(series.sample_count())?;
            all.push(series);
        }
    }
    Ok(all)
}

/// Only count and sum.
fn bare(histogram: &FloatHistogram) -> FloatHistogram {
    FloatHistogram {
        counter_reset_hint: histogram.counter_reset_hint,
        schema: histogram.schema,
        count: histogram.count,
        sum: histogram.sum,
        ..FloatHistogram::default()
    }
}

/// Takes the buckets away after what they say about resets was written into the hints.
pub(super) fn strip_buckets(columns: &mut Columns) {
    let mut last: Option<Arc<FloatHistogram>> = None;
    for histogram in &mut columns.histograms.values {
        let mut stripped = bare(histogram);
        if stripped.counter_reset_hint == CounterResetHint::Unknown
            && let Some(last) = &last
        {
            let reset = histogram.is_reset_after(last);
            stripped.counter_reset_hint = if reset { CounterResetHint::Reset } else { CounterResetHint::NotReset };
        }
        last = Some(std::mem::replace(histogram, Arc::new(stripped)));
    }
}

/// A range selector's samples at one moment.
pub(super) fn range(
    context: &Context<'_>,
    matrix: &MatrixSelector,
    time_ms: i64,
) -> Result<Vec<MatrixSeries>, QueryError> {
    let selector = &matrix.selector;
    let range_ms = matrix.range.ns() / 1_000_000;
    let end_ms = Shift::of(selector).reference(time_ms);
    let start_ms = end_ms - range_ms;
    let lookback_ms = context.options.lookback_ms;
    let before = if selector.anchored || selector.smoothed { lookback_ms } else { 0 };
    let after = if selector.smoothed { lookback_ms } else { 0 };
    let (first, last) = (start_ms - before + 1, end_ms + after);
    let found = fetch(context, selector, (first, last), (0, range_ms), Wanted::default())?;
    let mut columns = Columns::default();
    let mut all = Vec::with_capacity(found.len());
    for source in found {
        context.check("expression evaluation")?;
        columns.clear();
        source.read(first, last, &mut columns).map_err(storage_error)?;
        without_stale_markers(&mut columns);
        context.hold(columns.len())?;
        if selector.anchored || selector.smoothed {
            if !columns.histograms.is_empty() {
                let word = if selector.anchored { "anchored" } else { "smoothed" };
                return Err(QueryError::Execution(format!("{word} modifier is not supported with histograms")));
            }
            extended::extend(&mut columns, start_ms, end_ms, selector.smoothed);
        }
        if columns.is_empty() {
            continue;
        }
        all.push(MatrixSeries {
            labels: source.labels().clone(),
            floats: points(&columns.floats.times_ms, &columns.floats.values),
            histograms: points(&columns.histograms.times_ms, &columns.histograms.values),
        });
    }
    Ok(all)
}

fn points<V: Clone>(times: &[i64], values: &[V]) -> Vec<Point<V>> {
    times.iter().zip(values).map(|(time_ms, value)| Point { time_ms: *time_ms, value: value.clone() }).collect()
}

/// Says what is wrong with combining histograms of different kinds.
pub(super) fn mixed(metric: &str) -> Annotation {
    Annotation::MixedExponentialCustom { metric: metric.to_owned() }
}
