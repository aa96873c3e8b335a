//! How a live object fares, by Argo CD's rules.

use serde_json::Value;

use crate::application::{HealthCode, HealthStatus};

fn status(status: HealthCode, message: impl Into<String>) -> Option<HealthStatus> {
    Some(HealthStatus { status, message: message.into() })
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The health of an object; nothing for kinds that are simply there.
pub fn assess(object: &Value) -> Option<HealthStatus> {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return status(HealthCode::Progressing, "Pending deletion");
    }
    let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    match (group, text(object, "/kind")) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("", "Pod") => pod(object),
        ("batch", "Job") => job(object),
        ("", "Service") => service(object),
        ("networking.k8s.io", "Ingress") => ingress(object),
        ("", "PersistentVolumeClaim") => claim(object),
        _ => None,
    }
}

/// The worst of all parts; an app of nothing is healthy.
pub fn overall<'a>(parts: impl IntoIterator<Item = &'a HealthStatus>) -> HealthStatus {
    let mut worst = HealthStatus { status: HealthCode::Healthy, message: String::new() };
    for part in parts {
        if part.status > worst.status {
            worst = part.clone();
        }
    }
    worst
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn not_observed(object: &Value) -> bool {
    number(object, "/metadata/generation") > number(object, "/status/observedGeneration")
}

fn deployment(object: &Value) -> Option<HealthStatus> {
    let name = text(object, "/metadata/name");
    if object.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        return status(HealthCode::Suspended, "Deployment is paused");
    }
    if not_observed(object) {
        return status(
            HealthCode::Progressing,
            "Waiting for rollout to finish: observed deployment generation less than desired generation",
        );
    }
    if condition(object, "Progressing").is_some_and(|found| found["reason"] == "ProgressDeadlineExceeded") {
        return status(HealthCode::Degraded, format!("Deployment {name:?} exceeded its progress deadline"));
    }
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let (replicas, updated) = (number(object, "/status/replicas"), number(object, "/status/updatedReplicas"));
    let available = number(object, "/status/availableReplicas");
    if updated < wanted {
        let message =
            format!("Waiting for rollout to finish: {updated} out of {wanted} new replicas have been updated...");
        return status(HealthCode::Progressing, message);
    }
    if replicas > updated {
        let message =
            format!("Waiting for rollout to finish: {} old replicas are pending termination...", replicas - updated);
        return status(HealthCode::Progressing, message);
    }
    if available < updated {
        let message =
            format!("Waiting for rollout to finish: {available} of {updated} updated replicas are available...");
        return status(HealthCode::Progressing, message);
    }
    status(HealthCode::Healthy, "")
}

fn replica_set(object: &Value) -> Option<HealthStatus> {
    if not_observed(object) {
        return status(
            HealthCode::Progressing,
            "Waiting for rollout to finish: observed replica set generation less than desired generation",
        );
    }
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|found| found["status"] == "True") {
        return status(HealthCode::Degraded, failure["message"].as_str().unwrap_or_default());
    }
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let available = number(object, "/status/availableReplicas");
    if available < wanted {
        let message =
            format!("Waiting for rollout to finish: {available} out of {wanted} new replicas are available...");
        return status(HealthCode::Progressing, message);
    }
    status(HealthCode::Healthy, "")
}

fn stateful_set(object: &Value) -> Option<HealthStatus> {
    if not_observed(object) {
        return status(HealthCode::Progressing, "Waiting for statefulset spec update to be observed...");
    }
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let ready = number(object, "/status/readyReplicas");
    if ready < wanted {
        return status(HealthCode::Progressing, format!("Waiting for {} pods to be ready...", wanted - ready));
    }
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return status(HealthCode::Healthy, format!("statefulset has {ready} ready pods"));
    }
    let updated = number(object, "/status/updatedReplicas");
    if let Some(partition) = object.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64)
        && partition > 0
    {
        let new = wanted - partition;
        if updated < new {
            let message = format!(
                "Waiting for partitioned roll out to finish: {updated} out of {new} new pods have been updated..."
            );
            return status(HealthCode::Progressing, message);
        }
        return status(
            HealthCode::Healthy,
            format!("partitioned roll out complete: {updated} new pods have been updated..."),
        );
    }
    if text(object, "/status/updateRevision") != text(object, "/status/currentRevision") {
        let message = format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {}...",
            text(object, "/status/updateRevision")
        );
        return status(HealthCode::Progressing, message);
    }
    status(
        HealthCode::Healthy,
        format!(
            "statefulset rolling update complete {wanted} pods at revision {}...",
            text(object, "/status/currentRevision")
        ),
    )
}

fn daemon_set(object: &Value) -> Option<HealthStatus> {
    let name = text(object, "/metadata/name");
    if not_observed(object) {
        return status(
            HealthCode::Progressing,
            "Waiting for rollout to finish: observed daemon set generation less than desired generation",
        );
    }
    let wanted = number(object, "/status/desiredNumberScheduled");
    let updated = number(object, "/status/updatedNumberScheduled");
    let available = number(object, "/status/numberAvailable");
    if text(object, "/spec/updateStrategy/type") != "OnDelete" && updated < wanted {
        let message = format!(
            "Waiting for daemon set {name:?} rollout to finish: {updated} out of {wanted} new pods have been updated..."
        );
        return status(HealthCode::Progressing, message);
    }
    if available < wanted {
        let message = format!(
            "Waiting for daemon set {name:?} rollout to finish: {available} of {wanted} updated pods are available..."
        );
        return status(HealthCode::Progressing, message);
    }
    status(HealthCode::Healthy, "")
}

/// The reasons of a waiting container that do not go away by waiting.
pub(crate) fn is_failing_reason(reason: &str) -> bool {
    reason.starts_with("Err")
        || reason.ends_with("Error")
        || reason.ends_with("BackOff")
        || reason == "InvalidImageName"
}

fn pod(object: &Value) -> Option<HealthStatus> {
    let containers = object.pointer("/status/containerStatuses").and_then(Value::as_array);
    let waiting = containers.into_iter().flatten().filter_map(|container| {
        let waiting = container.pointer("/state/waiting")?;
        let reason = waiting["reason"].as_str().unwrap_or_default();
        is_failing_reason(reason).then(|| waiting["message"].as_str().unwrap_or(reason).to_owned())
    });
    if let Some(message) = waiting.collect::<Vec<String>>().pop() {
        return status(HealthCode::Degraded, message);
    }
    let message = text(object, "/status/message");
    match text(object, "/status/phase") {
        "Pending" => status(HealthCode::Progressing, message),
        "Succeeded" => status(HealthCode::Healthy, message),
        "Failed" => status(HealthCode::Degraded, if message.is_empty() { "Pod failed" } else { message }),
        "Running" => {
            if matches!(text(object, "/spec/restartPolicy"), "OnFailure" | "Never") {
                return status(HealthCode::Progressing, message);
            }
            if condition(object, "Ready").is_some_and(|ready| ready["status"] == "True") {
                return status(HealthCode::Healthy, message);
            }
            let restarted = containers_restarted(object);
            status(if restarted { HealthCode::Degraded } else { HealthCode::Progressing }, message)
        }
        _ => status(HealthCode::Unknown, message),
    }
}

fn containers_restarted(object: &Value) -> bool {
    let containers = object.pointer("/status/containerStatuses").and_then(Value::as_array);
    containers.into_iter().flatten().any(|container| container.pointer("/lastState/terminated").is_some())
}

fn job(object: &Value) -> Option<HealthStatus> {
    if let Some(failed) = condition(object, "Failed").filter(|found| found["status"] == "True") {
        return status(HealthCode::Degraded, failed["message"].as_str().unwrap_or_default());
    }
    if condition(object, "Complete").is_some_and(|found| found["status"] == "True") {
        return status(HealthCode::Healthy, "");
    }
    if condition(object, "Suspended").is_some_and(|found| found["status"] == "True") {
        return status(HealthCode::Suspended, "");
    }
    status(HealthCode::Progressing, "")
}

fn service(object: &Value) -> Option<HealthStatus> {
    let given = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    if text(object, "/spec/type") == "LoadBalancer" && given.is_none_or(Vec::is_empty) {
        return status(HealthCode::Progressing, "");
    }
    status(HealthCode::Healthy, "")
}

fn ingress(object: &Value) -> Option<HealthStatus> {
    let given = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    if given.is_none_or(Vec::is_empty) {
        return status(HealthCode::Progressing, "");
    }
    status(HealthCode::Healthy, "")
}

fn claim(object: &Value) -> Option<HealthStatus> {
    match text(object, "/status/phase") {
        "Bound" => status(HealthCode::Healthy, ""),
        "Lost" => status(HealthCode::Degraded, ""),
        "Pending" => status(HealthCode::Progressing, ""),
        _ => status(HealthCode::Unknown, ""),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::{assess, overall};
    use crate::application::{HealthCode, HealthStatus};

    fn check(object: Value, expected: Expect) {
        let text = assess(&object).map_or_else(
            || "nothing".to_owned(),
            |health| format!("{:?} {}", health.status, health.message).trim_end().to_owned(),
        );
        expected.assert_eq(&text);
    }

    fn deployment(status: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3}, "status": status})
    }

    #[test]
    fn deployments() {
        check(
            deployment(json!({"observedGeneration": 1})),
            expect![
                "Progressing Waiting for rollout to finish: observed deployment generation less than desired generation"
            ],
        );
        check(
            deployment(json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3})),
            expect!["Progressing Waiting for rollout to finish: 1 out of 3 new replicas have been updated..."],
        );
        check(
            deployment(json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3})),
            expect!["Progressing Waiting for rollout to finish: 1 old replicas are pending termination..."],
        );
        check(
            deployment(json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2})),
            expect!["Progressing Waiting for rollout to finish: 2 of 3 updated replicas are available..."],
        );
        check(
            deployment(json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3})),
            expect!["Healthy"],
        );
        check(
            deployment(
                json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
            ),
            expect![[r#"Degraded Deployment "web" exceeded its progress deadline"#]],
        );
    }

    #[test]
    fn pods() {
        let pod = |status: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"restartPolicy": "Always"}, "status": status});
        check(pod(json!({"phase": "Pending"})), expect!["Progressing"]);
        check(
            pod(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})),
            expect!["Healthy"],
        );
        check(
            pod(
                json!({"phase": "Running", "conditions": [], "containerStatuses": [{"lastState": {"terminated": {}}}]}),
            ),
            expect!["Degraded"],
        );
        check(
            pod(
                json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}]}),
            ),
            expect!["Degraded Back-off pulling image"],
        );
    }

    #[test]
    fn other_kinds() {
        check(json!({"apiVersion": "v1", "kind": "ConfigMap"}), expect!["nothing"]);
        check(json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer"}}), expect!["Progressing"]);
        check(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
            expect!["Healthy"],
        );
        check(
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Lost"}}),
            expect!["Degraded"],
        );
        check(
            json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"conditions": [{"type": "Failed", "status": "True", "message": "too often"}]}}),
            expect!["Degraded too often"],
        );
        check(
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "deletionTimestamp": "x"}}),
            expect!["Progressing Pending deletion"],
        );
    }

    #[test]
    fn an_app_is_as_well_as_its_worst_part() {
        let part = |status| HealthStatus { status, message: String::new() };
        let parts = [part(HealthCode::Healthy), part(HealthCode::Progressing), part(HealthCode::Suspended)];
        assert_eq!(overall(&parts).status, HealthCode::Progressing);
        assert_eq!(overall([]).status, HealthCode::Healthy);
    }
}
