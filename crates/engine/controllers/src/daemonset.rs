//! DaemonSet: a pod on every node that takes it.

mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use coracle_client::{Cache, Change, Key, Recorder, reference};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
    core::v1::{
        Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodTemplateSpec,
        Toleration,
    },
};
use kube::Api;

use self::plan::{Step, plan};
use crate::{
    control::{Action, Context, Controller, Error},
    history::{self, REVISION_LABEL, Versioned},
    owner::{
        Matcher, claim_all, controller_key, controller_of, controller_reference, is_deleting, name, namespace,
        post_params, selects_everything,
    },
    pods,
    replicaset::{api_message, is_namespace_terminating},
};

/// Daemons stay where others are kept off or driven out.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

struct DaemonSets {
    context: Context,
    recorder: Recorder,
    sets: Cache<DaemonSet>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    revisions: Cache<ControllerRevision>,
}

/// Runs the controller.
pub async fn run(context: Context) {
    let sets: Cache<DaemonSet> = context.caches.of();
    let pods: Cache<Pod> = context.caches.of();
    let nodes: Cache<Node> = context.caches.of();
    let revisions: Cache<ControllerRevision> = context.caches.of();
    let (by_pod, by_node) = {
        let (for_pods, for_nodes) = (sets.clone(), sets.clone());
        let by_pod = move |change: &Change<Pod>| keys_of_pod(&for_pods, change);
        let by_node = move |change: &Change<Node>| if is_of_interest(change) { for_nodes.keys() } else { Vec::new() };
        (by_pod, by_node)
    };
    let controller = Controller::new("daemonset-controller")
        .watch_own(&sets)
        .watch(&pods, by_pod)
        .watch(&nodes, by_node)
        .watch(&revisions, |change| controller_key::<DaemonSet>(&**change.object()).into_iter().collect());
    let recorder = context.events.component("daemonset-controller");
    sets.filled().await;
    pods.filled().await;
    nodes.filled().await;
    revisions.filled().await;
    let this = Arc::new(DaemonSets { context, recorder, sets, pods, nodes, revisions });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

fn keys_of_pod(sets: &Cache<DaemonSet>, change: &Change<Pod>) -> Vec<Key> {
    let mut keys: Vec<Key> = change.states().filter_map(|pod| controller_key::<DaemonSet>(&**pod)).collect();
    keys.dedup();
    if let Some(pod) = &change.current
        && controller_of(&**pod).is_none()
    {
        let fits = |set: &Arc<DaemonSet>| {
            let selector = set.spec.as_ref().map(|spec| Matcher::new(&spec.selector));
            selector.is_some_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
        };
        keys.extend(sets.in_namespace(namespace(&**pod)).into_iter().filter(fits).map(|set| Key::of(&*set)));
    }
    keys
}

/// Nodes report often; what decides where daemons go changes seldom.
fn is_of_interest(change: &Change<Node>) -> bool {
    let (Some(before), Some(now)) = (&change.previous, &change.current) else { return true };
    let deciding = |node: &Node| {
        let spec = node.spec.clone().unwrap_or_default();
        (node.metadata.labels.clone(), spec.taints, spec.unschedulable)
    };
    deciding(before) != deciding(now)
}

impl DaemonSets {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(set) = self.sets.get(&key) else { return Ok(Action::Done) };
        let Some(spec) = &set.spec else { return Ok(Action::Done) };
        if selects_everything(&spec.selector) {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.warning(reference(&*set), "SelectingAll", message);
            return Ok(Action::Done);
        }
        if is_deleting(&*set) {
            return Ok(Action::Done);
        }
        let matcher = Matcher::new(&spec.selector);
        let pods = claim_all(&self.context.client, &self.pods, &*set, &matcher, |_| true).await?;
        let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let versioned = Versioned { owner: &*set, template: &spec.template, selector: &spec.selector, collisions };
        let history = history::sync(&self.context, &self.revisions, &versioned).await?;
        let hash = history::hash_of(&history.update, &*set).to_owned();
        let decided = plan(&set, &self.nodes.all(), &pods, &hash, self.context.now());
        let mut failure = None;
        for step in decided.steps {
            if let Err(error) = self.take(&set, &hash, step).await {
                failure = Some(error);
            }
        }
        self.write_status(&set, decided.status).await?;
        failure.map_or(Ok(()), Err)?;
        let in_use = |revision: &ControllerRevision| {
            let hash = history::hash_of(revision, &*set);
            pods.iter().any(|pod| plan::revision_of(pod) == Some(hash))
        };
        history::truncate(&self.context, &self.revisions, &history, spec.revision_history_limit, in_use).await?;
        Ok(Action::after(decided.look_again))
    }

    async fn take(&self, set: &DaemonSet, hash: &str, step: Step) -> Result<(), Error> {
        match step {
            Step::Create(node) => self.create(set, hash, &node).await,
            Step::Replace(pod) => {
                let node = plan::node_of(&pod).unwrap_or_default();
                let message = format!(
                    "Found failed daemon pod {}/{} on node {node}, will try to kill it",
                    namespace(&*pod),
                    name(&*pod)
                );
                self.recorder.warning(reference(set), "FailedDaemonPod", message);
                self.delete(set, &pod).await
            }
            Step::Delete(pod) => self.delete(set, &pod).await,
        }
    }

    async fn create(&self, set: &DaemonSet, hash: &str, node: &str) -> Result<(), Error> {
        let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        let mut pod = pods::from_template(&template_for(template, node), name(set), controller_reference(set));
        pod.metadata.labels.get_or_insert_default().insert(REVISION_LABEL.to_owned(), hash.to_owned());
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace(set));
        match api.create(&post_params(), &pod).await {
            Ok(created) => {
                let message = format!("Created pod: {}", name(&created));
                self.pods.observe(created);
                self.recorder.normal(reference(set), "SuccessfulCreate", message);
                Ok(())
            }
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Err(error) => {
                self.recorder.warning(
                    reference(set),
                    "FailedCreate",
                    format!("Error creating: {}", api_message(&error)),
                );
                Err(error.into())
            }
        }
    }

    async fn delete(&self, set: &DaemonSet, pod: &Pod) -> Result<(), Error> {
        match pods::delete(&self.context.client, &self.pods, pod).await {
            Ok(()) => {
                self.recorder.normal(reference(set), "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
                Ok(())
            }
            Err(error) => {
                self.recorder.warning(
                    reference(set),
                    "FailedDelete",
                    format!("Error deleting: {}", api_message(&error)),
                );
                Err(error.into())
            }
        }
    }

    async fn write_status(&self, set: &DaemonSet, status: DaemonSetStatus) -> Result<(), Error> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api: Api<DaemonSet> = Api::namespaced(self.context.client.clone(), namespace(set));
        let updated = DaemonSet { status: Some(status), ..set.clone() };
        self.sets.observe(api.replace_status(name(set), &post_params(), &updated).await?);
        Ok(())
    }
}

/// The template with what makes a pod one for a certain node: its name as a requirement, and what daemons tolerate.
fn template_for(mut template: PodTemplateSpec, node: &str) -> PodTemplateSpec {
    let spec = template.spec.get_or_insert_default();
    let this_node = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let node_affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    let required = node_affinity.required_during_scheduling_ignored_during_execution.take();
    let mut terms = required.map(|required| required.node_selector_terms).unwrap_or_default();
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in &mut terms {
        term.match_fields = Some(vec![this_node.clone()]);
    }
    node_affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: terms });
    let host_network = spec.host_network.unwrap_or(false);
    let tolerations: &mut Vec<Toleration> = spec.tolerations.get_or_insert_default();
    let network = Some(("node.kubernetes.io/network-unavailable", "NoSchedule")).filter(|_| host_network);
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    template
}
