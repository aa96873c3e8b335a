//! Compaction: the state at a revision takes the place of the logs up to it, while writes go on in the log after it.

use std::{io, sync::Arc};

use crate::{disk::Disk, frame::Form, log, snapshot::Snapshot, snapshot_file};

/// A compaction that is ready to run, on whatever thread.
pub(crate) struct Compaction {
    disk: Arc<dyn Disk>,
    snapshot: Snapshot,
    form: Form,
}

impl Compaction {
    pub(crate) fn new(disk: Arc<dyn Disk>, snapshot: Snapshot, form: Form) -> Self {
        Self { disk, snapshot, form }
    }

    /// Writes the snapshot and, once it is durable, removes what it replaces. Returns the snapshot's size.
    pub(crate) fn run(self) -> io::Result<u64> {
        let revision = self.snapshot.revision();
        let name = snapshot_file::file_name(revision);
        let bytes = snapshot_file::write(&*self.disk, &name, &self.snapshot, revision, &self.form)?;
        for name in self.disk.list()? {
            let replaced = snapshot_file::revision_of(&name).is_some_and(|other| other < revision)
                || log::base_of(&name).is_some_and(|base| base < revision);
            if replaced {
                self.disk.remove(&name)?;
            }
        }
        Ok(bytes)
    }
}
