//! The decision: which pods of a job to make, to end and to count, and whether the job is over. Pure.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobStatus, UncountedTerminatedPods},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use super::indexes;
use crate::{
    owner::{is_deleting, uid},
    pods,
};

/// Pods carry it until they are counted, so that none is missed.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The first and the longest wait after a pod failed.
const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(10);
const BACKOFF_LAST: SignedDuration = SignedDuration::from_secs(600);

/// Failures in a row, and when the last of them was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) in_a_row: u32,
    pub(super) last: Option<Timestamp>,
}

/// What is worth an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) warning: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Debug)]
pub(super) struct Plan {
    /// Pods to make; of an indexed job, for which index.
    pub(super) create: Vec<Option<i32>>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods whose counting is noted in the status that is there already: they may go.
    pub(super) release: Vec<Arc<Pod>>,
    pub(super) status: JobStatus,
    pub(super) news: Vec<News>,
    pub(super) look_again: Option<Duration>,
}

impl Plan {
    /// Pods that go because they are too many have not failed.
    fn let_go_uncounted(&mut self) {
        let held: Vec<Arc<Pod>> = self.delete.iter().filter(|pod| has_finalizer(pod)).cloned().collect();
        self.release.extend(held);
    }
}

fn has_finalizer(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

pub(super) fn is_indexed(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref()) == Some("Indexed")
}

/// `Complete` or `Failed`, once the job is over.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let over = |condition: &&JobCondition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    };
    conditions.into_iter().flatten().find(over)
}

struct Count<'a> {
    job: &'a Job,
    pods: &'a [Arc<Pod>],
    uncounted: UncountedTerminatedPods,
    succeeded: i32,
    failed: i32,
    completed: BTreeSet<i32>,
    new_failures: Vec<Arc<Pod>>,
    new_success: bool,
}

impl<'a> Count<'a> {
    fn new(job: &'a Job, pods: &'a [Arc<Pod>]) -> Self {
        let old = job.status.clone().unwrap_or_default();
        let mut count = Self {
            job,
            pods,
            uncounted: old.uncounted_terminated_pods.unwrap_or_default(),
            succeeded: old.succeeded.unwrap_or(0),
            failed: old.failed.unwrap_or(0),
            completed: indexes::parse(old.completed_indexes.as_deref().unwrap_or_default()),
            new_failures: Vec::new(),
            new_success: false,
        };
        count.settle();
        count.take_in();
        count
    }

    /// Pods that were noted and have let go of their finalizer, or are gone, are now numbers.
    fn settle(&mut self) {
        let still_held = |noted: &String| self.pods.iter().any(|pod| uid(&**pod) == noted && has_finalizer(pod));
        let split = |list: Option<Vec<String>>| -> (Vec<String>, usize) {
            let (held, free): (Vec<String>, Vec<String>) = list.unwrap_or_default().into_iter().partition(still_held);
            (held, free.len())
        };
        let (succeeded, more_succeeded) = split(self.uncounted.succeeded.take());
        let (failed, more_failed) = split(self.uncounted.failed.take());
        self.succeeded += more_succeeded as i32;
        self.failed += more_failed as i32;
        self.uncounted = UncountedTerminatedPods { succeeded: Some(succeeded), failed: Some(failed) };
    }

    /// Notes pods that ended since.
    fn take_in(&mut self) {
        for pod in self.pods.iter().filter(|pod| has_finalizer(pod)) {
            let noted = |list: &Option<Vec<String>>| list.iter().flatten().any(|noted| noted == uid(&**pod));
            if noted(&self.uncounted.succeeded) || noted(&self.uncounted.failed) {
                continue;
            }
            if pods::phase(pod) == "Succeeded" {
                self.new_success = true;
                // Of each index, one success counts.
                if is_indexed(self.job)
                    && !index_of(pod).is_some_and(|index| self.is_wanted(index) && self.completed.insert(index))
                {
                    continue;
                }
                self.uncounted.succeeded.get_or_insert_default().push(uid(&**pod).to_owned());
            } else if pods::phase(pod) == "Failed" || (pods::is_terminating(pod) && !self.only_failed_count()) {
                self.new_failures.push(Arc::clone(pod));
                self.uncounted.failed.get_or_insert_default().push(uid(&**pod).to_owned());
            }
        }
    }

    fn is_wanted(&self, index: i32) -> bool {
        let completions = self.job.spec.as_ref().and_then(|spec| spec.completions).unwrap_or(0);
        (0..completions).contains(&index)
    }

    fn only_failed_count(&self) -> bool {
        self.job.spec.as_ref().and_then(|spec| spec.pod_replacement_policy.as_deref()) == Some("Failed")
    }

    fn all_succeeded(&self) -> i32 {
        match is_indexed(self.job) {
            true => self.completed.len() as i32,
            false => self.succeeded + self.uncounted.succeeded.as_ref().map_or(0, Vec::len) as i32,
        }
    }

    fn all_failed(&self) -> i32 {
        self.failed + self.uncounted.failed.as_ref().map_or(0, Vec::len) as i32
    }

    /// Pods that are noted in the status as it is stored: their finalizer is no longer needed.
    fn to_release(&self) -> Vec<Arc<Pod>> {
        let stored = self.job.status.as_ref().and_then(|status| status.uncounted_terminated_pods.as_ref());
        let noted = |pod: &&Arc<Pod>| {
            let lists = stored.iter().flat_map(|stored| stored.succeeded.iter().chain(&stored.failed));
            lists.flatten().any(|noted| noted == uid(&***pod))
        };
        // A second success of an index is counted by nobody, and held by nobody.
        let superfluous = |pod: &&Arc<Pod>| {
            is_indexed(self.job)
                && pods::phase(pod) == "Succeeded"
                && !self.uncounted.succeeded.iter().flatten().any(|noted| noted == uid(&***pod))
        };
        self.pods.iter().filter(|pod| has_finalizer(pod) && (noted(pod) || superfluous(pod))).cloned().collect()
    }
}

/// Decides. `failures` are those in a row before this look; it is brought up to date.
pub(super) fn plan(job: &Job, pods: &[Arc<Pod>], failures: &mut Failures, now: Timestamp) -> Plan {
    let count = Count::new(job, pods);
    if count.new_success {
        *failures = Failures::default();
    }
    if !count.new_failures.is_empty() {
        failures.in_a_row += count.new_failures.len() as u32;
        failures.last = Some(now);
    }
    let mut status = job.status.clone().unwrap_or_default();
    let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let mut plan = Plan {
        create: Vec::new(),
        delete: Vec::new(),
        release: count.to_release(),
        status: JobStatus::default(),
        news: Vec::new(),
        look_again: None,
    };
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false);
    if finished(job).is_some() || is_deleting(job) {
        plan.delete = if finished(job).is_some() { active.clone() } else { Vec::new() };
    } else if let Some((type_, reason, message)) = verdict(job, &count, active.len(), now) {
        plan.delete.clone_from(&active);
        conclude(&mut plan, &mut status, &count, (type_, reason, message), now);
    } else if suspended {
        plan.delete.clone_from(&active);
        plan.let_go_uncounted();
        note_suspension(&mut plan, &mut status, true, now);
        status.start_time = None;
    } else {
        note_suspension(&mut plan, &mut status, false, now);
        if status.start_time.is_none() {
            status.start_time = Some(Time(now));
        }
        adjust(job, &count, &active, *failures, &mut plan, now);
        plan.look_again = [plan.look_again, deadline_in(job, &status, now)].into_iter().flatten().min();
    }
    plan.status = finish_status(status, &count, &active, pods);
    plan
}

/// Whether the job is over, for good or bad.
fn verdict(
    job: &Job,
    count: &Count<'_>,
    active: usize,
    now: Timestamp,
) -> Option<(&'static str, &'static str, &'static str)> {
    let spec = job.spec.as_ref()?;
    let status = job.status.clone().unwrap_or_default();
    // What was once decided stays so, though pods may take their time to end.
    let decided = |type_: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.into_iter().find(|condition| condition.type_ == type_ && condition.status == "True").cloned()
    };
    if let Some(target) = decided("FailureTarget") {
        let deadline = target.reason.as_deref() == Some("DeadlineExceeded");
        return Some(if deadline { DEADLINE } else { BACKOFF_LIMIT });
    }
    if decided("SuccessCriteriaMet").is_some() {
        return Some(COMPLETIONS);
    }
    let on_failure = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("OnFailure");
    let limit = spec.backoff_limit.unwrap_or(6);
    let restarts: i32 = count.pods.iter().filter(|pod| pods::is_active(pod)).map(|pod| all_restarts(pod)).sum();
    let restarted_too_often = on_failure && restarts > 0 && (if limit == 0 { true } else { restarts >= limit });
    if count.all_failed() > limit || restarted_too_often {
        return Some(BACKOFF_LIMIT);
    }
    if deadline_in(job, &status, now) == Some(Duration::ZERO) {
        return Some(DEADLINE);
    }
    let complete = match spec.completions {
        None => count.all_succeeded() > 0 && active == 0,
        Some(completions) => count.all_succeeded() >= completions,
    };
    complete.then_some(COMPLETIONS)
}

const BACKOFF_LIMIT: (&str, &str, &str) =
    ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
const DEADLINE: (&str, &str, &str) = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline");
const COMPLETIONS: (&str, &str, &str) = ("Complete", "CompletionsReached", "Reached expected number of succeeded pods");

fn all_restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let init = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    containers.chain(init).map(|container| container.restart_count).sum()
}

fn deadline_in(job: &Job, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let seconds = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds)?;
    let at = status.start_time.as_ref()?.0 + SignedDuration::from_secs(seconds);
    Some(at.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

/// First says what is to become of the job; once all its pods have ended and are counted, that it is so.
fn conclude(plan: &mut Plan, status: &mut JobStatus, count: &Count<'_>, verdict: (&str, &str, &str), now: Timestamp) {
    let (type_, reason, message) = verdict;
    let announcement = if type_ == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
    set_condition(status, announcement, true, reason, message, now);
    let all_ended = count.pods.iter().all(|pod| pods::is_finished(pod));
    let all_counted =
        [&count.uncounted.succeeded, &count.uncounted.failed].iter().all(|list| list.iter().flatten().next().is_none());
    if !all_ended || !all_counted {
        return;
    }
    set_condition(status, type_, true, reason, message, now);
    let succeeded = type_ == "Complete";
    if succeeded {
        status.completion_time = Some(Time(now));
    }
    let (reason, message) = if succeeded { ("Completed", "Job completed") } else { (reason, message) };
    plan.news.push(News { warning: !succeeded, reason: reason.to_owned(), message: message.to_owned() });
}

fn set_condition(
    status: &mut JobStatus,
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let text = if holds { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().any(|condition| condition.type_ == type_ && condition.status == text) {
        return false;
    }
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(JobCondition {
        type_: type_.to_owned(),
        status: text.to_owned(),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
    });
    true
}

fn note_suspension(plan: &mut Plan, status: &mut JobStatus, suspended: bool, now: Timestamp) {
    let (reason, message) = if suspended { ("JobSuspended", "Job suspended") } else { ("JobResumed", "Job resumed") };
    let was_suspended = status.conditions.iter().flatten().any(|condition| condition.type_ == "Suspended");
    // A job that never was suspended does not say so.
    if (suspended || was_suspended) && set_condition(status, "Suspended", suspended, reason, message, now) {
        let event = if suspended { "Suspended" } else { "Resumed" };
        plan.news.push(News { warning: false, reason: event.to_owned(), message: message.to_owned() });
    }
}

/// As many active pods as there should be now.
fn adjust(job: &Job, count: &Count<'_>, active: &[Arc<Pod>], failures: Failures, plan: &mut Plan, now: Timestamp) {
    let spec = job.spec.clone().unwrap_or_default();
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let running = active.len() as i32;
    let wanted = match spec.completions {
        Some(completions) => (completions - count.all_succeeded()).min(parallelism).max(0),
        None if count.all_succeeded() > 0 => running.min(parallelism),
        None => parallelism,
    };
    // Their place is taken only once they have ended, where that is asked for.
    let in_the_way = match count.only_failed_count() {
        true => count.pods.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)).count() as i32,
        false => 0,
    };
    if running > wanted {
        let mut ranked: Vec<&Arc<Pod>> = active.iter().collect();
        ranked.sort_by(|a, b| pods::deletion_order((a, 0), (b, 0), now));
        plan.delete.extend(ranked.into_iter().take((running - wanted) as usize).cloned());
        plan.let_go_uncounted();
        return;
    }
    let missing = (wanted - running - in_the_way).max(0) as usize;
    if missing == 0 {
        return;
    }
    if let Some(wait) = backoff(failures, now).filter(|wait| !wait.is_zero()) {
        plan.look_again = Some(wait);
        return;
    }
    if !is_indexed(job) {
        plan.create = vec![None; missing];
        return;
    }
    let taken: BTreeSet<i32> = active.iter().filter_map(|pod| index_of(pod)).collect();
    let free =
        (0..spec.completions.unwrap_or(0)).filter(|index| !count.completed.contains(index) && !taken.contains(index));
    plan.create = free.take(missing).map(Some).collect();
}

/// How long to wait before the next pod, the longer the more failed in a row.
fn backoff(failures: Failures, now: Timestamp) -> Option<Duration> {
    let last = failures.last?;
    let doublings = failures.in_a_row.saturating_sub(1).min(16);
    let wait = (BACKOFF_FIRST * (1 << doublings)).min(BACKOFF_LAST);
    Some((last + wait).duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

fn finish_status(mut status: JobStatus, count: &Count<'_>, active: &[Arc<Pod>], pods: &[Arc<Pod>]) -> JobStatus {
    // Zero counts are left out, as the reference does.
    let number = |number: i32| Some(number).filter(|number| *number != 0);
    status.active = number(active.len() as i32);
    status.ready = Some(active.iter().filter(|pod| pods::is_ready(pod)).count() as i32);
    status.terminating =
        Some(pods.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)).count() as i32);
    status.succeeded = number(if is_indexed(count.job) { count.completed.len() as i32 } else { count.succeeded });
    status.failed = number(count.failed);
    if is_indexed(count.job) {
        status.completed_indexes = Some(indexes::show(&count.completed)).filter(|text| !text.is_empty());
    }
    let list = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
        succeeded: list(&count.uncounted.succeeded),
        failed: list(&count.uncounted.failed),
    });
    status
}
