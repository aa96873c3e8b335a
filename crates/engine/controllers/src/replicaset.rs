//! ReplicaSet, and ReplicationController: as many pods as asked for.

mod replicated;

use std::{collections::HashMap, sync::Arc, time::Duration};

use coracle_client::{Cache, Change, Key, Recorder, reference};
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{Pod, ReplicationController},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::Api;

use crate::{
    control::{Action, Context, Controller, Error},
    owner::{
        Matcher, claim_all, controller_key, controller_of, controller_reference, is_deleting, name, namespace,
        post_params, uid,
    },
    pods,
};
use replicated::Replicated;

/// Pods that are created or deleted at most in one go.
const BURST_PODS: usize = 500;

struct ReplicaSets<K> {
    context: Context,
    recorder: Recorder,
    sets: Cache<K>,
    pods: Cache<Pod>,
}

/// Runs the controllers of ReplicaSets and of ReplicationControllers.
pub async fn run(context: Context) {
    futures::future::join(run_for::<ReplicaSet>(context.clone()), run_for::<ReplicationController>(context)).await;
}

async fn run_for<K: Replicated>(context: Context) {
    let sets: Cache<K> = context.caches.of();
    let pods: Cache<Pod> = context.caches.of();
    let by_pod = {
        let sets = sets.clone();
        move |change: &Change<Pod>| keys_of_pod(&sets, change)
    };
    let controller = Controller::new(K::CONTROLLER).watch_own(&sets).watch(&pods, by_pod);
    let recorder = context.events.component(K::CONTROLLER);
    sets.filled().await;
    pods.filled().await;
    let this = Arc::new(ReplicaSets { context, recorder, sets, pods });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

/// Those that control the pod or did so, or, where nobody does, those that might take it in.
fn keys_of_pod<K: Replicated>(sets: &Cache<K>, change: &Change<Pod>) -> Vec<Key> {
    let mut keys: Vec<Key> = change.states().filter_map(|pod| controller_key::<K>(&**pod)).collect();
    keys.dedup();
    if let Some(pod) = &change.current
        && controller_of(&**pod).is_none()
    {
        let fits = |set: &Arc<K>| {
            let set = set.as_set();
            let selector = set.spec.as_ref().map(|spec| Matcher::new(&spec.selector));
            selector.is_some_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
        };
        keys.extend(sets.in_namespace(namespace(&**pod)).iter().filter(|set| fits(set)).map(|set| Key::of(&**set)));
    }
    keys
}

impl<K: Replicated> ReplicaSets<K> {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(own) = self.sets.get(&key) else { return Ok(Action::Done) };
        let set = own.as_set();
        let Some(spec) = &set.spec else { return Ok(Action::Done) };
        let matcher = Matcher::new(&spec.selector);
        let claimed =
            claim_all(&self.context.client, &self.pods, &*own, &matcher, |pod| !pods::is_finished(pod)).await?;
        let (active, terminating): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|pod| pods::is_active(pod));
        let managed = if is_deleting(&*own) { Ok(()) } else { self.manage(&own, &set, &active).await };

        // What was just created or deleted is in the cache already.
        let failure = managed.as_ref().err().map(|failure| (failure.reason, failure.error.to_string()));
        let active = if managed.is_ok() { self.own_active(&own) } else { active };
        let now = self.context.now();
        let status = status(&set, &active, terminating.len(), failure, now);
        self.write_status(&own, &set, status).await?;
        managed.map_err(|failure| failure.error)?;
        Ok(Action::after(next_available(&active, spec.min_ready_seconds.unwrap_or(0), now)))
    }

    /// Creates what is missing, deletes what is too many.
    async fn manage(&self, own: &K, set: &ReplicaSet, active: &[Arc<Pod>]) -> Result<(), Failure> {
        let wanted = replicas(set);
        match active.len().cmp(&wanted) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => self.create(own, set, (wanted - active.len()).min(BURST_PODS)).await,
            std::cmp::Ordering::Greater => self.delete(own, active, (active.len() - wanted).min(BURST_PODS)).await,
        }
    }

    async fn create(&self, own: &K, set: &ReplicaSet, count: usize) -> Result<(), Failure> {
        let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
        let pod = pods::from_template(&template, name(own), controller_reference(own));
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace(own));
        let (created, failure) = pods::create_slowly(&api, &self.pods, vec![pod; count]).await;
        for pod in created {
            self.recorder.normal(reference(own), "SuccessfulCreate", format!("Created pod: {}", name(&pod)));
        }
        match failure {
            None => Ok(()),
            // The namespace is going, and so is the set.
            Some(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Some(error) => {
                let message = format!("Error creating: {}", api_message(&error));
                self.recorder.warning(reference(own), "FailedCreate", message);
                Err(Failure { reason: "FailedCreate", error: error.into() })
            }
        }
    }

    async fn delete(&self, own: &K, active: &[Arc<Pod>], count: usize) -> Result<(), Failure> {
        let related = self.related_pods(own);
        let doomed = pods_to_delete(active, &related, count, self.context.now());
        let deletions = doomed.iter().map(|pod| pods::delete(&self.context.client, &self.pods, pod));
        let mut failure = None;
        for (pod, outcome) in doomed.iter().zip(futures::future::join_all(deletions).await) {
            match outcome {
                Ok(()) => {
                    self.recorder.normal(reference(own), "SuccessfulDelete", format!("Deleted pod: {}", name(&**pod)));
                }
                Err(error) => {
                    let message = format!("Error deleting: {}", api_message(&error));
                    self.recorder.warning(reference(own), "FailedDelete", message);
                    failure = Some(Failure { reason: "FailedDelete", error: error.into() });
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Active pods of all sets with the same controller: two of them on one node are worth less than two on two.
    fn related_pods(&self, own: &K) -> Vec<Arc<Pod>> {
        let sets = self.sets.in_namespace(namespace(own));
        let siblings: Vec<&str> = match controller_of(own) {
            None => vec![name(own)],
            Some(owner) => {
                let same = |other: &&Arc<K>| controller_of(&***other).is_some_and(|other| other.uid == owner.uid);
                sets.iter().filter(same).map(|sibling| name(&**sibling)).collect()
            }
        };
        let of_sibling = |pod: &Arc<Pod>| {
            controller_key::<K>(&**pod).is_some_and(|key| siblings.contains(&key.name.as_str())) && pods::is_active(pod)
        };
        self.pods.in_namespace(namespace(own)).into_iter().filter(of_sibling).collect()
    }

    fn own_active(&self, own: &K) -> Vec<Arc<Pod>> {
        let owned =
            |pod: &Arc<Pod>| controller_of(&**pod).is_some_and(|owner| owner.uid == uid(own)) && pods::is_active(pod);
        self.pods.in_namespace(namespace(own)).into_iter().filter(owned).collect()
    }

    async fn write_status(&self, own: &K, set: &ReplicaSet, status: ReplicaSetStatus) -> Result<(), Error> {
        let updated = own.with_status(status);
        if set.status == updated.as_set().status {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.context.client.clone(), namespace(own));
        self.sets.observe(api.replace_status(name(own), &post_params(), &updated).await?);
        Ok(())
    }
}

/// Why pods could not be created or deleted, as the set's condition says it.
struct Failure {
    reason: &'static str,
    error: Error,
}

/// The API's own words about an error.
pub(crate) fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn is_namespace_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

fn replicas(set: &ReplicaSet) -> usize {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    usize::try_from(replicas).unwrap_or(0)
}

/// Which pods go first.
fn pods_to_delete(active: &[Arc<Pod>], related: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for pod in related {
        *on_node.entry(node(pod)).or_default() += 1;
    }
    let rank = |pod: &Pod| on_node.get(&node(pod)).copied().unwrap_or(0);
    let mut ranked: Vec<(&Arc<Pod>, usize)> = active.iter().map(|pod| (pod, rank(pod))).collect();
    ranked.sort_by(|a, b| pods::deletion_order((a.0, a.1), (b.0, b.1), now));
    ranked.into_iter().take(count).map(|(pod, _)| Arc::clone(pod)).collect()
}

/// When the next ready pod has been so for long enough.
fn next_available(active: &[Arc<Pod>], min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    active.iter().filter_map(|pod| pods::available_in(pod, min_ready_seconds, now)).filter(|wait| !wait.is_zero()).min()
}

/// The status that describes the set's pods.
fn status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<(&'static str, String)>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let template_labels =
        spec.template.and_then(|template| template.metadata).and_then(|meta| meta.labels).unwrap_or_default();
    let has_all_labels = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref();
        template_labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    };
    let count = |which: &dyn Fn(&Pod) -> bool| active.iter().filter(|pod| which(pod)).count() as i32;
    let min_ready_seconds = spec.min_ready_seconds.unwrap_or(0);
    let old = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: Some(count(&has_all_labels)),
        ready_replicas: Some(count(&|pod| pods::is_ready(pod))),
        available_replicas: Some(count(&|pod| pods::is_available(pod, min_ready_seconds, now))),
        terminating_replicas: Some(terminating as i32),
        observed_generation: set.metadata.generation,
        conditions: failure_condition(old.conditions, failure, now),
    }
}

/// `ReplicaFailure` stands as long as the failure lasts, with its first words.
fn failure_condition(
    old: Option<Vec<ReplicaSetCondition>>,
    failure: Option<(&'static str, String)>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = old.unwrap_or_default();
    match failure {
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
        Some(_) if conditions.iter().any(|condition| condition.type_ == "ReplicaFailure") => {}
        Some((reason, message)) => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(now)),
            reason: Some(reason.to_owned()),
            message: Some(message),
        }),
    }
    (!conditions.is_empty()).then_some(conditions)
}
