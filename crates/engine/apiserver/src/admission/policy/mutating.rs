//! MutatingAdmissionPolicies: expressions that change the object, by a configuration to apply or by patches.

use std::collections::BTreeSet;

use coracle_cel::{Value as CelValue, limits};
use coracle_schema::{Kind, apply, defaults, fields, patch};
use serde_json::Value;

use super::{
    check::{self, Denial, View, refusal},
    is_exempt,
    parse::{Body, Mutation, Policy},
    scope::Scope,
};
use crate::{
    admission::{
        Attributes,
        webhook::{convert, converts},
    },
    object,
    registry::Served,
    status::Failure,
};

/// Lets policies change the object, one after the other by their names.
pub async fn mutate(request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
    let policies = request.server.policies.mutating(&request.server.store.snapshot());
    if policies.is_empty() || is_exempt(request) {
        return Ok(());
    }
    let served = request.server.registry.served();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let mut again: BTreeSet<usize> = BTreeSet::new();
    for (at, policy) in policies.iter().enumerate() {
        if let_change(request, policy, object, &served).await? {
            again.extend(&seen);
        }
        if matches!(policy.body, Body::Mutate { again: true, .. }) {
            seen.insert(at);
        }
    }
    for at in again {
        let_change(request, &policies[at], object, &served).await?;
    }
    Ok(())
}

/// Whether a policy changed the object.
async fn let_change(
    request: &Attributes<'_>,
    policy: &Policy,
    object: &mut Value,
    served: &Served,
) -> Result<bool, Failure> {
    let before = object.clone();
    let found = check::invocations(request, policy, Some(&before), served).await?;
    let deny = |denial: Denial| {
        let by = match &denial.binding {
            Some(binding) => format!("policy '{}' with binding '{binding}'", policy.name),
            None => format!("policy {:?}", policy.name),
        };
        let message = format!("{by} denied request: {}", denial.message);
        let mut failure = refusal(request, Denial { message: message.clone(), reason: "Forbidden".into(), ..denial });
        failure.message = message;
        failure
    };
    if let Some(problem) = found.problems.into_iter().next() {
        return Err(deny(problem));
    }
    let Some(view) = found.views.into_iter().next() else { return Ok(false) };
    let original = view.object.clone().into_owned();
    let mut view = View { object: std::borrow::Cow::Owned(original.clone()), ..view };
    for invocation in found.invocations {
        match changed(request, policy, &view, &invocation.params) {
            Ok(changed) => view.object = std::borrow::Cow::Owned(changed),
            Err(_) if policy.ignores_failure => {}
            Err(message) => {
                let binding = Some(policy.bindings[invocation.binding].name.clone());
                return Err(deny(Denial { binding, message, reason: String::new() }));
            }
        }
    }
    let mut changed = view.object.into_owned();
    if changed == original {
        return Ok(false);
    }
    let kind = request.body_kind(view.seen_as);
    if let Some(error) = fields::type_error(&kind, &changed) {
        return Err(Failure::internal(error));
    }
    fields::prune(&kind, &mut changed);
    if converts(request, view.seen_as) {
        changed = convert(view.seen_as, request.resource, changed).await?;
    }
    defaults::apply(&request.body_kind(request.resource), &mut changed);
    *object = changed;
    Ok(true)
}

/// The object after all mutations of a policy.
fn changed(request: &Attributes<'_>, policy: &Policy, view: &View<'_>, params: &Value) -> Result<Value, String> {
    if let Some(problem) = &policy.problem {
        return Err(problem.clone());
    }
    let mut object = view.object.clone().into_owned();
    let Body::Mutate { mutations, .. } = &policy.body else { return Ok(object) };
    if !view.with_subject(request, params, |subject| policy.conditions.hold(subject))? {
        return Ok(object);
    }
    let mut budget = limits::PER_OBJECT;
    for mutation in mutations {
        let made = view.with_subject(request, params, |subject| {
            let subject = super::scope::Subject { object: &object, ..subject.clone() };
            let scope = Scope::new(&subject, &policy.variables);
            let value = scope.evaluate(&mutation.program, &mut budget);
            value.and_then(|value| usable(&value)?.to_json()).map_err(|error| error.to_string())
        });
        let made = made.map_err(|error| format!("expression '{}' resulted in error: {error}", mutation.text))?;
        object = apply_change(&request.body_kind(view.seen_as), mutation, &object, made)?;
    }
    Ok(object)
}

/// Objects must be named after the place they stand in.
fn usable<'a, 'v>(value: &'v CelValue<'a>) -> Result<&'v CelValue<'a>, coracle_cel::EvalError> {
    if let CelValue::Object(object) = value
        && object.name == "Object"
    {
        names_fit(value, "Object")?;
    }
    Ok(value)
}

fn names_fit(value: &CelValue<'_>, place: &str) -> Result<(), coracle_cel::EvalError> {
    match value {
        CelValue::Object(object) if object.name != place => Err(coracle_cel::EvalError::new(format!(
            "type mismatch: unexpected type name {:?}, expected {place:?}, which matches field name path from root Object type",
            object.name
        ))),
        CelValue::Object(object) => {
            object.fields.iter().try_for_each(|(field, value)| names_fit(value, &format!("{place}.{field}")))
        }
        CelValue::List(list) => list.iter().try_for_each(|item| names_fit(&item, place)),
        _ => Ok(()),
    }
}

fn apply_change(kind: &Kind, mutation: &Mutation, object: &Value, made: Value) -> Result<Value, String> {
    if mutation.is_patch {
        return patch::json(object, &made).map_err(|error| format!("JSON Patch: {error}"));
    }
    let mut config = made;
    for field in ["apiVersion", "kind"] {
        config[field] = object[field].clone();
    }
    if let Some(atomic) = atomic_place(kind.schema.root(), &config, String::new()) {
        let text = format!("may not mutate atomic arrays, maps or structs: {atomic}");
        return Err(format!("error applying patch: invalid ApplyConfiguration: {text}"));
    }
    let mut live = object.clone();
    object::set_meta(&mut live, "managedFields", None);
    let request = apply::Request { kind, live: Some(&live), manager: "policy", subresource: "", now: "", force: true };
    let mut merged = apply::apply(&request, config).map_err(|error| format!("error applying patch: {error}"))?;
    object::set_meta(&mut merged, "managedFields", object["metadata"].get("managedFields").cloned());
    Ok(merged)
}

/// The first place in a configuration that can only be replaced as a whole.
fn atomic_place(of: coracle_schema::Type<'_>, value: &Value, path: String) -> Option<String> {
    use coracle_schema::types::{ListType, Shape};
    let is_atomic = match of.shape() {
        Shape::List => of.list_type() == ListType::Atomic,
        Shape::Object => of.is_atomic(),
        _ => false,
    };
    match value {
        Value::Object(_) | Value::Array(_) if is_atomic => Some(path),
        Value::Object(members) => {
            members.iter().find_map(|(name, member)| atomic_place(of.member(name)?, member, format!("{path}.{name}")))
        }
        Value::Array(items) => items.iter().find_map(|item| atomic_place(of.element()?, item, path.clone())),
        _ => None,
    }
}
