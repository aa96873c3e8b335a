//! The controller: one worker an Application, woken by whatever concerns it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coracle_clock::Clock;
use futures::StreamExt;
use futures::future::BoxFuture;
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::application::{Application, NAMESPACE};
use crate::builder::Builder;
use crate::cluster::Cluster;
use crate::crd;
use crate::follow::Followers;
use crate::manifest::Kind;
use crate::source::Sources;
use crate::watch::{Wake, Watches};
use crate::worker::Worker;

/// What the rest of the platform gives this room.
pub struct Parts {
    pub client: kube::Client,
    pub sources: Arc<dyn Sources>,
    pub builder: Arc<dyn Builder>,
    pub clock: Arc<dyn Clock>,
    /// The port people reach the gateway at, for the URLs that are shown.
    pub gateway_http_port: u16,
}

/// Everything workers share.
pub(crate) struct Shared {
    pub cluster: Cluster,
    pub sources: Arc<dyn Sources>,
    pub builder: Arc<dyn Builder>,
    pub clock: Arc<dyn Clock>,
    pub gateway_http_port: u16,
    pub followers: Followers,
    watches: Watches,
    workers: Mutex<HashMap<String, Handle>>,
}

struct Handle {
    wake: Arc<Notify>,
    /// Where its objects live; pods and ReplicaSets there concern it too.
    namespaces: BTreeSet<String>,
    task: tokio::task::JoinHandle<()>,
}

/// The delivery controller. Cheap to clone.
#[derive(Clone)]
pub struct Controller {
    pub(crate) shared: Arc<Shared>,
}

impl Controller {
    pub fn new(parts: Parts) -> Self {
        let shared = Shared {
            cluster: Cluster::new(parts.client),
            sources: parts.sources,
            builder: parts.builder,
            clock: parts.clock,
            gateway_http_port: parts.gateway_http_port,
            followers: Followers::default(),
            watches: Watches::default(),
            workers: Mutex::default(),
        };
        Controller { shared: Arc::new(shared) }
    }

    /// Installs the Application definition. To be called before anything is pushed.
    pub async fn install(&self) -> Result<(), kube::Error> {
        crd::install(&self.shared.cluster.client).await
    }

    /// Runs until it is dropped. Boxed, so that it is compiled with this crate and not with whoever runs it.
    pub fn run(self) -> BoxFuture<'static, ()> {
        Box::pin(self.follow_all())
    }

    async fn follow_all(self) {
        for (group, version, kind) in [("", "v1", "Pod"), ("apps", "v1", "ReplicaSet")] {
            let kind = Kind { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() };
            self.shared.watch(&kind).await;
        }
        let applications: Api<Application> = Api::namespaced(self.shared.cluster.client.clone(), NAMESPACE);
        let mut events = watcher(applications, watcher::Config::default()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(application) | watcher::Event::InitApply(application)) => {
                    self.shared.clone().wake_or_start(application.metadata.name.as_deref().unwrap_or_default());
                }
                Ok(watcher::Event::Delete(application)) => {
                    self.shared.stop(application.metadata.name.as_deref().unwrap_or_default());
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => tracing::warn!(%error, "watching applications was interrupted"),
            }
        }
    }
}

impl Shared {
    fn wake_or_start(self: Arc<Self>, name: &str) {
        let mut workers = self.workers.lock();
        // A worker ends with its Application, or with one that it could not read; the next one begins anew.
        if let Some(handle) = workers.get(name).filter(|handle| !handle.task.is_finished()) {
            handle.wake.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        let worker = Worker::new(self.clone(), name, wake.clone());
        let task = coracle_tasks::spawn("sync-application", worker.run());
        workers.insert(name.to_owned(), Handle { wake, namespaces: BTreeSet::new(), task });
    }

    fn stop(&self, name: &str) {
        if let Some(handle) = self.workers.lock().remove(name) {
            handle.task.abort();
        }
    }

    /// Tells where an application's objects live.
    pub fn lives_in(&self, name: &str, namespaces: BTreeSet<String>) {
        if let Some(handle) = self.workers.lock().get_mut(name) {
            handle.namespaces = namespaces;
        }
    }

    /// Makes sure changes to objects of this kind are noticed.
    pub async fn watch(self: &Arc<Self>, kind: &Kind) {
        let wake: Arc<dyn Wake> = self.clone();
        self.watches.ensure(&self.cluster, kind, &wake).await;
    }

    pub fn applications(&self) -> Api<Application> {
        Api::namespaced(self.cluster.client.clone(), NAMESPACE)
    }

    /// Applications as they lie in the API: `operation` stands beside `spec`, where the type has no room for it.
    pub fn raw_applications(&self) -> Api<DynamicObject> {
        let resource = kube::api::ApiResource::erase::<Application>(&());
        Api::namespaced_with(self.cluster.client.clone(), NAMESPACE, &resource)
    }
}

impl Wake for Shared {
    fn wake_app(&self, app: &str) {
        if let Some(handle) = self.workers.lock().get(app) {
            handle.wake.notify_one();
        }
    }

    fn wake_namespace(&self, namespace: &str) {
        for handle in self.workers.lock().values().filter(|handle| handle.namespaces.contains(namespace)) {
            handle.wake.notify_one();
        }
    }
}
