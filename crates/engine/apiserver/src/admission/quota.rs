//! ResourceQuotas: how much of everything a namespace may have.
//!
//! Usage is counted from the objects in the store at the time of the request, so it cannot drift. Writes in namespaces with
//! quotas take turns ([`turn`]), so that two of them cannot both have the last of something.

pub mod status;
mod usage;

use coracle_schema::quantity::Quantity;
use coracle_store::Snapshot;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use super::{Admission, Attributes, Operation};
use crate::{object, registry::Resource, server::Inner, status::Failure};
use usage::{Usage, quantity};

/// See the module.
#[derive(Debug)]
pub struct ResourceQuota;

/// A write's turn in namespaces with quotas; held until the write is through. `None` where there is no quota.
pub async fn turn(server: &Inner, namespace: &str) -> Option<OwnedMutexGuard<()>> {
    if namespace.is_empty()
        || server.store.snapshot().list(&format!("/core/resourcequotas/{namespace}/")).next().is_none()
    {
        return None;
    }
    Some(server.quota_turn.clone().lock_owned().await)
}

impl Admission for ResourceQuota {
    fn validate(&self, request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
        let counts =
            matches!(request.operation, Operation::Create | Operation::Update) && request.subresource.is_empty();
        if !counts || request.namespace.is_empty() || request.resource.kind.plural == "resourcequotas" {
            return Ok(());
        }
        let snapshot = request.server.store.snapshot();
        let prefix = format!("/core/resourcequotas/{}/", request.namespace);
        for record in snapshot.list(&prefix) {
            check(request, &object::decode(record)?, object)?;
        }
        Ok(())
    }
}

fn check(request: &Attributes<'_>, quota: &Value, object: &Value) -> Result<(), Failure> {
    let hard = quota["spec"]["hard"].as_object().into_iter().flatten();
    let hard: Vec<(&String, Quantity)> = hard.filter_map(|(name, value)| Some((name, quantity(value)?))).collect();
    let kind = &request.resource.kind;
    let wanted = usage::of(kind, object);
    if !usage::in_scope(quota, &request.resource.kind, object)
        || !hard.iter().any(|(name, _)| wanted.contains_key(*name))
    {
        return must_specify(request, quota, &hard, object);
    }
    must_specify(request, quota, &hard, object)?;
    let before = request.old.map(|old| usage::of(kind, old)).unwrap_or_default();
    let used = used(request.resource, &request.server.store.snapshot(), request.namespace, quota)?;
    let mut over: Vec<(String, String, String, String)> = Vec::new();
    for (name, limit) in hard {
        let Some(asked) = wanted.get(name) else { continue };
        let had = before.get(name).copied().unwrap_or_else(Quantity::zero);
        // A change that asks for no more is never refused, even over the quota.
        if *asked <= had {
            continue;
        }
        let others = used.get(name).copied().unwrap_or_else(Quantity::zero);
        let total = others + *asked - had;
        if total > limit {
            let delta = *asked - had;
            over.push((name.clone(), delta.to_string(), others.to_string(), limit.to_string()));
        }
    }
    if over.is_empty() {
        return Ok(());
    }
    let list = |pick: fn(&(String, String, String, String)) -> &String| {
        over.iter().map(|entry| format!("{}={}", entry.0, pick(entry))).collect::<Vec<_>>().join(",")
    };
    Err(request.forbidden(&format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        object::name(quota),
        list(|entry| &entry.1),
        list(|entry| &entry.2),
        list(|entry| &entry.3)
    )))
}

/// A quota on a compute resource makes every container say how much of it it takes.
fn must_specify(
    request: &Attributes<'_>,
    quota: &Value,
    hard: &[(&String, Quantity)],
    object: &Value,
) -> Result<(), Failure> {
    if !request.is(Operation::Create, "", "pods") || !usage::in_scope(quota, &request.resource.kind, object) {
        return Ok(());
    }
    let mut missing: Vec<String> = Vec::new();
    for (name, _) in hard {
        let (field, resource) = match name.as_str() {
            "cpu" | "requests.cpu" => ("requests", "cpu"),
            "memory" | "requests.memory" => ("requests", "memory"),
            "limits.cpu" => ("limits", "cpu"),
            "limits.memory" => ("limits", "memory"),
            _ => continue,
        };
        let containers = object["spec"]["containers"].as_array().into_iter().flatten();
        let without: Vec<&str> = containers
            .filter(|container| container["resources"][field].get(resource).is_none())
            .filter_map(|container| container["name"].as_str())
            .collect();
        if !without.is_empty() {
            missing.push(format!("{name} for: {}", without.join(",")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(request.forbidden(&format!("failed quota: {}: must specify {}", object::name(quota), missing.join("; "))))
}

/// What the namespace's objects of a resource count for so far.
fn used(resource: &Resource, snapshot: &Snapshot, namespace: &str, quota: &Value) -> Result<Usage, Failure> {
    let mut total = Usage::new();
    for record in snapshot.list(&resource.scope(namespace)) {
        let object = object::decode(record)?;
        if usage::in_scope(quota, &resource.kind, &object) {
            for (name, value) in usage::of(&resource.kind, &object) {
                usage::add(&mut total, name, value);
            }
        }
    }
    Ok(total)
}
