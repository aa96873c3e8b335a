//! Selecting series for PromQL.

use std::sync::Arc;

use coracle_promql::{Matcher, SelectHints, Selected, Storage, StorageError};

use super::{State, Store};
use crate::{
    StoreError,
    block::{Block, SeriesReader},
    found::Found,
    head::{Labeller, Wanted},
    parts::{Part, Source},
    resolve::resolve,
};

impl Storage for Store {
    fn select(&self, matchers: &[Matcher], hints: &SelectHints) -> Result<Selected, StorageError> {
        let wanted = Wanted {
            start_ms: hints.start_ms,
            end_ms: hints.end_ms,
            newest_only: hints.newest_only,
            only_labels: hints.only_labels.as_deref(),
        };
        let mut found = self.select_series(matchers, wanted)?;
        if hints.sorted {
            found.sort();
        }
        if hints.limit > 0 {
            found.truncate(hints.limit);
        }
        Ok(Selected { series: Box::new(found), warnings: Vec::new() })
    }
}

impl Store {
    /// The series for which every matcher says yes and which have chunks in the time that is wanted, in no order.
    pub(crate) fn select_series(&self, matchers: &[Matcher], wanted: Wanted<'_>) -> Result<Found, StoreError> {
        let (recent, blocks) = self.0.state.read().collect(matchers, wanted)?;
        let older = blocks.iter().map(|block| select_in_block(block, matchers, wanted)).collect::<Result<_, _>>()?;
        Ok(recent.merge(older))
    }
}

fn select_in_block(block: &Arc<Block>, matchers: &[Matcher], wanted: Wanted<'_>) -> Result<Found, StoreError> {
    let numbers = resolve(&**block, matchers)?;
    let deleted = Arc::clone(&block.deleted.read());
    let mut reader = SeriesReader::new(block);
    let mut found = Found::default();
    for number in numbers {
        let series = reader.read(number)?;
        for chunk in series.chunks.iter().filter(|chunk| wanted.overlaps(chunk.first_ms, chunk.last_ms)) {
            let source = Source::Block(Arc::clone(block), *chunk);
            found.push(Part { first_ms: chunk.first_ms, last_ms: chunk.last_ms, source });
        }
        if found.has_begun() {
            found.finish(reader.labels(&series)?, deleted.get(&number));
        }
    }
    Ok(found)
}

impl State {
    /// What the head has, and the blocks that have to be looked into.
    fn collect(&self, matchers: &[Matcher], wanted: Wanted<'_>) -> Result<(Found, Vec<Arc<Block>>), StoreError> {
        let (start_ms, end_ms) = (wanted.start_ms, wanted.end_ms);
        let blocks: Vec<_> = self.blocks.iter().filter(|block| block.overlaps(start_ms, end_ms)).cloned().collect();
        let mut found = Found::default();
        if wanted.overlaps(self.head.oldest_ms, self.head.newest_ms) {
            let slots = resolve(&self.head.index, matchers)?;
            found.reserve(slots.len());
            // Series are known by all of their labels where several places have them.
            let only = if blocks.is_empty() { wanted.only_labels } else { None };
            let mut labeller = Labeller::new(&self.head.index, only);
            for slot in slots {
                self.head.collect(slot, wanted, &mut found)?;
                if found.has_begun() {
                    found.finish(labeller.labels(slot), self.head.deleted.get(&slot));
                }
            }
        }
        Ok((found, blocks))
    }
}
