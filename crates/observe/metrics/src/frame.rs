//! Files that only grow: a header, and frames with checksums. What is damaged is stepped over and told; a frame that was
//! cut off at the end does not count. All numbers are little-endian.
//!
//! ```text
//! file   = header frame*
//! header = "CORMETR" kind:u8 version:u32 crc32c:u32                  16 bytes
//! frame  = c0 de f5 fd  length:u32  crc32c(length, payload):u32  payload
//! ```

use std::{io, ops::Range};

use coracle_disk::{Disk, DiskFile};

use crate::codec::varint::Cursor;

pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const FRAME_HEADER_BYTES: usize = 12;
const NAME: &[u8; 7] = b"CORMETR";
const FRAME_START: [u8; 4] = [0xc0, 0xde, 0xf5, 0xfd];
/// The end of the names of files that do not count yet.
pub(crate) const TEMPORARY: &str = ".tmp";
const WINDOW_BYTES: usize = 1 << 20;
/// Frames are far smaller; a length above this is damage.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// The version of the formats that are written, and the only one that there is.
pub(crate) const VERSION: u32 = 1;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Wal = b'W' as isize,
    Series = b'S' as isize,
    Spill = b'C' as isize,
    Block = b'B' as isize,
    Tombstones = b'T' as isize,
}

pub(crate) fn header(kind: FileKind) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..7].copy_from_slice(NAME);
    bytes[7] = kind as u8;
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Why a file is none of ours.
pub(crate) fn check_header(bytes: &[u8], kind: FileKind) -> Result<(), String> {
    if bytes.len() < HEADER_BYTES || &bytes[..7] != NAME {
        return Err("its header is not whole".to_owned());
    }
    let version = Cursor(&bytes[8..]).u32().expect("the length was checked");
    if version != VERSION {
        return Err(format!("it has format {version}; this program reads format {VERSION}"));
    }
    (bytes[..HEADER_BYTES] == header(kind)).then_some(()).ok_or_else(|| "its header is damaged".to_owned())
}

fn frame_header(payload: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
    let len = u32::try_from(payload.len()).expect("frames are bounded");
    let mut bytes = [0; FRAME_HEADER_BYTES];
    bytes[..4].copy_from_slice(&FRAME_START);
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    bytes[8..].copy_from_slice(&frame_crc(len, payload).to_le_bytes());
    bytes
}

fn frame_crc(len: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&len.to_le_bytes()), payload)
}

/// Appends frames. What could not be written whole is overwritten by what comes next.
pub(crate) struct FrameWriter {
    pub(crate) name: String,
    file: Box<dyn DiskFile>,
    len: u64,
    buffer: Vec<u8>,
}

impl FrameWriter {
    pub(crate) fn create(disk: &dyn Disk, name: &str, kind: FileKind) -> io::Result<Self> {
        let mut file = disk.create(name)?;
        file.write_at(0, &header(kind))?;
        Ok(Self { name: name.to_owned(), file, len: HEADER_BYTES as u64, buffer: Vec::new() })
    }

    /// Goes on behind what is whole.
    pub(crate) fn resume(disk: &dyn Disk, name: &str, whole_len: u64) -> io::Result<Self> {
        let mut file = disk.open(name)?;
        file.truncate(whole_len)?;
        Ok(Self { name: name.to_owned(), file, len: whole_len, buffer: Vec::new() })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Lets the next frame begin at `len`, over what stands there.
    pub(crate) fn forget_from(&mut self, len: u64) {
        self.len = len;
    }

    /// Where the next frame's payload will stand.
    pub(crate) fn next_payload_at(&self) -> u64 {
        self.len + FRAME_HEADER_BYTES as u64
    }

    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&frame_header(payload));
        self.buffer.extend_from_slice(payload);
        self.file.write_at(self.len, &self.buffer)?;
        self.len += self.buffer.len() as u64;
        if self.buffer.capacity() > WINDOW_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

/// What reading a file came across.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Where the last whole frame ends.
    pub(crate) whole_len: u64,
    /// Damage with whole frames behind it.
    pub(crate) damaged: Vec<Range<u64>>,
    /// Bytes behind the last whole frame.
    pub(crate) torn_bytes: u64,
    /// Why the whole file was left out.
    pub(crate) refused: Option<String>,
    /// There is no more than a part of a header: whoever made the file may have ended there.
    pub(crate) unborn: bool,
}

impl Walk {
    /// What a person has to know, if anything.
    pub(crate) fn complaint(&self, name: &str) -> Option<String> {
        if let Some(refused) = &self.refused {
            return Some(format!("{name} was left out: {refused}"));
        }
        let lost: u64 = self.damaged.iter().map(|range| range.end - range.start).sum();
        (lost > 0).then(|| format!("{name} is damaged: {lost} bytes in {} places were left out", self.damaged.len()))
    }
}

/// Shows each whole frame's payload and its place.
pub(crate) fn walk(file: &dyn DiskFile, kind: FileKind, mut each: impl FnMut(u64, &[u8])) -> io::Result<Walk> {
    let size = file.size()?;
    let mut start = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut start)?;
    let read = &start[..read];
    if let Err(refused) = check_header(read, kind) {
        let unborn = read.len() < HEADER_BYTES && header(kind).starts_with(read);
        return Ok(Walk { refused: Some(refused), unborn, ..Walk::default() });
    }
    let mut window = Window { file, size, start: 0, bytes: Vec::new() };
    let mut walk = Walk { whole_len: HEADER_BYTES as u64, ..Walk::default() };
    let mut at = HEADER_BYTES as u64;
    while at < size {
        if let Some(payload) = window.frame(at)? {
            let payload_at = at + FRAME_HEADER_BYTES as u64;
            each(payload_at, payload);
            at = payload_at + payload.len() as u64;
            walk.whole_len = at;
        } else if let Some(next) = window.next_frame(at + 1)? {
            walk.damaged.push(at..next);
            at = next;
        } else {
            walk.torn_bytes = size - at;
            break;
        }
    }
    Ok(walk)
}

/// A part of a file in memory.
struct Window<'a> {
    file: &'a dyn DiskFile,
    size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `at` on, `len` of them, fewer at the end.
    fn slice(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let len = len.min((self.size - at.min(self.size)) as usize);
        let held = at >= self.start && at + len as u64 <= self.start + self.bytes.len() as u64;
        if !held {
            self.bytes.resize(len.max(WINDOW_BYTES), 0);
            let read = self.file.read_at(at, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = at;
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..(from + len).min(self.bytes.len())])
    }

    fn frame(&mut self, at: u64) -> io::Result<Option<&[u8]>> {
        let mut fields = Cursor(self.slice(at, FRAME_HEADER_BYTES)?);
        let start = fields.take(4);
        let (Some(len), Some(crc)) = (fields.u32(), fields.u32()) else { return Ok(None) };
        let payload_len = len as usize;
        if start != Some(&FRAME_START[..]) || payload_len > FRAME_BYTES_MAX {
            return Ok(None);
        }
        let frame = self.slice(at, FRAME_HEADER_BYTES + payload_len)?;
        let payload = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        Ok((payload.len() == payload_len && frame_crc(len, payload) == crc).then_some(payload))
    }

    fn next_frame(&mut self, mut at: u64) -> io::Result<Option<u64>> {
        while at + (FRAME_HEADER_BYTES as u64) <= self.size {
            let bytes = self.slice(at, WINDOW_BYTES)?;
            let Some(found) = bytes.windows(4).position(|window| window == FRAME_START) else {
                at += bytes.len().saturating_sub(3).max(1) as u64;
                continue;
            };
            at += found as u64;
            if self.frame(at)?.is_some() {
                return Ok(Some(at));
            }
            at += 1;
        }
        Ok(None)
    }
}
