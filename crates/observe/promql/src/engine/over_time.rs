//! The `…_over_time` functions, `changes` and `resets`.

use super::{
    Annotation, Histogram, QueryError,
    annotations::AGGREGATION,
    quantile, select,
    window::{Outcome, Window, is_start_reset},
};
use crate::{
    histogram::{CounterResetHint, FloatHistogram, HistogramError},
    kahan,
};

type Result = std::result::Result<Outcome, QueryError>;

pub(super) fn sum(window: &Window<'_>) -> Result {
    if window.refuses_mix() {
        return Ok(Outcome::Nothing);
    }
    if window.floats.is_empty() {
        return Ok(histograms(window, false));
    }
    let mut sum = kahan::Sum::default();
    window.floats.iter().for_each(|value| sum.add(*value));
    Ok(Outcome::Float(sum.value()))
}

pub(super) fn avg(window: &Window<'_>) -> Result {
    if window.refuses_mix() {
        return Ok(Outcome::Nothing);
    }
    let Some((first, rest)) = window.floats.split_first() else { return Ok(histograms(window, true)) };
    let mut mean = Mean::new(*first);
    rest.iter().for_each(|value| mean.add(*value));
    Ok(Outcome::Float(mean.value()))
}

/// A mean by a compensated sum, and from the moment that would overflow, by steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mean {
    /// The sum, or the mean once it goes by steps.
    value: f64,
    lost: f64,
    count: f64,
    by_steps: bool,
}

impl Mean {
    pub fn new(first: f64) -> Self {
        Self { value: first, lost: 0.0, count: 1.0, by_steps: false }
    }

    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.by_steps {
            let (sum, lost) = kahan::add(value, self.value, self.lost);
            if !sum.is_infinite() {
                (self.value, self.lost) = (sum, lost);
                return;
            }
            self.by_steps = true;
            self.value /= self.count - 1.0;
            self.lost /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        (self.value, self.lost) = kahan::add(value / self.count, share * self.value, share * self.lost);
    }

    pub fn value(self) -> f64 {
        if self.by_steps { self.value + self.lost } else { self.value / self.count + self.lost / self.count }
    }
}

/// Sum or mean of histograms, with what has to be told about them.
pub(super) struct HistogramSum {
    value: FloatHistogram,
    lost: Option<FloatHistogram>,
    count: f64,
    is_mean: bool,
    by_steps: bool,
    resets: bool,
    no_resets: bool,
    pub bounds_reconciled: bool,
}

impl HistogramSum {
    pub fn new(first: &FloatHistogram, is_mean: bool) -> Self {
        let mut sum = Self {
            value: first.clone(),
            lost: None,
            count: 1.0,
            is_mean,
            by_steps: false,
            resets: false,
            no_resets: false,
            bounds_reconciled: false,
        };
        sum.note_hint(first);
        sum
    }

    fn note_hint(&mut self, histogram: &FloatHistogram) {
        self.resets |= histogram.counter_reset_hint == CounterResetHint::Reset;
        self.no_resets |= histogram.counter_reset_hint == CounterResetHint::NotReset;
    }

    /// Whether some said that there was a reset, and others that there was none.
    pub fn hints_collide(&self) -> bool {
        self.resets && self.no_resets
    }

    pub fn add(&mut self, histogram: &FloatHistogram) -> std::result::Result<(), HistogramError> {
        self.note_hint(histogram);
        self.count += 1.0;
        if !self.is_mean {
            let combined = self.value.kahan_add(histogram, &mut self.lost)?;
            self.bounds_reconciled |= combined.bounds_reconciled;
            return Ok(());
        }
        if !self.by_steps {
            let (mut value, mut lost) = (self.value.clone(), self.lost.clone());
            let combined = value.kahan_add(histogram, &mut lost)?;
            self.bounds_reconciled |= combined.bounds_reconciled;
            if !value.has_overflow() {
                (self.value, self.lost) = (value, lost);
                return Ok(());
            }
            self.by_steps = true;
            self.value.div(self.count - 1.0);
            if let Some(lost) = &mut self.lost {
                lost.div(self.count - 1.0);
            }
        }
        let share = (self.count - 1.0) / self.count;
        if let Some(lost) = &mut self.lost {
            lost.mul(share);
        }
        let mut part = histogram.clone();
        part.div(self.count);
        self.value.mul(share);
        let combined = self.value.kahan_add(&part, &mut self.lost)?;
        self.bounds_reconciled |= combined.bounds_reconciled;
        Ok(())
    }

    pub fn into_value(mut self) -> FloatHistogram {
        let divisor = if self.is_mean && !self.by_steps { self.count } else { 1.0 };
        if divisor != 1.0 {
            self.value.div(divisor);
        }
        if let Some(mut lost) = self.lost {
            if divisor != 1.0 {
                lost.div(divisor);
            }
            // Both have one layout, so this cannot fail.
            let _ = self.value.add(&lost);
        }
        self.value
    }
}

fn histograms(window: &Window<'_>, is_mean: bool) -> Outcome {
    let Some((first, rest)) = window.histograms.split_first() else { return Outcome::Nothing };
    let around = window.around;
    let mut sum = HistogramSum::new(first, is_mean);
    let failed = rest.iter().try_for_each(|histogram| sum.add(histogram)).is_err();
    if sum.hints_collide() {
        around.annotate(Annotation::CounterResetCollision { operation: AGGREGATION });
    }
    if sum.bounds_reconciled {
        around.annotate(Annotation::MismatchedCustomBuckets { operation: AGGREGATION });
    }
    if failed {
        around.annotate(select::mixed(&around.metric()));
        return Outcome::Nothing;
    }
    Outcome::Histogram(Box::new(sum.into_value()))
}

pub(super) fn first(window: &Window<'_>) -> Result {
    let float = window.times.first().copied();
    let histogram = window.histogram_times.first().copied();
    Ok(match (float, histogram) {
        (Some(float), histogram) if histogram.is_none_or(|time| float < time) => Outcome::Float(window.floats[0]),
        (_, Some(_)) => Outcome::Shared(window.histograms[0].clone()),
        _ => Outcome::Nothing,
    })
}

pub(super) fn last(window: &Window<'_>) -> Result {
    let float = window.times.last().copied();
    let histogram = window.histogram_times.last().copied();
    Ok(match (float, histogram) {
        (Some(float), histogram) if histogram.is_none_or(|time| time < float) => {
            Outcome::Float(window.floats[window.floats.len() - 1])
        }
        (_, Some(_)) => Outcome::Shared(window.histograms[window.histograms.len() - 1].clone()),
        _ => Outcome::Nothing,
    })
}

pub(super) fn time_of_first(window: &Window<'_>) -> Result {
    let times = [window.times.first(), window.histogram_times.first()];
    Ok(seconds(times.into_iter().flatten().min()))
}

pub(super) fn time_of_last(window: &Window<'_>) -> Result {
    let times = [window.times.last(), window.histogram_times.last()];
    Ok(seconds(times.into_iter().flatten().max()))
}

fn seconds(time_ms: Option<&i64>) -> Outcome {
    time_ms.map_or(Outcome::Nothing, |ms| Outcome::Float(*ms as f64 / 1000.0))
}

/// The index of the float that `better` picks; histograms are left out, which is told.
fn pick(window: &Window<'_>, better: impl Fn(f64, f64) -> bool) -> Option<usize> {
    let first = *window.floats.first()?;
    window.ignores_histograms();
    let (mut best, mut best_at) = (first, 0);
    for (at, value) in window.floats.iter().enumerate() {
        if better(*value, best) || best.is_nan() {
            (best, best_at) = (*value, at);
        }
    }
    Some(best_at)
}

fn float_at(window: &Window<'_>, at: Option<usize>) -> Outcome {
    at.map_or(Outcome::Nothing, |at| Outcome::Float(window.floats[at]))
}

pub(super) fn max(window: &Window<'_>) -> Result {
    Ok(float_at(window, pick(window, |value, best| value > best)))
}

pub(super) fn min(window: &Window<'_>) -> Result {
    Ok(float_at(window, pick(window, |value, best| value < best)))
}

pub(super) fn time_of_max(window: &Window<'_>) -> Result {
    Ok(seconds(pick(window, |value, best| value >= best).map(|at| &window.times[at])))
}

pub(super) fn time_of_min(window: &Window<'_>) -> Result {
    Ok(seconds(pick(window, |value, best| value <= best).map(|at| &window.times[at])))
}

pub(super) fn quantile(window: &Window<'_>) -> Result {
    if window.floats.is_empty() {
        return Ok(Outcome::Nothing);
    }
    let q = window.scalars[0];
    if !(0.0..=1.0).contains(&q) {
        window.around.annotate(Annotation::InvalidQuantile(q));
    }
    window.ignores_histograms();
    Ok(Outcome::Float(quantile::of_values(q, &mut window.floats.to_vec())))
}

pub(super) fn mad(window: &Window<'_>) -> Result {
    if window.floats.is_empty() {
        return Ok(Outcome::Nothing);
    }
    window.ignores_histograms();
    let mut values = window.floats.to_vec();
    let median = quantile::of_values(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Ok(Outcome::Float(quantile::of_values(0.5, &mut values)))
}

pub(super) fn stdvar(window: &Window<'_>) -> Result {
    Ok(variance(window).map_or(Outcome::Nothing, Outcome::Float))
}

pub(super) fn stddev(window: &Window<'_>) -> Result {
    Ok(variance(window).map_or(Outcome::Nothing, |variance| Outcome::Float(variance.sqrt())))
}

fn variance(window: &Window<'_>) -> Option<f64> {
    if window.floats.is_empty() {
        return None;
    }
    window.ignores_histograms();
    let mut count = 0.0;
    let (mut mean, mut lost_mean, mut squares, mut lost_squares) = (0.0, 0.0, 0.0, 0.0);
    for value in window.floats {
        count += 1.0;
        let delta = value - (mean + lost_mean);
        (mean, lost_mean) = kahan::add(delta / count, mean, lost_mean);
        (squares, lost_squares) = kahan::add(delta * (value - (mean + lost_mean)), squares, lost_squares);
    }
    Some((squares + lost_squares) / count)
}

/// One sample of a walk over floats and histograms in the order of time.
#[derive(Clone, Copy)]
enum Either<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

struct Step<'a> {
    time: i64,
    start: i64,
    value: Either<'a>,
}

/// Samples in the order of time. An anchored range begins with the last sample at or before its start; nothing when
/// no sample lies behind that.
fn in_order<'a>(window: &Window<'a>) -> Option<Vec<Step<'a>>> {
    let floats = window.floats.iter().enumerate().map(|(at, value)| Step {
        time: window.times[at],
        start: window.start(at),
        value: Either::Float(*value),
    });
    let histograms = window.histograms.iter().enumerate().map(|(at, value)| Step {
        time: window.histogram_times[at],
        start: window.histogram_start(at),
        value: Either::Histogram(value),
    });
    let mut steps: Vec<Step<'a>> = floats.chain(histograms).collect();
    if !window.histograms.is_empty() && !window.floats.is_empty() {
        steps.sort_by_key(|step| step.time);
    }
    if window.around.anchored {
        let before = steps.partition_point(|step| step.time <= window.start_ms);
        if before == steps.len() {
            return None;
        }
        steps.drain(..before.saturating_sub(1));
    }
    (!steps.is_empty()).then_some(steps)
}

fn count_pairs(window: &Window<'_>, counts: impl Fn(&Step<'_>, &Step<'_>) -> bool) -> Outcome {
    let Some(steps) = in_order(window) else { return Outcome::Nothing };
    Outcome::Float(steps.windows(2).filter(|pair| counts(&pair[0], &pair[1])).count() as f64)
}

pub(super) fn resets(window: &Window<'_>) -> Result {
    Ok(count_pairs(window, |before, now| {
        let started = || is_start_reset(before.start, before.time, now.start, now.time);
        match (before.value, now.value) {
            (Either::Float(before), Either::Float(now)) => now < before || started(),
            (Either::Histogram(before), Either::Histogram(now)) => started() || now.is_reset_after(before),
            _ => true,
        }
    }))
}

pub(super) fn changes(window: &Window<'_>) -> Result {
    Ok(count_pairs(window, |before, now| match (before.value, now.value) {
        (Either::Float(before), Either::Float(now)) => now != before && !(now.is_nan() && before.is_nan()),
        (Either::Histogram(before), Either::Histogram(now)) => now != before,
        _ => true,
    }))
}
