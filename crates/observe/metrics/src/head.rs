//! Recent series in memory: their labels, indexed, and the chunks that still grow. Full chunks are spilled to disk; what
//! remains of them here is a place.

mod append;
mod collect;
mod index;
mod labeller;
mod rebuild;

use std::{collections::BTreeMap, io, sync::Arc};

use coracle_disk::Disk;
use hashbrown::HashMap;

pub(crate) use append::Staged;
pub(crate) use collect::Wanted;
pub(crate) use index::LabelIndex;
pub(crate) use labeller::Labeller;

use crate::{
    codec::{ChunkKind, histograms::OpenHistograms, open::OpenFloats},
    options::Options,
    parts::Deleted,
    sample::Value,
    spill::{ChunkRef, Spill},
};

/// Out-of-order samples of a series wait in memory until there are so many.
const LOOSE_MAX: usize = 64;
/// Floats that do not compress make a chunk full before it has all its samples.
const OPEN_BYTES_MAX: usize = 2048;

/// A NaN that nobody sends, for a sample of which only the time is known: whatever comes again is taken for the same.
const UNKNOWN_BITS: u64 = u64::MAX;

/// A chunk that grows.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Floats(OpenFloats),
    Histograms(Box<OpenHistograms>),
}

impl Open {
    fn kind(&self) -> ChunkKind {
        match self {
            Self::Histograms(_) => ChunkKind::Histograms,
            _ => ChunkKind::OpenFloats,
        }
    }

    fn count(&self) -> u16 {
        match self {
            Self::Nothing => 0,
            Self::Floats(chunk) => chunk.count(),
            Self::Histograms(chunk) => chunk.count(),
        }
    }

    /// First and last time.
    fn span(&self) -> Option<(i64, i64)> {
        match self {
            Self::Nothing => None,
            Self::Floats(chunk) => Some((chunk.first_ms(), chunk.last_ms())),
            Self::Histograms(chunk) => Some((chunk.first_ms(), chunk.last_ms())),
        }
    }

    /// The last sample, if it is a float.
    fn newest_float(&self) -> Option<(i64, f64)> {
        match self {
            Self::Floats(chunk) => Some((chunk.last_ms(), chunk.last_value())),
            _ => None,
        }
    }

    fn len_bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Floats(chunk) => chunk.len_bytes(),
            Self::Histograms(chunk) => chunk.len_bytes(),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Floats(chunk) => chunk.heap_bytes(),
            Self::Histograms(chunk) => chunk.heap_bytes(),
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::Nothing => {}
            Self::Floats(chunk) => chunk.encode(into),
            Self::Histograms(chunk) => chunk.encode(into),
        }
    }
}

/// A series that is, or lately was, written to.
#[derive(Debug)]
struct MemSeries {
    /// Its number in files: never used twice in a store.
    id: u64,
    hash: u64,
    /// The newest sample in order; `i64::MIN` when there is none.
    newest_ms: i64,
    /// What tells whether a sample that comes again is the same; [`UNKNOWN_BITS`] where that was not kept.
    newest_bits: u64,
    open: Open,
    spilled: Vec<ChunkRef>,
}

pub(crate) struct Head {
    disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) index: LabelIndex,
    series: Vec<MemSeries>,
    /// Samples that came out of order and wait for a chunk, by series.
    loose: HashMap<u32, Vec<(i64, Value)>>,
    pub(crate) deleted: HashMap<u32, Deleted>,
    /// By the start of the stretch of time they cover.
    pub(crate) spills: BTreeMap<i64, Spill>,
    /// The newest sample of all; `i64::MIN` when there is none.
    pub(crate) newest_ms: i64,
    /// The oldest that is here and not in a block; `i64::MAX` when there is none.
    pub(crate) oldest_ms: i64,
    /// The end of the newest stretch that became a block since the store was opened.
    pub(crate) flushed_until_ms: i64,
    /// What the names of new chunk files end with.
    pub(crate) spill_number: u64,
    next_id: u64,
    open_heap_bytes: usize,
    /// How many series and symbols the series log knows.
    pub(crate) logged: (u32, u32),
    pub(crate) samples_taken: u64,
    scratch: Vec<u8>,
}

/// A name that is used once: the number grows between a file's removal and the next one for the same stretch.
pub(crate) fn spill_name(start_ms: i64, number: u64) -> String {
    format!("chunks-{start_ms}.{number}")
}

impl Head {
    pub(crate) fn new(disk: Arc<dyn Disk>, options: Options) -> Self {
        Self {
            disk,
            options,
            index: LabelIndex::default(),
            series: Vec::new(),
            loose: HashMap::new(),
            deleted: HashMap::new(),
            spills: BTreeMap::new(),
            newest_ms: i64::MIN,
            oldest_ms: i64::MAX,
            flushed_until_ms: i64::MIN,
            spill_number: 0,
            next_id: 1,
            open_heap_bytes: 0,
            logged: (0, 0),
            samples_taken: 0,
            scratch: Vec::new(),
        }
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn chunks_count(&self) -> usize {
        let of = |series: &MemSeries| series.spilled.len() + usize::from(series.open.count() > 0);
        self.series.iter().map(of).sum()
    }

    pub(crate) fn id(&self, slot: u32) -> u64 {
        self.series[slot as usize].id
    }

    pub(crate) fn label_pairs(&self, slot: u32) -> &[(u32, u32)] {
        self.index.pairs_of(slot)
    }

    /// The start of the stretch of time that becomes one block.
    pub(crate) fn range_start(&self, time_ms: i64) -> i64 {
        let range_ms = self.options.block_range_ms;
        time_ms.div_euclid(range_ms).saturating_mul(range_ms)
    }

    fn spill_mut(&mut self, start_ms: i64) -> &mut Spill {
        let (disk, number) = (&self.disk, self.spill_number);
        self.spills.entry(start_ms).or_insert_with(|| Spill::new(Arc::clone(disk), spill_name(start_ms, number)))
    }

    /// Makes the chunk of a series that grows a spilled one.
    fn seal(&mut self, slot: u32) {
        let series = &mut self.series[slot as usize];
        let Some(span) = series.open.span() else { return };
        let open = std::mem::take(&mut series.open);
        self.open_heap_bytes -= open.heap_bytes();
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        open.encode(&mut bytes);
        self.spill_chunk(slot, open.kind(), false, span, &bytes);
        self.scratch = bytes;
    }

    fn spill_chunk(&mut self, slot: u32, kind: ChunkKind, out_of_order: bool, span: (i64, i64), bytes: &[u8]) {
        let id = self.series[slot as usize].id;
        let start_ms = self.range_start(span.0);
        let spill = self.spill_mut(start_ms);
        let chunk = spill.push(id, kind, out_of_order, span, bytes);
        if let Err(error) = spill.write_if_full() {
            // The samples are in the log; the next append is refused until the disk takes chunks again.
            tracing::warn!(%error, file = spill.name, "chunks wait in memory");
        }
        self.series[slot as usize].spilled.push(chunk);
    }

    /// Makes the samples of a series that came out of order chunks, one for each stretch of time and kind.
    fn seal_loose(&mut self, slot: u32) {
        let Some(samples) = self.loose.remove(&slot) else { return };
        let range_of = |sample: &(i64, Value)| (self.range_start(sample.0), matches!(sample.1, Value::Float(_)));
        let groups: Vec<&[(i64, Value)]> = samples.chunk_by(|one, other| range_of(one) == range_of(other)).collect();
        for group in groups {
            let mut open = Open::default();
            group.iter().for_each(|(time_ms, value)| push(&mut open, *time_ms, value));
            let mut bytes = Vec::new();
            open.encode(&mut bytes);
            self.spill_chunk(slot, open.kind(), true, open.span().expect("groups are not empty"), &bytes);
        }
    }

    /// Makes everything a spilled chunk, and writes it.
    pub(crate) fn spill_all(&mut self) -> io::Result<()> {
        for slot in 0..self.series.len() as u32 {
            self.seal(slot);
        }
        let mut loose: Vec<u32> = self.loose.keys().copied().collect();
        loose.sort_unstable();
        for slot in loose {
            self.seal_loose(slot);
        }
        self.write_spills()
    }

    pub(crate) fn write_spills(&mut self) -> io::Result<()> {
        self.spills.values_mut().try_for_each(Spill::write)
    }

    /// Writes chunks that have waited for the disk too long.
    pub(crate) fn write_overdue(&mut self) -> io::Result<()> {
        self.spills.values_mut().filter(|spill| spill.is_overdue()).try_for_each(Spill::write)
    }

    /// Series get numbers above this one.
    pub(crate) fn skip_ids(&mut self, id: u64) {
        self.next_id = self.next_id.max(id + 1);
    }

    /// What series and open chunks take in memory, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        let spills: usize = self.spills.values().map(Spill::heap_bytes).sum();
        let series = self.series.capacity() * size_of::<MemSeries>();
        series + self.index.heap_bytes() + self.open_heap_bytes + spills
    }

    /// A series of the log of series, with the number it has there.
    pub(crate) fn restore_series(&mut self, id: u64, pairs: &[(u32, u32)], hash: u64) -> u32 {
        self.next_id = self.next_id.max(id + 1);
        self.insert(id, pairs, hash)
    }

    fn insert(&mut self, id: u64, pairs: &[(u32, u32)], hash: u64) -> u32 {
        let slot = self.series.len() as u32;
        self.index.insert(slot, pairs, hash);
        self.series.push(MemSeries {
            id,
            hash,
            newest_ms: i64::MIN,
            newest_bits: 0,
            open: Open::Nothing,
            spilled: Vec::new(),
        });
        slot
    }

    /// A chunk that was found in a file.
    pub(crate) fn restore_chunk(&mut self, slot: u32, chunk: ChunkRef) {
        let series = &mut self.series[slot as usize];
        series.spilled.push(chunk);
        if !chunk.out_of_order && chunk.last_ms > series.newest_ms {
            (series.newest_ms, series.newest_bits) = (chunk.last_ms, UNKNOWN_BITS);
        }
        self.newest_ms = self.newest_ms.max(chunk.last_ms);
        self.oldest_ms = self.oldest_ms.min(chunk.first_ms);
    }

    /// A sample of the log, unless a chunk has it already.
    pub(crate) fn restore_sample(&mut self, slot: u32, time_ms: i64, out_of_order: bool, value: &Value) {
        let series = &mut self.series[slot as usize];
        let covers = |chunk: &ChunkRef| !chunk.out_of_order && (chunk.first_ms..=chunk.last_ms).contains(&time_ms);
        if !out_of_order && (time_ms == series.newest_ms || series.spilled.iter().rev().any(covers)) {
            if time_ms == series.newest_ms {
                series.newest_bits = append::bits_of(value);
            }
            return;
        }
        let out_of_order = out_of_order || time_ms < series.newest_ms;
        if !out_of_order {
            (series.newest_ms, series.newest_bits) = (time_ms, append::bits_of(value));
        }
        self.apply(&Staged { slot, time_ms, value: value.clone(), out_of_order, before: None });
    }

    /// Removes what a block has taken up: chunks of `start_ms` below `len`. Returns whether the whole stretch is gone.
    pub(crate) fn forget_spilled(&mut self, start_ms: i64, len: u64) -> bool {
        let (range_ms, all) =
            (self.options.block_range_ms, self.spills.get(&start_ms).map(Spill::len_bytes) == Some(len));
        let taken = |chunk: &ChunkRef| chunk.first_ms.div_euclid(range_ms) * range_ms == start_ms && chunk.offset < len;
        for series in &mut self.series {
            series.spilled.retain(|chunk| !taken(chunk));
            if series.spilled.is_empty() {
                series.spilled = Vec::new();
            }
        }
        self.flushed_until_ms = self.flushed_until_ms.max(start_ms + range_ms);
        if all {
            self.spills.remove(&start_ms);
            self.deleted.retain(|_, deleted| {
                deleted.retain(|(_, end_ms)| *end_ms >= start_ms + range_ms);
                !deleted.is_empty()
            });
        }
        let oldest_open =
            self.series.iter().filter_map(|series| series.open.span()).map(|(first_ms, _)| first_ms).min();
        let oldest_spilled = self.spills.keys().next().copied();
        self.oldest_ms = [oldest_open, oldest_spilled].into_iter().flatten().min().unwrap_or(i64::MAX);
        all
    }
}

fn push(open: &mut Open, time_ms: i64, value: &Value) {
    match (value, &mut *open) {
        (Value::Float(value), Open::Floats(chunk)) => chunk.push(time_ms, *value),
        (Value::Histogram(value), Open::Histograms(chunk)) => chunk.push(time_ms, value),
        (Value::Float(value), _) => {
            let mut chunk = OpenFloats::default();
            chunk.push(time_ms, *value);
            *open = Open::Floats(chunk);
        }
        (Value::Histogram(value), _) => {
            let mut chunk = Box::new(OpenHistograms::default());
            chunk.push(time_ms, value);
            *open = Open::Histograms(chunk);
        }
    }
}
