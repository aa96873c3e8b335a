//! The decision: a deployment and its sets in, what to do next out. Pure; each step leads to another look.

use std::{cmp::Reverse, time::Duration};

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    jiff::Timestamp,
};

use super::{
    conditions::{self, Conditions, PROGRESSING},
    numbers::{
        actual, desired, is_rolling, is_saturated, lasting, max_unavailable, new_set_size, proportional, size,
        was_sized_for_other,
    },
    revision::{annotate_new, annotate_size, find_new, new_set, revision},
};
use crate::owner::{is_deleting, name};

/// One change to make.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Note the revision on the deployment.
    Revision(i64),
    Create(Box<ReplicaSet>),
    /// From how it is to how it should be: size, annotations, minReadySeconds.
    Update(Box<ReplicaSet>, Box<ReplicaSet>),
    Delete(String),
}

/// All that is to be done in one look.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) status: DeploymentStatus,
    pub(super) look_again: Option<Duration>,
}

/// Decides. `sets` are all of the deployment's sets, `old_pods_run` says of a set whether it still has unfinished pods.
pub(super) fn plan(
    deployment: &Deployment,
    sets: Vec<ReplicaSet>,
    old_pods_run: impl Fn(&ReplicaSet) -> bool,
    now: Timestamp,
) -> Plan {
    let conditions = deployment.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let new = find_new(deployment, &sets);
    let mut rollout =
        Rollout { deployment, before: sets.clone(), sets, new, conditions, revision: None, doomed: Vec::new(), now };
    if is_deleting(deployment) {
        return rollout.finish(false);
    }
    conditions::note_pause(deployment, &mut rollout.conditions, now);
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    let scaled = rollout.active().any(|index| was_sized_for_other(deployment, &rollout.sets[index]));
    if paused || scaled {
        rollout.sync_revision();
        rollout.scale();
        if paused {
            rollout.clean_up();
        }
        return rollout.finish(false);
    }
    if is_rolling(deployment) {
        rollout.roll()
    } else {
        rollout.recreate(old_pods_run)
    }
    rollout.finish(true)
}

struct Rollout<'a> {
    deployment: &'a Deployment,
    /// The sets as they are, and as they should be; those beyond the end of `before` are to be created.
    before: Vec<ReplicaSet>,
    sets: Vec<ReplicaSet>,
    new: Option<usize>,
    conditions: Conditions,
    revision: Option<i64>,
    doomed: Vec<String>,
    now: Timestamp,
}

impl Rollout<'_> {
    fn active(&self) -> impl Iterator<Item = usize> {
        (0..self.sets.len()).filter(|index| size(&self.sets[*index]) > 0)
    }

    /// Sets of former templates, oldest first.
    fn old(&self) -> Vec<usize> {
        let mut old: Vec<usize> = (0..self.sets.len()).filter(|index| Some(*index) != self.new).collect();
        let age = |index: &usize| {
            let meta = &self.sets[*index].metadata;
            (meta.creation_timestamp.clone(), meta.name.clone())
        };
        old.sort_by_key(age);
        old
    }

    fn total(&self) -> i32 {
        self.sets.iter().map(size).sum()
    }

    fn resize(&mut self, index: usize, to: i32) {
        let set = &mut self.sets[index];
        set.spec.get_or_insert_default().replicas = Some(to);
        annotate_size(self.deployment, set.metadata.annotations.get_or_insert_default());
    }

    /// The new set is the highest revision, and the deployment says so.
    fn sync_revision(&mut self) {
        let Some(new) = self.new else { return };
        let newest_old =
            self.old().into_iter().map(|index| revision(self.sets[index].metadata.annotations.as_ref())).max();
        annotate_new(self.deployment, &mut self.sets[new], newest_old.unwrap_or(0) + 1, true);
        let set = &mut self.sets[new];
        set.spec.get_or_insert_default().min_ready_seconds =
            self.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        self.revision = Some(revision(set.metadata.annotations.as_ref()));
        if conditions::deadline(self.deployment).is_some() && conditions::find(&self.conditions, PROGRESSING).is_none()
        {
            let message = format!("Found new replica set \"{}\"", name(&self.sets[new]));
            let found = conditions::condition(PROGRESSING, "True", "FoundNewReplicaSet", message, self.now);
            conditions::set(&mut self.conditions, found);
        }
    }

    /// Makes sure that there is a set for the present template.
    fn ensure_new(&mut self) -> usize {
        if let Some(new) = self.new {
            self.sync_revision();
            return new;
        }
        let mut set = new_set(self.deployment);
        let newest = self.sets.iter().map(|set| revision(set.metadata.annotations.as_ref())).max().unwrap_or(0);
        set.spec.get_or_insert_default().replicas = Some(new_set_size(self.deployment, self.total(), 0));
        annotate_new(self.deployment, &mut set, newest + 1, false);
        self.revision = Some(newest + 1);
        if conditions::deadline(self.deployment).is_some() {
            let message = format!("Created new replica set \"{}\"", name(&set));
            let created = conditions::condition(PROGRESSING, "True", "NewReplicaSetCreated", message, self.now);
            conditions::set(&mut self.conditions, created);
        }
        self.sets.push(set);
        self.new = Some(self.sets.len() - 1);
        self.sets.len() - 1
    }

    /// One move of a rolling update: up with the new, or else down with the old.
    fn roll(&mut self) {
        let new = self.ensure_new();
        if self.grow_new(new) || self.shrink_old(new) {
            return;
        }
        self.clean_up_when_complete();
    }

    fn grow_new(&mut self, new: usize) -> bool {
        let now = size(&self.sets[new]);
        let wanted = desired(self.deployment);
        let next = if now > wanted { wanted } else { new_set_size(self.deployment, self.total(), now) };
        if now != next {
            self.resize(new, next);
        }
        // A set that is about to be made is a move, too.
        now != next || new >= self.before.len()
    }

    /// First pods that are of no use anyway, then as many of the others as there are more available than needed.
    fn shrink_old(&mut self, new: usize) -> bool {
        let old: Vec<usize> = self.old().into_iter().filter(|index| size(&self.sets[*index]) > 0).collect();
        if old.is_empty() {
            return false;
        }
        let needed = desired(self.deployment) - max_unavailable(self.deployment);
        let new_unavailable = size(&self.sets[new]) - lasting(&self.sets[new]);
        let at_most = self.total() - needed - new_unavailable;
        if at_most <= 0 {
            return false;
        }
        let unhealthy = self.shrink(&old, at_most, |set| size(set) - lasting(set));
        let available: i32 = self.sets.iter().map(lasting).sum();
        let healthy = self.shrink(&old, available - needed, size);
        unhealthy + healthy > 0
    }

    /// Takes up to `budget` from sets in turn, from each no more than `from` says; returns how many it took.
    fn shrink(&mut self, sets: &[usize], budget: i32, from: impl Fn(&ReplicaSet) -> i32) -> i32 {
        let mut taken = 0;
        for index in sets {
            let now = size(&self.sets[*index]);
            let take = from(&self.sets[*index]).min(now).min(budget - taken);
            if take > 0 {
                self.resize(*index, now - take);
                taken += take;
            }
        }
        taken
    }

    fn recreate(&mut self, old_pods_run: impl Fn(&ReplicaSet) -> bool) {
        let old = self.old();
        if self.new.is_some() {
            self.sync_revision();
        }
        if self.shrink(&old, i32::MAX, size) > 0 || old.iter().any(|index| self.still_runs(*index, &old_pods_run)) {
            return;
        }
        let new = self.ensure_new();
        if size(&self.sets[new]) != desired(self.deployment) {
            self.resize(new, desired(self.deployment));
            return;
        }
        self.clean_up_when_complete();
    }

    fn still_runs(&self, index: usize, old_pods_run: &impl Fn(&ReplicaSet) -> bool) -> bool {
        actual(&self.sets[index]) > 0 || old_pods_run(&self.sets[index])
    }

    /// The deployment was scaled, or is paused: sizes follow, the update does not go on.
    fn scale(&mut self) {
        let wanted = desired(self.deployment);
        if let Some(only) = self.active_or_latest() {
            if size(&self.sets[only]) != wanted || was_sized_for_other(self.deployment, &self.sets[only]) {
                self.resize(only, wanted);
            }
            return;
        }
        if self.new.is_some_and(|new| is_saturated(self.deployment, &self.sets[new])) {
            let old = self.old();
            self.shrink(&old, i32::MAX, size);
            return;
        }
        if is_rolling(self.deployment) {
            self.scale_proportionally();
        }
    }

    /// The only set with pods; where there is none the new one, or else the newest; nothing where there are several.
    fn active_or_latest(&self) -> Option<usize> {
        let active: Vec<usize> = self.active().collect();
        match active.as_slice() {
            [] => self.new.or_else(|| self.old().pop()),
            [only] => Some(*only),
            _ => None,
        }
    }

    fn scale_proportionally(&mut self) {
        let mut active: Vec<usize> = self.active().collect();
        let allowed = desired(self.deployment) + max_surge_if_any(self.deployment);
        let grows = allowed > self.total();
        // Of sets of one size the newer grows first, and the older shrinks first.
        let created = |index: usize| self.sets[index].metadata.creation_timestamp.clone();
        active.sort_by(|a, b| {
            let by_size = size(&self.sets[*b]).cmp(&size(&self.sets[*a]));
            let by_age = created(*a).cmp(&created(*b));
            by_size.then(if grows { by_age.reverse() } else { by_age })
        });
        let sizes = proportional(self.deployment, &active.iter().map(|index| &self.sets[*index]).collect::<Vec<_>>());
        for (index, size) in active.into_iter().zip(sizes) {
            self.resize(index, size);
        }
    }

    fn clean_up_when_complete(&mut self) {
        if self.deployment.status.as_ref().is_some_and(|status| conditions::is_complete(self.deployment, status)) {
            self.clean_up();
        }
    }

    /// Deletes the oldest empty sets beyond the history limit.
    fn clean_up(&mut self) {
        let Some(limit) = self.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit) else { return };
        let mut old: Vec<usize> = self.old().into_iter().filter(|index| !is_deleting(&self.sets[*index])).collect();
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by_key(|index| revision(self.sets[*index].metadata.annotations.as_ref()));
        for index in old.into_iter().take(surplus) {
            let set = &self.sets[index];
            let observed = set.status.as_ref().and_then(|status| status.observed_generation);
            if size(set) == 0 && actual(set) == 0 && observed >= set.metadata.generation {
                self.doomed.push(name(set).to_owned());
            }
        }
    }

    fn finish(self, judged: bool) -> Plan {
        let new = self.new.map(|new| &self.sets[new]);
        let mut status = conditions::counts(self.deployment, &self.sets, new, self.conditions.clone(), self.now);
        let look_again =
            if judged { conditions::judge(self.deployment, &mut status, &self.sets, new, self.now) } else { None };
        let noted = revision(self.deployment.metadata.annotations.as_ref());
        let mut steps: Vec<Step> = Vec::new();
        let mut changed: Vec<(&ReplicaSet, &ReplicaSet)> =
            self.before.iter().zip(&self.sets).filter(|(before, after)| before != after).collect();
        // Room is made before it is used only where the order matters to nobody; up goes first, as in the reference.
        changed.sort_by_key(|(before, after)| Reverse(size(after) - size(before)));
        steps.extend(self.sets.iter().skip(self.before.len()).map(|set| Step::Create(Box::new(set.clone()))));
        let update = |(before, after): (&ReplicaSet, &ReplicaSet)| {
            Step::Update(Box::new(before.clone()), Box::new(after.clone()))
        };
        steps.extend(changed.into_iter().map(update));
        steps.extend(self.revision.filter(|revision| *revision != noted).map(Step::Revision));
        steps.extend(self.doomed.into_iter().map(Step::Delete));
        Plan { steps, status, look_again }
    }
}

fn max_surge_if_any(deployment: &Deployment) -> i32 {
    if desired(deployment) > 0 { super::numbers::max_surge(deployment) } else { 0 }
}
