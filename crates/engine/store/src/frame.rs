//! How logs and snapshots look on disk. All numbers are little-endian.
//!
//! ```text
//! file   = header frame*
//! header = "CORACLE" kind:u8 version:u32 revision:u64 objects:u64 crc32c:u32          32 bytes
//! frame  = c0 de f5 fe  length:u32  crc32c(length, payload):u32  payload
//! payload = entry*                                                                    one group of commits
//! entry  = kind:u8 revision:u64 key_length:u32 meta_length:u32 body_length:u32 body   body = key, meta, value
//! ```
//! In a log the header's revision is the last one before the file; in a snapshot, the one it shows. The space after a
//! log's last frame is zeros. A frame is on disk wholly or it does not count, and no text can look like a frame's start.

use std::{io, sync::Arc};

use crate::{
    disk::DiskFile,
    record::{Entry, Record},
};

pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const FRAME_HEADER_BYTES: usize = 12;
const FRAME_START: [u8; 4] = [0xc0, 0xde, 0xf5, 0xfe];
const NAME: &[u8; 7] = b"CORACLE";
/// The version of the format that is written, and the only one that there is.
pub(crate) const VERSION: u32 = 1;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Log,
    Snapshot,
}

impl FileKind {
    fn byte(self) -> u8 {
        match self {
            Self::Log => b'L',
            Self::Snapshot => b'S',
        }
    }
}

/// The start of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FileKind,
    pub(crate) revision: u64,
    pub(crate) objects: u64,
}

/// Why a header cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// It is not one of ours, or not whole.
    Broken,
    /// It is ours, of another version.
    Version(u32),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..7].copy_from_slice(NAME);
        bytes[7] = self.kind.byte();
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.revision.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.objects.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], kind: FileKind) -> Result<Self, HeaderError> {
        let mut fields = Fields(bytes);
        let mut read = || {
            let name = fields.take(7)?;
            let header = (fields.u8()?, fields.u32()?, fields.u64()?, fields.u64()?, fields.u32()?);
            (name == NAME).then_some(header)
        };
        let (kind_byte, version, revision, objects, crc) = read().ok_or(HeaderError::Broken)?;
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        if kind_byte != kind.byte() || crc != crc32c::crc32c(&bytes[..28]) {
            return Err(HeaderError::Broken);
        }
        Ok(Self { kind, revision, objects })
    }
}

/// A frame under construction.
#[derive(Default)]
pub(crate) struct FrameBuilder(Vec<u8>);

impl FrameBuilder {
    /// Takes up the next frame, keeping the buffer.
    pub(crate) fn start(&mut self) {
        self.0.clear();
        self.0.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    }

    pub(crate) fn push(&mut self, deleted: bool, record: &Record) {
        let body = record.body();
        self.0.push(u8::from(deleted));
        self.0.extend_from_slice(&record.revision().to_le_bytes());
        self.0.extend_from_slice(&record.key_len().to_le_bytes());
        self.0.extend_from_slice(&record.meta_len().to_le_bytes());
        let body_len = u32::try_from(body.len()).expect("keys and values are checked to be short");
        self.0.extend_from_slice(&body_len.to_le_bytes());
        self.0.extend_from_slice(body);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() <= FRAME_HEADER_BYTES
    }

    /// The finished frame.
    pub(crate) fn finish(&mut self) -> &[u8] {
        let payload_len = u32::try_from(self.0.len() - FRAME_HEADER_BYTES).expect("groups are bounded");
        self.0[..4].copy_from_slice(&FRAME_START);
        self.0[4..8].copy_from_slice(&payload_len.to_le_bytes());
        let crc = frame_crc(payload_len, &self.0[FRAME_HEADER_BYTES..]);
        self.0[8..12].copy_from_slice(&crc.to_le_bytes());
        &self.0
    }
}

fn frame_crc(len: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&len.to_le_bytes()), payload)
}

/// One entry of a frame.
pub(crate) struct LogEntry {
    pub(crate) deleted: bool,
    pub(crate) record: Arc<Record>,
}

impl LogEntry {
    pub(crate) fn entry(&self) -> Entry {
        Entry(Arc::clone(&self.record))
    }
}

/// The entries of a payload; `None` where the bytes are none.
pub(crate) fn entries(payload: &[u8]) -> impl Iterator<Item = Option<LogEntry>> {
    let mut fields = Fields(payload);
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || fields.0.is_empty() {
            return None;
        }
        let entry = fields.entry();
        failed = entry.is_none();
        Some(entry)
    })
}

/// What stands at a place of a file.
pub(crate) enum Found<'a> {
    /// A whole frame with this payload.
    Frame(&'a [u8]),
    /// The end: nothing, or zeros, up to the end of the file.
    End,
    /// The end, cut off in the middle of a frame: nothing whole comes after.
    Torn,
    /// Something broken with whole frames after it, the first of them here.
    Damaged { whole_at: u64 },
}

/// Walks over a file's frames.
pub(crate) struct Frames<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    /// Where the next frame starts.
    pub(crate) offset: u64,
    buffer: Vec<u8>,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile) -> io::Result<Self> {
        Ok(Self { file, len: file.size()?, offset: HEADER_BYTES as u64, buffer: Vec::new() })
    }

    pub(crate) fn next(&mut self) -> io::Result<Found<'_>> {
        let Some(payload_len) = self.read_frame(self.offset)? else { return self.classify_rest() };
        self.offset += (FRAME_HEADER_BYTES + payload_len) as u64;
        Ok(Found::Frame(&self.buffer[..payload_len]))
    }

    /// Reads the frame at `offset` into the buffer and returns its length, or `None` where there is no whole one.
    fn read_frame(&mut self, offset: u64) -> io::Result<Option<usize>> {
        let mut header = [0; FRAME_HEADER_BYTES];
        if self.file.read_at(offset, &mut header)? < FRAME_HEADER_BYTES {
            return Ok(None);
        }
        let mut fields = Fields(&header);
        let (start, payload_len, crc) = (fields.take(4), fields.u32().unwrap_or(0), fields.u32().unwrap_or(0));
        let fits = u64::from(payload_len) <= self.len.saturating_sub(offset + FRAME_HEADER_BYTES as u64);
        if start != Some(&FRAME_START[..]) || !fits {
            return Ok(None);
        }
        let payload_len_bytes = payload_len as usize;
        if self.buffer.len() < payload_len_bytes {
            self.buffer.resize(payload_len_bytes, 0);
        }
        let payload = &mut self.buffer[..payload_len_bytes];
        let read = self.file.read_at(offset + FRAME_HEADER_BYTES as u64, payload)?;
        Ok((read == payload_len_bytes && frame_crc(payload_len, payload) == crc).then_some(payload_len_bytes))
    }

    fn classify_rest(&mut self) -> io::Result<Found<'_>> {
        let rest_len = usize::try_from(self.len.saturating_sub(self.offset)).expect("a log file fits into memory");
        let mut rest = vec![0; rest_len];
        let read = self.file.read_at(self.offset, &mut rest)?;
        rest.truncate(read);
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(Found::End);
        }
        let starts = rest.windows(4).enumerate().skip(1).filter(|(_, window)| *window == FRAME_START);
        for (at, _) in starts {
            let whole_at = self.offset + at as u64;
            if self.read_frame(whole_at)?.is_some() {
                return Ok(Found::Damaged { whole_at });
            }
        }
        Ok(Found::Torn)
    }
}

/// Reads numbers off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn entry(&mut self) -> Option<LogEntry> {
        let deleted = match self.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let (revision, key_len, meta_len, body_len) = (self.u64()?, self.u32()?, self.u32()?, self.u32()?);
        let body = self.take(body_len as usize)?;
        let record = Record::unpack(body, key_len, meta_len, revision)?;
        Some(LogEntry { deleted, record: Arc::new(record) })
    }
}
