//! What is stored, and batches of it on their way in.

use std::{ops::Range, sync::Arc};

use coracle_promql::{Columns, FloatHistogram, is_stale};

use crate::hash::LabelsHash;

/// What a series had at a time.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl Value {
    /// Whether it says that the series ended.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(value) => is_stale(*value),
            Self::Histogram(histogram) => histogram.is_stale(),
        }
    }

    pub(crate) fn push_to(&self, time_ms: i64, columns: &mut Columns) {
        match self {
            Self::Float(value) => columns.floats.push(time_ms, *value),
            Self::Histogram(histogram) => columns.histograms.push(time_ms, Arc::clone(histogram)),
        }
    }
}

/// An observation that stands for many, with labels of its own, often a trace's.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    pub labels: coracle_promql::Labels,
    pub value: f64,
    pub time_ms: i64,
}

/// What is known about a metric beyond its samples.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metadata {
    /// `counter`, `gauge`, `histogram`, `gaugehistogram`, `summary`, `info`, `stateset` or `unknown`.
    pub kind: String,
    pub help: String,
    pub unit: String,
}

/// Samples on their way in. Borrows the texts of labels from whatever they came in.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    pub(crate) series: Vec<BatchSeries>,
    pub(crate) floats: Vec<(i64, f64)>,
    pub(crate) histograms: Vec<(i64, Arc<FloatHistogram>)>,
    pub(crate) exemplars: Vec<Exemplar>,
    pub(crate) metadata: Vec<(&'a str, Metadata)>,
}

#[derive(Debug)]
pub(crate) struct BatchSeries {
    pub(crate) hash: u64,
    pub(crate) labels: Range<u32>,
    pub(crate) floats: Range<u32>,
    pub(crate) histograms: Range<u32>,
    pub(crate) exemplars: Range<u32>,
}

impl<'a> Batch<'a> {
    /// Begins a series; labels come in any order. Samples pushed after it are its.
    ///
    /// Names have to be unique and values not empty: [`Batch::series_is_valid`] says whether they are.
    pub fn start_series(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let from = self.labels.len();
        self.labels.extend(labels.into_iter().filter(|(_, value)| !value.is_empty()));
        let own = &mut self.labels[from..];
        if !own.is_sorted_by(|one, other| one.0 < other.0) {
            own.sort_unstable();
        }
        let mut hash = LabelsHash::new();
        for (name, value) in own {
            hash.add(name.as_bytes());
            hash.add(value.as_bytes());
        }
        let empty = |len: usize| len as u32..len as u32;
        self.series.push(BatchSeries {
            hash: hash.finish(),
            labels: from as u32..self.labels.len() as u32,
            floats: empty(self.floats.len()),
            histograms: empty(self.histograms.len()),
            exemplars: empty(self.exemplars.len()),
        });
    }

    pub fn push_float(&mut self, time_ms: i64, value: f64) {
        self.floats.push((time_ms, value));
        if let Some(series) = self.series.last_mut() {
            series.floats.end += 1;
        }
    }

    pub fn push_histogram(&mut self, time_ms: i64, histogram: Arc<FloatHistogram>) {
        self.histograms.push((time_ms, histogram));
        if let Some(series) = self.series.last_mut() {
            series.histograms.end += 1;
        }
    }

    pub fn push_exemplar(&mut self, exemplar: Exemplar) {
        self.exemplars.push(exemplar);
        if let Some(series) = self.series.last_mut() {
            series.exemplars.end += 1;
        }
    }

    /// What is known about the metric of this name.
    pub fn push_metadata(&mut self, metric: &'a str, metadata: Metadata) {
        self.metadata.push((metric, metadata));
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn labels_of(&self, series: &BatchSeries) -> &[(&'a str, &'a str)] {
        &self.labels[series.labels.start as usize..series.labels.end as usize]
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    pub floats: usize,
    pub histograms: usize,
    pub exemplars: usize,
    /// The samples that were refused, by reason.
    pub refused: Refused,
    /// The first refusal, for a person.
    pub first_refusal: Option<String>,
}

/// How many samples were refused, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Older than the newest of their series, and there is no window for that.
    pub out_of_order: usize,
    /// Older than the out-of-order window.
    pub too_old: usize,
    /// Another value at a time that has one.
    pub duplicate: usize,
    /// Too far in the future.
    pub too_new: usize,
    /// A limit on series or labels was reached.
    pub limit: usize,
    /// Labels or histograms that cannot be.
    pub invalid: usize,
}

impl Refused {
    pub fn total(&self) -> usize {
        self.out_of_order + self.too_old + self.duplicate + self.too_new + self.limit + self.invalid
    }
}
