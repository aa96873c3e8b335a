//! One cache a kind, shared by all who read that kind in this process.
//!
//! A cache takes in the answers to its users' own writes ([`Cache::observe`], [`Cache::forget`]) before the watch brings
//! them, so a controller always sees what it did itself: it needs no book of expectations to not do it twice.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, HashMap, HashSet},
    fmt::{self, Debug},
    ops::Bound,
    sync::Arc,
};

use kube::{Api, Client, Resource};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};

use crate::follow::{Sink, Whole, follow, revision_of};

/// Changes a subscriber may be behind before it is told to look at everything again.
const CHANGES_CAPACITY: usize = 4096;

/// An object's place among those of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Empty for what is in no namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// What happened to an object in a cache.
#[derive(Debug)]
pub struct Change<K> {
    /// As it was before; none where it was not there.
    pub previous: Option<Arc<K>>,
    /// As it is now; none where it is gone.
    pub current: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The object as it is, or was last.
    pub fn object(&self) -> &Arc<K> {
        self.current.as_ref().or(self.previous.as_ref()).expect("a change has a before or an after")
    }

    /// Both states there are.
    pub fn states(&self) -> impl Iterator<Item = &Arc<K>> {
        self.previous.iter().chain(&self.current)
    }
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        Self { previous: self.previous.clone(), current: self.current.clone() }
    }
}

/// All caches of a process.
#[derive(Clone)]
pub struct Caches(Arc<Kinds>);

struct Kinds {
    client: Client,
    by_type: Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
    feeds: Mutex<Vec<AbortOnDrop>>,
}

/// Ends a task together with whoever needed it.
pub struct AbortOnDrop(pub JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Caches {
    /// Caches of what `client` sees. Nothing is read before somebody asks for a kind.
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Kinds { client, by_type: Mutex::default(), feeds: Mutex::default() }))
    }

    /// The client the caches read through.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The cache of a kind, in all namespaces. The first to ask starts it.
    pub fn of<K>(&self) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let mut kinds = self.0.by_type.lock();
        let known = kinds.get(&TypeId::of::<K>()).and_then(|cache| cache.downcast_ref::<Cache<K>>());
        if let Some(cache) = known {
            return cache.clone();
        }
        let cache = Cache::new();
        let source = Whole(Api::<K>::all(self.0.client.clone()));
        let feed = coracle_tasks::spawn("cache", follow(source, Feed(cache.clone())));
        self.0.feeds.lock().push(AbortOnDrop(feed));
        kinds.insert(TypeId::of::<K>(), Box::new(cache.clone()));
        cache
    }
}

/// A read-only view of all objects of a kind, at most a moment old. Cheap to clone.
pub struct Cache<K>(Arc<Shared<K>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<K> {
    state: RwLock<State<K>>,
    changes: broadcast::Sender<Change<K>>,
    filled: watch::Sender<bool>,
}

struct State<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// The watch has told everything up to here.
    told: u64,
    /// Uids of objects that are known to be gone though the watch has not told yet.
    gone: HashSet<String>,
}

impl<K> Cache<K>
where
    K: Resource + Clone + Send + Sync + 'static,
{
    /// An empty cache that nothing feeds: for tests, and for feeds of one's own.
    pub fn new() -> Self {
        let state = State { objects: BTreeMap::new(), told: 0, gone: HashSet::new() };
        let (changes, filled) = (broadcast::Sender::new(CHANGES_CAPACITY), watch::Sender::new(false));
        Self(Arc::new(Shared { state: RwLock::new(state), changes, filled }))
    }

    /// Waits until the cache has been filled once.
    pub async fn filled(&self) {
        let mut filled = self.0.filled.subscribe();
        filled.wait_for(|filled| *filled).await.expect("the cache itself keeps the channel alive");
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.0.state.read().objects.get(key).cloned()
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.0.state.read().objects.values().cloned().collect()
    }

    /// All objects of a namespace.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.0.state.read();
        let from = (Bound::Included(Key::new(namespace, "")), Bound::Unbounded);
        let objects = state.objects.range(from).take_while(|(key, _)| key.namespace == namespace);
        objects.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.0.state.read().objects.keys().cloned().collect()
    }

    /// What changes from now on.
    pub fn changes(&self) -> Changes<K> {
        Changes(self.0.changes.subscribe())
    }

    /// Takes in the answer to a write, ahead of the watch.
    pub fn observe(&self, object: K) {
        let mut state = self.0.state.write();
        if revision_of(&object) > state.told {
            let change = state.apply(object);
            drop(state);
            self.announce(change);
        }
    }

    /// Takes in that an object was deleted for good, ahead of the watch.
    pub fn forget(&self, key: &Key, uid: &str) {
        let mut state = self.0.state.write();
        if state.objects.get(key).is_none_or(|object| object.meta().uid.as_deref() != Some(uid)) {
            return;
        }
        state.gone.insert(uid.to_owned());
        let change = state.objects.remove(key).map(|previous| Change { previous: Some(previous), current: None });
        drop(state);
        self.announce(change);
    }

    fn announce(&self, change: Option<Change<K>>) {
        if let Some(change) = change {
            // Nobody listening is fine.
            let _listeners = self.0.changes.send(change);
        }
    }
}

impl<K> Default for Cache<K>
where
    K: Resource + Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Resource + Clone> State<K> {
    fn apply(&mut self, mut object: K) -> Option<Change<K>> {
        if object.meta().uid.as_ref().is_some_and(|uid| self.gone.contains(uid)) {
            return None;
        }
        let key = Key::of(&object);
        if self.objects.get(&key).is_some_and(|known| revision_of(&**known) >= revision_of(&object)) {
            return None;
        }
        // Larger than the rest of many objects, and of no use to a reader.
        object.meta_mut().managed_fields = None;
        let current = Arc::new(object);
        let previous = self.objects.insert(key, Arc::clone(&current));
        Some(Change { previous, current: Some(current) })
    }

    fn delete(&mut self, object: &K) -> Option<Change<K>> {
        if let Some(uid) = &object.meta().uid {
            self.gone.remove(uid);
        }
        let key = Key::of(object);
        if self.objects.get(&key).is_none_or(|known| known.meta().uid != object.meta().uid) {
            return None;
        }
        self.objects.remove(&key).map(|previous| Change { previous: Some(previous), current: None })
    }

    fn replace(&mut self, objects: Vec<K>, revision: u64) -> Vec<Change<K>> {
        let mut missing: HashSet<Key> = self.objects.keys().cloned().collect();
        let mut still_listed = HashSet::new();
        let mut changes = Vec::new();
        for object in objects {
            missing.remove(&Key::of(&object));
            still_listed.extend(object.meta().uid.clone());
            changes.extend(self.apply(object));
        }
        self.gone.retain(|uid| still_listed.contains(uid));
        for key in missing {
            // What is newer than the list was observed ahead of it.
            if self.objects.get(&key).is_some_and(|object| revision_of(&**object) <= revision) {
                let previous = self.objects.remove(&key);
                changes.push(Change { previous, current: None });
            }
        }
        self.told = self.told.max(revision);
        changes
    }
}

/// Feeds a cache from a list and watch.
pub struct Feed<K>(pub Cache<K>);

impl<K> Sink<K> for Feed<K>
where
    K: Resource + Clone + Send + Sync + 'static,
{
    fn replace(&mut self, objects: Vec<K>, revision: u64) {
        let changes = self.0.0.state.write().replace(objects, revision);
        for change in changes {
            self.0.announce(Some(change));
        }
        self.0.0.filled.send_replace(true);
    }

    fn apply(&mut self, object: K) {
        let mut state = self.0.0.state.write();
        state.told = state.told.max(revision_of(&object));
        let change = state.apply(object);
        drop(state);
        self.0.announce(change);
    }

    fn delete(&mut self, object: K) {
        let mut state = self.0.0.state.write();
        state.told = state.told.max(revision_of(&object));
        let change = state.delete(&object);
        drop(state);
        self.0.announce(change);
    }

    fn progress(&mut self, revision: u64) {
        let mut state = self.0.0.state.write();
        state.told = state.told.max(revision);
    }
}

/// A stream of changes.
pub struct Changes<K>(broadcast::Receiver<Change<K>>);

/// The subscriber missed changes: it has to look at everything again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed;

impl<K> Changes<K> {
    /// The next change.
    pub async fn next(&mut self) -> Result<Change<K>, Missed> {
        match self.0.recv().await {
            Ok(change) => Ok(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Err(Missed),
            // The cache is gone; so will its reader be in a moment.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// The next change, where there is one already.
    pub fn try_next(&mut self) -> Option<Result<Change<K>, Missed>> {
        match self.0.try_recv() {
            Ok(change) => Some(Ok(change)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Err(Missed)),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, uid: &str, revision: u64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.resource_version = Some(revision.to_string());
        object
    }

    /// What the cache shows after each step, in a line.
    fn show(cache: &Cache<ConfigMap>) -> String {
        let show = |object: Arc<ConfigMap>| {
            format!("{}={}@{}", Key::of(&*object), object.metadata.uid.as_deref().unwrap_or("-"), revision_of(&*object))
        };
        cache.all().into_iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn own_writes_are_seen_at_once_and_never_come_back() {
        let cache = Cache::new();
        let mut feed = Feed(cache.clone());
        feed.replace(vec![object("a", "1", 5)], 7);
        cache.observe(object("b", "2", 9));
        assert_eq!(show(&cache), "a=1@5 b=2@9");
        feed.apply(object("a", "1", 8));
        feed.apply(object("b", "2", 9));
        feed.delete(object("b", "2", 10));
        cache.observe(object("b", "2", 9));
        assert_eq!(show(&cache), "a=1@8", "an answer that comes late does not bring back what is gone");
        cache.forget(&Key::new("", "a"), "1");
        feed.apply(object("a", "1", 12));
        assert_eq!(show(&cache), "", "a change from before the deletion does not bring it back");
        feed.delete(object("a", "1", 13));
        feed.apply(object("a", "3", 14));
        assert_eq!(show(&cache), "a=3@14", "a namesake is another object");
    }

    #[test]
    fn a_new_list_removes_what_is_gone_and_keeps_what_is_ahead() {
        let cache = Cache::new();
        let mut feed = Feed(cache.clone());
        feed.replace(vec![object("a", "1", 5), object("b", "2", 6)], 7);
        cache.observe(object("c", "3", 20));
        cache.forget(&Key::new("", "b"), "2");
        let mut changes = cache.changes();
        feed.replace(vec![object("b", "2", 6), object("d", "4", 9)], 10);
        assert_eq!(show(&cache), "c=3@20 d=4@9");
        let told = std::iter::from_fn(|| changes.0.try_recv().ok()).map(|change| Key::of(&**change.object()).name);
        assert_eq!(told.collect::<Vec<_>>(), ["d", "a"]);
    }
}
