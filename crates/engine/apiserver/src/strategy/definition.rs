//! CustomResourceDefinitions: names are filled in, versions checked, and the definition held until its objects are gone.

use coracle_cel::rules::check_definition;
use coracle_schema::Kind;
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

    fn validate_create(&self, object: &Value) -> Vec<Cause> {
        rules(object, None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = rules(new, Some(old));
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

/// What is wrong with the rules of versions whose schema is new.
fn rules(definition: &Value, before: Option<&Value>) -> Vec<Cause> {
    // A schema that cannot be read has been refused for that.
    if Kind::from_crd(definition).is_err() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for (index, version) in versions(definition).enumerate() {
        let Some(schema) = version["schema"].get("openAPIV3Schema") else { continue };
        let known = before.and_then(|before| versions(before).find(|old| old["name"] == version["name"]));
        if known.is_some_and(|known| known["schema"] == version["schema"]) {
            continue;
        }
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        causes.extend(check_definition(schema, &path).into_iter().map(|problem| Cause {
            reason: problem.reason.into(),
            message: problem.message,
            field: problem.field,
        }));
    }
    causes
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
