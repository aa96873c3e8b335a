//! Which objects are to be looked at: each at most once at a time, again when it changed meanwhile, later when asked.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// The first and the longest wait after an object could not be dealt with.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// A queue of keys. Clones are the same queue. It holds each key once, so it is no longer than there are objects.
pub struct Queue<K>(Arc<Shared<K>>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`.
    queued: HashSet<K>,
    /// Keys that are being dealt with, and whether they came up again meanwhile.
    active: HashMap<K, bool>,
    failures: HashMap<K, u32>,
    later: BTreeMap<(Instant, u64), K>,
    /// When each key in `later` is due.
    due: HashMap<K, (Instant, u64)>,
    serial: u64,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            active: HashMap::new(),
            failures: HashMap::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            serial: 0,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// A key is to be looked at now.
    pub fn add(&self, key: K) {
        self.0.state.lock().add(key);
        self.0.changed.notify_one();
    }

    /// A key is to be looked at in a while, or earlier.
    pub fn add_after(&self, key: K, wait: Duration) {
        let mut state = self.0.state.lock();
        let at = Instant::now() + wait;
        if state.due.get(&key).is_some_and(|(due, _)| *due <= at) {
            return;
        }
        state.serial += 1;
        let entry = (at, state.serial);
        if let Some(before) = state.due.insert(key.clone(), entry) {
            state.later.remove(&before);
        }
        state.later.insert(entry, key);
        drop(state);
        self.0.changed.notify_one();
    }

    /// The next key; [`Queue::done`] or [`Queue::failed`] says when it was dealt with. Safe to cancel.
    pub async fn next(&self) -> K {
        loop {
            let wait_until = {
                let mut state = self.0.state.lock();
                state.ripen(Instant::now());
                if let Some(key) = state.take() {
                    return key;
                }
                state.later.keys().next().map(|(at, _)| *at)
            };
            match wait_until {
                Some(at) => tokio::select! {
                    () = self.0.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.0.changed.notified().await,
            }
        }
    }

    /// The key was dealt with.
    pub fn done(&self, key: &K) {
        let mut state = self.0.state.lock();
        state.failures.remove(key);
        state.release(key);
        drop(state);
        self.0.changed.notify_one();
    }

    /// The key could not be dealt with: it comes up again, later each time. Returns how often that happened in a row.
    pub fn failed(&self, key: &K) -> u32 {
        let mut state = self.0.state.lock();
        let failures = state.failures.entry(key.clone()).or_default();
        *failures += 1;
        let failures = *failures;
        state.release(key);
        drop(state);
        let wait = RETRY_FIRST.saturating_mul(1 << (failures - 1).min(20)).min(RETRY_LAST);
        self.add_after(key.clone(), wait);
        failures
    }
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) {
        if let Some(again) = self.active.get_mut(&key) {
            *again = true;
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.active.insert(key.clone(), false);
        Some(key)
    }

    fn release(&mut self, key: &K) {
        if self.active.remove(key) == Some(true) {
            self.add(key.clone());
        }
    }

    fn ripen(&mut self, now: Instant) {
        while let Some((entry, _)) = self.later.first_key_value().filter(|((at, _), _)| *at <= now) {
            let entry = *entry;
            if let Some(key) = self.later.remove(&entry) {
                self.due.remove(&key);
                self.add(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_that_changes_while_it_is_dealt_with_comes_up_again() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert_eq!(queue.next().await, "b");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        queue.done(&"b");
        assert!(tokio::time::timeout(Duration::from_millis(1), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_several_times_counts_and_failures_wait_longer_and_longer() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
        let mut waits = Vec::new();
        for _ in 0..4 {
            let failed = Instant::now();
            queue.failed(&"a");
            queue.next().await;
            waits.push(failed.elapsed().as_millis());
        }
        assert_eq!(waits, [5, 10, 20, 40]);
    }
}
