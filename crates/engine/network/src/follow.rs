//! Follows Services and EndpointSlices through the API and hands every change on at once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream::select};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::{
    balancer::{Balancer, Scope},
    cluster::{Cluster, ObjectName},
};

/// Changes that arrive together go into one transaction, up to this many.
const CHANGES_AT_ONCE: usize = 512;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The cluster as last seen, and whether it was ever seen whole.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) cluster: Arc<RwLock<Cluster>>,
    /// Counts the changes that are in the kernel; zero until the first whole set is.
    pub(crate) generation: watch::Receiver<u64>,
}

#[expect(clippy::large_enum_variant, reason = "one is handled as soon as it is there")]
enum Change {
    Service(watcher::Result<Event<Service>>),
    Slice(watcher::Result<Event<EndpointSlice>>),
}

/// Collects one kind's objects while a list arrives; a list is taken over whole or not at all.
struct Lists {
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    has_services: bool,
    has_slices: bool,
}

/// What is to be brought into the kernel.
#[derive(Default)]
struct Due {
    all: bool,
    only: BTreeSet<ObjectName>,
}

impl Due {
    fn scope(&self) -> Option<Scope> {
        match (self.all, self.only.is_empty()) {
            (true, _) => Some(Scope::All),
            (false, false) => Some(Scope::Only(self.only.clone())),
            (false, true) => None,
        }
    }
}

/// A view that [`run`] keeps up to date.
pub(crate) fn view() -> (View, watch::Sender<u64>) {
    let (sender, generation) = watch::channel(0);
    (View { cluster: Arc::default(), generation }, sender)
}

/// Follows until dropped.
pub(crate) async fn run(
    client: Client,
    balancer: Balancer,
    cluster: Arc<RwLock<Cluster>>,
    generation: watch::Sender<u64>,
) {
    let balancer = Arc::new(Mutex::new(balancer));
    let mut changes = std::pin::pin!(changes(client));
    let mut lists = Lists { services: Vec::new(), slices: Vec::new(), has_services: false, has_slices: false };
    let mut due = Due::default();
    loop {
        let retry = due.scope().map(|_| tokio::time::sleep(RETRY_PAUSE));
        let batch = tokio::select! {
            batch = changes.next() => batch.unwrap_or_default(),
            () = wait(retry) => Vec::new(),
        };
        {
            let mut cluster = cluster.write();
            batch.into_iter().for_each(|change| lists.take(change, &mut cluster, &mut due));
        }
        // Endpoints without their services, or services without their endpoints, would tear down what still serves.
        if !(lists.has_services && lists.has_slices) {
            due = Due::default();
            continue;
        }
        let Some(scope) = due.scope() else { continue };
        match apply(&balancer, &cluster, scope).await {
            Ok(()) => {
                due = Due::default();
                generation.send_modify(|count| *count += 1);
            }
            Err(error) => {
                tracing::error!(%error, "service rules could not be changed; trying again");
                due = Due { all: true, only: BTreeSet::new() };
            }
        }
    }
}

async fn wait(sleep: Option<tokio::time::Sleep>) {
    match sleep {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

/// Off the worker threads: a first set of thousands of services takes the kernel some while.
async fn apply(balancer: &Arc<Mutex<Balancer>>, cluster: &Arc<RwLock<Cluster>>, scope: Scope) -> Result<(), String> {
    let (balancer, cluster) = (Arc::clone(balancer), Arc::clone(cluster));
    let done = tokio::task::spawn_blocking(move || balancer.lock().apply(&cluster.read(), &scope)).await;
    done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn changes(client: Client) -> impl Stream<Item = Vec<Change>> {
    let services = watcher(Api::<Service>::all(client.clone()), watcher::Config::default()).default_backoff();
    let slices = watcher(Api::<EndpointSlice>::all(client), watcher::Config::default()).default_backoff();
    select(services.map(Change::Service), slices.map(Change::Slice)).ready_chunks(CHANGES_AT_ONCE)
}

impl Lists {
    fn take(&mut self, change: Change, cluster: &mut Cluster, due: &mut Due) {
        match change {
            Change::Service(Ok(event)) => self.take_service(event, cluster, due),
            Change::Slice(Ok(event)) => self.take_slice(event, cluster, due),
            // The watcher itself starts over; until then the last known state holds.
            Change::Service(Err(error)) => tracing::warn!(%error, "watching services"),
            Change::Slice(Err(error)) => tracing::warn!(%error, "watching endpoint slices"),
        }
    }

    fn take_service(&mut self, event: Event<Service>, cluster: &mut Cluster, due: &mut Due) {
        match event {
            Event::Init => self.services.clear(),
            Event::InitApply(service) => self.services.push(service),
            Event::InitDone => {
                cluster.replace_services(&std::mem::take(&mut self.services));
                self.has_services = true;
                due.all = true;
            }
            Event::Apply(service) => drop(due.only.insert(cluster.put_service(&service))),
            Event::Delete(service) => drop(due.only.insert(cluster.remove_service(&service))),
        }
    }

    fn take_slice(&mut self, event: Event<EndpointSlice>, cluster: &mut Cluster, due: &mut Due) {
        match event {
            Event::Init => self.slices.clear(),
            Event::InitApply(slice) => self.slices.push(slice),
            Event::InitDone => {
                cluster.replace_slices(&std::mem::take(&mut self.slices));
                self.has_slices = true;
                due.all = true;
            }
            Event::Apply(slice) => due.only.extend(cluster.put_slice(&slice)),
            Event::Delete(slice) => due.only.extend(cluster.remove_slice(&slice)),
        }
    }
}
