//! Names and values of labels, and series without their samples.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use coracle_promql::{Labels, Matcher};

use super::{State, Store};
use crate::{
    Exemplar, StoreError, Texts,
    block::{Block, SeriesReader},
    resolve::resolve,
};

/// What looks at one place and at the series there that match.
type EachSource<'a> = dyn FnMut(LabelSource<'_>, Option<&[u32]>) -> Result<(), StoreError> + 'a;

impl Store {
    /// The names of the labels of the series that match any of the sets of matchers (all series when there is none).
    pub fn label_names(&self, sets: &[Vec<Matcher>], start_ms: i64, end_ms: i64) -> Result<Texts, StoreError> {
        let mut names = Texts::default();
        self.each_label_source(sets, start_ms, end_ms, &mut |source, series| {
            let more = match (source, series) {
                (LabelSource::Head(state), None) => {
                    Texts::sorted(state.head.index.names().map(|(name, _)| name).collect())
                }
                (LabelSource::Head(state), Some(slots)) => state.head.index.names_of(slots),
                (LabelSource::Block(block), None) => Texts::sorted(block.label_names().collect()),
                (LabelSource::Block(block), Some(numbers)) => {
                    let mut reader = SeriesReader::new(block);
                    let mut seen = BTreeSet::new();
                    for number in numbers {
                        seen.extend(reader.read(*number)?.pairs.iter().map(|(name, _)| *name));
                    }
                    reader.texts(seen)?
                }
            };
            names = std::mem::take(&mut names).merge(more);
            Ok(())
        })?;
        Ok(names)
    }

    /// The values of a label in the series that match any of the sets of matchers (all series when there is none).
    pub fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Texts, StoreError> {
        let mut values = Texts::default();
        self.each_label_source(sets, start_ms, end_ms, &mut |source, series| {
            let more = match (source, series) {
                (LabelSource::Head(state), None) => state.head.index.all_values(name),
                (LabelSource::Head(state), Some(slots)) => state.head.index.values_of(slots, name),
                (LabelSource::Block(block), None) => block.all_values(name)?,
                (LabelSource::Block(block), Some(numbers)) => block.values_of(numbers, name)?,
            };
            values = std::mem::take(&mut values).merge(more);
            Ok(())
        })?;
        Ok(values)
    }

    /// The labels of the series that match any of the sets of matchers, in order, each once.
    pub fn series_labels(&self, sets: &[Vec<Matcher>], start_ms: i64, end_ms: i64) -> Result<Vec<Labels>, StoreError> {
        let mut found = Vec::new();
        self.each_label_source(sets, start_ms, end_ms, &mut |source, series| {
            let numbers = series.unwrap_or_default();
            found.reserve(numbers.len());
            match source {
                LabelSource::Head(state) => found.extend(numbers.iter().map(|slot| state.head.index.labels(*slot))),
                LabelSource::Block(block) => {
                    let mut reader = SeriesReader::new(block);
                    for number in numbers {
                        let series = reader.read(*number)?;
                        if series.chunks.iter().any(|chunk| chunk.first_ms <= end_ms && chunk.last_ms >= start_ms) {
                            found.push(reader.labels(&series)?);
                        }
                    }
                }
            }
            Ok(())
        })?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The exemplars of the series that match any of the sets of matchers, oldest first.
    pub fn exemplars(&self, sets: &[Vec<Matcher>], start_ms: i64, end_ms: i64) -> Vec<(Labels, Vec<Exemplar>)> {
        let state = self.0.state.read();
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for (_, labels, exemplar) in state.exemplars.iter() {
            let matches = |set: &Vec<Matcher>| set.iter().all(|matcher| matcher.matches(labels.value(&matcher.name)));
            if (start_ms..=end_ms).contains(&exemplar.time_ms) && sets.iter().any(matches) {
                found.entry(labels.clone()).or_default().push(exemplar.clone());
            }
        }
        found.into_iter().collect()
    }

    /// Shows each place that has series of the time, with those that match (`None` for all of them).
    fn each_label_source(
        &self,
        sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
        each: &mut EachSource<'_>,
    ) -> Result<(), StoreError> {
        let state = self.0.state.read();
        if state.head.oldest_ms <= end_ms && state.head.newest_ms >= start_ms {
            if sets.is_empty() {
                each(LabelSource::Head(&state), None)?;
            }
            for set in sets {
                let mut slots = resolve(&state.head.index, set)?;
                slots.retain(|slot| state.head.has_samples(*slot, start_ms, end_ms));
                each(LabelSource::Head(&state), Some(&slots))?;
            }
        }
        let blocks: Vec<_> =
            state.blocks.iter().filter(|block| block.overlaps(start_ms, end_ms)).map(Arc::clone).collect();
        drop(state);
        for block in blocks {
            if sets.is_empty() {
                each(LabelSource::Block(&block), None)?;
            }
            for set in sets {
                each(LabelSource::Block(&block), Some(&resolve(&*block, set)?))?;
            }
        }
        Ok(())
    }
}

/// A place that knows labels.
enum LabelSource<'a> {
    Head(&'a State),
    Block(&'a Block),
}
