//! What an aggregation makes of the samples of one window, in the order of operations that Loki has.

use crate::syntax::RangeOp;

/// Samples are moments in nanoseconds and values, in order, at least one.
pub(super) fn aggregate(op: RangeOp, samples: &[(i64, f64)], interval_seconds: f64, parameter: f64) -> f64 {
    let values = || samples.iter().map(|(_, value)| *value);
    match op {
        RangeOp::Count => samples.len() as f64,
        RangeOp::Sum | RangeOp::Bytes => sum(values()),
        RangeOp::Rate | RangeOp::BytesRate => sum(values()) / interval_seconds,
        RangeOp::RateCounter => counter_rate(samples, interval_seconds),
        RangeOp::Avg => average(values()),
        RangeOp::Max => extreme(values(), |new, old| new > old),
        RangeOp::Min => extreme(values(), |new, old| new < old),
        RangeOp::Stdvar => variance(values()),
        RangeOp::Stddev => variance(values()).sqrt(),
        RangeOp::Quantile => quantile(parameter, values().collect()),
        RangeOp::First => samples[0].1,
        RangeOp::Last => samples[samples.len() - 1].1,
        RangeOp::Absent => 1.0,
    }
}

/// A plain loop: `Iterator::sum` starts from -0.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

fn average(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (0.0_f64, 0.0);
    for value in values {
        count += 1.0;
        // An infinite mean stays: subtracting from it would make it no number.
        let same_infinity = value.is_infinite() && (mean > 0.0) == (value > 0.0);
        if mean.is_infinite() && (same_infinity || value.is_finite()) {
            continue;
        }
        mean += value / count - mean / count;
    }
    mean
}

fn extreme(values: impl Iterator<Item = f64>, better: impl Fn(f64, f64) -> bool) -> f64 {
    values.fold(f64::NAN, |best, value| if best.is_nan() || better(value, best) { value } else { best })
}

/// Welford's.
fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut squares, mut mean, mut count) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}

pub(super) fn quantile(quantile: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    // What is no number comes first.
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let last = (values.len() - 1) as f64;
    let rank = quantile * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Prometheus' extrapolated rate, as Loki applies it: the window is taken to end with the last sample, and moments to be
/// milliseconds, though they are nanoseconds.
fn counter_rate(samples: &[(i64, f64)], interval_seconds: f64) -> f64 {
    let [(first_ts, first), .., (last_ts, last)] = *samples else { return 0.0 };
    let mut increase = last - first;
    let mut before = 0.0;
    for (_, value) in samples {
        if *value < before {
            increase += before;
        }
        before = *value;
    }
    let interval_ms = (interval_seconds * 1000.0) as i64;
    let mut to_start = interval_ms as f64 / 1000.0;
    let to_end = 0.0;
    let sampled = (last_ts - first_ts) as f64 / 1000.0;
    let between = sampled / (samples.len() - 1) as f64;
    if increase > 0.0 && first >= 0.0 {
        let to_zero = sampled * (first / increase);
        to_start = to_start.min(to_zero);
    }
    let threshold = between * 1.1;
    let mut extrapolated = sampled;
    extrapolated += if to_start < threshold { to_start } else { between / 2.0 };
    extrapolated += if to_end < threshold { to_end } else { between / 2.0 };
    increase * (extrapolated / sampled) / interval_seconds
}
