//! What a write may change: a status belongs to its subresource, the generation counts changes of what was asked for.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;

/// Kinds whose objects have a generation though they have no spec of their own, or no status subresource.
const COUNTED: [&str; 9] = [
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "endpointslices.discovery.k8s.io",
    "priorityclasses.scheduling.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "networkpolicies.networking.k8s.io",
    "ingressclasses.networking.k8s.io",
];

/// Core kinds with a status but without a generation.
const UNCOUNTED: [&str; 8] = [
    "horizontalpodautoscalers.autoscaling",
    "namespaces",
    "nodes",
    "persistentvolumes",
    "persistentvolumeclaims",
    "resourcequotas",
    "services",
    "certificatesigningrequests.certificates.k8s.io",
];

fn has_generation(kind: &Kind) -> bool {
    let resource = kind.group_resource();
    if UNCOUNTED.contains(&resource.as_str()) {
        return false;
    }
    !kind.is_builtin() || kind.has_status() || COUNTED.contains(&resource.as_str())
}

/// A new object: no status yet, first generation.
pub fn prepare_create(kind: &Kind, object: &mut Value) {
    let Some(members) = object.as_object_mut() else { return };
    // A node registers with what it has, and a custom resource definition's status is the server's own.
    if kind.has_status() && kind.kind != "Node" {
        members.remove("status");
    }
    let Some(metadata) = metadata(members) else { return };
    for set_by_server in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        metadata.remove(set_by_server);
    }
    if has_generation(kind) {
        metadata.insert("generation".to_owned(), json!(1));
    }
}

/// A changed object: keeps the status, and counts when anything but the metadata changed.
pub fn prepare_update(kind: &Kind, new: &mut Value, old: &Value) {
    if kind.has_status() {
        keep(new, old, "status");
    }
    keep_metadata(new, old);
    let generation = old["metadata"]["generation"].as_i64();
    if let (Some(generation), true) = (generation, has_generation(kind) && asks_for_something_else(kind, new, old)) {
        new["metadata"]["generation"] = json!(generation + 1);
    }
}

/// A changed status: keeps everything else.
pub fn prepare_status_update(kind: &Kind, new: &mut Value, old: &Value) {
    if kind.is_builtin() {
        keep(new, old, "spec");
    } else {
        let status = new.get("status").cloned();
        let metadata = new.get("metadata").cloned();
        *new = old.clone();
        for (field, value) in [("status", status), ("metadata", metadata)] {
            set(new, field, value);
        }
    }
    keep_metadata(new, old);
    for field in ["labels", "finalizers", "ownerReferences"] {
        let old = old["metadata"].get(field).cloned();
        if let Some(metadata) = new.as_object_mut().and_then(metadata) {
            match old {
                Some(value) => metadata.insert(field.to_owned(), value),
                None => metadata.remove(field),
            };
        }
    }
}

fn metadata(members: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    members.entry("metadata").or_insert_with(|| json!({})).as_object_mut()
}

fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(members) = object.as_object_mut() else { return };
    match value {
        Some(value) => members.insert(field.to_owned(), value),
        None => members.remove(field),
    };
}

fn keep(new: &mut Value, old: &Value, field: &str) {
    set(new, field, old.get(field).cloned());
}

/// What only the server sets comes from the stored object, unless the request claims something else on purpose (which the
/// validation then refuses).
fn keep_metadata(new: &mut Value, old: &Value) {
    let Some(metadata) = new.as_object_mut().and_then(metadata) else { return };
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if metadata.get(field).is_none_or(Value::is_null)
            && let Some(value) = old["metadata"].get(field)
        {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    match old["metadata"].get("generation") {
        Some(generation) => metadata.insert("generation".to_owned(), generation.clone()),
        None => metadata.remove("generation"),
    };
    metadata.remove("selfLink");
}

/// Whether anything but metadata and status differs.
fn asks_for_something_else(kind: &Kind, new: &Value, old: &Value) -> bool {
    let asked = |object: &Value| -> Map<String, Value> {
        let members = object.as_object().cloned().unwrap_or_default();
        let ignored = |name: &str| match name {
            "apiVersion" | "kind" | "metadata" => true,
            "status" => kind.has_status(),
            _ => false,
        };
        members.into_iter().filter(|(name, _)| !ignored(name)).collect()
    };
    asked(new) != asked(old)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::kinds;

    #[test]
    fn a_deployment_through_its_life() {
        let kind = kinds::find_kind("apps", "v1", "Deployment").unwrap();
        let mut object =
            json!({"metadata": {"name": "a", "generation": 7}, "spec": {"replicas": 1}, "status": {"replicas": 9}});
        prepare_create(kind, &mut object);
        expect![[r#"{"metadata":{"generation":1,"name":"a"},"spec":{"replicas":1}}"#]].assert_eq(&object.to_string());
        let mut old = object.clone();
        old["metadata"]["uid"] = "u".into();
        old["status"] = json!({"replicas": 1});
        let mut scaled = json!({"metadata": {"name": "a"}, "spec": {"replicas": 2}});
        prepare_update(kind, &mut scaled, &old);
        expect![[
            r#"{"metadata":{"generation":2,"name":"a","uid":"u"},"spec":{"replicas":2},"status":{"replicas":1}}"#
        ]]
        .assert_eq(&scaled.to_string());
        let mut labelled = old.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        prepare_update(kind, &mut labelled, &old);
        expect![[r#"{"metadata":{"generation":1,"labels":{"a":"b"},"name":"a","uid":"u"},"spec":{"replicas":1},"status":{"replicas":1}}"#]].assert_eq(&labelled.to_string());
        let mut reported = json!({"metadata": {"name": "a", "labels": {"x": "y"}, "annotations": {"n": "1"}},
            "spec": {"replicas": 5}, "status": {"replicas": 2}});
        prepare_status_update(kind, &mut reported, &old);
        expect![[r#"{"metadata":{"annotations":{"n":"1"},"generation":1,"name":"a","uid":"u"},"spec":{"replicas":1},"status":{"replicas":2}}"#]].assert_eq(&reported.to_string());
    }
}
