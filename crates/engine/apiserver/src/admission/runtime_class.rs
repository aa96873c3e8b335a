//! Pods that name a RuntimeClass need it to be there, and take its overhead and its place on nodes from it.

use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::{object, status::Failure};

/// See the module.
#[derive(Debug)]
pub struct RuntimeClass;

impl Admission for RuntimeClass {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        let named = object["spec"]["runtimeClassName"].as_str().unwrap_or_default().to_owned();
        if named.is_empty() || !request.is(Operation::Create, "", "pods") {
            return Ok(());
        }
        let record = request.server.store.get(&format!("/node.k8s.io/runtimeclasses/{named}"));
        let record =
            record.ok_or_else(|| request.forbidden(&format!("pod rejected: RuntimeClass {named:?} not found")))?;
        let class = object::decode(&record)?;
        let spec = &mut object["spec"];
        take_overhead(request, spec, &class)?;
        take_place(request, spec, &class)
    }
}

fn take_overhead(request: &Attributes<'_>, spec: &mut Value, class: &Value) -> Result<(), Failure> {
    let fixed = &class["overhead"]["podFixed"];
    let said = spec.get("overhead").filter(|overhead| !overhead.is_null()).cloned();
    match said {
        Some(said) if fixed.is_null() || said != *fixed => {
            Err(request.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"))
        }
        None if fixed.is_object() => {
            spec["overhead"] = fixed.clone();
            Ok(())
        }
        _ => Ok(()),
    }
}

fn take_place(request: &Attributes<'_>, spec: &mut Value, class: &Value) -> Result<(), Failure> {
    for (key, value) in class["scheduling"]["nodeSelector"].as_object().into_iter().flatten() {
        let said = spec["nodeSelector"].get(key).cloned();
        if said.is_some_and(|said| said != *value) {
            return Err(request.forbidden(&format!(
                "conflict: runtimeClass.scheduling.nodeSelector and pod.spec.nodeSelector disagree on {key}"
            )));
        }
        if !spec["nodeSelector"].is_object() {
            spec["nodeSelector"] = json!({});
        }
        spec["nodeSelector"][key] = value.clone();
    }
    let wanted = class["scheduling"]["tolerations"].as_array().cloned().unwrap_or_default();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    let new: Vec<Value> = wanted.into_iter().filter(|toleration| !tolerations.contains(toleration)).collect();
    tolerations.extend(new);
    spec["tolerations"] = tolerations.into();
    Ok(())
}
