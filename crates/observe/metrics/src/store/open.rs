//! Opening a store: blocks, series, chunk files and then the log, each as far as it is whole.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU64},
};

use coracle_clock::Clock;
use coracle_disk::Disk;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::{Inner, Scratch, State};
use crate::{
    StoreError,
    block::{Block, BlockError, PageCache},
    exemplars::{Exemplars, MetadataMap},
    frame::{self, FileKind, FrameWriter, TEMPORARY},
    head::Head,
    journal::{self, Journal},
    options::Options,
    series_log,
    spill::Spill,
    store::delete,
    wal::{self, Event},
};

pub(super) fn open(disk: Arc<dyn Disk>, options: Options, clock: Arc<dyn Clock>) -> Result<Inner, StoreError> {
    let cache = Arc::new(PageCache::new(options.cache_bytes));
    let mut opening = Opening {
        names: disk.list().map_err(StoreError::disk(disk.place()))?.into_iter().collect(),
        head: Head::new(Arc::clone(&disk), options.clone()),
        disk: Arc::clone(&disk),
        exemplars: Exemplars::default(),
        metadata: MetadataMap::default(),
        complaints: Vec::new(),
        slots: HashMap::new(),
        unknown_series: 0,
        highest_id: 0,
    };
    opening.remove_leftovers()?;
    let (blocks, replaced) = opening.open_blocks(&cache)?;
    let series = opening.open_series()?;
    opening.open_spills(&replaced)?;
    let journal = opening.open_wal(series)?;
    if opening.unknown_series > 0 {
        let complaint =
            format!("{} samples or chunks of series that are not known were left out", opening.unknown_series);
        opening.complaints.push(complaint);
    }
    disk.sync().map_err(StoreError::disk(disk.place()))?;
    let Opening { mut head, exemplars, metadata, complaints, highest_id, .. } = opening;
    head.spill_number = journal.wal_number();
    head.skip_ids(highest_id);
    if let Some(newest_ms) = blocks.iter().map(|block| block.meta().last_ms).max() {
        head.newest_ms = head.newest_ms.max(newest_ms);
    }
    complaints.iter().for_each(|complaint| tracing::warn!(place = disk.place(), "{complaint}"));
    let next_block = blocks.iter().filter_map(|block| number_of(block.name(), "block-")).max().unwrap_or(0) + 1;
    let state = State { head, journal, blocks, exemplars, metadata, scratch: Scratch::default() };
    Ok(Inner {
        disk,
        options,
        clock,
        cache,
        state: RwLock::new(state),
        maintenance: Mutex::new(()),
        next_block: AtomicU64::new(next_block),
        complaints,
    })
}

pub(super) fn number_of(name: &str, prefix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.parse().ok()
}

struct Opening {
    disk: Arc<dyn Disk>,
    names: BTreeSet<String>,
    head: Head,
    exemplars: Exemplars,
    metadata: MetadataMap,
    complaints: Vec<String>,
    slots: HashMap<u64, u32>,
    /// Samples and chunks of series nobody knows.
    unknown_series: u64,
    highest_id: u64,
}

impl Opening {
    fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        self.names.remove(name);
        self.disk.remove(name).map_err(StoreError::disk(name))
    }

    fn remove_leftovers(&mut self) -> Result<(), StoreError> {
        let leftovers: Vec<String> = self.names.iter().filter(|name| name.ends_with(TEMPORARY)).cloned().collect();
        leftovers.iter().try_for_each(|name| self.remove(name))
    }

    /// Opens the blocks that count, and says which files they took the place of.
    fn open_blocks(&mut self, cache: &Arc<PageCache>) -> Result<(Vec<Arc<Block>>, BTreeSet<String>), StoreError> {
        let mut blocks = Vec::new();
        let names: Vec<String> =
            self.names.iter().filter(|name| number_of(name, "block-").is_some()).cloned().collect();
        for name in names {
            match Block::open(&*self.disk, &name, Arc::clone(cache)) {
                Ok(block) => blocks.push(Arc::new(block)),
                Err(BlockError::Disk(error)) => return Err(StoreError::disk(name)(error)),
                Err(BlockError::Refused(why)) => self.complaints.push(format!("{name} was left out: {why}")),
            }
        }
        let replaced: BTreeSet<String> = blocks.iter().flat_map(|block| block.meta().replaces.clone()).collect();
        let gone: Vec<String> =
            blocks.iter().map(|block| block.name().to_owned()).filter(|name| replaced.contains(name)).collect();
        blocks.retain(|block| !replaced.contains(block.name()));
        for name in gone {
            self.remove(&name)?;
            if self.names.contains(&delete::file_name(&name)) {
                self.remove(&delete::file_name(&name))?;
            }
        }
        for block in &blocks {
            if self.names.contains(&delete::file_name(block.name())) {
                delete::load(&*self.disk, block, &mut self.complaints)?;
            }
        }
        blocks.sort_by_key(|block| block.meta().first_ms);
        Ok((blocks, replaced))
    }

    fn open_series(&mut self) -> Result<(u64, FrameWriter), StoreError> {
        let mut generations: Vec<u64> = self.names.iter().filter_map(|name| number_of(name, "series-")).collect();
        generations.sort_unstable();
        let newest = generations.pop();
        for generation in generations {
            self.remove(&series_log::name(generation))?;
        }
        if let Some(generation) = newest {
            let name = series_log::name(generation);
            let (slots, walk) =
                series_log::restore(&*self.disk, &name, &mut self.head).map_err(StoreError::disk(&name))?;
            self.complaints.extend(walk.complaint(&name));
            if walk.refused.is_none() {
                self.head.logged = (self.head.series_count() as u32, self.head.index.symbols.len());
                self.slots = slots;
                let clean = walk.damaged.is_empty();
                let writer =
                    FrameWriter::resume(&*self.disk, &name, walk.whole_len).map_err(StoreError::disk(&name))?;
                if !clean {
                    // Numbers of symbols may have shifted: what is known is written anew.
                    return self.begin_series(generation + 1);
                }
                return Ok((generation, writer));
            }
        }
        self.begin_series(newest.unwrap_or(0) + 1)
    }

    fn begin_series(&mut self, generation: u64) -> Result<(u64, FrameWriter), StoreError> {
        let writer = series_log::write_anew(&*self.disk, &mut self.head, generation)
            .map_err(StoreError::disk(&series_log::name(generation)))?;
        Ok((generation, writer))
    }

    fn open_spills(&mut self, replaced: &BTreeSet<String>) -> Result<(), StoreError> {
        let starts: Vec<(i64, String)> = self
            .names
            .iter()
            .filter_map(|name| {
                let (start_ms, _) = name.strip_prefix("chunks-")?.split_once('.')?;
                Some((start_ms.parse().ok()?, name.clone()))
            })
            .collect();
        for (start_ms, name) in starts {
            let mut chunks = Vec::new();
            let (spill, walk) = Spill::open(Arc::clone(&self.disk), &name, |id, chunk| chunks.push((id, chunk)))
                .map_err(StoreError::disk(&name))?;
            if !walk.unborn {
                self.complaints.extend(walk.complaint(&name));
            }
            let Some(spill) = spill.filter(|spill| !replaced.contains(&spill.name_with_length())) else {
                self.remove(&name)?;
                continue;
            };
            if chunks.iter().any(|(_, chunk)| self.head.range_start(chunk.first_ms) != start_ms) {
                return Err(StoreError::Invalid(format!(
                    "{name} was written with another length of blocks than {} ms; open the store with the length it was \
                     made with",
                    self.head.options.block_range_ms
                )));
            }
            for (id, chunk) in chunks {
                self.highest_id = self.highest_id.max(id);
                match self.slots.get(&id) {
                    Some(slot) => self.head.restore_chunk(*slot, chunk),
                    None => self.unknown_series += 1,
                }
            }
            self.head.spills.insert(start_ms, spill);
        }
        Ok(())
    }

    fn open_wal(&mut self, series: (u64, FrameWriter)) -> Result<Journal, StoreError> {
        let numbers: BTreeSet<u64> = self.names.iter().filter_map(|name| number_of(name, "wal-")).collect();
        let (mut older, mut older_bytes, mut last) = (Vec::new(), 0, None);
        for number in &numbers {
            let name = journal::wal_name(*number);
            let file = self.disk.open(&name).map_err(StoreError::disk(&name))?;
            let mut senseless = 0;
            let walk = frame::walk(&*file, FileKind::Wal, |_, payload| {
                senseless += u64::from(wal::replay(payload, |event| self.replay(event)).is_none());
            })
            .map_err(StoreError::disk(&name))?;
            if walk.unborn && numbers.last() == Some(number) {
                // The process ended as it began a new segment.
                self.remove(&name)?;
                continue;
            }
            self.complaints.extend(walk.complaint(&name));
            if senseless > 0 {
                self.complaints.push(format!("{name}: {senseless} entries made no sense and were left out"));
            }
            if walk.refused.is_some() {
                continue;
            }
            if let Some((full, len)) = last.replace((name, walk.whole_len)) {
                older.push(full);
                older_bytes += len;
            }
        }
        let disk = Arc::clone(&self.disk);
        let number = numbers.last().copied().unwrap_or(0);
        let (number, wal) = match last {
            Some((name, whole_len)) if name == journal::wal_name(number) => {
                (number, FrameWriter::resume(&*disk, &name, whole_len).map_err(StoreError::disk(&name))?)
            }
            other => {
                older.extend(other.map(|(name, _)| name));
                let name = journal::wal_name(number + 1);
                (number + 1, FrameWriter::create(&*disk, &name, FileKind::Wal).map_err(StoreError::disk(&name))?)
            }
        };
        Ok(Journal::new(disk, (number, wal), older, older_bytes, series))
    }

    fn replay(&mut self, event: Event) {
        let id = match &event {
            Event::Sample { series, .. } | Event::Exemplar { series, .. } | Event::Deleted { series, .. } => *series,
            Event::Metadata { .. } => 0,
        };
        self.highest_id = self.highest_id.max(id);
        let slot = self.slots.get(&id).copied();
        match (event, slot) {
            (Event::Metadata { metric, metadata }, _) => {
                self.metadata.insert(metric, metadata);
            }
            (_, None) => self.unknown_series += 1,
            (Event::Sample { time_ms, out_of_order, value, .. }, Some(slot)) => {
                self.head.restore_sample(slot, time_ms, out_of_order, &value);
            }
            (Event::Exemplar { exemplar, .. }, Some(slot)) => {
                if self.exemplars.wants(id, exemplar.time_ms) {
                    let labels = self.head.index.labels(slot);
                    self.exemplars.push(id, labels, exemplar, self.head.options.exemplars_max);
                }
            }
            (Event::Deleted { start_ms, end_ms, .. }, Some(slot)) => {
                self.head.deleted.entry(slot).or_default().push((start_ms, end_ms));
            }
        }
    }
}
