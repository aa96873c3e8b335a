//! Reading from memory what a query needs, quickly, so that the lock is held for a short time only.

use std::sync::Arc;

use coracle_promql::Labels;

use super::Head;
use crate::{
    StoreError,
    found::Found,
    parts::{Deleted, Part, Source},
    spill::ChunkRef,
};

/// One series, ready to be read without the head.
pub(crate) struct Collected {
    pub(crate) labels: Labels,
    pub(crate) parts: Vec<Part>,
    pub(crate) deleted: Deleted,
}

/// What a query wants of series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// Whether a series' newest sample up to `end_ms` is enough.
    pub(crate) newest_only: bool,
    /// The labels that matter, if not all do.
    pub(crate) only_labels: Option<&'a [String]>,
}

impl Wanted<'_> {
    pub(crate) fn all_in(start_ms: i64, end_ms: i64) -> Self {
        Self { start_ms, end_ms, newest_only: false, only_labels: None }
    }

    pub(crate) fn overlaps(&self, first_ms: i64, last_ms: i64) -> bool {
        first_ms <= self.end_ms && last_ms >= self.start_ms
    }
}

impl Head {
    /// Adds what a series has in the time that is wanted, in the order of time.
    pub(crate) fn collect(&self, slot: u32, wanted: Wanted<'_>, found: &mut Found) -> Result<(), StoreError> {
        let (start_ms, end_ms) = (wanted.start_ms, wanted.end_ms);
        let series = &self.series[slot as usize];
        // Nothing that is here is newer than the end of the chunk that grows.
        if wanted.newest_only
            && let Some((time_ms, value)) = series.open.newest_float()
            && (start_ms..=end_ms).contains(&time_ms)
            && !self.deleted.contains_key(&slot)
        {
            found.push(Part { first_ms: time_ms, last_ms: time_ms, source: Source::Sample(value) });
            return Ok(());
        }
        let mut parts = Vec::new();
        for chunk in series.spilled.iter().filter(|chunk| chunk.overlaps(start_ms, end_ms)) {
            let source = self.spilled_source(chunk)?;
            parts.push(Part { first_ms: chunk.first_ms, last_ms: chunk.last_ms, source });
        }
        if let Some((first_ms, last_ms)) = series.open.span().filter(|(first, last)| wanted.overlaps(*first, *last)) {
            let mut bytes = Vec::with_capacity(series.open.len_bytes() + 12);
            series.open.encode(&mut bytes);
            parts.push(Part { first_ms, last_ms, source: Source::Bytes(series.open.kind(), bytes.into()) });
        }
        if let Some(part) = self.loose_part(slot).filter(|part| part.overlaps(start_ms, end_ms)) {
            parts.push(part);
        }
        parts.sort_by_key(|part| part.first_ms);
        parts.into_iter().for_each(|part| found.push(part));
        Ok(())
    }

    /// Whether a series has something in `start_ms..=end_ms`.
    pub(crate) fn has_samples(&self, slot: u32, start_ms: i64, end_ms: i64) -> bool {
        let series = &self.series[slot as usize];
        series.open.span().is_some_and(|(first, last)| first <= end_ms && last >= start_ms)
            || series.spilled.iter().any(|chunk| chunk.overlaps(start_ms, end_ms))
            || self
                .loose
                .get(&slot)
                .is_some_and(|samples| samples.iter().any(|(ms, _)| (start_ms..=end_ms).contains(ms)))
    }

    fn loose_part(&self, slot: u32) -> Option<Part> {
        if self.loose.is_empty() {
            return None;
        }
        let samples = self.loose.get(&slot)?;
        let (first_ms, last_ms) = (samples.first()?.0, samples.last()?.0);
        Some(Part { first_ms, last_ms, source: Source::Loose(samples.clone().into()) })
    }

    fn spilled_source(&self, chunk: &ChunkRef) -> Result<Source, StoreError> {
        let start_ms = self.range_start(chunk.first_ms);
        let missing = || StoreError::damaged(&format!("chunks-{start_ms}"), "the file is gone");
        let spill = self.spills.get(&start_ms).ok_or_else(missing)?;
        if let Some(bytes) = spill.pending(chunk) {
            return Ok(Source::Bytes(chunk.kind, bytes.into()));
        }
        Ok(Source::Spilled(Arc::clone(spill.reader().ok_or_else(missing)?), *chunk))
    }

    /// The series that have chunks of the stretch from `start_ms` on below `len`, in the order of blocks.
    pub(crate) fn series_for_block(&self, start_ms: i64, len: u64) -> Vec<u32> {
        let in_block = |chunk: &ChunkRef| self.range_start(chunk.first_ms) == start_ms && chunk.offset < len;
        let mut names: Vec<(&str, u32)> = Vec::new();
        let mut rank_of = hashbrown::HashMap::new();
        let mut series = Vec::new();
        let name_symbol = self.index.symbols.find(coracle_promql::labels::METRIC_NAME);
        for (slot, each) in self.series.iter().enumerate() {
            if !each.spilled.iter().any(in_block) {
                continue;
            }
            let pair = self.label_pairs(slot as u32).iter().find(|pair| Some(pair.0) == name_symbol);
            let name = pair.map(|(_, value)| *value);
            let group = *rank_of.entry(name).or_insert_with(|| {
                names.push((name.map_or("", |name| self.index.symbols.get(name)), names.len() as u32));
                names.len() as u32 - 1
            });
            series.push((group, each.hash, slot as u32));
        }
        names.sort_unstable();
        let mut ranks = vec![0; names.len()];
        names.iter().enumerate().for_each(|(rank, (_, group))| ranks[*group as usize] = rank as u32);
        series.iter_mut().for_each(|(group, ..)| *group = ranks[*group as usize]);
        series.sort_unstable();
        series.into_iter().map(|(_, _, slot)| slot).collect()
    }

    /// A series' chunks of the stretch from `start_ms` on below `len`.
    pub(crate) fn collect_for_block(&self, slot: u32, start_ms: i64, len: u64) -> Result<Collected, StoreError> {
        let series = &self.series[slot as usize];
        let mut parts = Vec::new();
        for chunk in &series.spilled {
            if self.range_start(chunk.first_ms) == start_ms && chunk.offset < len {
                let source = self.spilled_source(chunk)?;
                parts.push(Part { first_ms: chunk.first_ms, last_ms: chunk.last_ms, source });
            }
        }
        parts.sort_by_key(|part| part.first_ms);
        let deleted = self.deleted.get(&slot).cloned().unwrap_or_default();
        Ok(Collected { labels: self.index.labels(slot), parts, deleted })
    }

    /// Marks what a series has in `start_ms..=end_ms` as deleted, and says what that is.
    pub(crate) fn delete(&mut self, slot: u32, start_ms: i64, end_ms: i64) -> Option<(i64, i64)> {
        if !self.has_samples(slot, start_ms, end_ms) {
            return None;
        }
        let series = &self.series[slot as usize];
        let loose_last = self.loose.get(&slot).and_then(|samples| samples.last()).map(|(time_ms, _)| *time_ms);
        let open_last = series.open.span().map(|(_, last_ms)| last_ms);
        let spilled_last = series.spilled.iter().map(|chunk| chunk.last_ms).max();
        // What comes later is not deleted with what is here now.
        let last_ms = [loose_last, open_last, spilled_last].into_iter().flatten().max()?;
        let range = (start_ms, end_ms.min(last_ms));
        self.deleted.entry(slot).or_default().push(range);
        Some(range)
    }
}
