use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::kinds;

const NOW: &str = "2026-01-01T00:00:00Z";

fn kind(group: &str, name: &str) -> &'static Kind {
    kinds::find_kind(group, "v1", name).unwrap()
}

fn request<'a>(kind: &'a Kind, manager: &'a str) -> Request<'a> {
    Request { kind, live: None, manager, subresource: "", now: NOW, force: false }
}

fn do_apply(request: &Request<'_>, live: Option<&Value>, config: &Value) -> Result<Value, ApplyError> {
    apply(&Request { live, ..*request }, config.clone())
}

fn do_update(request: &Request<'_>, live: Option<&Value>, new: Value) -> Value {
    update(&Request { live, ..*request }, new)
}

/// Who owns what, one line a manager.
fn owners(object: &Value) -> String {
    let managed = Managed::read(object).unwrap();
    let line = |entry: &Entry| {
        let operation = if entry.manager.operation == Operation::Apply { "apply" } else { "update" };
        format!("{} {operation}: {}\n", entry.manager.name, entry.set.paths().join(" "))
    };
    managed.0.iter().map(line).collect()
}

fn without_owners(object: &Value) -> Value {
    let mut object = object.clone();
    take_managed_fields(&mut object);
    object
}

fn check_owners(object: &Value, expected: Expect) {
    expected.assert_eq(&owners(object));
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": data})
}

fn deployment(spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("selector").is_none() {
        spec["selector"] = json!({"matchLabels": {"a": "b"}});
    }
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "n"}, "spec": spec})
}

/// As if the store had given it an identity.
fn stored(mut object: Value) -> Value {
    object["metadata"]["uid"] = "u".into();
    object
}

#[test]
fn appliers_share_an_object_key_by_key() {
    let kind = kind("", "ConfigMap");
    let live = stored(do_apply(&request(kind, "one"), None, &config_map(json!({"a": "1", "b": "1"}))).unwrap());
    let live = do_apply(&request(kind, "two"), Some(&live), &config_map(json!({"c": "2", "b": "1"}))).unwrap();
    check_owners(
        &live,
        expect![[r#"
        one apply: .data.a .data.b
        two apply: .data.b .data.c
    "#]],
    );
    let conflict = do_apply(&request(kind, "two"), Some(&live), &config_map(json!({"a": "2", "b": "2"}))).unwrap_err();
    expect![[r#"
        Apply failed with 2 conflicts: conflicts with "one":
        - .data.a
        - .data.b"#]]
    .assert_eq(&conflict.to_string());
    let live = do_apply(&request(kind, "one"), Some(&live), &config_map(json!({"a": "1"}))).unwrap();
    expect![[r#"{"a":"1","b":"1","c":"2"}"#]].assert_eq(&live["data"].to_string());
    let forced = Request { force: true, ..request(kind, "two") };
    let live = do_apply(&forced, Some(&live), &config_map(json!({"a": "2"}))).unwrap();
    expect![[r#"{"a":"2"}"#]].assert_eq(&live["data"].to_string());
    check_owners(
        &live,
        expect![[r#"
        two apply: .data.a
    "#]],
    );
}

#[test]
fn conflicts_with_updates_are_worded_as_upstream_does() {
    let kind = kind("apps", "Deployment");
    let live = stored(do_apply(&request(kind, "kubectl"), None, &deployment(json!({"replicas": 1}))).unwrap());
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 5.into();
    let live = do_update(&request(kind, "kubectl-edit"), Some(&live), scaled);
    check_owners(
        &live,
        expect![[r#"
        kubectl apply: .spec.selector
        kubectl-edit update: .spec.replicas
    "#]],
    );
    let again = do_apply(&request(kind, "kubectl"), Some(&live), &deployment(json!({"replicas": 1}))).unwrap_err();
    expect![[r#"Apply failed with 1 conflict: conflict with "kubectl-edit" using apps/v1: .spec.replicas"#]]
        .assert_eq(&again.to_string());
}

#[test]
fn lists_of_containers_are_shared_by_name() {
    let kind = kind("apps", "Deployment");
    let pod = |containers: Value| {
        deployment(json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}}))
    };
    let first = pod(json!([{"name": "app", "image": "app:1", "ports": [{"containerPort": 80}]}]));
    let live = stored(do_apply(&request(kind, "one"), None, &first).unwrap());
    let live =
        do_apply(&request(kind, "two"), Some(&live), &pod(json!([{"name": "side", "image": "side:1"}]))).unwrap();
    let names = |object: &Value| {
        let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        containers.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    expect!["app side"].assert_eq(&names(&live));
    check_owners(
        &live,
        expect![[r#"
        one apply: .spec.selector .spec.template.metadata.labels.a .spec.template.spec.containers[name="app"] .spec.template.spec.containers[name="app"].image .spec.template.spec.containers[name="app"].name .spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"] .spec.template.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"].containerPort
        two apply: .spec.selector .spec.template.metadata.labels.a .spec.template.spec.containers[name="side"] .spec.template.spec.containers[name="side"].image .spec.template.spec.containers[name="side"].name
    "#]],
    );
    let conflict =
        do_apply(&request(kind, "two"), Some(&live), &pod(json!([{"name": "app", "image": "app:2"}]))).unwrap_err();
    expect![[r#"Apply failed with 1 conflict: conflict with "one": .spec.template.spec.containers[name="app"].image"#]]
        .assert_eq(&conflict.to_string());
    // The item goes with its last owner, though defaults below it belong to nobody.
    let live = do_apply(&request(kind, "one"), Some(&live), &deployment(json!({}))).unwrap();
    expect!["side"].assert_eq(&names(&live));
}

#[test]
fn what_somebody_else_owns_stays_when_it_is_no_longer_applied() {
    let kind = kind("apps", "Deployment");
    let live = stored(do_apply(&request(kind, "one"), None, &deployment(json!({"replicas": 3}))).unwrap());
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 3.into();
    scaled["spec"]["paused"] = true.into();
    let live = do_update(&request(kind, "hpa"), Some(&live), scaled);
    let live = do_apply(&request(kind, "one"), Some(&live), &deployment(json!({}))).unwrap();
    expect!["1 true"].assert_eq(&format!("{} {}", live["spec"]["replicas"], live["spec"]["paused"]));
    check_owners(
        &live,
        expect![[r#"
        one apply: .spec.selector
        hpa update: .spec.paused
    "#]],
    );
}

#[test]
fn updates_of_objects_own_what_they_change() {
    let kind = kind("", "Service");
    let service = |ports: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": {"x": "y"}},
            "spec": {"ports": ports, "selector": {"a": "b"}}})
    };
    let made =
        do_update(&request(kind, "client"), None, service(json!([{"port": 80, "protocol": "TCP", "targetPort": 80}])));
    expect![[r#"
        [
          {
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
              "f:metadata": {
                "f:labels": {
                  ".": {},
                  "f:x": {}
                }
              },
              "f:spec": {
                "f:ports": {
                  ".": {},
                  "k:{\"port\":80,\"protocol\":\"TCP\"}": {
                    ".": {},
                    "f:port": {},
                    "f:protocol": {},
                    "f:targetPort": {}
                  }
                },
                "f:selector": {}
              }
            },
            "manager": "client",
            "operation": "Update",
            "time": "2026-01-01T00:00:00Z"
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&made["metadata"]["managedFields"]).unwrap());
    let changed = service(json!([{"port": 80, "protocol": "TCP", "targetPort": 81}]));
    let changed = do_update(&request(kind, "other"), Some(&stored(made)), changed);
    check_owners(
        &changed,
        expect![[r#"
        client update: .metadata.labels .metadata.labels.x .spec.ports .spec.ports[port=80,protocol="TCP"] .spec.ports[port=80,protocol="TCP"].port .spec.ports[port=80,protocol="TCP"].protocol .spec.selector
        other update: .spec.ports[port=80,protocol="TCP"].targetPort
    "#]],
    );
}

#[test]
fn status_writers_own_status_only() {
    let kind = kind("apps", "Deployment");
    let live = stored(do_apply(&request(kind, "one"), None, &deployment(json!({"replicas": 1}))).unwrap());
    let mut reported = live.clone();
    reported["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    reported["spec"]["replicas"] = 7.into();
    let status = Request { subresource: "status", ..request(kind, "controller") };
    check_owners(
        &do_update(&status, Some(&live), reported),
        expect![[r#"
        one apply: .spec.replicas .spec.selector
        controller update: .status.conditions .status.conditions[type="Available"] .status.conditions[type="Available"].status .status.conditions[type="Available"].type .status.replicas
    "#]],
    );
}

#[test]
fn objects_nobody_tracked_are_tracked_from_the_first_apply() {
    let kind = kind("", "ConfigMap");
    let live = stored(config_map(json!({"a": "1"})));
    assert_eq!(do_update(&request(kind, "x"), Some(&live), live.clone()), live);
    let live = do_apply(&request(kind, "one"), Some(&live), &config_map(json!({"a": "1", "b": "2"}))).unwrap();
    check_owners(
        &live,
        expect![[r#"
        one apply: .data.a .data.b
        before-first-apply update: .data .data.a
    "#]],
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_client_side() {
    let kind = kind("", "ConfigMap");
    let mut object = config_map(json!({"a": "1", "b": "1"}));
    object["metadata"]["annotations"] = json!({LAST_APPLIED: config_map(json!({"a": "1", "b": "1"})).to_string()});
    let live = stored(do_update(&request(kind, "kubectl-client-side-apply"), None, object));
    let next = config_map(json!({"a": "2", "b": "1"}));
    assert!(do_apply(&request(kind, "flux"), Some(&live), &next).is_err());
    let applied = do_apply(&request(kind, "kubectl"), Some(&live), &next).unwrap();
    check_owners(
        &applied,
        expect![[r#"
        kubectl apply: .data.a .data.b
        kubectl-client-side-apply update: .data .data.b .metadata.annotations .metadata.annotations.kubectl.kubernetes.io/last-applied-configuration
    "#]],
    );
    expect![[r#"
        {"apiVersion":"v1","data":{"a":"2","b":"1"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"n"}}
    "#]]
    .assert_eq(applied["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap());
    // What was changed since is somebody else's.
    let mut changed = live.clone();
    changed["data"]["a"] = "9".into();
    let changed = do_update(&request(kind, "kubectl-edit"), Some(&live), changed);
    let refused = do_apply(&request(kind, "kubectl"), Some(&changed), &next).unwrap_err();
    expect![[r#"Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.a"#]]
        .assert_eq(&refused.to_string());
}

#[test]
fn what_does_not_fit_the_type_is_refused() {
    let kind = kind("apps", "Deployment");
    let refused = |config: Value| do_apply(&request(kind, "one"), None, &config).unwrap_err().to_string() + "\n";
    let spec = |spec: Value| refused(deployment(spec));
    let containers = json!([{"name": "a"}, {"name": "a"}]);
    let mut with_owners = deployment(json!({}));
    with_owners["metadata"]["managedFields"] = json!([]);
    let all = [
        spec(json!({"foo": 1})),
        spec(json!({"replicas": "x", "paused": 3})),
        spec(json!({"template": {"spec": {"containers": containers}}})),
        refused(with_owners),
        refused(json!({"apiVersion": "v1", "kind": "Pod"})),
    ];
    expect![[r#"
        failed to create typed patch object (n/a; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema
        failed to create typed patch object (n/a; apps/v1, Kind=Deployment): errors:
          .spec.paused: expected boolean, got 3
          .spec.replicas: expected numeric (int or float), got string
        failed to create typed patch object (n/a; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name="a"]
        metadata.managedFields must be nil
        invalid object type: v1, Kind=Pod
    "#]].assert_eq(&all.concat());
}

#[test]
fn custom_resources_follow_their_schema() {
    let crd = json!({"spec": {"group": "x.io", "names": {"kind": "Foo", "plural": "foos"}, "versions": [{"name": "v1",
    "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "rules": {"type": "array", "items": {"type": "string"}},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
        }}}}}}]}});
    let kind = Kind::from_crd(&crd).unwrap().remove(0).kind;
    let foo = |spec: Value| json!({"apiVersion": "x.io/v1", "kind": "Foo", "metadata": {"name": "a"}, "spec": spec});
    let one =
        foo(json!({"hosts": ["a"], "rules": ["x"], "whole": {"k": "v"}, "free": {"deep": {"a": 1}, "list": [1]}}));
    let live = stored(do_apply(&request(&kind, "one"), None, &one).unwrap());
    let two = foo(json!({"hosts": ["b"], "free": {"deep": {"b": 2}}}));
    let live = do_apply(&request(&kind, "two"), Some(&live), &two).unwrap();
    expect![[r#"{"free":{"deep":{"a":1,"b":2},"list":[1]},"hosts":["a","b"],"rules":["x"],"whole":{"k":"v"}}"#]]
        .assert_eq(&live["spec"].to_string());
    check_owners(
        &live,
        expect![[r#"
        one apply: .spec.free.deep .spec.free.deep.a .spec.free.list .spec.hosts[="a"] .spec.rules .spec.whole
        two apply: .spec.free.deep .spec.free.deep.b .spec.hosts[="b"]
    "#]],
    );
}

#[test]
fn a_changed_schema_changes_what_is_owned() {
    let kind = |list_type: &str, map_type: &str| {
        let crd = json!({"spec": {"group": "x.io", "names": {"kind": "Foo", "plural": "foos"}, "versions": [{"name": "v1",
        "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "hosts": {"type": "array", "x-kubernetes-list-type": list_type, "items": {"type": "string"}},
                "more": {"type": "object", "x-kubernetes-map-type": map_type, "properties": {"a": {"type": "string"}}}
            }}}}}}]}});
        Kind::from_crd(&crd).unwrap().remove(0).kind
    };
    let (granular, atomic) = (kind("set", "granular"), kind("atomic", "atomic"));
    let foo = json!({"apiVersion": "x.io/v1", "kind": "Foo", "metadata": {"name": "a"},
        "spec": {"hosts": ["a", "b"], "more": {"a": "1"}}});
    let touched = |live: &Value| {
        let mut new = live.clone();
        new["metadata"]["labels"] = json!({"x": "y"});
        new
    };
    let live = stored(do_apply(&request(&granular, "one"), None, &foo).unwrap());
    check_owners(
        &do_update(&request(&atomic, "two"), Some(&live), touched(&live)),
        expect![[r#"
        one apply: .spec.hosts .spec.more
        two update: .metadata.labels .metadata.labels.x
    "#]],
    );
    let live = stored(do_apply(&request(&atomic, "one"), None, &foo).unwrap());
    check_owners(
        &do_update(&request(&granular, "two"), Some(&live), touched(&live)),
        expect![[r#"
            one apply: .spec.hosts .spec.more
            two update: .metadata.labels .metadata.labels.x
        "#]],
    );
}

#[test]
fn many_updaters_are_joined() {
    let kind = kind("", "ConfigMap");
    let mut live = stored(do_update(&request(kind, "m00"), None, config_map(json!({"k00": ""}))));
    for number in 1..15 {
        let mut new = live.clone();
        new["data"][format!("k{number:02}")] = "".into();
        let (manager, now) = (format!("m{number:02}"), format!("2026-01-01T00:00:{number:02}Z"));
        live = do_update(&Request { now: &now, ..request(kind, &manager) }, Some(&live), new);
    }
    check_owners(
        &live,
        expect![[r#"
        ancient-changes update: .data .data.k00 .data.k01 .data.k02 .data.k03 .data.k04 .data.k05
        m06 update: .data.k06
        m07 update: .data.k07
        m08 update: .data.k08
        m09 update: .data.k09
        m10 update: .data.k10
        m11 update: .data.k11
        m12 update: .data.k12
        m13 update: .data.k13
        m14 update: .data.k14
    "#]],
    );
}

/// Deployments with a few containers, replicas or not, labels or not.
fn any_deployment() -> impl Strategy<Value = Value> {
    let container =
        ("[abc]", proptest::option::of("[12]"), proptest::option::of(1..3u16)).prop_map(|(name, image, port)| {
            let mut container = json!({"name": name});
            if let Some(image) = image {
                container["image"] = image.into();
            }
            if let Some(port) = port {
                container["ports"] = json!([{"containerPort": port}]);
            }
            container
        });
    let containers = prop::collection::vec(container, 0..4).prop_map(|mut containers: Vec<Value>| {
        let mut seen = Vec::new();
        containers.retain(|c| {
            !seen.contains(&c["name"]) && {
                seen.push(c["name"].clone());
                true
            }
        });
        containers
    });
    let labels = prop::collection::btree_map("[xyz]", "[12]", 0..3);
    (containers, proptest::option::of(0..3u8), labels).prop_map(|(containers, replicas, labels)| {
        let mut object =
            deployment(json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}}));
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = replicas.into();
        }
        object["metadata"]["labels"] = serde_json::to_value(labels).unwrap();
        object
    })
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(first in any_deployment(), second in any_deployment()) {
        let kind = kind("apps", "Deployment");
        let live = stored(do_apply(&request(kind, "one"), None, &first).unwrap());
        let forced = Request { force: true, ..request(kind, "two") };
        let live = do_apply(&forced, Some(&live), &second).unwrap();
        let later = Request { now: "2027-01-01T00:00:00Z", ..forced };
        prop_assert_eq!(do_apply(&later, Some(&live), &second).unwrap(), live);
    }

    #[test]
    fn an_only_applier_gets_what_it_applies(first in any_deployment(), second in any_deployment()) {
        let kind = kind("apps", "Deployment");
        let live = stored(do_apply(&request(kind, "one"), None, &first).unwrap());
        let live = without_owners(&do_apply(&request(kind, "one"), Some(&live), &second).unwrap());
        let direct = without_owners(&stored(do_apply(&request(kind, "one"), None, &second).unwrap()));
        // What was defaulted the first time belongs to nobody and stays, as upstream has it.
        let names = |object: &Value| {
            let containers = object["spec"]["template"]["spec"]["containers"].as_array();
            containers.into_iter().flatten().map(|c| c["name"].clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(names(&live), names(&direct));
        prop_assert_eq!(&live["metadata"]["labels"], &direct["metadata"]["labels"]);
    }

    #[test]
    fn forcing_wins_everything_it_names(first in any_deployment(), second in any_deployment()) {
        let kind = kind("apps", "Deployment");
        let live = stored(do_apply(&request(kind, "one"), None, &first).unwrap());
        let forced = Request { force: true, ..request(kind, "two") };
        let live = do_apply(&forced, Some(&live), &second).unwrap();
        prop_assert!(walk::compare(kind.schema.root(), &second, &live).modified.is_empty());
    }
}
