//! The rest of the built-in kinds: configuration, storage, access, quotas, autoscaling and extension.

use serde_json::Value;

use super::field::Findings;
use super::{is_empty, list, names, pod, selector, text, workload};
use crate::kinds::Kind;
use crate::quantity::Quantity;
use crate::types::{self, SchemaError};

/// Data of config maps and secrets together.
const DATA_LIMIT_BYTES: usize = 1024 * 1024;

pub(super) fn check(kind: &Kind, object: &Value, findings: &mut Findings) {
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "ConfigMap") => config_map(object, findings),
        ("", "Secret") => secret(object, findings),
        ("", "PersistentVolumeClaim") => claim(&object["spec"], findings),
        ("", "PersistentVolume") => volume(&object["spec"], findings),
        ("", "Node") => taints(&object["spec"]["taints"], findings),
        ("autoscaling", _) => autoscaler(&object["spec"], findings),
        ("policy", "PodDisruptionBudget") => disruption_budget(&object["spec"], findings),
        ("rbac.authorization.k8s.io", _) => access(kind, object, findings),
        ("scheduling.k8s.io", "PriorityClass") => priority_class(object, findings),
        ("coordination.k8s.io", "Lease") => {
            if let Some(seconds) = object["spec"]["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
                findings.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0");
            }
        }
        ("storage.k8s.io", "StorageClass") => storage_class(object, findings),
        ("storage.k8s.io", "VolumeAttachment") => attachment_source(&object["spec"]["source"], findings),
        ("apiextensions.k8s.io", _) => custom_resource_definition(object, findings),
        _ => {}
    }
}

fn config_map(object: &Value, findings: &mut Findings) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let path = format!("{field}[{key}]");
            findings.invalid_each(&path, key, names::config_key(key));
            if field == "data" && !object["binaryData"][key.as_str()].is_null() {
                findings.invalid(&path, key.as_str(), "duplicate of key present in binaryData");
            }
            size += text(value).len();
        }
    }
    if size > DATA_LIMIT_BYTES {
        findings.too_long("[]", DATA_LIMIT_BYTES as u64);
    }
}

fn secret(object: &Value, findings: &mut Findings) {
    let data = &object["data"];
    let mut size = 0;
    for (key, value) in data.as_object().into_iter().flatten() {
        findings.invalid_each(&format!("data[{key}]"), key, names::config_key(key));
        size += text(value).len() / 4 * 3;
    }
    if size > DATA_LIMIT_BYTES {
        findings.too_long("data", DATA_LIMIT_BYTES as u64);
    }
    let needs: &[&str] = match text(&object["type"]) {
        "kubernetes.io/service-account-token" => {
            if text(&object["metadata"]["annotations"]["kubernetes.io/service-account.name"]).is_empty() {
                findings.required("metadata.annotations[kubernetes.io/service-account.name]", "");
            }
            &[]
        }
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/basic-auth" if data["username"].is_null() && data["password"].is_null() => {
            &["username", "password"]
        }
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in needs.iter().filter(|key| data[**key].is_null()) {
        findings.required(&format!("data[{key}]"), "");
    }
}

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn access_modes(spec: &Value, words: &str, findings: &mut Findings) {
    if list(&spec["accessModes"]).is_empty() {
        findings.required("spec.accessModes", words);
    }
    for mode in list(&spec["accessModes"]).iter().map(text).filter(|mode| !ACCESS_MODES.contains(mode)) {
        findings.not_supported("spec.accessModes", mode, ACCESS_MODES);
    }
}

fn claim(spec: &Value, findings: &mut Findings) {
    access_modes(spec, "at least 1 access mode is required", findings);
    selector::check(&spec["selector"], "spec.selector", findings);
    match &spec["resources"]["requests"]["storage"] {
        Value::Null => findings.required("spec.resources[storage]", ""),
        storage => {
            if Quantity::parse(text(storage)).is_ok_and(|size| size.is_zero() || size.is_negative()) {
                findings.invalid("spec.resources[storage]", storage.clone(), "must be greater than zero");
            }
        }
    }
    let class = text(&spec["storageClassName"]);
    if !class.is_empty() {
        findings.invalid_each("spec.storageClassName", class, names::dns_1123_subdomain(class));
    }
}

/// What a volume has beside the thing it stands for.
const ABOUT_VOLUME: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn volume(spec: &Value, findings: &mut Findings) {
    access_modes(spec, "", findings);
    if is_empty(&spec["capacity"]) {
        findings.required("spec.capacity", "");
    }
    if spec["capacity"].as_object().is_none_or(|capacity| capacity.len() != 1 || !capacity.contains_key("storage")) {
        findings.not_supported("spec.capacity", spec["capacity"].clone(), ["storage"]);
    }
    let sources = spec.as_object().into_iter().flatten().filter(|(name, _)| !ABOUT_VOLUME.contains(&name.as_str()));
    for (name, _) in sources.clone().skip(1) {
        findings.forbidden(&format!("spec.{name}"), "may not specify more than 1 volume type");
    }
    if sources.count() == 0 {
        findings.required("spec", "must specify a volume type");
    }
    quantities(&spec["capacity"], "spec.capacity", findings);
    let modes = list(&spec["accessModes"]);
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        findings.forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes");
    }
    let path = text(&spec["hostPath"]["path"]);
    if path.split('/').any(|part| part == "..") {
        findings.invalid("spec.hostPath.path", path, "must not contain '..'");
    }
    if path == "/" && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let words = "may not be 'recycle' for a hostPath mount of '/'";
        findings.forbidden("spec.persistentVolumeReclaimPolicy", words);
    }
    if spec["local"].is_object() && spec["nodeAffinity"]["required"].is_null() {
        findings.required("spec.nodeAffinity", "Local volume requires node affinity");
    }
    findings.one_of(
        "spec.persistentVolumeReclaimPolicy",
        text(&spec["persistentVolumeReclaimPolicy"]),
        &["Delete", "Recycle", "Retain"],
    );
}

fn taints(taints: &Value, findings: &mut Findings) {
    for (index, taint) in list(taints).iter().enumerate() {
        let at = |field: &str| format!("metadata.taints[{index}].{field}");
        let key = text(&taint["key"]);
        findings.invalid_each(&at("key"), key, names::qualified_name(key));
        let value = text(&taint["value"]);
        findings.invalid_each(&at("value"), value, names::label_value(value));
        findings.one_of(&at("effect"), text(&taint["effect"]), &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}

fn quantities(quantities: &Value, path: &str, findings: &mut Findings) {
    for (name, quantity) in quantities.as_object().into_iter().flatten() {
        pod::quantity_value(name, quantity, &format!("{path}[{name}]"), findings);
    }
}

fn autoscaler(spec: &Value, findings: &mut Findings) {
    let target = &spec["scaleTargetRef"];
    let is_core = matches!(text(&target["kind"]), "ReplicationController");
    if !text(&target["apiVersion"]).contains('/') && !is_core {
        let words = "apiVersion must specify API group";
        findings.invalid("spec.scaleTargetRef.apiVersion", text(&target["apiVersion"]), words);
    }
    let least = spec["minReplicas"].as_i64().unwrap_or(1);
    let most = spec["maxReplicas"].as_i64().unwrap_or(0);
    if least < 1 {
        findings.invalid("spec.minReplicas", least, "must be greater than or equal to 1");
    }
    if most < 1 {
        findings.invalid("spec.maxReplicas", most, "must be greater than 0");
    }
    if most < least {
        findings.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`");
    }
    for (index, metric) in list(&spec["metrics"]).iter().enumerate() {
        self::metric(metric, &format!("spec.metrics[{index}]"), findings);
    }
}

fn metric(metric: &Value, path: &str, findings: &mut Findings) {
    let source = match text(&metric["type"]) {
        "ContainerResource" => "containerResource",
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        _ => return,
    };
    let at = format!("{path}.{source}");
    if metric[source].is_null() {
        return findings.required(&at, "must populate information for the given metric source");
    }
    let target = &metric[source]["target"];
    let has = |field: &str| !target[field].is_null();
    let (lacks, field, words) = match source {
        "resource" | "containerResource" => (
            !has("averageUtilization") && !has("averageValue"),
            "averageUtilization",
            "must set either a target raw value or a target utilization",
        ),
        "pods" => (!has("averageValue"), "averageValue", "must specify a positive target averageValue"),
        "external" => (
            !has("value") && !has("averageValue"),
            "averageValue",
            "must set either a target value for metric or a per-pod target",
        ),
        _ => (!has("value") && !has("averageValue"), "averageValue", "must set either a target value or averageValue"),
    };
    if lacks {
        findings.required(&format!("{at}.target.{field}"), words);
    }
}

fn disruption_budget(spec: &Value, findings: &mut Findings) {
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        findings.invalid("spec", spec.clone(), "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"] {
        workload::number_or_percent(&spec[field], &format!("spec.{field}"), findings);
        let percent = text(&spec[field]).strip_suffix('%').and_then(|digits| digits.parse::<u64>().ok());
        if percent.is_some_and(|percent| percent > 100) {
            findings.invalid(&format!("spec.{field}"), spec[field].clone(), "must not be greater than 100%");
        }
    }
    selector::check(&spec["selector"], "spec.selector", findings);
}

const GROUP: &str = "rbac.authorization.k8s.io";

fn access(kind: &Kind, object: &Value, findings: &mut Findings) {
    for (index, rule) in list(&object["rules"]).iter().enumerate() {
        rule_of_access(rule, kind.namespaced, &format!("rules[{index}]"), findings);
    }
    if !kind.kind.ends_with("Binding") {
        return;
    }
    let role = &object["roleRef"];
    let supported: &[&str] = if kind.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if role["apiGroup"] != GROUP {
        findings.not_supported("roleRef.apiGroup", text(&role["apiGroup"]), [GROUP]);
    }
    if !supported.contains(&text(&role["kind"])) {
        findings.not_supported("roleRef.kind", text(&role["kind"]), supported.iter().copied());
    }
    if text(&role["name"]).is_empty() {
        findings.required("roleRef.name", "");
    }
    for (index, subject) in list(&object["subjects"]).iter().enumerate() {
        let at = |field: &str| format!("subjects[{index}].{field}");
        if text(&subject["name"]).is_empty() {
            findings.required(&at("name"), "");
        }
        let group = text(&subject["apiGroup"]);
        let expected = if subject["kind"] == "ServiceAccount" { "" } else { GROUP };
        if !group.is_empty() && group != expected {
            findings.not_supported(&at("apiGroup"), group, [expected]);
        }
        if subject["kind"] == "ServiceAccount" && !is_empty(&subject["name"]) {
            let name = text(&subject["name"]);
            findings.invalid_each(&at("name"), name, names::dns_1123_subdomain(name));
        }
        match text(&subject["kind"]) {
            "ServiceAccount" if !kind.namespaced && text(&subject["namespace"]).is_empty() => {
                findings.required(&at("namespace"), "")
            }
            "ServiceAccount" | "User" | "Group" => {}
            other => findings.not_supported(&at("kind"), other, ["ServiceAccount", "User", "Group"]),
        }
    }
}

fn rule_of_access(rule: &Value, namespaced: bool, path: &str, findings: &mut Findings) {
    let at = |field: &str| format!("{path}.{field}");
    if is_empty(&rule["verbs"]) {
        findings.required(&at("verbs"), "verbs must contain at least one value");
    }
    if !is_empty(&rule["nonResourceURLs"]) {
        if namespaced {
            let words = "namespaced rules cannot apply to non-resource URLs";
            findings.invalid(&at("nonResourceURLs"), rule["nonResourceURLs"].clone(), words);
        }
        if !is_empty(&rule["apiGroups"]) || !is_empty(&rule["resources"]) || !is_empty(&rule["resourceNames"]) {
            let words = "rules cannot apply to both regular resources and non-resource URLs";
            findings.invalid(&at("nonResourceURLs"), rule["nonResourceURLs"].clone(), words);
        }
        return;
    }
    if is_empty(&rule["apiGroups"]) {
        findings.required(&at("apiGroups"), "resource rules must supply at least one api group");
    }
    if is_empty(&rule["resources"]) {
        findings.required(&at("resources"), "resource rules must supply at least one resource");
    }
}

fn priority_class(object: &Value, findings: &mut Findings) {
    const HIGHEST: i64 = 1_000_000_000;
    let (name, value) = (text(&object["metadata"]["name"]), object["value"].as_i64().unwrap_or(0));
    const KNOWN: [&str; 2] = ["system-cluster-critical", "system-node-critical"];
    if name.starts_with("system-") && !KNOWN.contains(&name) {
        let words = format!(
            "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
        );
        findings.forbidden("metadata.name", words);
    }
    if value > HIGHEST && !name.starts_with("system-") {
        findings.forbidden("value", format!("maximum allowed value of a user defined priority is {HIGHEST}"));
    }
}

fn attachment_source(source: &Value, findings: &mut Findings) {
    let words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (source["persistentVolumeName"].is_null(), source["inlineVolumeSpec"].is_null()) {
        (true, true) => findings.required("spec.source", words),
        (false, false) => findings.forbidden("spec.source", words),
        (false, true) if is_empty(&source["persistentVolumeName"]) => {
            findings.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName");
        }
        _ => {}
    }
}

fn storage_class(object: &Value, findings: &mut Findings) {
    findings.one_of("reclaimPolicy", text(&object["reclaimPolicy"]), &["Delete", "Retain"]);
    findings.one_of("volumeBindingMode", text(&object["volumeBindingMode"]), &["Immediate", "WaitForFirstConsumer"]);
}

fn custom_resource_definition(object: &Value, findings: &mut Findings) {
    let spec = &object["spec"];
    let (plural, group) = (text(&spec["names"]["plural"]), text(&spec["group"]));
    let name = text(&object["metadata"]["name"]);
    if !plural.is_empty() && !group.is_empty() && name != format!("{plural}.{group}") {
        findings.invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group");
    }
    if !group.is_empty() {
        findings.invalid_each("spec.group", group, names::dns_1123_subdomain(group));
        if group.split('.').count() < 2 {
            findings.invalid("spec.group", group, "should be a domain with at least one dot");
        }
    }
    if !plural.is_empty() {
        findings.invalid_each("spec.names.plural", plural, names::dns_1035_label(plural));
    }
    findings.one_of("spec.scope", text(&spec["scope"]), &["Cluster", "Namespaced"]);
    if !is_empty(&spec["names"]["kind"]) && spec["names"]["kind"] == spec["names"]["listKind"] {
        let words = "kind and listKind may not be the same";
        findings.invalid("spec.names.listKind", spec["names"]["listKind"].clone(), words);
    }
    if spec["preserveUnknownFields"] == true {
        let words =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        findings.invalid("spec.preserveUnknownFields", true, words);
    }
    if spec["conversion"]["strategy"] == "Webhook" {
        let webhook = &spec["conversion"]["webhook"];
        if webhook["clientConfig"].is_null() {
            findings.required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook");
        }
        if is_empty(&webhook["conversionReviewVersions"]) {
            findings.required("spec.conversion.conversionReviewVersions", "");
        }
    }
    let versions = list(&spec["versions"]);
    let storing = versions.iter().filter(|version| version["storage"] == Value::Bool(true)).count();
    if storing != 1 {
        let words = "must have exactly one version marked as storage version";
        findings.invalid("spec.versions", spec["versions"].clone(), words);
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        let name = text(&version["name"]);
        findings.invalid_each(&format!("{path}.name"), name, names::dns_1035_label(name));
        let schema = version["schema"].get("openAPIV3Schema");
        match schema {
            None => findings.required(&format!("{path}.schema.openAPIV3Schema"), ""),
            Some(schema) => custom_schema(schema, &format!("{path}.schema.openAPIV3Schema"), findings),
        }
    }
}

fn custom_schema(schema: &Value, path: &str, findings: &mut Findings) {
    let at = |inner: String| format!("{path}{inner}");
    match types::parse(Some(schema), true) {
        Ok(_) => {}
        Err(SchemaError::Missing { path, detail }) => findings.required(&at(path), &detail),
        Err(SchemaError::Invalid { path, value, detail }) => findings.invalid(&at(path), value, detail),
        Err(deep @ SchemaError::TooDeep { .. }) => findings.invalid(&at(String::new()), "", deep.to_string()),
    }
}

pub(super) fn change(kind: &Kind, new: &Value, old: &Value, findings: &mut Findings) {
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "ConfigMap" | "Secret") => frozen(kind, new, old, findings),
        ("", "PersistentVolumeClaim") => claim_change(&new["spec"], &old["spec"], findings),
        ("rbac.authorization.k8s.io", _) if kind.kind.ends_with("Binding") && new["roleRef"] != old["roleRef"] => {
            findings.invalid("roleRef", new["roleRef"].clone(), "cannot change roleRef");
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            for field in ["value", "preemptionPolicy"] {
                if new[field] != old[field] {
                    findings.invalid(field, new[field].clone(), "may not be changed in an update.");
                }
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            for field in ["parameters", "provisioner", "reclaimPolicy"] {
                if new[field] != old[field] {
                    findings.forbidden(field, format!("updates to {field} are forbidden."));
                }
            }
            findings.immutable("volumeBindingMode", &new["volumeBindingMode"], &old["volumeBindingMode"]);
        }
        ("apiextensions.k8s.io", _) => {
            for field in ["group", "scope"] {
                findings.immutable(&format!("spec.{field}"), &new["spec"][field], &old["spec"][field]);
            }
            for field in ["plural", "kind"] {
                let path = format!("spec.names.{field}");
                findings.immutable(&path, &new["spec"]["names"][field], &old["spec"]["names"][field]);
            }
        }
        ("node.k8s.io", "RuntimeClass") => findings.immutable("handler", &new["handler"], &old["handler"]),
        ("networking.k8s.io", "IngressClass") => {
            findings.immutable("spec.controller", &new["spec"]["controller"], &old["spec"]["controller"]);
        }
        _ => {}
    }
}

fn frozen(kind: &Kind, new: &Value, old: &Value, findings: &mut Findings) {
    if kind.kind == "Secret" {
        findings.immutable("type", &new["type"], &old["type"]);
    }
    if old["immutable"] != Value::Bool(true) {
        return;
    }
    let words = "field is immutable when `immutable` is set";
    for field in ["immutable", "data", "binaryData"] {
        if new[field] != old[field] {
            findings.forbidden(field, words);
        }
    }
}

fn claim_change(new: &Value, old: &Value, findings: &mut Findings) {
    let mut followed = new.clone();
    for field in ["resources", "volumeAttributesClassName"] {
        if let Some(members) = followed.as_object_mut() {
            match old.get(field) {
                Some(value) => members.insert(field.to_owned(), value.clone()),
                None => members.remove(field),
            };
        }
    }
    // Binding fills in the volume's name once.
    if is_empty(&old["volumeName"])
        && let Some(members) = followed.as_object_mut()
    {
        members.remove("volumeName");
    }
    if followed != *old {
        let words =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        findings.forbidden("spec", words);
    }
}
