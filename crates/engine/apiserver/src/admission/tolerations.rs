//! Pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise.

use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::status::Failure;

const SECONDS: i64 = 300;
const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// See the module.
#[derive(Debug)]
pub struct DefaultTolerationSeconds;

impl Admission for DefaultTolerationSeconds {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        if !request.is(Operation::Create, "", "pods") {
            return Ok(());
        }
        let mut tolerations = object["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        for key in KEYS {
            let tolerated = tolerations.iter().any(|toleration| {
                let matches = |field: &str, value: &str| {
                    toleration[field].as_str().is_none_or(|text| text.is_empty() || text == value)
                };
                matches("key", key) && matches("effect", "NoExecute")
            });
            if !tolerated {
                tolerations.push(
                    json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}),
                );
            }
        }
        object["spec"]["tolerations"] = tolerations.into();
        Ok(())
    }
}
