//! Lines that are there twice: pushed again after their first copy went into a segment. Within one head or segment there
//! are none, so only moments at which a stream has lines in several places need a second look.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use crate::streams::StreamId;

/// Lines that are remembered at once; beyond that, those that the reader left behind longest ago are forgotten.
const MAX_REMEMBERED: usize = 500_000;

type Span = (i64, i64);

/// From when to when streams have lines, for each place that has some. Both ends are included.
#[derive(Debug, Default, Clone)]
pub(crate) struct Spans(HashMap<StreamId, Vec<Span>>);

impl Spans {
    pub(crate) fn add(&mut self, stream: StreamId, span: Span) {
        self.0.entry(stream).or_default().push(span);
    }

    pub(crate) fn has(&self, stream: StreamId) -> bool {
        self.0.contains_key(&stream)
    }

    /// Where at least two places have lines.
    pub(crate) fn shared(self) -> SharedSpans {
        let shared = self.0.into_iter().map(|(stream, spans)| (stream, overlaps(spans)));
        SharedSpans(shared.filter(|(_, spans)| !spans.is_empty()).collect())
    }
}

/// In order, and apart from each other.
fn overlaps(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut shared: Vec<Span> = Vec::new();
    let mut reached: Option<i64> = None;
    for (earliest, latest) in spans {
        if let Some(reached) = reached.filter(|reached| earliest <= *reached) {
            let end = latest.min(reached);
            match shared.last_mut() {
                Some(last) if earliest <= last.1 => last.1 = last.1.max(end),
                _ => shared.push((earliest, end)),
            }
        }
        reached = reached.max(Some(latest));
    }
    shared
}

/// When streams have lines in several places.
#[derive(Debug, Default)]
pub(crate) struct SharedSpans(HashMap<StreamId, Vec<Span>>);

impl SharedSpans {
    pub(crate) fn of(&self, stream: StreamId) -> &[Span] {
        self.0.get(&stream).map_or(&[], Vec::as_slice)
    }
}

/// Whether a moment is in one of some spans.
pub(crate) fn covers(spans: &[Span], ts: i64) -> bool {
    let at = spans.partition_point(|(_, latest)| *latest < ts);
    spans.get(at).is_some_and(|(earliest, _)| *earliest <= ts)
}

/// The lines that were given out already, at moments where they could come again.
#[derive(Default)]
pub(crate) struct Twins {
    /// By their moment, and a hash of the rest.
    recent: HashSet<(i64, u64)>,
    older: HashSet<(i64, u64)>,
    state: RandomState,
}

impl Twins {
    /// Whether a line was not given out before.
    pub(crate) fn is_first(&mut self, stream: StreamId, ts: i64, line: &str, metadata: &[(String, String)]) -> bool {
        let key = (ts, self.state.hash_one((stream, line, metadata)));
        let first = !self.older.contains(&key) && self.recent.insert(key);
        // The reader goes through time, so that what came long ago is far away.
        if self.recent.len() > MAX_REMEMBERED / 2 {
            self.older = std::mem::take(&mut self.recent);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_spans_overlap() {
        let check = |spans: &[Span], expected: &[Span]| assert_eq!(overlaps(spans.to_vec()), expected, "{spans:?}");
        check(&[(0, 5), (6, 9)], &[]);
        check(&[(0, 5), (5, 9)], &[(5, 5)]);
        check(&[(0, 10), (2, 3), (5, 12)], &[(2, 3), (5, 10)]);
        check(&[(0, 10), (0, 10), (4, 20), (15, 16)], &[(0, 10), (15, 16)]);
        assert!(covers(&[(2, 3), (5, 10)], 5) && covers(&[(2, 3), (5, 10)], 3));
        assert!(!covers(&[(2, 3), (5, 10)], 4) && !covers(&[(2, 3), (5, 10)], 11));
    }

    #[test]
    fn the_second_of_twins_is_told_from_the_first() {
        let mut twins = Twins::default();
        assert!(twins.is_first(1, 7, "a", &[]));
        assert!(twins.is_first(2, 7, "a", &[]) && twins.is_first(1, 8, "a", &[]) && twins.is_first(1, 7, "b", &[]));
        assert!(twins.is_first(1, 7, "a", &[("k".to_owned(), "v".to_owned())]));
        assert!(!twins.is_first(1, 7, "a", &[]));
    }
}
