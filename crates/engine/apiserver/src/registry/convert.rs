//! Versions of one resource: the same stored object under several names and shapes.
//!
//! An object lies in the store in one version. Reading it in that version is reading its bytes; any other version goes
//! through one function in and one out, or through a webhook.

pub mod older;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use older::Older;

use crate::{crd::conversion::ConversionHook, status::Failure};

/// Between a served version and the stored one.
#[derive(Debug, Clone)]
pub enum Conversion {
    /// They are the same.
    Same,
    /// Only `apiVersion` differs: custom resources without a webhook.
    Rename {
        /// What stored objects carry.
        stored: String,
    },
    /// A webhook knows how.
    Webhook {
        /// What stored objects carry.
        stored: String,
        /// The webhook.
        hook: Arc<ConversionHook>,
    },
    /// events.k8s.io/v1, stored as core events.
    Events,
    /// autoscaling/v1, stored as autoscaling/v2.
    AutoscalingV1,
    /// A version that is served out of kindness.
    Older(&'static Older),
}

/// The group whose keys hold a resource: events of both groups are the same objects.
pub fn storage_group<'a>(group: &'a str, plural: &str) -> &'a str {
    match (group, plural) {
        ("events.k8s.io", "events") => "",
        ("extensions", "ingresses") => "networking.k8s.io",
        _ => group,
    }
}

/// The conversion of a built-in version.
pub fn of(group: &str, version: &str, plural: &str) -> Conversion {
    match (group, version, plural) {
        ("events.k8s.io", "v1", "events") => Conversion::Events,
        ("autoscaling", "v1", "horizontalpodautoscalers") => Conversion::AutoscalingV1,
        ("admissionregistration.k8s.io", "v1alpha1", _) => {
            Conversion::Rename { stored: "admissionregistration.k8s.io/v1beta1".to_owned() }
        }
        _ => older::find(group, version, plural).map_or(Conversion::Same, Conversion::Older),
    }
}

impl Conversion {
    /// Whether somebody else has to be asked.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Webhook { .. })
    }

    /// A served object as it is stored.
    pub async fn to_stored(&self, object: Value) -> Result<Value, Failure> {
        match self {
            Self::Webhook { stored, hook } => one(hook.convert(vec![object], stored).await),
            _ => Ok(self.to_stored_here(object)),
        }
    }

    /// A stored object as it is served under `api_version`.
    pub async fn to_served(&self, object: Value, api_version: &str) -> Result<Value, Failure> {
        one(self.all_to_served(vec![object], api_version).await)
    }

    /// Stored objects as they are served under `api_version`.
    pub async fn all_to_served(&self, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Webhook { hook, .. } => hook.convert(objects, api_version).await,
            _ => Ok(objects.into_iter().map(|object| self.to_served_here(object, api_version)).collect()),
        }
    }

    fn to_stored_here(&self, mut object: Value) -> Value {
        match self {
            Self::Same | Self::Webhook { .. } => object,
            Self::Rename { stored } => {
                object["apiVersion"] = json!(stored);
                object
            }
            Self::Events => {
                rename(&mut object, EVENT_FIELDS, false);
                object["apiVersion"] = json!("v1");
                object
            }
            Self::AutoscalingV1 => autoscaling_to_v2(object),
            Self::Older(older) => older.to_today(object),
        }
    }

    fn to_served_here(&self, mut object: Value, api_version: &str) -> Value {
        match self {
            Self::Same | Self::Webhook { .. } => object,
            Self::Rename { .. } => {
                object["apiVersion"] = json!(api_version);
                object
            }
            Self::Events => {
                rename(&mut object, EVENT_FIELDS, true);
                object["apiVersion"] = json!(api_version);
                object
            }
            Self::AutoscalingV1 => autoscaling_to_v1(object),
            Self::Older(older) => older.to_older(object),
        }
    }
}

fn one(converted: Result<Vec<Value>, Failure>) -> Result<Value, Failure> {
    converted?.pop().ok_or_else(|| Failure::internal("a conversion left no object"))
}

/// (core, events.k8s.io) names of an event's fields.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, fields: &[(&str, &str)], forward: bool) {
    let Some(map) = object.as_object_mut() else { return };
    for (stored, served) in fields {
        let (from, to) = if forward { (stored, served) } else { (served, stored) };
        if let Some(value) = map.remove(*from) {
            map.insert((*to).to_owned(), value);
        }
    }
}

/// v2 metrics that v1 cannot show travel in this annotation, as upstream does it.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

fn cpu_metric(field: &str, percent: Value) -> Value {
    let inner = if field == "target" {
        json!({"type": "Utilization", "averageUtilization": percent})
    } else {
        json!({"averageUtilization": percent, "averageValue": "0"})
    };
    json!({"type": "Resource", "resource": {"name": "cpu", field: inner}})
}

fn autoscaling_to_v2(mut object: Value) -> Value {
    object["apiVersion"] = json!("autoscaling/v2");
    let mut metrics: Vec<Value> = take_annotation(&mut object, METRICS).unwrap_or_default();
    let behavior = take_annotation::<Value>(&mut object, BEHAVIOR);
    let current: Vec<Value> = take_annotation(&mut object, CURRENT).unwrap_or_default();
    let conditions = take_annotation::<Value>(&mut object, CONDITIONS);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
            metrics.insert(0, cpu_metric("target", percent));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".into(), metrics.into());
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".into(), behavior);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let mut all = current;
        if let Some(percent) = status.remove("currentCPUUtilizationPercentage") {
            all.insert(0, cpu_metric("current", percent));
        }
        if !all.is_empty() {
            status.insert("currentMetrics".into(), all.into());
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".into(), conditions);
        }
    }
    object
}

fn autoscaling_to_v1(mut object: Value) -> Value {
    object["apiVersion"] = json!("autoscaling/v1");
    let mut notes = Map::new();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = spec.remove("metrics");
        let (percent, rest) = split_cpu(metrics, "target");
        if let Some(percent) = percent {
            spec.insert("targetCPUUtilizationPercentage".into(), percent);
        }
        note(&mut notes, METRICS, rest);
        note(&mut notes, BEHAVIOR, spec.remove("behavior"));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let (percent, rest) = split_cpu(status.remove("currentMetrics"), "current");
        if let Some(percent) = percent {
            status.insert("currentCPUUtilizationPercentage".into(), percent);
        }
        note(&mut notes, CURRENT, rest);
        note(&mut notes, CONDITIONS, status.remove("conditions"));
    }
    if !notes.is_empty() {
        let metadata = crate::object::metadata_mut(&mut object);
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.extend(notes);
        }
    }
    object
}

fn note(notes: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        notes.insert(key.to_owned(), json!(value.to_string()));
    }
}

/// The first cpu utilization metric's percentage, and the other metrics.
fn split_cpu(metrics: Option<Value>, field: &str) -> (Option<Value>, Option<Value>) {
    let Some(Value::Array(mut metrics)) = metrics else { return (None, None) };
    let percent = |metric: &Value| match metric["resource"]["name"] == "cpu" {
        true => metric["resource"][field].get("averageUtilization").cloned(),
        false => None,
    };
    let found = metrics.iter().position(|metric| percent(metric).is_some());
    let cpu = found.map(|at| metrics.remove(at)).and_then(|metric| percent(&metric));
    (cpu, (!metrics.is_empty()).then_some(Value::Array(metrics)))
}

fn take_annotation<T: serde::de::DeserializeOwned>(object: &mut Value, key: &str) -> Option<T> {
    let annotations = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
    let found = serde_json::from_str(annotations.get(key)?.as_str()?).ok()?;
    annotations.remove(key);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn autoscalers_survive_the_old_version() {
        let v2 = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "x"}, "spec": {
            "maxReplicas": 3,
            "behavior": {"scaleUp": {"stabilizationWindowSeconds": 1}},
            "metrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
            ],
        }});
        let v1 = Conversion::AutoscalingV1.to_served_here(v2.clone(), "autoscaling/v1");
        assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 50);
        let back = Conversion::AutoscalingV1.to_stored_here(v1);
        assert_eq!(back["spec"]["metrics"].as_array().unwrap().len(), 2);
        assert_eq!(back["spec"]["behavior"], v2["spec"]["behavior"]);
    }

    #[test]
    fn events_are_the_same_objects_in_both_groups() {
        let core =
            json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "p"}, "message": "m", "count": 2});
        let new = Conversion::Events.to_served_here(core.clone(), "events.k8s.io/v1");
        assert_eq!(
            (&new["regarding"]["name"], &new["note"], &new["deprecatedCount"]),
            (&json!("p"), &json!("m"), &json!(2))
        );
        assert_eq!(Conversion::Events.to_stored_here(new), core);
    }
}
