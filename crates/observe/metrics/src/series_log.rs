//! The log of series: what the numbers in other files stand for. A new one is written when many series are gone.
//!
//! ```text
//! payload = first_symbol:varint symbols:varint text* series:varint (id:varint labels:varint (name:varint value:varint)*)*
//! ```
//! Symbols are numbered in the order they come, from 0.

use std::io;

use coracle_disk::Disk;
use hashbrown::HashMap;

use crate::{
    codec::varint::{self, Cursor},
    frame::{self, FileKind, FrameWriter, TEMPORARY, Walk},
    hash,
    head::Head,
};

/// So many series or symbols go into one frame.
const PER_FRAME: u32 = 1 << 14;

pub(crate) fn name(generation: u64) -> String {
    format!("series-{generation}")
}

/// Appends what the log does not know yet.
pub(crate) fn append(head: &mut Head, writer: &mut FrameWriter) -> io::Result<()> {
    let (series_total, symbols_total) = (head.series_count() as u32, head.index.symbols.len());
    while head.logged != (series_total, symbols_total) {
        let (series, symbols) = head.logged;
        let symbols_to = symbols_total.min(symbols + PER_FRAME);
        // Series come when all their symbols are there.
        let series_to = if symbols_to == symbols_total { series_total.min(series + PER_FRAME) } else { series };
        let mut payload = Vec::new();
        varint::put(&mut payload, u64::from(symbols));
        varint::put(&mut payload, u64::from(symbols_to - symbols));
        (symbols..symbols_to)
            .for_each(|symbol| varint::put_bytes(&mut payload, head.index.symbols.get(symbol).as_bytes()));
        varint::put(&mut payload, u64::from(series_to - series));
        for slot in series..series_to {
            varint::put(&mut payload, head.id(slot));
            let pairs = head.label_pairs(slot);
            varint::put(&mut payload, pairs.len() as u64);
            for (name, value) in pairs {
                varint::put(&mut payload, u64::from(*name));
                varint::put(&mut payload, u64::from(*value));
            }
        }
        writer.append(&payload)?;
        head.logged = (series_to, symbols_to);
    }
    Ok(())
}

/// Writes a log of all series a head has: it is there whole, or not at all.
pub(crate) fn write_anew(disk: &dyn Disk, head: &mut Head, generation: u64) -> io::Result<FrameWriter> {
    let name = name(generation);
    let temporary = format!("{name}{TEMPORARY}");
    let mut writer = FrameWriter::create(disk, &temporary, FileKind::Series)?;
    head.logged = (0, 0);
    append(head, &mut writer)?;
    writer.sync()?;
    disk.rename(&temporary, &name)?;
    disk.sync()?;
    writer.name = name;
    Ok(writer)
}

/// Fills an empty head. Returns where each series is by its number, and what reading came across.
pub(crate) fn restore(disk: &dyn Disk, name: &str, head: &mut Head) -> io::Result<(HashMap<u64, u32>, Walk)> {
    let mut slots = HashMap::new();
    let mut symbols = HashMap::new();
    let mut lost = 0;
    let file = disk.open(name)?;
    let mut walk = frame::walk(&*file, FileKind::Series, |_, payload| {
        if take(payload, head, &mut symbols, &mut slots).is_none() {
            lost += 1;
        }
    })?;
    walk.damaged.extend((0..lost).map(|_| 0..1));
    Ok((slots, walk))
}

fn take(payload: &[u8], head: &mut Head, symbols: &mut HashMap<u64, u32>, slots: &mut HashMap<u64, u32>) -> Option<()> {
    let mut cursor = Cursor(payload);
    let first = cursor.varint()?;
    for number in first..first + cursor.varint()? {
        symbols.insert(number, head.index.symbols.intern(cursor.text()?));
    }
    let mut pairs = Vec::new();
    for _ in 0..cursor.varint()? {
        let id = cursor.varint()?;
        pairs.clear();
        let mut whole = true;
        for _ in 0..cursor.varint()? {
            let (name, value) = (symbols.get(&cursor.varint()?), symbols.get(&cursor.varint()?));
            match (name, value) {
                (Some(name), Some(value)) => pairs.push((*name, *value)),
                _ => whole = false,
            }
        }
        if whole && !slots.contains_key(&id) {
            let texts =
                pairs.iter().map(|(name, value)| (head.index.symbols.get(*name), head.index.symbols.get(*value)));
            let hash = hash::labels(texts);
            slots.insert(id, head.restore_series(id, &pairs, hash));
        }
    }
    Some(())
}
