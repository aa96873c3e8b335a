//! Full chunks of recent series, on disk until a block takes them up: one file for each stretch of time that will become
//! a block. In memory stays where they are.
//!
//! ```text
//! frame payload = chunk*
//! chunk = series:varint flags:u8 first_ms:zigzag span_ms:varint length:varint crc32c:u32 bytes
//! ```
//! Flags: the kind of chunk in the low bits, [`OUT_OF_ORDER`].

use std::{io, sync::Arc};

use coracle_disk::{Disk, DiskFile};

use crate::{
    StoreError,
    codec::{
        ChunkKind,
        varint::{self, Cursor},
    },
    frame::{self, FileKind, FrameWriter, Walk},
};

const OUT_OF_ORDER: u8 = 0x80;
const FRAME_BYTES: usize = 64 << 10;
/// So much may wait when the disk takes nothing.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// A chunk's place and what it covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkRef {
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
    pub(crate) kind: ChunkKind,
    pub(crate) out_of_order: bool,
}

impl ChunkRef {
    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.first_ms <= end_ms && self.last_ms >= start_ms
    }
}

/// Reads chunks of one file.
pub(crate) struct SpillReader {
    pub(crate) name: String,
    file: Box<dyn DiskFile>,
}

impl SpillReader {
    pub(crate) fn read(&self, chunk: &ChunkRef) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; chunk.len as usize];
        let read = self.file.read_at(chunk.offset, &mut bytes).map_err(StoreError::disk(&self.name))?;
        if read < bytes.len() || crc32c::crc32c(&bytes) != chunk.crc {
            return Err(StoreError::damaged(&self.name, format!("the chunk at {} fails its checksum", chunk.offset)));
        }
        Ok(bytes)
    }
}

/// A file of chunks that grows. It is made with its first frame: taking a chunk never fails.
pub(crate) struct Spill {
    disk: Arc<dyn Disk>,
    pub(crate) name: String,
    file: Option<(FrameWriter, Arc<SpillReader>)>,
    /// The next frame's payload.
    pending: Vec<u8>,
    /// Whether something was written since the last sync.
    pub(crate) dirty: bool,
}

impl Spill {
    pub(crate) fn new(disk: Arc<dyn Disk>, name: String) -> Self {
        Self { disk, name, file: None, pending: Vec::new(), dirty: false }
    }

    fn attach(&mut self, writer: FrameWriter) -> io::Result<()> {
        let reader = SpillReader { name: self.name.clone(), file: self.disk.open(&self.name)? };
        self.file = Some((writer, Arc::new(reader)));
        Ok(())
    }

    /// Opens a file and shows what is in it.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        name: &str,
        mut each: impl FnMut(u64, ChunkRef),
    ) -> io::Result<(Option<Self>, Walk)> {
        let file = disk.open(name)?;
        let walk = frame::walk(&*file, FileKind::Spill, |at, payload| {
            let mut cursor = Cursor(payload);
            while let Some((series, chunk)) = take_entry(&mut cursor, at, payload.len()) {
                each(series, chunk);
            }
        })?;
        if walk.refused.is_some() {
            return Ok((None, walk));
        }
        let writer = FrameWriter::resume(&*disk, name, walk.whole_len)?;
        let mut spill = Self::new(disk, name.to_owned());
        spill.attach(writer)?;
        Ok((Some(spill), walk))
    }

    /// For chunks that are in the file.
    pub(crate) fn reader(&self) -> Option<&Arc<SpillReader>> {
        self.file.as_ref().map(|(_, reader)| reader)
    }

    fn next_payload_at(&self) -> u64 {
        let first = (frame::HEADER_BYTES + frame::FRAME_HEADER_BYTES) as u64;
        self.file.as_ref().map_or(first, |(writer, _)| writer.next_payload_at())
    }

    pub(crate) fn push(
        &mut self,
        series: u64,
        kind: ChunkKind,
        out_of_order: bool,
        (first_ms, last_ms): (i64, i64),
        bytes: &[u8],
    ) -> ChunkRef {
        let payload_at = self.next_payload_at();
        let pending = &mut self.pending;
        varint::put(pending, series);
        pending.push(kind as u8 | if out_of_order { OUT_OF_ORDER } else { 0 });
        varint::put_signed(pending, first_ms);
        varint::put(pending, last_ms.wrapping_sub(first_ms) as u64);
        varint::put(pending, bytes.len() as u64);
        let crc = crc32c::crc32c(bytes);
        pending.extend_from_slice(&crc.to_le_bytes());
        let offset = payload_at + pending.len() as u64;
        pending.extend_from_slice(bytes);
        ChunkRef { first_ms, last_ms, offset, len: bytes.len() as u32, crc, kind, out_of_order }
    }

    /// The bytes of a chunk that is not in the file yet.
    pub(crate) fn pending(&self, chunk: &ChunkRef) -> Option<&[u8]> {
        let from = chunk.offset.checked_sub(self.next_payload_at())? as usize;
        self.pending.get(from..from + chunk.len as usize)
    }

    /// Writes when there is enough for a frame.
    pub(crate) fn write_if_full(&mut self) -> io::Result<()> {
        if self.pending.len() < FRAME_BYTES {
            return Ok(());
        }
        self.write()
    }

    /// Whether more waits than ought to.
    pub(crate) fn is_overdue(&self) -> bool {
        self.pending.len() > PENDING_BYTES_MAX
    }

    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.attach(FrameWriter::create(&*self.disk, &self.name, FileKind::Spill)?)?;
        }
        if let Some((writer, _)) = &mut self.file {
            writer.append(&self.pending)?;
        }
        self.pending.clear();
        self.dirty = true;
        Ok(())
    }

    /// What a block that takes up all of it says it replaces.
    pub(crate) fn name_with_length(&self) -> String {
        format!("{}:{}", self.name, self.len_bytes())
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |(writer, _)| writer.len()) + self.pending.len() as u64
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.pending.capacity()
    }
}

fn take_entry(cursor: &mut Cursor<'_>, payload_at: u64, payload_len: usize) -> Option<(u64, ChunkRef)> {
    let series = cursor.varint()?;
    let flags = cursor.u8()?;
    let first_ms = cursor.signed()?;
    let last_ms = first_ms.wrapping_add(cursor.varint()? as i64);
    let len = cursor.usize()?;
    let crc = cursor.u32()?;
    let offset = payload_at + (payload_len - cursor.0.len()) as u64;
    cursor.take(len)?;
    let kind = ChunkKind::of(flags & !OUT_OF_ORDER)?;
    let out_of_order = flags & OUT_OF_ORDER != 0;
    Some((series, ChunkRef { first_ms, last_ms, offset, len: len as u32, crc, kind, out_of_order }))
}
