//! Batches on their way in: checked, logged, applied, all under one lock, so that a reader sees all of a batch or nothing.

use coracle_promql::Labels;

use super::{Scratch, State, Store};
use crate::{
    StoreError,
    sample::{Appended, Batch},
    wal,
};

impl Store {
    /// Takes a batch in. What is refused is counted in the answer; an error means that nothing was taken in.
    pub fn append(&self, batch: &Batch<'_>) -> Result<Appended, StoreError> {
        let now_ms = self.now_ms();
        let mut state = self.0.state.write();
        let mut scratch = std::mem::take(&mut state.scratch);
        let appended = state.append(batch, now_ms, &mut scratch);
        scratch.clear();
        state.scratch = scratch;
        appended
    }
}

impl Scratch {
    fn clear(&mut self) {
        self.staged.clear();
        self.slots.clear();
        self.record.clear();
    }
}

impl State {
    fn append(&mut self, batch: &Batch<'_>, now_ms: i64, scratch: &mut Scratch) -> Result<Appended, StoreError> {
        let full = |error: std::io::Error| {
            StoreError::Full(format!("the store cannot write: {error}; nothing more is taken in until it can"))
        };
        self.head.write_overdue().map_err(full)?;
        let Scratch { staged, slots, record } = scratch;
        let mut appended = self.head.stage(batch, now_ms, staged, slots);
        for sample in staged.iter() {
            record.push(self.head.id(sample.slot), sample.time_ms, sample.out_of_order, &sample.value);
        }
        let exemplars = self.new_exemplars(batch, slots);
        let metadata = self.new_metadata(batch);
        let exemplars_payload = (!exemplars.is_empty())
            .then(|| wal::exemplars(exemplars.iter().map(|(id, _, index)| (*id, &batch.exemplars[*index]))));
        let metadata_payload = (!metadata.is_empty())
            .then(|| wal::metadata(metadata.iter().map(|index| (batch.metadata[*index].0, &batch.metadata[*index].1))));
        let payloads = [record.payload(), exemplars_payload.as_deref(), metadata_payload.as_deref()];
        if let Err(error) = self.journal.append(&mut self.head, payloads.into_iter().flatten()) {
            self.head.unstage(staged);
            return Err(full(error));
        }
        staged.iter().for_each(|sample| self.head.apply(sample));
        appended.exemplars = exemplars.len();
        let max = self.head.options.exemplars_max;
        for (id, labels, index) in exemplars {
            self.exemplars.push(id, labels, batch.exemplars[index].clone(), max);
        }
        for index in metadata {
            let (metric, metadata) = &batch.metadata[index];
            self.metadata.insert((*metric).to_owned(), metadata.clone());
        }
        Ok(appended)
    }

    fn new_exemplars(&self, batch: &Batch<'_>, slots: &[Option<u32>]) -> Vec<(u64, Labels, usize)> {
        if batch.exemplars.is_empty() {
            return Vec::new();
        }
        let mut new = Vec::new();
        for (series, slot) in batch.series.iter().zip(slots) {
            let Some(slot) = slot else { continue };
            let id = self.head.id(*slot);
            for index in series.exemplars.start as usize..series.exemplars.end as usize {
                if self.exemplars.wants(id, batch.exemplars[index].time_ms) {
                    new.push((id, self.head.index.labels(*slot), index));
                }
            }
        }
        new
    }

    fn new_metadata(&self, batch: &Batch<'_>) -> Vec<usize> {
        let max = self.head.options.metadata_max;
        let is_new = |index: &usize| {
            let (metric, metadata) = &batch.metadata[*index];
            match self.metadata.get(*metric) {
                Some(known) => known != metadata,
                None => self.metadata.len() < max,
            }
        };
        (0..batch.metadata.len()).filter(is_new).collect()
    }
}
