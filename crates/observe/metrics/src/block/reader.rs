//! Opening blocks, their pieces, and their index of labels.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use coracle_disk::{Disk, DiskFile};
use coracle_promql::Matcher;
use parking_lot::RwLock;

use super::{
    BlockChunk, BlockDirectory, BlockMeta, CRC_BYTES, FOOTER_BYTES, FOOTER_NAME, NameDirectory, PageCache, Piece,
    SeriesReader,
};
use crate::{
    StoreError,
    codec::varint::Cursor,
    frame::{self, FileKind, HEADER_BYTES},
    parts::Deleted,
    postings,
    resolve::{Common, Index},
    texts::Texts,
};

static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// Why a file is no block that can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlockError {
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
}

/// A block that can be read.
pub(crate) struct Block {
    name: String,
    file: Box<dyn DiskFile>,
    size: u64,
    /// Its part of the cache's keys.
    key: u64,
    cache: Arc<PageCache>,
    pub(super) directory: BlockDirectory,
    /// What was deleted, by series.
    pub(crate) deleted: RwLock<Arc<hashbrown::HashMap<u32, Deleted>>>,
}

impl Block {
    pub(crate) fn open(disk: &dyn Disk, name: &str, cache: Arc<PageCache>) -> Result<Self, BlockError> {
        let file = disk.open(name)?;
        let size = file.size()?;
        let mut header = [0; HEADER_BYTES];
        let read = file.read_at(0, &mut header)?;
        frame::check_header(&header[..read], FileKind::Block).map_err(BlockError::Refused)?;
        let directory = read_directory(&*file, size)?;
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        Ok(Self { name: name.to_owned(), file, size, key, cache, directory, deleted: RwLock::default() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.directory.meta
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size
    }

    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.meta().first_ms <= end_ms && self.meta().last_ms >= start_ms
    }

    fn read_piece(&self, piece: Piece) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; piece.len as usize + CRC_BYTES];
        let at = piece.offset - CRC_BYTES as u64;
        let read = self.file.read_at(at, &mut bytes).map_err(StoreError::disk(&self.name))?;
        let crc = Cursor(&bytes).u32();
        if read < bytes.len() || crc != Some(crc32c::crc32c(&bytes[CRC_BYTES..])) {
            return Err(StoreError::damaged(&self.name, format!("the piece at {} fails its checksum", piece.offset)));
        }
        bytes.drain(..CRC_BYTES);
        Ok(bytes)
    }

    /// A piece of the index, from the cache if it is there.
    pub(super) fn page(&self, piece: Piece) -> Result<Arc<[u8]>, StoreError> {
        self.cache.get((self.key, piece.offset), || self.read_piece(piece))
    }

    pub(crate) fn read_chunk(&self, chunk: &BlockChunk) -> Result<Vec<u8>, StoreError> {
        self.read_piece(chunk.piece)
    }

    pub(super) fn broken(&self, what: &str) -> StoreError {
        StoreError::damaged(&self.name, what)
    }

    pub(super) fn name_directory(&self, name: &str) -> Option<&NameDirectory> {
        let names = &self.directory.names;
        names.binary_search_by(|(other, _)| (**other).cmp(name)).ok().map(|at| &names[at].1)
    }

    /// The names of labels.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.directory.names.iter().map(|(name, _)| &**name)
    }

    /// All values of a label.
    pub(crate) fn all_values(&self, name: &str) -> Result<Texts, StoreError> {
        let mut values = Texts::default();
        self.each_value(name, "", &mut |value, _| {
            values.push(value);
            Ok(())
        })?;
        Ok(values)
    }

    /// The values a label has in some series.
    pub(crate) fn values_of(&self, series: &[u32], name: &str) -> Result<Texts, StoreError> {
        let mut values = Texts::default();
        let Some(directory) = self.name_directory(name) else { return Ok(values) };
        // With many series it is less work to read the lists of all values than to look at each series.
        if series.len() as u64 > directory.values * 4 {
            let mut list_of = Vec::new();
            self.each_value(name, "", &mut |value, list| {
                list_of.clear();
                self.read_list(list, &mut list_of)?;
                if list_of.iter().any(|number| series.binary_search(number).is_ok()) {
                    values.push(value);
                }
                Ok(())
            })?;
            return Ok(values);
        }
        let mut reader = SeriesReader::new(self);
        let mut seen = BTreeSet::new();
        for number in series {
            let pairs = reader.read(*number)?.pairs;
            seen.extend(pairs.iter().find(|pair| pair.0 == directory.symbol).map(|(_, value)| *value));
        }
        reader.texts(seen)
    }

    /// Shows the values of a label that begin with `prefix`, in order, each with its list.
    fn each_value(
        &self,
        name: &str,
        prefix: &str,
        each: &mut dyn FnMut(&str, List<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(directory) = self.name_directory(name) else { return Ok(()) };
        let from = directory.pages.partition_point(|(first, _)| &**first <= prefix).saturating_sub(1);
        for (first, piece) in &directory.pages[from..] {
            if &**first > prefix && !first.starts_with(prefix) {
                break;
            }
            let page = self.page(*piece)?;
            let mut values = ValuePage { cursor: Cursor(&page), text: String::new() };
            while !values.cursor.is_empty() {
                let list = values.next().ok_or_else(|| self.broken("a page of values makes no sense"))?;
                if values.text.starts_with(prefix) {
                    each(&values.text, list)?;
                }
            }
        }
        Ok(())
    }

    /// Shows the list of one value, if it is there.
    fn find_value<T>(
        &self,
        name: &str,
        value: &str,
        mut found: impl FnMut(List<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(directory) = self.name_directory(name) else { return Ok(None) };
        let after = directory.pages.partition_point(|(first, _)| &**first <= value);
        let Some(at) = after.checked_sub(1) else { return Ok(None) };
        let page = self.page(directory.pages[at].1)?;
        let mut values = ValuePage { cursor: Cursor(&page), text: String::new() };
        while !values.cursor.is_empty() {
            let list = values.next().ok_or_else(|| self.broken("a page of values makes no sense"))?;
            if values.text == value {
                return found(list).map(Some);
            }
        }
        Ok(None)
    }

    fn read_list(&self, list: List<'_>, into: &mut Vec<u32>) -> Result<(), StoreError> {
        let from = into.len();
        let decoded = match list.place {
            Place::Here(bytes) => postings::decode(bytes, list.count, into),
            Place::There(piece) => postings::decode(&self.page(piece)?, list.count, into),
        };
        let in_bounds = into[from..].iter().all(|series| *series < self.series_count());
        decoded.filter(|()| in_bounds).ok_or_else(|| self.broken("a list of series makes no sense"))
    }
}

fn read_directory(file: &dyn DiskFile, size: u64) -> Result<BlockDirectory, BlockError> {
    let refused = |what: &str| BlockError::Refused(what.to_owned());
    let footer_at = size.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| refused("it is too short"))?;
    let mut footer = [0; FOOTER_BYTES];
    file.read_at(footer_at, &mut footer)?;
    let mut cursor = Cursor(&footer);
    let (Some(offset), Some(len), Some(crc)) = (cursor.u64(), cursor.u32(), cursor.u32()) else {
        return Err(refused("its end is not whole"));
    };
    if cursor.0 != FOOTER_NAME || crc != crc32c::crc32c(&footer[..12]) || offset + u64::from(len) != footer_at {
        return Err(refused("its end is not whole"));
    }
    let mut bytes = vec![0; len as usize + CRC_BYTES];
    file.read_at(offset - CRC_BYTES as u64, &mut bytes)?;
    if Cursor(&bytes).u32() != Some(crc32c::crc32c(&bytes[CRC_BYTES..])) {
        return Err(refused("its directory fails its checksum"));
    }
    BlockDirectory::decode(&bytes[CRC_BYTES..]).ok_or_else(|| refused("its directory makes no sense"))
}

/// The series that have a label.
#[derive(Clone, Copy)]
struct List<'a> {
    count: usize,
    place: Place<'a>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Here(&'a [u8]),
    There(Piece),
}

/// Reads a page of values from front to back.
struct ValuePage<'a> {
    cursor: Cursor<'a>,
    text: String,
}

impl<'a> ValuePage<'a> {
    /// Moves to the next value, which then is `text`.
    fn next(&mut self) -> Option<List<'a>> {
        let shared = self.cursor.usize()?;
        let rest = self.cursor.text()?;
        if !self.text.is_char_boundary(shared) {
            return None;
        }
        self.text.truncate(shared);
        self.text.push_str(rest);
        let count = self.cursor.usize()?;
        let place = match count & 1 {
            0 => Place::There(super::take_piece(&mut self.cursor)?),
            _ => {
                let list = self.cursor.0;
                for _ in 0..count >> 1 {
                    self.cursor.varint()?;
                }
                Place::Here(&list[..list.len() - self.cursor.0.len()])
            }
        };
        Some(List { count: count >> 1, place })
    }
}

impl Index for Block {
    fn series_count(&self) -> u32 {
        self.meta().series as u32
    }

    fn read_postings(&self, name: &str, value: &str, into: &mut Vec<u32>) -> Result<(), StoreError> {
        self.find_value(name, value, |list| self.read_list(list, into)).map(|_| ())
    }

    fn postings_count(&self, name: &str, value: &str) -> Result<usize, StoreError> {
        Ok(self.find_value(name, value, |list| Ok(list.count))?.unwrap_or(0))
    }

    fn values_count(&self, name: &str) -> usize {
        self.name_directory(name).map_or(0, |directory| directory.values as usize)
    }

    fn read_matching(
        &self,
        name: &str,
        common: Common<'_>,
        wanted: &dyn Fn(&str) -> bool,
        into: &mut Vec<u32>,
    ) -> Result<(), StoreError> {
        self.each_value(name, common.prefix, &mut |value, list| match wanted(value) {
            true => self.read_list(list, into),
            false => Ok(()),
        })
    }

    fn retain_matching(&self, series: &mut Vec<u32>, matchers: &[&Matcher]) -> Result<(), StoreError> {
        let names: Vec<Option<u32>> = matchers
            .iter()
            .map(|matcher| self.name_directory(&matcher.name).map(|directory| directory.symbol))
            .collect();
        let mut reader = SeriesReader::new(self);
        let mut failed = None;
        series.retain(|number| {
            let mut keep = || -> Result<bool, StoreError> {
                let found = reader.read(*number)?;
                for (matcher, name) in matchers.iter().zip(&names) {
                    let pair = found.pairs.iter().find(|pair| Some(pair.0) == *name);
                    let matches = match pair {
                        Some((_, value)) => matcher.matches(reader.text(*value)?),
                        None => matcher.matches_empty(),
                    };
                    if !matches {
                        return Ok(false);
                    }
                }
                Ok(true)
            };
            keep().unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        });
        failed.map_or(Ok(()), Err)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.cache.forget(self.key);
    }
}
