//! Binds pods to the node while what they request fits.
//!
//! Woken by changes of pods and nodes, it looks at the pods that wait, the most important first, and either binds one or
//! says why it cannot. What it bound counts at once, before the caches show it.

mod affinity;
mod fit;
mod resources;
pub mod selectors;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use coracle_client::{Cache, Caches, Change, Events, Key, Missed, Recorder, reference};
use coracle_clock::Clock;
use futures::future::BoxFuture;
use k8s_openapi::{
    api::core::v1::{Binding, Namespace, Node, ObjectReference, Pod, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{affinity::Placed, fit::Board};

/// The name pods ask for this scheduler by.
const NAME: &str = "default-scheduler";
/// When the API fails, waiting pods are tried again after so long.
const RETRY: std::time::Duration = std::time::Duration::from_millis(250);

/// What the scheduler is given.
#[derive(Clone)]
pub struct Context {
    /// What is known of the API.
    pub caches: Caches,
    /// Where events go.
    pub events: Events,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

struct Scheduler {
    context: Context,
    recorder: Recorder,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    namespaces: Cache<Namespace>,
    /// Pods that were bound, by uid, and where, until the cache shows it.
    assumed: HashMap<String, (Key, String)>,
    /// What waiting pods were last told.
    told: HashMap<Key, String>,
    /// Waiting pods that are to be looked at.
    due: HashSet<Key>,
    /// All waiting pods, and the order they came in.
    waiting: HashMap<Key, u64>,
    serial: u64,
}

/// Runs the scheduler until the future is dropped. Boxed, so that it is compiled with this crate and not with whoever runs it.
pub fn run(context: Context) -> BoxFuture<'static, ()> {
    Box::pin(run_all(context))
}

async fn run_all(context: Context) {
    let (pods, nodes) = (context.caches.of::<Pod>(), context.caches.of::<Node>());
    let namespaces = context.caches.of::<Namespace>();
    let (mut pod_changes, mut node_changes) = (pods.changes(), nodes.changes());
    pods.filled().await;
    nodes.filled().await;
    namespaces.filled().await;
    let recorder = context.events.component(NAME);
    let mut scheduler = Scheduler {
        context,
        recorder,
        pods,
        nodes,
        namespaces,
        assumed: HashMap::new(),
        told: HashMap::new(),
        due: HashSet::new(),
        waiting: HashMap::new(),
        serial: 0,
    };
    scheduler.look_at_everything();
    loop {
        let all_went_well = scheduler.pass().await;
        tokio::select! {
            change = pod_changes.next() => scheduler.note_pod(change),
            change = node_changes.next() => scheduler.note_node(change),
            () = tokio::time::sleep(RETRY), if !all_went_well => {}
        }
        // What came up together is decided together: the important first.
        while let Some(change) = pod_changes.try_next() {
            scheduler.note_pod(change);
        }
    }
}

fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn assigned_node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// Whether the pod waits for this scheduler.
fn waits(pod: &Pod) -> bool {
    let ours = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).is_none_or(|name| name == NAME);
    ours && assigned_node(pod).is_none() && pod.metadata.deletion_timestamp.is_none() && !is_finished(pod)
}

fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

/// What of a node may make room for a pod that had none.
fn offers(node: &Node) -> impl PartialEq + use<'_> {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let spec = node.spec.as_ref();
    (allocatable, node.metadata.labels.as_ref(), spec.map(|spec| (spec.taints.as_ref(), spec.unschedulable)))
}

impl Scheduler {
    fn look_at_everything(&mut self) {
        let mut waiting: Vec<Arc<Pod>> = self.pods.all().into_iter().filter(|pod| waits(pod)).collect();
        waiting.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        let keys: HashSet<Key> = waiting.iter().map(|pod| Key::of(&**pod)).collect();
        self.waiting.retain(|key, _| keys.contains(key));
        self.told.retain(|key, _| keys.contains(key));
        for pod in waiting {
            self.line_up(Key::of(&*pod));
        }
        let pods = &self.pods;
        self.assumed.retain(|uid, (key, _)| {
            pods.get(key).is_some_and(|pod| pod.metadata.uid.as_ref() == Some(uid) && assigned_node(&pod).is_none())
        });
        self.all_are_due();
    }

    /// Puts a pod at the end of the line; false where it stands there already.
    fn line_up(&mut self, key: Key) -> bool {
        self.serial += 1;
        let serial = self.serial;
        let mut is_new = false;
        self.waiting.entry(key).or_insert_with(|| {
            is_new = true;
            serial
        });
        is_new
    }

    fn all_are_due(&mut self) {
        self.due.extend(self.waiting.keys().cloned());
    }

    fn note_pod(&mut self, change: Result<Change<Pod>, Missed>) {
        let Ok(change) = change else { return self.look_at_everything() };
        let key = Key::of(&**change.object());
        match &change.current {
            Some(pod) if waits(pod) => {
                let asks_the_same = change.previous.as_ref().is_some_and(|previous| {
                    previous.spec == pod.spec && previous.metadata.labels == pod.metadata.labels
                });
                if self.line_up(key.clone()) || !asks_the_same {
                    self.due.insert(key);
                }
            }
            _ => {
                self.waiting.remove(&key);
                self.due.remove(&key);
                self.told.remove(&key);
            }
        }
        let settled = |pod: &Pod| assigned_node(pod).is_some() || is_finished(pod);
        if change.current.as_ref().is_none_or(|pod| settled(pod)) {
            self.assumed.remove(change.object().metadata.uid.as_deref().unwrap_or_default());
        }
        // Room came up, or company that somebody waits for.
        let held_room = change.previous.as_ref().is_some_and(|pod| assigned_node(pod).is_some() && !is_finished(pod));
        let holds_room = change.current.as_ref().is_some_and(|pod| assigned_node(pod).is_some() && !is_finished(pod));
        if held_room != holds_room {
            self.all_are_due();
        }
    }

    fn note_node(&mut self, change: Result<Change<Node>, Missed>) {
        let Ok(change) = change else { return self.look_at_everything() };
        let before = change.previous.as_ref();
        let now = change.current.as_ref();
        if before.map(|node| offers(node)) != now.map(|node| offers(node)) {
            self.all_are_due();
        }
    }

    fn board(&self) -> Board {
        let placed = |pod: Arc<Pod>| {
            if is_finished(&pod) {
                return None;
            }
            let assumed = pod.metadata.uid.as_ref().and_then(|uid| self.assumed.get(uid));
            let node = assigned_node(&pod).map(str::to_owned).or_else(|| assumed.map(|(_, node)| node.clone()))?;
            Some((pod, node))
        };
        let by_name = |node: Arc<Node>| (node.metadata.name.clone().unwrap_or_default(), node);
        let namespaces: BTreeMap<String, Arc<Namespace>> =
            self.namespaces.all().into_iter().map(|n| (n.metadata.name.clone().unwrap_or_default(), n)).collect();
        Board::new(Placed {
            pods: self.pods.all().into_iter().filter_map(placed).collect(),
            nodes: self.nodes.all().into_iter().map(by_name).collect(),
            namespaces,
        })
    }

    /// Looks at all pods that are due; false where the API failed and some are still due.
    async fn pass(&mut self) -> bool {
        if self.due.is_empty() {
            return true;
        }
        let mut due: Vec<Arc<Pod>> =
            self.due.drain().filter_map(|key| self.pods.get(&key)).filter(|pod| waits(pod)).collect();
        due.retain(|pod| pod.metadata.uid.as_ref().is_none_or(|uid| !self.assumed.contains_key(uid)));
        due.sort_by_key(|pod| (Reverse(priority(pod)), self.waiting.get(&Key::of(&**pod)).copied()));
        let mut board = self.board();
        for pod in due {
            if let Err(error) = self.schedule(&mut board, &pod).await {
                tracing::warn!(pod = %Key::of(&*pod), %error, "could not be scheduled; it will be tried again");
                self.due.insert(Key::of(&*pod));
            }
        }
        self.due.is_empty()
    }

    async fn schedule(&mut self, board: &mut Board, pod: &Arc<Pod>) -> kube::Result<()> {
        if is_gated(pod) {
            let message = "Scheduling is blocked due to non-empty scheduling gates".to_owned();
            return self.explain(pod, "SchedulingGated", message).await;
        }
        match board.find(pod) {
            Ok(node) => {
                if self.bind(pod, &node).await? {
                    board.place(Arc::clone(pod), &node);
                }
                Ok(())
            }
            Err(message) => {
                let key = Key::of(&**pod);
                if self.told.get(&key) != Some(&message) {
                    self.recorder.warning(reference(&**pod), "FailedScheduling", message.clone());
                }
                self.explain(pod, "Unschedulable", message).await
            }
        }
    }

    /// Binds the pod; false where it no longer waits.
    async fn bind(&mut self, pod: &Arc<Pod>, node: &str) -> kube::Result<bool> {
        let key = Key::of(&**pod);
        let binding = Binding {
            metadata: ObjectMeta {
                name: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                uid: pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let api: Api<Pod> = Api::namespaced(self.context.caches.client().clone(), &key.namespace);
        let parameters = PostParams::default();
        let bound = api.create_subresource::<_, serde_json::Value>("binding", &key.name, &parameters, &binding);
        match bound.await {
            Ok(_) => {}
            // Somebody else bound it, or it is gone: the watch will tell.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.assumed.insert(pod.metadata.uid.clone().unwrap_or_default(), (key.clone(), node.to_owned()));
        self.told.remove(&key);
        self.recorder.normal(reference(&**pod), "Scheduled", format!("Successfully assigned {key} to {node}"));
        Ok(true)
    }

    /// Says in the pod's status why it waits, where it does not say so already.
    async fn explain(&mut self, pod: &Pod, reason: &str, message: String) -> kube::Result<()> {
        let key = Key::of(pod);
        self.told.insert(key.clone(), message.clone());
        let status = pod.status.clone().unwrap_or_default();
        let says_so = |condition: &PodCondition| {
            condition.type_ == "PodScheduled"
                && condition.status == "False"
                && condition.reason.as_deref() == Some(reason)
                && condition.message.as_deref() == Some(message.as_str())
        };
        if status.conditions.iter().flatten().any(says_so) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [self.condition(&status, reason, &message)]}});
        let api: Api<Pod> = Api::namespaced(self.context.caches.client().clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(patched) => self.pods.observe(patched),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn condition(&self, status: &PodStatus, reason: &str, message: &str) -> PodCondition {
        let old = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
        let since = old.filter(|old| old.status == "False").and_then(|old| old.last_transition_time.clone());
        PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: since.or_else(|| Some(Time(self.context.clock.now()))),
            ..PodCondition::default()
        }
    }
}
