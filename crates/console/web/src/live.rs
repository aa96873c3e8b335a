//! What the API says now: caches of the kinds the page shows, and a signal when one of them changes.

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::model::{self, App};

/// The present state of what the page shows. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    applications: Store<DynamicObject>,
    pods: Store<Pod>,
    changes: watch::Receiver<u64>,
}

impl Live {
    /// Starts watching, in the background, for as long as the runtime lives.
    pub fn start(client: &Client) -> Self {
        let (changed, changes) = watch::channel(0);
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application"));
        let (applications, writer) = dynamic_store(kind.clone());
        follow(
            "console-applications",
            writer,
            watcher(Api::all_with(client.clone(), &kind), watcher::Config::default()),
            changed.clone(),
        );
        let (pods, writer) = reflector::store();
        follow("console-pods", writer, watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()), changed);
        Self { applications, pods, changes }
    }

    /// The apps as they are now, by name.
    pub fn apps(&self) -> Vec<App> {
        let applications: Vec<_> = self.applications.state();
        model::apps(&applications, &self.pods.state())
    }

    /// Changes whenever something the page shows may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

fn dynamic_store(kind: ApiResource) -> (Store<DynamicObject>, reflector::store::Writer<DynamicObject>) {
    let writer = reflector::store::Writer::new(kind);
    (writer.as_reader(), writer)
}

fn follow<K>(
    name: &'static str,
    writer: reflector::store::Writer<K>,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    changed: watch::Sender<u64>,
) where
    K: Resource + Clone + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone + Send + Sync,
{
    let reflected = reflector::reflector(writer, events.default_backoff());
    coracle_tasks::spawn(name, async move {
        let mut reflected = std::pin::pin!(reflected);
        while let Some(event) = reflected.next().await {
            match event {
                Ok(_) => changed.send_modify(|count| *count += 1),
                Err(error) => tracing::debug!("{name}: {error}"),
            }
        }
    });
}
