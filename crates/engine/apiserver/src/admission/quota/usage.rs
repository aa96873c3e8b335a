//! What objects count for in quotas.

use std::collections::BTreeMap;

use coracle_schema::{Kind, quantity::Quantity};
use serde_json::{Value, json};

/// Amounts by the names quotas have for them.
pub type Usage = BTreeMap<String, Quantity>;

/// A quantity, as text or number.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// Adds to what is there.
pub fn add(usage: &mut Usage, name: String, value: Quantity) {
    let sum = match usage.get(&name) {
        Some(so_far) => *so_far + value,
        None => value,
    };
    usage.insert(name, sum);
}

/// Scopes narrow a quota to some pods; other objects are not in any.
pub fn in_scope(quota: &Value, kind: &Kind, object: &Value) -> bool {
    let scopes = quota["spec"]["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let selected = quota["spec"]["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
    let mut conditions = scopes
        .map(|scope| (scope, "Exists", &Value::Null))
        .chain(selected.map(|one| (text(&one["scopeName"]), text(&one["operator"]), &one["values"])))
        .peekable();
    if conditions.peek().is_none() {
        return true;
    }
    kind.plural == "pods" && conditions.all(|(scope, operator, values)| meets(object, scope, operator, values))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn meets(pod: &Value, scope: &str, operator: &str, values: &Value) -> bool {
    let spec = &pod["spec"];
    let best_effort = || crate::strategy::quality_of_service(spec) == "BestEffort";
    let terminating = spec["activeDeadlineSeconds"].is_number();
    match scope {
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "PriorityClass" => {
            let class = text(&spec["priorityClassName"]);
            let listed = values.as_array().into_iter().flatten().any(|value| value == class);
            match operator {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(&spec["affinity"]),
        _ => true,
    }
}

fn crosses_namespaces(affinity: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let required =
            affinity[kind]["requiredDuringSchedulingIgnoredDuringExecution"].as_array().into_iter().flatten();
        let preferred =
            affinity[kind]["preferredDuringSchedulingIgnoredDuringExecution"].as_array().into_iter().flatten();
        required.chain(preferred.map(|weighted| &weighted["podAffinityTerm"])).any(|term| {
            term["namespaceSelector"].is_object() || term["namespaces"].as_array().is_some_and(|list| !list.is_empty())
        })
    })
}

/// What one object counts for.
pub fn of(kind: &Kind, object: &Value) -> Usage {
    let one = Quantity::from_units(1);
    let mut usage = Usage::new();
    usage.insert(format!("count/{}", kind.group_resource()), one);
    if kind.group.is_empty() {
        usage.insert(kind.plural.to_string(), one);
    }
    match (&*kind.group, &*kind.plural) {
        ("", "pods") => add_pod(&mut usage, object),
        ("", "services") => add_service(&mut usage, object),
        ("", "persistentvolumeclaims") => add_claim(&mut usage, object),
        _ => {}
    }
    usage
}

fn add_claim(usage: &mut Usage, claim: &Value) {
    let class = text(&claim["spec"]["storageClassName"]);
    let size = quantity(&claim["spec"]["resources"]["requests"]["storage"]);
    if let Some(size) = size {
        usage.insert("requests.storage".into(), size);
    }
    if !class.is_empty() {
        let prefix = format!("{class}.storageclass.storage.k8s.io");
        usage.insert(format!("{prefix}/persistentvolumeclaims"), Quantity::from_units(1));
        if let Some(size) = size {
            usage.insert(format!("{prefix}/requests.storage"), size);
        }
    }
}

fn add_pod(usage: &mut Usage, pod: &Value) {
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        usage.clear();
        return;
    }
    for (field, prefix) in [("requests", "requests."), ("limits", "limits.")] {
        for (name, value) in taken_by(&pod["spec"], field) {
            if field == "requests" && matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                add(usage, name.clone(), value);
            }
            add(usage, format!("{prefix}{name}"), value);
        }
    }
}

/// What a pod takes of everything: its containers' sum, or what one of the init containers takes alone, and its overhead.
fn taken_by(spec: &Value, field: &str) -> Usage {
    let each = |list: &str| -> Vec<Usage> {
        let containers = spec[list].as_array().into_iter().flatten();
        containers.map(|container| amounts(&container["resources"][field])).collect()
    };
    let mut taken = Usage::new();
    for (name, value) in each("containers").into_iter().flatten() {
        add(&mut taken, name, value);
    }
    for (name, value) in each("initContainers").into_iter().flatten() {
        let larger = taken.get(&name).is_none_or(|so_far| value > *so_far);
        if larger {
            taken.insert(name, value);
        }
    }
    for (name, value) in amounts(&spec["overhead"]) {
        add(&mut taken, name, value);
    }
    taken
}

fn amounts(list: &Value) -> Usage {
    list.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
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
