//! Pods and pod templates.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::field::Findings;
use super::{is_empty, list, metadata, names, rules, text};
use crate::quantity::Quantity;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn pod(pod: &Value, findings: &mut Findings) {
    spec(&pod["spec"], "spec", findings);
}

pub(super) fn template(template: &Value, path: &str, findings: &mut Findings) {
    metadata::labels_and_annotations(&template["metadata"], &format!("{path}.metadata"), findings);
    spec(&template["spec"], &format!("{path}.spec"), findings);
}

fn spec(spec: &Value, path: &str, findings: &mut Findings) {
    let at = |field: &str| format!("{path}.{field}");
    rules::check_part("PodSpec", spec, path, findings);
    let seccomp = &spec["securityContext"]["seccompProfile"];
    if seccomp["type"] == "Localhost" && text(&seccomp["localhostProfile"]).is_empty() {
        let field = at("securityContext.seccompProfile.localhostProfile");
        findings.required(&field, "must be set when seccomp type is Localhost");
    }
    let volumes = volumes(&spec["volumes"], &at("volumes"), findings);
    if list(&spec["containers"]).is_empty() {
        findings.required(&at("containers"), "");
    }
    let mut seen = BTreeSet::new();
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, value) in list(&spec[field]).iter().enumerate() {
            let path = format!("{}[{index}]", at(field));
            container(value, field, &volumes, &path, findings);
            let name = text(&value["name"]);
            if !seen.insert(name) {
                findings.duplicate(&format!("{path}.name"), name);
            }
        }
    }
    host_port_conflicts(&spec["containers"], &at("containers"), findings);
    findings.one_of(&at("restartPolicy"), text(&spec["restartPolicy"]), &["Always", "OnFailure", "Never"]);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    findings.one_of(&at("dnsPolicy"), text(&spec["dnsPolicy"]), &dns);
    metadata::labels(&spec["nodeSelector"], &at("nodeSelector"), findings);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64() {
        findings_of_range(&at("activeDeadlineSeconds"), seconds, 1, i64::from(i32::MAX), findings);
    }
    for (field, check) in [
        ("serviceAccountName", names::dns_1123_subdomain as fn(&str) -> Vec<String>),
        ("nodeName", names::dns_1123_subdomain),
        ("hostname", names::dns_1123_label),
        ("subdomain", names::dns_1123_label),
        ("priorityClassName", names::dns_1123_subdomain),
    ] {
        let value = text(&spec[field]);
        if !value.is_empty() {
            findings.invalid_each(&at(field), value, check(value));
        }
    }
    tolerations(&spec["tolerations"], &at("tolerations"), findings);
    user_and_group(&spec["securityContext"], &at("securityContext"), findings);
    for (index, sysctl) in list(&spec["securityContext"]["sysctls"]).iter().enumerate() {
        let (path, name) = (format!("{}[{index}].name", at("securityContext.sysctls")), text(&sysctl["name"]));
        if name.is_empty() {
            findings.required(&path, "");
        } else {
            findings.invalid_each(&path, name, names::sysctl(name));
        }
    }
}

fn findings_of_range(path: &str, number: i64, least: i64, most: i64, findings: &mut Findings) {
    for words in names::in_range(number, least, most) {
        findings.invalid(path, number, words);
    }
}

fn user_and_group(context: &Value, path: &str, findings: &mut Findings) {
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = context[field].as_i64() {
            findings_of_range(&format!("{path}.{field}"), id, 0, i64::from(i32::MAX), findings);
        }
    }
}

/// Checks the volumes, and returns their names.
fn volumes<'v>(volumes: &'v Value, path: &str, findings: &mut Findings) -> BTreeSet<&'v str> {
    let mut names_seen = BTreeSet::new();
    for (index, volume) in list(volumes).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = text(&volume["name"]);
        if name.is_empty() {
            findings.required(&format!("{path}.name"), "");
        } else {
            findings.invalid_each(&format!("{path}.name"), name, names::dns_1123_label(name));
            if !names_seen.insert(name) {
                findings.duplicate(&format!("{path}.name"), name);
            }
        }
        let sources: Vec<&String> =
            volume.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| *key != "name").collect();
        if sources.is_empty() {
            findings.required(&path, "must specify a volume type");
        }
        for extra in sources.iter().skip(1) {
            findings.forbidden(&format!("{path}.{extra}"), "may not specify more than 1 volume type");
        }
        if let Some(source) = sources.first() {
            volume_source(source, &volume[source.as_str()], &format!("{path}.{source}"), findings);
        }
    }
    names_seen
}

fn volume_source(kind: &str, source: &Value, path: &str, findings: &mut Findings) {
    let required = match kind {
        "secret" => "secretName",
        "configMap" => "name",
        "hostPath" => "path",
        "persistentVolumeClaim" => "claimName",
        "nfs" => "server",
        "csi" => "driver",
        _ => "",
    };
    if !required.is_empty() && text(&source[required]).is_empty() {
        findings.required(&format!("{path}.{required}"), "");
    }
    if kind == "hostPath" && text(&source["path"]).split('/').any(|part| part == "..") {
        findings.invalid(&format!("{path}.path"), source["path"].clone(), "must not contain '..'");
    }
    key_to_paths(&source["items"], &format!("{path}.items"), findings);
    if let Some(mode) = source["defaultMode"].as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        findings.invalid(
            &format!("{path}.defaultMode"),
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
    for (index, projection) in list(&source["sources"]).iter().enumerate() {
        for (kind, inner) in projection.as_object().into_iter().flatten() {
            let path = format!("{path}.sources[{index}].{kind}");
            if matches!(kind.as_str(), "secret" | "configMap") && text(&inner["name"]).is_empty() {
                findings.required(&format!("{path}.name"), "");
            }
            if matches!(kind.as_str(), "secret" | "configMap") {
                key_to_paths(&inner["items"], &format!("{path}.items"), findings);
            }
        }
    }
}

fn key_to_paths(items: &Value, path: &str, findings: &mut Findings) {
    for (index, item) in list(items).iter().enumerate() {
        let to = text(&item["path"]);
        let path = format!("{path}[{index}].path");
        if to.starts_with('/') {
            findings.invalid(&path, to, "must be a relative path");
        }
        if to.split('/').any(|part| part == "..") {
            findings.invalid(&path, to, "must not contain '..'");
        }
    }
}

fn container(container: &Value, list_name: &str, volumes: &BTreeSet<&str>, path: &str, findings: &mut Findings) {
    let at = |field: &str| format!("{path}.{field}");
    let name = text(&container["name"]);
    if name.is_empty() {
        findings.required(&at("name"), "");
    } else {
        findings.invalid_each(&at("name"), name, names::dns_1123_label(name));
    }
    let image = text(&container["image"]);
    if image.is_empty() {
        findings.required(&at("image"), "");
    } else if image.trim() != image {
        findings.invalid(&at("image"), image, "must not have leading or trailing whitespace");
    }
    let policies = ["File", "FallbackToLogsOnError"];
    findings.one_of(&at("terminationMessagePolicy"), text(&container["terminationMessagePolicy"]), &policies);
    ports(&container["ports"], &at("ports"), findings);
    environment(container, path, findings);
    mounts(&container["volumeMounts"], volumes, &at("volumeMounts"), findings);
    let pull = ["Always", "IfNotPresent", "Never"];
    findings.one_of(&at("imagePullPolicy"), text(&container["imagePullPolicy"]), &pull);
    resources(&container["resources"], &at("resources"), findings);
    user_and_group(&container["securityContext"], &at("securityContext"), findings);
    let sidecar = container["restartPolicy"] == "Always";
    for probe_name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe_name].is_null() {
            continue;
        }
        if list_name == "initContainers" && !sidecar {
            let words = "may not be set for init containers without restartPolicy=Always";
            findings.forbidden(&at(probe_name), words);
        } else {
            probe(&container[probe_name], probe_name, &at(probe_name), findings);
        }
    }
    for hook in ["postStart", "preStop"] {
        if !container["lifecycle"][hook].is_null() {
            handler(
                &container["lifecycle"][hook],
                &["exec", "httpGet", "tcpSocket", "sleep"],
                &at(&format!("lifecycle.{hook}")),
                findings,
            );
        }
    }
}

fn ports(ports: &Value, path: &str, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (index, port) in list(ports).iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let name = text(&port["name"]);
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if wrong.is_empty() && !seen.insert(name) {
                findings.duplicate(&at("name"), name);
            }
            findings.invalid_each(&at("name"), name, wrong);
        }
        match port["containerPort"].as_i64() {
            None | Some(0) => findings.required(&at("containerPort"), ""),
            Some(number) => findings_of_range(&at("containerPort"), number, 1, 65535, findings),
        }
        if let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) {
            findings_of_range(&at("hostPort"), number, 1, 65535, findings);
        }
        findings.one_of(&at("protocol"), text(&port["protocol"]), &PROTOCOLS);
    }
}

fn host_port_conflicts(containers: &Value, path: &str, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (c, container) in list(containers).iter().enumerate() {
        for (p, port) in list(&container["ports"]).iter().enumerate() {
            let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else { continue };
            let key = format!("{}/{}/{number}", text(&port["protocol"]), text(&port["hostIP"]));
            if !seen.insert(key.clone()) {
                findings.duplicate(&format!("{path}[{c}].ports[{p}].hostPort"), key);
            }
        }
    }
}

fn environment(container: &Value, path: &str, findings: &mut Findings) {
    for (index, variable) in list(&container["env"]).iter().enumerate() {
        let at = |field: &str| format!("{path}.env[{index}].{field}");
        let name = text(&variable["name"]);
        if name.is_empty() {
            findings.required(&at("name"), "");
        } else {
            findings.invalid_each(&at("name"), name, names::environment_name(name));
        }
        let Some(source) = variable["valueFrom"].as_object() else { continue };
        if source.is_empty() {
            let words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            findings.invalid(&at("valueFrom"), "", words);
        } else if !is_empty(&variable["value"]) {
            findings.invalid(&at("valueFrom"), "", "may not be specified when `value` is not empty");
        } else if source.len() > 1 {
            findings.invalid(&at("valueFrom"), "", "may not have more than one field specified at a time");
        }
        for (kind, reference) in source {
            let needs: &[&str] = match kind.as_str() {
                "configMapKeyRef" | "secretKeyRef" => &["name", "key"],
                "fieldRef" => &["fieldPath"],
                _ => &[],
            };
            for field in needs.iter().filter(|field| text(&reference[**field]).is_empty()) {
                findings.required(&at(&format!("valueFrom.{kind}.{field}")), "");
            }
        }
    }
    for (index, source) in list(&container["envFrom"]).iter().enumerate() {
        let path = format!("{path}.envFrom[{index}]");
        for kind in ["configMapRef", "secretRef"] {
            if source[kind].is_object() && text(&source[kind]["name"]).is_empty() {
                findings.required(&format!("{path}.{kind}.name"), "");
            }
        }
        if source["configMapRef"].is_null() && source["secretRef"].is_null() {
            findings.invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`");
        }
    }
}

fn mounts(mounts: &Value, volumes: &BTreeSet<&str>, path: &str, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (index, mount) in list(mounts).iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let (name, mount_path) = (text(&mount["name"]), text(&mount["mountPath"]));
        if name.is_empty() {
            findings.required(&at("name"), "");
        }
        if !volumes.contains(name) {
            findings.not_found(&at("name"), name);
        }
        if mount_path.is_empty() {
            findings.required(&at("mountPath"), "");
        }
        if !seen.insert(mount_path) {
            findings.invalid(&at("mountPath"), mount_path, "must be unique");
        }
        let sub_path = text(&mount["subPath"]);
        if sub_path.starts_with('/') {
            findings.invalid(&format!("{path}.subPath"), sub_path, "must be a relative path");
        }
        if sub_path.split('/').any(|part| part == "..") {
            findings.invalid(&format!("{path}.subPath"), sub_path, "must not contain '..'");
        }
    }
}

pub(super) fn resources(resources: &Value, path: &str, findings: &mut Findings) {
    let quantities = |field: &str| resources[field].as_object().into_iter().flatten();
    for field in ["limits", "requests"] {
        for (name, quantity) in quantities(field) {
            let path = format!("{path}.{field}[{name}]");
            quantity_value(name, quantity, &path, findings);
            let known =
                matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
            if !known && !name.contains('/') {
                findings.invalid(&path, name.as_str(), "must be a standard resource type or fully qualified");
                findings.invalid(&path, name.as_str(), "must be a standard resource for containers");
            }
        }
    }
    let parse = |value: &Value| Quantity::parse(text(value)).ok();
    for (name, quantity) in quantities("requests") {
        let limit = &resources["limits"][name.as_str()];
        let fixed = name.contains('/') || name.starts_with("hugepages-");
        if fixed && limit.is_null() {
            findings.required(&format!("{path}.limits"), "Limit must be set for non overcommitable resources");
        }
        let (Some(request), Some(most)) = (parse(quantity), parse(limit)) else { continue };
        if fixed && request != most {
            let words = format!("must be equal to {name} limit of {most}");
            findings.invalid(&format!("{path}.requests"), request.to_string(), words);
        } else if request > most {
            let words = format!("must be less than or equal to {name} limit of {most}");
            findings.invalid(&format!("{path}.requests"), request.to_string(), words);
        }
    }
}

pub(super) fn quantity_value(name: &str, quantity: &Value, path: &str, findings: &mut Findings) {
    let Ok(value) = Quantity::parse(text(quantity)) else { return };
    if value.is_negative() {
        findings.invalid(path, quantity.clone(), "must be greater than or equal to 0");
    }
    let counted = name.contains('/') || name == "pods" || name.starts_with("count/");
    if counted && !value.is_whole() {
        findings.invalid(path, quantity.clone(), "must be an integer");
    }
}

fn probe(probe: &Value, name: &str, path: &str, findings: &mut Findings) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], path, findings);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        findings.not_negative(&format!("{path}.{field}"), &probe[field]);
    }
    let successes = probe["successThreshold"].as_i64().unwrap_or(1);
    if name != "readinessProbe" && successes != 1 {
        findings.invalid(&format!("{path}.successThreshold"), successes, "must be 1");
    }
}

fn handler(handler: &Value, kinds: &[&str], path: &str, findings: &mut Findings) {
    let given: Vec<&&str> = kinds.iter().filter(|kind| handler[**kind].is_object()).collect();
    if given.is_empty() {
        findings.required(path, "must specify a handler type");
    }
    for extra in given.iter().skip(1) {
        findings.forbidden(&format!("{path}.{extra}"), "may not specify more than 1 handler type");
    }
    let Some(kind) = given.first() else { return };
    let action = &handler[**kind];
    let at = |field: &str| format!("{path}.{kind}.{field}");
    match **kind {
        "exec" if list(&action["command"]).is_empty() => findings.required(&at("command"), ""),
        "httpGet" => {
            if text(&action["path"]).is_empty() {
                findings.required(&at("path"), "");
            }
            port_number_or_name(&action["port"], &at("port"), findings);
            if !matches!(text(&action["scheme"]), "HTTP" | "HTTPS") {
                findings.not_supported(&at("scheme"), text(&action["scheme"]), ["HTTP", "HTTPS"]);
            }
            for header in list(&action["httpHeaders"]) {
                let name = text(&header["name"]);
                findings.invalid_each(&at("httpHeaders"), name, names::header_name(name));
            }
        }
        "tcpSocket" => port_number_or_name(&action["port"], &at("port"), findings),
        "grpc" => findings_of_range(&at("port"), action["port"].as_i64().unwrap_or(0), 1, 65535, findings),
        _ => {}
    }
}

pub(super) fn port_number_or_name(port: &Value, path: &str, findings: &mut Findings) {
    match port {
        Value::String(name) => findings.invalid_each(path, name, names::port_name(name)),
        other => findings_of_range(path, other.as_i64().unwrap_or(0), 1, 65535, findings),
    }
}

fn tolerations(tolerations: &Value, path: &str, findings: &mut Findings) {
    for (index, toleration) in list(tolerations).iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let (key, operator) = (text(&toleration["key"]), text(&toleration["operator"]));
        if !key.is_empty() {
            findings.invalid_each(&at("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            let words = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            findings.invalid(&at("operator"), operator, words);
        }
        match operator {
            "" | "Equal" => {
                let value = text(&toleration["value"]);
                findings.invalid_each(&at("operator"), value, names::label_value(value));
            }
            "Exists" if !is_empty(&toleration["value"]) => {
                let words = "value must be empty when `operator` is 'Exists'";
                findings.invalid(&at("operator"), toleration["value"].clone(), words);
            }
            "Exists" => {}
            other => findings.not_supported(&at("operator"), other, ["Equal", "Exists"]),
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        let effect = text(&toleration["effect"]);
        if !effect.is_empty() && !effects.contains(&effect) {
            findings.not_supported(&at("effect"), effect, effects);
        }
    }
}

/// A pod's spec hardly changes: images, the deadline, added tolerations, gates taken away.
pub(super) fn change(new: &Value, old: &Value, findings: &mut Findings) {
    let (new, old) = (&new["spec"], &old["spec"]);
    let mut munged = new.clone();
    for field in ["containers", "initContainers"] {
        if list(&new[field]).len() != list(&old[field]).len() {
            findings.forbidden(&format!("spec.{field}"), "pod updates may not add or remove containers");
            return;
        }
        for (index, container) in list(&old[field]).iter().enumerate() {
            munged[field][index]["image"] = container["image"].clone();
        }
    }
    let grown = list(&old["tolerations"]).iter().all(|toleration| list(&new["tolerations"]).contains(toleration));
    let mut follow = vec!["activeDeadlineSeconds"];
    if grown {
        follow.push("tolerations");
    } else {
        let words = "existing toleration can not be modified except its tolerationSeconds";
        findings.forbidden("spec.tolerations", words);
    }
    if list(&new["schedulingGates"]).iter().all(|gate| list(&old["schedulingGates"]).contains(gate)) {
        follow.push("schedulingGates");
    }
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0)
        && new["terminationGracePeriodSeconds"] == json!(1)
    {
        follow.push("terminationGracePeriodSeconds");
    }
    for field in follow {
        match old.get(field) {
            Some(value) => munged[field] = value.clone(),
            None => {
                munged.as_object_mut().map(|members| members.remove(field));
            }
        }
    }
    if munged != *old {
        let changed = crate::patch::merge_diff(old, &munged);
        let words = format!(
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n{changed}"
        );
        findings.forbidden("spec", words);
    }
}
