//! All objects in one file: what the log is compacted into, and what a backup is.

use std::{io, sync::Arc};

use imbl::OrdSet;

use crate::{
    disk::{Disk, DiskFile},
    frame::{FileKind, Form, Found, FrameBuilder, Frames, HEADER_BYTES, Header, HeaderError, Item, items},
    open::OpenError,
    record::Entry,
    snapshot::Snapshot,
};

/// Objects go to disk in frames of about this size.
const FRAME_TARGET_BYTES: usize = 256 << 10;
/// Synced every so often, so that the writer's own syncs never wait behind a mountain of unwritten pages.
const SYNC_EVERY_BYTES: u64 = 4 << 20;

/// Writes a file `name` that holds a snapshot as of `revision`; it is there wholly or not at all. Returns its size.
pub(crate) fn write(disk: &dyn Disk, name: &str, snapshot: &Snapshot, revision: u64, form: &Form) -> io::Result<u64> {
    let partial = format!("{name}.partial");
    let written = write_objects(&mut *disk.create(&partial)?, snapshot, revision, form);
    let bytes = written.inspect_err(|_| {
        // The disk may be full: what is half done only makes it fuller.
        let _removed = disk.remove(&partial);
    })?;
    disk.rename(&partial, name)?;
    disk.sync()?;
    Ok(bytes)
}

fn write_objects(file: &mut dyn DiskFile, snapshot: &Snapshot, revision: u64, form: &Form) -> io::Result<u64> {
    file.write_at(0, &Header { kind: FileKind::Snapshot, revision, objects: snapshot.len() as u64 }.encode())?;
    let frame = FrameBuilder::new(form.clone());
    let mut writer = FrameWriter { file, offset: HEADER_BYTES as u64, synced: 0, frame };
    writer.frame.start();
    for record in snapshot.list("") {
        writer.frame.push(false, record);
        if writer.frame.len() >= FRAME_TARGET_BYTES {
            writer.flush()?;
        }
    }
    // The last frame, which tells the time even where nothing is in it.
    writer.flush()?;
    writer.file.sync()?;
    Ok(writer.offset)
}

struct FrameWriter<'a> {
    file: &'a mut dyn DiskFile,
    offset: u64,
    synced: u64,
    frame: FrameBuilder,
}

impl FrameWriter<'_> {
    fn flush(&mut self) -> io::Result<()> {
        let frame = self.frame.finish();
        self.file.write_at(self.offset, frame)?;
        self.offset += frame.len() as u64;
        if self.offset - self.synced > SYNC_EVERY_BYTES {
            self.file.sync()?;
            self.synced = self.offset;
        }
        self.frame.start();
        Ok(())
    }
}

/// A snapshot file, read.
pub(crate) struct Read {
    pub(crate) snapshot: Snapshot,
    pub(crate) bytes: u64,
    /// When it was written, in milliseconds since 1970, where that is known.
    pub(crate) written_ms: Option<u64>,
}

/// Reads a snapshot file.
pub(crate) fn read(disk: &dyn Disk, name: &str, form: &Form) -> Result<Read, OpenError> {
    let file = disk.open(name)?;
    let header = read_header(disk, name, &*file, FileKind::Snapshot)?;
    let mut frames = Frames::new(&*file)?;
    let mut objects: OrdSet<Entry> = OrdSet::new();
    let mut written_ms = None;
    loop {
        let offset = frames.offset;
        let damaged = |problem| OpenError::damaged(disk, name, offset, problem);
        match frames.next()? {
            Found::Frame(payload) => {
                for item in items(payload, form.sealer.as_deref()) {
                    match item.map_err(|error| OpenError::item(disk, name, offset, error))? {
                        Item::Time(ms) => written_ms = written_ms.or(Some(ms)),
                        Item::Entry(entry) if entry.record.revision() > header.revision => {
                            return Err(damaged("an object is newer than the file"));
                        }
                        Item::Entry(entry) => {
                            objects.insert(Entry(Arc::clone(&entry.record)));
                        }
                    }
                }
            }
            Found::End => break,
            Found::Torn | Found::Damaged { .. } => return Err(damaged("a checksum does not fit")),
        }
    }
    if objects.len() as u64 != header.objects {
        return Err(OpenError::damaged(disk, name, frames.offset, "objects are missing at the end"));
    }
    Ok(Read { snapshot: Snapshot::new(header.revision, objects), bytes: frames.offset, written_ms })
}

/// Reads and checks the start of a file.
pub(crate) fn read_header(
    disk: &dyn Disk,
    name: &str,
    file: &dyn DiskFile,
    kind: FileKind,
) -> Result<Header, OpenError> {
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut bytes)?;
    Header::decode(&bytes[..read], kind).map_err(|error| match error {
        HeaderError::Broken => OpenError::damaged(disk, name, 0, "the header cannot be read"),
        HeaderError::Version(version) => OpenError::Version { file: path(disk, name), version },
    })
}

/// A file's path, for messages.
pub(crate) fn path(disk: &dyn Disk, name: &str) -> String {
    format!("{}/{name}", disk.place())
}

/// The name of the snapshot file as of `revision`.
pub(crate) fn file_name(revision: u64) -> String {
    format!("snapshot-{revision:016x}")
}

/// The revision a snapshot file shows, by its name.
pub(crate) fn revision_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("snapshot-")?, 16).ok()
}
