//! Lines through samples, and smoothing.

use super::{
    QueryError,
    window::{Outcome, Window},
};
use crate::kahan::Sum;

type Result = std::result::Result<Outcome, QueryError>;

/// Slope and value at `at_ms` of the straight line that fits best.
fn line(times: &[i64], values: &[f64], at_ms: i64) -> (f64, f64) {
    if values.iter().all(|value| *value == values[0]) || values.len() == 1 {
        let first = values[0];
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = values.len() as f64;
    let (mut x_sum, mut y_sum, mut xy_sum, mut x2_sum) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for (time, y) in times.iter().zip(values) {
        let x = (time - at_ms) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        x2_sum.add(x * x);
    }
    let total = |sum: Sum| sum.sum + sum.lost;
    let (x_sum, y_sum, xy_sum, x2_sum) = (total(x_sum), total(y_sum), total(xy_sum), total(x2_sum));
    let covariance = xy_sum - x_sum * y_sum / n;
    let variance = x2_sum - x_sum * x_sum / n;
    let slope = covariance / variance;
    (slope, y_sum / n - slope * x_sum / n)
}

/// Whether there are enough floats; tells about histograms that were left out.
fn has_two(window: &Window<'_>) -> bool {
    if !window.floats.is_empty() {
        window.ignores_histograms();
    }
    window.floats.len() >= 2
}

pub(super) fn deriv(window: &Window<'_>) -> Result {
    if !has_two(window) {
        return Ok(Outcome::Nothing);
    }
    // A time near the samples keeps the numbers small.
    let (slope, _) = line(window.times, window.floats, window.times[0]);
    Ok(Outcome::Float(slope))
}

pub(super) fn predict_linear(window: &Window<'_>) -> Result {
    if !has_two(window) {
        return Ok(Outcome::Nothing);
    }
    let (slope, now) = line(window.times, window.floats, window.time_ms);
    Ok(Outcome::Float(slope * window.scalars[0] + now))
}

pub(super) fn double_exponential_smoothing(window: &Window<'_>) -> Result {
    let (smoothing, trend_factor) = (window.scalars[0], window.scalars[1]);
    for (name, bounds, value) in [("smoothing", "sf", smoothing), ("trend", "tf", trend_factor)] {
        if value <= 0.0 || value >= 1.0 {
            let message = format!("invalid {name} factor. Expected: 0 < {bounds} < 1, got: {value:.6}");
            return Err(QueryError::Execution(message));
        }
    }
    if !has_two(window) {
        return Ok(Outcome::Nothing);
    }
    let floats = window.floats;
    let (mut before, mut smoothed) = (0.0, floats[0]);
    let mut trend = floats[1] - floats[0];
    for (at, value) in floats.iter().enumerate().skip(1) {
        let scaled = smoothing * value;
        if at > 1 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        let carried = (1.0 - smoothing) * (smoothed + trend);
        (before, smoothed) = (smoothed, scaled + carried);
    }
    Ok(Outcome::Float(smoothed))
}
