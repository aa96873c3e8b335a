//! Reading: segments, blocks and rows that could matter, and nothing else.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use coracle_logql::{
    Direction, Matcher, Request, Sink, Source, SourceEntry,
    pipeline::{Needle, Needles},
};
use memchr::memmem::Finder;
use parking_lot::Mutex;

use crate::{
    block::{BlockMeta, Columns},
    error::ReadError,
    grams,
    head::Head,
    segment::{Open, Segment},
    store::{Inner, is_damage},
    streams::{Known, StreamId},
    twins::{SharedSpans, Spans, Twins, covers},
};

/// What reading took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Segments whose time and streams fit.
    pub segments: usize,
    /// Their blocks.
    pub blocks: usize,
    /// Those that were read.
    pub blocks_read: usize,
    /// Compressed bytes that were read.
    pub compressed_bytes: u64,
    /// Bytes of text that were looked through, of blocks and in memory.
    pub text_bytes: u64,
    /// Lines that were looked at one by one.
    pub lines: u64,
}

/// What one tenant has.
#[derive(Clone)]
pub struct Tenant {
    pub(crate) inner: Arc<Inner>,
    pub(crate) name: String,
    reading: Arc<Mutex<Reading>>,
    cancelled: Arc<AtomicBool>,
}

/// Ends the reading of a tenant's queries when it goes.
pub(crate) struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a tenant has at one moment, beside the head.
pub(crate) struct View {
    flushing: Option<Arc<Head>>,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) selected: HashMap<StreamId, Arc<Known>>,
}

impl View {
    /// When the selected streams have lines in heads.
    fn head_spans(&self, head: &Head) -> Spans {
        let mut spans = Spans::default();
        for head in [Some(head), self.flushing.as_deref()].into_iter().flatten() {
            let streams = head.streams.values().filter(|stream| self.selected.contains_key(&stream.known.id));
            streams.for_each(|stream| spans.add(stream.known.id, (stream.earliest, stream.latest)));
        }
        spans
    }

    /// When heads may have the same lines as each other or as segments, as far as it is known without reading any.
    fn shared_with_heads(&self, of_heads: &Spans) -> SharedSpans {
        let mut spans = of_heads.clone();
        for segment in &self.segments {
            let span = (segment.footer.earliest, segment.footer.latest);
            segment.streams.iter().filter(|id| of_heads.has(**id)).for_each(|id| spans.add(*id, span));
        }
        spans.shared()
    }
}

/// The part of a segment that a query is about.
pub(crate) struct Part {
    pub(crate) open: Open,
    /// As long as it is held, its file is not removed.
    _segment: Arc<Segment>,
    /// Streams by their place in the segment's table.
    pub(crate) wanted: HashMap<u32, Arc<Known>>,
    pub(crate) blocks: Vec<BlockMeta>,
}

impl Tenant {
    pub(crate) fn new(inner: Arc<Inner>, name: &str) -> Self {
        Self { inner, name: name.to_owned(), reading: Arc::default(), cancelled: Arc::default() }
    }

    /// Reading goes on only as long as this lives.
    pub(crate) fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(Arc::clone(&self.cancelled))
    }

    /// What its queries took so far.
    pub fn reading(&self) -> Reading {
        *self.reading.lock()
    }

    fn note(&self, note: impl FnOnce(&mut Reading)) {
        note(&mut self.reading.lock());
    }

    /// What there is at one moment. Calls with the heads, while nothing changes.
    pub(crate) fn view(&self, matchers: &[Matcher], mut each: impl FnMut(&View, &Head)) -> View {
        let shared = self.inner.shared.read();
        let view = View {
            flushing: shared.flushing.clone(),
            segments: shared.segments.clone(),
            selected: shared.streams.select(&self.name, matchers),
        };
        each(&view, &shared.head);
        drop(shared);
        if let Some(head) = &view.flushing {
            each(&view, head);
        }
        view
    }

    /// Opens the part of a segment that has some of these streams in a time range, both ends included, in blocks that may
    /// have the needles.
    pub(crate) fn part(
        &self,
        segment: &Arc<Segment>,
        selected: &HashMap<StreamId, Arc<Known>>,
        (earliest, latest): (i64, i64),
        needles: &Needles,
    ) -> Result<Option<Part>, ReadError> {
        if segment.footer.latest < earliest || segment.footer.earliest > latest {
            return Ok(None);
        }
        let wanted: HashMap<u32, Arc<Known>> = (0..)
            .zip(&segment.streams)
            .filter_map(|(place, id)| Some((place, Arc::clone(selected.get(id)?))))
            .collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let open = match segment.open(&*self.inner.disk) {
            Ok(open) => open,
            // Retention may have taken it in the meantime.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let candidates = self.candidates(&open, needles)?;
        self.note(|reading| reading.segments += 1);
        if candidates == 0 {
            return Ok(None);
        }
        let index = match open.index() {
            Ok(index) => index,
            Err(error) if is_damage(&error) => {
                self.inner.damage.tell(error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        self.note(|reading| reading.blocks += index.blocks.len());
        let fits = |block: &BlockMeta| {
            block
                .runs
                .iter()
                .any(|run| wanted.contains_key(&run.stream) && run.latest >= earliest && run.earliest <= latest)
        };
        let blocks = index.blocks.into_iter().enumerate();
        let blocks = blocks.filter(|(at, block)| candidates >> at & 1 == 1 && fits(block));
        let blocks = blocks.map(|(_, block)| block).collect();
        Ok(Some(Part { open, _segment: Arc::clone(segment), wanted, blocks }))
    }

    fn candidates(&self, open: &Open, needles: &Needles) -> Result<u64, ReadError> {
        let mut tell = |what: String| self.inner.damage.tell(what);
        let mut candidates = u64::MAX;
        for needle in needles {
            let mut any = 0;
            for one in &needle.any {
                let mut all = candidates;
                for row in grams::rows(one) {
                    if all == 0 {
                        break;
                    }
                    all &= open.blocks_with(row, &mut tell)?;
                }
                any |= all;
            }
            candidates &= any;
        }
        Ok(candidates)
    }
}

impl Source for Tenant {
    type Error = ReadError;

    fn read(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let Some(latest) = request.end.checked_sub(1).filter(|latest| *latest >= request.start) else { return Ok(()) };
        let range = (request.start, latest);
        let finders = Finders::of(&request.needles);
        let mut twins = Twins::default();
        let mut heads: Option<(Spans, SharedSpans)> = None;
        let mut done = ControlFlow::Continue(());
        let view = self.view(request.matchers, |view, head| {
            let (_, shared) = heads.get_or_insert_with(|| {
                let spans = view.head_spans(head);
                let shared = view.shared_with_heads(&spans);
                (spans, shared)
            });
            if done.is_continue() {
                done = self.read_head(head, view, range, &finders, &mut Given { sink, twins: &mut twins, shared });
            }
        });
        if done.is_break() {
            return Ok(());
        }
        let mut parts = Vec::new();
        for segment in view.segments.iter().rev() {
            parts.extend(self.part(segment, &view.selected, range, &request.needles)?);
        }
        let mut spans = heads.map(|(spans, _)| spans).unwrap_or_default();
        parts.iter().for_each(|part| part.add_spans(&mut spans));
        let shared = spans.shared();
        let given = Given { sink, twins: &mut twins, shared: &shared };
        self.read_parts(&parts, range, request.direction, &finders, given)
    }
}

impl Part {
    /// When its streams have lines, as far as its blocks are read.
    fn add_spans(&self, spans: &mut Spans) {
        let mut own: HashMap<StreamId, (i64, i64)> = HashMap::new();
        for run in self.blocks.iter().flat_map(|block| &block.runs) {
            let Some(known) = self.wanted.get(&run.stream) else { continue };
            let span = own.entry(known.id).or_insert((run.earliest, run.latest));
            *span = (span.0.min(run.earliest), span.1.max(run.latest));
        }
        own.into_iter().for_each(|(stream, span)| spans.add(stream, span));
    }
}

/// Where lines go, each once.
struct Given<'g> {
    sink: &'g mut dyn Sink,
    twins: &'g mut Twins,
    shared: &'g SharedSpans,
}

impl Given<'_> {
    /// `shared` are the spans of the line's stream.
    fn take(&mut self, stream: &Known, shared: &[(i64, i64)], entry: SourceEntry<'_>) -> ControlFlow<()> {
        let again = covers(shared, entry.ts) && !self.twins.is_first(stream.id, entry.ts, entry.line, entry.metadata);
        if again { ControlFlow::Continue(()) } else { self.sink.take(entry) }
    }
}

impl Tenant {
    fn read_head(
        &self,
        head: &Head,
        view: &View,
        (earliest, latest): (i64, i64),
        finders: &Finders,
        given: &mut Given<'_>,
    ) -> ControlFlow<()> {
        for stream in head.streams.values() {
            let fits = stream.latest >= earliest && stream.earliest <= latest;
            if !fits || !view.selected.contains_key(&stream.known.id) {
                continue;
            }
            let shared = given.shared.of(stream.known.id);
            self.note(|reading| reading.text_bytes += stream.text().len() as u64);
            if !finders.find_all(stream.text().as_bytes()) {
                continue;
            }
            for entry in stream.entries().filter(|entry| (earliest..=latest).contains(&entry.ts)) {
                if finders.find_all(entry.line.as_bytes()) {
                    let labels = &stream.known.labels;
                    let entry = SourceEntry { labels, ts: entry.ts, line: entry.line, metadata: entry.metadata };
                    given.take(&stream.known, shared, entry)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn read_parts(
        &self,
        parts: &[Part],
        range: (i64, i64),
        direction: Direction,
        finders: &Finders,
        given: Given<'_>,
    ) -> Result<(), ReadError> {
        let mut work: Vec<Work<'_>> = parts.iter().flat_map(|part| Work::of(part, range)).collect();
        match direction {
            Direction::Forward => work.sort_by_key(|work| work.earliest),
            Direction::Backward => work.sort_by_key(|work| std::cmp::Reverse(work.latest)),
        }
        let reader = Reader {
            tenant: self,
            range,
            finders,
            work: &work,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            shared: given.shared,
            given: Mutex::new(given),
        };
        let threads = self.inner.options.threads.min(work.len());
        if threads < 2 {
            return reader.run();
        }
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| reader.run())).collect();
            running.into_iter().try_for_each(|thread| thread.join().expect("reading does not panic"))
        })
    }
}

/// A block to be read.
struct Work<'p> {
    part: &'p Part,
    block: &'p BlockMeta,
    earliest: i64,
    latest: i64,
}

impl<'p> Work<'p> {
    fn of(part: &'p Part, (from, to): (i64, i64)) -> impl Iterator<Item = Self> {
        part.blocks.iter().map(move |block| {
            let runs = || block.runs.iter().filter(|run| part.wanted.contains_key(&run.stream));
            Work {
                part,
                block,
                earliest: runs().map(|run| run.earliest).min().unwrap_or(from).max(from),
                latest: runs().map(|run| run.latest).max().unwrap_or(to).min(to),
            }
        })
    }
}

/// Several threads that take blocks and look through them; what they find goes to the sink one at a time.
struct Reader<'r, 'g> {
    tenant: &'r Tenant,
    range: (i64, i64),
    finders: &'r Finders,
    work: &'r [Work<'r>],
    next: AtomicUsize,
    stop: AtomicBool,
    shared: &'r SharedSpans,
    given: Mutex<Given<'g>>,
}

impl Reader<'_, '_> {
    fn run(&self) -> Result<(), ReadError> {
        let mut text = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let Some(work) = self.work.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            if self.tenant.cancelled.load(Ordering::Relaxed) {
                return Err(ReadError::Cancelled);
            }
            if !self.given.lock().sink.wants(work.earliest, work.latest) {
                continue;
            }
            match self.block(work, &mut text) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => self.stop.store(true, Ordering::Relaxed),
                Err(ReadError::Disk(error)) if is_damage(&error) => self.tenant.inner.damage.tell(error.to_string()),
                Err(error) => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn block(&self, work: &Work<'_>, text: &mut Vec<u8>) -> Result<ControlFlow<()>, ReadError> {
        let Work { part, block, .. } = work;
        let packed = part.open.text(block, text)?;
        self.tenant.note(|reading| {
            reading.blocks_read += 1;
            reading.compressed_bytes += u64::from(block.text_len) + u64::from(block.columns_len);
            reading.text_bytes += text.len() as u64;
        });
        if !self.finders.find_all(text) {
            return Ok(ControlFlow::Continue(()));
        }
        let columns = part.open.columns(block, &packed, text)?;
        let rows = self.finders.rows(text, &columns);
        let mut given = self.given.lock();
        let mut first = 0;
        for run in &block.runs {
            let own = first..first + run.rows as usize;
            first = own.end;
            let Some(known) = part.wanted.get(&run.stream) else { continue };
            let rows: &mut dyn Iterator<Item = usize> = match &rows {
                None => &mut own.clone(),
                Some(rows) => {
                    let (from, to) =
                        (rows.partition_point(|row| *row < own.start), rows.partition_point(|row| *row < own.end));
                    &mut rows[from..to].iter().copied()
                }
            };
            let shared = self.shared.of(known.id);
            let mut looked_at = 0;
            for row in rows {
                let ts = columns.stamps[row];
                if !(self.range.0..=self.range.1).contains(&ts) {
                    continue;
                }
                let Some(line) = columns.line(text, row) else { continue };
                looked_at += 1;
                let entry = SourceEntry { labels: &known.labels, ts, line, metadata: columns.metadata(row) };
                if given.take(known, shared, entry).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            self.tenant.note(|reading| reading.lines += looked_at);
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Needles, ready to be looked for.
pub(crate) struct Finders(Vec<Vec<Finder<'static>>>);

impl Finders {
    pub(crate) fn of(needles: &[Needle]) -> Self {
        let finder = |one: &Vec<u8>| Finder::new(one).into_owned();
        Self(needles.iter().map(|needle| needle.any.iter().map(finder).collect()).collect())
    }

    /// Whether a text has one of each.
    fn find_all(&self, text: &[u8]) -> bool {
        self.0.iter().all(|any| any.iter().any(|finder| finder.find(text).is_some()))
    }

    /// The rows that have the needle that tells most, in order; `None` for all.
    fn rows(&self, text: &[u8], columns: &Columns) -> Option<Vec<usize>> {
        let shortest = |any: &&Vec<Finder<'_>>| any.iter().map(|finder| finder.needle().len()).min();
        let any = self.0.iter().max_by_key(shortest)?;
        let mut rows = Vec::new();
        for finder in any {
            let mut at = 0;
            while let Some(found) = text.get(at..).and_then(|rest| finder.find(rest)) {
                let row = columns.row_at(at + found);
                rows.push(row);
                // On to the next line.
                at = columns.starts[row + 1] as usize;
            }
        }
        if any.len() > 1 {
            rows.sort_unstable();
            rows.dedup();
        }
        Some(rows)
    }
}
