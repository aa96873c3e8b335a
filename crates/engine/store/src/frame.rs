//! How logs and snapshots look on disk. All numbers are little-endian.
//!
//! ```text
//! file   = header frame*
//! header = "CORACLE" kind:u8 version:u32 revision:u64 objects:u64 crc32c:u32          32 bytes
//! frame  = c0 de f5 fe  length:u32  crc32c(length, payload):u32  payload
//! payload = entry*                                                                    one group of commits
//! entry  = kind:u8 revision:u64 key_length:u32 meta_length:u32 body_length:u32 body   body = key, meta, value
//! kind   = 0 written, 1 deleted; + 2 where all of the body after the key is sealed;
//!          4 the time, in the place of the revision, in milliseconds since 1970, of what follows
//! ```
//! In a log the header's revision is the last one before the file; in a snapshot, the one it shows. The space after a
//! log's last frame is zeros. A frame is on disk wholly or it does not count, and no text can look like a frame's start.

use std::{io, sync::Arc};

use coracle_clock::Clock;

use crate::{
    disk::DiskFile,
    record::{Entry, Record},
    seal::Sealer,
};

pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const FRAME_HEADER_BYTES: usize = 12;
const FRAME_START: [u8; 4] = [0xc0, 0xde, 0xf5, 0xfe];
const NAME: &[u8; 7] = b"CORACLE";
/// The version of the format that is written. Version 1, which is read as well, had neither sealed entries nor times.
pub(crate) const VERSION: u32 = 2;
const OLDEST_VERSION: u32 = 1;
const DELETED: u8 = 1;
const SEALED: u8 = 2;
const TIME: u8 = 4;

/// How entries are written.
#[derive(Clone, Default)]
pub(crate) struct Form {
    /// Seals what is secret.
    pub(crate) sealer: Option<Arc<dyn Sealer>>,
    /// Says when.
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

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
        if !(OLDEST_VERSION..=VERSION).contains(&version) {
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
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
    form: Form,
}

impl FrameBuilder {
    pub(crate) fn new(form: Form) -> Self {
        Self { bytes: Vec::new(), form }
    }

    /// Takes up the next frame, keeping the buffer.
    pub(crate) fn start(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        if let Some(clock) = &self.form.clock {
            let now = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
            self.head(TIME, now, 0, 0, 0);
        }
    }

    pub(crate) fn push(&mut self, deleted: bool, record: &Record) {
        let (body, key_len, revision) = (record.body(), record.key_len(), record.revision());
        let (key, rest) = body.split_at(key_len as usize);
        let sealed = self.form.sealer.as_ref().and_then(|sealer| sealer.seal(record.key(), rest));
        let kind = if deleted { DELETED } else { 0 } | if sealed.is_some() { SEALED } else { 0 };
        let rest = sealed.as_deref().unwrap_or(rest);
        self.head(kind, revision, key_len, record.meta_len(), key.len() + rest.len());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(rest);
    }

    fn head(&mut self, kind: u8, revision: u64, key_len: u32, meta_len: u32, body_len: usize) {
        let body_len = u32::try_from(body_len).expect("keys and values are checked to be short");
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&revision.to_le_bytes());
        for len in [key_len, meta_len, body_len] {
            self.bytes.extend_from_slice(&len.to_le_bytes());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished frame.
    pub(crate) fn finish(&mut self) -> &[u8] {
        let payload_len = u32::try_from(self.bytes.len() - FRAME_HEADER_BYTES).expect("groups are bounded");
        self.bytes[..4].copy_from_slice(&FRAME_START);
        self.bytes[4..8].copy_from_slice(&payload_len.to_le_bytes());
        let crc = frame_crc(payload_len, &self.bytes[FRAME_HEADER_BYTES..]);
        self.bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
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

/// One thing in a frame.
pub(crate) enum Item {
    Entry(LogEntry),
    /// When what follows was written, in milliseconds since 1970.
    Time(u64),
}

/// Why one cannot be read.
pub(crate) enum ItemError {
    /// The bytes are none.
    Broken,
    /// It is sealed, and cannot be opened.
    Sealed(String),
}

/// The items of a payload, up to the first that cannot be read.
pub(crate) fn items<'a>(
    payload: &'a [u8],
    sealer: Option<&'a dyn Sealer>,
) -> impl Iterator<Item = Result<Item, ItemError>> + 'a {
    let mut fields = Fields(payload);
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || fields.0.is_empty() {
            return None;
        }
        let item = fields.item(sealer);
        failed = item.is_err();
        Some(item)
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

    fn item(&mut self, sealer: Option<&dyn Sealer>) -> Result<Item, ItemError> {
        let (kind, revision, key_len, meta_len, body) = self.parts().ok_or(ItemError::Broken)?;
        if kind == TIME {
            return Ok(Item::Time(revision));
        }
        if kind & !(DELETED | SEALED) != 0 {
            return Err(ItemError::Broken);
        }
        let record = if kind & SEALED == 0 {
            Record::unpack(body, key_len, meta_len, revision)
        } else {
            let (key, sealed) = body.split_at_checked(key_len as usize).ok_or(ItemError::Broken)?;
            let name = std::str::from_utf8(key).map_err(|_| ItemError::Broken)?;
            let missing = || ItemError::Sealed(format!("{name} is sealed, and there is no key"));
            let opened = sealer.ok_or_else(missing)?.open(name, sealed);
            let opened = opened.map_err(|problem| ItemError::Sealed(format!("{name}: {problem}")))?;
            Record::unpack(&[key, opened.as_slice()].concat(), key_len, meta_len, revision)
        };
        let record = Arc::new(record.ok_or(ItemError::Broken)?);
        Ok(Item::Entry(LogEntry { deleted: kind & DELETED != 0, record }))
    }

    fn parts(&mut self) -> Option<(u8, u64, u32, u32, &'a [u8])> {
        let (kind, revision, key_len, meta_len, body_len) =
            (self.u8()?, self.u64()?, self.u32()?, self.u32()?, self.u32()?);
        Some((kind, revision, key_len, meta_len, self.take(body_len as usize)?))
    }
}
