//! The decision: which pod of a set to make or to end next. Pure.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::util::intstr::IntOrString,
    jiff::Timestamp,
};

use crate::{
    history::REVISION_LABEL,
    owner::{is_deleting, name},
    pods,
};

/// One change to make.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// A pod of this number, of the revision of this name.
    Create(i32, String),
    /// A pod that ended by itself; another takes its place.
    Replace(Arc<Pod>),
    Delete(Arc<Pod>),
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) status: StatefulSetStatus,
    pub(super) look_again: Option<Duration>,
}

/// The pod's number, where its name is the set's and a number.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    name(pod).strip_prefix(name(set))?.strip_prefix('-')?.parse().ok()
}

pub(super) fn revision_of(pod: &Pod) -> Option<&str> {
    Some(pod.metadata.labels.as_ref()?.get(REVISION_LABEL)?.as_str())
}

fn is_created(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.is_some())
}

fn is_running_and_ready(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}

/// How many pods of a revision there are to stay.
fn count_of(pods: &[Arc<Pod>], revision: &str) -> i32 {
    let of = |pod: &&Arc<Pod>| is_created(pod) && !pods::is_terminating(pod) && revision_of(pod) == Some(revision);
    pods.iter().filter(of).count() as i32
}

struct Rules {
    start: i32,
    replicas: i32,
    /// One after the other, each only once all before it are available.
    one_by_one: bool,
    on_delete: bool,
    partition: Option<i32>,
    max_unavailable: i32,
    min_ready_seconds: i32,
}

impl Rules {
    fn of(set: &StatefulSet) -> Self {
        let spec = set.spec.clone().unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update;
        let replicas = spec.replicas.unwrap_or(1);
        let max_unavailable = match rolling.as_ref().and_then(|rolling| rolling.max_unavailable.clone()) {
            Some(IntOrString::Int(number)) => number,
            // Rounded up, so that it is never nothing.
            Some(IntOrString::String(text)) => {
                let percent: i32 = text.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(0);
                (percent * replicas + 99) / 100
            }
            None => 1,
        };
        Self {
            start: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0),
            replicas,
            one_by_one: spec.pod_management_policy.as_deref() != Some("Parallel"),
            on_delete: strategy.type_.as_deref() == Some("OnDelete"),
            partition: rolling.and_then(|rolling| rolling.partition),
            max_unavailable: max_unavailable.max(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        }
    }

    /// Whether a pod of this number is still to be of the former revision, of which there are `current`.
    fn is_of_former(&self, current: i32, ordinal: i32) -> bool {
        match self.partition.filter(|_| !self.on_delete) {
            Some(partition) if partition > 0 => ordinal < partition.max(self.start),
            _ => ordinal < self.start + current,
        }
    }

    fn is_available(&self, pod: &Pod, now: Timestamp) -> bool {
        is_running_and_ready(pod) && pods::is_available(pod, self.min_ready_seconds, now)
    }
}

/// Decides. `former` and `update` are names of revisions: what the set came from, and what its template is now.
pub(super) fn plan(set: &StatefulSet, pods: &[Arc<Pod>], former: &str, update: &str, now: Timestamp) -> Plan {
    let rules = Rules::of(set);
    let wanted = |pod: &Arc<Pod>| {
        ordinal(set, pod).is_some_and(|ordinal| (rules.start..rules.start + rules.replicas).contains(&ordinal))
    };
    let (mut members, mut condemned): (Vec<Arc<Pod>>, Vec<Arc<Pod>>) =
        pods.iter().filter(|pod| ordinal(set, pod).is_some()).cloned().partition(wanted);
    members.sort_by_key(|pod| ordinal(set, pod));
    condemned.sort_by_key(|pod| std::cmp::Reverse(ordinal(set, pod)));
    let steps =
        if is_deleting(set) { Vec::new() } else { steps(set, &rules, &members, &condemned, (former, update), now) };
    let status = status(set, &rules, pods, (former, update), now);
    let waits = pods.iter().filter_map(|pod| pods::available_in(pod, rules.min_ready_seconds, now));
    Plan { steps, status, look_again: waits.filter(|wait| !wait.is_zero()).min() }
}

fn steps(
    set: &StatefulSet,
    rules: &Rules,
    members: &[Arc<Pod>],
    condemned: &[Arc<Pod>],
    (former, update): (&str, &str),
    now: Timestamp,
) -> Vec<Step> {
    // Counted, not taken from the status: that may not have heard of the last deletion yet.
    let current = count_of(members, former);
    let mut steps = Vec::new();
    for number in rules.start..rules.start + rules.replicas {
        let member = members.iter().find(|pod| ordinal(set, pod) == Some(number));
        match member {
            None => {
                let revision = if rules.is_of_former(current, number) { former } else { update };
                steps.push(Step::Create(number, revision.to_owned()));
            }
            Some(pod) if pods::is_finished(pod) && !pods::is_terminating(pod) => {
                steps.push(Step::Replace(Arc::clone(pod)))
            }
            Some(pod) if pods::is_terminating(pod) || !rules.is_available(pod, now) => {}
            Some(_) => continue,
        }
        if rules.one_by_one {
            return steps;
        }
    }
    for pod in condemned {
        if !pods::is_terminating(pod) {
            steps.push(Step::Delete(Arc::clone(pod)));
        }
        if rules.one_by_one {
            return steps;
        }
    }
    if steps.is_empty() && !rules.on_delete {
        steps.extend(updates(set, rules, members, update, now));
    }
    steps
}

/// From the highest number down: pods of another revision go, as many at once as may be unavailable.
fn updates(set: &StatefulSet, rules: &Rules, members: &[Arc<Pod>], update: &str, now: Timestamp) -> Vec<Step> {
    let first = rules.partition.unwrap_or(0).max(rules.start);
    let unavailable = members.iter().filter(|pod| pods::is_terminating(pod) || !rules.is_available(pod, now)).count();
    let budget = usize::try_from(rules.max_unavailable).unwrap_or(1).saturating_sub(unavailable);
    let outdated = members.iter().rev().filter(|pod| {
        ordinal(set, pod) >= Some(first) && revision_of(pod) != Some(update) && !pods::is_terminating(pod)
    });
    let is_broken = |pod: &Arc<Pod>| !rules.is_available(pod, now);
    // A pod that is not available anyway takes nothing from the budget.
    let (broken, healthy): (Vec<_>, Vec<_>) = outdated.partition(|pod| is_broken(pod));
    let healthy = healthy.into_iter().take(budget);
    broken.into_iter().chain(healthy).map(|pod| Step::Delete(Arc::clone(pod))).collect()
}

fn status(
    set: &StatefulSet,
    rules: &Rules,
    pods: &[Arc<Pod>],
    (former, update): (&str, &str),
    now: Timestamp,
) -> StatefulSetStatus {
    let count = |which: &dyn Fn(&Pod) -> bool| pods.iter().filter(|pod| which(pod)).count() as i32;
    let old = set.status.clone().unwrap_or_default();
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: count(&is_created),
        ready_replicas: Some(count(&is_running_and_ready)),
        available_replicas: Some(count(&|pod| rules.is_available(pod, now))),
        current_replicas: Some(count_of(pods, former)),
        updated_replicas: Some(count_of(pods, update)),
        current_revision: Some(former.to_owned()),
        update_revision: Some(update.to_owned()),
        collision_count: old.collision_count.or(Some(0)),
        conditions: old.conditions,
    };
    let complete = status.updated_replicas == Some(status.replicas)
        && status.ready_replicas == Some(status.replicas)
        && status.replicas == rules.replicas;
    if complete && !rules.on_delete {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    status
}
