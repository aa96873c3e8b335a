//! Series found by their labels.

use std::{collections::HashMap, sync::Arc};

use super::Series;
use crate::{
    labels::Labels,
    pipeline::{hash_pairs, same_pairs},
};

/// Numbers series in the order they come.
#[derive(Default)]
pub(super) struct SeriesIndex {
    by_hash: HashMap<u64, Vec<usize>>,
    labels: Vec<Arc<Labels>>,
}

impl SeriesIndex {
    /// The number of the series with these sorted labels.
    pub(super) fn of(&mut self, pairs: &[(&str, &str)]) -> usize {
        let candidates = self.by_hash.entry(hash_pairs(pairs.iter().copied())).or_default();
        if let Some(known) = candidates.iter().find(|index| same_pairs(&self.labels[**index], pairs)) {
            return *known;
        }
        let index = self.labels.len();
        candidates.push(index);
        let owned = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.labels.push(Arc::new(Labels::with_empty(owned)));
        index
    }

    pub(super) fn into_labels(self) -> Vec<Arc<Labels>> {
        self.labels
    }
}

/// Puts the vectors of steps together.
#[derive(Default)]
pub(super) struct Collector {
    index: HashMap<Arc<Labels>, usize>,
    series: Vec<Series>,
}

impl Collector {
    pub(super) fn add(&mut self, at_ms: i64, vector: Vec<(Arc<Labels>, f64)>) {
        for (labels, value) in vector {
            let index = match self.index.get(&labels) {
                Some(index) => *index,
                None => {
                    let index = self.series.len();
                    self.series.push(Series { labels: Arc::clone(&labels), points: Vec::new() });
                    self.index.insert(labels, index);
                    index
                }
            };
            self.series[index].points.push((at_ms, value));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn finish(mut self) -> Vec<Series> {
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self.series
    }
}
