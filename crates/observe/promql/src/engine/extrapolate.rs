//! `rate`, `increase`, `delta` and their instant kin.

use super::{
    Annotation, QueryError,
    annotations::{ADDITION, SUBTRACTION},
    extended, select,
    window::{Outcome, Window, is_start_reset},
};
use crate::histogram::{CounterResetHint, FloatHistogram};

pub(super) fn rate(window: &Window<'_>) -> Result<Outcome, QueryError> {
    Ok(extrapolated(window, true, true))
}

pub(super) fn increase(window: &Window<'_>) -> Result<Outcome, QueryError> {
    Ok(extrapolated(window, true, false))
}

pub(super) fn delta(window: &Window<'_>) -> Result<Outcome, QueryError> {
    Ok(extrapolated(window, false, false))
}

pub(super) fn irate(window: &Window<'_>) -> Result<Outcome, QueryError> {
    Ok(instant(window, true))
}

pub(super) fn idelta(window: &Window<'_>) -> Result<Outcome, QueryError> {
    Ok(instant(window, false))
}

fn extrapolated(window: &Window<'_>, is_counter: bool, is_rate: bool) -> Outcome {
    if window.refuses_mix() {
        return Outcome::Nothing;
    }
    let around = window.around;
    if around.anchored || around.smoothed {
        return match window.histograms.is_empty() {
            true => extended::rate(window, is_counter, is_rate),
            false => extended::histogram_rate(window, is_counter, is_rate),
        };
    }
    if window.histograms.len() > 1 {
        let Some(mut result) = histogram_increase(window, is_counter) else { return Outcome::Nothing };
        let first = window.histograms[0].count;
        let to_zero = (result.count > 0.0 && first >= 0.0).then(|| first / result.count);
        let factor = factor(window, window.histogram_times, to_zero.filter(|_| is_counter), is_rate);
        result.mul(factor);
        return Outcome::Histogram(Box::new(result));
    }
    let floats = window.floats;
    if floats.len() < 2 {
        return Outcome::Nothing;
    }
    let mut result = floats[floats.len() - 1] - floats[0];
    if is_counter {
        for at in window.resets() {
            result += floats[at - 1];
        }
    }
    let to_zero = (result > 0.0 && floats[0] >= 0.0).then(|| floats[0] / result);
    Outcome::Float(result * factor(window, window.times, to_zero.filter(|_| is_counter), is_rate))
}

/// What stretches the change between the first and the last sample to the whole range. `to_zero` is how far before the
/// first sample a counter was at zero, in lengths of the sampled interval.
#[inline]
fn factor(window: &Window<'_>, times: &[i64], to_zero: Option<f64>, is_rate: bool) -> f64 {
    let (first, last) = (times[0], times[times.len() - 1]);
    let mut to_start = (first - window.start_ms) as f64 / 1000.0;
    let mut to_end = (window.end_ms - last) as f64 / 1000.0;
    let sampled = (last - first) as f64 / 1000.0;
    let average = sampled / (times.len() - 1) as f64;
    // A boundary farther away than one sample usually is from the next lies outside of the series' life.
    let threshold = average * 1.1;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if let Some(to_zero) = to_zero {
        let to_zero = sampled * to_zero;
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    if is_rate { factor / window.around.range_seconds() } else { factor }
}

/// Last minus first, resets made good for; nothing when the histograms do not go together.
fn histogram_increase(window: &Window<'_>, is_counter: bool) -> Option<FloatHistogram> {
    use CounterResetHint::Gauge;
    let around = window.around;
    let histograms = window.histograms;
    let (first, second) = (&histograms[0], &histograms[1]);
    let last = &histograms[histograms.len() - 1];
    let metric = || around.metric();
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == Gauge;
    if is_counter && (is_gauge(first) || is_gauge(last)) {
        around.annotate(Annotation::NativeHistogramNotCounter { metric: metric() });
    }
    let is_reset = |at: usize, previous: &FloatHistogram| {
        let (start, times) = (|at| window.histogram_start(at), window.histogram_times);
        is_start_reset(start(at - 1), times[at - 1], start(at), times[at]) || histograms[at].is_reset_after(previous)
    };
    // With a reset right after the first sample, nobody needs to look at that one, whatever its layout.
    let nothing;
    let mut previous: &FloatHistogram = first;
    if is_counter && is_reset(1, first) {
        nothing = FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        };
        previous = &nothing;
    }
    let custom = previous.uses_custom_buckets();
    if last.uses_custom_buckets() != custom {
        around.annotate(select::mixed(&metric()));
        return None;
    }
    let mut schema = last.schema.min(previous.schema);
    if is_counter {
        for current in &histograms[1..histograms.len() - 1] {
            if is_gauge(current) {
                around.annotate(Annotation::NativeHistogramNotCounter { metric: metric() });
            }
            schema = schema.min(current.schema);
            if current.uses_custom_buckets() != custom {
                around.annotate(select::mixed(&metric()));
                return None;
            }
        }
    }
    let mut result = last.copy_to_schema(schema);
    match result.sub(previous) {
        Err(_) => {
            around.annotate(select::mixed(&metric()));
            return None;
        }
        Ok(combined) if combined.bounds_reconciled => {
            around.annotate(Annotation::MismatchedCustomBuckets { operation: SUBTRACTION });
        }
        Ok(_) => {}
    }
    if is_counter {
        for at in 1..histograms.len() {
            if is_reset(at, previous) {
                match result.add(previous) {
                    Err(_) => {
                        around.annotate(select::mixed(&metric()));
                        return None;
                    }
                    Ok(combined) if combined.bounds_reconciled => {
                        around.annotate(Annotation::MismatchedCustomBuckets { operation: ADDITION });
                    }
                    Ok(_) => {}
                }
            }
            previous = &histograms[at];
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        around.annotate(Annotation::NativeHistogramNotGauge { metric: metric() });
    }
    result.counter_reset_hint = Gauge;
    result.compact();
    Some(result)
}

#[derive(Clone, Copy)]
enum Last {
    Float(usize),
    Histogram(usize),
}

/// The change between the last two samples.
fn instant(window: &Window<'_>, is_rate: bool) -> Outcome {
    if window.len() < 2 {
        return Outcome::Nothing;
    }
    let time = |sample: Last| match sample {
        Last::Float(at) => window.times[at],
        Last::Histogram(at) => window.histogram_times[at],
    };
    let floats = (window.floats.len().saturating_sub(2)..window.floats.len()).map(Last::Float);
    let histograms = (window.histograms.len().saturating_sub(2)..window.histograms.len()).map(Last::Histogram);
    let mut latest: Vec<Last> = floats.chain(histograms).collect();
    latest.sort_by_key(|sample| time(*sample));
    let (before, now) = (latest[latest.len() - 2], latest[latest.len() - 1]);
    let interval_ms = time(now) - time(before);
    if interval_ms == 0 {
        return Outcome::Nothing;
    }
    let seconds = interval_ms as f64 / 1000.0;
    match (before, now) {
        (Last::Float(before), Last::Float(now)) => {
            let (earlier, value) = (window.floats[before], window.floats[now]);
            let times = (window.times[before], window.times[now]);
            let started = is_start_reset(window.start(before), times.0, window.start(now), times.1);
            let was_reset = is_rate && (value < earlier || started);
            let change = if was_reset { value } else { value - earlier };
            Outcome::Float(if is_rate { change / seconds } else { change })
        }
        (Last::Histogram(before), Last::Histogram(now)) => instant_histogram(window, (before, now), is_rate, seconds),
        _ => {
            window.around.context.annotate(
                Annotation::MixedFloatsHistograms { metric: window.around.metric() },
                window.around.all_spans,
            );
            Outcome::Nothing
        }
    }
}

fn instant_histogram(window: &Window<'_>, (before, now): (usize, usize), is_rate: bool, seconds: f64) -> Outcome {
    let around = window.around;
    let annotate = |annotation| around.context.annotate(annotation, around.all_spans);
    let (earlier, latest) = (&window.histograms[before], &window.histograms[now]);
    let gauges = [earlier, latest].map(|histogram| histogram.counter_reset_hint == CounterResetHint::Gauge);
    if is_rate && gauges.contains(&true) {
        annotate(Annotation::NativeHistogramNotCounter { metric: around.metric() });
    }
    if !is_rate && gauges.contains(&false) {
        annotate(Annotation::NativeHistogramNotGauge { metric: around.metric() });
    }
    let times = (window.histogram_times[before], window.histogram_times[now]);
    let started = is_start_reset(window.histogram_start(before), times.0, window.histogram_start(now), times.1);
    let mut result = (**latest).clone();
    if !is_rate || (!started && !latest.is_reset_after(earlier)) {
        match result.sub(earlier) {
            Err(_) => {
                annotate(select::mixed(&around.metric()));
                return Outcome::Nothing;
            }
            Ok(combined) if combined.bounds_reconciled => {
                annotate(Annotation::MismatchedCustomBuckets { operation: SUBTRACTION });
            }
            Ok(_) => {}
        }
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact();
    if is_rate {
        result.div(seconds);
    }
    Outcome::Histogram(Box::new(result))
}
