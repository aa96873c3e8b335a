//! Limits and quotas of namespaces, and events.

use std::collections::BTreeSet;

use serde_json::Value;

use super::field::Findings;
use super::{is_empty, list, pod, text};
use crate::kinds::Kind;
use crate::quantity::Quantity;

const LIMITED: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];
const AMOUNTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const OF_QUOTAS: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

pub(super) fn check(kind: &Kind, object: &Value, findings: &mut Findings) {
    if kind.kind == "ResourceQuota" {
        return quota(&object["spec"], findings);
    }
    for (index, limit) in list(&object["spec"]["limits"]).iter().enumerate() {
        self::limit(limit, &format!("spec.limits[{index}]"), findings);
    }
}

/// What an event is about lies in the event's own namespace.
pub(super) fn event(object: &Value, findings: &mut Findings) {
    let (about, own) = (text(&object["involvedObject"]["namespace"]), text(&object["metadata"]["namespace"]));
    if !about.is_empty() && !own.is_empty() && about != own {
        findings.invalid("involvedObject.namespace", about, "does not match event.namespace");
    }
}

fn limit(limit: &Value, path: &str, findings: &mut Findings) {
    let kind = text(&limit["type"]);
    if !LIMITED.contains(&kind) && !kind.contains('/') && !kind.is_empty() {
        findings.invalid(&format!("{path}.type"), kind, "must be a standard limit type or fully qualified");
    }
    let mut resources: BTreeSet<&str> = BTreeSet::new();
    for field in AMOUNTS {
        for (name, amount) in limit[field].as_object().into_iter().flatten() {
            let path = format!("{path}.{field}[{name}]");
            resources.insert(name);
            pod::quantity_value(name, amount, &path, findings);
            if kind == "Container" {
                standard(name, &path, is_of_containers(name), "must be a standard resource for containers", findings);
            }
        }
    }
    for field in ["default", "defaultRequest"] {
        if kind == "Pod" && !is_empty(&limit[field]) {
            findings.forbidden(&format!("{path}.{field}"), "may not be specified when `type` is 'Pod'");
        }
    }
    if kind == "PersistentVolumeClaim" && limit["min"]["storage"].is_null() && limit["max"]["storage"].is_null() {
        let words = "either minimum or maximum storage value is required, but neither was provided";
        findings.required(&format!("{path}.limits"), words);
    }
    resources.into_iter().for_each(|resource| compare(limit, resource, path, findings));
}

fn is_of_containers(name: &str) -> bool {
    OF_CONTAINERS.contains(&name) || name.starts_with("hugepages-") || name.contains('/')
}

fn standard(name: &str, path: &str, is_known: bool, words: &str, findings: &mut Findings) {
    if !is_known {
        findings.invalid(path, name, "must be a standard resource type or fully qualified");
        findings.invalid(path, name, words);
    }
}

/// A limit's amounts of one resource, held against each other.
fn compare(limit: &Value, resource: &str, path: &str, findings: &mut Findings) {
    let amount = |field: &str| {
        let shown = text(&limit[field][resource]);
        Quantity::parse(shown).ok().map(|quantity| (quantity, shown))
    };
    let [max, min, default, request, ratio] = AMOUNTS.map(amount);
    let mut above = |(more, what): (&Option<(Quantity, &str)>, &str),
                     (less, than): (&Option<(Quantity, &str)>, &str),
                     at: &str,
                     shown: &str| {
        if let (Some((more, more_text)), Some((less, less_text))) = (more, less)
            && more > less
        {
            let words = format!("{what} value {more_text} is greater than {than} value {less_text}");
            findings.invalid(&format!("{path}.{at}[{resource}]"), shown, words);
        }
    };
    let shown = |of: &Option<(Quantity, &'_ str)>| of.as_ref().map_or("", |(_, text)| text).to_owned();
    above((&min, "min"), (&max, "max"), "min", &shown(&min));
    above((&min, "min"), (&request, "default request"), "defaultRequest", &shown(&request));
    above((&request, "default request"), (&max, "max"), "defaultRequest", &shown(&request));
    above((&request, "default request"), (&default, "default limit"), "defaultRequest", &shown(&request));
    above((&min, "min"), (&default, "default"), "default", &shown(&min));
    above((&default, "default"), (&max, "max"), "default", &shown(&max));
    if let Some((_, shown)) = ratio.filter(|(ratio, _)| *ratio < Quantity::from_units(1)) {
        findings.invalid(
            &format!("{path}.maxLimitRequestRatio[{resource}]"),
            shown,
            format!("ratio {shown} is less than 1"),
        );
    }
}

fn quota(spec: &Value, findings: &mut Findings) {
    for (name, amount) in spec["hard"].as_object().into_iter().flatten() {
        let path = format!("spec.hard[{name}]");
        let is_known = OF_QUOTAS.contains(&name.as_str()) || name.contains('/') || name.contains("hugepages-");
        standard(name, &path, is_known, "must be a standard resource for quota", findings);
        pod::quantity_value(name, amount, &path, findings);
        let is_counted = OF_QUOTAS[10..].contains(&name.as_str());
        if is_counted && Quantity::parse(text(amount)).is_ok_and(|amount| !amount.is_whole()) {
            findings.invalid(&path, amount.clone(), "must be an integer");
        }
    }
    let scopes: Vec<&str> = list(&spec["scopes"]).iter().map(text).collect();
    let mut refuse = |words: &str| findings.invalid("spec.scopes", spec["scopes"].clone(), words);
    if scopes.iter().any(|scope| !SCOPES.contains(scope)) {
        refuse("unsupported scope");
    }
    let others = spec["hard"].as_object().is_some_and(|hard| hard.keys().any(|name| name != "pods"));
    if scopes.contains(&"BestEffort") && others {
        refuse("unsupported scope applied to resource");
    }
    if OPPOSITES.iter().any(|pair| pair.iter().all(|scope| scopes.contains(scope))) {
        refuse("conflicting scopes");
    }
    let path = "spec.scopeSelector.matchExpressions";
    for expression in list(&spec["scopeSelector"]["matchExpressions"]) {
        match (text(&expression["operator"]), is_empty(&expression["values"])) {
            ("In" | "NotIn", true) => findings.required(
                &format!("{path}.values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (other, _) => findings.invalid(&format!("{path}.operator"), other, "not a valid selector operator"),
        }
    }
}
