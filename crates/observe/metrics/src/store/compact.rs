//! Blocks from chunk files, and larger blocks from smaller ones. A file is complete, synced and renamed before anything
//! it stands for is removed, and says what that is: a crash in between leaves nothing twice.

use std::sync::Arc;

use coracle_promql::{Columns, Labels};

use super::Inner;
use crate::{
    StoreError,
    block::{Block, BlockError, BlockSeries, BlockWriter, EncodedChunk, SeriesReader},
    codec::{ChunkKind, floats, histograms::OpenHistograms},
    frame::TEMPORARY,
    hash,
    parts::{self, Part, Source},
    resolve::Index,
    store::delete,
};

/// Samples of a finished chunk.
const CHUNK_FLOATS: usize = 480;
const CHUNK_HISTOGRAMS: usize = 120;
/// So many series are taken from the head under one lock.
const SERIES_AT_A_TIME: usize = 512;
/// So many blocks of one length become one.
const FACTOR: i64 = 3;
/// Blocks become no longer than this many of the shortest.
const LONGEST: i64 = FACTOR * FACTOR * FACTOR * FACTOR;

/// Samples as chunks.
pub(super) fn encode(columns: &Columns, into: &mut Vec<EncodedChunk>) {
    let floats = &columns.floats;
    for (times_ms, values) in floats.times_ms.chunks(CHUNK_FLOATS).zip(floats.values.chunks(CHUNK_FLOATS)) {
        into.push(EncodedChunk {
            kind: ChunkKind::Floats,
            first_ms: times_ms[0],
            last_ms: times_ms[times_ms.len() - 1],
            samples: times_ms.len() as u64,
            bytes: floats::encode(times_ms, values).into(),
        });
    }
    let histograms = &columns.histograms;
    for (times_ms, values) in
        histograms.times_ms.chunks(CHUNK_HISTOGRAMS).zip(histograms.values.chunks(CHUNK_HISTOGRAMS))
    {
        let mut chunk = OpenHistograms::default();
        times_ms.iter().zip(values).for_each(|(time_ms, value)| chunk.push(*time_ms, value));
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        into.push(EncodedChunk {
            kind: ChunkKind::Histograms,
            first_ms: times_ms[0],
            last_ms: times_ms[times_ms.len() - 1],
            samples: times_ms.len() as u64,
            bytes: bytes.into(),
        });
    }
    if !floats.is_empty() && !histograms.is_empty() {
        into.sort_by_key(|chunk| chunk.first_ms);
    }
}

impl Inner {
    /// Makes a block of a chunk file.
    pub(super) fn flush_range(&self, start_ms: i64) -> Result<(), StoreError> {
        let (order, len, name, replaces) = {
            let state = self.state.read();
            let Some(spill) = state.head.spills.get(&start_ms) else { return Ok(()) };
            let len = spill.len_bytes();
            (state.head.series_for_block(start_ms, len), len, spill.name.clone(), spill.name_with_length())
        };
        let mut block = self.begin_block(start_ms)?;
        let mut columns = Columns::default();
        let mut chunks = Vec::new();
        for slots in order.chunks(SERIES_AT_A_TIME) {
            let collected = {
                let state = self.state.read();
                slots
                    .iter()
                    .map(|slot| state.head.collect_for_block(*slot, start_ms, len))
                    .collect::<Result<Vec<_>, _>>()?
            };
            for series in collected {
                columns.clear();
                parts::read(&series.parts, &series.deleted, i64::MIN, i64::MAX, &mut columns)?;
                chunks.clear();
                encode(&columns, &mut chunks);
                block.add(&series.labels, &chunks)?;
            }
        }
        let block = block.finish(1, vec![replaces])?;
        let all = {
            let mut state = self.state.write();
            state.blocks.extend(block);
            state.blocks.sort_by_key(|block| block.meta().first_ms);
            state.head.forget_spilled(start_ms, len)
        };
        if all {
            self.disk.remove(&name).map_err(StoreError::disk(name))?;
        }
        Ok(())
    }

    /// Merges what belongs together: blocks that overlap, and enough short ones.
    pub(super) fn compact(&self) -> Result<(), StoreError> {
        loop {
            let blocks = self.state.read().blocks.clone();
            let newest_ms = self.state.read().head.newest_ms;
            let Some(together) = plan(&blocks, self.options.block_range_ms, newest_ms) else { return Ok(()) };
            self.merge(&together)?;
        }
    }

    /// Makes one block of several, without what was deleted.
    pub(super) fn merge(&self, blocks: &[Arc<Block>]) -> Result<(), StoreError> {
        let first_ms = blocks.iter().map(|block| block.meta().first_ms).min().unwrap_or(0);
        let level = blocks.iter().map(|block| block.meta().level).max().unwrap_or(0) + 1;
        let mut writer = self.begin_block(first_ms)?;
        let mut cursors: Vec<Cursor<'_>> = blocks.iter().map(Cursor::new).collect::<Result<_, _>>()?;
        let mut chunks = Vec::new();
        while let Some(least) = cursors.iter().filter_map(|cursor| cursor.key()).min().cloned() {
            let mut same: Vec<&mut Cursor<'_>> =
                cursors.iter_mut().filter(|cursor| cursor.key() == Some(&least)).collect();
            chunks.clear();
            merge_series(&same, &mut chunks)?;
            writer.add(&least.2, &chunks)?;
            same.iter_mut().try_for_each(|cursor| cursor.advance())?;
        }
        drop(cursors);
        let replaces = blocks.iter().map(|block| block.name().to_owned()).collect();
        let merged = writer.finish(level, replaces)?;
        {
            let mut state = self.state.write();
            state.blocks.retain(|block| !blocks.iter().any(|gone| Arc::ptr_eq(gone, block)));
            state.blocks.extend(merged);
            state.blocks.sort_by_key(|block| block.meta().first_ms);
        }
        self.remove_blocks(blocks)
    }

    /// Forgets blocks and removes their files.
    pub(super) fn remove_blocks(&self, blocks: &[Arc<Block>]) -> Result<(), StoreError> {
        if blocks.is_empty() {
            return Ok(());
        }
        self.state.write().blocks.retain(|block| !blocks.iter().any(|gone| Arc::ptr_eq(gone, block)));
        for block in blocks {
            self.disk.remove(block.name()).map_err(StoreError::disk(block.name()))?;
            if !block.deleted.read().is_empty() {
                let name = delete::file_name(block.name());
                self.disk.remove(&name).map_err(StoreError::disk(name))?;
            }
        }
        self.disk.sync().map_err(StoreError::disk(self.disk.place()))
    }

    pub(super) fn begin_block(&self, first_ms: i64) -> Result<NewBlock<'_>, StoreError> {
        let name = self.next_block_name();
        let temporary = format!("{name}{TEMPORARY}");
        let writer = BlockWriter::create(&*self.disk, &temporary, first_ms).map_err(StoreError::disk(&temporary))?;
        Ok(NewBlock { inner: self, name, temporary, writer: Some(writer) })
    }
}

/// A block that is being written; its file goes away when it is not finished.
pub(super) struct NewBlock<'a> {
    inner: &'a Inner,
    name: String,
    temporary: String,
    writer: Option<BlockWriter>,
}

impl NewBlock<'_> {
    /// Adds a series, in the order of blocks, unless it has no chunks.
    pub(super) fn add(&mut self, labels: &Labels, chunks: &[EncodedChunk]) -> Result<(), StoreError> {
        let writer = self.writer.as_mut().expect("it is there until the end");
        if chunks.is_empty() {
            return Ok(());
        }
        writer.add(labels, chunks).map_err(StoreError::disk(&self.temporary))
    }

    /// The finished block under its name; nothing when it would be empty.
    pub(super) fn finish(mut self, level: u64, replaces: Vec<String>) -> Result<Option<Arc<Block>>, StoreError> {
        let disk = &*self.inner.disk;
        let writer = self.writer.take().expect("it is there until the end");
        if writer.series_count() == 0 {
            disk.remove(&self.temporary).map_err(StoreError::disk(&self.temporary))?;
            return Ok(None);
        }
        let finish = || {
            writer.finish(level, replaces)?;
            disk.rename(&self.temporary, &self.name)?;
            disk.sync()
        };
        if let Err(error) = finish() {
            let _ = disk.remove(&self.temporary);
            return Err(StoreError::disk(&self.name)(error));
        }
        let block = Block::open(disk, &self.name, Arc::clone(&self.inner.cache)).map_err(|error| match error {
            BlockError::Disk(error) => StoreError::disk(&self.name)(error),
            BlockError::Refused(why) => StoreError::damaged(&self.name, why),
        })?;
        Ok(Some(Arc::new(block)))
    }
}

impl Drop for NewBlock<'_> {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let _ = self.inner.disk.remove(&self.temporary);
        }
    }
}

/// The blocks that should become one next.
fn plan(blocks: &[Arc<Block>], range_ms: i64, newest_ms: i64) -> Option<Vec<Arc<Block>>> {
    // Blocks are ordered by their first sample, so those that overlap stand side by side.
    for pair in blocks.windows(2) {
        if pair[0].meta().last_ms >= pair[1].meta().first_ms {
            return Some(pair.to_vec());
        }
    }
    let mut length_ms = range_ms * FACTOR;
    while length_ms <= range_ms * LONGEST {
        let of = |ms: i64| ms.div_euclid(length_ms);
        for group in blocks.chunk_by(|one, other| of(one.meta().first_ms) == of(other.meta().first_ms)) {
            let within = group.iter().all(|block| of(block.meta().last_ms) == of(group[0].meta().first_ms));
            let over = (of(group[0].meta().first_ms) + 1) * length_ms + range_ms <= newest_ms;
            if group.len() > 1 && within && over {
                return Some(group.to_vec());
            }
        }
        length_ms *= FACTOR;
    }
    None
}

/// The order of series in blocks.
type Key = (String, u64, Labels);

pub(super) fn key_of(labels: Labels) -> Key {
    (labels.metric_name().to_owned(), hash::labels(&labels), labels)
}

/// Walks over a block's series.
struct Cursor<'a> {
    block: &'a Arc<Block>,
    reader: SeriesReader<'a>,
    number: u32,
    current: Option<(Key, BlockSeries)>,
}

impl<'a> Cursor<'a> {
    fn new(block: &'a Arc<Block>) -> Result<Self, StoreError> {
        let mut cursor = Self { block, reader: SeriesReader::new(block), number: 0, current: None };
        cursor.load()?;
        Ok(cursor)
    }

    fn key(&self) -> Option<&Key> {
        self.current.as_ref().map(|(key, _)| key)
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.number += 1;
        self.load()
    }

    fn load(&mut self) -> Result<(), StoreError> {
        if self.number >= self.block.series_count() {
            self.current = None;
            return Ok(());
        }
        let series = self.reader.read(self.number)?;
        let labels = self.reader.labels(&series)?;
        self.current = Some((key_of(labels), series));
        Ok(())
    }
}

fn merge_series(same: &[&mut Cursor<'_>], into: &mut Vec<EncodedChunk>) -> Result<(), StoreError> {
    let mut parts = Vec::new();
    let mut deleted = Vec::new();
    for cursor in same {
        let Some((_, series)) = &cursor.current else { continue };
        deleted.extend(cursor.block.deleted.read().get(&cursor.number).into_iter().flatten().copied());
        parts.extend(series.chunks.iter().map(|chunk| Part {
            first_ms: chunk.first_ms,
            last_ms: chunk.last_ms,
            source: Source::Block(Arc::clone(cursor.block), *chunk),
        }));
    }
    parts.sort_by_key(|part| part.first_ms);
    let mut columns = Columns::default();
    parts::read(&parts, &deleted, i64::MIN, i64::MAX, &mut columns)?;
    encode(&columns, into);
    Ok(())
}
