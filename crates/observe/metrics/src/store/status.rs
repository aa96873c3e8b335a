//! Figures about a store.

use std::{cmp::Reverse, collections::BinaryHeap};

use coracle_promql::labels::METRIC_NAME;

use super::Store;
use crate::{BlockMeta, resolve::Index, spill::Spill};

/// A name and how many there are of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedCount {
    pub name: String,
    pub count: u64,
}

/// What the head holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadStatistics {
    pub series: u64,
    pub label_pairs: u64,
    pub chunks: u64,
    /// First and last time; `None` when there is nothing.
    pub span_ms: Option<(i64, i64)>,
    /// The most of each, most first.
    pub series_by_metric: Vec<NamedCount>,
    pub values_by_label: Vec<NamedCount>,
    pub bytes_by_label: Vec<NamedCount>,
    pub series_by_pair: Vec<NamedCount>,
}

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    pub samples_taken: u64,
    pub head_series: u64,
    pub head_heap_bytes: u64,
    pub wal_bytes: u64,
    pub chunk_file_bytes: u64,
    pub block_bytes: u64,
    pub exemplars: u64,
    pub blocks: Vec<BlockMeta>,
}

impl Store {
    pub fn statistics(&self) -> Statistics {
        let state = self.0.state.read();
        Statistics {
            samples_taken: state.head.samples_taken,
            head_series: state.head.series_count() as u64,
            head_heap_bytes: state.head.heap_bytes() as u64,
            wal_bytes: state.journal.wal_bytes(),
            chunk_file_bytes: state.head.spills.values().map(Spill::len_bytes).sum(),
            block_bytes: state.blocks.iter().map(|block| block.size_bytes()).sum(),
            exemplars: state.exemplars.len() as u64,
            blocks: state.blocks.iter().map(|block| block.meta().clone()).collect(),
        }
    }

    /// What the head holds, with the `limit` largest of each kind.
    pub fn head_statistics(&self, limit: usize) -> HeadStatistics {
        let state = self.0.state.read();
        let index = &state.head.index;
        let named = |(name, count): (&str, usize)| (count as u64, name.to_owned());
        let bytes_of =
            |name: &str| index.values_with_counts(name).map(|(value, count)| value.len() * count).sum::<usize>();
        let names: Vec<(&str, usize)> = index.names().collect();
        let pairs = index.pairs_with_counts().map(|((name, value), count)| (count as u64, (name, value)));
        let span_ms =
            (state.head.oldest_ms <= state.head.newest_ms).then_some((state.head.oldest_ms, state.head.newest_ms));
        HeadStatistics {
            series: u64::from(index.series_count()),
            label_pairs: index.pairs_count() as u64,
            chunks: state.head.chunks_count() as u64,
            span_ms,
            series_by_metric: most(index.values_with_counts(METRIC_NAME).map(named), limit, |name| name),
            values_by_label: most(names.iter().copied().map(named), limit, |name| name),
            bytes_by_label: most(names.iter().map(|(name, _)| named((name, bytes_of(name)))), limit, |name| name),
            series_by_pair: most(pairs, limit, |(name, value)| {
                format!("{}={}", index.symbols.get(name), index.symbols.get(value))
            }),
        }
    }
}

/// The largest, largest first.
fn most<K: Ord>(counted: impl Iterator<Item = (u64, K)>, limit: usize, name: impl Fn(K) -> String) -> Vec<NamedCount> {
    let mut kept = BinaryHeap::new();
    for each in counted {
        kept.push(Reverse(each));
        if kept.len() > limit {
            kept.pop();
        }
    }
    let ordered = kept.into_sorted_vec().into_iter();
    ordered.map(|Reverse((count, key))| NamedCount { name: name(key), count }).collect()
}
