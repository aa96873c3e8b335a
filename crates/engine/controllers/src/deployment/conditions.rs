//! What a deployment's status says: counts, whether it is available, whether it gets anywhere.

use std::time::Duration;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use super::numbers::{actual, available, desired, max_unavailable, size};
use crate::owner::name;

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

pub(super) type Conditions = Vec<DeploymentCondition>;

pub(super) fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
        reason: Some(reason.to_owned()),
        message: Some(message),
    }
}

pub(super) fn find<'a>(conditions: &'a Conditions, type_: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Puts a condition in place of the one of its type, unless that says the same already.
pub(super) fn set(conditions: &mut Conditions, mut condition: DeploymentCondition) {
    if let Some(current) = find(conditions, &condition.type_) {
        if current.status == condition.status && current.reason == condition.reason {
            return;
        }
        if current.status == condition.status {
            condition.last_transition_time.clone_from(&current.last_transition_time);
        }
    }
    remove(conditions, &condition.type_);
    conditions.push(condition);
}

fn remove(conditions: &mut Conditions, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

pub(super) fn deadline(deployment: &Deployment) -> Option<i32> {
    let deadline = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
    deadline.filter(|seconds| *seconds != i32::MAX)
}

/// Counts, and whether enough of them are available.
pub(super) fn counts(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    mut conditions: Conditions,
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |count: &dyn Fn(&ReplicaSet) -> i32| sets.iter().map(count).sum::<i32>();
    let available = sum(&available);
    let condition = if available >= desired(deployment) - max_unavailable(deployment) {
        let message = "Deployment has minimum availability.".to_owned();
        condition(AVAILABLE, "True", "MinimumReplicasAvailable", message, now)
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message, now)
    };
    set(&mut conditions, condition);
    // Zero counts are left out, as the reference does.
    let count = |count: i32| Some(count).filter(|count| *count != 0);
    let terminating = sum(&|set| set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or(0));
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: count(sum(&actual)),
        updated_replicas: count(new.map_or(0, actual)),
        ready_replicas: count(sum(&|set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0))),
        available_replicas: count(available),
        unavailable_replicas: count((sum(&size) - available).max(0)),
        terminating_replicas: Some(terminating),
        collision_count: deployment.status.as_ref().and_then(|status| status.collision_count),
        conditions: Some(conditions),
    }
}

/// Whether the deployment is all new, all there, and nothing else.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let desired = desired(deployment);
    let is_desired = |count: Option<i32>| count.unwrap_or(0) == desired;
    is_desired(status.updated_replicas)
        && is_desired(status.replicas)
        && is_desired(status.available_replicas)
        && status.observed_generation >= deployment.metadata.generation
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

fn deadline_at(deployment: &Deployment, progressing: &DeploymentCondition) -> Option<Timestamp> {
    let since = progressing.last_update_time.as_ref().or(progressing.last_transition_time.as_ref())?;
    Some(since.0 + SignedDuration::from_secs(i64::from(deadline(deployment)?)))
}

/// Judges the progress of a rollout into the status, and says when to look again though nothing changed.
pub(super) fn judge(
    deployment: &Deployment,
    status: &mut DeploymentStatus,
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> Option<Duration> {
    let complete = is_complete(deployment, status);
    let old = deployment.status.clone().unwrap_or_default();
    let progressed = has_progressed(&old, status);
    let all_updated = status.replicas == status.updated_replicas;
    let conditions = status.conditions.get_or_insert_default();
    if deadline(deployment).is_none() {
        remove(conditions, PROGRESSING);
    }
    let current = find(conditions, PROGRESSING).cloned();
    let was_complete = all_updated && reason(current.as_ref()) == Some(NEW_SET_AVAILABLE);
    if deadline(deployment).is_some() && !was_complete {
        let what = match new {
            Some(set) => format!("ReplicaSet \"{}\"", name(set)),
            None => format!("Deployment \"{}\"", name(deployment)),
        };
        if complete {
            let message = format!("{what} has successfully progressed.");
            set(conditions, condition(PROGRESSING, "True", NEW_SET_AVAILABLE, message, now));
        } else if progressed {
            let mut progressing =
                condition(PROGRESSING, "True", "ReplicaSetUpdated", format!("{what} is progressing."), now);
            if let Some(current) = current.filter(|current| current.status == "True") {
                progressing.last_transition_time = current.last_transition_time;
            }
            // Even when it says the same: the deadline counts from the last progress.
            remove(conditions, PROGRESSING);
            conditions.push(progressing);
        } else if has_timed_out(deployment, current.as_ref(), now) {
            let message = format!("{what} has timed out progressing.");
            set(conditions, condition(PROGRESSING, "False", TIMED_OUT, message, now));
        }
    }
    match replica_failure(sets, new) {
        Some(failure) => set(conditions, failure),
        None => remove(conditions, REPLICA_FAILURE),
    }
    let current = find(conditions, PROGRESSING)?;
    // What was complete once does not time out any more, whatever happens to its pods.
    if complete || matches!(reason(Some(current)), Some(TIMED_OUT | NEW_SET_AVAILABLE)) {
        return None;
    }
    let left: Duration = deadline_at(deployment, current)?.duration_since(now).try_into().unwrap_or(Duration::ZERO);
    // Times are kept in whole seconds.
    Some(left + Duration::from_secs(1))
}

fn reason(condition: Option<&DeploymentCondition>) -> Option<&str> {
    condition.and_then(|condition| condition.reason.as_deref())
}

fn has_timed_out(deployment: &Deployment, current: Option<&DeploymentCondition>, now: Timestamp) -> bool {
    let Some(current) = current else { return false };
    match current.reason.as_deref() {
        Some(TIMED_OUT) => true,
        Some(NEW_SET_AVAILABLE) => false,
        _ => deadline_at(deployment, current).is_some_and(|at| now > at),
    }
}

/// The new set's failure to make pods, or else any other set's.
fn replica_failure(sets: &[ReplicaSet], new: Option<&ReplicaSet>) -> Option<DeploymentCondition> {
    let failure = new.into_iter().chain(sets).find_map(|set| {
        let conditions = set.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().find(|condition| condition.type_ == REPLICA_FAILURE)
    })?;
    Some(DeploymentCondition {
        type_: failure.type_.clone(),
        status: failure.status.clone(),
        last_transition_time: failure.last_transition_time.clone(),
        last_update_time: failure.last_transition_time.clone(),
        reason: failure.reason.clone(),
        message: failure.message.clone(),
    })
}

/// Says in the condition whether the rollout is paused; the time it was does not count against its deadline.
pub(super) fn note_pause(deployment: &Deployment, conditions: &mut Conditions, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let current = find(conditions, PROGRESSING);
    if reason(current) == Some(TIMED_OUT) {
        return;
    }
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    let was_paused = reason(current) == Some("DeploymentPaused");
    if paused && !was_paused {
        set(conditions, condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".to_owned(), now));
    } else if !paused && was_paused {
        set(
            conditions,
            condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned(), now),
        );
    }
}
