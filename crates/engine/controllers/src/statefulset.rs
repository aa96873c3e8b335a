//! StatefulSet: pods with names that stay, one after the other, each with storage of its own.

mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use coracle_client::{Cache, Change, Key, Recorder, reference};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
};
use kube::Api;

use self::plan::{Step, ordinal, plan};
use crate::{
    control::{Action, Context, Controller, Error},
    history::{self, History, REVISION_LABEL, Versioned},
    owner::{
        Matcher, claim_all, controller_key, controller_of, controller_reference, name, namespace, post_params,
        selects_everything,
    },
    pods,
    replicaset::{api_message, is_namespace_terminating},
};

struct StatefulSets {
    context: Context,
    recorder: Recorder,
    sets: Cache<StatefulSet>,
    pods: Cache<Pod>,
    claims: Cache<PersistentVolumeClaim>,
    revisions: Cache<ControllerRevision>,
}

/// Runs the controller.
pub async fn run(context: Context) {
    let sets: Cache<StatefulSet> = context.caches.of();
    let pods: Cache<Pod> = context.caches.of();
    let claims: Cache<PersistentVolumeClaim> = context.caches.of();
    let revisions: Cache<ControllerRevision> = context.caches.of();
    let by_pod = {
        let sets = sets.clone();
        move |change: &Change<Pod>| keys_of_pod(&sets, change)
    };
    let controller = Controller::new("statefulset-controller")
        .watch_own(&sets)
        .watch(&pods, by_pod)
        .watch(&revisions, |change| controller_key::<StatefulSet>(&**change.object()).into_iter().collect());
    let recorder = context.events.component("statefulset-controller");
    sets.filled().await;
    pods.filled().await;
    claims.filled().await;
    revisions.filled().await;
    let this = Arc::new(StatefulSets { context, recorder, sets, pods, claims, revisions });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

fn keys_of_pod(sets: &Cache<StatefulSet>, change: &Change<Pod>) -> Vec<Key> {
    let mut keys: Vec<Key> = change.states().filter_map(|pod| controller_key::<StatefulSet>(&**pod)).collect();
    keys.dedup();
    if let Some(pod) = &change.current
        && controller_of(&**pod).is_none()
    {
        let named = |set: &Arc<StatefulSet>| ordinal(set, pod).is_some();
        keys.extend(sets.in_namespace(namespace(&**pod)).into_iter().filter(named).map(|set| Key::of(&*set)));
    }
    keys
}

impl StatefulSets {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(set) = self.sets.get(&key) else { return Ok(Action::Done) };
        let Some(spec) = &set.spec else { return Ok(Action::Done) };
        if selects_everything(&spec.selector) {
            return Ok(Action::Done);
        }
        let matcher = Matcher::new(&spec.selector);
        let pods =
            claim_all(&self.context.client, &self.pods, &*set, &matcher, |pod| ordinal(&set, pod).is_some()).await?;
        let status = set.status.clone().unwrap_or_default();
        let collisions = status.collision_count.unwrap_or(0);
        let versioned = Versioned { owner: &*set, template: &spec.template, selector: &spec.selector, collisions };
        let history = history::sync(&self.context, &self.revisions, &versioned).await?;
        let update = name(&*history.update).to_owned();
        let known = |revision: &String| history.revisions.iter().any(|known| name(&**known) == revision);
        let former = status.current_revision.filter(known).unwrap_or_else(|| update.clone());
        let decided = plan(&set, &pods, &former, &update, self.context.now());
        let mut failure = None;
        for step in decided.steps {
            if let Err(error) = self.take(&set, &history, step).await {
                failure = Some(error);
                break;
            }
        }
        self.write_status(&set, decided.status).await?;
        failure.map_or(Ok(()), Err)?;
        let in_use = |revision: &ControllerRevision| {
            name(revision) == former || pods.iter().any(|pod| plan::revision_of(pod) == Some(name(revision)))
        };
        history::truncate(&self.context, &self.revisions, &history, spec.revision_history_limit, in_use).await?;
        Ok(Action::after(decided.look_again))
    }

    async fn take(&self, set: &StatefulSet, history: &History, step: Step) -> Result<(), Error> {
        match step {
            Step::Create(ordinal, revision) => self.create(set, history, ordinal, &revision).await,
            Step::Replace(pod) => {
                let message =
                    format!("StatefulSet {}/{} is recreating failed Pod {}", namespace(set), name(set), name(&*pod));
                self.recorder.warning(reference(set), "RecreatingFailedPod", message);
                self.delete(set, &pod).await
            }
            Step::Delete(pod) => self.delete(set, &pod).await,
        }
    }

    async fn create(&self, set: &StatefulSet, history: &History, ordinal: i32, revision: &str) -> Result<(), Error> {
        let of = history.revisions.iter().find(|known| name(&***known) == revision);
        let Some(template) = of.and_then(|revision| history::template_of(revision)) else {
            return Err(Error::Waiting(format!("revision {revision} cannot be read")));
        };
        let pod = new_pod(set, template, ordinal, revision);
        for claim in claims(set, ordinal) {
            self.ensure_claim(set, &pod, claim).await?;
        }
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace(set));
        match api.create(&post_params(), &pod).await {
            Ok(created) => {
                self.pods.observe(created);
                let message = format!("create Pod {} in StatefulSet {} successful", name(&pod), name(set));
                self.recorder.normal(reference(set), "SuccessfulCreate", message);
                Ok(())
            }
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Err(error) => {
                let (pod, set_name, why) = (name(&pod), name(set), api_message(&error));
                let message = format!("create Pod {pod} in StatefulSet {set_name} failed error: {why}");
                self.recorder.warning(reference(set), "FailedCreate", message);
                Err(error.into())
            }
        }
    }

    async fn ensure_claim(&self, set: &StatefulSet, pod: &Pod, claim: PersistentVolumeClaim) -> Result<(), Error> {
        if self.claims.get(&Key::of(&claim)).is_some() {
            return Ok(());
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.context.client.clone(), namespace(set));
        let about = format!("create Claim {} Pod {} in StatefulSet {}", name(&claim), name(pod), name(set));
        match api.create(&post_params(), &claim).await {
            Ok(created) => {
                self.claims.observe(created);
                self.recorder.normal(reference(set), "SuccessfulCreate", format!("{about} success"));
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => {
                self.recorder.warning(
                    reference(set),
                    "FailedCreate",
                    format!("{about} failed error: {}", api_message(&error)),
                );
                Err(error.into())
            }
        }
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        let about = format!("delete Pod {} in StatefulSet {}", name(pod), name(set));
        match pods::delete(&self.context.client, &self.pods, pod).await {
            Ok(()) => {
                self.recorder.normal(reference(set), "SuccessfulDelete", format!("{about} successful"));
                Ok(())
            }
            Err(error) => {
                self.recorder.warning(
                    reference(set),
                    "FailedDelete",
                    format!("{about} failed error: {}", api_message(&error)),
                );
                Err(error.into())
            }
        }
    }

    async fn write_status(&self, set: &StatefulSet, status: StatefulSetStatus) -> Result<(), Error> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api: Api<StatefulSet> = Api::namespaced(self.context.client.clone(), namespace(set));
        let updated = StatefulSet { status: Some(status), ..set.clone() };
        self.sets.observe(api.replace_status(name(set), &post_params(), &updated).await?);
        Ok(())
    }
}

fn claim_name(template: &PersistentVolumeClaim, set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", name(template), name(set))
}

/// The claims of a pod, by the set's templates.
fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let spec = set.spec.clone().unwrap_or_default();
    let selected = spec.selector.match_labels.unwrap_or_default();
    let claim = |template: PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name(&template, set, ordinal));
        claim.metadata.namespace = Some(namespace(set).to_owned());
        claim.metadata.labels.get_or_insert_default().extend(selected.clone());
        claim.status = None;
        claim
    };
    spec.volume_claim_templates.into_iter().flatten().map(claim).collect()
}

/// The pod of a number: its name is its host name, and its claims take the place of volumes of their names.
fn new_pod(set: &StatefulSet, template: PodTemplateSpec, ordinal: i32, revision: &str) -> Pod {
    let mut pod = pods::from_template(&template, name(set), controller_reference(set));
    let pod_name = format!("{}-{ordinal}", name(set));
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(pod_name.clone());
    pod.metadata.namespace = Some(namespace(set).to_owned());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), pod_name.clone());
    labels.insert("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string());
    labels.insert(REVISION_LABEL.to_owned(), revision.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(pod_name);
    spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone());
    let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
    let volumes = spec.volumes.get_or_insert_default();
    for template in templates {
        volumes.retain(|volume| volume.name != name(template));
        let claim = PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(template, set, ordinal),
            ..PersistentVolumeClaimVolumeSource::default()
        };
        volumes.push(Volume {
            name: name(template).to_owned(),
            persistent_volume_claim: Some(claim),
            ..Volume::default()
        });
    }
    pod
}
