//! Answers of log lines: the first or last so many that a pipeline lets through.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    ops::ControlFlow,
    sync::Arc,
};

use super::{Direction, EvalError, Failure, Limits, Query, Request, Sink, Source, SourceEntry};
use crate::{
    labels::Labels,
    pipeline::{Category, LabelsBuilder, Moment, Needle, Pipeline},
    syntax::LogExpr,
};

/// The labels of a line, by where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryLabels {
    /// The stream's.
    pub stream: Labels,
    /// The line's structured metadata.
    pub metadata: Labels,
    /// What parsers and formats made.
    pub parsed: Labels,
}

impl EntryLabels {
    /// All of them.
    pub fn all(&self) -> Labels {
        let pairs = self.stream.iter().chain(self.metadata.iter()).chain(self.parsed.iter());
        Labels::with_empty(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }
}

/// A line as it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When, in nanoseconds.
    pub ts: i64,
    /// The line.
    pub line: String,
    /// Its labels by origin.
    pub labels: Arc<EntryLabels>,
}

/// Lines with the same labels, in the query's direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStream {
    /// All labels.
    pub labels: Labels,
    /// The lines.
    pub entries: Vec<LogEntry>,
}

pub(super) fn evaluate<S: Source>(
    log: &LogExpr,
    query: &Query,
    limits: &Limits,
    source: &S,
) -> Result<Vec<LogStream>, EvalError<S::Error>> {
    let pipeline = Pipeline::new(&log.stages, Moment(query.now))?;
    // With an interval, which lines are left out is known only when all are there.
    let keep = if query.interval > 0 { limits.max_lines + 1 } else { query.limit };
    let mut sink = LineSink {
        pipeline: &pipeline,
        builder: LabelsBuilder::new(),
        direction: query.direction,
        keep,
        kept: BinaryHeap::new(),
        arrived: 0,
        untouched: None,
    };
    let request = Request {
        matchers: &log.matchers,
        start: query.start,
        end: query.end,
        direction: query.direction,
        needles: Needle::of(&log.stages),
    };
    if keep > 0 {
        source.read(&request, &mut sink).map_err(EvalError::Source)?;
    }
    let mut lines = sink.kept.into_sorted_vec();
    if query.interval > 0 {
        if lines.len() > limits.max_lines {
            let message = format!(
                "the query would hold more than {} lines to space them by its interval; narrow its time range",
                limits.max_lines
            );
            return Err(Failure::Limit(message).into());
        }
        space_out(&mut lines, query.interval);
        lines.truncate(query.limit);
    }
    Ok(streams(lines))
}

/// A line with its place in the answer: the greater, the sooner it is dropped.
struct Ranked {
    rank: i64,
    arrived: u64,
    entry: LogEntry,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |ranked: &Self| (ranked.rank, ranked.arrived);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

struct LineSink<'p> {
    pipeline: &'p Pipeline,
    builder: LabelsBuilder,
    direction: Direction,
    keep: usize,
    kept: BinaryHeap<Ranked>,
    arrived: u64,
    /// The labels of the last line that kept its stream's as they were.
    untouched: Option<(Arc<Labels>, Arc<EntryLabels>)>,
}

impl LineSink<'_> {
    fn rank(&self, ts: i64) -> i64 {
        match self.direction {
            Direction::Forward => ts,
            // -ts would overflow at the very beginning of time.
            Direction::Backward => !ts,
        }
    }

    /// Whether a line of this rank is among those that are kept.
    fn has_room(&self, rank: i64) -> bool {
        self.kept.len() < self.keep || self.kept.peek().is_some_and(|last| rank < last.rank)
    }

    fn labels(&mut self) -> Arc<EntryLabels> {
        if self.builder.is_untouched() {
            let base = self.builder.base();
            if let Some((known, labels)) = &self.untouched
                && Arc::ptr_eq(known, base)
            {
                return Arc::clone(labels);
            }
            let labels = Arc::new(EntryLabels { stream: (**base).clone(), ..EntryLabels::default() });
            self.untouched = Some((Arc::clone(base), Arc::clone(&labels)));
            return labels;
        }
        let mut by_category: [Vec<(String, String)>; 3] = Default::default();
        self.builder.visit(|category, name, value| {
            let index = match category {
                Category::Stream => 0,
                Category::Metadata => 1,
                Category::Parsed => 2,
            };
            by_category[index].push((name.to_owned(), value.to_owned()));
        });
        let [stream, metadata, parsed] = by_category.map(Labels::with_empty);
        Arc::new(EntryLabels { stream, metadata, parsed })
    }
}

impl Sink for LineSink<'_> {
    fn wants(&self, earliest: i64, latest: i64) -> bool {
        self.has_room(match self.direction {
            Direction::Forward => self.rank(earliest),
            Direction::Backward => self.rank(latest),
        })
    }

    fn take(&mut self, entry: SourceEntry<'_>) -> ControlFlow<()> {
        let rank = self.rank(entry.ts);
        if !self.has_room(rank) {
            return ControlFlow::Continue(());
        }
        let metadata = entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.builder.start(entry.labels, metadata);
        let Some(line) = self.pipeline.run(entry.ts, entry.line, &mut self.builder) else {
            return ControlFlow::Continue(());
        };
        let line = line.into_owned();
        let labels = self.labels();
        self.arrived += 1;
        self.kept.push(Ranked { rank, arrived: self.arrived, entry: LogEntry { ts: entry.ts, line, labels } });
        if self.kept.len() > self.keep {
            self.kept.pop();
        }
        ControlFlow::Continue(())
    }
}

/// Leaves out what comes sooner than `interval` after the line before it.
fn space_out(lines: &mut Vec<Ranked>, interval: i64) {
    let mut last = None;
    lines.retain(|line| {
        let far = last.is_none_or(|last| line.rank.saturating_sub(last) >= interval);
        if far {
            last = Some(line.rank);
        }
        far
    });
}

fn streams(lines: Vec<Ranked>) -> Vec<LogStream> {
    let mut known: Vec<(Arc<EntryLabels>, Labels)> = Vec::new();
    let mut streams: BTreeMap<Labels, Vec<LogEntry>> = BTreeMap::new();
    for Ranked { entry, .. } in lines {
        let labels = match known.last() {
            Some((last, labels)) if Arc::ptr_eq(last, &entry.labels) => labels.clone(),
            _ => {
                let labels = entry.labels.all();
                known.push((Arc::clone(&entry.labels), labels.clone()));
                labels
            }
        };
        streams.entry(labels).or_default().push(entry);
    }
    streams.into_iter().map(|(labels, entries)| LogStream { labels, entries }).collect()
}
