//! Validation: what a schema cannot say about built-in kinds, and everything a custom resource's schema says, with upstream's
//! wording of what is wrong.

mod admission;
mod cluster;
mod custom;
mod devices;
mod field;
mod flow;
mod limits;
mod metadata;
pub mod names;
mod network;
mod pod;
mod rules;
mod selector;
mod workload;

use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::types::{Shape, Type};
use field::Findings;
pub use field::{FieldError, Problem};
pub use selector::matches as selector_matches;

/// What is wrong with a new object.
pub fn create(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut findings = Findings::default();
    if !is_review(kind) {
        metadata::check(kind, object, &mut findings);
    }
    content(kind, object, None, &mut findings);
    if kind.is_builtin() && kind.kind == "Pod" && !is_empty(&object["spec"]["ephemeralContainers"]) {
        findings.forbidden("spec.ephemeralContainers", "cannot be set on create");
    }
    settled(findings)
}

/// What is wrong with a changed object, or with the change.
pub fn update(kind: &Kind, new: &Value, old: &Value) -> Vec<FieldError> {
    update_at(kind, "", new, old)
}

/// The same for a change that comes through a subresource, some of which may change what the object itself may not.
pub fn update_at(kind: &Kind, subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut findings = Findings::default();
    metadata::check_update(new, old, &mut findings);
    if subresource != "status" || !kind.is_builtin() {
        content(kind, new, Some(old), &mut findings);
    }
    if kind.is_builtin() && subresource.is_empty() {
        change(kind, new, old, &mut findings);
    }
    settled(findings)
}

/// Questions to the server, which are answered and not kept.
fn is_review(kind: &Kind) -> bool {
    kind.is_builtin() && kind.verbs == ["create"]
}

/// Each finding once.
fn settled(findings: Findings) -> Vec<FieldError> {
    let mut settled: Vec<FieldError> = Vec::new();
    for finding in findings.0 {
        if !settled.contains(&finding) {
            settled.push(finding);
        }
    }
    settled
}

fn content(kind: &Kind, object: &Value, old: Option<&Value>, findings: &mut Findings) {
    if !kind.is_builtin() {
        custom::check(kind.schema.root(), object, old, findings);
        return;
    }
    metadata::qualified_finalizers(&object["metadata"], findings);
    // An event is looked at once; those who count it on need not know all of it.
    if kind.kind != "Event" || old.is_none() {
        rules::check(kind, object, findings);
    }
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "Pod") => pod::pod(object, findings),
        ("", "PodTemplate") => pod::template(&object["template"], "template", findings),
        ("", "ReplicationController") | ("apps", _) => workload::apps(kind, object, findings),
        ("batch", _) => workload::batch(kind, object, findings),
        ("", "Service" | "Endpoints") | ("networking.k8s.io" | "discovery.k8s.io", _) => {
            network::check(kind, object, findings);
        }
        ("flowcontrol.apiserver.k8s.io", _) => flow::check(kind, object, findings),
        ("resource.k8s.io", _) => devices::check(kind, object, findings),
        ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => admission::check(kind, object, findings),
        ("", "LimitRange" | "ResourceQuota") => limits::check(kind, object, findings),
        ("", "Event") if old.is_none() => limits::event(object, findings),
        _ => cluster::check(kind, object, findings),
    }
    if kind.kind != "Event" && !is_review(kind) {
        required(kind.schema.root(), object, "", findings);
    }
}

fn change(kind: &Kind, new: &Value, old: &Value, findings: &mut Findings) {
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "Pod") => pod::change(new, old, findings),
        ("apps" | "batch", _) => workload::change(kind, new, old, findings),
        ("", "Service") => network::service_change(new, old, findings),
        _ => cluster::change(kind, new, old, findings),
    }
}

/// Required texts that are missing; other required values are the business of each kind, since upstream fills in zeros.
fn required(of: Type<'_>, value: &Value, path: &str, findings: &mut Findings) {
    // A reference by name may name nothing.
    if of.name().ends_with(".LocalObjectReference") {
        return;
    }
    match (of.shape(), value) {
        (Shape::Object, Value::Object(members)) => {
            for field in of.fields() {
                let path = if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
                let value = members.get(field.name());
                let is_text = field.value().shape() == Shape::String;
                let missing = value.is_none_or(|value| value.is_null() || *value == "");
                if field.is_required() && is_text && missing && !findings.0.iter().any(|found| found.field == path) {
                    findings.required(&path, "");
                }
                if let Some(value) = value.filter(|_| path != "status" && path != "metadata") {
                    required(field.value(), value, &path, findings);
                }
            }
            if let (Some(element), false) = (of.element(), of.has_fields()) {
                for (name, value) in members {
                    required(element, value, &format!("{path}[{name}]"), findings);
                }
            }
        }
        (Shape::List, Value::Array(items)) => {
            let Some(element) = of.element() else { return };
            for (index, item) in items.iter().enumerate() {
                required(element, item, &format!("{path}[{index}]"), findings);
            }
        }
        _ => {}
    }
}

/// The Status that refuses an invalid object (422).
pub fn invalid_status(kind: &Kind, name: &str, errors: &[FieldError]) -> Value {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let list = if let [one] = &texts[..] { one.clone() } else { format!("[{}]", texts.join(", ")) };
    let causes: Vec<Value> = errors
        .iter()
        .map(|error| json!({"reason": error.reason(), "message": error.message(), "field": error.field}))
        .collect();
    let mut details = json!({"name": name, "kind": kind.kind, "causes": causes});
    if !kind.group.is_empty() {
        details["group"] = kind.group.as_ref().into();
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
        "message": format!("{} \"{name}\" is invalid: {list}", kind.group_kind()),
        "details": details,
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
