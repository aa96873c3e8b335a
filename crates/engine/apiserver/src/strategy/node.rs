//! Nodes: nothing but what the taints of a new one mean.

use serde_json::Value;

use super::Strategy;
use crate::status::Cause;

/// See the module.
#[derive(Debug)]
pub struct NodeStrategy;

impl Strategy for NodeStrategy {
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let (was, is) = (&old["spec"]["providerID"], &new["spec"]["providerID"]);
        let set = was.as_str().is_some_and(|id| !id.is_empty());
        if set && was != is {
            return vec![Cause::forbidden(
                "spec.providerID",
                "node updates may not change providerID except from \"\" to valid",
            )];
        }
        Vec::new()
    }
}
