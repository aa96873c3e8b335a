//! A block: lines of one or several streams, compressed together.
//!
//! ```text
//! block   = zstd(text) zstd(columns)
//! text    = (line "\n")*                                      in the order of stream and time
//! columns = count (pairs)*                                    different structured metadata
//!           unit ts:signed*  metadata:number*                 one each per row; the first ts as it is, the others as the
//!                                                             difference to the row before in units: few clocks give nanoseconds
//!           len:number*                                       one each per row, or nothing where no line has a newline in it
//! ```

use std::io;

use zstd::bulk::Compressor;

use crate::codec::{Fields, put_number, put_signed};
use crate::entry::{pairs, put_pairs};

/// Rows of one stream that stand together in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// In the segment's table.
    pub(crate) stream: u32,
    pub(crate) rows: u32,
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
    /// Of lines and metadata.
    pub(crate) bytes: u64,
}

/// Where a block is and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockMeta {
    pub(crate) offset: u64,
    pub(crate) text_len: u32,
    pub(crate) columns_len: u32,
    pub(crate) plain_text_len: u32,
    pub(crate) plain_columns_len: u32,
    /// Of both compressed parts.
    pub(crate) crc: u32,
    pub(crate) runs: Vec<Run>,
}

/// A block that is being filled.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    pub(crate) text: Vec<u8>,
    pub(crate) runs: Vec<Run>,
    stamps: Vec<i64>,
    lens: Vec<u8>,
    /// Whether a line has a newline in it, so that lines do not simply end with one.
    has_newlines: bool,
    metadata_of: Vec<u8>,
    metadata: Vec<Vec<(String, String)>>,
}

/// A block ready to be written.
pub(crate) struct Packed {
    pub(crate) text: Vec<u8>,
    pub(crate) columns: Vec<u8>,
    pub(crate) plain_columns_len: u32,
}

impl BlockBuilder {
    pub(crate) fn push(&mut self, stream: u32, ts: i64, line: &str, metadata: &[(String, String)]) {
        self.stamps.push(ts);
        put_number(&mut self.lens, line.len() as u64);
        self.has_newlines |= memchr::memchr(b'\n', line.as_bytes()).is_some();
        let number = self.number_of(metadata);
        put_number(&mut self.metadata_of, number);
        self.text.extend_from_slice(line.as_bytes());
        self.text.push(b'\n');
        let bytes = line.len() + metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        match self.runs.last_mut() {
            Some(run) if run.stream == stream => {
                run.rows += 1;
                run.earliest = run.earliest.min(ts);
                run.latest = run.latest.max(ts);
                run.bytes += bytes as u64;
            }
            _ => self.runs.push(Run { stream, rows: 1, earliest: ts, latest: ts, bytes: bytes as u64 }),
        }
    }

    /// From 1; 0 is none. Metadata repeats at short distance or not at all.
    fn number_of(&mut self, metadata: &[(String, String)]) -> u64 {
        const LOOK_BACK: usize = 8;
        if metadata.is_empty() {
            return 0;
        }
        let from = self.metadata.len().saturating_sub(LOOK_BACK);
        if let Some(at) = self.metadata[from..].iter().position(|known| known == metadata) {
            return (from + at + 1) as u64;
        }
        self.metadata.push(metadata.to_vec());
        self.metadata.len() as u64
    }

    /// Empty again, with the room it has.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.runs.clear();
        self.stamps.clear();
        self.lens.clear();
        self.metadata_of.clear();
        self.metadata.clear();
        self.has_newlines = false;
    }

    pub(crate) fn pack(&self, compressor: &mut Compressor<'_>) -> io::Result<Packed> {
        let mut columns = Vec::with_capacity(self.stamps.len() * 4 + self.lens.len() + self.metadata_of.len() + 16);
        put_number(&mut columns, self.metadata.len() as u64);
        for metadata in &self.metadata {
            put_pairs(&mut columns, metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        put_stamps(&mut columns, &self.stamps);
        columns.extend_from_slice(&self.metadata_of);
        if self.has_newlines {
            columns.extend_from_slice(&self.lens);
        }
        Ok(Packed {
            text: compressor.compress(&self.text)?,
            plain_columns_len: u32::try_from(columns.len()).map_err(io::Error::other)?,
            columns: compressor.compress(&columns)?,
        })
    }
}

/// What stands beside the text.
pub(crate) struct Columns {
    pub(crate) stamps: Vec<i64>,
    /// Where each line starts, and where the text ends.
    pub(crate) starts: Vec<u32>,
    metadata_of: Vec<u32>,
    metadata: Vec<Vec<(String, String)>>,
}

impl Columns {
    /// Of a text that belongs to them.
    pub(crate) fn decode(bytes: &[u8], rows: usize, text: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let count = fields.length()?;
        let metadata = (0..count).map(|_| pairs(&mut fields)).collect::<Option<_>>()?;
        let stamps = stamps(&mut fields, rows)?;
        let metadata_of = (0..rows)
            .map(|_| fields.number().and_then(|number| u32::try_from(number).ok()))
            .collect::<Option<Vec<u32>>>()?;
        let starts = if fields.is_empty() { starts_by_newlines(text) } else { starts_by_lens(&mut fields, rows)? };
        let fits = starts.len() == rows + 1 && starts.last().is_some_and(|end| *end as usize == text.len());
        let decoded = Self { stamps, starts, metadata_of, metadata };
        let all_known = decoded.metadata_of.iter().all(|number| *number as usize <= decoded.metadata.len());
        (fields.is_empty() && fits && all_known).then_some(decoded)
    }

    /// A row's line within the text.
    pub(crate) fn line<'t>(&self, text: &'t [u8], row: usize) -> Option<&'t str> {
        let line = text.get(self.starts[row] as usize..self.starts[row + 1] as usize - 1)?;
        std::str::from_utf8(line).ok()
    }

    pub(crate) fn metadata(&self, row: usize) -> &[(String, String)] {
        match self.metadata_of[row] {
            0 => &[],
            number => &self.metadata[number as usize - 1],
        }
    }

    /// The row that holds a place of the text.
    pub(crate) fn row_at(&self, place: usize) -> usize {
        self.starts.partition_point(|start| *start as usize <= place) - 1
    }
}

fn put_stamps(into: &mut Vec<u8>, stamps: &[i64]) {
    let steps = || stamps.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let unit = steps().fold(0, |unit, step| common_divisor(unit, step.unsigned_abs()));
    // A step as long as half of all time has no positive twin.
    let unit = i64::try_from(unit).unwrap_or(1).max(1);
    put_number(into, unit as u64);
    if let Some(first) = stamps.first() {
        put_signed(into, *first);
    }
    steps().for_each(|step| put_signed(into, step / unit));
}

fn common_divisor(one: u64, other: u64) -> u64 {
    let (mut one, mut other) = (other, one);
    // Mostly one that was found already divides the next number too.
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

fn stamps(fields: &mut Fields<'_>, rows: usize) -> Option<Vec<i64>> {
    let unit = i64::try_from(fields.number()?).ok()?;
    let mut stamps = Vec::with_capacity(rows);
    for _ in 0..rows {
        let read = fields.signed()?;
        stamps.push(stamps.last().map_or(read, |before: &i64| before.wrapping_add(read.wrapping_mul(unit))));
    }
    Some(stamps)
}

fn starts_by_newlines(text: &[u8]) -> Vec<u32> {
    let after = memchr::memchr_iter(b'\n', text).map(|at| at as u32 + 1);
    std::iter::once(0).chain(after).collect()
}

fn starts_by_lens(fields: &mut Fields<'_>, rows: usize) -> Option<Vec<u32>> {
    let (mut starts, mut at) = (vec![0], 0_u32);
    for _ in 0..rows {
        at = at.checked_add(u32::try_from(fields.number()?).ok()?)?.checked_add(1)?;
        starts.push(at);
    }
    Some(starts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A checksum may be right and what it covers wrong.
        #[test]
        fn any_columns_are_read_or_refused(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..3_u8], 0..80),
            rows in 0..12_usize,
            text in "[a\n]{0,30}",
        ) {
            if let Some(columns) = Columns::decode(&bytes, rows, text.as_bytes()) {
                for row in 0..rows {
                    let _ = (columns.line(text.as_bytes(), row), columns.metadata(row));
                }
            }
        }

        #[test]
        fn moments_come_back(
            stamps in prop::collection::vec(prop_oneof![any::<i64>(), 0..1000_i64, Just(i64::MIN), Just(i64::MAX)], 0..50),
            unit in prop::sample::select(vec![1_i64, 1000, 1_000_000, 37_000]),
        ) {
            let stamps: Vec<i64> = stamps.iter().map(|stamp| stamp.wrapping_mul(unit)).collect();
            let mut bytes = Vec::new();
            put_stamps(&mut bytes, &stamps);
            let mut fields = Fields(&bytes);
            prop_assert_eq!(super::stamps(&mut fields, stamps.len()), Some(stamps));
            prop_assert!(fields.is_empty());
        }
    }
}
