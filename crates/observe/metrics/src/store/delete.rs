//! Deleting series' samples: marks beside a block, or in the log; the samples themselves go when files are rewritten.
//!
//! ```text
//! file "BLOCK.deleted": frames; payload = (series:varint start_ms:zigzag end_ms:zigzag)*
//! ```

use std::{io, sync::Arc};

use coracle_disk::Disk;
use coracle_promql::Matcher;

use super::Store;
use crate::{
    StoreError,
    block::{Block, SeriesReader},
    codec::varint::{self, Cursor},
    frame::{self, FileKind, FrameWriter, TEMPORARY},
    parts::Deleted,
    resolve::resolve,
    wal,
};

/// The file with what was deleted of a block.
pub(super) fn file_name(block: &str) -> String {
    format!("{block}.deleted")
}

/// Reads what was deleted of a block.
pub(super) fn load(disk: &dyn Disk, block: &Block, complaints: &mut Vec<String>) -> Result<(), StoreError> {
    let name = file_name(block.name());
    let file = disk.open(&name).map_err(StoreError::disk(&name))?;
    let mut deleted: hashbrown::HashMap<u32, Deleted> = hashbrown::HashMap::new();
    let walk = frame::walk(&*file, FileKind::Tombstones, |_, payload| {
        let mut cursor = Cursor(payload);
        while let Some((series, range)) = take(&mut cursor) {
            deleted.entry(series).or_default().push(range);
        }
    })
    .map_err(StoreError::disk(&name))?;
    complaints.extend(walk.complaint(&name));
    *block.deleted.write() = Arc::new(deleted);
    Ok(())
}

fn take(cursor: &mut Cursor<'_>) -> Option<(u32, (i64, i64))> {
    let series = cursor.varint()?.try_into().ok()?;
    Some((series, (cursor.signed()?, cursor.signed()?)))
}

fn save(disk: &dyn Disk, block: &str, deleted: &hashbrown::HashMap<u32, Deleted>) -> io::Result<()> {
    let name = file_name(block);
    let temporary = format!("{name}{TEMPORARY}");
    let mut payload = Vec::new();
    for (series, ranges) in deleted {
        for (start_ms, end_ms) in ranges {
            varint::put(&mut payload, u64::from(*series));
            varint::put_signed(&mut payload, *start_ms);
            varint::put_signed(&mut payload, *end_ms);
        }
    }
    let mut writer = FrameWriter::create(disk, &temporary, FileKind::Tombstones)?;
    writer.append(&payload)?;
    writer.sync()?;
    disk.rename(&temporary, &name)?;
    disk.sync()
}

impl Store {
    /// Deletes what the series that match any of the sets have in `start_ms..=end_ms`. Returns how many series had something.
    pub fn delete(&self, sets: &[Vec<Matcher>], start_ms: i64, end_ms: i64) -> Result<usize, StoreError> {
        let _one_at_a_time = self.0.maintenance.lock();
        let mut touched = 0;
        let blocks = {
            let mut state = self.0.state.write();
            let state = &mut *state;
            let mut marks = Vec::new();
            for set in sets {
                for slot in resolve(&state.head.index, set)? {
                    if let Some((start_ms, end_ms)) = state.head.delete(slot, start_ms, end_ms) {
                        marks.push((state.head.id(slot), start_ms, end_ms));
                    }
                }
            }
            touched += marks.len();
            if !marks.is_empty() {
                let payload = wal::deleted(marks);
                state.journal.append(&mut state.head, [&payload[..]]).map_err(StoreError::disk("the log"))?;
            }
            state.blocks.clone()
        };
        for block in blocks.iter().filter(|block| block.overlaps(start_ms, end_ms)) {
            touched += self.delete_in_block(block, sets, start_ms, end_ms)?;
        }
        self.sync()?;
        Ok(touched)
    }

    fn delete_in_block(
        &self,
        block: &Block,
        sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<usize, StoreError> {
        let mut deleted = hashbrown::HashMap::clone(&block.deleted.read());
        let mut reader = SeriesReader::new(block);
        let mut touched = 0;
        for set in sets {
            for number in resolve(block, set)? {
                let chunks = reader.read(number)?.chunks;
                if chunks.iter().any(|chunk| chunk.first_ms <= end_ms && chunk.last_ms >= start_ms) {
                    deleted.entry(number).or_default().push((start_ms, end_ms));
                    touched += 1;
                }
            }
        }
        if touched > 0 {
            save(&*self.0.disk, block.name(), &deleted).map_err(StoreError::disk(file_name(block.name())))?;
            *block.deleted.write() = Arc::new(deleted);
        }
        Ok(touched)
    }

    /// Rewrites the blocks of which something was deleted, so that it is really gone.
    pub fn clean_deleted(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.0.maintenance.lock();
        let blocks = self.0.state.read().blocks.clone();
        for block in blocks.into_iter().filter(|block| !block.deleted.read().is_empty()) {
            self.0.merge(&[block])?;
        }
        Ok(())
    }
}
