//! Events, as `kubectl describe` and `kubectl get events` show them: recorded without making anybody wait, and counted
//! up instead of repeated.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use coracle_clock::Clock;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::caches::AbortOnDrop;

/// Events that wait to be written; more are dropped, because nothing may wait for an event.
const QUEUE_EVENTS: usize = 1024;
/// Events that are remembered, to be counted up when they happen again.
const REMEMBERED_EVENTS: usize = 4096;

/// Whether an event is good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It is as it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl EventType {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Where a process's events go. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Happening>,
    _writer: Arc<AbortOnDrop>,
}

/// One component's way to record events.
#[derive(Clone)]
pub struct Recorder {
    events: Events,
    component: &'static str,
    host: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    component: &'static str,
    host: Option<String>,
    namespace: String,
    kind: String,
    name: String,
    uid: String,
    field_path: Option<String>,
    event_type: EventType,
    reason: String,
    message: String,
}

struct Happening {
    identity: Identity,
    about: ObjectReference,
}

impl Events {
    /// Starts writing events.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        let (queue, happenings) = mpsc::channel(QUEUE_EVENTS);
        let writer = coracle_tasks::spawn("events", write(client, clock, happenings));
        Self { queue, _writer: Arc::new(AbortOnDrop(writer)) }
    }

    /// A recorder for a component, such as `replicaset-controller`.
    pub fn component(&self, component: &'static str) -> Recorder {
        Recorder { events: self.clone(), component, host: None }
    }
}

impl Recorder {
    /// The same recorder, for a component that runs on a node of that name.
    pub fn on_host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Records that something good happened.
    pub fn normal(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(about, EventType::Normal, reason, message.into());
    }

    /// Records that something went wrong.
    pub fn warning(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(about, EventType::Warning, reason, message.into());
    }

    /// Records an event.
    pub fn record(&self, about: ObjectReference, event_type: EventType, reason: &str, message: String) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let identity = Identity {
            component: self.component,
            host: self.host.clone(),
            namespace: text(&about.namespace),
            kind: text(&about.kind),
            name: text(&about.name),
            uid: text(&about.uid),
            field_path: about.field_path.clone(),
            event_type,
            reason: reason.to_owned(),
            message,
        };
        if self.events.queue.try_send(Happening { identity, about }).is_err() {
            tracing::debug!(component = self.component, reason, "an event was dropped: too many wait");
        }
    }
}

/// A reference to an object, as events and `targetRef`s hold it.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// What was written of an event that may happen again.
struct Written {
    name: String,
    count: i32,
}

async fn write(client: Client, clock: Arc<dyn Clock>, mut happenings: mpsc::Receiver<Happening>) {
    let mut written: HashMap<Identity, Written> = HashMap::new();
    let mut order: VecDeque<Identity> = VecDeque::new();
    let mut serial = 0u64;
    while let Some(happening) = happenings.recv().await {
        serial += 1;
        let namespace = Some(happening.identity.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let api: Api<Event> = Api::namespaced(client.clone(), namespace.unwrap_or("default"));
        if let Some(known) = written.get_mut(&happening.identity)
            && count_up(&api, known, &*clock).await
        {
            continue;
        }
        let event = event(&happening, &*clock, serial, namespace.unwrap_or("default"));
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if written.insert(happening.identity.clone(), Written { name, count: 1 }).is_none() {
                    order.push_back(happening.identity);
                }
                if order.len() > REMEMBERED_EVENTS
                    && let Some(oldest) = order.pop_front()
                {
                    written.remove(&oldest);
                }
            }
            // An object's last events often come when its namespace takes no more.
            Err(error) => tracing::debug!(%error, name, "an event was not written"),
        }
    }
}

/// Says that an event happened once more; false where it is no longer there.
async fn count_up(api: &Api<Event>, known: &mut Written, clock: &dyn Clock) -> bool {
    known.count += 1;
    let patch = json!({"count": known.count, "lastTimestamp": Time(clock.now())});
    api.patch(&known.name, &PatchParams::default(), &Patch::Merge(patch)).await.is_ok()
}

fn event(happening: &Happening, clock: &dyn Clock, serial: u64, namespace: &str) -> Event {
    let Happening { identity, about } = happening;
    let now = clock.now();
    // Unique among an object's events: the time it happened at, and a number against clocks that stand still.
    let suffix = (now.as_nanosecond() as u64).wrapping_add(serial);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{suffix:016x}", identity.name)),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        type_: Some(identity.event_type.name().to_owned()),
        reason: Some(identity.reason.clone()),
        message: Some(identity.message.clone()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource { component: Some(identity.component.to_owned()), host: identity.host.clone() }),
        reporting_component: Some(identity.component.to_owned()),
        reporting_instance: Some(identity.host.clone().unwrap_or_default()),
        ..Event::default()
    }
}
