//! Subresources that change one part of an object: what the client sent is reduced to that part.

use serde_json::Value;

use super::approval;
use crate::status::Cause;

/// Puts the part `subresource` is about from `value` into the live object. Returns what is wrong with it.
pub fn graft(subresource: &str, value: &mut Value, live: &Value) -> Vec<Cause> {
    match subresource {
        "finalize" => {
            let finalizers = value["spec"]["finalizers"].take();
            let metadata_finalizers = value["metadata"].get("finalizers").cloned();
            *value = approval::keep_metadata(value, live);
            value["spec"]["finalizers"] = if finalizers.is_null() { Value::Array(Vec::new()) } else { finalizers };
            crate::object::set_meta(value, "finalizers", metadata_finalizers);
            Vec::new()
        }
        "ephemeralcontainers" => {
            let containers = value["spec"]["ephemeralContainers"].take();
            *value = approval::keep_metadata(value, live);
            if !containers.is_null() {
                value["spec"]["ephemeralContainers"] = containers;
            }
            check_ephemeral(value, live)
        }
        "resize" => {
            let wanted = value["spec"].take();
            *value = approval::keep_metadata(value, live);
            copy_resources(&mut value["spec"], &wanted);
            Vec::new()
        }
        "approval" => {
            approval::graft(value, live);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn check_ephemeral(value: &Value, live: &Value) -> Vec<Cause> {
    let list = |object: &Value| object["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    let (now, before) = (list(value), list(live));
    let kept = before.iter().all(|old| now.contains(old));
    if kept {
        return Vec::new();
    }
    let field = "spec.ephemeralContainers";
    vec![Cause::forbidden(field, "existing ephemeral containers may not be removed or changed")]
}

fn copy_resources(spec: &mut Value, wanted: &Value) {
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let same = wanted[list].as_array().into_iter().flatten().find(|other| other["name"] == container["name"]);
            for field in ["resources", "resizePolicy"] {
                if let Some(value) = same.and_then(|same| same.get(field)) {
                    container[field] = value.clone();
                }
            }
        }
    }
}
