//! Whether a counter started anew between two samples.

use super::{
    CounterResetHint, FloatHistogram,
    bounds::exponential_bound,
    cells::{Cell, coarser},
};

impl FloatHistogram {
    /// Whether this sample cannot have grown out of `previous`: a hint says so, a count went down, or the resolution
    /// went up.
    pub fn is_reset_after(&self, previous: &FloatHistogram) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if self.bounds() != previous.bounds() {
                return self.shrank_in_common_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        if self.schema == previous.schema && self.zero_threshold == previous.zero_threshold {
            return self.zero_count < previous.zero_count
                || [true, false].into_iter().any(|positive| shrank(self.side(positive), previous.side(positive)));
        }
        if previous.uses_custom_buckets() != self.uses_custom_buckets() {
            return true;
        }
        let (previous_zero_count, threshold, _) = previous.zero_count_for(self.zero_threshold, None);
        if threshold != self.zero_threshold || self.zero_count < previous_zero_count {
            return true;
        }
        [true, false].into_iter().any(|positive| {
            let mine = self.above_zero_bucket(self.cells(positive, None));
            let theirs = coarser(previous.cells(positive, None), previous.schema, self.schema, false);
            let theirs = self.above_zero_bucket(theirs);
            let pairs = |cells: Vec<Cell>| cells.into_iter().map(|cell| (cell.index, cell.value));
            shrank(pairs(mine), pairs(theirs))
        })
    }

    fn above_zero_bucket(&self, mut cells: Vec<Cell>) -> Vec<Cell> {
        cells.retain(|cell| exponential_bound(cell.index, self.schema) > self.zero_threshold);
        cells
    }

    /// Compares the counts between every two bounds that both have.
    fn shrank_in_common_bounds(&self, previous: &FloatHistogram) -> bool {
        let (mine, theirs) = (self.bounds(), previous.bounds());
        let mut common: Vec<f64> = mine.iter().copied().filter(|bound| theirs.contains(bound)).collect();
        common.push(f64::INFINITY);
        let sums = |histogram: &FloatHistogram| {
            let mut sums = vec![0.0; common.len()];
            for bucket in histogram.buckets(true) {
                sums[common.partition_point(|bound| *bound < bucket.upper)] += bucket.count;
            }
            sums
        };
        sums(self).into_iter().zip(sums(previous)).any(|(now, before)| now < before)
    }
}

/// Whether any bucket held more before.
fn shrank(now: impl Iterator<Item = (i32, f64)>, before: impl Iterator<Item = (i32, f64)>) -> bool {
    let mut now = now.peekable();
    for (index, count) in before {
        while now.next_if(|(here, _)| *here < index).is_some() {}
        let shrank = match now.peek() {
            Some((here, current)) if *here == index => *current < count,
            _ => count != 0.0,
        };
        if shrank {
            return true;
        }
    }
    false
}
