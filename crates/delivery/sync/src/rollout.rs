//! Whether a deployment in progress is getting anywhere: a pure look at the app's workloads, their pods and events.

use serde_json::Value;

use crate::application::{HealthCode, HealthStatus};
use crate::health;
use crate::manifest::text;

/// Trouble that may pass by itself (no room on the node yet, a secret that comes later) is waited out this long.
const PATIENCE_SECONDS: i64 = 20;
/// A deployment that takes longer than this has failed, whatever the workloads think.
const DEADLINE_SECONDS: i64 = 900;

/// What there is to see.
#[derive(Debug, Default)]
pub struct Scene {
    /// The live objects of the app.
    pub objects: Vec<Value>,
    /// The ReplicaSets and pods of the app's namespaces.
    pub replica_sets: Vec<Value>,
    pub pods: Vec<Value>,
    /// How long the deployment has been going on.
    pub elapsed_seconds: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// `ready` of `wanted` new replicas.
    Progressing {
        ready: i64,
        wanted: i64,
    },
    Healthy {
        ready: i64,
        wanted: i64,
    },
    Failed(Failure),
}

/// Why it failed, and whom to ask for details.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    pub message: String,
    /// Namespace, pod and container whose log and events tell more.
    pub pod: Option<(String, String)>,
    pub container: Option<String>,
    /// Whether the container has run at all, so that there is a log.
    pub has_log: bool,
    /// The reason of the event that tells of it; without one, the last warning does.
    pub event: Option<&'static str>,
}

/// Looks at everything once.
pub fn judge(scene: &Scene) -> Verdict {
    let workloads: Vec<&Value> = scene.objects.iter().filter(|object| is_workload(object)).collect();
    let (mut ready, mut wanted, mut all_healthy) = (0, 0, true);
    for workload in &workloads {
        let pods = new_pods(workload, scene);
        for pod in &pods {
            if let Some(failure) = failing_pod(pod, scene.elapsed_seconds) {
                return Verdict::Failed(failure);
            }
        }
        let assessed = health::assess(workload).unwrap_or_default();
        if assessed.status == HealthCode::Degraded {
            return Verdict::Failed(degraded(workload, &assessed, &pods));
        }
        all_healthy &= matches!(assessed.status, HealthCode::Healthy | HealthCode::Suspended);
        wanted += replicas(workload);
        ready += i64::try_from(pods.iter().filter(|pod| is_ready(pod)).count()).unwrap_or(0).min(replicas(workload));
    }
    if all_healthy {
        return Verdict::Healthy { ready: wanted, wanted };
    }
    if scene.elapsed_seconds > DEADLINE_SECONDS {
        let message = format!("not healthy after {} minutes: {ready}/{wanted} replicas ready", DEADLINE_SECONDS / 60);
        return Verdict::Failed(Failure { message, ..Failure::default() });
    }
    Verdict::Progressing { ready, wanted }
}

fn is_workload(object: &Value) -> bool {
    matches!(
        (text(object, "/apiVersion"), text(object, "/kind")),
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("v1", "Pod") | ("batch/v1", "Job")
    )
}

fn replicas(workload: &Value) -> i64 {
    match text(workload, "/kind") {
        "DaemonSet" => workload.pointer("/status/desiredNumberScheduled").and_then(Value::as_i64).unwrap_or(1),
        "Pod" | "Job" => 1,
        _ => workload.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1),
    }
}

fn is_owned_by(object: &Value, owner: &Value) -> bool {
    let uid = text(owner, "/metadata/uid");
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    !uid.is_empty() && owners.into_iter().flatten().any(|reference| reference["uid"] == uid)
}

/// The pods of the newest version of a workload; a Deployment's older ReplicaSets do not count.
fn new_pods<'a>(workload: &'a Value, scene: &'a Scene) -> Vec<&'a Value> {
    const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";
    if text(workload, "/kind") == "Pod" {
        return vec![workload];
    }
    if text(workload, "/kind") != "Deployment" {
        return scene.pods.iter().filter(|pod| is_owned_by(pod, workload)).collect();
    }
    let number = |pointer: &str| workload.pointer(pointer).and_then(Value::as_i64);
    let is_seen = number("/metadata/generation") <= number("/status/observedGeneration");
    if !is_seen || number("/status/updatedReplicas").unwrap_or(0) == 0 {
        // The controller has not come to the new version yet (a change of scale it meets first, with the old one): the
        // newest ReplicaSet is still the old one.
        return Vec::new();
    }
    let newest = scene
        .replica_sets
        .iter()
        .filter(|set| is_owned_by(set, workload))
        .max_by_key(|set| text(set, REVISION).parse::<i64>().unwrap_or(0));
    let Some(newest) = newest else { return Vec::new() };
    scene.pods.iter().filter(|pod| is_owned_by(pod, newest)).collect()
}

fn is_ready(pod: &Value) -> bool {
    pod_condition(pod, "Ready").is_some_and(|condition| condition["status"] == "True")
}

fn pod_condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    pod.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn failing_pod(pod: &Value, elapsed_seconds: i64) -> Option<Failure> {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return None;
    }
    let name = text(pod, "/metadata/name");
    let place = Some((text(pod, "/metadata/namespace").to_owned(), name.to_owned()));
    for field in ["initContainerStatuses", "containerStatuses"] {
        for status in pod.pointer(&format!("/status/{field}")).and_then(Value::as_array).into_iter().flatten() {
            if let Some((message, crashes)) = failing_container(status, elapsed_seconds) {
                return Some(Failure {
                    message: format!("{message} (pod {name})"),
                    pod: place,
                    container: Some(text(status, "/name").to_owned()),
                    has_log: crashes,
                    // Not the complaints of its probes: they cannot reach what does not run.
                    event: crashes.then_some("BackOff"),
                });
            }
        }
    }
    let unscheduled = pod_condition(pod, "PodScheduled").filter(|condition| condition["status"] == "False");
    if let Some(condition) = unscheduled.filter(|_| elapsed_seconds > PATIENCE_SECONDS) {
        let message = format!("pod {name} cannot be scheduled: {}", text(condition, "/message"));
        return Some(Failure { message, pod: place, ..Failure::default() });
    }
    None
}

/// What is wrong with a container, and whether it runs and crashes.
fn failing_container(status: &Value, elapsed_seconds: i64) -> Option<(String, bool)> {
    let name = text(status, "/name");
    let restarts = status["restartCount"].as_i64().unwrap_or(0);
    let ended = status.pointer("/lastState/terminated").or_else(|| status.pointer("/state/terminated"));
    let waiting = text(status, "/state/waiting/reason");
    // Once may be bad luck, a dependency that was not there yet; twice is how it is.
    let twice = restarts >= 2 || (restarts == 1 && waiting == "CrashLoopBackOff");
    if let Some(ended) = ended.filter(|ended| twice && (ended["exitCode"] != 0 || waiting == "CrashLoopBackOff")) {
        let how = match (text(ended, "/reason"), ended["exitCode"].as_i64().unwrap_or(0)) {
            ("OOMKilled", _) => "runs out of memory and is killed".to_owned(),
            (_, code) if code > 128 => format!("is killed by signal {} at start", code - 128),
            (_, code) => format!("exits at start with code {code}"),
        };
        return Some((format!("container {name} {how}"), true));
    }
    let message = text(status, "/state/waiting/message");
    match waiting {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some((format!("container {name}: image {}: {message}", text(status, "/image")), false))
        }
        "" | "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff" => None,
        reason if health::is_failing_reason(reason) && (restarts > 0 || elapsed_seconds > PATIENCE_SECONDS) => {
            Some((format!("container {name}: {reason}: {message}"), false))
        }
        // A container that cannot be started at all is retried by the node; once more is enough to know.
        "RunContainerError" | "StartError" => Some((format!("container {name} cannot be started: {message}"), false)),
        _ => None,
    }
}

fn degraded(workload: &Value, assessed: &HealthStatus, pods: &[&Value]) -> Failure {
    let mut failure = Failure { message: assessed.message.clone(), ..Failure::default() };
    let unready = pods.iter().find(|pod| !is_ready(pod));
    if let Some(pod) = unready {
        failure.pod = Some((text(pod, "/metadata/namespace").to_owned(), text(pod, "/metadata/name").to_owned()));
        let containers = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        let container = containers.into_iter().flatten().find(|status| status["ready"] != true);
        failure.container = container.map(|status| text(status, "/name").to_owned());
        failure.has_log = container.is_some_and(|status| status.pointer("/state/running").is_some());
        if let Some(name) = failure.container.as_ref().filter(|_| failure.has_log) {
            let pod = text(pod, "/metadata/name");
            failure.message = format!("container {name} does not become ready (pod {pod}): {}", failure.message);
        }
    }
    if failure.message.is_empty() {
        failure.message = format!("{} {} failed", text(workload, "/kind"), text(workload, "/metadata/name"));
    }
    failure
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::{Scene, Verdict, judge};

    fn scene(container: Value, status: Value, elapsed_seconds: i64) -> Scene {
        let owner = |uid: &str| json!([{"uid": uid}]);
        let pod = |name: &str, set: &str, status: Value| json!({"metadata": {"name": name, "namespace": "n", "ownerReferences": owner(set)}, "status": {"containerStatuses": [status], "conditions": [{"type": "Ready", "status": if name == "old" || name == "good" { "True" } else { "False" }}]}});
        Scene {
            objects: vec![
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "d", "generation": 2}, "spec": {"replicas": 3}, "status": status}),
            ],
            replica_sets: vec![
                json!({"metadata": {"uid": "s1", "ownerReferences": owner("d"), "annotations": {"deployment.kubernetes.io/revision": "1"}}}),
                json!({"metadata": {"uid": "s2", "ownerReferences": owner("d"), "annotations": {"deployment.kubernetes.io/revision": "2"}}}),
            ],
            pods: vec![
                pod(
                    "old",
                    "s1",
                    json!({"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}),
                ),
                pod("new", "s2", container),
                pod("good", "s2", json!({"name": "web", "state": {"running": {}}})),
            ],
            elapsed_seconds,
        }
    }

    fn check(container: Value, elapsed_seconds: i64, expected: Expect) {
        let status = json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 2, "availableReplicas": 3});
        let text = match judge(&scene(container, status, elapsed_seconds)) {
            Verdict::Progressing { ready, wanted } => format!("{ready}/{wanted}"),
            Verdict::Healthy { ready, wanted } => format!("healthy {ready}/{wanted}"),
            Verdict::Failed(failure) => format!("{}{}", failure.message, if failure.has_log { " [log]" } else { "" }),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn a_failure_is_known_as_soon_as_it_is_certain() {
        check(json!({"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}), 1, expect!["1/3"]);
        check(json!({"name": "web", "state": {"terminated": {"exitCode": 1}}, "restartCount": 0}), 1, expect!["1/3"]);
        let crashed = json!({"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}, "restartCount": 1});
        check(crashed, 1, expect!["container web exits at start with code 3 (pod new) [log]"]);
        let killed = json!({"name": "web", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 139}}, "restartCount": 2});
        check(killed, 1, expect!["container web is killed by signal 11 at start (pod new) [log]"]);
        let oom = json!({"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "restartCount": 1});
        check(oom, 1, expect!["container web runs out of memory and is killed (pod new) [log]"]);
        let image = json!({"name": "web", "image": "nope:1", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}});
        check(image, 1, expect!["container web: image nope:1: not found (pod new)"]);
        let config = json!({"name": "web", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"s\" not found"}}});
        check(config.clone(), 1, expect!["1/3"]);
        check(config, 30, expect![[r#"container web: CreateContainerConfigError: secret "s" not found (pod new)"#]]);
        check(
            json!({"name": "web", "state": {"running": {}}}),
            901,
            expect!["not healthy after 15 minutes: 1/3 replicas ready"],
        );
    }

    #[test]
    fn the_old_version_is_not_taken_for_the_new_one() {
        let crashed = json!({"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}, "restartCount": 1});
        for status in [
            json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
            json!({"observedGeneration": 2, "replicas": 3, "availableReplicas": 3}),
        ] {
            assert_eq!(judge(&scene(crashed.clone(), status, 1)), Verdict::Progressing { ready: 0, wanted: 3 });
        }
    }

    #[test]
    fn health_is_the_workloads_word() {
        let status = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
        let verdict = judge(&scene(json!({"name": "web", "state": {"running": {}}}), status, 1));
        assert_eq!(verdict, Verdict::Healthy { ready: 3, wanted: 3 });
        assert_eq!(judge(&Scene::default()), Verdict::Healthy { ready: 0, wanted: 0 });
    }
}
