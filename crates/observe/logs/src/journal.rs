//! The write-ahead log: files of frames, each a group of pushes that was made durable at once.
//!
//! ```text
//! journal = "CORAJRNL" version:u32 frame*
//! frame   = c0 de 10 95  length:u32  crc32c(payload):u32  payload
//! payload = plain_length:u32 zstd(batch*)
//! ```
//! Payloads are compressed because a disk that syncs is slower than a compressor that is in no hurry.
//!
//! A frame is on disk wholly or it does not count. What is wrong at the very end was never acknowledged; what is wrong
//! before that is told and left out.

use std::io;

use coracle_disk::{Disk, DiskFile};
use zstd::bulk::Compressor;

use crate::{codec::Fields, entry::Batch};

const MAGIC: &[u8; 8] = b"CORAJRNL";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 12;
const START: [u8; 4] = [0xc0, 0xde, 0x10, 0x95];
const FRAME_HEADER_BYTES: usize = 12;
const PREFIX: &str = "journal-";
/// Fast, and numbers are left as they are: what is written lives for some seconds.
const COMPRESSION_LEVEL: i32 = -3;
/// Room that is kept from group to group.
const KEPT_BYTES: usize = 4 << 20;
/// More than this is no payload of ours: a group, and one push more.
const MAX_PLAIN_BYTES: u32 = 1 << 30;

/// The name of a journal's file.
pub(crate) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:016}")
}

/// The number of a journal by its file's name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// A journal that is being written.
pub(crate) struct Journal {
    file: Box<dyn DiskFile>,
    /// After the last frame that is durable.
    end: u64,
    frame: Vec<u8>,
    /// Batches before they are compressed.
    plain: Vec<u8>,
    compressor: Compressor<'static>,
}

impl Journal {
    /// A new one, durable by name.
    pub(crate) fn create(disk: &dyn Disk, number: u64) -> io::Result<Self> {
        let mut file = disk.create(&file_name(number))?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_le_bytes());
        file.write_at(0, &header)?;
        file.sync()?;
        disk.sync()?;
        let compressor = Compressor::new(COMPRESSION_LEVEL)?;
        Ok(Self { file, end: HEADER_BYTES as u64, frame: Vec::new(), plain: Vec::new(), compressor })
    }

    /// After the last frame that is durable.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether the file ends there, after an error.
    pub(crate) fn is_at(&self, end: u64) -> bool {
        self.file.size().is_ok_and(|size| size == end)
    }

    /// Writes encoded batches as one frame and makes it durable. After an error nothing of it counts.
    pub(crate) fn append<'r>(&mut self, records: impl Iterator<Item = &'r [u8]>) -> io::Result<()> {
        self.plain.clear();
        self.frame.clear();
        self.plain.shrink_to(KEPT_BYTES);
        self.frame.shrink_to(KEPT_BYTES);
        records.for_each(|record| self.plain.extend_from_slice(record));
        self.pack()?;
        let payload = &self.frame[FRAME_HEADER_BYTES..];
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let crc = crc32c::crc32c(payload);
        self.frame[..4].copy_from_slice(&START);
        self.frame[4..8].copy_from_slice(&len.to_le_bytes());
        self.frame[8..12].copy_from_slice(&crc.to_le_bytes());
        let written = self.file.write_at(self.end, &self.frame).and_then(|()| self.file.sync());
        if let Err(error) = written {
            // What is left of it would be read again after a restart.
            self.file.truncate(self.end).and_then(|()| self.file.sync())?;
            return Err(error);
        }
        self.end += self.frame.len() as u64;
        Ok(())
    }

    /// The payload, behind room for its header.
    fn pack(&mut self) -> io::Result<()> {
        let plain_len = u32::try_from(self.plain.len()).ok().filter(|len| *len <= MAX_PLAIN_BYTES);
        let plain_len = plain_len.ok_or_else(|| io::Error::other("a push is too large for the journal"))?;
        self.frame.resize(FRAME_HEADER_BYTES, 0);
        self.frame.extend_from_slice(&plain_len.to_le_bytes());
        let start = self.frame.len();
        self.frame.resize(start + zstd::zstd_safe::compress_bound(self.plain.len()), 0);
        let packed = self.compressor.compress_to_buffer(&self.plain, &mut self.frame[start..])?;
        self.frame.truncate(start + packed);
        Ok(())
    }
}

/// What a journal holds.
pub(crate) struct Replayed {
    /// Batches, encoded, which can all be decoded.
    pub(crate) payloads: Vec<Vec<u8>>,
    /// Bytes in the middle that could not be read.
    pub(crate) lost_bytes: usize,
}

/// Reads a journal that an earlier process wrote.
pub(crate) fn replay(disk: &dyn Disk, number: u64) -> io::Result<Replayed> {
    let file = disk.open(&file_name(number))?;
    let mut bytes = vec![0; usize::try_from(file.size()?).map_err(io::Error::other)?];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    let mut replayed = Replayed { payloads: Vec::new(), lost_bytes: 0 };
    let (mut at, mut lost_from) = (HEADER_BYTES.min(bytes.len()), None);
    while at < bytes.len() {
        match frame(&bytes[at..]).and_then(|payload| Some((payload.len(), batches(payload)?))) {
            Some((len, plain)) => {
                if let Some(from) = lost_from.take() {
                    replayed.lost_bytes += at - from;
                }
                replayed.payloads.push(plain);
                at += FRAME_HEADER_BYTES + len;
            }
            None => {
                lost_from.get_or_insert(at);
                at += 1;
                at += memchr::memmem::find(&bytes[at..], &START).unwrap_or(bytes.len() - at);
            }
        }
    }
    Ok(replayed)
}

fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(bytes);
    if fields.bytes(4)? != START {
        return None;
    }
    let (len, crc) = (fields.u32()?, fields.u32()?);
    fields.bytes(len as usize).filter(|payload| crc32c::crc32c(payload) == crc)
}

/// The batches of a payload, if it is right to the last one.
fn batches(payload: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Fields(payload);
    let plain_len = fields.u32().filter(|len| *len <= MAX_PLAIN_BYTES)?;
    let plain = zstd::bulk::decompress(fields.rest(), plain_len as usize).ok()?;
    let mut fields = Fields(&plain);
    while !fields.is_empty() {
        Batch::decode(&mut fields)?;
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_payload_is_read_or_refused(plain in prop::collection::vec(prop_oneof![any::<u8>(), 0..3_u8], 0..80), len in any::<u32>()) {
            let packed = zstd::bulk::compress(&plain, COMPRESSION_LEVEL).unwrap();
            for len in [plain.len() as u32, len % 100] {
                let _ = batches(&[&len.to_le_bytes()[..], &packed].concat());
            }
            let _ = batches(&plain);
        }
    }
}
