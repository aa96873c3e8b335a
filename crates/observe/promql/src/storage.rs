//! What the evaluator asks of whoever keeps the samples.

use std::sync::Arc;

use crate::{histogram::FloatHistogram, labels::Labels, matcher::Matcher};

/// The float that says "this series ended here"; compare by bits, it is a NaN.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
/// The NaN that arithmetic gives and scrapes may hold.
pub const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// Whether a float is the stale marker. A histogram is one when its sum is.
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

/// Why a store could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The query was given up while the store was at work.
    #[error("query was cancelled")]
    Cancelled,
    #[error("{0}")]
    Failed(String),
}

/// Where series are read from. Times are milliseconds since the epoch.
pub trait Storage: Send + Sync {
    /// The series for which every matcher says yes and which may have samples in `hints.start_ms..=hints.end_ms`.
    /// A series without samples in that time may be among them. The order is free unless `hints.sorted`.
    fn select(&self, matchers: &[Matcher], hints: &SelectHints) -> Result<Selected, StorageError>;
}

/// What the evaluator knows about what it is going to read; a store may use it or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SelectHints {
    /// First millisecond of interest, inclusive.
    pub start_ms: i64,
    /// Last millisecond of interest, inclusive.
    pub end_ms: i64,
    /// Distance between two evaluations; 0 for an instant query.
    pub step_ms: i64,
    /// Length of the range selector; 0 for an instant selector.
    pub range_ms: i64,
    /// The function or aggregation directly around the selector, or nothing; `series` when no samples will be read.
    pub function: String,
    /// The only labels that matter, if not all do: a store may leave the others out. Series stay apart all the same.
    pub only_labels: Option<Vec<String>>,
    /// Whether of each series nothing but its newest sample up to `end_ms` is wanted.
    pub newest_only: bool,
    /// At most so many series are wanted; 0 for all.
    pub limit: usize,
    /// Whether the answer has to be ordered by labels.
    pub sorted: bool,
    /// Whether start timestamps are wanted in the columns.
    pub start_timestamps: bool,
}

/// What was found.
pub struct Selected {
    pub series: Box<dyn SeriesSet>,
    /// For the person who asked: what may be missing, and why.
    pub warnings: Vec<String>,
}

/// Series, whose samples are read on demand. One thing for all of them: there may be a million.
pub trait SeriesSet: Send + Sync {
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn labels(&self, at: usize) -> &Labels;

    /// Appends a series' samples with `start_ms <= t <= end_ms` in ascending order of time, stale markers included. At
    /// one time there is one sample, float or histogram.
    fn read(&self, at: usize, start_ms: i64, end_ms: i64, columns: &mut Columns) -> Result<(), StorageError>;
}

/// Samples as columns; the evaluator keeps one and clears it between series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    pub floats: Column<f64>,
    pub histograms: Column<Arc<FloatHistogram>>,
}

impl Columns {
    pub fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.floats.times_ms.is_empty() && self.histograms.times_ms.is_empty()
    }

    pub fn len(&self) -> usize {
        self.floats.times_ms.len() + self.histograms.times_ms.len()
    }
}

/// Times and values of the same length.
#[derive(Debug, Clone, PartialEq)]
pub struct Column<V> {
    pub times_ms: Vec<i64>,
    pub values: Vec<V>,
    /// Start timestamps (0 where unknown): as long as `times_ms`, or empty when there are none.
    pub starts_ms: Vec<i64>,
}

impl<V> Default for Column<V> {
    fn default() -> Self {
        Self { times_ms: Vec::new(), values: Vec::new(), starts_ms: Vec::new() }
    }
}

impl<V> Column<V> {
    pub fn push(&mut self, time_ms: i64, value: V) {
        self.times_ms.push(time_ms);
        self.values.push(value);
        if !self.starts_ms.is_empty() {
            self.starts_ms.push(0);
        }
    }

    /// With a start timestamp; samples before it that had none get a 0.
    pub fn push_with_start(&mut self, time_ms: i64, value: V, start_ms: i64) {
        self.starts_ms.resize(self.times_ms.len(), 0);
        self.starts_ms.push(start_ms);
        self.times_ms.push(time_ms);
        self.values.push(value);
    }

    pub fn clear(&mut self) {
        self.times_ms.clear();
        self.values.clear();
        self.starts_ms.clear();
    }

    pub fn len(&self) -> usize {
        self.times_ms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.times_ms.is_empty()
    }
}
