//! Versions that upstream serves no more, and that manifests in the wild still carry: turned into today's on the way in, and
//! back on the way out. What today's version has and an older one lacks is left out there.

use serde_json::{Map, Value, json};

/// An older version of a resource.
#[derive(Debug, PartialEq, Eq)]
pub struct Older {
    /// Group, version, plural.
    served: (&'static str, &'static str, &'static str),
    /// Group and version of today.
    pub today: (&'static str, &'static str),
    /// The kind, and since which minor versions it was deprecated and gone.
    kind: &'static str,
    deprecated_since: u16,
    gone_since: u16,
    shape: Shape,
}

/// How the older version differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Same,
    Slices,
    Ingresses,
    Autoscalers,
}

const fn older(
    served: (&'static str, &'static str, &'static str),
    today: (&'static str, &'static str),
    kind: &'static str,
    (deprecated_since, gone_since): (u16, u16),
    shape: Shape,
) -> Older {
    Older { served, today, kind, deprecated_since, gone_since, shape }
}

const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const AUTOSCALERS: &str = "horizontalpodautoscalers";
const AUTOSCALER: &str = "HorizontalPodAutoscaler";

static ALL: [Older; 8] = [
    older(
        ("policy", "v1beta1", "poddisruptionbudgets"),
        ("policy", "v1"),
        "PodDisruptionBudget",
        (21, 25),
        Shape::Same,
    ),
    older(("batch", "v1beta1", "cronjobs"), ("batch", "v1"), "CronJob", (21, 25), Shape::Same),
    older(("autoscaling", "v2beta2", AUTOSCALERS), ("autoscaling", "v2"), AUTOSCALER, (23, 26), Shape::Same),
    older(("autoscaling", "v2beta1", AUTOSCALERS), ("autoscaling", "v2"), AUTOSCALER, (22, 25), Shape::Autoscalers),
    older(("networking.k8s.io", "v1beta1", "ingresses"), NETWORKING, "Ingress", (19, 22), Shape::Ingresses),
    older(("networking.k8s.io", "v1beta1", "ingressclasses"), NETWORKING, "IngressClass", (19, 22), Shape::Same),
    older(("extensions", "v1beta1", "ingresses"), NETWORKING, "Ingress", (14, 22), Shape::Ingresses),
    older(
        ("discovery.k8s.io", "v1beta1", "endpointslices"),
        ("discovery.k8s.io", "v1"),
        "EndpointSlice",
        (21, 25),
        Shape::Slices,
    ),
];

/// The older version at a path, where it is one.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Older> {
    ALL.iter().find(|older| older.served == (group, version, plural))
}

impl Older {
    /// What clients are told, in upstream's words.
    pub fn warning(&self) -> String {
        let ((group, version, _), (to_group, to_version)) = (self.served, self.today);
        let Self { kind, deprecated_since, gone_since, .. } = self;
        format!(
            "{group}/{version} {kind} is deprecated in v1.{deprecated_since}+, unavailable in v1.{gone_since}+; use {to_group}/{to_version} {kind}"
        )
    }

    /// An older object as today's.
    pub fn to_today(&self, mut object: Value) -> Value {
        let (group, version) = self.today;
        object["apiVersion"] = json!(format!("{group}/{version}"));
        match self.shape {
            Shape::Same => {}
            Shape::Slices => each(&mut object, &["endpoints"], endpoint_to_today),
            Shape::Ingresses => {
                rename(&mut object["spec"], "backend", "defaultBackend");
                if let Some(backend) = object["spec"].get_mut("defaultBackend") {
                    backend_to_today(backend);
                }
                each_path(&mut object, |path| {
                    backend_to_today(&mut path["backend"]);
                    if path.get("pathType").is_none() {
                        path["pathType"] = json!("ImplementationSpecific");
                    }
                });
            }
            Shape::Autoscalers => {
                each(&mut object, &["spec", "metrics"], |metric| metric_to_today(metric, &SOURCE));
                each(&mut object, &["status", "currentMetrics"], |metric| metric_to_today(metric, &STATUS));
            }
        }
        object
    }

    /// Keeps what an older client could not see of `live` in `object`, both today's.
    pub fn keep_unseen(&self, object: &mut Value, live: &Value) {
        if self.shape == Shape::Autoscalers {
            put(&mut object["spec"], "behavior", live["spec"].get("behavior").cloned());
        }
    }

    /// Today's object as the older version shows it.
    pub fn to_older(&self, mut object: Value) -> Value {
        let (group, version, _) = self.served;
        object["apiVersion"] = json!(format!("{group}/{version}"));
        match self.shape {
            Shape::Same => {}
            Shape::Slices => each(&mut object, &["endpoints"], endpoint_to_older),
            Shape::Ingresses => {
                rename(&mut object["spec"], "defaultBackend", "backend");
                if let Some(backend) = object["spec"].get_mut("backend") {
                    backend_to_older(backend);
                }
                each_path(&mut object, |path| backend_to_older(&mut path["backend"]));
            }
            Shape::Autoscalers => {
                remove(&mut object["spec"], "behavior");
                each(&mut object, &["spec", "metrics"], |metric| metric_to_older(metric, &SOURCE));
                each(&mut object, &["status", "currentMetrics"], |metric| metric_to_older(metric, &STATUS));
            }
        }
        object
    }
}

fn each(object: &mut Value, path: &[&str], change: impl Fn(&mut Value)) {
    let list = path.iter().try_fold(object, |value, step| value.get_mut(*step));
    list.and_then(Value::as_array_mut).into_iter().flatten().for_each(change);
}

fn each_path(ingress: &mut Value, change: impl Fn(&mut Value)) {
    each(ingress, &["spec", "rules"], |rule| each(rule, &["http", "paths"], &change));
}

fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field)
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(value) = remove(object, from) {
        object[to] = value;
    }
}

fn put(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[field] = value;
    }
}

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

fn endpoint_to_today(endpoint: &mut Value) {
    let Some(Value::Object(mut topology)) = remove(endpoint, "topology") else { return };
    put(endpoint, "zone", topology.remove(ZONE));
    if let Some(node) = topology.remove(HOSTNAME).filter(|_| endpoint.get("nodeName").is_none()) {
        endpoint["nodeName"] = node;
    }
    put(endpoint, "deprecatedTopology", (!topology.is_empty()).then_some(Value::Object(topology)));
}

fn endpoint_to_older(endpoint: &mut Value) {
    let mut topology = match remove(endpoint, "deprecatedTopology") {
        Some(Value::Object(topology)) => topology,
        _ => Map::new(),
    };
    topology.extend(remove(endpoint, "zone").map(|zone| (ZONE.to_owned(), zone)));
    topology.extend(endpoint.get("nodeName").cloned().map(|node| (HOSTNAME.to_owned(), node)));
    put(endpoint, "topology", (!topology.is_empty()).then_some(Value::Object(topology)));
}

fn backend_to_today(backend: &mut Value) {
    let (name, port) = (remove(backend, "serviceName"), remove(backend, "servicePort"));
    if name.is_none() && port.is_none() {
        return;
    }
    let mut service = json!({});
    put(&mut service, "name", name);
    match port {
        Some(Value::String(name)) if !name.is_empty() => service["port"] = json!({"name": name}),
        Some(Value::Number(number)) => service["port"] = json!({"number": number}),
        _ => {}
    }
    backend["service"] = service;
}

fn backend_to_older(backend: &mut Value) {
    let Some(mut service) = remove(backend, "service") else { return };
    put(backend, "serviceName", remove(&mut service, "name"));
    let port = &service["port"];
    put(backend, "servicePort", port.get("name").or_else(|| port.get("number")).cloned());
}

/// What a metric's target, or its present value, is called in each version.
struct Names {
    /// The member that holds them today.
    today: &'static str,
    utilization: &'static str,
    average_value: &'static str,
    value: &'static str,
}

const SOURCE: Names = Names {
    today: "target",
    utilization: "targetAverageUtilization",
    average_value: "targetAverageValue",
    value: "targetValue",
};

const STATUS: Names = Names {
    today: "current",
    utilization: "currentAverageUtilization",
    average_value: "currentAverageValue",
    value: "currentValue",
};

/// The kinds of metrics, with the older name of what they describe or select by.
const METRICS: [(&str, &str); 5] = [
    ("resource", ""),
    ("containerResource", ""),
    ("pods", "selector"),
    ("object", "selector"),
    ("external", "metricSelector"),
];

fn metric_to_today(metric: &mut Value, names: &Names) {
    for (kind, selector) in METRICS {
        let Some(source) = metric.get_mut(kind).filter(|source| source.is_object()) else { continue };
        if kind == "object" {
            rename(source, "target", "describedObject");
        }
        if !selector.is_empty() {
            let mut identifier = json!({});
            put(&mut identifier, "name", remove(source, "metricName"));
            put(&mut identifier, "selector", remove(source, selector));
            source["metric"] = identifier;
        }
        let average = if kind == "object" { "averageValue" } else { names.average_value };
        let (utilization, average, value) =
            (remove(source, names.utilization), remove(source, average), remove(source, names.value));
        let mut target = json!({});
        if names.today == "target" {
            let kind = match (&utilization, &average) {
                (Some(_), _) => "Utilization",
                (None, Some(_)) => "AverageValue",
                (None, None) => "Value",
            };
            target["type"] = json!(kind);
        }
        // With an average, the value of old is a mere zero.
        let value = value.filter(|_| average.is_none() || kind != "object");
        put(&mut target, "averageUtilization", utilization);
        put(&mut target, "averageValue", average);
        put(&mut target, "value", value);
        source[names.today] = target;
    }
}

fn metric_to_older(metric: &mut Value, names: &Names) {
    for (kind, selector) in METRICS {
        let Some(source) = metric.get_mut(kind).filter(|source| source.is_object()) else { continue };
        let mut target = remove(source, names.today).unwrap_or_default();
        if kind == "object" {
            rename(source, "describedObject", "target");
        }
        if let Some(mut identifier) = remove(source, "metric") {
            put(source, "metricName", remove(&mut identifier, "name"));
            put(source, selector, remove(&mut identifier, "selector"));
        }
        let average = if kind == "object" { "averageValue" } else { names.average_value };
        put(source, names.utilization, remove(&mut target, "averageUtilization"));
        put(source, average, remove(&mut target, "averageValue"));
        let value = remove(&mut target, "value").or_else(|| (kind == "object").then(|| json!("0")));
        put(source, names.value, value);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Today's form of an older object, which turns back into it.
    fn check((group, version, plural): (&str, &str, &str), object: Value, expected: Expect) {
        let older = find(group, version, plural).unwrap();
        let today = older.to_today(object.clone());
        expected.assert_eq(&today.to_string());
        let mut back = older.to_older(today);
        // What defaults added is not in the older object.
        each_path(&mut back, |path| {
            remove(path, "pathType");
        });
        assert_eq!(back, object);
    }

    #[test]
    fn ingresses() {
        check(
            ("extensions", "v1beta1", "ingresses"),
            json!({"apiVersion": "extensions/v1beta1", "spec": {
                "backend": {"serviceName": "d", "servicePort": "http"},
                "rules": [{"http": {"paths": [{"path": "/", "backend": {"serviceName": "a", "servicePort": 80}}]}}],
            }}),
            expect![[
                r#"{"apiVersion":"networking.k8s.io/v1","spec":{"defaultBackend":{"service":{"name":"d","port":{"name":"http"}}},"rules":[{"http":{"paths":[{"backend":{"service":{"name":"a","port":{"number":80}}},"path":"/","pathType":"ImplementationSpecific"}]}}]}}"#
            ]],
        );
    }

    #[test]
    fn autoscalers() {
        check(
            ("autoscaling", "v2beta1", "horizontalpodautoscalers"),
            json!({"apiVersion": "autoscaling/v2beta1", "spec": {"metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 50}},
                {"type": "Pods", "pods": {"metricName": "rps", "targetAverageValue": "10", "selector": {"matchLabels": {"a": "b"}}}},
                {"type": "Object", "object": {"target": {"kind": "Ingress", "name": "i"}, "metricName": "m", "targetValue": "2k"}},
                {"type": "External", "external": {"metricName": "q", "metricSelector": {}, "targetAverageValue": "30"}},
            ]}}),
            expect![[
                r#"{"apiVersion":"autoscaling/v2","spec":{"metrics":[{"resource":{"name":"cpu","target":{"averageUtilization":50,"type":"Utilization"}},"type":"Resource"},{"pods":{"metric":{"name":"rps","selector":{"matchLabels":{"a":"b"}}},"target":{"averageValue":"10","type":"AverageValue"}},"type":"Pods"},{"object":{"describedObject":{"kind":"Ingress","name":"i"},"metric":{"name":"m"},"target":{"type":"Value","value":"2k"}},"type":"Object"},{"external":{"metric":{"name":"q","selector":{}},"target":{"averageValue":"30","type":"AverageValue"}},"type":"External"}]}}"#
            ]],
        );
    }

    #[test]
    fn slices() {
        check(
            ("discovery.k8s.io", "v1beta1", "endpointslices"),
            json!({"apiVersion": "discovery.k8s.io/v1beta1", "endpoints": [
                {"addresses": ["10.0.0.1"], "nodeName": "n", "topology": {"kubernetes.io/hostname": "n", "topology.kubernetes.io/zone": "z"}},
            ]}),
            expect![[
                r#"{"apiVersion":"discovery.k8s.io/v1","endpoints":[{"addresses":["10.0.0.1"],"nodeName":"n","zone":"z"}]}"#
            ]],
        );
    }

    #[test]
    fn clients_are_told() {
        let budget = find("policy", "v1beta1", "poddisruptionbudgets").unwrap();
        expect!["policy/v1beta1 PodDisruptionBudget is deprecated in v1.21+, unavailable in v1.25+; use policy/v1 PodDisruptionBudget"]
            .assert_eq(&budget.warning());
    }
}
