//! The node as a whole: watches its pods, gives each its task, and brings what happens to the task it concerns.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use tokio::{sync::broadcast, task::AbortHandle};

use crate::{
    container::{assemble::label, references},
    context::Context,
    doors::Found,
    effects::clear::remove_data,
    pod::{
        observe::Observation,
        state::PodState,
        worker::{self, Handle, Message},
    },
};

/// The pods of this node by uid.
#[derive(Default)]
pub struct Pods(Mutex<HashMap<String, Entry>>);

struct Entry {
    handle: Handle,
    /// The object as the watch told it last.
    pod: Arc<core::Pod>,
    task: AbortHandle,
}

impl Pods {
    /// Ends the tasks of all pods, and leaves the pods alone.
    pub fn end_tasks(&self) {
        self.0.lock().values().for_each(|entry| entry.task.abort());
    }

    /// The states of all pods, as of their last decisions.
    pub fn states(&self) -> Vec<Arc<PodState>> {
        self.0.lock().values().map(|entry| entry.handle.state.borrow().clone()).collect()
    }

    /// A pod by its name; the youngest, where an older one of that name is still ending.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Handle> {
        let pods = self.0.lock();
        let named = |entry: &&Entry| {
            let metadata = &entry.pod.metadata;
            metadata.namespace.as_deref() == Some(namespace) && metadata.name.as_deref() == Some(name)
        };
        let age = |entry: &&Entry| entry.pod.metadata.creation_timestamp.clone();
        pods.values().filter(named).max_by_key(age).map(|entry| entry.handle.clone())
    }

    /// Gives a pod its task, with the ends of its containers brought to it.
    #[cfg(test)]
    pub fn adopt_for_test(&self, context: &Arc<Context>, pod: core::Pod) {
        let (uid, pod) = (pod.metadata.uid.clone().unwrap_or_default(), Arc::new(pod));
        let (handle, task) = worker::spawn(context.clone(), pod.clone(), Vec::new());
        let (mut exits, messages) = (context.runtime.exits(), handle.messages.clone());
        coracle_tasks::spawn("test-exits", async move {
            while let Ok((id, exit)) = exits.recv().await {
                if messages.send(Message::Exit { id, exit }).await.is_err() {
                    return;
                }
            }
        });
        self.0.lock().insert(uid, Entry { handle, pod, task: task.abort_handle() });
    }

    fn handle(&self, uid: &str) -> Option<Handle> {
        self.0.lock().get(uid).map(|entry| entry.handle.clone())
    }

    fn uids(&self) -> BTreeSet<String> {
        self.0.lock().keys().cloned().collect()
    }
}

/// Runs the pods of this node until the watch is dropped.
pub async fn run(context: Arc<Context>, client: kube::Client, pods: Arc<Pods>) {
    let selector = format!("spec.nodeName={}", context.node.name);
    let api: Api<core::Pod> = Api::all(client);
    let mut events = pin!(watcher(api, watcher::Config::default().fields(&selector)).default_backoff());
    let mut exits = context.runtime.exits();
    let mut agent = Agent { context, pods, listed: BTreeSet::new(), adopted: false };
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => agent.watched(event).await,
                Some(Err(error)) => tracing::warn!(%error, "watching pods"),
                None => return,
            },
            exit = exits.recv() => match exit {
                Ok((id, exit)) => agent.send_to_owner(&id, |id| Message::Exit { id, exit }).await,
                Err(broadcast::error::RecvError::Lagged(_)) => agent.tell_all_ends().await,
                Err(broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

struct Agent {
    context: Arc<Context>,
    pods: Arc<Pods>,
    /// Seen in the list under way.
    listed: BTreeSet<String>,
    adopted: bool,
}

impl Agent {
    async fn watched(&mut self, event: watcher::Event<core::Pod>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => {
                self.listed.extend(pod.metadata.uid.clone());
                self.apply(pod).await;
            }
            watcher::Event::InitDone => self.list_done().await,
            watcher::Event::Apply(pod) => self.apply(pod).await,
            watcher::Event::Delete(pod) => {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                // The last word of the object says how much time is left.
                self.apply_known(&uid, pod).await;
                self.vanish(&uid).await;
            }
        }
    }

    async fn list_done(&mut self) {
        let gone: Vec<_> = self.pods.uids().difference(&self.listed).cloned().collect();
        for uid in gone {
            self.vanish(&uid).await;
        }
        if !std::mem::replace(&mut self.adopted, true) {
            // Looked for now, before a pod that is new can be taken for one that is gone; removed while others start.
            let orphans = orphans(&self.context, &self.listed);
            coracle_tasks::spawn("orphans", remove_orphans(self.context.clone(), orphans));
        }
        self.listed.clear();
    }

    async fn apply(&mut self, pod: core::Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if self.pods.handle(&uid).is_some() {
            return self.apply_known(&uid, pod).await;
        }
        let pod = Arc::new(pod);
        let of_pod = |found: &Found| found.labels.get(label::POD_UID).is_some_and(|label| *label == uid);
        let found: Vec<_> = self.context.runtime.list().into_iter().filter(of_pod).collect();
        let (handle, task) = worker::spawn(self.context.clone(), pod.clone(), found);
        self.pods.0.lock().insert(uid.clone(), Entry { handle, pod, task: task.abort_handle() });
        let pods = self.pods.clone();
        coracle_tasks::spawn("pod-end", async move {
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!(%error, pod = uid, "the task of a pod has failed");
            }
            pods.0.lock().remove(&uid);
        });
    }

    async fn apply_known(&mut self, uid: &str, pod: core::Pod) {
        let pod = Arc::new(pod);
        let handle = match self.pods.0.lock().get_mut(uid) {
            Some(entry) => {
                entry.pod = pod.clone();
                entry.handle.clone()
            }
            None => return,
        };
        send(&handle, Message::Observed(Observation::Spec(pod))).await;
    }

    async fn vanish(&self, uid: &str) {
        if let Some(handle) = self.pods.handle(uid) {
            send(&handle, Message::Observed(Observation::Vanished)).await;
        }
    }

    async fn send_to_owner(&self, id: &str, message: impl FnOnce(String) -> Message) {
        // Ids begin with the pod's uid, which has no underscore.
        let uid = id.split('_').next().unwrap_or_default();
        if let Some(handle) = self.pods.handle(uid) {
            send(&handle, message(id.to_owned())).await;
        }
    }

    /// After a lag nobody knows which ends were told: all of them are told again.
    async fn tell_all_ends(&self) {
        for found in self.context.runtime.list() {
            if let Err(exit) = found.state {
                self.send_to_owner(&found.id, |id| Message::Exit { id, exit }).await;
            }
        }
    }
}

async fn send(handle: &Handle, message: Message) {
    // A pod whose task has ended needs no news.
    let _ = handle.messages.send(message).await;
}

/// The uids of pods that have left something here and are not of this node any more.
fn orphans(context: &Context, known: &BTreeSet<String>) -> BTreeSet<String> {
    let mut owners: BTreeSet<String> = context.runtime.sandboxes().into_iter().collect();
    owners.extend(context.network.attached().into_keys());
    owners.extend(context.runtime.list().iter().filter_map(|found| found.labels.get(label::POD_UID).cloned()));
    let directories = std::fs::read_dir(&context.node.pods_dir).into_iter().flatten().flatten();
    owners.extend(directories.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    owners.difference(known).cloned().collect()
}

/// Removes what pods that are gone have left.
async fn remove_orphans(context: Arc<Context>, orphans: BTreeSet<String>) {
    for uid in orphans {
        tracing::info!(pod = uid, "removing what a pod that is gone has left");
        let removed = async {
            remove_data(&context, &uid).await?;
            context.runtime.remove_sandbox(&uid).await?;
            context.network.detach(&uid).await
        };
        if let Err(error) = removed.await {
            tracing::warn!(error, pod = uid, "something of it stays");
        }
    }
}

/// Tells pods when a ConfigMap or Secret they refer to changes. Runs for as long as `changes` does.
pub async fn follow_dependencies<K>(
    pods: Arc<Pods>,
    changes: impl futures::Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    names: fn(&core::Pod) -> BTreeSet<String>,
) where
    K: kube::Resource<DynamicType = ()> + Clone,
{
    let mut changes = pin!(changes);
    loop {
        match changes.try_next().await {
            Ok(Some(watcher::Event::Apply(object) | watcher::Event::Delete(object))) => {
                let metadata = object.meta();
                let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone().unwrap_or_default());
                for handle in pods.referring(namespace.as_deref(), &name, names) {
                    send(&handle, Message::Refresh).await;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "watching what pods refer to"),
        }
    }
}

impl Pods {
    fn referring(&self, namespace: Option<&str>, name: &str, names: fn(&core::Pod) -> BTreeSet<String>) -> Vec<Handle> {
        let pods = self.0.lock();
        let in_namespace = pods.values().filter(|entry| entry.pod.metadata.namespace.as_deref() == namespace);
        in_namespace.filter(|entry| names(&entry.pod).contains(name)).map(|entry| entry.handle.clone()).collect()
    }
}

/// The ConfigMaps a pod refers to.
pub fn config_maps(pod: &core::Pod) -> BTreeSet<String> {
    references(pod).config_maps
}

/// The Secrets a pod refers to.
pub fn secrets(pod: &core::Pod) -> BTreeSet<String> {
    references(pod).secrets
}
