//! The log being written: appends whole frames into space that is already the file's own.

use std::{io, sync::Arc};

use crate::{
    disk::{Disk, DiskFile},
    frame::{FileKind, HEADER_BYTES, Header},
};

/// Zeros are written at most so many at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    /// The revision before the file's first.
    base: u64,
    /// Where the next frame goes.
    end: u64,
    /// Up to here the file is zeros that are on disk.
    reserved: u64,
    /// Up to here, where it is beyond `end`, a failed write may have left anything.
    suspect: u64,
    reserve_bytes: u64,
}

impl Log {
    /// Starts a file for what comes after the revision `base`.
    pub(crate) fn create(disk: Arc<dyn Disk>, base: u64, reserve_bytes: u64) -> io::Result<Self> {
        let name = file_name(base);
        let started = start_file(&*disk, &name, base);
        let file = started.inspect_err(|_| {
            // An empty file left behind is recognized as such when the store is opened.
            let _removed = disk.remove(&name);
        })?;
        let end = HEADER_BYTES as u64;
        Ok(Self { disk, file, base, end, reserved: end, suspect: end, reserve_bytes })
    }

    /// Goes on with a file whose last whole frame ends at `end`; what comes after it is cut off.
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        mut file: Box<dyn DiskFile>,
        base: u64,
        end: u64,
        reserve_bytes: u64,
    ) -> io::Result<Self> {
        if file.size()? != end {
            file.truncate(end)?;
            file.sync()?;
        }
        Ok(Self { disk, file, base, end, reserved: end, suspect: end, reserve_bytes })
    }

    /// Makes a frame durable. When this fails the frame is not there, or will be wiped out before anything is written
    /// after it.
    pub(crate) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        self.wipe_suspect()?;
        let end = self.end + frame.len() as u64;
        if end > self.reserved {
            self.reserve(end)?;
        }
        self.suspect = end;
        let written = self.file.write_at(self.end, frame).and_then(|()| self.file.sync());
        if let Err(error) = written {
            // At once, so that it does not come back after a crash; if this fails too, before the next frame.
            let _wiped = self.wipe_suspect();
            return Err(error);
        }
        self.end = end;
        Ok(())
    }

    /// Goes on in a new file, for what comes after the revision `base`.
    pub(crate) fn rotate(&mut self, base: u64) -> io::Result<()> {
        self.wipe_suspect()?;
        *self = Self::create(Arc::clone(&self.disk), base, self.reserve_bytes)?;
        Ok(())
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// How long the log is, without the space it keeps for later.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    fn wipe_suspect(&mut self) -> io::Result<()> {
        if self.suspect > self.end {
            self.write_zeros(self.end, self.suspect)?;
            self.file.sync()?;
            self.suspect = self.end;
        }
        Ok(())
    }

    /// Makes the file long enough to hold a frame that ends at `end`, and then some where there is room.
    fn reserve(&mut self, end: u64) -> io::Result<()> {
        let generous = self.extend(end + self.reserve_bytes);
        generous.or_else(|_| self.extend(end)).inspect_err(|_| {
            // Gives back what little there was; the disk is full for others too.
            let _cut = self.file.truncate(self.reserved);
        })
    }

    fn extend(&mut self, to: u64) -> io::Result<()> {
        self.write_zeros(self.reserved, to)?;
        self.file.sync()?;
        self.reserved = to;
        Ok(())
    }

    fn write_zeros(&mut self, mut from: u64, to: u64) -> io::Result<()> {
        while from < to {
            let count = (to - from).min(ZEROS.len() as u64);
            self.file.write_at(from, &ZEROS[..count as usize])?;
            from += count;
        }
        Ok(())
    }
}

fn start_file(disk: &dyn Disk, name: &str, base: u64) -> io::Result<Box<dyn DiskFile>> {
    let mut file = disk.create(name)?;
    file.write_at(0, &Header { kind: FileKind::Log, revision: base, objects: 0 }.encode())?;
    file.sync()?;
    disk.sync()?;
    Ok(file)
}

/// The name of the log file for what comes after the revision `base`.
pub(crate) fn file_name(base: u64) -> String {
    format!("log-{base:016x}")
}

/// The revision before a log file's first, by its name.
pub(crate) fn base_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("log-")?, 16).ok()
}
