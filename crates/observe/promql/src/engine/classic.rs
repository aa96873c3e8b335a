//! Classic histograms: a float series a bucket, the upper bound in the label `le`.

use crate::histogram::FloatHistogram;

/// Relative differences of counts below this are noise of floating point.
const SMALL_DELTA: f64 = 1e-12;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub upper: f64,
    /// Observations up to `upper`.
    pub count: f64,
}

/// How counts that went down had to be corrected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Corrected {
    pub buckets: (f64, f64),
    pub difference: f64,
}

/// Orders buckets and makes one of those with the same bound; false when the one up to +Inf is missing.
fn normalize(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|one, other| one.upper.total_cmp(&other.upper));
    if buckets.last().is_none_or(|bucket| bucket.upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|later, earlier| {
        let same = later.upper == earlier.upper;
        if same {
            earlier.count += later.count;
        }
        same
    });
    true
}

pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Corrected>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !normalize(buckets) {
        return (f64::NAN, None);
    }
    let corrected = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, corrected);
    }
    let mut rank = q * observations;
    let at = buckets[..last].iter().position(|bucket| bucket.count >= rank).unwrap_or(last);
    if at == last {
        return (buckets[last - 1].upper, corrected);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, corrected);
    }
    let Bucket { upper, mut count } = buckets[at];
    let mut lower = 0.0;
    if at > 0 {
        lower = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (lower + (upper - lower) * (rank / count), corrected)
}

/// Counts never go down from one bucket to the next: where they do, they are raised.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Corrected> {
    let mut corrected: Option<Corrected> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let current = bucket.count;
        if current == previous {
            continue;
        }
        if almost_equal(previous, current, SMALL_DELTA) {
            bucket.count = previous;
            continue;
        }
        if current < previous {
            bucket.count = previous;
            let so_far =
                corrected.get_or_insert(Corrected { buckets: (f64::INFINITY, f64::NEG_INFINITY), difference: 0.0 });
            so_far.buckets = (so_far.buckets.0.min(bucket.upper), so_far.buckets.1.max(bucket.upper));
            so_far.difference = so_far.difference.max(previous - current);
            continue;
        }
        previous = current;
    }
    corrected
}

/// Whether two numbers are the same but for a relative difference.
pub fn almost_equal(one: f64, other: f64, epsilon: f64) -> bool {
    if one.is_nan() && other.is_nan() || one == other {
        return true;
    }
    let sum = one.abs() + other.abs();
    let difference = (one - other).abs();
    if one == 0.0 || other == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !normalize(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut from = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let (mut rank, mut lower_rank, mut upper_rank) = (0.0, None, None);
    for bucket in buckets.iter() {
        let inside = |value: f64| {
            if from == f64::NEG_INFINITY {
                return bucket.count;
            }
            rank + (bucket.count - rank) * (value - from) / (bucket.upper - from)
        };
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && from >= value {
                *found = Some(rank);
            } else if found.is_none() && from < value && bucket.upper > value {
                *found = Some(inside(value));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank = bucket.count;
        from = bucket.upper;
    }
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= count || rank.is_nan()).unwrap_or(count);
    (capped(upper_rank) - capped(lower_rank)) / count
}

/// The variance of a native histogram's observations, each taken to lie in the middle of its bucket.
pub(super) fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = crate::kahan::Sum::default();
    for bucket in histogram.all_buckets().into_iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if histogram.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        let delta = middle - mean;
        sum.add(bucket.count * delta * delta);
    }
    (sum.sum + sum.lost) / histogram.count
}
