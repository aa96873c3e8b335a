//! Writes a segment. It has its name only when it is whole and on disk.

use std::{collections::HashMap, io, sync::Arc};

use coracle_disk::{Disk, DiskFile};
use zstd::bulk::Compressor;

use super::{Footer, Segment, SegmentId};
use crate::{
    block::{BlockBuilder, BlockMeta, Packed},
    codec::{put_number, put_signed, put_text},
    entry::put_pairs,
    grams::{BlockGrams, GramsBuilder},
    options::Options,
    streams::{Known, StreamId},
};

/// A segment under construction.
pub(crate) struct SegmentWriter<'d> {
    disk: &'d dyn Disk,
    options: &'d Options,
    block_bytes: usize,
    grams: &'d mut GramsBuilder,
    id: SegmentId,
    file: Box<dyn DiskFile>,
    offset: u64,
    streams: Vec<Arc<Known>>,
    numbers: HashMap<StreamId, u32>,
    blocks: Vec<BlockMeta>,
    current: BlockBuilder,
    /// Blocks that wait for others, to be compressed side by side.
    waiting: Vec<BlockBuilder>,
    /// Blocks that were written, for their room.
    spare: Vec<BlockBuilder>,
    /// One for each block that waits.
    packers: Vec<Packer>,
    lines: u64,
}

/// What makes a block ready to be written, and has its memory from block to block.
struct Packer {
    compressor: Compressor<'static>,
    grams: BlockGrams,
}

impl Packer {
    fn pack(&mut self, block: &BlockBuilder) -> io::Result<Packed> {
        self.grams.read(&block.text);
        block.pack(&mut self.compressor)
    }
}

impl<'d> SegmentWriter<'d> {
    pub(crate) fn create(
        disk: &'d dyn Disk,
        options: &'d Options,
        block_bytes: usize,
        grams: &'d mut GramsBuilder,
        id: SegmentId,
    ) -> io::Result<Self> {
        Ok(Self {
            disk,
            options,
            block_bytes,
            grams,
            id,
            file: disk.create(&id.temporary_name())?,
            offset: 0,
            streams: Vec::new(),
            numbers: HashMap::new(),
            blocks: Vec::new(),
            current: BlockBuilder::default(),
            waiting: Vec::new(),
            spare: Vec::new(),
            packers: Vec::new(),
            lines: 0,
        })
    }

    /// Takes a line; lines come by stream, and within a stream by time.
    pub(crate) fn push(
        &mut self,
        stream: &Arc<Known>,
        ts: i64,
        line: &str,
        metadata: &[(String, String)],
    ) -> io::Result<()> {
        let streams = &mut self.streams;
        let number = *self.numbers.entry(stream.id).or_insert_with(|| {
            streams.push(Arc::clone(stream));
            (streams.len() - 1) as u32
        });
        self.current.push(number, ts, line, metadata);
        self.lines += 1;
        if self.current.text.len() >= self.block_bytes {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let next = self.spare.pop().unwrap_or_default();
        self.waiting.push(std::mem::replace(&mut self.current, next));
        if self.waiting.len() >= self.options.threads { self.write_waiting() } else { Ok(()) }
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        while self.packers.len() < waiting.len() {
            let compressor = Compressor::new(self.options.compression_level)?;
            self.packers.push(Packer { compressor, grams: BlockGrams::new() });
        }
        let done: Vec<io::Result<Packed>> = std::thread::scope(|scope| {
            let pairs = waiting.iter().zip(&mut self.packers);
            let running: Vec<_> = pairs.map(|(block, packer)| scope.spawn(move || packer.pack(block))).collect();
            running.into_iter().map(|thread| thread.join().expect("compressing does not panic")).collect()
        });
        for (at, done) in done.into_iter().enumerate() {
            let (packed, block) = (done?, &mut waiting[at]);
            self.grams.add(self.blocks.len(), &self.packers[at].grams);
            let crc = crc32c::crc32c_append(crc32c::crc32c(&packed.text), &packed.columns);
            let len = |len: usize| u32::try_from(len).map_err(io::Error::other);
            self.blocks.push(BlockMeta {
                offset: self.offset,
                text_len: len(packed.text.len())?,
                columns_len: len(packed.columns.len())?,
                plain_text_len: len(block.text.len())?,
                plain_columns_len: packed.plain_columns_len,
                crc,
                runs: std::mem::take(&mut block.runs),
            });
            block.clear();
            self.write(&packed.text)?;
            self.write(&packed.columns)?;
        }
        self.spare.append(&mut waiting);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Makes the segment durable and gives it its name, in place of one that has it.
    pub(crate) fn finish(mut self, journal: u64) -> io::Result<Segment> {
        if self.current.runs.is_empty() {
            self.write_waiting()?;
        } else {
            self.waiting.push(std::mem::take(&mut self.current));
            self.write_waiting()?;
        }
        let grams = self.grams.finish(self.blocks.len());
        let grams_at = self.offset;
        self.write(&grams)?;
        let plain = self.index();
        let index = zstd::bulk::compress(&plain, self.options.compression_level)?;
        let runs = || self.blocks.iter().flat_map(|block| &block.runs);
        let footer = Footer {
            journal,
            earliest: runs().map(|run| run.earliest).min().unwrap_or(i64::MAX),
            latest: runs().map(|run| run.latest).max().unwrap_or(i64::MIN),
            lines: self.lines,
            bytes: runs().map(|run| run.bytes).sum(),
            grams_at,
            index_at: self.offset,
            index_len: u32::try_from(index.len()).map_err(io::Error::other)?,
            plain_index_len: u32::try_from(plain.len()).map_err(io::Error::other)?,
            index_crc: crc32c::crc32c(&index),
        };
        self.write(&index)?;
        self.write(&footer.encode())?;
        self.file.sync()?;
        self.disk.rename(&self.id.temporary_name(), &self.id.file_name())?;
        self.disk.sync()?;
        let streams = self.streams.iter().map(|stream| stream.id).collect();
        Ok(Segment::new(self.id, footer, streams))
    }

    fn index(&self) -> Vec<u8> {
        let mut index = Vec::new();
        put_number(&mut index, self.streams.len() as u64);
        for stream in &self.streams {
            put_text(&mut index, &stream.tenant);
            put_pairs(&mut index, stream.labels.iter());
        }
        put_number(&mut index, self.blocks.len() as u64);
        for block in &self.blocks {
            put_number(&mut index, block.offset);
            for len in [block.text_len, block.columns_len, block.plain_text_len, block.plain_columns_len] {
                put_number(&mut index, u64::from(len));
            }
            index.extend_from_slice(&block.crc.to_le_bytes());
            put_number(&mut index, block.runs.len() as u64);
            for run in &block.runs {
                put_number(&mut index, u64::from(run.stream));
                put_number(&mut index, u64::from(run.rows));
                put_signed(&mut index, run.earliest);
                put_number(&mut index, run.latest.wrapping_sub(run.earliest) as u64);
                put_number(&mut index, run.bytes);
            }
        }
        index
    }
}
