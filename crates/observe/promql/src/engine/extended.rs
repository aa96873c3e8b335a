//! Selectors with `anchored` and `smoothed`: ranges whose ends get samples of their own.

use std::sync::Arc;

use super::{
    Annotation,
    annotations::{ADDITION, SUBTRACTION},
    context::{Context, Frame},
    select::{self, Shift},
    series::Series,
    window::{Outcome, Window},
};
use crate::{
    histogram::{CounterResetHint, FloatHistogram, HistogramError},
    parser::ast::{Span, VectorSelector},
    storage::Columns,
};

/// Who is told about what happens on the way.
struct Reporter<'a> {
    context: &'a Context<'a>,
    metric: &'a str,
    span: Span,
}

impl Reporter<'_> {
    fn annotate(&self, annotation: Annotation) {
        self.context.annotate(annotation, self.span);
    }

    fn mixed(&self) {
        self.annotate(select::mixed(self.metric));
    }

    /// False when the histograms do not go together.
    fn add(&self, to: &mut FloatHistogram, other: &FloatHistogram) -> bool {
        self.told(to.add(other), ADDITION)
    }

    fn sub(&self, from: &mut FloatHistogram, other: &FloatHistogram) -> bool {
        self.told(from.sub(other), SUBTRACTION)
    }

    fn told(&self, result: Result<crate::histogram::Combined, HistogramError>, operation: &'static str) -> bool {
        match result {
            Err(_) => {
                self.mixed();
                false
            }
            Ok(combined) => {
                if combined.bounds_reconciled {
                    self.annotate(Annotation::MismatchedCustomBuckets { operation });
                }
                true
            }
        }
    }
}

/// The value between two points. A counter that fell is taken to have started from zero.
fn interpolate((t1, mut y1): (i64, f64), (t2, y2): (i64, f64), time_ms: i64, is_counter: bool) -> f64 {
    if is_counter && y2 < y1 {
        y1 = 0.0;
    }
    y1 + (y2 - y1) * (time_ms - t1) as f64 / (t2 - t1) as f64
}

fn interpolate_histograms(
    reporter: &Reporter<'_>,
    (t1, h1): (i64, &FloatHistogram),
    (t2, h2): (i64, &FloatHistogram),
    time_ms: i64,
    is_counter: bool,
) -> Option<FloatHistogram> {
    if time_ms == t1 {
        return Some(h1.clone());
    }
    let mut result = h2.clone();
    if time_ms == t2 {
        return Some(result);
    }
    let fraction = (time_ms - t1) as f64 / (t2 - t1) as f64;
    if is_counter && h2.is_reset_after(h1) {
        result.mul(fraction);
        return Some(result);
    }
    if !reporter.sub(&mut result, h1) {
        return None;
    }
    result.mul(fraction);
    reporter.add(&mut result, h1).then_some(result)
}

/// The indices of the samples that make the ends of a range: the last at or before its start, and for smoothed ranges
/// the first at or after its end.
fn ends(times: &[i64], start_ms: i64, end_ms: i64, smoothed: bool) -> (usize, usize) {
    let last = times.len() - 1;
    let first = times[..last].partition_point(|time| *time <= start_ms).saturating_sub(1);
    let last = if smoothed { times[..last].partition_point(|time| *time < end_ms) } else { last };
    (first, last)
}

fn left(times: &[i64], floats: &[f64], first: usize, start_ms: i64, smoothed: bool, is_counter: bool) -> f64 {
    if smoothed && times[first] < start_ms {
        let next = (times[first + 1], floats[first + 1]);
        return interpolate((times[first], floats[first]), next, start_ms, is_counter);
    }
    floats[first]
}

fn right(times: &[i64], floats: &[f64], last: usize, end_ms: i64, smoothed: bool, is_counter: bool) -> f64 {
    if smoothed && last > 0 && times[last] > end_ms {
        let before = (times[last - 1], floats[last - 1]);
        return interpolate(before, (times[last], floats[last]), end_ms, is_counter);
    }
    floats[last]
}

/// A range vector with samples exactly at both ends.
pub(super) fn extend(columns: &mut Columns, start_ms: i64, end_ms: i64, smoothed: bool) {
    if columns.floats.is_empty() {
        return;
    }
    let (times, floats) = (&columns.floats.times_ms, &columns.floats.values);
    let (mut first, mut last) = ends(times, start_ms, end_ms, smoothed);
    let mut extended = Columns::default();
    if times[last] > start_ms {
        let left = left(times, floats, first, start_ms, smoothed, false);
        let right = right(times, floats, last, end_ms, smoothed, false);
        if times[first] <= start_ms {
            first += 1;
        }
        // One behind the last sample inside.
        last = if times[last] >= end_ms { last } else { last + 1 };
        extended.floats.push(start_ms, left);
        for at in first..last.max(first) {
            extended.floats.push(times[at], floats[at]);
        }
        extended.floats.push(end_ms, right);
    }
    columns.floats = extended.floats;
}

pub(super) fn rate(window: &Window<'_>, is_counter: bool, is_rate: bool) -> Outcome {
    let (times, floats, smoothed) = (window.times, window.floats, window.around.smoothed);
    if floats.is_empty() {
        return Outcome::Nothing;
    }
    let (mut first, mut last) = ends(times, window.start_ms, window.end_ms, smoothed);
    if times[last] <= window.start_ms || (smoothed && times[first] > window.end_ms) {
        return Outcome::Nothing;
    }
    let left = left(times, floats, first, window.start_ms, smoothed, is_counter);
    let right = right(times, floats, last, window.end_ms, smoothed, is_counter);
    let mut result = right - left;
    if is_counter {
        if times[first] <= window.start_ms {
            first += 1;
        }
        last = if times[last] >= window.end_ms { last } else { last + 1 };
        let mut correction = 0.0;
        let mut previous = left;
        for value in floats.get(first..last).unwrap_or(&[]).iter().copied().chain([right]) {
            if value < previous {
                correction += previous;
            }
            previous = value;
        }
        result += correction;
    }
    if is_rate {
        result /= window.around.range_seconds();
    }
    Outcome::Float(result)
}

pub(super) fn histogram_rate(window: &Window<'_>, is_counter: bool, is_rate: bool) -> Outcome {
    histogram_change(window, is_counter, is_rate)
        .map_or(Outcome::Nothing, |result| Outcome::Histogram(Box::new(result)))
}

fn histogram_change(window: &Window<'_>, is_counter: bool, is_rate: bool) -> Option<FloatHistogram> {
    use CounterResetHint::Gauge;
    let around = window.around;
    let reporter = Reporter { context: around.context, metric: around.labels.metric_name(), span: around.first_span };
    let (times, histograms, smoothed) = (window.histogram_times, window.histograms, around.smoothed);
    let (start_ms, end_ms) = (window.start_ms, window.end_ms);
    let (first, last) = ends(times, start_ms, end_ms, smoothed);
    if times[last] <= start_ms || (smoothed && times[first] > end_ms) {
        return None;
    }
    let custom = histograms[first].uses_custom_buckets();
    for histogram in &histograms[first..=last] {
        if histogram.uses_custom_buckets() != custom {
            reporter.mixed();
            return None;
        }
        if is_counter && histogram.counter_reset_hint == Gauge {
            reporter.annotate(Annotation::NativeHistogramNotCounter { metric: around.metric() });
        }
    }
    let at = |index: usize| (times[index], &*histograms[index]);
    let left = if smoothed && times[first] < start_ms {
        interpolate_histograms(&reporter, at(first), at(first + 1), start_ms, is_counter)?
    } else {
        (*histograms[first]).clone()
    };
    let right = if smoothed && last > 0 && times[last] > end_ms {
        interpolate_histograms(&reporter, at(last - 1), at(last), end_ms, is_counter)?
    } else {
        (*histograms[last]).clone()
    };
    if !is_counter && (left.counter_reset_hint != Gauge || right.counter_reset_hint != Gauge) {
        reporter.annotate(Annotation::NativeHistogramNotGauge { metric: around.metric() });
    }
    let mut result = right.clone();
    if !reporter.sub(&mut result, &left) {
        return None;
    }
    if is_counter {
        let spanned = smoothed && times[first] < start_ms && histograms[first + 1].is_reset_after(&histograms[first]);
        let correction = correction(&reporter, histograms, (first, last), (&left, &right), spanned)?;
        if let Some(correction) = correction
            && !reporter.add(&mut result, &correction)
        {
            return None;
        }
    }
    if is_rate {
        result.div(around.range_seconds());
    }
    result.counter_reset_hint = Gauge;
    result.compact();
    Some(result)
}

/// What resets between the ends took away. `spanned`: the first one lies inside the left end's interpolation already.
fn correction(
    reporter: &Reporter<'_>,
    histograms: &[Arc<FloatHistogram>],
    (first, last): (usize, usize),
    (left, right): (&FloatHistogram, &FloatHistogram),
    spanned: bool,
) -> Option<Option<FloatHistogram>> {
    let from = first + 1 + usize::from(spanned);
    let mut previous = if spanned { &*histograms[first + 1] } else { left };
    if from > last {
        return Some(None);
    }
    let mut sum: Option<FloatHistogram> = None;
    // The last sample is `right`, or what `right` was interpolated from.
    for current in histograms[from..last].iter().map(|histogram| &**histogram).chain([right]) {
        if current.is_reset_after(previous) {
            match &mut sum {
                None => sum = Some(previous.clone()),
                Some(sum) => {
                    if !reporter.add(sum, previous) {
                        return None;
                    }
                }
            }
        }
        previous = current;
    }
    Some(sum)
}

/// A smoothed instant selector: values on the line between the samples around each step.
pub(super) fn smooth(
    context: &Context<'_>,
    selector: &VectorSelector,
    columns: &Columns,
    frame: Frame,
    series: &mut Series,
) {
    let metric = series.labels.metric_name().to_owned();
    let reporter = Reporter { context, metric: &metric, span: selector.span };
    let shift = Shift::of(selector, frame);
    let lookback_ms = context.options.lookback_ms;
    let within = |times: &[i64], time_ms: i64| {
        let from = times.partition_point(|time| *time <= time_ms - lookback_ms);
        let to = times.partition_point(|time| *time <= time_ms + lookback_ms);
        from..to.max(from)
    };
    for step in 0..frame.steps {
        let time_ms = shift.reference(frame.time_ms(step));
        let floats = within(&columns.floats.times_ms, time_ms);
        let histograms = within(&columns.histograms.times_ms, time_ms);
        if !floats.is_empty() && !histograms.is_empty() {
            reporter.annotate(Annotation::MixedFloatsHistograms { metric: metric.clone() });
        } else if !histograms.is_empty() {
            let times = &columns.histograms.times_ms[histograms.clone()];
            let values = &columns.histograms.values[histograms];
            if let Some(value) = smooth_histogram(&reporter, times, values, time_ms) {
                series.push_histogram(step, Arc::new(value));
            }
        } else if !floats.is_empty() {
            let (times, values) = (&columns.floats.times_ms[floats.clone()], &columns.floats.values[floats]);
            let at = times.partition_point(|time| *time < time_ms);
            if at < times.len() && times[at] == time_ms {
                series.push_float(step, values[at]);
            } else if at > 0 && at < times.len() {
                let (before, after) = ((times[at - 1], values[at - 1]), (times[at], values[at]));
                series.push_float(step, interpolate(before, after, time_ms, false));
            } else if at > 0 {
                series.push_float(step, values[at - 1]);
            }
        }
    }
}

fn smooth_histogram(
    reporter: &Reporter<'_>,
    times: &[i64],
    values: &[Arc<FloatHistogram>],
    time_ms: i64,
) -> Option<FloatHistogram> {
    let at = times.partition_point(|time| *time < time_ms);
    if at < times.len() && times[at] == time_ms {
        return Some((*values[at]).clone());
    }
    let before = at.checked_sub(1)?;
    if at == times.len() {
        let mut last = (*values[before]).clone();
        last.counter_reset_hint = CounterResetHint::Unknown;
        return Some(last);
    }
    let (previous, next) = (&values[before], &values[at]);
    if previous.uses_custom_buckets() != next.uses_custom_buckets() {
        reporter.mixed();
        return None;
    }
    let gauge = CounterResetHint::Gauge;
    let is_counter = previous.counter_reset_hint != gauge || next.counter_reset_hint != gauge;
    interpolate_histograms(reporter, (times[before], previous), (times[at], next), time_ms, is_counter)
}
