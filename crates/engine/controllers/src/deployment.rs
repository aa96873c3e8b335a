//! Deployment: from one set of pods to the next, without a gap.

mod conditions;
pub(crate) mod numbers;
mod plan;
mod revision;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use coracle_client::{Cache, Change, Key, Recorder, reference};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    core::v1::Pod,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, Preconditions},
};
use serde_json::{Value, json};

use self::plan::{Plan, Step};
use crate::{
    control::{Action, Context, Controller, Error},
    owner::{
        Matcher, claim_all, controller_key, controller_of, is_deleting, name, namespace, patch_params, post_params,
        selects_everything, uid,
    },
    pods,
    replicaset::{api_message, is_namespace_terminating},
};

struct Deployments {
    context: Context,
    recorder: Recorder,
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
}

/// Runs the controller.
pub async fn run(context: Context) {
    let deployments: Cache<Deployment> = context.caches.of();
    let replica_sets: Cache<ReplicaSet> = context.caches.of();
    let pods: Cache<Pod> = context.caches.of();
    let by_set = {
        let deployments = deployments.clone();
        move |change: &Change<ReplicaSet>| keys_of_set(&deployments, change)
    };
    let by_pod = {
        let (deployments, replica_sets) = (deployments.clone(), replica_sets.clone());
        move |change: &Change<Pod>| keys_of_gone_pod(&deployments, &replica_sets, change).into_iter().collect()
    };
    let controller = Controller::new("deployment-controller")
        .watch_own(&deployments)
        .watch(&replica_sets, by_set)
        .watch(&pods, by_pod);
    let recorder = context.events.component("deployment-controller");
    deployments.filled().await;
    replica_sets.filled().await;
    pods.filled().await;
    let this = Arc::new(Deployments { context, recorder, deployments, replica_sets, pods });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

fn keys_of_set(deployments: &Cache<Deployment>, change: &Change<ReplicaSet>) -> Vec<Key> {
    let mut keys: Vec<Key> = change.states().filter_map(|set| controller_key::<Deployment>(&**set)).collect();
    keys.dedup();
    if let Some(set) = &change.current
        && controller_of(&**set).is_none()
    {
        let fits = |deployment: &Arc<Deployment>| {
            let selector = deployment.spec.as_ref().map(|spec| Matcher::new(&spec.selector));
            selector.is_some_and(|selector| selector.matches(set.metadata.labels.as_ref()))
        };
        let fitting = deployments.in_namespace(namespace(&**set)).into_iter().filter(fits);
        keys.extend(fitting.map(|deployment| Key::of(&*deployment)));
    }
    keys
}

/// A deployment that recreates waits for its old pods to end.
fn keys_of_gone_pod(
    deployments: &Cache<Deployment>,
    replica_sets: &Cache<ReplicaSet>,
    change: &Change<Pod>,
) -> Option<Key> {
    if change.current.as_ref().is_some_and(|pod| !pods::is_finished(pod)) {
        return None;
    }
    let set = replica_sets.get(&controller_key::<ReplicaSet>(&**change.object())?)?;
    let key = controller_key::<Deployment>(&*set)?;
    let deployment = deployments.get(&key)?;
    (!numbers::is_rolling(&deployment)).then_some(key)
}

impl Deployments {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(deployment) = self.deployments.get(&key) else { return Ok(Action::Done) };
        let Some(spec) = &deployment.spec else { return Ok(Action::Done) };
        if selects_everything(&spec.selector) {
            self.recorder.warning(
                reference(&*deployment),
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            );
            return Ok(Action::Done);
        }
        let matcher = Matcher::new(&spec.selector);
        let sets = claim_all(&self.context.client, &self.replica_sets, &*deployment, &matcher, |_| true).await?;
        let sets = sets.iter().map(|set| ReplicaSet::clone(set)).collect();
        let Plan { steps, mut status, look_again } =
            plan::plan(&deployment, sets, |set| self.has_unfinished_pods(set), self.context.now());
        let mut failure = None;
        for step in steps {
            if let Err(error) = self.take(&deployment, step, &mut status).await {
                failure = Some(error);
                break;
            }
        }
        self.write_status(&deployment, status).await?;
        failure.map_or(Ok(Action::after(look_again)), Err)
    }

    fn has_unfinished_pods(&self, set: &ReplicaSet) -> bool {
        let owned = |pod: &Arc<Pod>| controller_of(&**pod).is_some_and(|owner| owner.uid == uid(set));
        self.pods.in_namespace(namespace(set)).iter().any(|pod| owned(pod) && !pods::is_finished(pod))
    }

    async fn take(&self, deployment: &Deployment, step: Step, status: &mut DeploymentStatus) -> Result<(), Error> {
        match step {
            Step::Revision(revision) => self.note_revision(deployment, revision).await,
            Step::Create(set) => self.create(deployment, *set, status).await,
            Step::Update(before, after) => self.update(deployment, &before, &after).await,
            Step::Delete(set) => self.delete(deployment, &set).await,
        }
    }

    async fn note_revision(&self, deployment: &Deployment, number: i64) -> Result<(), Error> {
        let api: Api<Deployment> = Api::namespaced(self.context.client.clone(), namespace(deployment));
        let patch = json!({"metadata": {
            "uid": uid(deployment),
            "annotations": {revision::REVISION: number.to_string()},
        }});
        self.deployments.observe(api.patch(name(deployment), &patch_params(), &Patch::Merge(patch)).await?);
        Ok(())
    }

    async fn create(
        &self,
        deployment: &Deployment,
        set: ReplicaSet,
        status: &mut DeploymentStatus,
    ) -> Result<(), Error> {
        let api: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), namespace(deployment));
        match api.create(&post_params(), &set).await {
            Ok(created) => {
                self.replica_sets.observe(created);
                self.announce(deployment, name(&set), 0, numbers::size(&set));
                Ok(())
            }
            Err(kube::Error::Api(error)) if error.is_already_exists() => {
                let existing = api.get(name(&set)).await?;
                let ours = controller_of(&existing).is_some_and(|owner| owner.uid == uid(deployment));
                if ours && revision::find_new(deployment, std::slice::from_ref(&existing)).is_some() {
                    self.replica_sets.observe(existing);
                    return Ok(());
                }
                // Another template has the same hash; the next try is called otherwise.
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
                Err(kube::Error::Api(error).into())
            }
            Err(kube::Error::Api(error)) if is_namespace_terminating(&error) => Ok(()),
            Err(error) => {
                let message = format!("Failed to create new replica set \"{}\": {}", name(&set), api_message(&error));
                if conditions::deadline(deployment).is_some() {
                    let now = self.context.now();
                    let failed = conditions::condition(
                        conditions::PROGRESSING,
                        "False",
                        "ReplicaSetCreateError",
                        message.clone(),
                        now,
                    );
                    conditions::set(status.conditions.get_or_insert_default(), failed);
                }
                self.recorder.warning(reference(deployment), "ReplicaSetCreateError", message);
                Err(error.into())
            }
        }
    }

    async fn update(&self, deployment: &Deployment, before: &ReplicaSet, after: &ReplicaSet) -> Result<(), Error> {
        let api: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), namespace(deployment));
        let patched = api.patch(name(before), &patch_params(), &Patch::Merge(difference(before, after))).await?;
        self.replica_sets.observe(patched);
        self.announce(deployment, name(before), numbers::size(before), numbers::size(after));
        Ok(())
    }

    fn announce(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        if from != to {
            let direction = if to > from { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
            self.recorder.normal(reference(deployment), "ScalingReplicaSet", message);
        }
    }

    async fn delete(&self, deployment: &Deployment, set: &str) -> Result<(), Error> {
        let key = Key::new(namespace(deployment), set);
        let Some(known) = self.replica_sets.get(&key) else { return Ok(()) };
        let api: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), namespace(deployment));
        let as_known = Preconditions {
            uid: known.metadata.uid.clone(),
            resource_version: known.metadata.resource_version.clone(),
        };
        let deletion = api.delete(set, &DeleteParams::background().preconditions(as_known)).await;
        match deletion.map(|outcome| outcome.left().filter(is_deleting)) {
            Ok(Some(going)) => self.replica_sets.observe(going),
            Ok(None) => self.replica_sets.forget(&key, uid(&*known)),
            Err(kube::Error::Api(error)) if error.code == 404 => self.replica_sets.forget(&key, uid(&*known)),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn write_status(&self, deployment: &Deployment, status: DeploymentStatus) -> Result<(), Error> {
        if deployment.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api: Api<Deployment> = Api::namespaced(self.context.client.clone(), namespace(deployment));
        // Noting the revision made a newer version; the status is still about the same spec.
        let newest = self.deployments.get(&Key::of(deployment)).filter(|newest| {
            uid(&**newest) == uid(deployment) && newest.metadata.generation == deployment.metadata.generation
        });
        let base = newest.map_or_else(|| deployment.clone(), |newest| Deployment::clone(&newest));
        let updated = Deployment { status: Some(status), ..base };
        self.deployments.observe(api.replace_status(name(deployment), &post_params(), &updated).await?);
        Ok(())
    }
}

/// A merge patch from one version of a set to the next, for exactly the former.
fn difference(before: &ReplicaSet, after: &ReplicaSet) -> Value {
    let mut patch = json!({"metadata": {"uid": uid(before), "resourceVersion": before.metadata.resource_version}});
    if before.metadata.annotations != after.metadata.annotations {
        patch["metadata"]["annotations"] = json!(after.metadata.annotations);
    }
    if numbers::size(before) != numbers::size(after) {
        patch["spec"]["replicas"] = json!(numbers::size(after));
    }
    let min_ready_seconds = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    if min_ready_seconds(before) != min_ready_seconds(after) {
        patch["spec"]["minReadySeconds"] = json!(min_ready_seconds(after));
    }
    patch
}
