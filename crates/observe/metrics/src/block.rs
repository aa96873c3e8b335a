//! Blocks: files that never change, each with the chunks, the labels and the index of all series of some time.
//!
//! A block is read with `pread`; what was read of its index stays in a cache of bounded size, chunks do not. All numbers
//! are little-endian, `crc` is CRC-32C over what follows it up to the end of the piece.
//!
//! ```text
//! file      = header (chunk* series_page?)* symbol_page* (list* value_page)* directory footer
//! chunk     = crc:u32 bytes
//! page      = crc:u32 bytes
//! series    = labels:varint (name:varint value:varint)* chunks:varint [offset:varint (kind:u8 first:zigzag span:varint len:varint)*]
//! symbols   = count:u32 end:u32* text                        64 a page, in the order of first use
//! value     = shared:varint rest:varint text (count << 1 | 1):varint numbers   a short list
//!           | shared:varint rest:varint text (count << 1):varint offset:varint len:varint
//! footer    = offset:u64 len:u32 crc:u32 "CORBLOCK"                             of the directory
//! ```
//! Series stand in the order of their metric's name, then of a hash of their labels, then of their labels; a page has 64
//! of them. `first` counts from the last time of the chunk before (the first: from the block's first).

mod cache;
mod reader;
mod series;
mod writer;

pub(crate) use cache::PageCache;
pub(crate) use reader::{Block, BlockError};
pub(crate) use series::{BlockChunk, BlockSeries, SeriesReader};
pub(crate) use writer::{BlockWriter, EncodedChunk};

use crate::codec::varint::{self, Cursor};

pub(crate) const SERIES_PER_PAGE: u32 = 64;
pub(crate) const SYMBOLS_PER_PAGE: u32 = 64;
pub(crate) const FOOTER_BYTES: usize = 24;
pub(crate) const FOOTER_NAME: &[u8; 8] = b"CORBLOCK";
pub(crate) const CRC_BYTES: usize = 4;

/// Where a piece of a file is; without its checksum, which stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

/// What is told about a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockMeta {
    pub first_ms: i64,
    /// The last time, inclusive.
    pub last_ms: i64,
    pub series: u64,
    pub samples: u64,
    pub chunks: u64,
    /// How often its samples were merged.
    pub level: u64,
    /// The files it took the place of, which count no more: names of blocks, and of chunk files with their length.
    pub replaces: Vec<String>,
}

/// The values of one label.
#[derive(Debug, Default)]
pub(crate) struct NameDirectory {
    pub(crate) symbol: u32,
    pub(crate) values: u64,
    /// Pages with their first value.
    pub(crate) pages: Vec<(Box<str>, Piece)>,
}

/// What is kept in memory of a block.
#[derive(Debug, Default)]
pub(crate) struct BlockDirectory {
    pub(crate) meta: BlockMeta,
    pub(crate) series_pages: Vec<Piece>,
    pub(crate) symbol_pages: Vec<Piece>,
    /// By name.
    pub(crate) names: Vec<(Box<str>, NameDirectory)>,
}

impl BlockDirectory {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let meta = &self.meta;
        varint::put_signed(&mut bytes, meta.first_ms);
        varint::put_signed(&mut bytes, meta.last_ms);
        for number in [meta.series, meta.samples, meta.chunks, meta.level, meta.replaces.len() as u64] {
            varint::put(&mut bytes, number);
        }
        meta.replaces.iter().for_each(|name| varint::put_bytes(&mut bytes, name.as_bytes()));
        for pages in [&self.series_pages, &self.symbol_pages] {
            varint::put(&mut bytes, pages.len() as u64);
            pages.iter().for_each(|piece| put_piece(&mut bytes, *piece));
        }
        varint::put(&mut bytes, self.names.len() as u64);
        for (name, directory) in &self.names {
            varint::put_bytes(&mut bytes, name.as_bytes());
            varint::put(&mut bytes, u64::from(directory.symbol));
            varint::put(&mut bytes, directory.values);
            varint::put(&mut bytes, directory.pages.len() as u64);
            for (first, piece) in &directory.pages {
                varint::put_bytes(&mut bytes, first.as_bytes());
                put_piece(&mut bytes, *piece);
            }
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let (first_ms, last_ms) = (cursor.signed()?, cursor.signed()?);
        let (series, samples, chunks, level) = (cursor.varint()?, cursor.varint()?, cursor.varint()?, cursor.varint()?);
        let replaces = list(&mut cursor, |cursor| Some(cursor.text()?.to_owned()))?;
        let meta = BlockMeta { first_ms, last_ms, series, samples, chunks, level, replaces };
        let series_pages = list(&mut cursor, take_piece)?;
        let symbol_pages = list(&mut cursor, take_piece)?;
        let names = list(&mut cursor, |cursor| {
            let name = cursor.text()?.into();
            let (symbol, values) = (cursor.varint()?.try_into().ok()?, cursor.varint()?);
            let pages = list(cursor, |cursor| Some((cursor.text()?.into(), take_piece(cursor)?)))?;
            Some((name, NameDirectory { symbol, values, pages }))
        })?;
        Some(Self { meta, series_pages, symbol_pages, names })
    }
}

/// As many items as a number before them says; each takes at least a byte.
fn list<T>(cursor: &mut Cursor<'_>, mut take: impl FnMut(&mut Cursor<'_>) -> Option<T>) -> Option<Vec<T>> {
    let count = cursor.usize().filter(|count| *count <= cursor.0.len())?;
    (0..count).map(|_| take(cursor)).collect()
}

fn put_piece(into: &mut Vec<u8>, piece: Piece) {
    varint::put(into, piece.offset);
    varint::put(into, u64::from(piece.len));
}

fn take_piece(cursor: &mut Cursor<'_>) -> Option<Piece> {
    Some(Piece { offset: cursor.varint()?, len: cursor.varint()?.try_into().ok()? })
}
