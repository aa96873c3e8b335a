//! Events, as the kubelet tells them: the same news counts up one object instead of making many, and a pod that repeats itself
//! is listened to less and less. One task writes; who records never waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use coracle_clock::Clock;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

/// News waiting to be written; more than that is dropped.
const QUEUE: usize = 1024;
/// Events whose counts are remembered.
const REMEMBERED: usize = 4096;
/// What one object may tell at once, and after how long it may tell one thing more.
const BURST: u32 = 25;
const REFILL: SignedDuration = SignedDuration::from_secs(300);

/// Whether news is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct News {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// `spec.containers{name}`, where it is about a container.
    pub field_path: Option<String>,
    pub severity: Severity,
    pub reason: String,
    pub message: String,
}

/// Takes news from anywhere.
#[derive(Clone)]
pub struct Recorder(mpsc::Sender<News>);

impl Recorder {
    /// A recorder and the queue it fills.
    pub fn new() -> (Self, mpsc::Receiver<News>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Hands on news, or drops it where far too much waits already.
    pub fn record(&self, news: News) {
        if self.0.try_send(news).is_err() {
            tracing::debug!("an event was dropped: the queue is full");
        }
    }

    /// News about a pod, or one of its containers.
    pub fn pod(&self, pod: &core::Pod, container: Option<&str>, severity: Severity, reason: &str, message: String) {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        self.record(News {
            kind: "Pod",
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
            field_path: container.map(|name| field_path(pod, name)),
            severity,
            reason: reason.to_owned(),
            message,
        });
    }
}

fn field_path(pod: &core::Pod, container: &str) -> String {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).any(|c| c.name == container);
    let list = if init { "initContainers" } else { "containers" };
    format!("spec.{list}{{{container}}}")
}

/// What to do with a piece of news.
#[derive(Debug, PartialEq, Eq)]
enum Telling {
    Create { name: String },
    Count { name: String, count: i32 },
    Silence,
}

/// What has been told already. Pure.
#[derive(Default)]
struct Told {
    events: HashMap<News, (String, i32)>,
    order: VecDeque<News>,
    buckets: HashMap<String, (u32, Timestamp)>,
}

impl Told {
    fn tell(&mut self, news: &News, now: Timestamp, fresh_name: impl FnOnce() -> String) -> Telling {
        if !self.may_speak(&news.uid, now) {
            return Telling::Silence;
        }
        if let Some((name, count)) = self.events.get_mut(news) {
            *count += 1;
            return Telling::Count { name: name.clone(), count: *count };
        }
        let name = fresh_name();
        self.events.insert(news.clone(), (name.clone(), 1));
        self.order.push_back(news.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.events.remove(&oldest);
            self.buckets.retain(|_, (used, _)| *used > 0);
        }
        Telling::Create { name }
    }

    /// A bucket of tokens for every object.
    fn may_speak(&mut self, uid: &str, now: Timestamp) -> bool {
        let (used, since) = self.buckets.entry(uid.to_owned()).or_insert((0, now));
        let refilled = now.duration_since(*since).as_secs() / REFILL.as_secs();
        if refilled > 0 {
            *used = used.saturating_sub(u32::try_from(refilled).unwrap_or(u32::MAX));
            *since += REFILL * i32::try_from(refilled).unwrap_or(i32::MAX);
        }
        let may = *used < BURST;
        *used += u32::from(may);
        may
    }

    /// The event is gone from the API: the next one is a new one.
    fn forget(&mut self, news: &News) {
        self.events.remove(news);
    }
}

/// Writes news to the API until all recorders are gone.
pub async fn run(mut queue: mpsc::Receiver<News>, client: kube::Client, node_name: String, clock: Arc<dyn Clock>) {
    let mut told = Told::default();
    while let Some(news) = queue.recv().await {
        let now = clock.now();
        // Events of the node itself live in the default namespace.
        let namespace = if news.namespace.is_empty() { "default" } else { &news.namespace };
        let api: Api<core::Event> = Api::namespaced(client.clone(), namespace);
        let name = || format!("{}.{:x}", news.name, now.as_nanosecond());
        let result = match told.tell(&news, now, name) {
            Telling::Silence => Ok(()),
            Telling::Create { name } => create(&api, &news, name, namespace, &node_name, now).await,
            Telling::Count { name, count } => count_up(&api, &name, count, now).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, reason = news.reason, "an event was not written");
            told.forget(&news);
        }
    }
}

async fn create(
    api: &Api<core::Event>,
    news: &News,
    name: String,
    namespace: &str,
    node_name: &str,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let event = core::Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() },
        involved_object: core::ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(news.kind.to_owned()),
            name: Some(news.name.clone()),
            namespace: Some(news.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid: Some(news.uid.clone()),
            field_path: news.field_path.clone(),
            resource_version: None,
        },
        type_: Some(format!("{:?}", news.severity)),
        reason: Some(news.reason.clone()),
        message: Some(news.message.clone()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(core::EventSource { component: Some("kubelet".to_owned()), host: Some(node_name.to_owned()) }),
        reporting_component: Some("kubelet".to_owned()),
        reporting_instance: Some(node_name.to_owned()),
        ..core::Event::default()
    };
    api.create(&PostParams::default(), &event).await.map(drop)
}

async fn count_up(api: &Api<core::Event>, name: &str, count: i32, now: Timestamp) -> Result<(), kube::Error> {
    let patch = json!({ "count": count, "lastTimestamp": Time(now) });
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{BURST, News, REFILL, Severity, Telling, Told};

    fn news(message: &str) -> News {
        News {
            kind: "Pod",
            namespace: "shop".into(),
            name: "web".into(),
            uid: "u1".into(),
            field_path: None,
            severity: Severity::Warning,
            reason: "Unhealthy".into(),
            message: message.into(),
        }
    }

    #[test]
    fn the_same_news_counts_up() {
        let (mut told, now) = (Told::default(), Timestamp::UNIX_EPOCH);
        let mut tell = |message: &str| told.tell(&news(message), now, || format!("event-{message}"));
        assert_eq!(tell("a"), Telling::Create { name: "event-a".into() });
        assert_eq!(tell("a"), Telling::Count { name: "event-a".into(), count: 2 });
        assert_eq!(tell("b"), Telling::Create { name: "event-b".into() });
        told.forget(&news("a"));
        assert_eq!(told.tell(&news("a"), now, || "again".into()), Telling::Create { name: "again".into() });
    }

    #[test]
    fn who_says_too_much_is_heard_every_five_minutes() {
        let (mut told, mut now) = (Told::default(), Timestamp::UNIX_EPOCH);
        let spoken = (0..100).filter(|_| told.tell(&news("a"), now, || "e".into()) != Telling::Silence).count();
        assert_eq!(spoken, usize::try_from(BURST).expect("it fits"));
        now += REFILL + SignedDuration::from_secs(1);
        assert_ne!(told.tell(&news("a"), now, || "e".into()), Telling::Silence);
        assert_eq!(told.tell(&news("a"), now, || "e".into()), Telling::Silence);
    }
}
