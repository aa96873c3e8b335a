//! Pods: their phase, quality of service, grace period, and what of a spec may change.

use serde_json::{Value, json};

use super::{Hold, Strategy};
use crate::{server::Inner, status::Failure};

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
}
