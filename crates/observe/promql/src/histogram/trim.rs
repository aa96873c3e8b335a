//! The operators `</` and `>/`: a histogram without the observations above, or below, a value.

use super::{Bucket, FloatHistogram};

impl FloatHistogram {
    /// Keeps what lies below `limit` (`upper`) or above it. A bucket that holds the limit is divided by interpolation.
    pub fn trimmed(&self, limit: f64, upper: bool) -> FloatHistogram {
        let mut trimmed = self.clone();
        let linear = self.uses_custom_buckets();
        let (mut count, mut sum) = (0.0, 0.0);
        let mut changed = false;
        let mut populated = [false, false];
        for positive in [true, false] {
            for (at, bucket) in self.buckets(positive).enumerate() {
                if bucket.count == 0.0 {
                    continue;
                }
                populated[usize::from(positive)] = true;
                let (kept, midpoint) = keep(bucket, limit, upper, positive, linear);
                count += kept;
                sum += midpoint * kept;
                if kept != bucket.count {
                    let buckets = if positive { &mut trimmed.positive_buckets } else { &mut trimmed.negative_buckets };
                    buckets[at] = kept;
                    changed = true;
                }
            }
        }
        if self.zero_count > 0.0 {
            let [has_negative, has_positive] = populated;
            let (kept, midpoint) = keep_of_zero_bucket(self.zero_bucket(), limit, upper, has_negative, has_positive);
            changed |= kept != self.zero_count;
            trimmed.zero_count = kept;
            count += kept;
            sum += midpoint * kept;
        }
        if changed {
            trimmed.count = count;
            trimmed.sum = sum;
            trimmed.compact();
        }
        trimmed
    }
}

/// How much of a bucket stays, and the middle of what stays.
fn keep(bucket: Bucket, limit: f64, upper: bool, positive: bool, linear: bool) -> (f64, f64) {
    let Bucket { lower, upper: top, count, .. } = bucket;
    let whole = if upper { top <= limit } else { lower >= limit };
    if whole {
        return (count, midpoint(lower, top, positive, linear));
    }
    let holds_limit = if upper { lower < limit } else { top > limit };
    if !holds_limit {
        return (0.0, 0.0);
    }
    if lower == f64::NEG_INFINITY || top == f64::INFINITY {
        return keep_of_endless(bucket, limit, upper);
    }
    let below = below(bucket, limit, positive, linear);
    if upper {
        (below, midpoint(lower, limit, positive, linear))
    } else {
        (count - below, midpoint(limit, top, positive, linear))
    }
}

fn zero_if_infinite(value: f64) -> f64 {
    if value.is_infinite() { 0.0 } else { value }
}

/// Nobody knows how observations lie in a bucket without end: it stays or goes as a whole, unless zero can stand in
/// for the missing end.
fn keep_of_endless(bucket: Bucket, limit: f64, upper: bool) -> (f64, f64) {
    let Bucket { lower, upper: top, count, .. } = bucket;
    if lower == f64::NEG_INFINITY {
        let ends_above_zero = top > 0.0 && top.is_finite();
        return match upper {
            true if limit >= top => (count, 0.0),
            true if limit > 0.0 && ends_above_zero => (count * limit / top, limit / 2.0),
            true if top <= 0.0 => (count, limit),
            false if limit <= lower => (count, 0.0),
            false if limit >= 0.0 && top > limit && top.is_finite() => {
                (count * (1.0 - limit / top), (limit + top) / 2.0)
            }
            _ => (0.0, zero_if_infinite(top)),
        };
    }
    if !upper && limit >= lower {
        return (count, limit);
    }
    (0.0, zero_if_infinite(lower))
}

/// How much of a bucket lies below the limit.
fn below(bucket: Bucket, limit: f64, positive: bool, linear: bool) -> f64 {
    let Bucket { lower, upper, count, .. } = bucket;
    if limit <= lower {
        return 0.0;
    }
    if limit >= upper {
        return count;
    }
    let fraction = if linear {
        (limit - lower) / (upper - lower)
    } else {
        let (low, high, at) = (lower.abs().log2(), upper.abs().log2(), limit.abs().log2());
        if positive { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
    };
    count * fraction
}

fn keep_of_zero_bucket(zero: Bucket, limit: f64, upper: bool, has_negative: bool, has_positive: bool) -> (f64, f64) {
    let low = if has_positive && !has_negative { 0.0 } else { zero.lower };
    let high = if has_negative && !has_positive { 0.0 } else { zero.upper };
    let (fraction, midpoint) = if upper {
        if limit <= low {
            return (0.0, 0.0);
        }
        if limit >= high {
            return (zero.count, (low + high) / 2.0);
        }
        ((limit - low) / (high - low), (low + limit) / 2.0)
    } else {
        if limit <= low {
            return (zero.count, (low + high) / 2.0);
        }
        if limit >= high {
            return (0.0, 0.0);
        }
        ((high - limit) / (high - low), (limit + high) / 2.0)
    };
    (zero.count * fraction, midpoint)
}

fn midpoint(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        _ if linear => (lower + upper) / 2.0,
        _ => {
            let mean = (lower * upper).abs().sqrt();
            if positive { mean } else { -mean }
        }
    }
}
