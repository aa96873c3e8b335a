//! From lines in memory to a segment.

use std::io;

use coracle_disk::Disk;

use crate::{
    grams::{GramsBuilder, MAX_BLOCKS},
    head::Head,
    journal,
    options::Options,
    segment::{Segment, SegmentId, SegmentWriter},
};

/// Writes a head's lines as one segment, whatever their size: a head must be in segments wholly or not at all, or else
/// its journals would be read beside it.
pub(crate) fn write_head(disk: &dyn Disk, options: &Options, head: &Head, id: SegmentId) -> io::Result<Segment> {
    let mut grams = GramsBuilder::new();
    let block_bytes = options.block_bytes.max(head.bytes / (MAX_BLOCKS - 1) + 1);
    let mut writer = SegmentWriter::create(disk, options, block_bytes, &mut grams, id)?;
    for stream in head.streams.values() {
        for entry in stream.sorted() {
            writer.push(&stream.known, entry.ts, entry.line, entry.metadata)?;
        }
    }
    writer.finish(head.journal)
}

/// Removes journals whose lines are in segments. One that stays does no harm: it is passed over.
pub(crate) fn remove_journals(disk: &dyn Disk, through: u64) -> io::Result<()> {
    for name in disk.list()? {
        if journal::number_of(&name).is_some_and(|number| number <= through) {
            disk.remove(&name)?;
        }
    }
    disk.sync()
}
