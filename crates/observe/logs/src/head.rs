//! Lines that are in the journal and not yet in a segment, in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    entry::{Line, Metadata},
    streams::{Known, StreamId},
};

/// What a row costs beside its text.
const ROW_BYTES: usize = 48;

/// Lines in memory.
#[derive(Default)]
pub(crate) struct Head {
    pub(crate) streams: BTreeMap<StreamId, HeadStream>,
    /// What they take.
    pub(crate) bytes: usize,
    /// The last journal whose lines are here.
    pub(crate) journal: u64,
    /// When the first line came, by the clock.
    pub(crate) since: Option<i64>,
}

/// Lines of one stream in the order they came.
pub(crate) struct HeadStream {
    pub(crate) known: Arc<Known>,
    text: String,
    rows: Vec<Row>,
    metadata: Vec<Metadata>,
    /// Rows by moment and checksum of the line, so that a line that comes twice is kept once. Not there as long as lines
    /// come in order: then only the last ones can be meant.
    seen: Option<HashMap<(i64, u32), u32>>,
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
}

#[derive(Clone, Copy)]
struct Row {
    ts: i64,
    start: u32,
    len: u32,
    /// From 1; 0 is none.
    metadata: u32,
}

/// A line of a head.
#[derive(Clone, Copy)]
pub(crate) struct HeadEntry<'h> {
    pub(crate) ts: i64,
    pub(crate) line: &'h str,
    pub(crate) metadata: &'h [(String, String)],
}

impl Head {
    /// Takes lines of a stream; nothing where there is none when one should be.
    pub(crate) fn add<'r>(&mut self, known: &Arc<Known>, lines: impl Iterator<Item = Option<Line<'r>>>) -> Option<()> {
        let stream = self.streams.entry(known.id).or_insert_with(|| HeadStream {
            known: Arc::clone(known),
            text: String::new(),
            rows: Vec::new(),
            metadata: Vec::new(),
            seen: None,
            earliest: i64::MAX,
            latest: i64::MIN,
        });
        for line in lines {
            let line = line?;
            let bytes = line.bytes() + ROW_BYTES;
            if stream.add(line) {
                self.bytes += bytes;
            }
        }
        Some(())
    }

    /// Gives up what only those need who add lines.
    pub(crate) fn freeze(&mut self) {
        self.streams.values_mut().for_each(|stream| stream.seen = None);
    }
}

impl HeadStream {
    fn add(&mut self, line: Line<'_>) -> bool {
        let Line { ts, text, metadata } = line;
        if ts <= self.latest && self.is_known(ts, text, &metadata) {
            return false;
        }
        if let Some(seen) = &mut self.seen {
            seen.insert(key(ts, text), number(self.rows.len()));
        }
        let metadata = match self.metadata.last() {
            _ if metadata.is_empty() => 0,
            Some(last) if **last == *metadata => number(self.metadata.len()),
            _ => {
                self.metadata.push(metadata.into());
                number(self.metadata.len())
            }
        };
        self.rows.push(Row { ts, start: number(self.text.len()), len: number(text.len()), metadata });
        self.text.push_str(text);
        self.earliest = self.earliest.min(ts);
        self.latest = self.latest.max(ts);
        true
    }

    /// Whether the line is here; asked of lines that are not newer than all others.
    fn is_known(&mut self, ts: i64, text: &str, metadata: &[(String, String)]) -> bool {
        /// Lines of one moment that are looked through before they are put in a table.
        const LOOK_BACK: usize = 16;
        let is_twin = |twin: HeadEntry<'_>| twin.line == text && twin.metadata == metadata;
        if self.seen.is_none() && ts == self.latest {
            let mut last = self.rows.iter().rev().take_while(|row| row.ts == ts).take(LOOK_BACK + 1);
            if last.clone().count() <= LOOK_BACK {
                return last.any(|row| is_twin(self.entry(*row)));
            }
        }
        if self.seen.is_none() {
            let keys = self.entries().enumerate().map(|(row, entry)| (key(entry.ts, entry.line), number(row)));
            self.seen = Some(keys.collect());
        }
        let row = self.seen.as_ref().and_then(|seen| seen.get(&key(ts, text)));
        row.is_some_and(|row| is_twin(self.entry(self.rows[*row as usize])))
    }

    fn entry(&self, row: Row) -> HeadEntry<'_> {
        let start = row.start as usize;
        HeadEntry {
            ts: row.ts,
            line: &self.text[start..start + row.len as usize],
            metadata: match row.metadata {
                0 => &[],
                number => &self.metadata[number as usize - 1],
            },
        }
    }

    /// In the order they came.
    pub(crate) fn entries(&self) -> impl Iterator<Item = HeadEntry<'_>> {
        self.rows.iter().map(|row| self.entry(*row))
    }

    /// In the order of time.
    pub(crate) fn sorted(&self) -> Vec<HeadEntry<'_>> {
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_by_key(|entry| entry.ts);
        entries
    }

    /// The text of all lines, for a first look.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn key(ts: i64, line: &str) -> (i64, u32) {
    (ts, crc32c::crc32c(line.as_bytes()))
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("a head is far smaller than four gigabytes")
}
