//! The decision: is a run due, may it start, and which old jobs are to go. Pure.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    jiff::{SignedDuration, Timestamp, tz::TimeZone},
};

use super::schedule::Schedule;
use crate::{job, owner::name};

/// After so many missed runs something is probably wrong with the clock.
const TOO_MANY_MISSED: usize = 100;

/// What to do about the schedule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// Nothing until then.
    Wait(Option<Timestamp>),
    /// Start the run of that time.
    Start(Timestamp),
    /// The run of that time does not happen: reason and message.
    Skip(Timestamp, &'static str, String),
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) decision: Decision,
    /// Running jobs that make way for the next.
    pub(super) replace: Vec<Arc<Job>>,
    /// Finished jobs beyond the history limits.
    pub(super) forget: Vec<Arc<Job>>,
    pub(super) missed_too_many: bool,
    pub(super) next: Option<Timestamp>,
}

fn started(job: &Job) -> Option<Timestamp> {
    let status = job.status.as_ref();
    let started = status.and_then(|status| status.start_time.as_ref()).or(job.metadata.creation_timestamp.as_ref());
    started.map(|time| time.0)
}

pub(super) fn plan(cron: &CronJob, schedule: &Schedule, zone: &TimeZone, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let spec = cron.spec.clone().unwrap_or_default();
    let active: Vec<Arc<Job>> = jobs.iter().filter(|job| job::finished(job).is_none()).cloned().collect();
    let (due, missed) = most_recent(cron, schedule, zone, now);
    let next = schedule.next_after(now, zone);
    let mut plan = Plan {
        decision: Decision::Wait(next),
        replace: Vec::new(),
        forget: to_forget(cron, jobs),
        missed_too_many: missed > TOO_MANY_MISSED,
        next,
    };
    if spec.suspend.unwrap_or(false) {
        plan.decision = Decision::Wait(None);
        plan.next = None;
        return plan;
    }
    let Some(due) = due else { return plan };
    let too_late = spec.starting_deadline_seconds.is_some_and(|seconds| due + SignedDuration::from_secs(seconds) < now);
    plan.decision = if too_late {
        Decision::Skip(due, "MissSchedule", format!("Missed scheduled time to start a job: {due}"))
    } else if spec.concurrency_policy.as_deref() == Some("Forbid") && !active.is_empty() {
        let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
        Decision::Skip(due, "JobAlreadyActive", message.to_owned())
    } else {
        if spec.concurrency_policy.as_deref() == Some("Replace") {
            plan.replace = active;
        }
        Decision::Start(due)
    };
    plan
}

/// The last time that came since the last run and was not run, and how many there were.
fn most_recent(cron: &CronJob, schedule: &Schedule, zone: &TimeZone, now: Timestamp) -> (Option<Timestamp>, usize) {
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let since = last.or(cron.metadata.creation_timestamp.as_ref()).map_or(now, |time| time.0);
    let deadline = cron.spec.as_ref().and_then(|spec| spec.starting_deadline_seconds);
    let since = deadline.map_or(since, |seconds| since.max(now - SignedDuration::from_secs(seconds)));
    let (mut latest, mut missed, mut from) = (None, 0, since);
    while let Some(time) = schedule.next_after(from, zone).filter(|time| *time <= now) {
        (latest, from) = (Some(time), time);
        missed += 1;
        if missed > TOO_MANY_MISSED {
            // Only the last one matters; it is not far back.
            from = from.max(recent(schedule, zone, now));
        }
    }
    (latest, missed)
}

/// A moment before `now` with at least one time between.
fn recent(schedule: &Schedule, zone: &TimeZone, now: Timestamp) -> Timestamp {
    let mut back = SignedDuration::from_mins(2);
    loop {
        let from = now - back;
        if schedule.next_after(from, zone).is_some_and(|time| time <= now)
            || back > SignedDuration::from_hours(24 * 3700)
        {
            return from;
        }
        back = back * 2;
    }
}

fn to_forget(cron: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let spec = cron.spec.as_ref();
    let beyond = |type_: &str, limit: i32| {
        let of_type = |job: &&Arc<Job>| job::finished(job).is_some_and(|condition| condition.type_ == type_);
        let mut finished: Vec<Arc<Job>> = jobs.iter().filter(of_type).cloned().collect();
        finished.sort_by_key(|job| (started(job), name(&**job).to_owned()));
        let surplus = finished.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        finished.into_iter().take(surplus).collect::<Vec<_>>()
    };
    let mut forget = beyond("Complete", spec.and_then(|spec| spec.successful_jobs_history_limit).unwrap_or(3));
    forget.extend(beyond("Failed", spec.and_then(|spec| spec.failed_jobs_history_limit).unwrap_or(1)));
    forget
}

/// How long until a moment.
pub(super) fn until(at: Timestamp, now: Timestamp) -> Duration {
    at.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, last: &str, jobs: &[&str], expected: Expect) {
        let mut full = json!({"schedule": "*/10 * * * *", "jobTemplate": {"spec": {"template": {}}}});
        for (key, value) in spec.as_object().into_iter().flatten() {
            full[key] = value.clone();
        }
        let cron: CronJob = serde_json::from_value(json!({
            "metadata": {"name": "nightly", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": full, "status": {"lastScheduleTime": last},
        }))
        .expect("a cron job");
        let job = |(number, state): (usize, &&str)| {
            let conditions = if *state == "running" { json!([]) } else { json!([{"type": state, "status": "True"}]) };
            let job = json!({"metadata": {"name": format!("{state}-{number}")},
                "status": {"startTime": format!("2026-01-01T0{number}:00:00Z"), "conditions": conditions}});
            Arc::new(serde_json::from_value(job).expect("a job"))
        };
        let jobs: Vec<Arc<Job>> = jobs.iter().enumerate().map(job).collect();
        let schedule = Schedule::parse("*/10 * * * *").expect("a schedule");
        let now = "2026-01-01T12:05:00Z".parse().expect("a time");
        let plan = plan(&cron, &schedule, &TimeZone::UTC, &jobs, now);
        let names = |jobs: &[Arc<Job>]| jobs.iter().map(|job| name(&**job)).collect::<Vec<_>>().join(" ");
        let missed = if plan.missed_too_many { "; missed too many" } else { "" };
        expected.assert_eq(&format!(
            "{:?}; replace [{}] forget [{}]{missed}",
            plan.decision,
            names(&plan.replace),
            names(&plan.forget)
        ));
    }

    #[test]
    fn a_run_starts_when_it_is_due_and_allowed() {
        check(
            json!({}),
            "2026-01-01T12:00:00Z",
            &[],
            expect!["Wait(Some(2026-01-01T12:10:00Z)); replace [] forget []"],
        );
        check(
            json!({}),
            "2026-01-01T11:40:00Z",
            &["running"],
            expect!["Start(2026-01-01T12:00:00Z); replace [] forget []"],
        );
        check(
            json!({"concurrencyPolicy": "Forbid"}),
            "2026-01-01T11:50:00Z",
            &["running"],
            expect![[
                r#"Skip(2026-01-01T12:00:00Z, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid"); replace [] forget []"#
            ]],
        );
        check(
            json!({"concurrencyPolicy": "Replace"}),
            "2026-01-01T11:50:00Z",
            &["running", "Complete"],
            expect!["Start(2026-01-01T12:00:00Z); replace [running-0] forget []"],
        );
        check(
            json!({"startingDeadlineSeconds": 60}),
            "2026-01-01T11:50:00Z",
            &[],
            expect!["Wait(Some(2026-01-01T12:10:00Z)); replace [] forget []"],
        );
        check(json!({"suspend": true}), "2026-01-01T11:50:00Z", &[], expect!["Wait(None); replace [] forget []"]);
        check(
            json!({}),
            "2025-01-01T00:00:00Z",
            &[],
            expect!["Start(2026-01-01T12:00:00Z); replace [] forget []; missed too many"],
        );
    }

    #[test]
    fn finished_jobs_are_kept_up_to_the_limits() {
        let jobs = ["Complete", "Complete", "Failed", "Complete", "Failed", "Complete", "running"];
        check(
            json!({}),
            "2026-01-01T12:00:00Z",
            &jobs,
            expect!["Wait(Some(2026-01-01T12:10:00Z)); replace [] forget [Complete-0 Failed-2]"],
        );
        check(
            json!({"successfulJobsHistoryLimit": 0}),
            "2026-01-01T12:00:00Z",
            &jobs,
            expect![
                "Wait(Some(2026-01-01T12:10:00Z)); replace [] forget [Complete-0 Complete-1 Complete-3 Complete-5 Failed-2]"
            ],
        );
    }
}
