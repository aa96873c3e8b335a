//! What is pushed.

use std::sync::Arc;

use coracle_logql::Labels;

use crate::codec::{Fields, put_number, put_signed, put_text};

/// Names and values that come with a line.
pub type Metadata = Arc<[(String, String)]>;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, in nanoseconds since 1970.
    pub ts: i64,
    /// The line.
    pub line: String,
    /// Its structured metadata.
    pub metadata: Metadata,
}

/// Lines of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// What tells it from others.
    pub labels: Labels,
    /// The lines, in any order.
    pub entries: Vec<Entry>,
}

/// A line as it lies in an encoded batch.
pub(crate) struct Line<'r> {
    pub(crate) ts: i64,
    pub(crate) text: &'r str,
    pub(crate) metadata: Vec<(String, String)>,
}

impl<'r> Line<'r> {
    pub(crate) fn decode(fields: &mut Fields<'r>) -> Option<Self> {
        Some(Self { ts: fields.signed()?, text: fields.text()?, metadata: pairs(fields)? })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// What one tenant pushed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) tenant: String,
    pub(crate) streams: Vec<Stream>,
}

impl Batch {
    /// As bytes for the journal.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        put_text(into, &self.tenant);
        put_number(into, self.streams.len() as u64);
        for stream in &self.streams {
            put_pairs(into, stream.labels.iter());
            put_number(into, stream.entries.len() as u64);
            for entry in &stream.entries {
                put_signed(into, entry.ts);
                put_text(into, &entry.line);
                put_pairs(into, entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            }
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let tenant = fields.text()?.to_owned();
        let mut streams = Vec::new();
        for _ in 0..fields.length()? {
            let labels = Labels::new(pairs(fields)?);
            let mut entries = Vec::new();
            for _ in 0..fields.length()? {
                let Line { ts, text, metadata } = Line::decode(fields)?;
                entries.push(Entry { ts, line: text.to_owned(), metadata: metadata.into() });
            }
            streams.push(Stream { labels, entries });
        }
        Some(Self { tenant, streams })
    }

    /// How many bytes the lines and their metadata have.
    pub(crate) fn bytes(&self) -> usize {
        self.streams.iter().flat_map(|stream| &stream.entries).map(Entry::bytes).sum()
    }
}

impl Entry {
    pub(crate) fn bytes(&self) -> usize {
        self.line.len() + self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

pub(crate) fn put_pairs<'p>(into: &mut Vec<u8>, pairs: impl ExactSizeIterator<Item = (&'p str, &'p str)>) {
    put_number(into, pairs.len() as u64);
    for (name, value) in pairs {
        put_text(into, name);
        put_text(into, value);
    }
}

pub(crate) fn pairs(fields: &mut Fields<'_>) -> Option<Vec<(String, String)>> {
    let count = fields.length()?;
    (0..count).map(|_| Some((fields.text()?.to_owned(), fields.text()?.to_owned()))).collect()
}
