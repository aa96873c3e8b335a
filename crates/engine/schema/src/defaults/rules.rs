//! Defaults that hang on other fields, one function a type.

use serde_json::{Map, Value, json};

type Members = Map<String, Value>;

/// Rules that must see what was really written.
pub(super) fn before(definition: &str, members: &mut Members) {
    match definition {
        "core.v1.Container" | "core.v1.EphemeralContainer" => pull_policy(members, "image", "imagePullPolicy"),
        "core.v1.ImageVolumeSource" => pull_policy(members, "reference", "pullPolicy"),
        "core.v1.Volume" if members.keys().all(|key| key == "name") => {
            members.insert("emptyDir".to_owned(), json!({}));
        }
        "core.v1.Pod" => pod(members),
        "core.v1.Namespace" => namespace(members),
        "core.v1.NodeStatus" => copy_if_missing(members, "capacity", "allocatable"),
        "core.v1.LimitRangeItem" => limit_range_item(members),
        "core.v1.ReplicationController" => replication_controller(members),
        "core.v1.PersistentVolume" | "core.v1.PersistentVolumeClaim" => status_phase(members),
        "core.v1.Secret" => secret(members),
        "apps.v1.StatefulSetSpec" => stateful_set(members),
        "batch.v1.Job" => job(members),
        "autoscaling.v2.HorizontalPodAutoscalerSpec" => autoscaler(members),
        "networking.v1.NetworkPolicySpec" => network_policy(members),
        "rbac.v1.Subject" => subject(members),
        "resource.v1.ExactDeviceRequest" | "resource.v1.DeviceSubRequest" => device_request(members),
        "apiextensions.v1.CustomResourceDefinition" => custom_resource_definition(members),
        "apiextensions.v1.CustomResourceDefinitionNames" => custom_resource_names(members),
        _ => {}
    }
}

/// Rules that build on the constants.
pub(super) fn after(definition: &str, members: &mut Members) {
    match definition {
        "core.v1.ServiceSpec" => service(members),
        "core.v1.ServicePort" => target_port(members),
        "core.v1.ServiceStatus" => load_balancer_mode(members),
        "apps.v1.DeploymentSpec" => deployment(members),
        "apps.v1.DaemonSetSpec" => daemon_set(members),
        _ => {}
    }
}

fn text<'a>(members: &'a Members, key: &str) -> &'a str {
    members.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is_missing(members: &Members, key: &str) -> bool {
    match members.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

fn set_if_missing(members: &mut Members, key: &str, value: Value) {
    if is_missing(members, key) {
        members.insert(key.to_owned(), value);
    }
}

fn copy_if_missing(members: &mut Members, from: &str, to: &str) {
    let Some(value) = members.get(from).filter(|value| !value.is_null()).cloned() else { return };
    if members.get(to).and_then(Value::as_object).is_none_or(Members::is_empty) {
        members.insert(to.to_owned(), value);
    }
}

/// The object at a key, made when missing.
fn object<'a>(members: &'a mut Members, key: &str) -> Option<&'a mut Members> {
    let value = members.entry(key).or_insert_with(|| json!({}));
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

fn existing<'a>(members: &'a mut Members, key: &str) -> Option<&'a mut Members> {
    members.get_mut(key).and_then(Value::as_object_mut)
}

/// Only the tag `latest`, said or unsaid, is pulled each time.
fn pull_policy(members: &mut Members, image: &str, policy: &str) {
    let image = text(members, image);
    let name = image.rsplit('/').next().unwrap_or(image);
    let (name, has_digest) = match name.split_once('@') {
        Some((name, _)) => (name, true),
        None => (name, false),
    };
    let latest = match name.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !has_digest,
    };
    set_if_missing(members, policy, json!(if latest { "Always" } else { "IfNotPresent" }));
}

fn pod(members: &mut Members) {
    let Some(spec) = existing(members, "spec") else { return };
    set_if_missing(spec, "enableServiceLinks", json!(true));
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
    if let Some(resources) = existing(spec, "resources") {
        pod_requests(resources);
    }
}

fn requests_from_limits(container: &mut Members) {
    let Some(resources) = existing(container, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let Some(requests) = object(resources, "requests") else { return };
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// Of a whole pod only these can be asked for; hugepages, too, but those may not be overcommitted.
fn pod_requests(resources: &mut Members) {
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let Some(requests) = object(resources, "requests") else { return };
    for (name, limit) in limits {
        if name == "cpu" || name == "memory" || name.starts_with("hugepages-") {
            requests.entry(name).or_insert(limit);
        }
    }
}

fn host_ports(container: &mut Members) {
    let ports = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if port.get("hostPort").is_none_or(|port| port.is_null() || *port == json!(0))
            && let Some(number) = port.get("containerPort").cloned()
        {
            port.insert("hostPort".to_owned(), number);
        }
    }
}

fn namespace(members: &mut Members) {
    let Some(metadata) = object(members, "metadata") else { return };
    let name = text(metadata, "name").to_owned();
    if !name.is_empty()
        && let Some(labels) = object(metadata, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    }
    if let Some(status) = object(members, "status") {
        set_if_missing(status, "phase", json!("Active"));
    }
}

fn status_phase(members: &mut Members) {
    if let Some(status) = object(members, "status") {
        set_if_missing(status, "phase", json!("Pending"));
    }
}

fn limit_range_item(members: &mut Members) {
    if text(members, "type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let Some(Value::Object(source)) = members.get(from).cloned() else { continue };
        let Some(target) = object(members, to) else { continue };
        for (name, quantity) in source {
            target.entry(name).or_insert(quantity);
        }
    }
}

fn template_labels(spec: &Members) -> Option<Value> {
    let labels = spec.get("template")?.get("metadata")?.get("labels")?;
    labels.as_object().filter(|labels| !labels.is_empty())?;
    Some(labels.clone())
}

fn set_labels_if_missing(members: &mut Members, labels: Value) {
    let Some(metadata) = object(members, "metadata") else { return };
    if metadata.get("labels").and_then(Value::as_object).is_none_or(Members::is_empty) {
        metadata.insert("labels".to_owned(), labels);
    }
}

fn replication_controller(members: &mut Members) {
    let Some(spec) = existing(members, "spec") else { return };
    let Some(labels) = template_labels(spec) else { return };
    if spec.get("selector").and_then(Value::as_object).is_none_or(Members::is_empty) {
        spec.insert("selector".to_owned(), labels.clone());
    }
    set_labels_if_missing(members, labels);
}

/// `stringData` is only a way to write: what is kept, and read, is `data`.
fn secret(members: &mut Members) {
    use base64::Engine as _;
    let Some(Value::Object(texts)) = members.remove("stringData") else { return };
    let Some(data) = object(members, "data") else { return };
    for (key, value) in texts {
        let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
        data.insert(key, encoded.into());
    }
}

fn deployment(spec: &mut Members) {
    let Some(strategy) = object(spec, "strategy") else { return };
    set_if_missing(strategy, "type", json!("RollingUpdate"));
    if text(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = object(strategy, "rollingUpdate")
    {
        set_if_missing(rolling, "maxUnavailable", json!("25%"));
        set_if_missing(rolling, "maxSurge", json!("25%"));
    }
}

fn daemon_set(spec: &mut Members) {
    let Some(strategy) = object(spec, "updateStrategy") else { return };
    set_if_missing(strategy, "type", json!("RollingUpdate"));
    if text(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = object(strategy, "rollingUpdate")
    {
        set_if_missing(rolling, "maxUnavailable", json!(1));
        set_if_missing(rolling, "maxSurge", json!(0));
    }
}

fn stateful_set(spec: &mut Members) {
    let claims = spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut);
    for claim in claims.into_iter().flatten().filter_map(Value::as_object_mut) {
        set_if_missing(claim, "apiVersion", json!("v1"));
        set_if_missing(claim, "kind", json!("PersistentVolumeClaim"));
    }
    object(spec, "persistentVolumeClaimRetentionPolicy");
    let Some(strategy) = object(spec, "updateStrategy") else { return };
    if is_missing(strategy, "type") {
        strategy.insert("type".to_owned(), json!("RollingUpdate"));
        object(strategy, "rollingUpdate");
    }
    if text(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = existing(strategy, "rollingUpdate")
    {
        set_if_missing(rolling, "partition", json!(0));
    }
}

fn job(members: &mut Members) {
    let Some(spec) = existing(members, "spec") else { return };
    if is_missing(spec, "completions") && is_missing(spec, "parallelism") {
        spec.insert("completions".to_owned(), json!(1));
    }
    set_if_missing(spec, "parallelism", json!(1));
    set_if_missing(spec, "completionMode", json!("NonIndexed"));
    set_if_missing(spec, "suspend", json!(false));
    set_if_missing(spec, "manualSelector", json!(false));
    let by_index = !is_missing(spec, "backoffLimitPerIndex");
    set_if_missing(spec, "backoffLimit", json!(if by_index { i32::MAX } else { 6 }));
    let on_failure = !is_missing(spec, "podFailurePolicy");
    set_if_missing(spec, "podReplacementPolicy", json!(if on_failure { "Failed" } else { "TerminatingOrFailed" }));
    if let Some(labels) = template_labels(spec) {
        set_labels_if_missing(members, labels);
    }
}

fn autoscaler(spec: &mut Members) {
    let cpu = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    set_if_missing(spec, "metrics", cpu);
    let Some(behavior) = existing(spec, "behavior") else { return };
    if let Some(up) = object(behavior, "scaleUp") {
        set_if_missing(up, "stabilizationWindowSeconds", json!(0));
        set_if_missing(up, "selectPolicy", json!("Max"));
        let policies = json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
        set_if_missing(up, "policies", policies);
    }
    if let Some(down) = object(behavior, "scaleDown") {
        set_if_missing(down, "selectPolicy", json!("Max"));
        set_if_missing(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

fn network_policy(spec: &mut Members) {
    let types = if is_missing(spec, "egress") { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
    set_if_missing(spec, "policyTypes", types);
}

fn subject(members: &mut Members) {
    if matches!(text(members, "kind"), "User" | "Group") {
        set_if_missing(members, "apiGroup", json!("rbac.authorization.k8s.io"));
    }
}

fn device_request(members: &mut Members) {
    if matches!(text(members, "allocationMode"), "" | "ExactCount")
        && members.get("count").is_none_or(|count| count.is_null() || *count == json!(0))
    {
        members.insert("count".to_owned(), json!(1));
    }
}

fn custom_resource_definition(members: &mut Members) {
    let Some(spec) = existing(members, "spec") else { return };
    let versions = spec.get("versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let storage = versions.iter().find(|version| version["storage"] == Value::Bool(true));
    let Some(storage) = storage.map(|version| version["name"].clone()) else { return };
    if let Some(status) = object(members, "status") {
        set_if_missing(status, "storedVersions", json!([storage]));
    }
}

fn custom_resource_names(names: &mut Members) {
    let kind = text(names, "kind").to_owned();
    if !kind.is_empty() {
        set_if_missing(names, "singular", json!(kind.to_lowercase()));
        set_if_missing(names, "listKind", json!(format!("{kind}List")));
    }
}

fn service(spec: &mut Members) {
    if text(spec, "sessionAffinity") == "ClientIP" {
        let set = spec.get("sessionAffinityConfig").and_then(|config| config["clientIP"].get("timeoutSeconds"));
        if set.is_none_or(Value::is_null) {
            spec.insert("sessionAffinityConfig".to_owned(), json!({"clientIP": {"timeoutSeconds": 10800}}));
        }
    } else {
        spec.remove("sessionAffinityConfig");
    }
    let kind = text(spec, "type").to_owned();
    let has_external_ips = !is_missing(spec, "externalIPs");
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && has_external_ips) {
        set_if_missing(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        set_if_missing(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set_if_missing(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

fn target_port(port: &mut Members) {
    if (is_missing(port, "targetPort") || port.get("targetPort") == Some(&json!(0)))
        && let Some(number) = port.get("port").cloned()
    {
        port.insert("targetPort".to_owned(), number);
    }
}

fn load_balancer_mode(status: &mut Members) {
    let ingress = existing(status, "loadBalancer").and_then(|balancer| balancer.get_mut("ingress"));
    for entry in ingress.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        if !is_missing(entry, "ip") {
            set_if_missing(entry, "ipMode", json!("VIP"));
        }
    }
}
