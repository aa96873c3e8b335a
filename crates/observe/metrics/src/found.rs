//! Series that a query selected, with where their samples are: a few large pieces of memory for all of them together.

use coracle_promql::{Columns, Labels, SeriesSet, StorageError};
use hashbrown::HashMap;

use crate::{
    StoreError,
    parts::{self, Deleted, Part},
};

#[derive(Default)]
pub(crate) struct Found {
    labels: Vec<Labels>,
    /// Of all series, one after the other.
    parts: Vec<Part>,
    /// Where the parts of each series end.
    ends: Vec<u32>,
    deleted: HashMap<u32, Deleted>,
    /// The series as they are to be shown, if not as they lie here.
    order: Option<Vec<u32>>,
}

impl Found {
    /// Room for so many more.
    pub(crate) fn reserve(&mut self, series: usize) {
        self.labels.reserve_exact(series);
        self.parts.reserve_exact(series);
        self.ends.reserve_exact(series);
    }

    /// Adds a part of the series that comes next, which [`Found::finish`] gives its labels.
    pub(crate) fn push(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Whether the series that comes next has any parts yet.
    pub(crate) fn has_begun(&self) -> bool {
        self.ends.last().map_or(0, |end| *end as usize) < self.parts.len()
    }

    pub(crate) fn finish(&mut self, labels: Labels, deleted: Option<&Deleted>) {
        if let Some(deleted) = deleted.filter(|deleted| !deleted.is_empty()) {
            self.deleted.insert(self.labels.len() as u32, deleted.clone());
        }
        self.labels.push(labels);
        self.ends
            .push(u32::try_from(self.parts.len()).expect("four thousand million parts need more memory than there is"));
    }

    pub(crate) fn len(&self) -> usize {
        self.order.as_ref().map_or(self.labels.len(), Vec::len)
    }

    pub(crate) fn labels(&self, at: usize) -> &Labels {
        &self.labels[self.place(at)]
    }

    /// Appends a series' samples in `start_ms..=end_ms`.
    pub(crate) fn read(&self, at: usize, start_ms: i64, end_ms: i64, into: &mut Columns) -> Result<(), StoreError> {
        let place = self.place(at);
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        let parts = &self.parts[start as usize..self.ends[place] as usize];
        let deleted = self.deleted.get(&(place as u32)).map_or(&[][..], Vec::as_slice);
        parts::read(parts, deleted, start_ms, end_ms, into)
    }

    /// Shows the series in the order of their labels.
    pub(crate) fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.labels.len() as u32).collect();
        order.sort_unstable_by(|one, other| self.labels[*one as usize].cmp(&self.labels[*other as usize]));
        self.order = Some(order);
    }

    /// Shows no more than `limit` series.
    pub(crate) fn truncate(&mut self, limit: usize) {
        let all = self.labels.len() as u32;
        self.order.get_or_insert_with(|| (0..all).collect()).truncate(limit);
    }

    /// With what another place has of the same series.
    pub(crate) fn merge(self, others: Vec<Found>) -> Found {
        if others.iter().all(|other| other.labels.is_empty()) {
            return self;
        }
        let mut merged = Merge::default();
        merged.add(self);
        others.into_iter().for_each(|other| merged.add(other));
        merged.finish()
    }

    fn place(&self, at: usize) -> usize {
        self.order.as_ref().map_or(at, |order| order[at] as usize)
    }
}

impl SeriesSet for Found {
    fn len(&self) -> usize {
        self.len()
    }

    fn labels(&self, at: usize) -> &Labels {
        self.labels(at)
    }

    fn read(&self, at: usize, start_ms: i64, end_ms: i64, columns: &mut Columns) -> Result<(), StorageError> {
        Ok(self.read(at, start_ms, end_ms, columns)?)
    }
}

/// Puts together what several places have of a series, in the order in which series come up.
#[derive(Default)]
struct Merge {
    numbers: HashMap<Labels, u32>,
    labels: Vec<Labels>,
    parts: Vec<(u32, Part)>,
    deleted: HashMap<u32, Deleted>,
}

impl Merge {
    fn add(&mut self, found: Found) {
        let mut parts = found.parts.into_iter();
        let mut start = 0;
        for (place, (labels, end)) in found.labels.into_iter().zip(found.ends).enumerate() {
            let number = *self.numbers.entry(labels).or_insert_with_key(|labels| {
                self.labels.push(labels.clone());
                self.labels.len() as u32 - 1
            });
            self.parts.extend(parts.by_ref().take((end - start) as usize).map(|part| (number, part)));
            if let Some(deleted) = found.deleted.get(&(place as u32)) {
                self.deleted.entry(number).or_default().extend(deleted);
            }
            start = end;
        }
    }

    fn finish(mut self) -> Found {
        // Stable: of parts that begin together, the one that was found first wins.
        self.parts.sort_by_key(|(number, part)| (*number, part.first_ms));
        let mut ends = vec![0; self.labels.len()];
        self.parts.iter().enumerate().for_each(|(at, (number, _))| ends[*number as usize] = at as u32 + 1);
        let parts = self.parts.into_iter().map(|(_, part)| part).collect();
        Found { labels: self.labels, parts, ends, deleted: self.deleted, order: None }
    }
}
