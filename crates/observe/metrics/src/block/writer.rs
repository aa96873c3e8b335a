//! Writing a block from its first byte to its last, with little in memory: chunks and series go out as they come.

use std::{io, sync::Arc};

use coracle_disk::{Disk, DiskFile};
use coracle_promql::Labels;

use super::{
    BlockDirectory, BlockMeta, CRC_BYTES, FOOTER_BYTES, FOOTER_NAME, NameDirectory, Piece, SERIES_PER_PAGE,
    SYMBOLS_PER_PAGE,
};
use crate::{
    codec::{ChunkKind, varint},
    frame::{self, FileKind},
    postings::PostingsTable,
    symbols::{Symbol, Symbols},
};

const OUT_BYTES: usize = 1 << 20;
const VALUE_PAGE_BYTES: usize = 4096;
/// Lists up to this stand beside their value.
const SHORT_LIST_BYTES: usize = 32;

/// A chunk to be written.
#[derive(Debug, Clone)]
pub(crate) struct EncodedChunk {
    pub(crate) kind: ChunkKind,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) samples: u64,
    pub(crate) bytes: Arc<[u8]>,
}

pub(crate) struct BlockWriter {
    out: Out,
    symbols: Symbols,
    postings: PostingsTable,
    page: Vec<u8>,
    directory: BlockDirectory,
    series: u32,
    pairs: Vec<(Symbol, Symbol)>,
}

impl BlockWriter {
    /// Begins a file. `first_ms` is not after any sample that will come.
    pub(crate) fn create(disk: &dyn Disk, name: &str, first_ms: i64) -> io::Result<Self> {
        let mut out = Out { file: disk.create(name)?, at: 0, buffer: Vec::with_capacity(OUT_BYTES) };
        out.buffer.extend_from_slice(&frame::header(FileKind::Block));
        let meta = BlockMeta { first_ms, last_ms: i64::MIN, ..BlockMeta::default() };
        Ok(Self {
            out,
            symbols: Symbols::default(),
            postings: PostingsTable::default(),
            page: Vec::new(),
            directory: BlockDirectory { meta, ..BlockDirectory::default() },
            series: 0,
            pairs: Vec::new(),
        })
    }

    pub(crate) fn series_count(&self) -> u32 {
        self.series
    }

    /// Adds a series, which comes after those before in the order of blocks, with its chunks, of which there are some.
    pub(crate) fn add(&mut self, labels: &Labels, chunks: &[EncodedChunk]) -> io::Result<()> {
        self.pairs.clear();
        for (name, value) in labels {
            let pair = (self.symbols.intern(name), self.symbols.intern(value));
            self.pairs.push(pair);
        }
        self.postings.insert(self.series, &self.pairs);
        self.series += 1;
        varint::put(&mut self.page, self.pairs.len() as u64);
        for (name, value) in &self.pairs {
            varint::put(&mut self.page, u64::from(*name));
            varint::put(&mut self.page, u64::from(*value));
        }
        varint::put(&mut self.page, chunks.len() as u64);
        varint::put(&mut self.page, self.out.position() + CRC_BYTES as u64);
        let meta = &mut self.directory.meta;
        let mut before_ms = meta.first_ms;
        for chunk in chunks {
            self.out.write_piece(&chunk.bytes)?;
            self.page.push(chunk.kind as u8);
            varint::put_signed(&mut self.page, chunk.first_ms - before_ms);
            varint::put(&mut self.page, (chunk.last_ms - chunk.first_ms) as u64);
            varint::put(&mut self.page, chunk.bytes.len() as u64);
            before_ms = chunk.last_ms;
            meta.last_ms = meta.last_ms.max(chunk.last_ms);
            meta.samples += chunk.samples;
        }
        meta.chunks += chunks.len() as u64;
        if self.series.is_multiple_of(SERIES_PER_PAGE) {
            self.write_page()?;
        }
        Ok(())
    }

    fn write_page(&mut self) -> io::Result<()> {
        if !self.page.is_empty() {
            self.directory.series_pages.push(self.out.write_piece(&self.page)?);
            self.page.clear();
        }
        Ok(())
    }

    /// Writes the index and makes all of it durable.
    pub(crate) fn finish(mut self, level: u64, replaces: Vec<String>) -> io::Result<BlockMeta> {
        self.write_page()?;
        let meta = &mut self.directory.meta;
        (meta.series, meta.level, meta.replaces) = (u64::from(self.series), level, replaces);
        self.write_symbols()?;
        self.write_names()?;
        let directory = self.directory.encode();
        let piece = self.out.write_piece(&directory)?;
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&piece.offset.to_le_bytes());
        footer.extend_from_slice(&piece.len.to_le_bytes());
        footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        footer.extend_from_slice(FOOTER_NAME);
        self.out.buffer.extend_from_slice(&footer);
        self.out.flush()?;
        self.out.file.sync()?;
        Ok(self.directory.meta)
    }

    fn write_symbols(&mut self) -> io::Result<()> {
        let mut from = 0;
        while from < self.symbols.len() {
            let to = self.symbols.len().min(from + SYMBOLS_PER_PAGE);
            let mut page = (to - from).to_le_bytes().to_vec();
            let mut end = 0;
            for symbol in from..to {
                end += self.symbols.get(symbol).len() as u32;
                page.extend_from_slice(&end.to_le_bytes());
            }
            (from..to).for_each(|symbol| page.extend_from_slice(self.symbols.get(symbol).as_bytes()));
            self.directory.symbol_pages.push(self.out.write_piece(&page)?);
            from = to;
        }
        Ok(())
    }

    fn write_names(&mut self) -> io::Result<()> {
        let mut names: Vec<Symbol> = self.postings.values.keys().copied().collect();
        names.sort_unstable_by_key(|name| self.symbols.get(*name));
        for name in names {
            let mut values = self.postings.values.remove(&name).unwrap_or_default();
            values.sort_unstable_by_key(|value| self.symbols.get(*value));
            let directory = self.write_values(name, &values)?;
            self.directory.names.push((self.symbols.get(name).into(), directory));
        }
        Ok(())
    }

    fn write_values(&mut self, name: Symbol, values: &[Symbol]) -> io::Result<NameDirectory> {
        let mut directory = NameDirectory { symbol: name, values: values.len() as u64, pages: Vec::new() };
        let mut page = Vec::with_capacity(VALUE_PAGE_BYTES + 256);
        let (mut first, mut before): (&str, &str) = ("", "");
        let mut list = Vec::new();
        for value in values {
            let text = self.symbols.get(*value);
            if page.is_empty() {
                (first, before) = (text, "");
            }
            let shared = before.bytes().zip(text.bytes()).take_while(|(one, other)| one == other).count();
            varint::put(&mut page, shared as u64);
            varint::put_bytes(&mut page, &text.as_bytes()[shared..]);
            before = text;
            let postings = &self.postings.postings[&(name, *value)];
            list.clear();
            postings.encode(&mut list);
            let count = (postings.count() as u64) << 1;
            if list.len() <= SHORT_LIST_BYTES {
                varint::put(&mut page, count | 1);
                page.extend_from_slice(&list);
            } else {
                let piece = self.out.write_piece(&list)?;
                varint::put(&mut page, count);
                super::put_piece(&mut page, piece);
            }
            if page.len() >= VALUE_PAGE_BYTES {
                directory.pages.push((first.into(), self.out.write_piece(&page)?));
                page.clear();
            }
        }
        if !page.is_empty() {
            directory.pages.push((first.into(), self.out.write_piece(&page)?));
        }
        Ok(directory)
    }
}

/// A file that is written from front to back.
struct Out {
    file: Box<dyn DiskFile>,
    at: u64,
    buffer: Vec<u8>,
}

impl Out {
    fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    fn write_piece(&mut self, bytes: &[u8]) -> io::Result<Piece> {
        self.buffer.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
        let offset = self.position();
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= OUT_BYTES {
            self.flush()?;
        }
        Ok(Piece { offset, len: u32::try_from(bytes.len()).expect("pieces are far below 4 GiB") })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
