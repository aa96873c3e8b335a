//! The index of a block: symbols, series, where their chunks are. Versions 1 is as old as 2017 and refused.

use coracle_promql::Labels;

use crate::codec::varint::Cursor;

const MAGIC: u32 = 0xBAAA_D700;
const VERSION: u8 = 2;
/// Six places and a checksum end the file.
const CONTENTS_BYTES: usize = 6 * 8 + 4;
/// Series begin at multiples of this.
const SERIES_ALIGNMENT: u64 = 16;

/// Where a chunk is, and the time it spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkPlace {
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    /// Counted from 0.
    pub(super) segment: u32,
    pub(super) offset: u32,
}

pub(super) struct IndexedSeries {
    /// What tombstones call it.
    pub(super) number: u64,
    pub(super) labels: Labels,
    pub(super) chunks: Vec<ChunkPlace>,
}

/// The file's bytes, and where in it symbols and series are.
pub(super) struct Index {
    bytes: Vec<u8>,
    /// First byte and length of each symbol.
    symbols: Vec<(usize, usize)>,
    all_series: Vec<u32>,
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What stands behind a length of four bytes, before a checksum that fits.
fn section(bytes: &[u8], at: u64) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    let len = be32(bytes, at)? as usize;
    checked(bytes.get(at + 4..)?, len)
}

/// The first `len` bytes, if the checksum behind them is theirs.
pub(super) fn checked(bytes: &[u8], len: usize) -> Option<&[u8]> {
    let (content, rest) = bytes.split_at_checked(len)?;
    (be32(rest, 0)? == crc32c::crc32c(content)).then_some(content)
}

impl Index {
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, String> {
        match (be32(&bytes, 0), bytes.get(4)) {
            (Some(MAGIC), Some(&VERSION)) => {}
            (Some(MAGIC), Some(version)) => return Err(format!("the index has version {version}, not {VERSION}")),
            _ => return Err("it does not begin as an index does".to_owned()),
        }
        let contents = bytes.len().checked_sub(CONTENTS_BYTES).and_then(|at| checked(&bytes[at..], CONTENTS_BYTES - 4));
        let contents = contents.ok_or("the table of contents is damaged")?;
        let place = |number: usize| be64(contents, number * 8).unwrap_or(0);
        let symbols = section(&bytes, place(0)).and_then(|content| symbols(content, place(0) as usize + 4));
        let symbols = symbols.ok_or("the symbols are damaged")?;
        let all_series = section(&bytes, place(5))
            .and_then(all_series_place)
            .and_then(|at| section(&bytes, at))
            .and_then(postings)
            .ok_or("the list of series is damaged")?;
        Ok(Self { bytes, symbols, all_series })
    }

    pub(super) fn series_count(&self) -> usize {
        self.all_series.len()
    }

    /// Each series in the order of its labels; `None` for one that is damaged.
    pub(super) fn series(&self) -> impl Iterator<Item = Option<IndexedSeries>> {
        self.all_series.iter().map(|number| self.read(u64::from(*number)))
    }

    fn read(&self, number: u64) -> Option<IndexedSeries> {
        let mut cursor = Cursor(self.bytes.get(usize::try_from(number * SERIES_ALIGNMENT).ok()?..)?);
        let len = cursor.usize()?;
        let mut cursor = Cursor(checked(cursor.0, len)?);
        let mut labels = Vec::new();
        for _ in 0..cursor.usize()? {
            labels.push((self.symbol(cursor.usize()?)?, self.symbol(cursor.usize()?)?));
        }
        Some(IndexedSeries { number, labels: Labels::new(labels), chunks: chunks(&mut cursor)? })
    }

    fn symbol(&self, number: usize) -> Option<&str> {
        let (at, len) = *self.symbols.get(number)?;
        std::str::from_utf8(&self.bytes[at..at + len]).ok()
    }
}

/// Places of symbols in the file, of which `content` begins at `base`.
fn symbols(content: &[u8], base: usize) -> Option<Vec<(usize, usize)>> {
    let count = be32(content, 0)? as usize;
    let mut cursor = Cursor(&content[4..]);
    let mut symbols = Vec::with_capacity(count.min(content.len()));
    for _ in 0..count {
        let text = cursor.bytes()?;
        symbols.push((base + content.len() - cursor.0.len() - text.len(), text.len()));
    }
    Some(symbols)
}

/// Where the postings of no name and no value are: those of all series.
fn all_series_place(table: &[u8]) -> Option<u64> {
    let count = be32(table, 0)?;
    let mut cursor = Cursor(&table[4..]);
    for _ in 0..count {
        let (2, name, value) = (cursor.varint()?, cursor.bytes()?, cursor.bytes()?) else { return None };
        let place = cursor.varint()?;
        if name.is_empty() && value.is_empty() {
            return Some(place);
        }
    }
    None
}

fn postings(content: &[u8]) -> Option<Vec<u32>> {
    let count = be32(content, 0)? as usize;
    let (numbers, _) = content[4..].as_chunks::<4>();
    (numbers.len() == count).then(|| numbers.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect())
}

fn chunks(cursor: &mut Cursor<'_>) -> Option<Vec<ChunkPlace>> {
    let count = cursor.usize()?;
    let mut chunks: Vec<ChunkPlace> = Vec::new();
    let mut reference = 0i64;
    for number in 0..count {
        let first_ms = match chunks.last() {
            None => cursor.signed()?,
            Some(before) => before.last_ms.checked_add_unsigned(cursor.varint()?)?,
        };
        let last_ms = first_ms.checked_add_unsigned(cursor.varint()?)?;
        reference = match number {
            0 => cursor.varint()? as i64,
            _ => reference.checked_add(cursor.signed()?)?,
        };
        chunks.push(ChunkPlace { first_ms, last_ms, segment: (reference >> 32) as u32, offset: reference as u32 });
    }
    Some(chunks)
}
