//! A series of an evaluation: one column of floats and one of histograms over the steps.

use std::collections::HashMap;

use super::{
    Histogram, QueryError,
    context::Frame,
    value::{MatrixSeries, Point, Sample, SampleValue},
};
use crate::{
    labels::{Labels, METRIC_NAME, METRIC_TYPE, METRIC_UNIT},
    storage::STALE_NAN,
};

/// Stands where there is no float. Staleness markers never get into an evaluation, so their bits are free.
const ABSENT: f64 = f64::from_bits(STALE_NAN);

#[inline]
pub(super) fn is_present(value: f64) -> bool {
    value.to_bits() != STALE_NAN
}

/// Columns from step `first` on; steps before and behind them have no sample. Either column may be empty; else both
/// have the same length. A step has a float or a histogram, never both.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    pub labels: Labels,
    /// The name goes at the end, with delayed name removal.
    pub drop_name: bool,
    pub first: usize,
    pub floats: Vec<f64>,
    pub histograms: Vec<Option<Histogram>>,
}

/// The sample of one step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

impl Series {
    pub fn new(labels: Labels, drop_name: bool) -> Self {
        Self { labels, drop_name, ..Self::default() }
    }

    /// The same value at every step.
    pub fn constant(value: f64, steps: usize) -> Self {
        Self { floats: vec![value; steps], ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.floats.len().max(self.histograms.len())
    }

    pub fn end(&self) -> usize {
        self.first + self.len()
    }

    /// The float of a step, or the mark for none.
    #[inline]
    pub fn float(&self, step: usize) -> f64 {
        match step.checked_sub(self.first) {
            Some(at) => self.floats.get(at).copied().unwrap_or(ABSENT),
            None => ABSENT,
        }
    }

    #[inline]
    pub fn get(&self, step: usize) -> Option<Cell<'_>> {
        let at = step.checked_sub(self.first)?;
        match self.floats.get(at) {
            Some(value) if is_present(*value) => Some(Cell::Float(*value)),
            _ => self.histograms.get(at)?.as_ref().map(Cell::Histogram),
        }
    }

    /// The steps that have a sample, in order.
    pub fn cells(&self) -> impl Iterator<Item = (usize, Cell<'_>)> {
        (self.first..self.end()).filter_map(|step| self.get(step).map(|cell| (step, cell)))
    }

    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.cells().next().is_none()
    }

    /// Steps are pushed in order, with gaps.
    pub fn push_float(&mut self, step: usize, value: f64) {
        self.make_room(step);
        if self.floats.is_empty() {
            self.floats.resize(step - self.first, ABSENT);
        }
        self.floats.push(value);
        if self.has_histograms() {
            self.histograms.push(None);
        }
    }

    pub fn push_histogram(&mut self, step: usize, value: Histogram) {
        self.make_room(step);
        if self.histograms.is_empty() {
            self.histograms.resize(step - self.first, None);
        }
        self.histograms.push(Some(value));
        if !self.floats.is_empty() {
            self.floats.push(ABSENT);
        }
    }

    pub fn push(&mut self, step: usize, cell: Cell<'_>) {
        match cell {
            Cell::Float(value) => self.push_float(step, value),
            Cell::Histogram(value) => self.push_histogram(step, value.clone()),
        }
    }

    fn make_room(&mut self, step: usize) {
        if self.len() == 0 {
            self.first = step;
            return;
        }
        let gap = step - self.first;
        if !self.floats.is_empty() {
            self.floats.resize(gap, ABSENT);
        }
        if !self.histograms.is_empty() {
            self.histograms.resize(gap, None);
        }
    }

    /// Changes every float; histograms stay.
    pub fn map_floats(&mut self, change: impl Fn(f64) -> f64) {
        for value in self.floats.iter_mut().filter(|value| is_present(**value)) {
            *value = change(*value);
        }
    }

    /// Samples held, histograms counted by their size.
    pub fn sample_count(&self) -> usize {
        let floats = self.floats.iter().filter(|value| is_present(**value)).count();
        let histograms: usize = self.histograms.iter().flatten().map(|histogram| histogram_size(histogram)).sum();
        floats + histograms
    }

    /// Without name, type and unit.
    pub fn drop_metadata(&mut self) {
        self.labels = without_metadata(&self.labels);
    }

    pub fn into_sample(self, time_ms: i64) -> Option<Sample> {
        let value = match self.get(self.first)? {
            Cell::Float(value) => SampleValue::Float(value),
            Cell::Histogram(value) => SampleValue::Histogram(value.clone()),
        };
        Some(Sample { labels: self.labels, time_ms, value })
    }

    pub fn into_matrix(self, frame: Frame) -> MatrixSeries {
        let mut matrix = MatrixSeries::default();
        for (step, cell) in self.cells() {
            let time_ms = frame.time_ms(step);
            match cell {
                Cell::Float(value) => matrix.floats.push(Point { time_ms, value }),
                Cell::Histogram(value) => matrix.histograms.push(Point { time_ms, value: value.clone() }),
            }
        }
        matrix.labels = self.labels;
        matrix
    }
}

pub(super) fn without_metadata(labels: &Labels) -> Labels {
    labels.filter(|name| ![METRIC_NAME, METRIC_TYPE, METRIC_UNIT].contains(&name))
}

/// A histogram's share of the limit on samples: its bytes in samples of 16.
pub(super) fn histogram_size(histogram: &crate::histogram::FloatHistogram) -> usize {
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
    let buckets = histogram.positive_buckets.len() + histogram.negative_buckets.len();
    (168 + 8 * (spans + buckets + histogram.bounds().len()) + 8) / 16
}

pub(super) fn same_labels() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".into())
}

pub(super) fn contains_same_labels(all: &[Series]) -> bool {
    let mut seen = std::collections::HashSet::with_capacity(all.len());
    all.len() > 1 && !all.iter().all(|series| seen.insert(series.labels.as_key()))
}

/// Series of the same labels become one; it is an error when they meet in a step.
pub(super) fn merge_same_labels(all: Vec<Series>) -> Result<Vec<Series>, QueryError> {
    if !contains_same_labels(&all) {
        return Ok(all);
    }
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(all.len());
    let mut merged: Vec<Series> = Vec::with_capacity(all.len());
    for series in all {
        match places.get(&series.labels) {
            None => {
                places.insert(series.labels.clone(), merged.len());
                merged.push(series);
            }
            Some(place) => merged[*place] = zip(&merged[*place], &series)?,
        }
    }
    Ok(merged)
}

fn zip(one: &Series, other: &Series) -> Result<Series, QueryError> {
    let mut both = Series::new(one.labels.clone(), one.drop_name);
    for step in one.first.min(other.first)..one.end().max(other.end()) {
        match (one.get(step), other.get(step)) {
            (Some(_), Some(_)) => return Err(same_labels()),
            (Some(cell), None) | (None, Some(cell)) => both.push(step, cell),
            (None, None) => {}
        }
    }
    Ok(both)
}
