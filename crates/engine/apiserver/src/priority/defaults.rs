//! The levels and flow schemas every cluster has from the start, as a table.

use serde_json::{Value, json};

/// The group of both kinds.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Name, shares, percent that upstream lends, and queues with hand size.
const LEVELS: [(&str, u64, u64, (u64, u64)); 6] = [
    ("system", 30, 33, (64, 6)),
    ("node-high", 40, 25, (64, 6)),
    ("leader-election", 10, 0, (16, 4)),
    ("workload-high", 40, 50, (128, 6)),
    ("workload-low", 100, 90, (128, 6)),
    ("global-default", 20, 50, (128, 6)),
];

/// Plural and object of each.
pub fn objects() -> Vec<(&'static str, Value)> {
    let mut objects = vec![
        level("exempt", json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}})),
        level("catch-all", limited(5, 0, json!({"type": "Reject"}))),
    ];
    objects.extend(LEVELS.iter().map(|(name, shares, lendable, (queues, hand))| {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 50});
        level(name, limited(*shares, *lendable, json!({"type": "Queue", "queuing": queuing})))
    }));
    objects.extend(schemas());
    objects
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}, "generation": 1})
}

fn level(name: &str, spec: Value) -> (&'static str, Value) {
    ("prioritylevelconfigurations", json!({"metadata": metadata(name), "spec": spec}))
}

fn limited(shares: u64, lendable: u64, response: Value) -> Value {
    let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
    json!({"type": "Limited", "limited": limited})
}

fn schemas() -> Vec<(&'static str, Value)> {
    let all =
        || json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]);
    let paths = || json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    let rule = |subjects: Value| json!([{"subjects": subjects, "resourceRules": all(), "nonResourceRules": paths()}]);
    let everybody = || json!([group("system:unauthenticated"), group("system:authenticated")]);
    let own_accounts =
        || json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}});
    let leases = |verbs: Value| json!({"verbs": verbs, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]});
    let nodes = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "namespaces": ["*"],
        "clusterScope": true});
    let (controllers, scheduler) = (user("system:kube-controller-manager"), user("system:kube-scheduler"));
    let health = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]);
    let elections = json!([{
        "subjects": [controllers, scheduler, own_accounts()], "resourceRules": [leases(json!(["get", "create", "update"]))],
    }]);
    let node_high = json!([{"subjects": [group("system:nodes")], "resourceRules": [nodes, leases(json!(["*"]))]}]);
    vec![
        schema("exempt", "exempt", 1, "", rule(json!([group("system:masters")]))),
        schema("probes", "exempt", 2, "", json!([{"subjects": everybody(), "nonResourceRules": health}])),
        schema("system-leader-election", "leader-election", 100, "ByUser", elections),
        schema("system-node-high", "node-high", 400, "ByUser", node_high),
        schema("system-nodes", "system", 500, "ByUser", rule(json!([group("system:nodes")]))),
        schema("kube-controller-manager", "workload-high", 800, "ByNamespace", rule(json!([controllers]))),
        schema("kube-scheduler", "workload-high", 800, "ByNamespace", rule(json!([scheduler]))),
        schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", rule(json!([own_accounts()]))),
        schema("service-accounts", "workload-low", 9000, "ByUser", rule(json!([group("system:serviceaccounts")]))),
        schema("global-default", "global-default", 9900, "ByUser", rule(everybody())),
        schema("catch-all", "catch-all", 10_000, "ByUser", rule(everybody())),
    ]
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn schema(name: &str, level: &str, precedence: u64, distinguisher: &str, rules: Value) -> (&'static str, Value) {
    let mut spec =
        json!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": rules});
    if !distinguisher.is_empty() {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    ("flowschemas", json!({"metadata": metadata(name), "spec": spec}))
}
