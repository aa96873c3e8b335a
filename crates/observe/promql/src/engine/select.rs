//! Reading series: what instant and range selectors give.

use super::{
    Annotation, QueryError,
    context::{Context, Frame},
    extended,
    series::{Cell, Series},
    value::{MatrixSeries, Point},
    window::without_stale_markers,
};
use std::sync::Arc;

use crate::{
    histogram::{CounterResetHint, FloatHistogram},
    labels::Labels,
    parser::ast::{At, MatrixSelector, Offset, VectorSelector},
    storage::{self, Columns, SelectHints, SeriesSet, is_stale},
};

/// No sample lies farther from the epoch than this.
const FARTHEST_MS: i64 = 1 << 60;

/// How a selector moves the times of steps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shift {
    offset_ms: i64,
    is_fixed: bool,
}

impl Shift {
    /// A fixed moment is the one that the first step looks at. What does not change is evaluated at one step only; where
    /// that was not seen (in parameters of aggregations), the moment moves on with the steps, as in Prometheus.
    pub fn new(at: Option<At>, offset: &Offset, frame: Frame) -> Self {
        let offset_ms = offset_ms(offset);
        match at {
            // Far enough from the ends of what a number holds that lengths can be added.
            Some(At::TimeMs(ms)) => {
                let from_first_ms = frame.start_ms.saturating_sub(ms.clamp(-FARTHEST_MS, FARTHEST_MS));
                Self { offset_ms: from_first_ms.saturating_add(offset_ms), is_fixed: true }
            }
            _ => Self { offset_ms, is_fixed: false },
        }
    }

    pub fn of(selector: &VectorSelector, frame: Frame) -> Self {
        Self::new(selector.at, &selector.offset, frame)
    }

    /// The moment that a step looks at.
    pub fn reference(self, time_ms: i64) -> i64 {
        time_ms.saturating_sub(self.offset_ms)
    }

    pub fn is_fixed(self) -> bool {
        self.is_fixed
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
pub(super) struct Wanted<'a> {
    pub function: &'static str,
    /// Only counts and sums of histograms.
    pub without_buckets: bool,
    pub start_timestamps: bool,
    /// The labels that matter, if not all do.
    pub only_labels: Option<&'a [String]>,
}

pub(super) fn fetch(
    context: &Context<'_>,
    selector: &VectorSelector,
    (start_ms, end_ms): (i64, i64),
    (step_ms, range_ms): (i64, i64),
    is_one_moment: bool,
    wanted: Wanted<'_>,
) -> Result<Box<dyn SeriesSet>, QueryError> {
    let hints = SelectHints {
        start_ms,
        end_ms,
        step_ms,
        range_ms,
        function: wanted.function.to_owned(),
        start_timestamps: wanted.start_timestamps,
        only_labels: wanted.only_labels.map(<[String]>::to_vec),
        // What a histogram says of resets without its buckets, it says beside the one before.
        newest_only: is_one_moment && !wanted.without_buckets,
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
    wanted: Wanted<'_>,
) -> Result<Vec<Series>, QueryError> {
    let shift = Shift::of(selector, frame);
    let lookback_ms = context.options.lookback_ms;
    let start_ms = shift.reference(frame.start_ms) - lookback_ms + 1;
    let end_ms = shift.reference(frame.end_ms()) + if selector.smoothed { lookback_ms } else { 0 };
    let one_moment = frame.steps == 1 && !selector.smoothed;
    let found = fetch(context, selector, (start_ms, end_ms), (frame.step_ms, 0), one_moment, wanted)?;
    let mut columns = Columns::default();
    let mut all = Vec::with_capacity(found.len());
    for at in 0..found.len() {
        context.check("expression evaluation")?;
        columns.clear();
        found.read(at, start_ms, end_ms, &mut columns).map_err(storage_error)?;
        let mut series = Series::new(found.labels(at).clone(), false);
        if selector.smoothed {
            without_stale_markers(&mut columns);
            extended::smooth(context, selector, &columns, frame, &mut series);
        } else {
            if wanted.without_buckets {
                strip_buckets(&mut columns);
            }
            look_back(&columns, frame, shift, lookback_ms, &mut series);
        }
        if !series.is_empty() {
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

/// The time of the sample that an instant selector finds, in seconds (`timestamp`) or milliseconds (`info`). Prometheus'
/// `timestamp` looks at a fixed moment itself: an offset from that only decides which samples are there to be found.
pub(super) fn times_of_samples(
    context: &Context<'_>,
    selector: &VectorSelector,
    frame: Frame,
    in_seconds: bool,
) -> Result<Vec<Series>, QueryError> {
    let shift = Shift::of(selector, frame);
    let lookback_ms = context.options.lookback_ms;
    let start_ms = shift.reference(frame.start_ms) - lookback_ms + 1;
    let end_ms = shift.reference(frame.end_ms()) + if selector.smoothed { lookback_ms } else { 0 };
    let moment = |step: usize| match selector.at {
        Some(At::TimeMs(at_ms)) if in_seconds => at_ms,
        _ => shift.reference(frame.time_ms(step)),
    };
    let wanted = Wanted { function: if in_seconds { "timestamp" } else { "info" }, ..Wanted::default() };
    let found = fetch(context, selector, (start_ms, end_ms), (frame.step_ms, 0), false, wanted)?;
    let mut columns = Columns::default();
    let mut all = Vec::with_capacity(found.len());
    for at in 0..found.len() {
        columns.clear();
        found.read(at, start_ms, end_ms, &mut columns).map_err(storage_error)?;
        let mut series = Series::new(found.labels(at).clone(), false);
        let mut lookup = Lookup::new(&columns, lookback_ms);
        for step in 0..frame.steps {
            let time_ms = match lookup.find(moment(step)) {
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
        if !series.is_empty() {
            context.hold(series.sample_count())?;
            all.push(series);
        }
    }
    Ok(all)
}

/// Shows what an instant selector finds at one step, a series after the other, so that not all have to be held.
pub(super) fn each_at_one_step(
    context: &Context<'_>,
    selector: &VectorSelector,
    frame: Frame,
    wanted: Wanted<'_>,
    each: &mut dyn FnMut(&Labels, Cell<'_>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    const CHECK_EVERY: usize = 64;
    let time_ms = Shift::of(selector, frame).reference(frame.start_ms);
    let lookback_ms = context.options.lookback_ms;
    let start_ms = time_ms - lookback_ms + 1;
    let found = fetch(context, selector, (start_ms, time_ms), (frame.step_ms, 0), true, wanted)?;
    let mut columns = Columns::default();
    for at in 0..found.len() {
        if at % CHECK_EVERY == 0 {
            context.check("expression evaluation")?;
        }
        columns.clear();
        found.read(at, start_ms, time_ms, &mut columns).map_err(storage_error)?;
        if wanted.without_buckets {
            strip_buckets(&mut columns);
        }
        match Lookup::new(&columns, lookback_ms).find(time_ms) {
            None => {}
            Some(Found::Float(sample)) => each(found.labels(at), Cell::Float(columns.floats.values[sample]))?,
            Some(Found::Histogram(sample)) => {
                each(found.labels(at), Cell::Histogram(&columns.histograms.values[sample]))?;
            }
        }
    }
    Ok(())
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
    frame: Frame,
) -> Result<Vec<MatrixSeries>, QueryError> {
    let selector = &matrix.selector;
    let range_ms = matrix.range.ns() / 1_000_000;
    let end_ms = Shift::of(selector, frame).reference(frame.start_ms);
    let start_ms = end_ms - range_ms;
    let lookback_ms = context.options.lookback_ms;
    let before = if selector.anchored || selector.smoothed { lookback_ms } else { 0 };
    let after = if selector.smoothed { lookback_ms } else { 0 };
    let (first, last) = (start_ms - before + 1, end_ms + after);
    let found = fetch(context, selector, (first, last), (0, range_ms), false, Wanted::default())?;
    let mut columns = Columns::default();
    let mut all = Vec::with_capacity(found.len());
    for at in 0..found.len() {
        context.check("expression evaluation")?;
        columns.clear();
        found.read(at, first, last, &mut columns).map_err(storage_error)?;
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
            labels: found.labels(at).clone(),
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
