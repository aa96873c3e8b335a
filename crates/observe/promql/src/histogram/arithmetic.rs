//! Adding, subtracting and scaling, with schemas, zero buckets and custom bounds brought together first.

use std::sync::Arc;

use super::{
    CounterResetHint, FloatHistogram, HistogramError,
    bounds::exponential_bound,
    cells::{Cell, coarser, merge, put_together, take_apart},
};
use crate::kahan;

/// What a person should be told about two histograms that were combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Combined {
    /// One said that the counter was reset, the other that it was not.
    pub counter_reset_collision: bool,
    /// Custom bounds differed; only the common ones are left.
    pub bounds_reconciled: bool,
}

impl FloatHistogram {
    /// Scales all counts and the sum.
    pub fn mul(&mut self, factor: f64) -> &mut Self {
        self.scale(|value| value * factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
        self
    }

    /// As [`FloatHistogram::mul`]; dividing by zero leaves no buckets.
    pub fn div(&mut self, divisor: f64) -> &mut Self {
        self.scale(|value| value / divisor);
        if divisor == 0.0 {
            self.positive_spans.clear();
            self.positive_buckets.clear();
            self.negative_spans.clear();
            self.negative_buckets.clear();
        } else if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
        self
    }

    fn scale(&mut self, scaled: impl Fn(f64) -> f64) {
        // Custom buckets have no zero bucket, whatever the factor would make of its nothing.
        if !self.uses_custom_buckets() {
            self.zero_count = scaled(self.zero_count);
        }
        let totals = [&mut self.count, &mut self.sum];
        for value in totals.into_iter().chain(&mut self.positive_buckets).chain(&mut self.negative_buckets) {
            *value = scaled(*value);
        }
    }

    pub fn add(&mut self, other: &FloatHistogram) -> Result<Combined, HistogramError> {
        self.combine(other, false)
    }

    pub fn sub(&mut self, other: &FloatHistogram) -> Result<Combined, HistogramError> {
        self.combine(other, true)
    }

    fn combine(&mut self, other: &FloatHistogram, negative: bool) -> Result<Combined, HistogramError> {
        let mut combined = self.begin(other)?;
        let sign = if negative { -1.0 } else { 1.0 };
        if !self.uses_custom_buckets() {
            self.zero_count += sign * self.reconcile_zero_buckets(other, None);
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        if self.has_layout_of(other) {
            let mine = self.positive_buckets.iter_mut().chain(&mut self.negative_buckets);
            for (mine, theirs) in mine.zip(other.positive_buckets.iter().chain(&other.negative_buckets)) {
                *mine += sign * theirs;
            }
            return Ok(combined);
        }
        combined.bounds_reconciled = self.combine_buckets(other, negative, None);
        Ok(combined)
    }

    /// Adds, and keeps what rounding loses in `lost`, a histogram of the same layout that is made when it is not there.
    pub fn kahan_add(
        &mut self,
        other: &FloatHistogram,
        lost: &mut Option<FloatHistogram>,
    ) -> Result<Combined, HistogramError> {
        let mut combined = self.begin(other)?;
        let lost = lost.get_or_insert_with(|| self.nothing_lost());
        if !self.uses_custom_buckets() {
            let zero_count = self.reconcile_zero_buckets(other, Some(lost));
            (self.zero_count, lost.zero_count) = kahan::add(zero_count, self.zero_count, lost.zero_count);
        }
        (self.count, lost.count) = kahan::add(other.count, self.count, lost.count);
        (self.sum, lost.sum) = kahan::add(other.sum, self.sum, lost.sum);
        combined.bounds_reconciled = self.combine_buckets(other, false, Some(lost));
        Ok(combined)
    }

    /// A histogram of the same layout with nothing in it.
    fn nothing_lost(&self) -> FloatHistogram {
        FloatHistogram {
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive_buckets: vec![0.0; self.positive_buckets.len()],
            negative_buckets: vec![0.0; self.negative_buckets.len()],
            ..self.clone()
        }
    }

    fn begin(&mut self, other: &FloatHistogram) -> Result<Combined, HistogramError> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(HistogramError::IncompatibleSchemas);
        }
        Ok(Combined { counter_reset_collision: self.adjust_counter_reset(other), bounds_reconciled: false })
    }

    /// What is known of resets after two were combined; true when they contradicted each other.
    fn adjust_counter_reset(&mut self, other: &FloatHistogram) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        let (mine, theirs) = (self.counter_reset_hint, other.counter_reset_hint);
        self.counter_reset_hint = match (mine, theirs) {
            (mine, theirs) if mine == theirs => mine,
            (Gauge, _) | (_, Gauge) => Gauge,
            _ => Unknown,
        };
        mine != theirs && ![mine, theirs].iter().any(|hint| matches!(hint, Gauge | Unknown))
    }

    fn has_layout_of(&self, other: &FloatHistogram) -> bool {
        self.schema == other.schema
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && self.positive_buckets.len() == other.positive_buckets.len()
            && self.negative_buckets.len() == other.negative_buckets.len()
            && self.bounds() == other.bounds()
            // With a wider zero bucket some of the other's buckets do not count.
            && self.zero_threshold == other.zero_threshold
    }

    /// True when custom bounds had to be reconciled.
    fn combine_buckets(&mut self, other: &FloatHistogram, negative: bool, lost: Option<&mut FloatHistogram>) -> bool {
        let bounds_differ = self.uses_custom_buckets() && self.bounds() != other.bounds();
        let compensated = lost.is_some();
        let nothing = FloatHistogram::default();
        let lost_before = lost.as_deref().unwrap_or(&nothing);
        let mut sides = Vec::with_capacity(2);
        let common: Arc<[f64]> =
            if bounds_differ { common_bounds(self.bounds(), other.bounds()).into() } else { [].into() };
        for positive in [true, false] {
            let lost = if positive { &lost_before.positive_buckets } else { &lost_before.negative_buckets };
            let mine = self.cells(positive, compensated.then_some(lost.as_slice()));
            let theirs = other.cells(positive, None);
            sides.push(put_together(&if bounds_differ && positive {
                let mapped = map_to_bounds(&mine, self.bounds(), &common, Vec::new(), false);
                let both = map_to_bounds(&theirs, other.bounds(), &common, mapped, negative);
                both.into_iter().filter(|cell| cell.value != 0.0 || cell.lost != 0.0).collect()
            } else {
                self.merge_side(mine, theirs, other.schema, negative, compensated)
            }));
        }
        let (negative_side, positive_side) = (sides.pop().expect("two sides"), sides.pop().expect("two sides"));
        if !self.uses_custom_buckets() {
            self.schema = self.schema.min(other.schema);
        }
        if bounds_differ {
            self.custom_values = Some(common);
        }
        self.positive_spans = positive_side.spans;
        self.positive_buckets = positive_side.buckets;
        self.negative_spans = negative_side.spans;
        self.negative_buckets = negative_side.buckets;
        if let Some(lost) = lost {
            lost.positive_buckets = positive_side.lost;
            lost.negative_buckets = negative_side.lost;
            lost.follow_layout(self);
        }
        bounds_differ
    }

    /// Takes over everything but the counts.
    fn follow_layout(&mut self, other: &FloatHistogram) {
        self.schema = other.schema;
        self.zero_threshold = other.zero_threshold;
        self.custom_values = other.custom_values.clone();
        self.positive_spans = other.positive_spans.clone();
        self.negative_spans = other.negative_spans.clone();
    }

    pub(super) fn cells(&self, positive: bool, lost: Option<&[f64]>) -> Vec<Cell> {
        match positive {
            true => take_apart(&self.positive_spans, &self.positive_buckets, lost),
            false => take_apart(&self.negative_spans, &self.negative_buckets, lost),
        }
    }

    fn merge_side(
        &self,
        mut mine: Vec<Cell>,
        mut theirs: Vec<Cell>,
        their_schema: i32,
        negative: bool,
        compensated: bool,
    ) -> Vec<Cell> {
        if self.uses_custom_buckets() {
            return merge(mine, &theirs, negative, compensated);
        }
        let schema = self.schema.min(their_schema);
        if self.schema > schema {
            mine = coarser(mine, self.schema, schema, compensated);
        }
        if their_schema > schema {
            theirs = coarser(theirs, their_schema, schema, compensated);
        }
        // What lies in the zero bucket was counted there.
        theirs.retain(|cell| exponential_bound(cell.index, schema) > self.zero_threshold);
        merge(mine, &theirs, negative, compensated)
    }

    /// A deep copy in a coarser schema.
    pub fn copy_to_schema(&self, schema: i32) -> FloatHistogram {
        let mut copy = self.clone();
        if schema < self.schema && !self.uses_custom_buckets() {
            copy.counter_reset_hint = CounterResetHint::Unknown;
            copy.schema = schema;
            let positive = put_together(&coarser(self.cells(true, None), self.schema, schema, false));
            let negative = put_together(&coarser(self.cells(false, None), self.schema, schema, false));
            (copy.positive_spans, copy.positive_buckets) = (positive.spans, positive.buckets);
            (copy.negative_spans, copy.negative_buckets) = (negative.spans, negative.buckets);
        }
        copy
    }

    /// Widens this histogram's zero bucket until it covers the other's and ends on no populated bucket of either; the
    /// answer is what the other's zero count would be.
    fn reconcile_zero_buckets(&mut self, other: &FloatHistogram, mut lost: Option<&mut FloatHistogram>) -> f64 {
        let (mut zero_count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold != self.zero_threshold {
            if self.zero_threshold > threshold {
                (zero_count, threshold, _) = other.zero_count_for(self.zero_threshold, None);
            }
            if threshold > self.zero_threshold {
                let (count, wider, lost_count) = self.zero_count_for(threshold, lost.as_deref());
                (self.zero_count, self.zero_threshold) = (count, wider);
                if let Some(lost) = lost.as_deref_mut() {
                    lost.zero_count = lost_count;
                }
                self.empty_below_threshold(lost.as_deref_mut());
            }
        }
        zero_count
    }

    /// The zero count if the threshold were larger, the threshold then (at the end of a populated bucket if it fell
    /// into one), and what the sum lost.
    pub(super) fn zero_count_for(&self, mut threshold: f64, lost: Option<&FloatHistogram>) -> (f64, f64, f64) {
        let mut lost_count = lost.map_or(0.0, |lost| lost.zero_count);
        if threshold == self.zero_threshold {
            return (self.zero_count, threshold, lost_count);
        }
        'again: loop {
            let mut count = self.zero_count;
            for positive in [true, false] {
                let lost_buckets =
                    lost.map(|lost| if positive { &lost.positive_buckets } else { &lost.negative_buckets });
                for (at, bucket) in self.buckets(positive).enumerate() {
                    let (near, far) =
                        if positive { (bucket.lower, bucket.upper) } else { (-bucket.upper, -bucket.lower) };
                    if near >= threshold {
                        break;
                    }
                    (count, lost_count) = kahan::add(bucket.count, count, lost_count);
                    if let Some(lost_buckets) = lost_buckets {
                        (count, lost_count) = kahan::add(lost_buckets[at], count, lost_count);
                    }
                    if far > threshold {
                        if bucket.count != 0.0 {
                            threshold = far;
                            if !positive {
                                continue 'again;
                            }
                        }
                        break;
                    }
                }
            }
            return (count, threshold, lost_count);
        }
    }

    /// Takes the buckets away that the zero bucket covers now.
    fn empty_below_threshold(&mut self, mut lost: Option<&mut FloatHistogram>) {
        let threshold = self.zero_threshold;
        for positive in [true, false] {
            let covered = self.buckets(positive).take_while(|bucket| {
                let near = if positive { bucket.lower } else { -bucket.upper };
                near < threshold
            });
            let covered = covered.count();
            let buckets = if positive { &mut self.positive_buckets } else { &mut self.negative_buckets };
            buckets[..covered].fill(0.0);
            if let Some(lost) = lost.as_deref_mut() {
                let buckets = if positive { &mut lost.positive_buckets } else { &mut lost.negative_buckets };
                buckets[..covered].fill(0.0);
            }
        }
        self.compact_with(lost);
    }
}

/// The bounds that both have.
fn common_bounds(one: &[f64], other: &[f64]) -> Vec<f64> {
    let mut common = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < one.len() && j < other.len() {
        if one[i] == other[j] {
            common.push(one[i]);
            i += 1;
            j += 1;
        } else if one[i] < other[j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}

/// Adds cells to a full row of buckets with the given bounds, each to the bucket that holds its upper bound.
fn map_to_bounds(cells: &[Cell], bounds: &[f64], to: &[f64], mut row: Vec<Cell>, negative: bool) -> Vec<Cell> {
    if row.is_empty() {
        row = (0..=to.len()).map(|index| Cell { index: index as i32, value: 0.0, lost: 0.0 }).collect();
    }
    for cell in cells {
        let at = match bounds.get(cell.index as usize) {
            Some(upper) => to.partition_point(|bound| bound < upper),
            None => to.len(),
        };
        let value = if negative { -cell.value } else { cell.value };
        row[at].add(value, cell.lost, true);
    }
    row
}
