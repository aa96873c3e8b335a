//! Garbage collection: what all owners of are gone goes as well; owners wait for it, or let go of it, when told to.
//!
//! The graph of owners is built from the metadata of all kinds. It only says what to look at: whether something is
//! really to go is asked of the API each time.

mod collect;
mod graph;
mod sighting;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use coracle_client::{AbortOnDrop, Cache, Metadata, Sink, follow};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, discovery::verbs};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::{
    collect::Collector,
    graph::{Graph, Work},
    sighting::Sighting,
};
use crate::{
    control::{Context, drive},
    discovery::{self, Kind},
    queue::Queue,
};

/// How long new kinds are waited for after one appeared: they come in bunches.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(50);
const NAME: &str = "garbage-collector";

/// What monitors and collector share.
struct Shared {
    graph: Mutex<Graph>,
    queue: Queue<Work>,
    /// Nodes name their kind by its place here; a kind that is no longer served leaves its place empty.
    kinds: Mutex<Vec<Option<Kind>>>,
}

impl Shared {
    fn add(&self, work: Vec<Work>) {
        work.into_iter().for_each(|work| self.queue.add(work));
    }
}

/// Runs the collector.
pub async fn run(context: Context) {
    let shared = Arc::new(Shared { graph: Mutex::default(), queue: Queue::new(), kinds: Mutex::default() });
    let mut monitors = Monitors { context: context.clone(), shared: Arc::clone(&shared), running: HashMap::new() };
    let definitions: Cache<CustomResourceDefinition> = context.caches.of();
    let mut changes = definitions.changes();
    definitions.filled().await;
    monitors.refresh_until_it_works().await;
    monitors.all_filled().await;
    // What came up before everything was known may look different now.
    shared.add(shared.graph.lock().everything());
    let collector = Arc::new(Collector::new(context, Arc::clone(&shared)));
    let collecting = drive(NAME, &shared.queue, |work| {
        let collector = Arc::clone(&collector);
        async move { collector.look_at(work).await }
    });
    let refreshing = async {
        loop {
            // A change, or having missed some: either way the kinds may be others.
            let _change = changes.next().await;
            tokio::time::sleep(SETTLE).await;
            monitors.refresh_until_it_works().await;
        }
    };
    tokio::select! {
        () = collecting => {}
        () = refreshing => {}
    }
}

/// A watch of the metadata of each kind.
struct Monitors {
    context: Context,
    shared: Arc<Shared>,
    running: HashMap<String, Monitor>,
}

struct Monitor {
    kind: usize,
    filled: watch::Receiver<bool>,
    _task: AbortOnDrop,
}

impl Monitors {
    async fn refresh_until_it_works(&mut self) {
        let mut wait = SETTLE;
        while let Err(error) = self.refresh().await {
            tracing::warn!(%error, "the garbage collector cannot see what kinds there are; it will look again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(std::time::Duration::from_secs(30));
        }
    }

    /// Starts watching kinds that are new, stops watching those that are gone.
    async fn refresh(&mut self) -> kube::Result<()> {
        let kinds = discovery::kinds(&self.context.client).await?;
        let collectable = |kind: &&Kind| {
            // Events own nothing, and nothing owns them.
            kind.resource.plural != "events"
                && [verbs::LIST, verbs::WATCH, verbs::DELETE].iter().all(|verb| kind.supports(verb))
        };
        let mut seen = HashSet::new();
        for kind in kinds.iter().filter(collectable) {
            let identity = format!("{}/{}", kind.full_name(), kind.resource.version);
            if !self.running.contains_key(&identity) {
                let monitor = self.start(kind.clone());
                self.running.insert(identity.clone(), monitor);
            }
            seen.insert(identity);
        }
        let gone: Vec<String> = self.running.keys().filter(|identity| !seen.contains(*identity)).cloned().collect();
        for identity in gone {
            if let Some(monitor) = self.running.remove(&identity) {
                self.shared.kinds.lock()[monitor.kind] = None;
                let mut graph = self.shared.graph.lock();
                let objects = graph.of_kind(monitor.kind);
                let work = objects.iter().flat_map(|uid| graph.remove(uid)).collect();
                drop(graph);
                self.shared.add(work);
            }
        }
        Ok(())
    }

    fn start(&self, kind: Kind) -> Monitor {
        let api = Api::all_with(self.context.client.clone(), &kind.resource);
        let mut kinds = self.shared.kinds.lock();
        kinds.push(Some(kind));
        let kind = kinds.len() - 1;
        let (filled, receiver) = watch::channel(false);
        let feed = GraphFeed { kind, shared: Arc::clone(&self.shared), filled };
        let task = AbortOnDrop(coracle_tasks::spawn(NAME, follow(Metadata::<Sighting>::of(api), feed)));
        Monitor { kind, filled: receiver, _task: task }
    }

    async fn all_filled(&mut self) {
        for monitor in self.running.values_mut() {
            // A monitor that ends is one that is no longer needed.
            let _ended = monitor.filled.wait_for(|filled| *filled).await;
        }
    }
}

/// Puts what a watch tells into the graph.
struct GraphFeed {
    kind: usize,
    shared: Arc<Shared>,
    filled: watch::Sender<bool>,
}

impl Sink<Sighting> for GraphFeed {
    fn replace(&mut self, objects: Vec<Sighting>, _revision: u64) {
        let mut graph = self.shared.graph.lock();
        let mut gone: HashSet<String> = graph.of_kind(self.kind).into_iter().collect();
        let mut work = Vec::new();
        for object in objects {
            object.metadata.uid.as_ref().map(|uid| gone.remove(uid));
            work.extend(graph.apply(self.kind, object.metadata));
        }
        work.extend(gone.iter().flat_map(|uid| graph.remove(uid)).collect::<Vec<_>>());
        drop(graph);
        self.shared.add(work);
        self.filled.send_replace(true);
    }

    fn apply(&mut self, object: Sighting) {
        let work = self.shared.graph.lock().apply(self.kind, object.metadata);
        self.shared.add(work);
    }

    fn delete(&mut self, object: Sighting) {
        let work = object.metadata.uid.map(|uid| self.shared.graph.lock().remove(&uid));
        self.shared.add(work.unwrap_or_default());
    }

    fn progress(&mut self, _revision: u64) {}
}
