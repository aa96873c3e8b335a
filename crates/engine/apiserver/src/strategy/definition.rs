//! CustomResourceDefinitions: names are filled in, versions checked, and the definition held until its objects are gone.

use serde_json::{Value, json};

use super::{Hold, Strategy};
use crate::{
    crd::cleanup::FINALIZER,
    object,
    server::Inner,
    status::{Cause, Failure},
};

/// See the module.
#[derive(Debug)]
pub struct DefinitionStrategy;

impl Strategy for DefinitionStrategy {
    fn prepare_create(&self, _: &Inner, object: &mut Value) -> Result<Hold, Failure> {
        complete(object);
        Ok(None)
    }

    fn prepare_update(&self, _: &Inner, new: &mut Value, _: &Value) -> Result<Hold, Failure> {
        complete(new);
        Ok(None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let stored = old["status"]["storedVersions"].as_array().into_iter().flatten();
        for (index, version) in stored.enumerate() {
            if !versions(new).any(|known| known["name"] == *version) {
                let detail = "missing from spec.versions; cannot remove a stored version, use the status subresource after migrating";
                causes.push(Cause::invalid(&format!("status.storedVersions[{index}]"), version, detail));
            }
        }
        causes
    }

    fn begin_deletion(&self, object: &mut Value) {
        let mut finalizers: Vec<Value> = object::finalizers(object).map(Value::from).collect();
        if !finalizers.contains(&json!(FINALIZER)) {
            finalizers.push(json!(FINALIZER));
        }
        object::set_meta(object, "finalizers", Some(finalizers.into()));
    }

    fn is_held(&self, object: &Value) -> bool {
        !object::is_deleting(object)
    }

    fn needs_version(&self) -> bool {
        true
    }
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition["spec"]["versions"].as_array().into_iter().flatten()
}

fn complete(definition: &mut Value) {
    let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
    let names = &mut definition["spec"]["names"];
    if names["singular"].as_str().unwrap_or_default().is_empty() {
        names["singular"] = json!(kind.to_lowercase());
    }
    if names["listKind"].as_str().unwrap_or_default().is_empty() {
        names["listKind"] = json!(format!("{kind}List"));
    }
    if !definition["spec"]["conversion"].is_object() {
        definition["spec"]["conversion"] = json!({"strategy": "None"});
    }
}
