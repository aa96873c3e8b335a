//! A segment: an immutable file of blocks.
//!
//! ```text
//! segment = block* grams index footer
//! index   = zstd(streams blocks)
//! streams = count (tenant:text pairs)*
//! blocks  = count (offset text_len columns_len plain_text_len plain_columns_len crc:u32 count run*)*
//! run     = stream rows earliest:signed length bytes
//! footer  = "CORALOGS" version:u32 journal:u64 earliest:i64 latest:i64 lines:u64 bytes:u64
//!           grams_at:u64 index_at:u64 index_len:u32 plain_index_len:u32 index_crc:u32 crc:u32            88 bytes
//! ```
//! The footer's journal is the last one whose lines are in segments up to this one.

mod reader;
mod writer;

use std::io;

pub(crate) use reader::{Open, Segment};
pub(crate) use writer::SegmentWriter;

use crate::codec::Fields;

const MAGIC: &[u8; 8] = b"CORALOGS";
const VERSION: u32 = 1;
const FOOTER_BYTES: usize = 88;
const PREFIX: &str = "segment-";
/// The end of the name of a file that is not finished.
pub(crate) const PARTIAL: &str = ".partial";

/// Which segment a file holds. One that was written anew without lines that are too old has the next generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub(crate) number: u64,
    pub(crate) generation: u32,
}

impl SegmentId {
    /// The name of its file.
    pub(crate) fn file_name(self) -> String {
        format!("{PREFIX}{:016}-{}", self.number, self.generation)
    }

    /// By the name of a file.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let (number, generation) = name.strip_prefix(PREFIX)?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, generation: generation.parse().ok()? })
    }

    /// What is not finished has another name, and is removed at the next start.
    fn temporary_name(self) -> String {
        self.file_name() + PARTIAL
    }
}

/// What stands at the end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) journal: u64,
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    pub(crate) grams_at: u64,
    pub(crate) index_at: u64,
    pub(crate) index_len: u32,
    pub(crate) plain_index_len: u32,
    pub(crate) index_crc: u32,
}

impl Footer {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.journal, self.earliest as u64, self.latest as u64, self.lines, self.bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.grams_at, self.index_at] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.index_len, self.plain_index_len, self.index_crc] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(bytes.len(), FOOTER_BYTES - 4);
        bytes.resize(FOOTER_BYTES, 0);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.bytes(8)? != MAGIC || fields.u32()? != VERSION {
            return None;
        }
        let footer = Self {
            journal: fields.u64()?,
            earliest: fields.u64()? as i64,
            latest: fields.u64()? as i64,
            lines: fields.u64()?,
            bytes: fields.u64()?,
            grams_at: fields.u64()?,
            index_at: fields.u64()?,
            index_len: fields.u32()?,
            plain_index_len: fields.u32()?,
            index_crc: fields.u32()?,
        };
        let covered = FOOTER_BYTES - 8;
        (fields.u32()? == crc32c::crc32c(&bytes[..covered])).then_some(footer)
    }
}

fn damaged(name: &str, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{name} is damaged: {what}"))
}
