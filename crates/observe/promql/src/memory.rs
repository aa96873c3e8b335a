//! A store in memory: for tests of queries and rules.

use std::{collections::HashMap, sync::Arc};

use crate::{
    histogram::{CounterResetHint, FloatHistogram},
    labels::Labels,
    matcher::Matcher,
    storage::{Column, Columns, SelectHints, Selected, SeriesSet, Storage, StorageError},
};

/// Series in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    series: Vec<Arc<MemorySeries>>,
    places: HashMap<Labels, usize>,
}

#[derive(Debug, Clone)]
struct MemorySeries {
    labels: Labels,
    columns: Columns,
    /// Whether the last histogram continues the run of samples before it.
    last_is_float: bool,
}

impl MemoryStorage {
    fn series(&mut self, labels: &Labels) -> &mut MemorySeries {
        let place = *self.places.entry(labels.clone()).or_insert_with(|| {
            let columns = Columns::default();
            self.series.push(Arc::new(MemorySeries { labels: labels.clone(), columns, last_is_float: true }));
            self.series.len() - 1
        });
        Arc::make_mut(&mut self.series[place])
    }

    /// Samples of one series have to come in the order of time; one at the same time as the last is left out.
    pub fn push_float(&mut self, labels: &Labels, time_ms: i64, value: f64, start_ms: i64) {
        let series = self.series(labels);
        if series.last_time() < Some(time_ms) {
            push(&mut series.columns.floats, time_ms, value, start_ms);
            series.last_is_float = true;
        }
    }

    /// As [`MemoryStorage::push_float`]. What can be known of counter resets is written into the hint, as a store with
    /// chunks knows it: nothing about the first sample of a run, "no reset" about those that follow.
    pub fn push_histogram(&mut self, labels: &Labels, time_ms: i64, mut value: FloatHistogram, start_ms: i64) {
        let series = self.series(labels);
        if series.last_time() >= Some(time_ms) {
            return;
        }
        if value.counter_reset_hint != CounterResetHint::Gauge {
            let previous = series.columns.histograms.values.last().filter(|_| !series.last_is_float);
            let continues = previous.is_some_and(|previous| continues(previous, &value));
            value.counter_reset_hint = if continues { CounterResetHint::NotReset } else { CounterResetHint::Unknown };
        }
        push(&mut series.columns.histograms, time_ms, Arc::new(value), start_ms);
        series.last_is_float = false;
    }
}

fn continues(previous: &FloatHistogram, next: &FloatHistogram) -> bool {
    previous.counter_reset_hint != CounterResetHint::Gauge
        && previous.is_stale() == next.is_stale()
        && previous.schema == next.schema
        && previous.zero_threshold == next.zero_threshold
        && previous.bounds() == next.bounds()
        && !next.is_reset_after(previous)
}

fn push<V>(column: &mut Column<V>, time_ms: i64, value: V, start_ms: i64) {
    if start_ms == 0 {
        column.push(time_ms, value);
    } else {
        column.push_with_start(time_ms, value, start_ms);
    }
}

impl MemorySeries {
    fn last_time(&self) -> Option<i64> {
        self.columns.floats.times_ms.last().max(self.columns.histograms.times_ms.last()).copied()
    }
}

impl Storage for MemoryStorage {
    fn select(&self, matchers: &[Matcher], hints: &SelectHints) -> Result<Selected, StorageError> {
        let matches = |series: &&Arc<MemorySeries>| {
            matchers.iter().all(|matcher| matcher.matches(series.labels.value(&matcher.name)))
        };
        let mut found: Vec<Arc<MemorySeries>> = self.series.iter().filter(matches).cloned().collect();
        if hints.sorted {
            found.sort_by(|one, other| one.labels.cmp(&other.labels));
        }
        Ok(Selected { series: Box::new(Found(found)), warnings: Vec::new() })
    }
}

struct Found(Vec<Arc<MemorySeries>>);

impl SeriesSet for Found {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, at: usize) -> &Labels {
        &self.0[at].labels
    }

    fn read(&self, at: usize, start_ms: i64, end_ms: i64, columns: &mut Columns) -> Result<(), StorageError> {
        let from = &self.0[at].columns;
        copy(&from.floats, start_ms, end_ms, &mut columns.floats);
        copy(&from.histograms, start_ms, end_ms, &mut columns.histograms);
        Ok(())
    }
}

fn copy<V: Clone>(from: &Column<V>, start_ms: i64, end_ms: i64, to: &mut Column<V>) {
    let first = from.times_ms.partition_point(|time| *time < start_ms);
    let last = from.times_ms.partition_point(|time| *time <= end_ms).max(first);
    to.times_ms.extend_from_slice(&from.times_ms[first..last]);
    to.values.extend_from_slice(&from.values[first..last]);
    if let Some(starts) = from.starts_ms.get(first..last) {
        to.starts_ms.extend_from_slice(starts);
    }
}
