//! What has to be done now and then: syncing the log, cutting it, turning old chunks into blocks, dropping what is too old.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{State, Store};
use crate::{StoreError, wal};

/// What is written is on the disk this much later at the latest.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the log a series may take, where that is more than the limit for the whole.
const WAL_BYTES_PER_SERIES: u64 = 300;

impl Store {
    /// Makes what was appended durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        let files = {
            let mut state = self.0.state.write();
            if !std::mem::take(&mut state.journal.dirty) {
                return Ok(());
            }
            state.journal.files()
        };
        self.0.sync_files(&files).inspect_err(|_| self.0.state.write().journal.dirty = true)
    }

    /// One round of what has to be done now and then, syncing apart.
    pub fn maintain(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.0.maintenance.lock();
        if self.0.wants_checkpoint() {
            self.0.checkpoint()?;
        }
        self.0.flush(false)?;
        self.0.rebuild()?;
        self.0.retain()?;
        self.0.compact()
    }

    /// Turns everything that is in the head into blocks, whatever its age, and cuts the log.
    pub fn flush_all(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.0.maintenance.lock();
        self.0.flush(true)
    }

    /// Makes everything durable; for the end of a process.
    pub fn close(&self) -> Result<(), StoreError> {
        self.sync()
    }

    /// Keeps the store in order for as long as the future is polled.
    pub async fn run(self) {
        let syncing = self.clone().every(SYNC_EVERY, "metrics: sync", Self::sync);
        let maintaining = self.every(SYNC_EVERY * 5, "metrics: maintain", Self::maintain);
        futures::join!(syncing, maintaining);
    }

    async fn every(self, period: Duration, what: &'static str, work: fn(&Self) -> Result<(), StoreError>) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let failing = AtomicBool::new(false);
        loop {
            ticks.tick().await;
            let store = self.clone();
            match tokio::task::spawn_blocking(move || work(&store)).await {
                Ok(Ok(())) => {
                    if failing.swap(false, Ordering::Relaxed) {
                        tracing::info!(what, "works again");
                    }
                }
                Ok(Err(error)) => {
                    if !failing.swap(true, Ordering::Relaxed) {
                        tracing::error!(what, %error, "failed; will be tried again");
                    }
                }
                Err(_) => return,
            }
        }
    }
}

impl super::Inner {
    fn sync_files<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<(), StoreError> {
        for name in names {
            match self.disk.open(name).and_then(|mut file| file.sync()) {
                // It was cut away, or taken up by a block, in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => result.map_err(StoreError::disk(name))?,
            }
        }
        self.disk.sync().map_err(StoreError::disk(self.disk.place()))
    }

    fn wants_checkpoint(&self) -> bool {
        let state = self.state.read();
        let allowed = self.options.wal_bytes.max(state.head.series_count() as u64 * WAL_BYTES_PER_SERIES);
        state.journal.wal_bytes() > allowed
    }

    /// Puts all that the log holds into chunk files, so that the log can begin anew.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        let (files, old) = {
            let mut state = self.state.write();
            state.spill_and_rotate().map_err(StoreError::disk("cutting the log"))?;
            let mut files = state.journal.files();
            for spill in state.head.spills.values_mut() {
                if std::mem::take(&mut spill.dirty) {
                    files.push(spill.name.clone());
                }
            }
            (files, state.journal.older.clone())
        };
        if let Err(error) = self.sync_files(&files) {
            let mut state = self.state.write();
            state
                .head
                .spills
                .values_mut()
                .filter(|spill| files.contains(&spill.name))
                .for_each(|spill| spill.dirty = true);
            return Err(error);
        }
        for name in &old {
            match self.disk.remove(name) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => result.map_err(StoreError::disk(name))?,
            }
        }
        let mut state = self.state.write();
        state.journal.older.retain(|name| !old.contains(name));
        state.journal.older_bytes = 0;
        Ok(())
    }

    /// Turns stretches of time that are over (or all) into blocks.
    fn flush(&self, all: bool) -> Result<(), StoreError> {
        let due = self.state.read().due(all);
        if due.is_empty() {
            return Ok(());
        }
        self.checkpoint()?;
        // With everything spilled there may be stretches that were not seen before.
        let due = self.state.read().due(all);
        for start_ms in due {
            self.flush_range(start_ms)?;
        }
        Ok(())
    }

    fn rebuild(&self) -> Result<(), StoreError> {
        if !self.state.read().head.wants_rebuild() {
            return Ok(());
        }
        let mut state = self.state.write();
        let State { head, journal, .. } = &mut *state;
        let rebuilt = head.rebuilt();
        head.adopt(rebuilt);
        journal.renumbered = true;
        journal.append(head, []).map_err(StoreError::disk("the log of series"))
    }

    /// Drops the blocks that are too old or too many.
    fn retain(&self) -> Result<(), StoreError> {
        let gone = {
            let state = self.state.read();
            let too_old = |last_ms: i64| {
                self.options
                    .retention_ms
                    .is_some_and(|retention_ms| last_ms < state.head.newest_ms.saturating_sub(retention_ms))
            };
            let mut gone: Vec<_> = state.blocks.iter().filter(|block| too_old(block.meta().last_ms)).cloned().collect();
            if let Some(bytes_max) = self.options.retention_bytes {
                let spilled: u64 = state.head.spills.values().map(crate::spill::Spill::len_bytes).sum();
                let mut bytes = spilled + state.journal.wal_bytes();
                for block in state.blocks.iter().rev() {
                    bytes += block.size_bytes();
                    if bytes > bytes_max && !gone.iter().any(|other| Arc::ptr_eq(other, block)) {
                        gone.push(Arc::clone(block));
                    }
                }
            }
            gone
        };
        self.remove_blocks(&gone)
    }
}

impl State {
    fn spill_and_rotate(&mut self) -> std::io::Result<()> {
        self.head.spill_all()?;
        self.journal.append(&mut self.head, [])?;
        // What chunk files do not hold is logged again.
        let exemplars = wal::exemplars(self.exemplars.iter().map(|(id, _, exemplar)| (id, exemplar)));
        let metadata = wal::metadata(self.metadata.iter().map(|(metric, metadata)| (metric.as_str(), metadata)));
        let marks = self.head.deleted.iter().flat_map(|(slot, ranges)| {
            ranges.iter().map(|(start_ms, end_ms)| (self.head.id(*slot), *start_ms, *end_ms))
        });
        let deleted = wal::deleted(marks.collect::<Vec<_>>());
        self.journal.rotate()?;
        self.head.spill_number = self.journal.wal_number();
        let payloads = [&exemplars, &metadata, &deleted].map(|payload| &payload[..]);
        self.journal.append(&mut self.head, payloads.into_iter().filter(|payload| payload.len() > 1))
    }

    /// The stretches that can become blocks: those that ended well before the newest sample, once one of them is new. What
    /// comes late to older ones waits for that, so that it does not cut all chunks short.
    fn due(&self, all: bool) -> Vec<i64> {
        let head = &self.head;
        if head.oldest_ms == i64::MAX {
            return Vec::new();
        }
        let range_ms = head.options.block_range_ms;
        let over = |start_ms: i64| start_ms.saturating_add(range_ms + range_ms / 2) <= head.newest_ms;
        let starts: BTreeSet<i64> = head.spills.keys().copied().chain([head.range_start(head.oldest_ms)]).collect();
        let is_new = |start_ms: &i64| over(*start_ms) && *start_ms >= head.flushed_until_ms;
        if !all && !starts.iter().any(is_new) {
            return Vec::new();
        }
        starts.into_iter().filter(|start_ms| all || over(*start_ms)).collect()
    }
}
