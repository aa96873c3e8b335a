//! A set, nodes and pods in a word each, and what is done next.

use expect_test::{Expect, expect};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn set(spec: Value) -> DaemonSet {
    let mut full = json!({"selector": {"matchLabels": {"app": "agent"}},
        "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c"}]}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        full[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "agent", "namespace": "shop"}, "spec": full})).expect("a set")
}

/// `a` or `a:EFFECT`: a node, tainted where there is an effect.
fn node(text: &str) -> Arc<Node> {
    let (name, effect) = text.split_once(':').unwrap_or((text, ""));
    let taints = if effect.is_empty() { json!([]) } else { json!([{"key": "t", "effect": effect}]) };
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"taints": taints}})).expect("a node"))
}

/// `a:new:ready`: node, revision, state.
fn pod(text: &str) -> Arc<Pod> {
    let parts: Vec<&str> = text.split(':').collect();
    let mut pod = json!({
        "metadata": {"name": format!("{}-{}", parts[0], parts[1]), "labels": {"controller-revision-hash": parts[1]}},
        "spec": {"nodeName": parts[0], "containers": []},
        "status": {"phase": if parts[2] == "failed" { "Failed" } else { "Running" },
            "conditions": [{"type": "Ready", "status": if parts[2] == "ready" { "True" } else { "False" }}]},
    });
    if parts[2] == "going" {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn check(set: &DaemonSet, nodes: &str, pods: &str, expected: Expect) {
    let nodes: Vec<Arc<Node>> = nodes.split_whitespace().map(node).collect();
    let pods: Vec<Arc<Pod>> = pods.split_whitespace().map(pod).collect();
    let plan = plan(set, &nodes, &pods, "new", Timestamp::UNIX_EPOCH);
    let show = |step: &Step| match step {
        Step::Create(node) => format!("create on {node}"),
        Step::Replace(pod) => format!("replace {}", name(&**pod)),
        Step::Delete(pod) => format!("delete {}", name(&**pod)),
    };
    let steps: Vec<String> = plan.steps.iter().map(show).collect();
    let s = plan.status;
    expected.assert_eq(&format!(
        "{}; {} desired, {} there, {} ready, {} updated, {} astray",
        steps.join(", "),
        s.desired_number_scheduled,
        s.current_number_scheduled,
        s.number_ready,
        s.updated_number_scheduled.unwrap_or(0),
        s.number_misscheduled
    ));
}

#[test]
fn every_node_that_takes_it_has_one() {
    check(
        &set(json!({})),
        "a b c:NoSchedule d:NoExecute",
        "",
        expect!["create on a, create on b; 2 desired, 0 there, 0 ready, 0 updated, 0 astray"],
    );
    check(
        &set(json!({})),
        "a c:NoSchedule d:NoExecute",
        "a:new:ready c:new:ready d:new:ready gone:new:ready",
        expect!["delete d-new, delete gone-new; 1 desired, 1 there, 1 ready, 1 updated, 2 astray"],
    );
    check(
        &set(json!({})),
        "a b",
        "a:new:failed b:new:going",
        expect!["replace a-new; 2 desired, 2 there, 0 ready, 2 updated, 0 astray"],
    );
}

#[test]
fn updates_replace_as_many_as_may_be_missing() {
    check(
        &set(json!({})),
        "a b",
        "a:old:ready b:old:ready",
        expect!["delete a-old; 2 desired, 2 there, 2 ready, 0 updated, 0 astray"],
    );
    check(
        &set(json!({})),
        "a b",
        "a:new:starting b:old:ready",
        expect!["; 2 desired, 2 there, 1 ready, 1 updated, 0 astray"],
    );
    check(
        &set(json!({})),
        "a b",
        "a:old:broken b:old:ready",
        expect!["delete a-old; 2 desired, 2 there, 1 ready, 0 updated, 0 astray"],
    );
    let half = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}});
    check(
        &set(half),
        "a b c d",
        "a:old:ready b:old:ready c:old:ready d:old:ready",
        expect!["delete a-old, delete b-old; 4 desired, 4 there, 4 ready, 0 updated, 0 astray"],
    );
    check(
        &set(json!({"updateStrategy": {"type": "OnDelete"}})),
        "a",
        "a:old:ready",
        expect!["; 1 desired, 1 there, 1 ready, 0 updated, 0 astray"],
    );
}

#[test]
fn with_surge_the_new_one_comes_first() {
    let surge = set(
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}),
    );
    check(
        &surge,
        "a b",
        "a:old:ready b:old:ready",
        expect!["create on a; 2 desired, 2 there, 2 ready, 0 updated, 0 astray"],
    );
    check(
        &surge,
        "a b",
        "a:old:ready a:new:starting b:old:ready",
        expect!["; 2 desired, 2 there, 2 ready, 1 updated, 0 astray"],
    );
    check(
        &surge,
        "a b",
        "a:old:ready a:new:ready b:old:ready",
        expect!["delete a-old; 2 desired, 2 there, 2 ready, 1 updated, 0 astray"],
    );
}
