//! The files that are appended to as samples come in: the log of series and the log of what happened.

use std::{io, sync::Arc};

use coracle_disk::Disk;

use crate::{
    frame::{FileKind, FrameWriter},
    head::Head,
    series_log,
};

pub(crate) fn wal_name(number: u64) -> String {
    format!("wal-{number:08}")
}

pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    pub(crate) wal: FrameWriter,
    wal_number: u64,
    /// Segments before the one that is written.
    pub(crate) older: Vec<String>,
    pub(crate) older_bytes: u64,
    pub(crate) series: FrameWriter,
    generation: u64,
    /// Whether something was written since the last sync.
    pub(crate) dirty: bool,
    /// Whether series got other numbers of labels, so that the log of series has to be written anew first.
    pub(crate) renumbered: bool,
}

impl Journal {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        (wal_number, wal): (u64, FrameWriter),
        older: Vec<String>,
        older_bytes: u64,
        (generation, series): (u64, FrameWriter),
    ) -> Self {
        Self { disk, wal, wal_number, older, older_bytes, series, generation, dirty: true, renumbered: false }
    }

    /// Logs series that are new, and then payloads. Nothing of a payload counts when it fails.
    pub(crate) fn append<'a>(
        &mut self,
        head: &mut Head,
        payloads: impl IntoIterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        match self.renumbered {
            true => self.rewrite_series(head)?,
            false => series_log::append(head, &mut self.series)?,
        }
        let before = self.wal.len();
        for payload in payloads {
            // What comes next overwrites what did not become whole.
            self.wal.append(payload).inspect_err(|_| self.wal.forget_from(before))?;
        }
        self.dirty = true;
        Ok(())
    }

    pub(crate) fn wal_bytes(&self) -> u64 {
        self.older_bytes + self.wal.len()
    }

    /// Begins a new segment of the log.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        let number = self.wal_number + 1;
        let wal = FrameWriter::create(&*self.disk, &wal_name(number), FileKind::Wal)?;
        let full = std::mem::replace(&mut self.wal, wal);
        self.older_bytes += full.len();
        self.older.push(full.name);
        self.wal_number = number;
        self.dirty = true;
        Ok(())
    }

    /// The files that a sync has to reach, the log of series first.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = vec![self.series.name.clone()];
        files.extend(self.older.iter().cloned());
        files.push(self.wal.name.clone());
        files
    }

    /// Grows with every segment of the log, also from one life of the store to the next.
    pub(crate) fn wal_number(&self) -> u64 {
        self.wal_number
    }

    /// Writes a new log of all series a head has now, in place of the old one.
    fn rewrite_series(&mut self, head: &mut Head) -> io::Result<()> {
        let generation = self.generation + 1;
        let writer = series_log::write_anew(&*self.disk, head, generation)?;
        let old = std::mem::replace(&mut self.series, writer);
        self.generation = generation;
        self.renumbered = false;
        if let Err(error) = self.disk.remove(&old.name) {
            tracing::warn!(%error, file = old.name, "an old log of series stays");
        }
        Ok(())
    }
}
