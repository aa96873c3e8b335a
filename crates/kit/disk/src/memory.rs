//! A disk in memory that behaves like a bad day: it loses what was not synced, in part and out of order, fails on
//! demand, and runs full. Everything it does follows from a seed.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{Disk, DiskFile};

/// What a crash may tear a write into.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Medium>>);

/// What is to go wrong next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// After this many more operations that change something, every such operation fails, until the fault is lifted.
    FailAfter(u64),
    /// Files may hold this many bytes together; what would exceed it fails with "no space", after a part of it was written.
    FullAt(u64),
}

/// How a crash treats what was not synced.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    /// Where the randomness comes from.
    pub seed: u64,
}

#[derive(Default)]
struct Medium {
    /// Names as programs see them, and as they are on the medium.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the last sync, in order: a journal keeps them so.
    unsynced_names: Vec<BTreeMap<String, usize>>,
    files: Vec<Content>,
    /// Handles of before a crash belong to a process that is gone.
    generation: u64,
    fail_after: Option<u64>,
    full_at: Option<u64>,
    syncs: u64,
}

#[derive(Default, Clone)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

#[derive(Clone)]
enum Unsynced {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

impl MemoryDisk {
    /// An empty disk that works.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes something go wrong.
    pub fn fault(&self, fault: Fault) {
        let mut medium = self.0.lock();
        match fault {
            Fault::FailAfter(operations) => medium.fail_after = Some(operations),
            Fault::FullAt(bytes) => medium.full_at = Some(bytes),
        }
    }

    /// Lets all operations succeed again.
    pub fn lift_faults(&self) {
        let mut medium = self.0.lock();
        (medium.fail_after, medium.full_at) = (None, None);
    }

    /// How often something was made durable.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// The power goes: what was synced stays; of the rest, some. Open files are gone for good.
    pub fn crash(&self, crash: Crash) {
        let mut random = Random(crash.seed);
        let mut medium = self.0.lock();
        medium.generation += 1;
        medium.fail_after = None;
        let steps = std::mem::take(&mut medium.unsynced_names);
        let kept = random.below(steps.len() + 1);
        if let Some(names) = steps.into_iter().take(kept).next_back() {
            medium.durable_names = names;
        }
        medium.names = medium.durable_names.clone();
        for file in &mut medium.files {
            file.crash(&mut random);
        }
    }

    /// Flips a bit, as a failing medium does.
    pub fn flip_bit(&self, name: &str, offset: usize) {
        let mut medium = self.0.lock();
        if let Some(file) = medium.names.get(name).copied() {
            let content = &mut medium.files[file];
            content.seen[offset] ^= 1;
            content.durable[offset] ^= 1;
        }
    }

    /// The bytes of a file, as programs see them.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let medium = self.0.lock();
        medium.names.get(name).map(|file| medium.files[*file].seen.clone())
    }

    fn handle(&self, medium: &Medium, file: usize) -> Box<dyn DiskFile> {
        Box::new(MemoryFile { disk: self.clone(), file, generation: medium.generation })
    }
}

impl Medium {
    /// Counts an operation that changes something; fails it where that is wanted.
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.fail_after {
            Some(0) => Err(io::Error::other("the disk was told to fail")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no file {name}")))
    }

    fn renamed(&mut self) {
        self.unsynced_names.push(self.names.clone());
    }

    /// How many more bytes fit.
    fn room(&self) -> usize {
        let used: usize = self.names.values().map(|file| self.files[*file].seen.len()).sum();
        self.full_at.map_or(usize::MAX, |full_at| (full_at as usize).saturating_sub(used))
    }
}

impl Content {
    fn write(bytes: &mut Vec<u8>, offset: usize, from: &[u8]) {
        let end = offset + from.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(from);
    }

    fn apply(bytes: &mut Vec<u8>, change: &Unsynced) {
        match change {
            Unsynced::Write { offset, bytes: from } => Self::write(bytes, *offset, from),
            Unsynced::Truncate { len } => bytes.resize(*len, 0),
        }
    }

    /// Of each change since the last sync: all, nothing, or some of its sectors.
    fn crash(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.unsynced) {
            match (random.below(4), change) {
                (0, _) => {}
                (1, Unsynced::Write { offset, bytes }) => {
                    for (sector, part) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if random.below(2) == 0 {
                            Self::write(&mut self.durable, offset + sector * SECTOR_BYTES, part);
                        }
                    }
                }
                (2, Unsynced::Write { offset, bytes }) => {
                    let kept = random.below(bytes.len() + 1);
                    Self::write(&mut self.durable, offset, &bytes[..kept]);
                }
                (_, change) => Self::apply(&mut self.durable, &change),
            }
        }
        self.seen = self.durable.clone();
    }
}

impl Disk for MemoryDisk {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut medium = self.0.lock();
        medium.operate()?;
        medium.files.push(Content::default());
        let file = medium.files.len() - 1;
        medium.names.insert(name.to_owned(), file);
        medium.renamed();
        Ok(self.handle(&medium, file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let medium = self.0.lock();
        let file = medium.find(name)?;
        Ok(self.handle(&medium, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut medium = self.0.lock();
        medium.operate()?;
        let file = medium.find(from)?;
        medium.names.remove(from);
        medium.names.insert(to.to_owned(), file);
        medium.renamed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut medium = self.0.lock();
        medium.operate()?;
        medium.find(name)?;
        medium.names.remove(name);
        medium.renamed();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut medium = self.0.lock();
        medium.operate()?;
        medium.syncs += 1;
        medium.unsynced_names.clear();
        medium.durable_names = medium.names.clone();
        Ok(())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
    generation: u64,
}

impl MemoryFile {
    fn change<T>(&self, with: impl FnOnce(&mut Medium, usize) -> io::Result<T>) -> io::Result<T> {
        let mut medium = self.disk.0.lock();
        if medium.generation != self.generation {
            return Err(io::Error::other("the process that opened this file is gone"));
        }
        medium.operate()?;
        with(&mut medium, self.file)
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.file].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let medium = self.disk.0.lock();
        let seen = &medium.files[self.file].seen;
        let from = seen.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = offset as usize;
        self.change(|medium, file| {
            let more = (offset + bytes.len()).saturating_sub(medium.files[file].seen.len());
            let missing = more.saturating_sub(medium.room());
            let written = &bytes[..bytes.len().saturating_sub(missing)];
            let content = &mut medium.files[file];
            Content::write(&mut content.seen, offset, written);
            content.unsynced.push(Unsynced::Write { offset, bytes: written.to_vec() });
            if missing > 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.change(|medium, file| {
            let content = &mut medium.files[file];
            content.seen.resize(len as usize, 0);
            content.unsynced.push(Unsynced::Truncate { len: len as usize });
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.change(|medium, file| {
            medium.syncs += 1;
            let content = &mut medium.files[file];
            for change in std::mem::take(&mut content.unsynced) {
                Content::apply(&mut content.durable, &change);
            }
            Ok(())
        })
    }
}

/// SplitMix64: small, seeded, the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
