//! ResourceQuotas: how much of everything a namespace may have.
//!
//! Usage is counted from the objects in the store at the time of the request, so it cannot drift. Writes in namespaces with
//! quotas take turns ([`turn`]), so that two of them cannot both have the last of something.

use std::collections::BTreeMap;

use coracle_schema::quantity::Quantity;
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use super::{Admission, Attributes, Operation};
use crate::{object, server::Inner, status::Failure};

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

type Usage = BTreeMap<String, Quantity>;

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
    let wanted = usage_of(request, object);
    if !in_scope(quota, object, request) || !hard.iter().any(|(name, _)| wanted.contains_key(*name)) {
        return must_specify(request, quota, &hard, object);
    }
    must_specify(request, quota, &hard, object)?;
    let before = request.old.map(|old| usage_of(request, old)).unwrap_or_default();
    let used = used_in_namespace(request, quota)?;
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
    if !request.is(Operation::Create, "", "pods") || !in_scope(quota, object, request) {
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

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// Scopes narrow a quota to some pods; other objects are not in any.
fn in_scope(quota: &Value, object: &Value, request: &Attributes<'_>) -> bool {
    let scopes: Vec<&str> =
        quota["spec"]["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if scopes.is_empty() {
        return true;
    }
    if request.resource.kind.plural != "pods" {
        return false;
    }
    let best_effort = crate::strategy::quality_of_service(&object["spec"]) == "BestEffort";
    let terminating = object["spec"]["activeDeadlineSeconds"].is_number();
    scopes.iter().all(|scope| match *scope {
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        _ => true,
    })
}

/// What one object counts for.
fn usage_of(request: &Attributes<'_>, object: &Value) -> Usage {
    let kind = &request.resource.kind;
    let one = Quantity::from_units(1);
    let mut usage = Usage::new();
    usage.insert(format!("count/{}", kind.group_resource()), one);
    if kind.group.is_empty() {
        usage.insert(kind.plural.to_string(), one);
    }
    match (&*kind.group, &*kind.plural) {
        ("", "pods") => add_pod(&mut usage, object),
        ("", "services") => add_service(&mut usage, object),
        ("", "persistentvolumeclaims") => {
            if let Some(size) = quantity(&object["spec"]["resources"]["requests"]["storage"]) {
                usage.insert("requests.storage".into(), size);
            }
        }
        _ => {}
    }
    usage
}

fn add_pod(usage: &mut Usage, pod: &Value) {
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        usage.clear();
        return;
    }
    for (field, prefix) in [("requests", "requests."), ("limits", "limits.")] {
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            for (name, value) in container["resources"][field].as_object().into_iter().flatten() {
                let Some(value) = quantity(value) else { continue };
                let mut add = |key: String| {
                    let sum = match usage.remove(&key) {
                        Some(so_far) => so_far + value,
                        None => value,
                    };
                    usage.insert(key, sum);
                };
                add(format!("{prefix}{name}"));
                if field == "requests" && matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                    add(name.clone());
                }
            }
        }
    }
}

fn add_service(usage: &mut Usage, service: &Value) {
    let ports = service["spec"]["ports"].as_array().map_or(0, Vec::len);
    let parse = |count: usize| Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX));
    match service["spec"]["type"].as_str() {
        Some("NodePort") => {
            usage.insert("services.nodeports".into(), parse(ports));
        }
        Some("LoadBalancer") => {
            usage.insert("services.loadbalancers".into(), parse(1));
            if service["spec"]["allocateLoadBalancerNodePorts"] != json!(false) {
                usage.insert("services.nodeports".into(), parse(ports));
            }
        }
        _ => {}
    }
}

/// What the namespace's objects of the request's kind count for so far.
fn used_in_namespace(request: &Attributes<'_>, quota: &Value) -> Result<Usage, Failure> {
    let snapshot = request.server.store.snapshot();
    let mut total = Usage::new();
    for record in snapshot.list(&request.resource.scope(request.namespace)) {
        let object = object::decode(record)?;
        if !in_scope(quota, &object, request) {
            continue;
        }
        for (name, value) in usage_of(request, &object) {
            let sum = match total.remove(&name) {
                Some(so_far) => so_far + value,
                None => value,
            };
            total.insert(name, sum);
        }
    }
    Ok(total)
}
