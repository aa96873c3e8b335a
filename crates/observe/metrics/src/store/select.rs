//! Selecting series for PromQL.

use std::sync::Arc;

use coracle_promql::{Columns, Labels, Matcher, SelectHints, Selected, Series, Storage, StorageError};
use hashbrown::HashMap;

use super::{State, Store};
use crate::{
    StoreError,
    block::{Block, SeriesReader},
    head::Collected,
    parts::{self, Deleted, Part, Source},
    resolve::resolve,
};

/// A series with where its samples are.
pub(crate) struct StoredSeries {
    pub(crate) labels: Labels,
    pub(crate) parts: Vec<Part>,
    pub(crate) deleted: Deleted,
}

impl Series for StoredSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&self, start_ms: i64, end_ms: i64, columns: &mut Columns) -> Result<(), StorageError> {
        Ok(parts::read(&self.parts, &self.deleted, start_ms, end_ms, columns)?)
    }
}

impl Storage for Store {
    fn select(&self, matchers: &[Matcher], hints: &SelectHints) -> Result<Selected, StorageError> {
        let mut found = self.select_series(matchers, hints.start_ms, hints.end_ms)?;
        if hints.sorted {
            found.sort_by(|one, other| one.labels.cmp(&other.labels));
        }
        if hints.limit > 0 {
            found.truncate(hints.limit);
        }
        let series = found.into_iter().map(|series| Box::new(series) as Box<dyn Series>).collect();
        Ok(Selected { series, warnings: Vec::new() })
    }
}

impl Store {
    /// The series for which every matcher says yes and which have chunks in `start_ms..=end_ms`, in no order.
    pub(crate) fn select_series(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<StoredSeries>, StoreError> {
        let (recent, blocks) = self.0.state.read().collect(matchers, start_ms, end_ms)?;
        let mut merge = Merge::new(recent, !blocks.is_empty());
        for block in blocks {
            let numbers = resolve(&*block, matchers)?;
            let deleted = Arc::clone(&block.deleted.read());
            let mut reader = SeriesReader::new(&block);
            for number in numbers {
                let series = reader.read(number)?;
                let chunks = series.chunks.iter().filter(|chunk| chunk.first_ms <= end_ms && chunk.last_ms >= start_ms);
                let parts: Vec<Part> = chunks
                    .map(|chunk| Part {
                        first_ms: chunk.first_ms,
                        last_ms: chunk.last_ms,
                        source: Source::Block(Arc::clone(&block), *chunk),
                    })
                    .collect();
                if !parts.is_empty() {
                    merge.add(reader.labels(&series)?, parts, deleted.get(&number));
                }
            }
        }
        Ok(merge.finish())
    }
}

impl State {
    /// What the head has, and the blocks that have to be looked into.
    fn collect(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<(Vec<Collected>, Vec<Arc<Block>>), StoreError> {
        let mut recent = Vec::new();
        if self.head.oldest_ms <= end_ms && self.head.newest_ms >= start_ms {
            let slots = resolve(&self.head.index, matchers)?;
            recent.reserve(slots.len());
            for slot in slots {
                recent.extend(self.head.collect(slot, start_ms, end_ms)?);
            }
        }
        let blocks = self.blocks.iter().filter(|block| block.overlaps(start_ms, end_ms)).cloned().collect();
        Ok((recent, blocks))
    }
}

/// Puts together what several places have of a series.
struct Merge {
    series: Vec<StoredSeries>,
    by_labels: HashMap<Labels, usize>,
}

impl Merge {
    fn new(recent: Vec<Collected>, more_to_come: bool) -> Self {
        let series: Vec<StoredSeries> = recent
            .into_iter()
            .map(|Collected { labels, parts, deleted }| StoredSeries { labels, parts, deleted })
            .collect();
        let by_labels = match more_to_come {
            true => series.iter().enumerate().map(|(index, series)| (series.labels.clone(), index)).collect(),
            false => HashMap::new(),
        };
        Self { series, by_labels }
    }

    fn add(&mut self, labels: Labels, parts: Vec<Part>, deleted: Option<&Deleted>) {
        let index = *self.by_labels.entry(labels).or_insert_with_key(|labels| {
            self.series.push(StoredSeries { labels: labels.clone(), parts: Vec::new(), deleted: Vec::new() });
            self.series.len() - 1
        });
        let series = &mut self.series[index];
        series.parts.extend(parts);
        series.deleted.extend(deleted.into_iter().flatten());
    }

    fn finish(mut self) -> Vec<StoredSeries> {
        for series in &mut self.series {
            series.parts.sort_by_key(|part| part.first_ms);
        }
        self.series
    }
}
