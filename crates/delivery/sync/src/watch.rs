//! Watches live objects, kind by kind as apps come to have them, and wakes the apps they concern.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::Mutex;

use crate::cluster::{Cluster, Served, tracking_app};
use crate::manifest::{Kind, text};

/// Who is told about a change: the app an object belongs to, or everybody who has objects in its namespace.
pub(crate) trait Wake: Send + Sync + 'static {
    fn wake_app(&self, app: &str);
    fn wake_namespace(&self, namespace: &str);
}

/// One watch for each kind, started when it is first asked for.
#[derive(Default)]
pub(crate) struct Watches {
    kinds: Mutex<HashSet<Kind>>,
}

impl Watches {
    /// Makes sure that a kind is watched. Kinds the cluster does not serve yet are left for a later time.
    pub async fn ensure(&self, cluster: &Cluster, kind: &Kind, wake: &Arc<dyn Wake>) {
        if self.kinds.lock().contains(kind) {
            return;
        }
        let Ok(served) = cluster.served(kind).await else { return };
        if self.kinds.lock().insert(kind.clone()) {
            let (client, wake) = (cluster.client.clone(), wake.clone());
            // It lives as long as the process, as do the kinds it watches.
            drop(coracle_tasks::spawn("sync-watch", watch(client, served, wake)));
        }
    }
}

async fn watch(client: kube::Client, served: Served, wake: Arc<dyn Wake>) {
    let api: Api<DynamicObject> = Api::all_with(client, &served.resource);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            // What the first list shows may have changed since those who asked for the watch looked; a list after an
            // interruption shows what happened meanwhile.
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object)) => {
                tell(&served, &object, &*wake);
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => tracing::debug!(kind = served.resource.kind, %error, "watch interrupted"),
        }
    }
}

fn tell(served: &Served, object: &DynamicObject, wake: &dyn Wake) {
    let Ok(mut value) = serde_json::to_value(object) else { return };
    value["apiVersion"] = served.resource.api_version.clone().into();
    value["kind"] = served.resource.kind.clone().into();
    match tracking_app(&value) {
        Some(app) => wake.wake_app(app),
        None => wake.wake_namespace(text(&value, "/metadata/namespace")),
    }
}
