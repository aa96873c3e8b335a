//! Everything, as it was at one revision.

use std::{ops::Bound, sync::Arc};

use imbl::OrdSet;

use crate::{
    record::{Entry, Record},
    watch::Compacted,
};

/// The objects at one revision. Cheap to clone, never changes, blocks nobody.
#[derive(Clone)]
pub struct Snapshot(pub(crate) Arc<State>);

/// What a snapshot shares.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) revision: u64,
    pub(crate) objects: OrdSet<Entry>,
}

impl Snapshot {
    pub(crate) fn new(revision: u64, objects: OrdSet<Entry>) -> Self {
        Self(Arc::new(State { revision, objects }))
    }

    /// The revision this is the state of.
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// The object under `key`.
    pub fn get(&self, key: &str) -> Option<Arc<Record>> {
        self.0.objects.get(key.as_bytes()).map(|entry| Arc::clone(&entry.0))
    }

    /// All objects whose keys start with `prefix`, in the order of their keys.
    pub fn list(&self, prefix: &str) -> impl Iterator<Item = &Arc<Record>> {
        self.range(prefix, None)
    }

    /// The same, from the first key after `after`: the next page of a list.
    pub fn list_after(&self, prefix: &str, after: &str) -> impl Iterator<Item = &Arc<Record>> {
        self.range(prefix, Some(after))
    }

    /// How many objects have keys that start with `prefix`.
    pub fn count(&self, prefix: &str) -> usize {
        self.list(prefix).count()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.objects.is_empty()
    }

    fn range(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = &Arc<Record>> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.as_bytes()),
            _ => Bound::Included(prefix.as_bytes()),
        };
        let prefix = prefix.to_owned();
        self.0
            .objects
            .range::<_, [u8]>((start, Bound::Unbounded))
            .map(|entry| &entry.0)
            .take_while(move |record| record.key_bytes().starts_with(prefix.as_bytes()))
    }
}

/// Why there is no snapshot at a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// It is too old.
    #[error(transparent)]
    Compacted(#[from] Compacted),
    /// The store has not come to it yet.
    #[error("revision {asked} is in the future: the store is at {current}")]
    Future {
        /// The revision asked for.
        asked: u64,
        /// The store's own.
        current: u64,
    },
}
