//! What controllers ask of pods: are they ready, since when, and which may go first.

use std::{cmp::Ordering, time::Duration};

use coracle_client::{Cache, Key};
use futures::future::join_all;
use k8s_openapi::{
    api::core::v1::{Pod, PodCondition, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Preconditions},
};

use crate::owner::{name, post_params, uid};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Neither finished nor on its way out.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready")
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

/// Since when a ready pod is so.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)
        .filter(|condition| condition.status == "True")?
        .last_transition_time
        .as_ref()
        .map(|time| time.0)
}

/// How long a pod still has to be ready to count as available: zero where it is, nothing where it is not even ready.
pub(crate) fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let available_at = ready_since(pod)? + SignedDuration::from_secs(i64::from(min_ready_seconds));
    Some(available_at.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    available_in(pod, min_ready_seconds, now) == Some(Duration::ZERO)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn phase_rank(pod: &Pod) -> u8 {
    match phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    }
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// How old something is, in powers of two: differences in age that do not matter are no differences.
fn age_rank(since: Timestamp, now: Timestamp) -> u32 {
    let age = now.duration_since(since).as_nanos().max(0) as u128;
    u128::BITS - age.leading_zeros()
}

/// Newer before older, to the precision of [`age_rank`], then by uid; unknown counts as newest.
fn newer_first(a: Option<Timestamp>, b: Option<Timestamp>, pods: (&Pod, &Pod), now: Timestamp) -> Ordering {
    match (a, b) {
        _ if a == b => Ordering::Equal,
        (None, _) => Ordering::Less,
        (_, None) => Ordering::Greater,
        (Some(a), Some(b)) => age_rank(a, now).cmp(&age_rank(b, now)).then_with(|| uid(pods.0).cmp(uid(pods.1))),
    }
}

/// The order in which upstream gives up pods, first to go first. A pod's rank says how many related pods share its node.
pub(crate) fn deletion_order(a: (&Pod, usize), b: (&Pod, usize), now: Timestamp) -> Ordering {
    let ((a, a_rank), (b, b_rank)) = (a, b);
    let assigned =
        |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()));
    let both_ready = is_ready(a) && is_ready(b);
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| b_rank.cmp(&a_rank))
        .then_with(
            || if both_ready { newer_first(ready_since(a), ready_since(b), (a, b), now) } else { Ordering::Equal },
        )
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| newer_first(created(a), created(b), (a, b), now))
}

/// A pod as a template says, controlled by an owner.
pub(crate) fn from_template(template: &PodTemplateSpec, owner_name: &str, owner: OwnerReference) -> Pod {
    let from = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{owner_name}-")),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Creates pods in batches that double while they succeed, so that a namespace that takes none is not flooded. Returns
/// what was created, and the error that stopped it.
pub(crate) async fn create_slowly(
    api: &Api<Pod>,
    cache: &Cache<Pod>,
    pods: Vec<Pod>,
) -> (Vec<Pod>, Option<kube::Error>) {
    let mut waiting = pods.into_iter();
    let mut created = Vec::new();
    let mut batch = 1;
    loop {
        let group: Vec<Pod> = waiting.by_ref().take(batch).collect();
        if group.is_empty() {
            return (created, None);
        }
        let parameters = post_params();
        let mut failure = None;
        for outcome in join_all(group.iter().map(|pod| api.create(&parameters, pod))).await {
            match outcome {
                Ok(pod) => {
                    cache.observe(pod.clone());
                    created.push(pod);
                }
                Err(error) => failure = Some(error),
            }
        }
        if failure.is_some() {
            return (created, failure);
        }
        batch *= 2;
    }
}

/// Asks for a pod's deletion. One that is gone already is fine.
pub(crate) async fn delete(client: &Client, cache: &Cache<Pod>, pod: &Pod) -> kube::Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
    let this_one = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    let parameters = DeleteParams::default().preconditions(this_one);
    match api.delete(name(pod), &parameters).await.map(|outcome| outcome.left().filter(is_terminating)) {
        Ok(Some(going)) => cache.observe(going),
        Ok(None) => cache.forget(&Key::of(pod), uid(pod)),
        // Gone, or another pod of the same name stands there now.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
            cache.forget(&Key::of(pod), uid(pod))
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
