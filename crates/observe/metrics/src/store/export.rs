//! Everything, a series at a time; blocks from samples that are not recent; copies of the whole store.

use std::path::Path;

use coracle_disk::Disk;
use coracle_promql::{Columns, Labels, Matcher};

use super::{Store, compact};
use crate::{StoreError, Value, found::Found, head::Wanted};

/// Series whose samples can be read.
pub struct Exported(Found);

impl Exported {
    pub fn iter(&self) -> impl Iterator<Item = ExportedSeries<'_>> {
        (0..self.0.len()).map(|at| ExportedSeries { found: &self.0, at })
    }
}

pub struct ExportedSeries<'a> {
    found: &'a Found,
    at: usize,
}

impl<'a> ExportedSeries<'a> {
    pub fn labels(&self) -> &'a Labels {
        self.found.labels(self.at)
    }

    /// Appends the samples in `start_ms..=end_ms`.
    pub fn read(&self, start_ms: i64, end_ms: i64, into: &mut Columns) -> Result<(), StoreError> {
        self.found.read(self.at, start_ms, end_ms, into)
    }
}

const COPY_BYTES: usize = 1 << 20;

impl Store {
    /// The series that match, ordered by their labels.
    pub fn export(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Exported, StoreError> {
        let mut found = self.select_series(matchers, Wanted::all_in(start_ms, end_ms))?;
        found.sort();
        Ok(Exported(found))
    }

    /// Takes in samples of any age as blocks, beside what is there. Series come in any order, each once; samples in any
    /// order. Returns how many blocks were written.
    pub fn backfill(&self, series: Vec<(Labels, Vec<(i64, Value)>)>) -> Result<usize, StoreError> {
        let _one_at_a_time = self.0.maintenance.lock();
        let range_ms = self.0.options.block_range_ms;
        let mut keyed: Vec<_> =
            series.into_iter().map(|(labels, samples)| (compact::key_of(labels), samples)).collect();
        keyed.sort_by(|one, other| one.0.cmp(&other.0));
        let mut ranges = std::collections::BTreeSet::new();
        for (_, samples) in &mut keyed {
            samples.sort_by_key(|(time_ms, _)| *time_ms);
            samples.dedup_by_key(|(time_ms, _)| *time_ms);
            ranges.extend(samples.iter().map(|(time_ms, _)| time_ms.div_euclid(range_ms)));
        }
        let mut columns = Columns::default();
        let mut chunks = Vec::new();
        let written = ranges.len();
        for range in ranges {
            let (start_ms, end_ms) = (range * range_ms, (range + 1) * range_ms);
            let mut block = self.0.begin_block(start_ms)?;
            for ((_, _, labels), samples) in &keyed {
                columns.clear();
                let from = samples.partition_point(|(time_ms, _)| *time_ms < start_ms);
                let to = samples.partition_point(|(time_ms, _)| *time_ms < end_ms);
                samples[from..to].iter().for_each(|(time_ms, value)| value.push_to(*time_ms, &mut columns));
                chunks.clear();
                compact::encode(&columns, &mut chunks);
                block.add(labels, &chunks)?;
            }
            let block = block.finish(1, Vec::new())?;
            let mut state = self.0.state.write();
            if let Some(block) = &block {
                state.head.newest_ms = state.head.newest_ms.max(block.meta().last_ms);
            }
            state.blocks.extend(block);
            state.blocks.sort_by_key(|block| block.meta().first_ms);
        }
        Ok(written)
    }

    /// Writes a store of its own with all that is here (or, without the head, all that is in blocks) into a new directory.
    pub fn snapshot(&self, into: &Path, with_head: bool) -> Result<(), StoreError> {
        if with_head {
            self.flush_all()?;
        }
        let _one_at_a_time = self.0.maintenance.lock();
        let target = coracle_disk::Directory::open(into).map_err(StoreError::disk(into.display().to_string()))?;
        let blocks = self.0.state.read().blocks.clone();
        for block in blocks {
            self.copy(&target, block.name())?;
            if !block.deleted.read().is_empty() {
                self.copy(&target, &super::delete::file_name(block.name()))?;
            }
        }
        target.sync().map_err(StoreError::disk(target.place()))
    }

    fn copy(&self, target: &dyn Disk, name: &str) -> Result<(), StoreError> {
        let copy = || {
            let from = self.0.disk.open(name)?;
            let mut to = target.create(name)?;
            let mut buffer = vec![0; COPY_BYTES];
            let mut at = 0;
            loop {
                let read = from.read_at(at, &mut buffer)?;
                if read == 0 {
                    return to.sync();
                }
                to.write_at(at, &buffer[..read])?;
                at += read as u64;
            }
        };
        copy().map_err(StoreError::disk(name))
    }
}
