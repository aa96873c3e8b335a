//! CronJob: jobs at times.

mod plan;
mod schedule;

use std::{collections::BTreeSet, sync::Arc};

use coracle_client::{Cache, Change, Key, Recorder, reference};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobStatus, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{Timestamp, tz::TimeZone},
};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta},
};
use parking_lot::Mutex;

use self::{
    plan::{Decision, plan, until},
    schedule::Schedule,
};
use crate::{
    control::{Action, Context, Controller, Error},
    job,
    owner::{controller_key, controller_of, controller_reference, is_deleting, name, namespace, post_params, uid},
    replicaset::{api_message, is_namespace_terminating},
};

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

struct CronJobs {
    context: Context,
    recorder: Recorder,
    cron_jobs: Cache<CronJob>,
    jobs: Cache<Job>,
    /// Runs that were said to be skipped: once is enough.
    skipped: Mutex<BTreeSet<(Key, Timestamp)>>,
}

/// Runs the controller.
pub async fn run(context: Context) {
    let cron_jobs: Cache<CronJob> = context.caches.of();
    let jobs: Cache<Job> = context.caches.of();
    let controller =
        Controller::new("cronjob-controller").watch_own(&cron_jobs).watch(&jobs, |change: &Change<Job>| {
            change.states().filter_map(|job| controller_key::<CronJob>(&**job)).collect()
        });
    let recorder = context.events.component("cronjob-controller");
    cron_jobs.filled().await;
    jobs.filled().await;
    let this = Arc::new(CronJobs { context, recorder, cron_jobs, jobs, skipped: Mutex::default() });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

impl CronJobs {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(cron) = self.cron_jobs.get(&key).filter(|cron| !is_deleting(&**cron)) else {
            self.skipped.lock().retain(|(skipped, _)| *skipped != key);
            return Ok(Action::Done);
        };
        let Some(spec) = &cron.spec else { return Ok(Action::Done) };
        let (schedule, zone) = match read(&spec.schedule, spec.time_zone.as_deref()) {
            Ok(read) => read,
            Err((reason, message)) => {
                self.recorder.warning(reference(&*cron), reason, message);
                return Ok(Action::Done);
            }
        };
        let now = self.context.now();
        let decided = plan(&cron, &schedule, &zone, &self.own_jobs(&cron), now);
        for job in decided.forget.iter().chain(&decided.replace) {
            self.delete(&cron, job).await?;
        }
        if decided.missed_too_many {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.recorder.warning(reference(&*cron), "TooManyMissedTimes", message);
        }
        let mut last_schedule = None;
        match decided.decision {
            Decision::Wait(_) => {}
            Decision::Start(at) => {
                self.start(&cron, at).await?;
                last_schedule = Some(at);
            }
            Decision::Skip(at, reason, message) => {
                if self.skipped.lock().insert((key.clone(), at)) {
                    let record = if reason == "MissSchedule" { Recorder::warning } else { Recorder::normal };
                    record(&self.recorder, reference(&*cron), reason, message);
                }
            }
        }
        self.write_status(&cron, last_schedule).await?;
        self.skipped.lock().retain(|(skipped, at)| *skipped != key || until(now, *at).as_secs() < 24 * 3600);
        Ok(Action::after(decided.next.map(|next| until(next, now))))
    }

    fn own_jobs(&self, cron: &CronJob) -> Vec<Arc<Job>> {
        let owned = |job: &Arc<Job>| controller_of(&**job).is_some_and(|owner| owner.uid == uid(cron));
        self.jobs.in_namespace(namespace(cron)).into_iter().filter(owned).collect()
    }

    async fn start(&self, cron: &CronJob, at: Timestamp) -> Result<(), Error> {
        let job = new_job(cron, at);
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), namespace(cron));
        match api.create(&post_params(), &job).await {
            Ok(created) => {
                self.jobs.observe(created);
                self.recorder.normal(reference(cron), "SuccessfulCreate", format!("Created job {}", name(&job)));
                Ok(())
            }
            // Started before, and not noted: the name is that of the time.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Err(error) => {
                let message = format!("Error creating job: {}", api_message(&error));
                self.recorder.warning(reference(cron), "FailedCreate", message);
                Err(error.into())
            }
        }
    }

    async fn delete(&self, cron: &CronJob, job: &Job) -> Result<(), Error> {
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), namespace(cron));
        let deletion = api.delete(name(job), &DeleteParams::background()).await;
        match deletion.map(|outcome| outcome.left().filter(is_deleting)) {
            Ok(Some(going)) => self.jobs.observe(going),
            Ok(None) => self.jobs.forget(&Key::of(job), uid(job)),
            Err(kube::Error::Api(status)) if status.code == 404 => self.jobs.forget(&Key::of(job), uid(job)),
            Err(error) => {
                self.recorder.warning(reference(cron), "FailedDelete", format!("Deleted job: {}", api_message(&error)));
                return Err(error.into());
            }
        }
        self.recorder.normal(reference(cron), "SuccessfulDelete", format!("Deleted job {}", name(job)));
        Ok(())
    }

    async fn write_status(&self, cron: &CronJob, last_schedule: Option<Timestamp>) -> Result<(), Error> {
        let old = cron.status.clone().unwrap_or_default();
        let jobs = self.own_jobs(cron);
        let active: Vec<ObjectReference> =
            jobs.iter().filter(|job| job::finished(job).is_none()).map(|job| reference(&**job)).collect();
        for before in old.active.iter().flatten() {
            let now_finished =
                jobs.iter().find(|job| before.uid == job.metadata.uid).and_then(|job| job::finished(job));
            if let Some(condition) = now_finished {
                let job = before.name.as_deref().unwrap_or_default();
                let message = format!("Saw completed job: {job}, condition: {}", condition.type_);
                self.recorder.normal(reference(cron), "SawCompletedJob", message);
            }
        }
        let completed = jobs.iter().filter_map(|job| job.status.as_ref()?.completion_time.clone());
        let status = CronJobStatus {
            active: Some(active).filter(|active| !active.is_empty()),
            last_schedule_time: last_schedule.map(Time).or(old.last_schedule_time.clone()),
            last_successful_time: completed.chain(old.last_successful_time.clone()).max(),
        };
        let identities = |status: &CronJobStatus| {
            let active = status.active.iter().flatten();
            active.map(|job| job.uid.clone()).collect::<BTreeSet<_>>()
        };
        let unchanged = identities(&status) == identities(&old)
            && status.last_schedule_time == old.last_schedule_time
            && status.last_successful_time == old.last_successful_time;
        if unchanged {
            return Ok(());
        }
        let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), namespace(cron));
        let updated = CronJob { status: Some(status), ..cron.clone() };
        self.cron_jobs.observe(api.replace_status(name(cron), &post_params(), &updated).await?);
        Ok(())
    }
}

/// The schedule and its time zone, or the reason and message of what is wrong with them.
fn read(schedule: &str, zone: Option<&str>) -> Result<(Schedule, TimeZone), (&'static str, String)> {
    let parsed = Schedule::parse(schedule)
        .map_err(|error| ("UnparseableSchedule", format!("unparseable schedule: {schedule:?} : {error}")))?;
    let zone = match zone {
        None | Some("") => TimeZone::UTC,
        Some(name) => {
            TimeZone::get(name).map_err(|error| ("UnknownTimeZone", format!("invalid timeZone: {name:?}: {error}")))?
        }
    };
    Ok((parsed, zone))
}

/// The job of a time: named after it, so that it cannot start twice.
fn new_job(cron: &CronJob, at: Timestamp) -> Job {
    let template = cron.spec.as_ref().map(|spec| spec.job_template.clone()).unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    let mut annotations = from.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.to_owned(), at.to_string());
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", name(cron), at.as_second() / 60)),
            namespace: Some(namespace(cron).to_owned()),
            labels: from.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
