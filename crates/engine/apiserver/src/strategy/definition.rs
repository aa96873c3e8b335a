//! CustomResourceDefinitions: names are filled in, versions checked, and the definition held until its objects are gone.

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
        check(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = check(new);
        let established = old["status"]["conditions"].as_array().into_iter().flatten();
        let established = established.into_iter().any(|c| c["type"] == "Established" && c["status"] == "True");
        for field in ["group", "scope"] {
            if established && new["spec"][field] != old["spec"][field] {
                causes.push(Cause::invalid(&format!("spec.{field}"), &new["spec"][field], "field is immutable"));
            }
        }
        for field in ["kind", "plural"] {
            if established && new["spec"]["names"][field] != old["spec"]["names"][field] {
                causes.push(Cause::invalid(
                    &format!("spec.names.{field}"),
                    &new["spec"]["names"][field],
                    "field is immutable",
                ));
            }
        }
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

fn check(definition: &Value) -> Vec<Cause> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let mut causes = Vec::new();
    let wanted = format!("{plural}.{group}");
    if object::name(definition) != wanted {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", json!(object::name(definition)), detail));
    }
    for (field, value) in [
        ("spec.group", &spec["group"]),
        ("spec.names.plural", &spec["names"]["plural"]),
        ("spec.names.kind", &spec["names"]["kind"]),
    ] {
        if text(value).is_empty() {
            causes.push(Cause::required(field, ""));
        }
    }
    if !group.is_empty() && !group.contains('.') {
        causes.push(Cause::invalid("spec.group", json!(group), "should be a domain with at least one dot"));
    }
    match text(&spec["scope"]).as_str() {
        "Cluster" | "Namespaced" => {}
        "" => causes.push(Cause::required("spec.scope", "")),
        other => causes.push(Cause {
            reason: "FieldValueNotSupported".into(),
            message: format!("Unsupported value: {other:?}: supported values: \"Cluster\", \"Namespaced\""),
            field: "spec.scope".into(),
        }),
    }
    let storage = versions(definition).filter(|version| version["storage"] == json!(true)).count();
    if storage != 1 {
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &spec["versions"], detail));
    }
    for (index, version) in versions(definition).enumerate() {
        if version["schema"].get("openAPIV3Schema").is_none() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(&field, "schemas are required"));
        }
    }
    if let (true, Err(error)) = (causes.is_empty(), Kind::from_crd(definition)) {
        causes.push(Cause { reason: "FieldValueInvalid".into(), message: error.to_string(), field: String::new() });
    }
    causes
}
