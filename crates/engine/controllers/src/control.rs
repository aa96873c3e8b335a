//! What all controllers have in common: caches that say what changed, a queue of keys, and a loop that deals with them.

use std::{fmt::Debug, future::Future, hash::Hash, sync::Arc, time::Duration};

use coracle_certs::Authority;
use coracle_client::{AbortOnDrop, Cache, Caches, Change, Events, Key};
use coracle_clock::Clock;
use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource};

use crate::queue::Queue;

/// Keys a controller deals with at the same time.
const CONCURRENCY: usize = 16;
/// Failures in a row after which a person might want to know.
const FAILURES_BEFORE_WARNING: u32 = 5;

/// What every controller is given.
#[derive(Clone)]
pub struct Context {
    /// The API.
    pub client: Client,
    /// What is known of it.
    pub caches: Caches,
    /// Where events go.
    pub events: Events,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Signs certificate requests; without one nobody does.
    pub authority: Option<Arc<Authority>>,
}

impl Context {
    /// A context of one's own over a client.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        let caches = Caches::new(client.clone());
        let events = Events::new(client.clone(), Arc::clone(&clock));
        Self { client, caches, events, clock, authority: None }
    }

    /// The same, with an authority that signs certificate requests.
    pub fn with_authority(self, authority: Arc<Authority>) -> Self {
        Self { authority: Some(authority), ..self }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What comes of looking at an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing more to do until something changes.
    Done,
    /// Time alone will change something.
    After(Duration),
}

impl Action {
    /// To be looked at again after so long, if at all.
    pub fn after(wait: Option<Duration>) -> Self {
        wait.map_or(Self::Done, Self::After)
    }
}

/// Why an object could not be dealt with; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused, or was not there.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// Something to wait for that no watch will tell.
    #[error("{0}")]
    Waiting(String),
}

impl Error {
    /// Somebody else was faster; the next look will see what they did.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 409 || status.code == 404)
    }
}

/// A controller under construction: its queue and what feeds it.
pub(crate) struct Controller {
    name: &'static str,
    pub(crate) queue: Queue<Key>,
    feeds: Vec<AbortOnDrop>,
}

impl Controller {
    /// A controller named as in messages, such as `replicaset-controller`.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, queue: Queue::new(), feeds: Vec::new() }
    }

    /// Looks at the keys that `map` names whenever something changes in `cache`, and once for all that is there.
    pub(crate) fn watch<K>(
        mut self,
        cache: &Cache<K>,
        map: impl Fn(&Change<K>) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self
    where
        K: Resource + Clone + Send + Sync + 'static,
    {
        let (cache, queue) = (cache.clone(), self.queue.clone());
        let feed = async move {
            let mut changes = cache.changes();
            cache.filled().await;
            let everything = |cache: &Cache<K>| {
                for object in cache.all() {
                    map(&Change { previous: None, current: Some(object) }).into_iter().for_each(|key| queue.add(key));
                }
            };
            everything(&cache);
            loop {
                match changes.next().await {
                    Ok(change) => map(&change).into_iter().for_each(|key| queue.add(key)),
                    Err(_missed) => everything(&cache),
                }
            }
        };
        self.feeds.push(AbortOnDrop(coracle_tasks::spawn(self.name, feed)));
        self
    }

    /// Looks at the changed objects themselves.
    pub(crate) fn watch_own<K>(self, cache: &Cache<K>) -> Self
    where
        K: Resource + Clone + Send + Sync + 'static,
    {
        self.watch(cache, |change| vec![Key::of(&**change.object())])
    }

    /// Deals with keys, never with one twice at a time, until the future is dropped.
    pub(crate) async fn run<F>(self, reconcile: impl FnMut(Key) -> F)
    where
        F: Future<Output = Result<Action, Error>>,
    {
        drive(self.name, &self.queue, reconcile).await;
    }
}

/// Deals with what comes up in a queue, never with one thing twice at a time, until the future is dropped.
pub(crate) async fn drive<K, F>(name: &'static str, queue: &Queue<K>, mut reconcile: impl FnMut(K) -> F)
where
    K: Clone + Eq + Hash + Debug,
    F: Future<Output = Result<Action, Error>>,
{
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            key = queue.next(), if running.len() < CONCURRENCY => {
                let reconciling = reconcile(key.clone());
                running.push(async move { (key, reconciling.await) });
            }
            Some((key, outcome)) = running.next() => finish(name, queue, &key, outcome),
        }
    }
}

fn finish<K: Clone + Eq + Hash + Debug>(name: &str, queue: &Queue<K>, key: &K, outcome: Result<Action, Error>) {
    match outcome {
        Ok(action) => {
            queue.done(key);
            if let Action::After(wait) = action {
                queue.add_after(key.clone(), wait);
            }
        }
        Err(error) => {
            let failures = queue.failed(key);
            if error.is_conflict() || failures < FAILURES_BEFORE_WARNING {
                tracing::debug!(controller = name, ?key, %error, failures, "will be tried again");
            } else {
                tracing::warn!(controller = name, ?key, %error, failures, "will be tried again");
            }
        }
    }
}
