//! How much there is, from indexes alone: runs of lines are counted wholly where they touch the time range.

use std::collections::{BTreeMap, BTreeSet};

use coracle_logql::{Labels, Matcher};

use crate::{error::ReadError, head::HeadStream, read::Tenant, streams::matches};

/// How much some streams have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Streams.
    pub streams: usize,
    /// Blocks, and pieces in memory.
    pub chunks: usize,
    /// Lines.
    pub entries: u64,
    /// Bytes of lines and their metadata.
    pub bytes: u64,
}

/// How many bytes each of some label sets has.
pub type Volume = BTreeMap<Labels, u64>;

/// Lines that stand together.
struct Piece<'p> {
    labels: &'p Labels,
    entries: u64,
    bytes: u64,
}

impl Tenant {
    /// The label sets of streams that any of the selectors selects and that have lines in a time range, both ends included.
    pub fn series(&self, selectors: &[Vec<Matcher>], range: (i64, i64)) -> Result<BTreeSet<Labels>, ReadError> {
        let mut found = BTreeSet::new();
        let everything = [Vec::new()];
        for matchers in if selectors.is_empty() { &everything } else { selectors } {
            self.pieces(matchers, range, |piece| {
                if !found.contains(piece.labels) {
                    found.insert(piece.labels.clone());
                }
            })?;
        }
        Ok(found)
    }

    /// How much streams have in a time range.
    pub fn statistics(&self, matchers: &[Matcher], range: (i64, i64)) -> Result<Statistics, ReadError> {
        let mut statistics = Statistics::default();
        let mut streams = BTreeSet::new();
        self.pieces(matchers, range, |piece| {
            if !streams.contains(piece.labels) {
                streams.insert(piece.labels.clone());
            }
            statistics.chunks += 1;
            statistics.entries += piece.entries;
            statistics.bytes += piece.bytes;
        })?;
        statistics.streams = streams.len();
        Ok(statistics)
    }

    /// How many bytes streams have, put together by what `of` makes of their labels.
    pub fn volume(
        &self,
        matchers: &[Matcher],
        range: (i64, i64),
        of: impl Fn(&Labels) -> Vec<Labels>,
    ) -> Result<Volume, ReadError> {
        let mut volume = Volume::new();
        self.pieces(matchers, range, |piece| {
            for labels in of(piece.labels) {
                *volume.entry(labels).or_default() += piece.bytes;
            }
        })?;
        Ok(volume)
    }

    fn pieces(
        &self,
        matchers: &[Matcher],
        (earliest, latest): (i64, i64),
        mut each: impl FnMut(Piece<'_>),
    ) -> Result<(), ReadError> {
        let view = self.view(matchers, |_, head| {
            for stream in head.streams.values() {
                let fits = *stream.known.tenant == *self.name && stream.latest >= earliest && stream.earliest <= latest;
                if fits && matches(&stream.known.labels, matchers) {
                    let (entries, bytes) = head_totals(stream, (earliest, latest));
                    if entries > 0 {
                        each(Piece { labels: &stream.known.labels, entries, bytes });
                    }
                }
            }
        });
        for segment in &view.segments {
            let Some(part) = self.part(segment, &view.selected, (earliest, latest), &Vec::new())? else { continue };
            for run in part.blocks.iter().flat_map(|block| &block.runs) {
                let Some(known) = part.wanted.get(&run.stream) else { continue };
                if run.latest >= earliest && run.earliest <= latest {
                    each(Piece { labels: &known.labels, entries: u64::from(run.rows), bytes: run.bytes });
                }
            }
        }
        Ok(())
    }
}

fn head_totals(stream: &HeadStream, (earliest, latest): (i64, i64)) -> (u64, u64) {
    let fitting = stream.entries().filter(|entry| (earliest..=latest).contains(&entry.ts));
    fitting.fold((0, 0), |(entries, bytes), entry| {
        let metadata: usize = entry.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        (entries + 1, bytes + (entry.line.len() + metadata) as u64)
    })
}
