//! The decision: on which nodes a daemon is missing, too many, or out of date. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use coracle_scheduler::selectors::{untolerated, wants};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetStatus},
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::util::intstr::IntOrString,
    jiff::Timestamp,
};

use super::template_for;
use crate::{history::REVISION_LABEL, owner::name, pods};

/// One change to make.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// A pod for the node of this name.
    Create(String),
    /// A pod that failed; another takes its place.
    Replace(Arc<Pod>),
    Delete(Arc<Pod>),
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) status: DaemonSetStatus,
    pub(super) look_again: Option<Duration>,
}

/// The node a daemon runs on, or is meant for.
pub(super) fn node_of(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.clone().filter(|node| !node.is_empty()) {
        return Some(node);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    fields.find(|field| field.key == "metadata.name")?.values.as_ref()?.first().cloned()
}

pub(super) fn revision_of(pod: &Pod) -> Option<&str> {
    Some(pod.metadata.labels.as_ref()?.get(REVISION_LABEL)?.as_str())
}

/// Whether a new daemon is to go to a node, and whether one that is there may stay.
fn should_run(set: &DaemonSet, node: &Node) -> (bool, bool) {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let daemon = Pod { spec: template_for(template, name(node)).spec, ..Pod::default() };
    if !wants(&daemon, node) {
        return (false, false);
    }
    match untolerated(&daemon, node) {
        None => (true, true),
        // What only keeps new ones off lets those that are there stay.
        Some(taint) => (false, taint.effect != "NoExecute"),
    }
}

/// Numbers of a rolling update: how many more than one a node, how many nodes without.
fn fenceposts(set: &DaemonSet, nodes: usize) -> (usize, usize) {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    // Both are rounded up.
    let resolve = |value: Option<&IntOrString>, default: usize| match value {
        None => default,
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or(0),
        Some(IntOrString::String(text)) => {
            let percent: usize = text.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(0);
            (percent * nodes).div_ceil(100)
        }
    };
    let surge = resolve(rolling.and_then(|rolling| rolling.max_surge.as_ref()), 0);
    let unavailable = resolve(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), 1);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// Decides. `hash` is the present revision's.
pub(super) fn plan(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>], hash: &str, now: Timestamp) -> Plan {
    let min_ready_seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        by_node.entry(node_of(pod).unwrap_or_default()).or_default().push(Arc::clone(pod));
    }
    for pods in by_node.values_mut() {
        pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), name(&**pod).to_owned()));
    }
    let mut look = Look { set, hash, now, min_ready_seconds, steps: Vec::new(), status: DaemonSetStatus::default() };
    let mut daemons: Vec<Vec<Arc<Pod>>> = Vec::new();
    for node in nodes {
        let there = by_node.remove(name(&**node)).unwrap_or_default();
        daemons.extend(look.at_node(node, there));
    }
    // Their nodes are gone.
    look.steps.extend(by_node.into_values().flatten().filter(|pod| !pods::is_terminating(pod)).map(Step::Delete));
    if look.steps.is_empty() {
        look.update(&daemons);
    }
    let waits = pods.iter().filter_map(|pod| pods::available_in(pod, min_ready_seconds, now));
    let look_again = waits.filter(|wait| !wait.is_zero()).min();
    Plan { status: look.finish(), steps: look.steps, look_again }
}

struct Look<'a> {
    set: &'a DaemonSet,
    hash: &'a str,
    now: Timestamp,
    min_ready_seconds: i32,
    steps: Vec<Step>,
    status: DaemonSetStatus,
}

impl Look<'_> {
    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(pod, self.min_ready_seconds, self.now)
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        revision_of(pod) == Some(self.hash)
    }

    /// Counts a node, makes or ends daemons there; returns those of a node that is to have one.
    fn at_node(&mut self, node: &Node, there: Vec<Arc<Pod>>) -> Option<Vec<Arc<Pod>>> {
        let (should_run, may_stay) = should_run(self.set, node);
        self.count(should_run, &there);
        let (going, staying): (Vec<_>, Vec<_>) = there.iter().cloned().partition(|pod| pods::is_terminating(pod));
        let (failed, alive): (Vec<_>, Vec<_>) = staying.into_iter().partition(|pod| pods::is_finished(pod));
        if !should_run && !may_stay {
            self.steps.extend(alive.into_iter().chain(failed).map(Step::Delete));
            return None;
        }
        self.steps.extend(failed.iter().cloned().map(Step::Replace));
        if should_run && alive.is_empty() && going.is_empty() && failed.is_empty() {
            self.steps.push(Step::Create(name(node).to_owned()));
        }
        // One a node, the oldest; during an update that makes the new one first, one of each.
        let (updated, outdated): (Vec<_>, Vec<_>) = alive.into_iter().partition(|pod| self.is_updated(pod));
        let surplus: Vec<Arc<Pod>> = updated.iter().skip(1).chain(outdated.iter().skip(1)).cloned().collect();
        self.steps.extend(surplus.into_iter().map(Step::Delete));
        should_run.then(|| there.into_iter().filter(|pod| !pods::is_finished(pod)).collect())
    }

    fn count(&mut self, should_run: bool, there: &[Arc<Pod>]) {
        let status = &mut self.status;
        if !should_run {
            status.number_misscheduled += i32::from(!there.is_empty());
            return;
        }
        status.desired_number_scheduled += 1;
        if there.is_empty() {
            return;
        }
        status.current_number_scheduled += 1;
        let any = |which: &dyn Fn(&Pod) -> bool| i32::from(there.iter().any(|pod| which(pod)));
        let ready = any(&|pod| pods::is_ready(pod) && !pods::is_terminating(pod));
        let available =
            any(&|pod| pods::is_available(pod, self.min_ready_seconds, self.now) && !pods::is_terminating(pod));
        let updated = any(&|pod| revision_of(pod) == Some(self.hash));
        status.number_ready += ready;
        *status.number_available.get_or_insert_default() += available;
        *status.updated_number_scheduled.get_or_insert_default() += updated;
    }

    /// Replaces daemons of former revisions, on as many nodes at once as may be without.
    fn update(&mut self, daemons: &[Vec<Arc<Pod>>]) {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let (surge, unavailable) = fenceposts(self.set, daemons.len());
        let split = |pods: &Vec<Arc<Pod>>| {
            let alive = pods.iter().filter(|pod| !pods::is_terminating(pod));
            let (updated, outdated): (Vec<Arc<Pod>>, Vec<Arc<Pod>>) =
                alive.cloned().partition(|pod| self.is_updated(pod));
            (updated.into_iter().next(), outdated.into_iter().next())
        };
        let nodes: Vec<(Option<Arc<Pod>>, Option<Arc<Pod>>)> = daemons.iter().map(split).collect();
        let steps = if surge > 0 { self.surge(&nodes, surge) } else { self.replace(&nodes, unavailable) };
        self.steps.extend(steps);
    }

    fn replace(&self, nodes: &[(Option<Arc<Pod>>, Option<Arc<Pod>>)], budget: usize) -> Vec<Step> {
        let serves = |pod: &Option<Arc<Pod>>| pod.as_ref().is_some_and(|pod| self.is_available(pod));
        let without = nodes.iter().filter(|(updated, outdated)| !serves(updated) && !serves(outdated)).count();
        let outdated = nodes.iter().filter_map(|(_, outdated)| outdated.clone());
        let (healthy, broken): (Vec<_>, Vec<_>) = outdated.partition(|pod| self.is_available(pod));
        // What serves nobody takes nothing from the budget.
        let healthy = healthy.into_iter().take(budget.saturating_sub(without));
        broken.into_iter().chain(healthy).map(Step::Delete).collect()
    }

    fn surge(&self, nodes: &[(Option<Arc<Pod>>, Option<Arc<Pod>>)], budget: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut surging = nodes.iter().filter(|(updated, outdated)| updated.is_some() && outdated.is_some()).count();
        for (updated, outdated) in nodes {
            match (updated, outdated) {
                (Some(updated), Some(outdated)) if self.is_available(updated) => {
                    steps.push(Step::Delete(Arc::clone(outdated)))
                }
                (None, Some(outdated)) if surging < budget || !self.is_available(outdated) => {
                    surging += 1;
                    steps.extend(node_of(outdated).map(Step::Create));
                }
                _ => {}
            }
        }
        steps
    }

    fn finish(&self) -> DaemonSetStatus {
        let status = &self.status;
        let old = self.set.status.clone().unwrap_or_default();
        // Zero counts are left out, as the reference does.
        let unavailable = status.desired_number_scheduled - status.number_available.unwrap_or(0);
        let count = |count: Option<i32>| count.filter(|count| *count != 0);
        DaemonSetStatus {
            observed_generation: self.set.metadata.generation,
            number_available: count(status.number_available),
            number_unavailable: count(Some(unavailable)),
            updated_number_scheduled: count(status.updated_number_scheduled),
            collision_count: old.collision_count,
            conditions: old.conditions,
            ..status.clone()
        }
    }
}
