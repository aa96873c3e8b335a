//! Namespaces are held by `spec.finalizers` until the namespace controller has emptied them.

use serde_json::{Value, json};

use super::{Hold, Strategy};
use crate::{server::Inner, status::Failure};

const KUBERNETES: &str = "kubernetes";
/// Every namespace carries its own name as a label, so that selectors can name it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// See the module.
#[derive(Debug)]
pub struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {
    fn prepare_create(&self, _: &Inner, object: &mut Value) -> Result<Hold, Failure> {
        object["status"] = json!({"phase": "Active"});
        if !object["spec"].is_object() {
            object["spec"] = json!({});
        }
        let finalizers = object["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
        if !finalizers.contains(&json!(KUBERNETES)) {
            let all: Vec<Value> = finalizers.into_iter().chain([json!(KUBERNETES)]).collect();
            object["spec"]["finalizers"] = all.into();
        }
        label_with_name(object);
        Ok(None)
    }

    fn prepare_update(&self, _: &Inner, new: &mut Value, old: &Value) -> Result<Hold, Failure> {
        // Finalizers of the spec change through the finalize subresource only.
        new["spec"] = old["spec"].clone();
        new["status"] = old["status"].clone();
        label_with_name(new);
        Ok(None)
    }

    fn begin_deletion(&self, object: &mut Value) {
        object["status"]["phase"] = json!("Terminating");
    }

    fn is_held(&self, object: &Value) -> bool {
        object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
    }
}

fn label_with_name(object: &mut Value) {
    let name = crate::object::name(object).to_owned();
    if name.is_empty() {
        return;
    }
    let labels = crate::object::metadata_mut(object).entry("labels").or_insert_with(|| json!({}));
    labels[NAME_LABEL] = json!(name);
}
