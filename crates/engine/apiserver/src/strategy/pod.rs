//! Pods: their phase, quality of service, grace period, and what of a spec may change.

use serde_json::{Value, json};

use super::{Hold, Strategy};
use crate::{
    server::Inner,
    status::{Cause, Failure},
};

const DEFAULT_GRACE_SECONDS: i64 = 30;

/// See the module.
#[derive(Debug)]
pub struct PodStrategy;

impl Strategy for PodStrategy {
    fn prepare_create(&self, server: &Inner, object: &mut Value) -> Result<Hold, Failure> {
        let mut status = json!({"phase": "Pending", "qosClass": quality_of_service(&object["spec"])});
        let gates = object["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
        if gates {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastTransitionTime": crate::object::time(server.clock.now()),
            }]);
        }
        object["status"] = status;
        Ok(None)
    }

    fn prepare_update(&self, _: &Inner, new: &mut Value, old: &Value) -> Result<Hold, Failure> {
        new["status"] = old["status"].clone();
        // Ephemeral containers come through their own subresource.
        match old["spec"].get("ephemeralContainers") {
            Some(list) => new["spec"]["ephemeralContainers"] = list.clone(),
            None => {
                if let Some(spec) = new["spec"].as_object_mut() {
                    spec.remove("ephemeralContainers");
                }
            }
        }
        Ok(None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let mut allowed = old["spec"].clone();
        overlay_mutable(&mut allowed, &new["spec"], &old["spec"]);
        if allowed == new["spec"] {
            return Vec::new();
        }
        vec![Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        )]
    }

    fn grace_seconds(&self, object: &Value, asked: Option<i64>) -> Option<i64> {
        let phase = object["status"]["phase"].as_str().unwrap_or_default();
        let unscheduled = object["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
        if unscheduled || matches!(phase, "Failed" | "Succeeded") {
            return Some(0);
        }
        let own = || object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(DEFAULT_GRACE_SECONDS);
        // A negative period means at once, but orderly.
        Some(asked.unwrap_or_else(own)).map(|seconds| if seconds < 0 { 1 } else { seconds })
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

/// Copies what may change of a pod's spec from `new` into `allowed`.
fn overlay_mutable(allowed: &mut Value, new: &Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        let same_length = new[list].as_array().map(Vec::len) == old[list].as_array().map(Vec::len);
        let Some(containers) = allowed.get_mut(list).and_then(Value::as_array_mut).filter(|_| same_length) else {
            continue;
        };
        for (container, changed) in containers.iter_mut().zip(new[list].as_array().into_iter().flatten()) {
            copy_field(container, changed, "image");
        }
    }
    copy_field(allowed, new, "activeDeadlineSeconds");
    copy_field(allowed, new, "schedulingGates");
    let added_only = old["tolerations"].as_array().is_none_or(|had| {
        let have = new["tolerations"].as_array();
        had.iter().all(|toleration| have.is_some_and(|have| have.contains(toleration)))
    });
    if added_only {
        copy_field(allowed, new, "tolerations");
    }
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0)
        && new["terminationGracePeriodSeconds"] == 1
    {
        copy_field(allowed, new, "terminationGracePeriodSeconds");
    }
    // A gated pod may still be given constraints on where it runs.
    if old["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        copy_field(allowed, new, "nodeSelector");
        copy_field(allowed, new, "affinity");
    }
}

fn copy_field(into: &mut Value, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => into[field] = value.clone(),
        None => {
            if let Some(map) = into.as_object_mut() {
                map.remove(field);
            }
        }
    }
}

/// Guaranteed when every container limits cpu and memory to what it requests, BestEffort when none asks for either.
pub fn quality_of_service(spec: &Value) -> &'static str {
    let containers =
        ["containers", "initContainers"].iter().flat_map(|list| spec[*list].as_array().into_iter().flatten());
    let (mut any, mut all_equal) = (false, true);
    for container in containers {
        let resources = &container["resources"];
        for name in ["cpu", "memory"] {
            let limit = resources["limits"].get(name);
            let request = resources["requests"].get(name).or(limit);
            any |= limit.is_some() || request.is_some();
            all_equal &= limit.is_some() && limit == request;
        }
    }
    match (any, all_equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service_is_upstreams() {
        let with = |resources: Value| quality_of_service(&json!({"containers": [{"resources": resources}]}));
        assert_eq!(with(json!({})), "BestEffort");
        assert_eq!(with(json!({"limits": {"cpu": "1", "memory": "1Mi"}})), "Guaranteed");
        assert_eq!(with(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(
            with(json!({"limits": {"cpu": "1", "memory": "1Mi"}, "requests": {"cpu": "500m", "memory": "1Mi"}})),
            "Burstable"
        );
    }

    #[test]
    fn only_few_fields_of_a_pod_change() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "x"}], "nodeName": "n"}});
        let with = |path: &str, value: Value| {
            let mut new = old.clone();
            *new.pointer_mut(path).unwrap() = value;
            PodStrategy.validate_update(&new, &old).len()
        };
        assert_eq!(with("/spec/containers/0/image", json!("y")), 0);
        assert_eq!(with("/spec/containers/0/name", json!("b")), 1);
        assert_eq!(with("/spec/nodeName", json!("m")), 1);
    }
}
