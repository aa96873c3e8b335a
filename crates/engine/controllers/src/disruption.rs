//! PodDisruptionBudget: how many of its pods may be evicted now. The eviction itself takes from that number at the API.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use coracle_client::{Cache, Change, Key};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::{Pod, ReplicationController},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, Resource};

use crate::{
    control::{Action, Context, Controller, Error},
    deployment::numbers::resolve,
    owner::{Matcher, controller_key, controller_of, is_deleting, name, namespace, post_params, uid},
    pods,
};

/// An evicted pod that is still there after so long is no longer counted as gone.
const EVICTION_PATIENCE: SignedDuration = SignedDuration::from_mins(2);

struct Budgets {
    context: Context,
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    scales: Scales,
}

/// Whoever says how many pods there should be.
struct Scales {
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
    stateful_sets: Cache<StatefulSet>,
    replication_controllers: Cache<ReplicationController>,
}

/// Runs the controller.
pub async fn run(context: Context) {
    let budgets: Cache<PodDisruptionBudget> = context.caches.of();
    let pods: Cache<Pod> = context.caches.of();
    let scales = Scales {
        deployments: context.caches.of(),
        replica_sets: context.caches.of(),
        stateful_sets: context.caches.of(),
        replication_controllers: context.caches.of(),
    };
    let controller = Controller::new("disruption-controller")
        .watch_own(&budgets)
        .watch(&pods, by_pod(&budgets))
        .watch(&scales.deployments, in_same_namespace(&budgets))
        .watch(&scales.stateful_sets, in_same_namespace(&budgets))
        .watch(&scales.replication_controllers, in_same_namespace(&budgets));
    budgets.filled().await;
    pods.filled().await;
    scales.deployments.filled().await;
    scales.replica_sets.filled().await;
    scales.stateful_sets.filled().await;
    scales.replication_controllers.filled().await;
    let this = Arc::new(Budgets { context, budgets, pods, scales });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

/// The budgets whose pod it is, or was.
fn by_pod(budgets: &Cache<PodDisruptionBudget>) -> impl Fn(&Change<Pod>) -> Vec<Key> + Send + Sync + 'static {
    let budgets = budgets.clone();
    move |change| {
        let in_namespace = budgets.in_namespace(namespace(&**change.object()));
        let covers = |budget: &&Arc<PodDisruptionBudget>| change.states().any(|pod| is_covered(budget, pod));
        in_namespace.iter().filter(covers).map(|budget| Key::of(&**budget)).collect()
    }
}

fn in_same_namespace<K>(budgets: &Cache<PodDisruptionBudget>) -> impl Fn(&Change<K>) -> Vec<Key> + Send + Sync + 'static
where
    K: Resource + 'static,
{
    let budgets = budgets.clone();
    move |change| budgets.in_namespace(namespace(&**change.object())).iter().map(|budget| Key::of(&**budget)).collect()
}

/// No selector covers nothing; an empty one everything.
fn is_covered(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| Matcher::new(selector).matches(pod.metadata.labels.as_ref()))
}

impl Budgets {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(budget) = self.budgets.get(&key).filter(|budget| !is_deleting(&**budget)) else {
            return Ok(Action::Done);
        };
        let covered: Vec<Arc<Pod>> = self
            .pods
            .in_namespace(namespace(&*budget))
            .into_iter()
            .filter(|pod| is_covered(&budget, pod) && !pods::is_finished(pod))
            .collect();
        let now = self.context.now();
        let expected = expected(&budget, covered.len(), || self.scales.of(&covered));
        let (status, wait) = status(&budget, &covered, expected, now);
        if budget.status.as_ref() != Some(&status) {
            let updated = PodDisruptionBudget { status: Some(status), ..(*budget).clone() };
            let api: Api<PodDisruptionBudget> = Api::namespaced(self.context.client.clone(), namespace(&*budget));
            self.budgets.observe(api.replace_status(name(&*budget), &post_params(), &updated).await?);
        }
        Ok(Action::after(wait))
    }
}

impl Scales {
    /// How many pods those who control them want together.
    fn of(&self, pods: &[Arc<Pod>]) -> Result<i32, String> {
        let mut wanted: HashMap<String, i32> = HashMap::new();
        for pod in pods {
            let (owner, replicas) = self.of_pod(pod)?;
            wanted.insert(owner, replicas);
        }
        Ok(wanted.values().sum())
    }

    fn of_pod(&self, pod: &Pod) -> Result<(String, i32), String> {
        let unknown = || match controller_of(pod) {
            Some(owner) => format!("{} does not implement the scale subresource", owner.kind),
            None => format!("found no controllers for pod {:?}", name(pod)),
        };
        if let Some(set) = controller_key::<ReplicaSet>(pod).and_then(|key| self.replica_sets.get(&key)) {
            let deployment = controller_key::<Deployment>(&*set).and_then(|key| self.deployments.get(&key));
            return Ok(match deployment {
                Some(owner) => (uid(&*owner).to_owned(), owner.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)),
                None => (uid(&*set).to_owned(), set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)),
            });
        }
        if let Some(set) = controller_key::<StatefulSet>(pod).and_then(|key| self.stateful_sets.get(&key)) {
            return Ok((uid(&*set).to_owned(), set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)));
        }
        let controller = controller_key::<ReplicationController>(pod);
        let controller = controller.and_then(|key| self.replication_controllers.get(&key)).ok_or_else(unknown)?;
        Ok((uid(&*controller).to_owned(), controller.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)))
    }
}

/// How many pods there should be, and how many of them have to be healthy.
fn expected(
    budget: &PodDisruptionBudget,
    covered: usize,
    scale: impl Fn() -> Result<i32, String>,
) -> Result<(i32, i32), String> {
    let spec = budget.spec.clone().unwrap_or_default();
    if let Some(unavailable) = &spec.max_unavailable {
        let expected = scale()?;
        return Ok((expected, (expected - resolve(Some(unavailable), expected, true)).max(0)));
    }
    match &spec.min_available {
        Some(IntOrString::Int(healthy)) => Ok((i32::try_from(covered).unwrap_or(i32::MAX), *healthy)),
        Some(share) => {
            let expected = scale()?;
            Ok((expected, resolve(Some(share), expected, true)))
        }
        None => Ok((i32::try_from(covered).unwrap_or(i32::MAX), 0)),
    }
}

/// The status, and when it changes without anything else changing.
fn status(
    budget: &PodDisruptionBudget,
    covered: &[Arc<Pod>],
    expected: Result<(i32, i32), String>,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let old = budget.status.clone().unwrap_or_default();
    let disrupted = still_disrupted(&old, covered, now);
    let healthy =
        |pod: &&Arc<Pod>| pods::is_ready(pod) && !pods::is_terminating(pod) && !disrupted.contains_key(name(&***pod));
    let current = i32::try_from(covered.iter().filter(healthy).count()).unwrap_or(i32::MAX);
    let wait = disrupted.values().map(|since| (since.0 + EVICTION_PATIENCE).duration_since(now)).min();
    let (expected_pods, desired_healthy, allowed, condition) = match expected {
        Ok((expected, desired)) => {
            let allowed = if expected > 0 { (current - desired).max(0) } else { 0 };
            let (is, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
            (expected, desired, allowed, (is, reason, String::new()))
        }
        Err(why) => (old.expected_pods, old.desired_healthy, 0, ("False", "SyncFailed", why)),
    };
    let status = PodDisruptionBudgetStatus {
        conditions: Some(conditions(old.conditions, condition, budget.metadata.generation, now)),
        current_healthy: current,
        desired_healthy,
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        disruptions_allowed: allowed,
        expected_pods,
        observed_generation: budget.metadata.generation,
    };
    (status, wait.map(|wait| wait.try_into().unwrap_or(Duration::ZERO)))
}

/// Pods that were evicted and are not gone yet.
fn still_disrupted(old: &PodDisruptionBudgetStatus, covered: &[Arc<Pod>], now: Timestamp) -> BTreeMap<String, Time> {
    let waits = |evicted: &str, since: &Time| {
        let pod = covered.iter().find(|pod| name(&***pod) == evicted);
        pod.is_some_and(|pod| !pods::is_terminating(pod)) && now.duration_since(since.0) < EVICTION_PATIENCE
    };
    let all = old.disrupted_pods.clone().unwrap_or_default();
    all.into_iter().filter(|(evicted, since)| waits(evicted, since)).collect()
}

fn conditions(
    old: Option<Vec<Condition>>,
    (status, reason, message): (&str, &str, String),
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut all = old.unwrap_or_default();
    let before = all.iter().position(|condition| condition.type_ == "DisruptionAllowed");
    let since = before.map(|at| &all[at]).filter(|condition| condition.status == status);
    let condition = Condition {
        last_transition_time: since.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        message,
        observed_generation: generation,
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: "DisruptionAllowed".to_owned(),
    };
    match before {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, ready: &[bool], scale: Result<i32, String>) -> String {
        let budget: PodDisruptionBudget =
            serde_json::from_value(json!({"metadata": {"name": "b", "generation": 2}, "spec": spec})).unwrap();
        let pod = |(at, ready): (usize, &bool)| -> Arc<Pod> {
            let status = if *ready { "True" } else { "False" };
            let pod = json!({"metadata": {"name": format!("p{at}")}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let covered: Vec<Arc<Pod>> = ready.iter().enumerate().map(pod).collect();
        let expected = expected(&budget, covered.len(), || scale.clone());
        let (status, _) = status(&budget, &covered, expected, Timestamp::UNIX_EPOCH);
        let reason = &status.conditions.as_ref().unwrap()[0].reason;
        format!(
            "{} of {} healthy, {} wanted, {} may go: {reason}",
            status.current_healthy, status.expected_pods, status.desired_healthy, status.disruptions_allowed
        )
    }

    #[test]
    fn what_may_go() {
        let three = [true, true, true];
        assert_eq!(
            check(json!({"minAvailable": 2}), &three, Err("unasked".into())),
            "3 of 3 healthy, 2 wanted, 1 may go: SufficientPods"
        );
        assert_eq!(
            check(json!({"maxUnavailable": "34%"}), &three, Ok(3)),
            "3 of 3 healthy, 1 wanted, 2 may go: SufficientPods"
        );
        assert_eq!(
            check(json!({"maxUnavailable": 1}), &[true, false, true], Ok(3)),
            "2 of 3 healthy, 2 wanted, 0 may go: InsufficientPods"
        );
        assert_eq!(
            check(json!({"maxUnavailable": 1}), &three, Err("no scale".into())),
            "3 of 0 healthy, 0 wanted, 0 may go: SyncFailed"
        );
    }
}
