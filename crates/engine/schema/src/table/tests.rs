use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::kinds;

/// 2026-01-01T01:00:00Z
const NOW: i64 = 1_767_229_200;

fn show(kind: &Kind, objects: &[Value]) -> String {
    let columns = columns(kind);
    let header: Vec<String> =
        columns.iter().map(|c| format!("{}{}", c.name.to_uppercase(), if c.priority > 0 { "*" } else { "" })).collect();
    let mut lines = vec![header.join(" | ")];
    for object in objects {
        let row = cells(kind, object, NOW);
        assert_eq!(row.len(), columns.len(), "{}", kind.kind);
        let shown = row.iter().map(|cell| cell.as_str().map_or(cell.to_string(), str::to_owned));
        lines.push(shown.collect::<Vec<_>>().join(" | "));
    }
    lines.join("\n")
}

fn check(kind: (&str, &str, &str), objects: &[Value], expected: Expect) {
    expected.assert_eq(&show(kinds::find_kind(kind.0, kind.1, kind.2).unwrap(), objects));
}

fn meta(name: &str) -> Value {
    json!({"name": name, "creationTimestamp": "2026-01-01T00:57:30Z"})
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    for kind in kinds::builtin() {
        assert_eq!(cells(kind, &json!({"metadata": meta("x")}), NOW).len(), columns(kind).len(), "{}", kind.kind);
    }
    for line in include_str!("../../facts/columns.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let known = |kind: &&Kind| {
            kind.kind == words[1] && (kind.group == words[0] || words[0] == "-" && kind.group.is_empty())
        };
        assert!(kinds::builtin().iter().any(|kind| known(&kind)), "no such kind: {line}");
    }
}

#[test]
fn pods() {
    let pod = |name: &str, more: Value| {
        let pod = json!({"metadata": meta(name), "spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.42.0.9"}]}});
        crate::patch::merge(&pod, &more)
    };
    let running = json!({"ready": true, "state": {"running": {}}});
    let with = |states: Vec<Value>| json!({"status": {"containerStatuses": states}});
    let pods = [
        pod("running", with(vec![running.clone(), running.clone()])),
        pod("half", with(vec![running.clone(), json!({"ready": false, "state": {"running": {}}})])),
        pod(
            "crashing",
            with(vec![
                running.clone(),
                json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:20Z", "exitCode": 1}}}),
            ]),
        ),
        pod(
            "done",
            with(vec![running.clone(), json!({"state": {"terminated": {"reason": "Completed", "exitCode": 0}}})]),
        ),
        pod("killed", with(vec![json!({"state": {"terminated": {"signal": 9, "exitCode": 137}}})])),
        pod("going", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:59:59Z"}})),
        pod(
            "gated",
            json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}}),
        ),
        pod(
            "starting",
            json!({"spec": {"initContainers": [{"name": "i"}, {"name": "j"}]}, "status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]}}),
        ),
        pod(
            "broken",
            json!({"spec": {"initContainers": [{"name": "i"}]}, "status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
        ),
        pod("evicted", json!({"status": {"phase": "Failed", "reason": "Evicted"}})),
    ];
    check(
        ("", "v1", "Pod"),
        &pods,
        expect![[r#"
        NAME | READY | STATUS | RESTARTS | AGE | IP* | NODE* | NOMINATED NODE* | READINESS GATES*
        running | 2/2 | Running | 0 | 2m30s | 10.42.0.9 | n | <none> | <none>
        half | 1/2 | Running | 0 | 2m30s | 10.42.0.9 | n | <none> | <none>
        crashing | 1/2 | CrashLoopBackOff | 3 (40s ago) | 2m30s | 10.42.0.9 | n | <none> | <none>
        done | 1/2 | NotReady | 0 | 2m30s | 10.42.0.9 | n | <none> | <none>
        killed | 0/2 | Signal:9 | 0 | 2m30s | 10.42.0.9 | n | <none> | <none>
        going | 0/2 | Terminating | 0 | 2m30s | 10.42.0.9 | n | <none> | <none>
        gated | 0/2 | SchedulingGated | 0 | 2m30s | 10.42.0.9 | n | <none> | <none>
        starting | 0/2 | Init:1/2 | 0 | 2m30s | 10.42.0.9 | n | <none> | <none>
        broken | 0/2 | Init:CrashLoopBackOff | 2 | 2m30s | 10.42.0.9 | n | <none> | <none>
        evicted | 0/2 | Evicted | 0 | 2m30s | 10.42.0.9 | n | <none> | <none>"#]],
    );
}

#[test]
fn workloads() {
    let template = json!({"spec": {"containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "j"}]}});
    let selector = json!({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "t", "operator": "In", "values": ["b", "a"]}]});
    let spec = json!({"replicas": 3, "selector": selector, "template": template});
    let status = json!({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2});
    let object = json!({"metadata": meta("x"), "spec": spec, "status": status});
    for name in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"] {
        let kind = kinds::find_kind("apps", "v1", name).unwrap();
        assert!(!show(kind, std::slice::from_ref(&object)).is_empty());
    }
    check(
        ("apps", "v1", "Deployment"),
        std::slice::from_ref(&object),
        expect![[r#"
        NAME | READY | UP-TO-DATE | AVAILABLE | AGE | CONTAINERS* | IMAGES* | SELECTOR*
        x | 2/3 | 1 | 2 | 2m30s | c,d | i:1,j | app=x,t in (a,b)"#]],
    );
    check(
        ("apps", "v1", "ReplicaSet"),
        std::slice::from_ref(&object),
        expect![[r#"
        NAME | DESIRED | CURRENT | READY | AGE | CONTAINERS* | IMAGES* | SELECTOR*
        x | 3 | 3 | 2 | 2m30s | c,d | i:1,j | app=x,t in (a,b)"#]],
    );
    let job = json!({"metadata": meta("j"), "spec": {"completions": 2}, "status": {"succeeded": 1, "startTime": "2026-01-01T00:58:00Z"}});
    check(
        ("batch", "v1", "Job"),
        &[job],
        expect![[r#"
        NAME | STATUS | COMPLETIONS | DURATION | AGE | CONTAINERS* | IMAGES* | SELECTOR*
        j | Running | 1/2 | 2m | 2m30s |  |  | <none>"#]],
    );
    let cron = json!({"metadata": meta("c"), "spec": {"schedule": "* * * * *", "suspend": false}, "status": {"lastScheduleTime": "2026-01-01T00:59:00Z"}});
    check(
        ("batch", "v1", "CronJob"),
        &[cron],
        expect![[r#"
        NAME | SCHEDULE | TIMEZONE | SUSPEND | ACTIVE | LAST SCHEDULE | AGE | CONTAINERS* | IMAGES* | SELECTOR*
        c | * * * * * | <none> | False | 0 | 60s | 2m30s |  |  | <none>"#]],
    );
}

#[test]
fn services_and_nodes() {
    let service = |name: &str, spec: Value| json!({"metadata": meta(name), "spec": spec});
    let services = [
        service(
            "a",
            json!({"type": "ClusterIP", "clusterIPs": ["10.43.0.1"], "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b"}}),
        ),
        service(
            "b",
            json!({"type": "NodePort", "clusterIPs": ["10.43.0.2"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}),
        ),
        service("c", json!({"type": "LoadBalancer", "clusterIPs": ["None"]})),
        service("d", json!({"type": "ExternalName", "externalName": "x.example"})),
    ];
    check(
        ("", "v1", "Service"),
        &services,
        expect![[r#"
        NAME | TYPE | CLUSTER-IP | EXTERNAL-IP | PORT(S) | AGE | SELECTOR*
        a | ClusterIP | 10.43.0.1 | <none> | 80/TCP | 2m30s | a=b
        b | NodePort | 10.43.0.2 | <none> | 80:30080/TCP | 2m30s | <none>
        c | LoadBalancer | None | <pending> | <none> | 2m30s | <none>
        d | ExternalName | <none> | x.example | <none> | 2m30s | <none>"#]],
    );
    let node = json!({"metadata": {"name": "n", "creationTimestamp": "2025-12-01T00:00:00Z", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1.35.0"}}});
    check(
        ("", "v1", "Node"),
        &[node],
        expect![[r#"
        NAME | STATUS | ROLES | AGE | VERSION | INTERNAL-IP* | EXTERNAL-IP* | OS-IMAGE* | KERNEL-VERSION* | CONTAINER-RUNTIME*
        n | Ready,SchedulingDisabled | control-plane | 31d | v1.35.0 | 10.0.0.1 | <none> | <unknown> | <unknown> | <unknown>"#]],
    );
}

#[test]
fn events() {
    let event = json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "message": "again\n", "count": 4,
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"}, "source": {"component": "kubelet", "host": "n"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:59:30Z"});
    check(
        ("", "v1", "Event"),
        &[event],
        expect![[r#"
        LAST SEEN | TYPE | REASON | OBJECT | SUBOBJECT* | SOURCE* | MESSAGE | FIRST SEEN* | COUNT* | NAME*
        30s | Warning | BackOff | pod/p | spec.containers{a} | kubelet, n | again | 60m | 4 | e"#]],
    );
}

#[test]
fn kinds_without_columns_of_their_own() {
    check(
        ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
        &[json!({"metadata": meta("x")})],
        expect![[r#"
        NAME | CREATED AT
        x | 2026-01-01T00:57:30Z"#]],
    );
}

#[test]
fn custom_resources() {
    let crd = |columns: Value| {
        json!({"spec": {"group": "x.io", "names": {"kind": "Foo", "plural": "foos"}, "versions": [{"name": "v1",
            "served": true, "storage": true, "additionalPrinterColumns": columns}]}})
    };
    let foo = json!({"metadata": meta("x"), "spec": {"size": 3, "on": true, "tags": ["a", "b"]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let shown =
        |columns: Value| show(&Kind::from_crd(&crd(columns)).unwrap().remove(0).kind, std::slice::from_ref(&foo));
    expect![[r#"
        NAME | AGE
        x | 2m30s"#]]
    .assert_eq(&shown(json!([])));
    expect![[r#"
        NAME | SIZE | ON | READY | TAGS* | NONE | AGE
        x | 3 | true | True | ["a","b"] | null | 2m30s"#]]
    .assert_eq(&shown(json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "On", "type": "boolean", "jsonPath": ".spec.on"},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "Tags", "type": "string", "jsonPath": ".spec.tags", "priority": 1},
        {"name": "None", "type": "string", "jsonPath": ".spec.none"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    ])));
}
