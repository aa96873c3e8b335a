//! The cells of every built-in kind but Pod.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::network::{endpoint_slice, endpoints, network, service};
use super::text::{containers, count, joined, labels, list, or, ratio, selector, selector_text, size, text, words};
use super::workload::{autoscaler, controller, cron_job, daemon_set, job};
use super::{age, pod, since};
use crate::kinds::Kind;

pub(super) fn builtin(kind: &Kind, object: &Value, now: i64) -> Vec<Value> {
    let age = || json!(since(&object["metadata"]["creationTimestamp"], now));
    let name = || object["metadata"]["name"].clone();
    let (spec, status) = (&object["spec"], &object["status"]);
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "Pod") => pod::cells(object, now),
        ("", "Event") | ("events.k8s.io", _) => event(object, now),
        ("", "Namespace") => vec![name(), words(&status["phase"]), age()],
        ("", "Secret") => vec![name(), words(&object["type"]), json!(size(&object["data"])), age()],
        ("", "ConfigMap") => vec![name(), json!(size(&object["data"]) + size(&object["binaryData"])), age()],
        ("", "ServiceAccount") | ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => vec![name(), age()],
        ("", "Service") => service(object, age()),
        ("", "Endpoints") => vec![name(), json!(endpoints(&object["subsets"])), age()],
        ("", "Node") => node(object, age()),
        ("", "PersistentVolume") => volume(object, age()),
        ("", "PersistentVolumeClaim") => claim(object, age()),
        ("", "ResourceQuota") => quota(object, age()),
        ("", "ComponentStatus") => component(object),
        ("", "PodTemplate") => {
            let template = &object["template"];
            let [names, images] = containers(&template["spec"]);
            vec![name(), names, images, json!(labels(&template["metadata"]["labels"]))]
        }
        ("", "ReplicationController") | ("apps", "ReplicaSet") => {
            let [names, images] = containers(&spec["template"]["spec"]);
            let picks = if kind.group.is_empty() { labels(&spec["selector"]) } else { selector(&spec["selector"]) };
            vec![
                name(),
                count(&spec["replicas"]),
                count(&status["replicas"]),
                count(&status["readyReplicas"]),
                age(),
                names,
                images,
                json!(picks),
            ]
        }
        ("apps", "Deployment") => {
            let [names, images] = containers(&spec["template"]["spec"]);
            let ready = ratio(&status["readyReplicas"], &spec["replicas"]);
            let (updated, available) = (count(&status["updatedReplicas"]), count(&status["availableReplicas"]));
            vec![name(), ready, updated, available, age(), names, images, json!(selector_text(&spec["selector"]))]
        }
        ("apps", "StatefulSet") => {
            let [names, images] = containers(&spec["template"]["spec"]);
            vec![name(), ratio(&status["readyReplicas"], &spec["replicas"]), age(), names, images]
        }
        ("apps", "DaemonSet") => daemon_set(object, age()),
        ("apps", "ControllerRevision") => vec![name(), json!(controller(object)), object["revision"].clone(), age()],
        ("batch", "Job") => job(object, now, age()),
        ("batch", "CronJob") => cron_job(object, now, age()),
        ("autoscaling", _) => autoscaler(object, age()),
        ("policy", _) => {
            let limit = |value: &Value| if value.is_null() { json!("N/A") } else { words(value) };
            let allowed = count(&status["disruptionsAllowed"]);
            vec![name(), limit(&spec["minAvailable"]), limit(&spec["maxUnavailable"]), allowed, age()]
        }
        ("networking.k8s.io", _) => network(kind, object, age()),
        ("discovery.k8s.io", _) => endpoint_slice(object, age()),
        ("rbac.authorization.k8s.io", _) => binding(object, age()),
        ("certificates.k8s.io", _) => signing_request(object, age()),
        ("coordination.k8s.io", _) => vec![name(), words(&spec["holderIdentity"]), age()],
        ("storage.k8s.io", _) => storage(kind, object, age()),
        ("scheduling.k8s.io", _) => {
            let default = json!(object["globalDefault"] == Value::Bool(true));
            vec![name(), count(&object["value"]), default, age(), words(&object["preemptionPolicy"])]
        }
        ("node.k8s.io", _) => vec![name(), words(&object["handler"]), age()],
        ("admissionregistration.k8s.io", _) => admission(kind, object, age()),
        ("flowcontrol.apiserver.k8s.io", _) => flow_control(kind, object, age()),
        ("resource.k8s.io", "ResourceSlice") => {
            vec![name(), words(&spec["nodeName"]), words(&spec["driver"]), words(&spec["pool"]["name"]), age()]
        }
        ("resource.k8s.io", _) => vec![name(), json!(claim_state(object)), age()],
        ("apiregistration.k8s.io", _) => api_service(object, age()),
        _ => vec![name(), age()],
    }
}

fn event(event: &Value, now: i64) -> Vec<Value> {
    let either = |old: &str, new: &str| if event[old].is_null() { event[new].clone() } else { event[old].clone() };
    let first_time = [&event["firstTimestamp"], &event["deprecatedFirstTimestamp"], &event["eventTime"]];
    let first = first_time.iter().find(|time| !time.is_null()).map_or("<unknown>".to_owned(), |time| since(time, now));
    let last = either("lastTimestamp", "deprecatedLastTimestamp");
    let series = &event["series"];
    let last = match (series.is_object(), last.is_null()) {
        (true, _) => since(&series["lastObservedTime"], now),
        (false, true) => first.clone(),
        (false, false) => since(&last, now),
    };
    let counted = either("count", "deprecatedCount").as_i64().filter(|count| *count != 0).unwrap_or(1);
    let counted = if series.is_object() { series["count"].as_i64().unwrap_or(0) } else { counted };
    let about = either("involvedObject", "regarding");
    let kind = text(&about["kind"]).to_lowercase();
    let target = if text(&about["name"]).is_empty() { kind } else { format!("{kind}/{}", text(&about["name"])) };
    let message = either("message", "note");
    vec![
        json!(last),
        words(&event["type"]),
        words(&event["reason"]),
        json!(target),
        words(&about["fieldPath"]),
        json!(event_source(event)),
        json!(text(&message).trim()),
        json!(first),
        json!(counted),
        event["metadata"]["name"].clone(),
    ]
}

fn event_source(event: &Value) -> String {
    let source = if event["source"].is_object() { &event["source"] } else { &event["deprecatedSource"] };
    let reporter = |key: &str, core_key: &str| {
        let text_of = |key: &str| text(&event[key]).to_owned();
        if event[key].is_null() { text_of(core_key) } else { text_of(key) }
    };
    let component = Some(text(&source["component"]).to_owned())
        .filter(|component| !component.is_empty())
        .unwrap_or_else(|| reporter("reportingController", "reportingComponent"));
    let host = Some(text(&source["host"]).to_owned())
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| reporter("reportingInstance", "reportingInstance"));
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

fn node(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let ready = list(&status["conditions"]).iter().find(|condition| condition["type"] == "Ready");
    let mut state = match ready {
        Some(ready) if ready["status"] == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if spec["unschedulable"] == Value::Bool(true) {
        state += ",SchedulingDisabled";
    }
    let mut roles = BTreeSet::new();
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.insert(role),
            _ if key == "kubernetes.io/role" && !text(value).is_empty() => roles.insert(text(value)),
            _ => false,
        };
    }
    let roles: Vec<&str> = roles.into_iter().collect();
    let address = |kind: &str| {
        let found = list(&status["addresses"]).iter().find(|address| address["type"] == kind);
        found.map_or(json!("<none>"), |address| address["address"].clone())
    };
    let info = &status["nodeInfo"];
    vec![
        object["metadata"]["name"].clone(),
        json!(state),
        json!(if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }),
        age,
        words(&info["kubeletVersion"]),
        address("InternalIP"),
        address("ExternalIP"),
        or(&info["osImage"], "<unknown>"),
        or(&info["kernelVersion"], "<unknown>"),
        or(&info["containerRuntimeVersion"], "<unknown>"),
    ]
}

fn access_modes(modes: &Value) -> Value {
    let order =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let held = order.iter().filter(|(mode, _)| list(modes).iter().any(|held| held == mode));
    json!(held.map(|(_, short)| *short).collect::<Vec<_>>().join(","))
}

fn phase(object: &Value) -> Value {
    if object["metadata"]["deletionTimestamp"].is_null() {
        words(&object["status"]["phase"])
    } else {
        json!("Terminating")
    }
}

fn storage_class_of(object: &Value) -> Value {
    match &object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"] {
        Value::String(class) => json!(class),
        _ => words(&object["spec"]["storageClassName"]),
    }
}

fn unset(value: &Value) -> Value {
    if value.is_null() { json!("<unset>") } else { words(value) }
}

fn volume(object: &Value, age: Value) -> Vec<Value> {
    let (spec, claim) = (&object["spec"], &object["spec"]["claimRef"]);
    let claimed = if claim.is_object() {
        format!("{}/{}", text(&claim["namespace"]), text(&claim["name"]))
    } else {
        String::new()
    };
    vec![
        object["metadata"]["name"].clone(),
        or(&spec["capacity"]["storage"], "0"),
        access_modes(&spec["accessModes"]),
        words(&spec["persistentVolumeReclaimPolicy"]),
        phase(object),
        json!(claimed),
        storage_class_of(object),
        unset(&spec["volumeAttributesClassName"]),
        words(&object["status"]["reason"]),
        age,
        unset(&spec["volumeMode"]),
    ]
}

fn claim(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let bound = !text(&spec["volumeName"]).is_empty();
    let (capacity, modes) = match bound {
        true => (or(&status["capacity"]["storage"], "0"), access_modes(&status["accessModes"])),
        false => (json!(""), json!("")),
    };
    vec![
        object["metadata"]["name"].clone(),
        phase(object),
        words(&spec["volumeName"]),
        capacity,
        modes,
        storage_class_of(object),
        unset(&spec["volumeAttributesClassName"]),
        age,
        unset(&spec["volumeMode"]),
    ]
}

fn quota(object: &Value, age: Value) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in object["status"]["hard"].as_object().into_iter().flatten() {
        let used = or(&object["status"]["used"][name.as_str()], "0");
        let column = if name.starts_with("limits.") { &mut limits } else { &mut requests };
        column.push(format!("{name}: {}/{}", text(&used), text(hard)));
    }
    vec![object["metadata"]["name"].clone(), json!(requests.join(", ")), json!(limits.join(", ")), age]
}

fn component(object: &Value) -> Vec<Value> {
    let healthy = list(&object["conditions"]).iter().find(|condition| condition["type"] == "Healthy");
    let condition = healthy.unwrap_or(&Value::Null);
    let status = match text(&condition["status"]) {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![object["metadata"]["name"].clone(), json!(status), words(&condition["message"]), words(&condition["error"])]
}

fn binding(object: &Value, age: Value) -> Vec<Value> {
    let role = &object["roleRef"];
    let of = |kind: &str| {
        let subjects = list(&object["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let shown = subjects.map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", text(&subject["namespace"]), text(&subject["name"])),
            _ => text(&subject["name"]).to_owned(),
        });
        json!(shown.collect::<Vec<_>>().join(", "))
    };
    let role = json!(format!("{}/{}", text(&role["kind"]), text(&role["name"])));
    vec![object["metadata"]["name"].clone(), role, age, of("User"), of("Group"), of("ServiceAccount")]
}

fn signing_request(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let has = |kind: &str| list(&status["conditions"]).iter().any(|condition| condition["type"] == kind);
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state += ",Failed";
    }
    if !text(&status["certificate"]).is_empty() {
        state += ",Issued";
    }
    let asked = spec["expirationSeconds"].as_i64().map_or("<none>".to_owned(), age::duration);
    let name = object["metadata"]["name"].clone();
    vec![name, age, or(&spec["signerName"], "<none>"), words(&spec["username"]), json!(asked), json!(state)]
}

fn storage(kind: &Kind, object: &Value, age: Value) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let spec = &object["spec"];
    let yes = |value: &Value| json!(*value == Value::Bool(true));
    match kind.kind.as_ref() {
        "StorageClass" => {
            let annotations = &object["metadata"]["annotations"];
            let is_default =
                ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
                    .iter()
                    .any(|key| annotations[*key] == "true");
            let name = if is_default { json!(format!("{} (default)", text(&name))) } else { name };
            vec![
                name,
                words(&object["provisioner"]),
                or(&object["reclaimPolicy"], "Delete"),
                or(&object["volumeBindingMode"], "Immediate"),
                yes(&object["allowVolumeExpansion"]),
                age,
            ]
        }
        "VolumeAttributesClass" => vec![name, words(&object["driverName"]), age],
        "VolumeAttachment" => {
            let volume = words(&spec["source"]["persistentVolumeName"]);
            vec![
                name,
                words(&spec["attacher"]),
                volume,
                words(&spec["nodeName"]),
                yes(&object["status"]["attached"]),
                age,
            ]
        }
        "CSINode" => vec![name, json!(list(&spec["drivers"]).len()), age],
        "CSIDriver" => {
            let modes = joined(list(&spec["volumeLifecycleModes"]), ",");
            let audiences: Vec<&str> =
                list(&spec["tokenRequests"]).iter().map(|request| text(&request["audience"])).collect();
            let tokens = if spec["tokenRequests"].is_null() { "<unset>".to_owned() } else { audiences.join(",") };
            vec![
                name,
                json!(spec["attachRequired"] != Value::Bool(false)),
                yes(&spec["podInfoOnMount"]),
                yes(&spec["storageCapacity"]),
                json!(tokens),
                yes(&spec["requiresRepublish"]),
                json!(if modes.is_empty() { "<none>".to_owned() } else { modes }),
                age,
            ]
        }
        _ => vec![name, words(&object["storageClassName"]), words(&object["capacity"])],
    }
}

fn admission(kind: &Kind, object: &Value, age: Value) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let spec = &object["spec"];
    match kind.kind.as_ref() {
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            let parameter = &spec["paramKind"];
            let shown = match parameter.is_object() {
                true => format!("{}/{}", text(&parameter["apiVersion"]), text(&parameter["kind"])),
                false => "<unset>".to_owned(),
            };
            let rules = if kind.kind == "MutatingAdmissionPolicy" { "mutations" } else { "validations" };
            vec![name, json!(list(&spec[rules]).len()), json!(shown), age]
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            let parameter = &spec["paramRef"];
            let shown = match (text(&parameter["name"]), text(&parameter["namespace"])) {
                ("", _) if parameter["selector"].is_object() => selector_text(&parameter["selector"]),
                ("", _) => "<unset>".to_owned(),
                (name, "") => format!("*/{name}"),
                (name, namespace) => format!("{namespace}/{name}"),
            };
            vec![name, words(&spec["policyName"]), json!(shown), age]
        }
        _ => vec![name, json!(list(&object["webhooks"]).len()), age],
    }
}

fn flow_control(kind: &Kind, object: &Value, age: Value) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let spec = &object["spec"];
    if kind.kind == "FlowSchema" {
        let dangling = list(&object["status"]["conditions"]).iter().find(|condition| condition["type"] == "Dangling");
        let level = words(&spec["priorityLevelConfiguration"]["name"]);
        let method = or(&spec["distinguisherMethod"]["type"], "<none>");
        let missing = dangling.map_or(json!("?"), |condition| condition["status"].clone());
        return vec![name, level, count(&spec["matchingPrecedence"]), method, age, missing];
    }
    let (limited, queuing) = (&spec["limited"], &spec["limited"]["limitResponse"]["queuing"]);
    let number = |value: &Value| if value.is_null() { json!("<none>") } else { value.clone() };
    vec![
        name,
        words(&spec["type"]),
        number(&limited["nominalConcurrencyShares"]),
        number(&queuing["queues"]),
        number(&queuing["handSize"]),
        number(&queuing["queueLengthLimit"]),
        age,
    ]
}

fn claim_state(object: &Value) -> String {
    let status = &object["status"];
    let mut states = Vec::new();
    if !object["metadata"]["deletionTimestamp"].is_null() {
        states.push("deleted");
    }
    if status["allocation"].is_null() {
        if states.is_empty() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        if !list(&status["reservedFor"]).is_empty() {
            states.push("reserved");
        }
    }
    states.join(",")
}

fn api_service(object: &Value, age: Value) -> Vec<Value> {
    let service = &object["spec"]["service"];
    let shown = match service.is_object() {
        true => format!("{}/{}", text(&service["namespace"]), text(&service["name"])),
        false => "Local".to_owned(),
    };
    let available = list(&object["status"]["conditions"]).iter().find(|condition| condition["type"] == "Available");
    let state = match available {
        Some(condition) if condition["status"] == "True" => "True".to_owned(),
        Some(condition) => format!("{} ({})", text(&condition["status"]), text(&condition["reason"])),
        None => "Unknown".to_owned(),
    };
    vec![object["metadata"]["name"].clone(), json!(shown), json!(state), age]
}
