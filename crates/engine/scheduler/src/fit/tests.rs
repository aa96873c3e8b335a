//! A pod, nodes and those who are there already, in a few words each; where the pod goes, or why not.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn node(name: &str, more: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3"}},
    });
    merge(&mut node, more);
    Arc::new(serde_json::from_value(node).expect("a node"))
}

fn pod(cpu: &str, more: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]},
    });
    merge(&mut pod, json!({"spec": more}));
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

fn check(nodes: &[Arc<Node>], there: &[(Arc<Pod>, &str)], pod: &Pod, expected: Expect) {
    let placed = Placed {
        pods: there.iter().map(|(pod, node)| (Arc::clone(pod), (*node).to_owned())).collect(),
        nodes: nodes.iter().map(|node| (node.metadata.name.clone().unwrap_or_default(), Arc::clone(node))).collect(),
        namespaces: BTreeMap::new(),
    };
    let answer = match Board::new(placed).find(pod) {
        Ok(node) => format!("goes to {node}"),
        Err(why) => why,
    };
    expected.assert_eq(&answer);
}

#[test]
fn requests_count_against_what_is_allocatable() {
    let nodes = [node("a", json!({}))];
    check(&[], &[], &pod("1", json!({})), expect!["no nodes available to schedule pods"]);
    check(&nodes, &[], &pod("2", json!({})), expect!["goes to a"]);
    check(&nodes, &[], &pod("2001m", json!({})), expect!["0/1 nodes are available: 1 Insufficient cpu."]);
    check(&nodes, &[(pod("1", json!({})), "a")], &pod("1", json!({})), expect!["goes to a"]);
    check(
        &nodes,
        &[(pod("1", json!({})), "a")],
        &pod("1500m", json!({})),
        expect!["0/1 nodes are available: 1 Insufficient cpu."],
    );
    let three = [(pod("0", json!({})), "a"), (pod("0", json!({})), "a"), (pod("0", json!({})), "a")];
    check(
        &nodes,
        &three,
        &pod("3", json!({})),
        expect!["0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods."],
    );
}

#[test]
fn the_emptier_or_the_preferred_node_is_taken() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    check(&nodes, &[(pod("1", json!({})), "a")], &pod("1", json!({})), expect!["goes to b"]);
    let prefers = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]}}
    ]}}});
    check(&nodes, &[(pod("1", json!({})), "a")], &pod("1", prefers), expect!["goes to a"]);
}

#[test]
fn nodes_are_chosen_by_label_and_affinity() {
    let nodes = [node("a", json!({"metadata": {"labels": {"disk": "ssd", "cores": "8"}}}))];
    check(&nodes, &[], &pod("1", json!({"nodeSelector": {"disk": "ssd"}})), expect!["goes to a"]);
    check(
        &nodes,
        &[],
        &pod("1", json!({"nodeSelector": {"disk": "hdd"}})),
        expect!["0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."],
    );
    let affinity = |key: &str, operator: &str, values: &[&str]| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}
        ]}}}})
    };
    check(&nodes, &[], &pod("1", affinity("cores", "Gt", &["7"])), expect!["goes to a"]);
    check(
        &nodes,
        &[],
        &pod("1", affinity("cores", "Lt", &["8"])),
        expect!["0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."],
    );
    check(&nodes, &[], &pod("1", affinity("disk", "NotIn", &["hdd"])), expect!["goes to a"]);
    check(
        &nodes,
        &[],
        &pod("1", affinity("gpu", "Exists", &[])),
        expect!["0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."],
    );
}

#[test]
fn taints_keep_off_who_does_not_tolerate_them() {
    let nodes = [
        node("a", json!({"spec": {"taints": [{"key": "team", "value": "db", "effect": "NoSchedule"}]}})),
        node("b", json!({"spec": {"unschedulable": true}})),
        node(
            "c",
            json!({"spec": {"taints": [{"key": "slow", "effect": "PreferNoSchedule"}]}, "status": {"allocatable": {"cpu": "1m"}}}),
        ),
    ];
    check(
        &nodes,
        &[],
        &pod("1", json!({})),
        expect![
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {team: db}, 1 node(s) were unschedulable."
        ],
    );
    let tolerates = |toleration: Value| json!({"tolerations": [toleration]});
    check(&nodes, &[], &pod("1", tolerates(json!({"key": "team", "value": "db"}))), expect!["goes to a"]);
    check(
        &nodes,
        &[],
        &pod("1", tolerates(json!({"key": "team", "value": "web"}))),
        expect![
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {team: db}, 1 node(s) were unschedulable."
        ],
    );
    check(&nodes[1..2], &[], &pod("1", tolerates(json!({"operator": "Exists"}))), expect!["goes to b"]);
}

#[test]
fn a_port_of_the_node_is_given_once() {
    let nodes = [node("a", json!({}))];
    let with_port = |address: &str| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": address}]}]});
    let there = [(pod("0", with_port("127.0.0.1")), "a")];
    check(&nodes, &there, &pod("0", with_port("127.0.0.2")), expect!["goes to a"]);
    check(
        &nodes,
        &there,
        &pod("0", with_port("")),
        expect!["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."],
    );
}

#[test]
fn pods_keep_together_or_apart() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let term = json!([{"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]);
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let together = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let alone = pod("0", apart.clone());
    check(&nodes, &[(pod("0", json!({})), "a")], &alone, expect!["goes to b"]);
    check(
        &nodes,
        &[(pod("0", json!({})), "a"), (pod("0", json!({})), "b")],
        &alone,
        expect!["0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."],
    );
    check(
        &nodes[..1],
        &[(alone, "a")],
        &pod("0", json!({})),
        expect!["0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."],
    );
    check(&nodes, &[], &pod("0", together.clone()), expect!["goes to a"]);
    check(&nodes, &[(pod("1", json!({})), "b")], &pod("0", together), expect!["goes to b"]);
}
