//! What holds for every kind's writes, as data about the kind says it: status apart from spec, generations, names.

use coracle_schema::Kind;
use serde_json::{Value, json};

use crate::{object, status::Cause};

/// A new object: its status is not the client's to say where it is a subresource, and its generation is the first.
pub fn prepare_create(kind: &Kind, value: &mut Value) {
    if let (true, Some(map)) = (kind.has_status(), value.as_object_mut()) {
        map.remove("status");
    }
    object::set_meta(value, "generation", has_generation(kind, value).then(|| json!(1)));
}

/// A changed object: the status stays, and the generation goes up when anything but the metadata changed.
pub fn prepare_update(kind: &Kind, new: &mut Value, old: &Value) {
    if kind.has_status() {
        copy(new, old, "status");
    }
    let generation = old["metadata"]["generation"].as_i64();
    let Some(generation) = generation else {
        object::set_meta(new, "generation", None);
        return;
    };
    let changed = differs(kind, new, old);
    object::set_meta(new, "generation", Some(json!(generation + i64::from(changed))));
}

/// A changed status: everything else stays, but for what the metadata of a status update may carry.
pub fn prepare_status_update(_: &Kind, new: &mut Value, old: &Value) {
    let status = new.get("status").cloned();
    let managed = new["metadata"].get("managedFields").cloned();
    let labels: Vec<(&str, Option<Value>)> = vec![("managedFields", managed)];
    let mut kept = old.clone();
    for (field, value) in labels {
        if let Some(value) = value {
            object::set_meta(&mut kept, field, Some(value));
        }
    }
    match status {
        Some(status) => kept["status"] = status,
        None => {
            if let Some(map) = kept.as_object_mut() {
                map.remove("status");
            }
        }
    }
    *new = kept;
}

fn copy(new: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => {
            if let Some(map) = new.as_object_mut() {
                map.remove(field);
            }
        }
    }
}

/// Kinds with a spec count its versions; of the built-in ones, those upstream does it for.
fn has_generation(kind: &Kind, value: &Value) -> bool {
    const WITHOUT: [&str; 9] = [
        "Namespace",
        "Node",
        "Service",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "ResourceQuota",
        "LimitRange",
        "Lease",
        "PodTemplate",
    ];
    !kind.is_builtin() || (value.get("spec").is_some() && !WITHOUT.contains(&&*kind.kind))
}

fn differs(kind: &Kind, new: &Value, old: &Value) -> bool {
    let keys = |value: &Value| -> Vec<String> {
        let map = value.as_object().into_iter().flatten();
        map.map(|(key, _)| key.clone())
            .filter(|key| !matches!(key.as_str(), "metadata" | "apiVersion" | "kind"))
            .collect()
    };
    let mut all = keys(new);
    all.extend(keys(old));
    all.iter().filter(|key| !(kind.has_status() && *key == "status")).any(|key| new.get(key) != old.get(key))
}

/// What is wrong with a new object's name.
pub fn validate_name(value: &Value) -> Vec<Cause> {
    match object::name(value) {
        "" => vec![Cause::required("metadata.name", "name or generateName is required")],
        name if name.contains(['/', '%']) || name == "." || name == ".." => {
            vec![Cause::invalid("metadata.name", format!("{name:?}"), "may not contain '/' or '%', nor be '.' or '..'")]
        }
        _ => Vec::new(),
    }
}
