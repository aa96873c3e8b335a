//! The exemplars of late, and what is known about metrics: small, in memory, and in the log.

use std::collections::{BTreeMap, HashMap, VecDeque};

use coracle_promql::Labels;

use crate::sample::{Exemplar, Metadata};

/// The newest exemplars; the oldest goes when there are too many. Those of a series ascend in time.
#[derive(Debug, Default)]
pub(crate) struct Exemplars {
    kept: VecDeque<(u64, Labels, Exemplar)>,
    newest_ms: HashMap<u64, i64>,
}

impl Exemplars {
    /// Whether one of this time comes after those its series has.
    pub(crate) fn wants(&self, id: u64, time_ms: i64) -> bool {
        self.newest_ms.get(&id).is_none_or(|newest_ms| time_ms > *newest_ms)
    }

    pub(crate) fn push(&mut self, id: u64, labels: Labels, exemplar: Exemplar, max: usize) {
        self.newest_ms.insert(id, exemplar.time_ms);
        self.kept.push_back((id, labels, exemplar));
        while self.kept.len() > max {
            let Some((id, _, oldest)) = self.kept.pop_front() else { return };
            if self.newest_ms.get(&id) == Some(&oldest.time_ms) {
                self.newest_ms.remove(&id);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Labels, &Exemplar)> {
        self.kept.iter().map(|(id, labels, exemplar)| (*id, labels, exemplar))
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }
}

/// What is known about metrics, by name.
pub(crate) type MetadataMap = BTreeMap<String, Metadata>;
