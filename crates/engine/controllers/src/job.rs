//! Job: pods that run until enough of them succeeded.

mod indexes;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use coracle_client::{Cache, Change, Key, Recorder, reference};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobStatus},
        core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
    jiff::SignedDuration,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, Preconditions},
};
use parking_lot::Mutex;
use serde_json::json;

pub(crate) use self::plan::finished;
use self::plan::{Failures, INDEX, TRACKING, is_indexed, plan};
use crate::{
    control::{Action, Context, Controller, Error},
    owner::{
        Matcher, claim_all, controller_key, controller_reference, is_deleting, name, namespace, patch_params,
        post_params, uid,
    },
    pods,
    replicaset::{api_message, is_namespace_terminating},
};

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

struct Jobs {
    context: Context,
    recorder: Recorder,
    jobs: Cache<Job>,
    pods: Cache<Pod>,
    /// Failures in a row. Forgotten when the engine restarts: then the next pod comes a little earlier.
    failures: Mutex<HashMap<Key, Failures>>,
}

/// Runs the controller.
pub async fn run(context: Context) {
    let jobs: Cache<Job> = context.caches.of();
    let pods: Cache<Pod> = context.caches.of();
    let controller = Controller::new("job-controller")
        .watch_own(&jobs)
        .watch(&pods, |change: &Change<Pod>| change.states().filter_map(|pod| controller_key::<Job>(&**pod)).collect());
    let recorder = context.events.component("job-controller");
    jobs.filled().await;
    pods.filled().await;
    let this = Arc::new(Jobs { context, recorder, jobs, pods, failures: Mutex::default() });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

impl Jobs {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(job) = self.jobs.get(&key) else {
            self.failures.lock().remove(&key);
            return self.release_orphans(&key).await;
        };
        let Some(spec) = &job.spec else { return Ok(Action::Done) };
        if spec.managed_by.as_deref().is_some_and(|by| by != "kubernetes.io/job-controller") {
            return Ok(Action::Done);
        }
        let selector = spec.selector.clone().unwrap_or_else(|| own_selector(&job));
        let pods = claim_all(&self.context.client, &self.pods, &*job, &Matcher::new(&selector), |_| true).await?;
        let mut failures = self.failures.lock().get(&key).copied().unwrap_or_default();
        let decided = plan(&job, &pods, &mut failures, self.context.now());
        self.failures.lock().insert(key, failures);
        // Counted first, released after: a pod is never gone before it is a number.
        let mut written = (*job).clone();
        if job.status.as_ref() != Some(&decided.status) {
            written = self.write_status(&job, decided.status).await?;
            for news in decided.news {
                let record = if news.warning { Recorder::warning } else { Recorder::normal };
                record(&self.recorder, reference(&*job), &news.reason, news.message);
            }
        }
        for pod in &decided.release {
            self.release(pod).await?;
        }
        for pod in &decided.delete {
            self.delete(&job, pod).await?;
        }
        self.create(&job, decided.create).await?;
        self.expire(&written, decided.look_again).await
    }

    async fn write_status(&self, job: &Job, status: JobStatus) -> Result<Job, Error> {
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), namespace(job));
        let updated = Job { status: Some(status), ..job.clone() };
        let written = api.replace_status(name(job), &post_params(), &updated).await?;
        self.jobs.observe(written.clone());
        Ok(written)
    }

    async fn release(&self, pod: &Pod) -> Result<(), Error> {
        let others: Vec<&String> =
            pod.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != TRACKING).collect();
        let patch = json!({"metadata": {
            "uid": uid(pod), "resourceVersion": pod.metadata.resource_version, "finalizers": others,
        }});
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace(pod));
        match api.patch(name(pod), &patch_params(), &Patch::Merge(patch)).await {
            Ok(patched) if is_deleting(&patched) && others.is_empty() => self.pods.forget(&Key::of(pod), uid(pod)),
            Ok(patched) => self.pods.observe(patched),
            Err(kube::Error::Api(status)) if status.code == 404 => self.pods.forget(&Key::of(pod), uid(pod)),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Pods of a job that is gone are counted by nobody.
    async fn release_orphans(&self, key: &Key) -> Result<Action, Error> {
        for pod in self.pods.in_namespace(&key.namespace) {
            let held = pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING);
            if held && controller_key::<Job>(&*pod).as_ref() == Some(key) {
                self.release(&pod).await?;
            }
        }
        Ok(Action::Done)
    }

    async fn delete(&self, job: &Job, pod: &Pod) -> Result<(), Error> {
        pods::delete(&self.context.client, &self.pods, pod).await?;
        self.recorder.normal(reference(job), "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
        Ok(())
    }

    async fn create(&self, job: &Job, wanted: Vec<Option<i32>>) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace(job));
        let pods = wanted.into_iter().map(|index| new_pod(job, index)).collect();
        let (created, failure) = pods::create_slowly(&api, &self.pods, pods).await;
        for pod in created {
            self.recorder.normal(reference(job), "SuccessfulCreate", format!("Created pod: {}", name(&pod)));
        }
        match failure {
            None => Ok(()),
            Some(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Some(error) => {
                self.recorder.warning(
                    reference(job),
                    "FailedCreate",
                    format!("Error creating: {}", api_message(&error)),
                );
                Err(error.into())
            }
        }
    }

    /// A job that has been over for long enough goes.
    async fn expire(&self, job: &Job, look_again: Option<Duration>) -> Result<Action, Error> {
        let seconds = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
        let over_since = finished(job).and_then(|condition| condition.last_transition_time.clone());
        let (Some(seconds), Some(since)) = (seconds, over_since) else { return Ok(Action::after(look_again)) };
        let left = (since.0 + SignedDuration::from_secs(i64::from(seconds))).duration_since(self.context.now());
        if let Some(left) = Duration::try_from(left).ok().filter(|left| !left.is_zero()) {
            return Ok(Action::After(left));
        }
        if !is_deleting(job) {
            let api: Api<Job> = Api::namespaced(self.context.client.clone(), namespace(job));
            let this_one = Preconditions { uid: job.metadata.uid.clone(), resource_version: None };
            match api.delete(name(job), &DeleteParams::foreground().preconditions(this_one)).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Action::Done)
    }
}

fn own_labels(job: &Job) -> BTreeMap<String, String> {
    let (job_uid, job_name) = (uid(job).to_owned(), name(job).to_owned());
    [
        (CONTROLLER_UID, job_uid.clone()),
        ("controller-uid", job_uid),
        ("batch.kubernetes.io/job-name", job_name.clone()),
        ("job-name", job_name),
    ]
    .map(|(label, value)| (label.to_owned(), value))
    .into()
}

fn own_selector(job: &Job) -> LabelSelector {
    let labels = [(CONTROLLER_UID.to_owned(), uid(job).to_owned())];
    LabelSelector { match_labels: Some(labels.into()), ..LabelSelector::default() }
}

/// A pod of a job, which stays until it is counted; of an indexed job it knows its index.
fn new_pod(job: &Job, index: Option<i32>) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = pods::from_template(&template, name(job), controller_reference(job));
    let labels = pod.metadata.labels.get_or_insert_default();
    if job.spec.as_ref().and_then(|spec| spec.manual_selector) != Some(true) {
        labels.extend(own_labels(job));
    }
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.to_owned());
    let Some(index) = index.filter(|_| is_indexed(job)) else { return pod };
    labels.insert(INDEX.to_owned(), index.to_string());
    pod.metadata.annotations.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    pod.metadata.generate_name = Some(format!("{}-{index}-", name(job)));
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{}-{index}", name(job)));
    let from_label = EnvVarSource {
        field_ref: Some(ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None }),
        ..EnvVarSource::default()
    };
    let variable = EnvVar { name: "JOB_COMPLETION_INDEX".to_owned(), value: None, value_from: Some(from_label) };
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let env = container.env.get_or_insert_default();
        if !env.iter().any(|set| set.name == variable.name) {
            env.push(variable.clone());
        }
    }
    pod
}
