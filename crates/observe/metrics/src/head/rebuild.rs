//! Dropping series that are no longer written to, and the texts only they had.

use hashbrown::HashMap;

use super::{Head, LabelIndex, MemSeries, Open};

/// Fewer dead series than this are not worth the work.
const DEAD_MIN: usize = 1000;

/// An index of the series that stay, ready to take the old one's place.
pub(crate) struct Rebuilt {
    pub(crate) index: LabelIndex,
    /// Old slots in the order of the new ones.
    pub(crate) kept: Vec<u32>,
}

impl Head {
    /// Whether so many series have nothing in memory or in chunk files that they should go.
    pub(crate) fn wants_rebuild(&self) -> bool {
        let dead = (0..self.series.len()).filter(|slot| !self.is_alive(*slot as u32)).count();
        dead >= DEAD_MIN && dead * 4 > self.series.len()
    }

    fn is_alive(&self, slot: u32) -> bool {
        let series = &self.series[slot as usize];
        !matches!(series.open, Open::Nothing) || !series.spilled.is_empty() || self.loose.contains_key(&slot)
    }

    /// An index of the series that are alive.
    pub(crate) fn rebuilt(&self) -> Rebuilt {
        let mut index = LabelIndex::default();
        let mut symbols: Vec<Option<u32>> = vec![None; self.index.symbols.len() as usize];
        let mut kept = Vec::new();
        let mut pairs = Vec::new();
        for slot in (0..self.series.len() as u32).filter(|slot| self.is_alive(*slot)) {
            pairs.clear();
            for (name, value) in self.label_pairs(slot) {
                let mut moved = |symbol: u32| {
                    *symbols[symbol as usize]
                        .get_or_insert_with(|| index.symbols.intern(self.index.symbols.get(symbol)))
                };
                pairs.push((moved(*name), moved(*value)));
            }
            index.insert(kept.len() as u32, &pairs, self.series[slot as usize].hash);
            kept.push(slot);
        }
        Rebuilt { index, kept }
    }

    /// Takes up a rebuilt index.
    pub(crate) fn adopt(&mut self, rebuilt: Rebuilt) {
        let Rebuilt { index, kept } = rebuilt;
        let mut old: Vec<Option<MemSeries>> = std::mem::take(&mut self.series).into_iter().map(Some).collect();
        let (mut loose, mut deleted) = (HashMap::new(), HashMap::new());
        self.series = Vec::with_capacity(kept.len());
        for (slot, old_slot) in (0..).zip(kept) {
            self.series.push(old[old_slot as usize].take().expect("a slot is kept once"));
            if let Some(samples) = self.loose.remove(&old_slot) {
                loose.insert(slot, samples);
            }
            if let Some(ranges) = self.deleted.remove(&old_slot) {
                deleted.insert(slot, ranges);
            }
        }
        (self.index, self.loose, self.deleted) = (index, loose, deleted);
        self.logged = (0, 0);
    }
}
