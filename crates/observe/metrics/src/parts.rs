//! What a selected series' samples are read from, and how parts become one ascending run.

use std::sync::Arc;

use coracle_promql::{Column, Columns};

use crate::{
    StoreError,
    block::{Block, BlockChunk},
    codec::ChunkKind,
    sample::Value,
    spill::{ChunkRef, SpillReader},
};

/// One source of samples.
pub(crate) enum Source {
    /// The only one there is.
    Sample(f64),
    /// A chunk that is in memory.
    Bytes(ChunkKind, Box<[u8]>),
    Spilled(Arc<SpillReader>, ChunkRef),
    Block(Arc<Block>, BlockChunk),
    /// Samples that came out of order, in order.
    Loose(Box<[(i64, Value)]>),
}

/// A source and the time it covers.
pub(crate) struct Part {
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) source: Source,
}

/// Deleted stretches of time, inclusive.
pub(crate) type Deleted = Vec<(i64, i64)>;

impl Part {
    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.first_ms <= end_ms && self.last_ms >= start_ms
    }

    fn read(&self, start_ms: i64, end_ms: i64, into: &mut Columns) -> Result<(), StoreError> {
        let broken = |file: &str| StoreError::damaged(file, "a chunk cannot be decoded");
        match &self.source {
            Source::Sample(value) => {
                into.floats.push(self.first_ms, *value);
                Ok(())
            }
            Source::Bytes(kind, bytes) => {
                kind.decode(bytes, start_ms, end_ms, into).ok_or_else(|| broken("a chunk in memory"))
            }
            Source::Spilled(reader, chunk) => {
                let bytes = reader.read(chunk)?;
                chunk.kind.decode(&bytes, start_ms, end_ms, into).ok_or_else(|| broken(&reader.name))
            }
            Source::Block(block, chunk) => {
                let bytes = block.read_chunk(chunk)?;
                chunk.kind.decode(&bytes, start_ms, end_ms, into).ok_or_else(|| broken(block.name()))
            }
            Source::Loose(samples) => {
                let within = samples.iter().filter(|(time_ms, _)| (start_ms..=end_ms).contains(time_ms));
                within.for_each(|(time_ms, value)| value.push_to(*time_ms, into));
                Ok(())
            }
        }
    }
}

/// Appends what the parts hold in `start_ms..=end_ms`, ascending, each time once; the earlier part wins where two have one.
pub(crate) fn read(
    parts: &[Part],
    deleted: &[(i64, i64)],
    start_ms: i64,
    end_ms: i64,
    into: &mut Columns,
) -> Result<(), StoreError> {
    let (floats_from, histograms_from) = (into.floats.len(), into.histograms.len());
    for part in parts.iter().filter(|part| part.overlaps(start_ms, end_ms)) {
        part.read(start_ms, end_ms, into)?;
    }
    settle(&mut into.floats, floats_from);
    settle(&mut into.histograms, histograms_from);
    if into.floats.len() > floats_from && into.histograms.len() > histograms_from {
        drop_floats_beside_histograms(into, floats_from, histograms_from);
    }
    if !deleted.is_empty() {
        let gone = |time_ms: i64| deleted.iter().any(|(start_ms, end_ms)| (*start_ms..=*end_ms).contains(&time_ms));
        retain(&mut into.floats, floats_from, |time_ms| !gone(time_ms));
        retain(&mut into.histograms, histograms_from, |time_ms| !gone(time_ms));
    }
    Ok(())
}

/// Puts what was appended from `from` on in order, each time once.
fn settle<V: Clone>(column: &mut Column<V>, from: usize) {
    if column.times_ms[from..].is_sorted_by(|one, other| one < other) {
        return;
    }
    let mut order: Vec<usize> = (from..column.times_ms.len()).collect();
    order.sort_by_key(|index| column.times_ms[*index]);
    order.dedup_by_key(|index| column.times_ms[*index]);
    let times_ms: Vec<i64> = order.iter().map(|index| column.times_ms[*index]).collect();
    let values: Vec<V> = order.iter().map(|index| column.values[*index].clone()).collect();
    column.times_ms.truncate(from);
    column.values.truncate(from);
    column.times_ms.extend(times_ms);
    column.values.extend(values);
}

fn drop_floats_beside_histograms(columns: &mut Columns, floats_from: usize, histograms_from: usize) {
    let histogram_times = columns.histograms.times_ms[histograms_from..].to_vec();
    retain(&mut columns.floats, floats_from, |time_ms| histogram_times.binary_search(&time_ms).is_err());
}

fn retain<V>(column: &mut Column<V>, from: usize, keep: impl Fn(i64) -> bool) {
    let mut to = from;
    for index in from..column.times_ms.len() {
        if keep(column.times_ms[index]) {
            column.times_ms.swap(to, index);
            column.values.swap(to, index);
            to += 1;
        }
    }
    column.times_ms.truncate(to);
    column.values.truncate(to);
}
