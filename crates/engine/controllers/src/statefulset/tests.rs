//! A set, its pods in a word each, and what is done next.

use expect_test::{Expect, expect};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn set(replicas: i32, more: Value) -> StatefulSet {
    let mut spec = json!({"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c"}]}}});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "shop", "generation": 1}, "spec": spec,
        "status": {"replicas": 0, "currentReplicas": 0}}))
    .expect("a set")
}

/// `0:old:ready`: number, revision, state.
fn pods(text: &str) -> Vec<Arc<Pod>> {
    let pod = |text: &str| {
        let parts: Vec<&str> = text.split(':').collect();
        let phase = match parts[2] {
            "failed" => "Failed",
            "pending" => "Pending",
            _ => "Running",
        };
        let ready = if matches!(parts[2], "ready" | "going") { "True" } else { "False" };
        let mut pod = json!({
            "metadata": {"name": format!("db-{}", parts[0]), "labels": {"controller-revision-hash": parts[1]}},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        });
        if parts[2] == "going" {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    };
    text.split_whitespace().map(pod).collect()
}

fn check(set: &StatefulSet, text: &str, expected: Expect) {
    let plan = plan(set, &pods(text), "old", "new", Timestamp::UNIX_EPOCH);
    let show = |step: &Step| match step {
        Step::Create(ordinal, revision) => format!("create {ordinal} {revision}"),
        Step::Replace(pod) => format!("replace {}", name(&**pod)),
        Step::Delete(pod) => format!("delete {}", name(&**pod)),
    };
    let steps: Vec<String> = plan.steps.iter().map(show).collect();
    let status = plan.status;
    let count = |count: Option<i32>| count.unwrap_or(0);
    expected.assert_eq(&format!(
        "{}; {} there, {} ready, {} old, {} new, at {}",
        steps.join(", "),
        status.replicas,
        count(status.ready_replicas),
        count(status.current_replicas),
        count(status.updated_replicas),
        status.current_revision.unwrap_or_default()
    ));
}

#[test]
fn pods_come_one_after_the_other() {
    check(&set(3, json!({})), "", expect!["create 0 new; 0 there, 0 ready, 0 old, 0 new, at old"]);
    check(&set(3, json!({})), "0:new:pending", expect!["; 1 there, 0 ready, 0 old, 1 new, at old"]);
    check(&set(3, json!({})), "0:new:ready", expect!["create 1 new; 1 there, 1 ready, 0 old, 1 new, at old"]);
    check(
        &set(3, json!({})),
        "0:new:ready 2:new:ready",
        expect!["create 1 new; 2 there, 2 ready, 0 old, 2 new, at old"],
    );
    check(
        &set(3, json!({"podManagementPolicy": "Parallel"})),
        "1:new:pending",
        expect!["create 0 new, create 2 new; 1 there, 0 ready, 0 old, 1 new, at old"],
    );
    check(
        &set(2, json!({"ordinals": {"start": 5}})),
        "5:new:ready",
        expect!["create 6 new; 1 there, 1 ready, 0 old, 1 new, at old"],
    );
}

#[test]
fn pods_go_from_the_last_and_one_by_one() {
    check(
        &set(1, json!({})),
        "0:new:ready 1:new:ready 2:new:ready",
        expect!["delete db-2; 3 there, 3 ready, 0 old, 3 new, at old"],
    );
    check(
        &set(1, json!({})),
        "0:new:ready 1:new:ready 2:new:going",
        expect!["; 3 there, 3 ready, 0 old, 2 new, at old"],
    );
    check(&set(1, json!({})), "0:new:broken 1:new:ready", expect!["; 2 there, 1 ready, 0 old, 2 new, at old"]);
    check(
        &set(0, json!({"podManagementPolicy": "Parallel"})),
        "0:new:ready 1:new:ready",
        expect!["delete db-1, delete db-0; 2 there, 2 ready, 0 old, 2 new, at old"],
    );
}

#[test]
fn updates_go_from_the_last_down_to_the_partition() {
    check(
        &set(3, json!({})),
        "0:old:ready 1:old:ready 2:old:ready",
        expect!["delete db-2; 3 there, 3 ready, 3 old, 0 new, at old"],
    );
    check(
        &set(3, json!({})),
        "0:old:ready 1:old:ready 2:new:pending",
        expect!["; 3 there, 2 ready, 2 old, 1 new, at old"],
    );
    check(
        &set(3, json!({})),
        "0:old:ready 1:old:ready 2:new:ready",
        expect!["delete db-1; 3 there, 3 ready, 2 old, 1 new, at old"],
    );
    let partition = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    check(
        &set(3, partition.clone()),
        "0:old:ready 1:old:ready 2:new:ready",
        expect!["; 3 there, 3 ready, 2 old, 1 new, at old"],
    );
    check(
        &set(3, partition),
        "1:old:ready 2:new:ready",
        expect!["create 0 old; 2 there, 2 ready, 1 old, 1 new, at old"],
    );
    check(
        &set(3, json!({"updateStrategy": {"type": "OnDelete"}})),
        "0:old:ready 1:old:ready 2:old:ready",
        expect!["; 3 there, 3 ready, 3 old, 0 new, at old"],
    );
    check(&set(2, json!({})), "0:new:ready 1:new:ready", expect!["; 2 there, 2 ready, 2 old, 2 new, at new"]);
}

#[test]
fn a_pod_that_ended_is_replaced() {
    check(
        &set(2, json!({})),
        "0:new:failed 1:new:ready",
        expect!["replace db-0; 2 there, 1 ready, 0 old, 2 new, at old"],
    );
}

#[test]
fn a_pod_has_a_name_and_claims_of_its_own() {
    let claims_data =
        json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]});
    let set = set(1, claims_data);
    let template = set.spec.clone().unwrap_or_default().template;
    let pod = new_pod(&set, template, 3, "new");
    let spec = pod.spec.unwrap_or_default();
    assert_eq!(
        (pod.metadata.name.as_deref(), spec.hostname.as_deref(), spec.subdomain.as_deref()),
        (Some("db-3"), Some("db-3"), Some("db"))
    );
    let claim = spec.volumes.unwrap_or_default().remove(0).persistent_volume_claim.unwrap_or_default();
    assert_eq!(claim.claim_name, "data-db-3");
    assert_eq!(name(&claims(&set, 3)[0]), "data-db-3");
}
