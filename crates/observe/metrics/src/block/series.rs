//! The series of a block, one after the other or here and there: pages that were read last stay at hand.

use std::sync::Arc;

use coracle_promql::Labels;

use super::{Block, Piece, SERIES_PER_PAGE, SYMBOLS_PER_PAGE};
use crate::{
    StoreError,
    codec::{ChunkKind, varint::Cursor},
    texts::Texts,
};

/// A chunk's place in a block, and what it covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockChunk {
    pub(crate) kind: ChunkKind,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) piece: Piece,
}

/// A series as a block has it: labels as symbols, and chunks in the order of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockSeries {
    pub(crate) pairs: Vec<(u32, u32)>,
    pub(crate) chunks: Vec<BlockChunk>,
}

pub(crate) struct SeriesReader<'a> {
    block: &'a Block,
    /// The page that was read last, where each of its series begins, and its number.
    page: Option<(u32, Arc<[u8]>, Vec<u32>)>,
    /// Pages of symbols that were used.
    symbols: hashbrown::HashMap<u32, Arc<[u8]>>,
}

/// So many pages of symbols are held at one time.
const SYMBOL_PAGES_MAX: usize = 4096;

impl<'a> SeriesReader<'a> {
    pub(crate) fn new(block: &'a Block) -> Self {
        Self { block, page: None, symbols: hashbrown::HashMap::new() }
    }

    pub(crate) fn read(&mut self, number: u32) -> Result<BlockSeries, StoreError> {
        let block = self.block;
        let broken = || block.broken("a page of series makes no sense");
        let page_number = number / SERIES_PER_PAGE;
        if self.page.as_ref().is_none_or(|(held, ..)| *held != page_number) {
            let piece = *block.directory.series_pages.get(page_number as usize).ok_or_else(broken)?;
            let page = block.page(piece)?;
            let starts = starts(&page).ok_or_else(broken)?;
            self.page = Some((page_number, page, starts));
        }
        let (_, page, starts) = self.page.as_ref().expect("it was just read");
        let start = *starts.get((number % SERIES_PER_PAGE) as usize).ok_or_else(broken)?;
        take_series(&mut Cursor(&page[start as usize..]), block.meta().first_ms).ok_or_else(broken)
    }

    /// The text of a symbol.
    pub(crate) fn text(&mut self, symbol: u32) -> Result<&str, StoreError> {
        let block = self.block;
        let broken = || block.broken("a page of symbols makes no sense");
        let page_number = symbol / SYMBOLS_PER_PAGE;
        if self.symbols.len() >= SYMBOL_PAGES_MAX && !self.symbols.contains_key(&page_number) {
            self.symbols.clear();
        }
        let page = match self.symbols.entry(page_number) {
            hashbrown::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hashbrown::hash_map::Entry::Vacant(entry) => {
                let piece = *block.directory.symbol_pages.get(page_number as usize).ok_or_else(broken)?;
                entry.insert(block.page(piece)?)
            }
        };
        symbol_text(page, symbol % SYMBOLS_PER_PAGE).ok_or_else(broken)
    }

    /// The texts of symbols, in order.
    pub(crate) fn texts(&mut self, symbols: impl IntoIterator<Item = u32>) -> Result<Texts, StoreError> {
        let texts: Vec<String> =
            symbols.into_iter().map(|symbol| self.text(symbol).map(str::to_owned)).collect::<Result<_, _>>()?;
        Ok(Texts::sorted(texts.iter().map(String::as_str).collect()))
    }

    pub(crate) fn labels(&mut self, series: &BlockSeries) -> Result<Labels, StoreError> {
        let mut texts = Vec::with_capacity(series.pairs.len());
        for (name, value) in &series.pairs {
            texts.push((self.text(*name)?.to_owned(), self.text(*value)?.to_owned()));
        }
        Ok(Labels::new(texts))
    }
}

fn starts(page: &[u8]) -> Option<Vec<u32>> {
    let mut cursor = Cursor(page);
    let mut starts = Vec::with_capacity(SERIES_PER_PAGE as usize);
    while !cursor.is_empty() {
        starts.push((page.len() - cursor.0.len()) as u32);
        for _ in 0..cursor.usize()?.checked_mul(2)? {
            cursor.varint()?;
        }
        let chunks = cursor.usize()?;
        cursor.varint()?;
        for _ in 0..chunks {
            cursor.u8()?;
            cursor.varint()?;
            cursor.varint()?;
            cursor.varint()?;
        }
    }
    Some(starts)
}

fn take_series(cursor: &mut Cursor<'_>, mut before_ms: i64) -> Option<BlockSeries> {
    let pairs = cursor.usize().filter(|pairs| *pairs <= cursor.0.len())?;
    let pairs = (0..pairs)
        .map(|_| Some((u32::try_from(cursor.varint()?).ok()?, u32::try_from(cursor.varint()?).ok()?)))
        .collect::<Option<_>>()?;
    let count = cursor.usize().filter(|chunks| *chunks <= cursor.0.len())?;
    let mut offset = cursor.varint()?;
    let mut chunks = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = ChunkKind::of(cursor.u8()?)?;
        let first_ms = before_ms.checked_add(cursor.signed()?)?;
        let last_ms = first_ms.checked_add_unsigned(cursor.varint()?)?;
        let len: u32 = cursor.varint()?.try_into().ok()?;
        chunks.push(BlockChunk { kind, first_ms, last_ms, piece: Piece { offset, len } });
        before_ms = last_ms;
        offset = offset.checked_add(u64::from(len) + super::CRC_BYTES as u64)?;
    }
    Some(BlockSeries { pairs, chunks })
}

fn symbol_text(page: &[u8], index: u32) -> Option<&str> {
    let count = Cursor(page).u32()?;
    let ends = &page[4..];
    let end_of = |index: u32| Cursor(ends.get(index as usize * 4..)?).u32().map(|end| end as usize);
    if index >= count {
        return None;
    }
    let texts = ends.get(count as usize * 4..)?;
    let start = if index == 0 { 0 } else { end_of(index - 1)? };
    std::str::from_utf8(texts.get(start..end_of(index)?)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A checksum may be right and what it covers wrong.
        #[test]
        fn any_page_is_read_or_refused(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8, Just(255)], 0..120), index in 0..70_u32) {
            if let Some(starts) = starts(&bytes) {
                for start in starts {
                    let _ = take_series(&mut Cursor(&bytes[start as usize..]), i64::MAX - 5);
                }
            }
            let _ = take_series(&mut Cursor(&bytes), 0);
            if bytes.len() >= 4 {
                let _ = symbol_text(&bytes, index);
            }
            let _ = super::super::BlockDirectory::decode(&bytes);
        }
    }
}
