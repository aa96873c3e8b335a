//! Reads a segment.

use std::io;

use coracle_disk::{Disk, DiskFile};
use coracle_logql::Labels;

use super::{FOOTER_BYTES, Footer, SegmentId, damaged};
use crate::{
    block::{BlockMeta, Columns, Run},
    codec::Fields,
    entry::pairs,
    grams,
    streams::{StreamId, Streams},
};

/// More than this is no index of ours.
const MAX_INDEX_BYTES: u32 = 256 << 20;

/// A segment that is known.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) footer: Footer,
    /// In the order of the segment's table.
    pub(crate) streams: Vec<StreamId>,
}

/// The part of a segment that says where things are.
#[derive(Debug)]
pub(crate) struct Index {
    streams: Vec<(String, Labels)>,
    pub(crate) blocks: Vec<BlockMeta>,
}

/// A segment's file, open.
pub(crate) struct Open {
    name: String,
    file: Box<dyn DiskFile>,
    footer: Footer,
}

impl Segment {
    pub(super) fn new(id: SegmentId, footer: Footer, streams: Vec<StreamId>) -> Self {
        Self { id, footer, streams }
    }

    /// Takes up a segment that is on disk.
    pub(crate) fn load(disk: &dyn Disk, id: SegmentId, streams: &mut Streams) -> io::Result<Self> {
        let name = id.file_name();
        let file = disk.open(&name)?;
        let size = file.size()?;
        let at = size.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged(&name, "it is too short"))?;
        let footer = read(&*file, &name, at, FOOTER_BYTES)?;
        let footer = Footer::decode(&footer).ok_or_else(|| damaged(&name, "its footer is wrong"))?;
        let open = Open { name, file, footer };
        let index = open.index()?;
        let ids = index.streams.iter().map(|(tenant, labels)| streams.intern(tenant, labels).id).collect();
        Ok(Self::new(id, footer, ids))
    }

    pub(crate) fn open(&self, disk: &dyn Disk) -> io::Result<Open> {
        let name = self.id.file_name();
        Ok(Open { file: disk.open(&name)?, name, footer: self.footer })
    }
}

fn read(file: &dyn DiskFile, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    if file.read_at(offset, &mut bytes)? < len {
        return Err(damaged(name, "it ends early"));
    }
    Ok(bytes)
}

impl Open {
    /// Decodes the index.
    pub(crate) fn index(&self) -> io::Result<Index> {
        let wrong = || damaged(&self.name, "its index is wrong");
        let footer = &self.footer;
        if footer.index_len > MAX_INDEX_BYTES || footer.plain_index_len > MAX_INDEX_BYTES {
            return Err(wrong());
        }
        let packed = read(&*self.file, &self.name, footer.index_at, footer.index_len as usize)?;
        if crc32c::crc32c(&packed) != footer.index_crc {
            return Err(wrong());
        }
        let plain = zstd::bulk::decompress(&packed, footer.plain_index_len as usize)?;
        Index::decode(&plain).ok_or_else(wrong)
    }

    /// The blocks that may hold a text, as bits; all where the index of pieces is damaged, which is told.
    pub(crate) fn blocks_with(&self, row: usize, told: &mut dyn FnMut(String)) -> io::Result<u64> {
        let place = |offset: u64, into: &mut [u8]| {
            let read = self.file.read_at(self.footer.grams_at + offset, into)?;
            if read < into.len() { Err(damaged(&self.name, "it ends early")) } else { Ok(()) }
        };
        grams::blocks_with(row, place, || told(format!("{}: its index of words is damaged and not used", self.name)))
    }

    /// The compressed parts of a block, after a look at their checksum.
    fn packed(&self, block: &BlockMeta) -> io::Result<Vec<u8>> {
        let len = block.text_len as usize + block.columns_len as usize;
        let packed = read(&*self.file, &self.name, block.offset, len)?;
        if crc32c::crc32c(&packed) != block.crc {
            return Err(damaged(&self.name, &format!("the block at {} is wrong", block.offset)));
        }
        Ok(packed)
    }

    /// A block's text, with what is needed for its columns.
    pub(crate) fn text(&self, block: &BlockMeta, into: &mut Vec<u8>) -> io::Result<PackedColumns> {
        let mut packed = self.packed(block)?;
        into.clear();
        into.reserve(block.plain_text_len as usize);
        zstd::bulk::Decompressor::new()?.decompress_to_buffer(&packed[..block.text_len as usize], into)?;
        packed.drain(..block.text_len as usize);
        Ok(PackedColumns(packed))
    }

    /// A block's columns.
    pub(crate) fn columns(&self, block: &BlockMeta, packed: &PackedColumns, text: &[u8]) -> io::Result<Columns> {
        let plain = zstd::bulk::decompress(&packed.0, block.plain_columns_len as usize)?;
        Columns::decode(&plain, block.rows(), text)
            .ok_or_else(|| damaged(&self.name, &format!("the block at {} is wrong", block.offset)))
    }
}

/// Columns as they are on disk.
pub(crate) struct PackedColumns(Vec<u8>);

impl BlockMeta {
    pub(crate) fn rows(&self) -> usize {
        self.runs.iter().map(|run| run.rows as usize).sum()
    }
}

impl Index {
    fn decode(plain: &[u8]) -> Option<Self> {
        let mut fields = Fields(plain);
        let mut streams = Vec::new();
        for _ in 0..fields.length()? {
            streams.push((fields.text()?.to_owned(), Labels::new(pairs(&mut fields)?)));
        }
        let mut blocks = Vec::new();
        for _ in 0..fields.length()? {
            let offset = fields.number()?;
            let mut lens = [0; 4];
            for len in &mut lens {
                *len = u32::try_from(fields.number()?).ok()?;
            }
            let crc = fields.u32()?;
            let mut runs = Vec::new();
            for _ in 0..fields.length()? {
                let stream = u32::try_from(fields.number()?).ok().filter(|at| (*at as usize) < streams.len())?;
                let rows = u32::try_from(fields.number()?).ok()?;
                let earliest = fields.signed()?;
                let latest = earliest.wrapping_add(fields.number()? as i64);
                runs.push(Run { stream, rows, earliest, latest, bytes: fields.number()? });
            }
            let [text_len, columns_len, plain_text_len, plain_columns_len] = lens;
            blocks.push(BlockMeta { offset, text_len, columns_len, plain_text_len, plain_columns_len, crc, runs });
        }
        fields.is_empty().then_some(Self { streams, blocks })
    }
}
