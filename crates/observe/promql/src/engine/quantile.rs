//! Quantiles and fractions: of values and of native histograms.

use super::Annotation;
use crate::histogram::{Bucket, FloatHistogram};

/// The φ-quantile of values, interpolated; NaN counts as the smallest.
pub(super) fn of_values(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|one, other| one.partial_cmp(other).unwrap_or_else(|| other.is_nan().cmp(&one.is_nan())));
    let last = (values.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = last.min(lower + 1.0);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// The bucket in which the rank is reached, counting from one end.
struct Reached {
    bucket: Bucket,
    count: f64,
    /// The counts of the buckets not looked at.
    rest: f64,
}

fn reach(buckets: impl Iterator<Item = Bucket>, rank: f64) -> Option<Reached> {
    let mut reached: Option<Reached> = None;
    let mut done = false;
    let mut count = 0.0;
    for bucket in buckets {
        if done {
            if let Some(reached) = &mut reached {
                reached.rest += bucket.count;
            }
            continue;
        }
        // An empty bucket is passed by, but the last one seen is where an unreached rank ends.
        reached = Some(Reached { bucket, count, rest: 0.0 });
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        if let Some(reached) = &mut reached {
            reached.count = count;
        }
        done = count >= rank;
    }
    reached
}

/// The φ-quantile of a native histogram, and what has to be said about it.
pub(super) fn of_histogram(q: f64, histogram: &FloatHistogram, metric: &str) -> (f64, Option<Annotation>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let has_nan = histogram.sum.is_nan();
    let from_below = has_nan || q < 0.5;
    let mut buckets = histogram.all_buckets();
    let mut rank = if from_below { q * histogram.count } else { (1.0 - q) * histogram.count };
    if !from_below {
        buckets.reverse();
    }
    let Some(Reached { mut bucket, mut count, rest }) = reach(buckets.into_iter(), rank) else {
        // No buckets at all: nothing was reached.
        if has_nan {
            return (f64::NAN, Some(Annotation::QuantileIsNan { metric: metric.to_owned() }));
        }
        return (0.0, None);
    };
    if histogram.uses_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        narrow_zero_bucket(histogram, &mut bucket);
    }
    count = count.min(histogram.count);
    if count < rank {
        if has_nan {
            return (f64::NAN, Some(Annotation::QuantileIsNan { metric: metric.to_owned() }));
        }
        return (bucket.upper, None);
    }
    rank = if from_below { rank - (count - bucket.count) } else { count - rank };
    let skewed = has_nan && count + rest < histogram.count;
    let annotation = skewed.then(|| Annotation::QuantileIsSkewed { metric: metric.to_owned() });
    let fraction = rank / bucket.count;
    if histogram.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (bucket.lower + (bucket.upper - bucket.lower) * fraction, annotation);
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        return ((lower + (upper - lower) * fraction).exp2(), annotation);
    }
    (-(upper + (lower - upper) * (1.0 - fraction)).exp2(), annotation)
}

/// With observations on one side only, the zero bucket is taken to end at zero.
fn narrow_zero_bucket(histogram: &FloatHistogram, bucket: &mut Bucket) {
    match (histogram.negative_buckets.is_empty(), histogram.positive_buckets.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

/// The share of observations between two values.
pub(super) fn fraction(lower: f64, upper: f64, histogram: &FloatHistogram, metric: &str) -> (f64, Option<Annotation>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let buckets = histogram.all_buckets();
    let (mut rank, mut lower_rank, mut upper_rank) = (0.0, None, None);
    for mut bucket in buckets.iter().copied() {
        let is_zero_bucket = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if is_zero_bucket {
            narrow_zero_bucket(histogram, &mut bucket);
        }
        let linear = histogram.uses_custom_buckets() || is_zero_bucket;
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && bucket.lower >= value {
                *found = Some(rank);
            }
        }
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && bucket.lower < value && bucket.upper > value {
                *found = Some(rank_inside(bucket, value, rank, linear));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += bucket.count;
    }
    let mut count = histogram.count;
    let mut annotation = None;
    if histogram.sum.is_nan() {
        count = buckets.iter().map(|bucket| bucket.count).sum();
        let excluded = count < histogram.count;
        annotation = excluded.then(|| Annotation::FractionExcludesNan { metric: metric.to_owned() });
    }
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= count || rank.is_nan()).unwrap_or(count);
    ((capped(upper_rank) - capped(lower_rank)) / histogram.count, annotation)
}

fn rank_inside(bucket: Bucket, value: f64, rank: f64, linear: bool) -> f64 {
    if linear {
        if bucket.lower == f64::NEG_INFINITY {
            return bucket.count;
        }
        return rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (lower, upper, at) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), value.abs().log2());
    let share = if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) };
    rank + bucket.count * share
}
