//! Watching: one ring of events a topic, shared by all its watchers, each of which is only a cursor into it.
//!
//! A watcher that falls behind the ring's end is told so ([`Compacted`]) and lists again; it never holds anybody up.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    record::{Entry, Record},
    snapshot::{RevisionError, Snapshot, State},
};

/// The most events a watcher is given at once.
const BATCH_MAX_EVENTS: usize = 256;
/// What an event costs beside the bytes of the version it keeps alive.
const EVENT_COST_BYTES: usize = 200;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was not there before.
    Created,
    /// It was.
    Updated,
    /// It is gone.
    Deleted,
}

/// One change of one object, shared by all who watch it.
#[derive(Debug)]
pub struct Event {
    /// The version that was written; for a deletion, the object's last word, at the revision of the deletion.
    pub record: Arc<Record>,
    /// The version before, so that a selector can tell who left its sight.
    pub previous: Option<Arc<Record>>,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// The revision of the change.
    pub fn revision(&self) -> u64 {
        self.record.revision()
    }

    /// What the ring keeps alive for this event alone: versions that no snapshot of the present holds.
    fn cost_bytes(&self) -> usize {
        let gone = if self.kind == EventKind::Deleted { self.record.body().len() } else { 0 };
        EVENT_COST_BYTES + gone + self.previous.as_ref().map_or(0, |previous| previous.body().len())
    }
}

/// The history does not reach back that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("revision {asked} is too old: the history starts after {oldest}")]
pub struct Compacted {
    /// The revision asked for.
    pub asked: u64,
    /// The oldest revision one can still start from.
    pub oldest: u64,
}

/// Why a watch cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It asks for what is forgotten.
    #[error(transparent)]
    Compacted(#[from] Compacted),
    /// It does not name a topic.
    #[error("{0:?} does not start with /GROUP/RESOURCE/")]
    Prefix(String),
}

/// Bounds of one topic's history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// All topics, and the state up to which they have been told everything.
pub(crate) struct Topics {
    bounds: Bounds,
    /// No topic knows events up to this revision: the history that was on disk starts after it.
    oldest: u64,
    by_name: RwLock<HashMap<Box<[u8]>, Arc<Topic>>>,
    announced: ArcSwap<State>,
}

struct Topic {
    ring: RwLock<Ring>,
    /// The topic's newest revision.
    newest: watch::Sender<u64>,
}

struct Ring {
    /// The newest revision that is forgotten.
    oldest: u64,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, event: Arc<Event>, bounds: Bounds) {
        self.bytes += event.cost_bytes();
        self.events.push_back(event);
        while self.events.len() > bounds.events || (self.bytes > bounds.bytes && self.events.len() > 1) {
            let Some(forgotten) = self.events.pop_front() else { return };
            self.bytes -= forgotten.cost_bytes();
            self.oldest = forgotten.revision();
        }
    }

    fn remembers(&self, revision: u64) -> Result<(), Compacted> {
        if revision < self.oldest { Err(Compacted { asked: revision, oldest: self.oldest }) } else { Ok(()) }
    }

    /// The events after a revision, or the fact that some of them are forgotten.
    fn after(&self, revision: u64) -> Result<impl DoubleEndedIterator<Item = &Arc<Event>>, Compacted> {
        self.remembers(revision)?;
        let start = self.events.partition_point(|event| event.revision() <= revision);
        Ok(self.events.range(start..))
    }
}

impl Topics {
    pub(crate) fn new(bounds: Bounds, oldest: u64, state: &Snapshot) -> Self {
        let announced = ArcSwap::new(Arc::clone(&state.0));
        Self { bounds, oldest, by_name: RwLock::default(), announced }
    }

    /// Adds events to the topics and wakes their watchers; `state` is the state after them. Called by the writer alone.
    pub(crate) fn announce(&self, events: Vec<Arc<Event>>, state: &Snapshot) {
        let mut touched: Vec<Arc<Topic>> = Vec::new();
        let mut events = events.into_iter().peekable();
        while let Some(first) = events.next() {
            let name = topic_name(first.record.key_bytes()).expect("keys are checked to name a topic").to_owned();
            let topic = self.topic(&name);
            let mut ring = topic.ring.write();
            ring.push(first, self.bounds);
            while let Some(next) = events.next_if(|next| next.record.key_bytes().starts_with(&name)) {
                ring.push(next, self.bounds);
            }
            drop(ring);
            touched.push(topic);
        }
        self.announced.store(Arc::clone(&state.0));
        for topic in touched {
            topic.newest.send_replace(state.revision());
        }
    }

    /// Everything under `prefix` as it was at `revision`, by undoing the topic's events since.
    pub(crate) fn rewind(&self, prefix: &str, revision: u64) -> Result<Snapshot, RevisionError> {
        let announced = self.announced.load_full();
        if revision >= announced.revision {
            return if revision == announced.revision {
                Ok(Snapshot(announced))
            } else {
                Err(RevisionError::Future { asked: revision, current: announced.revision })
            };
        }
        let Some(name) = topic_name(prefix.as_bytes()) else {
            return Err(Compacted { asked: revision, oldest: announced.revision }.into());
        };
        let topic = self.topic(name);
        let ring = topic.ring.read();
        let mut objects = announced.objects.clone();
        let done = |event: &&Arc<Event>| event.revision() <= announced.revision;
        for event in ring.after(revision)?.filter(done).rev() {
            match &event.previous {
                Some(previous) => objects.insert(Entry(Arc::clone(previous))),
                None => objects.remove(event.record.key_bytes()),
            };
        }
        Ok(Snapshot::new(revision, objects))
    }

    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: u64) -> Result<Watcher, WatchError> {
        let name = topic_name(prefix.as_bytes()).ok_or_else(|| WatchError::Prefix(prefix.to_owned()))?;
        let topic = self.topic(name);
        topic.ring.read().remembers(after)?;
        let newest = topic.newest.subscribe();
        Ok(Watcher { topics: Arc::clone(self), topic, newest, prefix: prefix.as_bytes().into(), cursor: after })
    }

    /// How many events the topics remember, and what only they keep in memory.
    pub(crate) fn remembered(&self) -> (usize, usize) {
        let topics = self.by_name.read();
        topics
            .values()
            .map(|topic| topic.ring.read())
            .fold((0, 0), |(events, bytes), ring| (events + ring.events.len(), bytes + ring.bytes))
    }

    fn topic(&self, name: &[u8]) -> Arc<Topic> {
        if let Some(topic) = self.by_name.read().get(name) {
            return Arc::clone(topic);
        }
        let mut topics = self.by_name.write();
        let fresh = || {
            let ring = RwLock::new(Ring { oldest: self.oldest, events: VecDeque::new(), bytes: 0 });
            Arc::new(Topic { ring, newest: watch::Sender::new(self.oldest) })
        };
        Arc::clone(topics.entry(name.into()).or_insert_with(fresh))
    }
}

/// A view of what happens under a prefix, from a revision on. Costs nothing while nothing happens.
pub struct Watcher {
    topics: Arc<Topics>,
    topic: Arc<Topic>,
    newest: watch::Receiver<u64>,
    prefix: Box<[u8]>,
    cursor: u64,
}

impl Watcher {
    /// Waits for the next events under the prefix: at least one, in order, none left out and none twice.
    /// Safe to cancel.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, Compacted> {
        loop {
            self.newest.mark_unchanged();
            let events = self.pending()?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.newest.changed().await.expect("the watcher itself keeps the topic alive");
        }
    }

    /// The events that are there already; empty where there are none.
    pub fn pending(&mut self) -> Result<Vec<Arc<Event>>, Compacted> {
        let ring = self.topic.ring.read();
        let mut events = Vec::new();
        let mut cursor = self.cursor;
        for event in ring.after(cursor)? {
            if events.len() == BATCH_MAX_EVENTS {
                break;
            }
            cursor = event.revision();
            if event.record.key_bytes().starts_with(&self.prefix) {
                events.push(Arc::clone(event));
            }
        }
        self.cursor = cursor;
        Ok(events)
    }

    /// A revision up to which the watcher has been given everything: what a bookmark says. Moves on with the store even
    /// when nothing happens under the prefix, so that a client that resumes there does not find it forgotten.
    pub fn progress(&mut self) -> u64 {
        let announced = self.topics.announced.load().revision;
        let ring = self.topic.ring.read();
        let newest = ring.events.back().map_or(0, |event| event.revision());
        if newest <= self.cursor && self.cursor >= ring.oldest {
            self.cursor = self.cursor.max(announced);
        }
        self.cursor
    }
}

/// `/GROUP/RESOURCE/` of a key or a prefix.
pub(crate) fn topic_name(key: &[u8]) -> Option<&[u8]> {
    let mut slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let (first, _, third) = (slashes.next()?, slashes.next()?, slashes.next()?);
    (first == 0).then(|| &key[..=third])
}
