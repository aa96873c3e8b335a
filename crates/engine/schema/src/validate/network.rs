//! Services, endpoints, ingresses and network policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::field::Findings;
use super::{is_empty, list, metadata, names, pod, rules, selector, text};
use crate::kinds::Kind;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn check(kind: &Kind, object: &Value, findings: &mut Findings) {
    match kind.kind.as_ref() {
        "Service" => service(&object["spec"], findings),
        "Endpoints" => endpoints(object, findings),
        "EndpointSlice" => endpoint_slice(object, findings),
        "Ingress" => ingress(&object["spec"], findings),
        "IngressClass" => ingress_class(&object["spec"], findings),
        "ServiceCIDR" => service_ranges(&object["spec"]["cidrs"], findings),
        "NetworkPolicy" => network_policy(&object["spec"], findings),
        _ => {}
    }
}

fn is_headless(spec: &Value) -> bool {
    spec["clusterIP"] == "None" || spec["clusterIPs"][0] == "None"
}

fn service(spec: &Value, findings: &mut Findings) {
    let kind = text(&spec["type"]);
    if list(&spec["ports"]).is_empty() && !is_headless(spec) && kind != "ExternalName" {
        findings.required("spec.ports", "");
    }
    if matches!(kind, "LoadBalancer" | "NodePort") && is_headless(spec) {
        findings.invalid("spec.clusterIPs[0]", "None", format!("may not be set to 'None' for {kind} services"));
    }
    if kind == "ExternalName" {
        external_name(spec, findings);
    }
    service_ports(spec, findings);
    balancing(spec, findings);
    metadata::labels(&spec["selector"], "spec.selector", findings);
    let affinity = text(&spec["sessionAffinity"]);
    findings.one_of("spec.sessionAffinity", affinity, &["ClientIP", "None"]);
    let timeout = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if let Some(seconds) = timeout.as_i64().filter(|seconds| !(1..=86400).contains(seconds)) {
        let words = "must be greater than 0 and less than 86400";
        findings.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, words);
    }
    for (index, address) in list(&spec["clusterIPs"]).iter().map(text).enumerate() {
        if address != "None" {
            ip(address, &format!("spec.clusterIPs[{index}]"), findings);
        }
    }
    for (index, address) in list(&spec["externalIPs"]).iter().map(text).enumerate() {
        ip(address, &format!("spec.externalIPs[{index}]"), findings);
    }
    findings.one_of("spec.type", kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    for field in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        let policy = text(&spec[field]);
        if !policy.is_empty() && !["Cluster", "Local"].contains(&policy) {
            findings.not_supported(&format!("spec.{field}"), policy, ["Cluster", "Local"]);
        }
    }
}

/// What only balanced services, or only those that are reached from outside, may have.
fn balancing(spec: &Value, findings: &mut Findings) {
    let kind = text(&spec["type"]);
    if kind != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if !spec[field].is_null() {
                findings.forbidden(&format!("spec.{field}"), "may only be used when `type` is 'LoadBalancer'");
            }
        }
        if !is_empty(&spec["loadBalancerSourceRanges"]) {
            let words = "may only be used when `type` is 'LoadBalancer'";
            findings.forbidden("spec.LoadBalancerSourceRanges", words);
        }
    }
    for (index, range) in list(&spec["loadBalancerSourceRanges"]).iter().enumerate() {
        rules::cidr(range, &format!("spec.LoadBalancerSourceRanges[{index}]"), findings);
    }
    let policy = &spec["externalTrafficPolicy"];
    let is_outside =
        matches!(kind, "LoadBalancer" | "NodePort") || kind == "ClusterIP" && !is_empty(&spec["externalIPs"]);
    if !is_empty(policy) && !is_outside {
        let words = "may only be set for externally-accessible services";
        findings.invalid("spec.externalTrafficPolicy", policy.clone(), words);
    }
}

fn external_name(spec: &Value, findings: &mut Findings) {
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !is_empty(&spec[field]) {
            findings.forbidden(&format!("spec.{field}"), "may not be set for ExternalName services");
        }
    }
    let name = text(&spec["externalName"]);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        findings.required("spec.externalName", "");
    } else {
        findings.invalid_each("spec.externalName", name, names::dns_1123_subdomain(name));
    }
}

fn service_ports(spec: &Value, findings: &mut Findings) {
    let ports = list(&spec["ports"]);
    let (mut names_seen, mut ports_seen, mut node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let at = |field: &str| format!("{path}.{field}");
        let (name, protocol) = (text(&port["name"]), text(&port["protocol"]));
        if name.is_empty() {
            if ports.len() > 1 {
                findings.required(&at("name"), "");
            }
        } else {
            findings.invalid_each(&at("name"), name, names::dns_1123_label(name));
            if !names_seen.insert(name) {
                findings.duplicate(&at("name"), name);
            }
        }
        let number = port["port"].as_i64().unwrap_or(0);
        for words in names::port_number(number) {
            findings.invalid(&at("port"), number, words);
        }
        findings.one_of(&at("protocol"), protocol, &PROTOCOLS);
        pod::port_number_or_name(&port["targetPort"], &at("targetPort"), findings);
        let node_port = port["nodePort"].as_i64().unwrap_or(0);
        if node_port != 0 && spec["type"] == "ClusterIP" {
            findings.forbidden(&at("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        if node_port != 0 && !node_ports.insert((protocol, node_port)) {
            findings.duplicate(&at("nodePort"), node_port);
        }
        if !ports_seen.insert((protocol, number)) {
            findings.duplicate(&path, json!({"name": "", "protocol": protocol, "port": number, "targetPort": 0}));
        }
    }
}

fn ip(address: &str, path: &str, findings: &mut Findings) {
    if address.parse::<IpAddr>().is_err() {
        findings.invalid(path, address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
}

/// An address once given stays, unless the service becomes or was a mere name.
pub(super) fn service_change(new: &Value, old: &Value, findings: &mut Findings) {
    let (new, old) = (&new["spec"], &old["spec"]);
    let was = text(&old["clusterIP"]);
    if old["type"] == "ExternalName" || new["type"] == "ExternalName" || was.is_empty() {
        return;
    }
    let now = text(&new["clusterIP"]);
    if now.is_empty() {
        findings.invalid("spec.clusterIPs[0]", new["clusterIPs"].clone(), "primary clusterIP can not be unset");
    } else if now != was {
        findings.invalid("spec.clusterIPs[0]", json!([now]), "may not change once set");
    }
}

fn endpoints(object: &Value, findings: &mut Findings) {
    for (s, subset) in list(&object["subsets"]).iter().enumerate() {
        let path = format!("subsets[{s}]");
        if is_empty(&subset["addresses"]) && is_empty(&subset["notReadyAddresses"]) {
            findings.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for field in ["addresses", "notReadyAddresses"] {
            for (index, address) in list(&subset[field]).iter().enumerate() {
                ip(text(&address["ip"]), &format!("{path}.{field}[{index}].ip"), findings);
            }
        }
        ports(&subset["ports"], &format!("{path}.ports"), findings);
    }
}

fn ports(ports: &Value, path: &str, findings: &mut Findings) {
    let several = list(ports).len() > 1;
    let mut seen = BTreeSet::new();
    for (index, port) in list(ports).iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let name = text(&port["name"]);
        if !name.is_empty() {
            findings.invalid_each(&at("name"), name, names::dns_1123_label(name));
        }
        if name.is_empty() && several {
            findings.required(&at("name"), "");
        } else if !seen.insert(name) && several {
            findings.duplicate(&at("name"), name);
        }
        if let Some(number) = port["port"].as_i64() {
            for words in names::port_number(number) {
                findings.invalid(&at("port"), number, words);
            }
        }
        let protocol = text(&port["protocol"]);
        if !protocol.is_empty() && !PROTOCOLS.contains(&protocol) {
            findings.not_supported(&at("protocol"), protocol, PROTOCOLS);
        }
    }
}

fn endpoint_slice(object: &Value, findings: &mut Findings) {
    const MOST: u64 = 1000;
    let kind = text(&object["addressType"]);
    findings.one_of("addressType", kind, &["FQDN", "IPv4", "IPv6"]);
    let endpoints = list(&object["endpoints"]);
    if endpoints.len() as u64 > MOST {
        findings.too_many("endpoints", endpoints.len(), MOST);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = format!("endpoints[{index}].addresses");
        if list(&endpoint["addresses"]).is_empty() {
            findings.required(&path, "must contain at least 1 address");
        }
        for (index, address) in list(&endpoint["addresses"]).iter().map(text).enumerate() {
            let path = format!("{path}[{index}]");
            match (kind, address.parse::<IpAddr>()) {
                ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => {}
                ("IPv4", _) => findings.invalid(&path, address, "must be an IPv4 address"),
                ("IPv6", _) => findings.invalid(&path, address, "must be an IPv6 address"),
                _ => findings.invalid_each(&path, address, names::dns_1123_subdomain(address)),
            }
        }
    }
    ports(&object["ports"], "ports", findings);
}

fn ingress(spec: &Value, findings: &mut Findings) {
    if is_empty(&spec["rules"]) && spec["defaultBackend"].is_null() {
        let rules = if spec["rules"].is_null() { json!(null) } else { json!([]) };
        findings.invalid("spec", rules, "either `defaultBackend` or `rules` must be specified");
    }
    if !spec["defaultBackend"].is_null() {
        backend(&spec["defaultBackend"], "spec.defaultBackend", findings);
    }
    for (index, rule) in list(&spec["rules"]).iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        host(text(&rule["host"]), &format!("{path}.host"), findings);
        if rule["http"].is_null() {
            continue;
        }
        if list(&rule["http"]["paths"]).is_empty() {
            findings.required(&format!("{path}.http.paths"), "");
        }
        for (index, rule) in list(&rule["http"]["paths"]).iter().enumerate() {
            ingress_path(rule, &format!("{path}.http.paths[{index}]"), findings);
        }
    }
    for (index, tls) in list(&spec["tls"]).iter().enumerate() {
        for (h, name) in list(&tls["hosts"]).iter().map(text).enumerate() {
            host(name, &format!("spec.tls[{index}].hosts[{h}]"), findings);
        }
        let secret = text(&tls["secretName"]);
        if !secret.is_empty() {
            findings.invalid_each(&format!("spec.tls[{index}].secretName"), secret, names::dns_1123_subdomain(secret));
        }
    }
    let class = text(&spec["ingressClassName"]);
    if !spec["ingressClassName"].is_null() {
        findings.invalid_each("spec.ingressClassName", class, names::dns_1123_subdomain(class));
    }
}

fn ingress_class(spec: &Value, findings: &mut Findings) {
    if text(&spec["controller"]).is_empty() {
        findings.required("spec.controller", "");
    }
    let (parameters, field) = (&spec["parameters"], "spec.parameters.namespace");
    match (text(&parameters["scope"]), is_empty(&parameters["namespace"])) {
        ("Namespace", true) => findings.required(field, "`parameters.scope` is set to 'Namespace'"),
        ("Cluster", false) => findings.forbidden(field, "`parameters.scope` is set to 'Cluster'"),
        _ => {}
    }
}

fn service_ranges(ranges: &Value, findings: &mut Findings) {
    for (index, range) in list(ranges).iter().map(text).enumerate() {
        let parts = range
            .split_once('/')
            .and_then(|(address, prefix)| Some((address.parse::<IpAddr>().ok()?, prefix.parse::<u32>().ok()?)));
        let has_bits = match parts {
            Some((IpAddr::V4(address), prefix)) => u32::from(address).checked_shl(prefix).unwrap_or(0) != 0,
            Some((IpAddr::V6(address), prefix)) => u128::from(address).checked_shl(prefix).unwrap_or(0) != 0,
            None => false,
        };
        if has_bits {
            let words = "must not have bits set beyond the prefix length";
            findings.invalid(&format!("spec.cidrs[{index}]"), range, words);
        }
    }
    let of_six = |six: bool| list(ranges).iter().filter(|range| text(range).contains(':') == six).count();
    if list(ranges).len() == 2 && (of_six(true) > 1 || of_six(false) > 1) {
        let words = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        findings.invalid("spec.cidrs", ranges.clone(), words);
    }
}

fn host(host: &str, path: &str, findings: &mut Findings) {
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        findings.invalid(path, host, "must be a DNS name, not an IP address");
    }
    let wrong = if host.contains('*') { names::wildcard_subdomain(host) } else { names::dns_1123_subdomain(host) };
    findings.invalid_each(path, host, wrong);
}

fn ingress_path(rule: &Value, path: &str, findings: &mut Findings) {
    let at = |field: &str| format!("{path}.{field}");
    let url_path = text(&rule["path"]);
    match text(&rule["pathType"]) {
        "" => return findings.required(&at("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !url_path.starts_with('/') {
                findings.invalid(&at("path"), url_path, "must be an absolute path");
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
                if url_path.contains(sequence) {
                    findings.invalid(&at("path"), url_path, format!("must not contain '{sequence}'"));
                }
            }
            for end in ["/..", "/."] {
                if url_path.ends_with(end) {
                    findings.invalid(&at("path"), url_path, format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !url_path.is_empty() && !url_path.starts_with('/') {
                findings.invalid(&at("path"), url_path, "must be an absolute path");
            }
        }
        other => findings.not_supported(&at("pathType"), other, ["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(&rule["backend"], &at("backend"), findings);
}

fn backend(backend: &Value, path: &str, findings: &mut Findings) {
    let service = &backend["service"];
    match (backend["resource"].is_null(), service.is_null()) {
        (false, false) => return findings.invalid(path, "", "cannot set both resource and service backends"),
        (true, true) => return findings.invalid(path, "", "resource or service backend is required"),
        (false, true) => return,
        (true, false) => {}
    }
    let name = text(&service["name"]);
    if name.is_empty() {
        findings.required(&format!("{path}.service.name"), "");
    } else {
        findings.invalid_each(&format!("{path}.service.name"), name, names::dns_1035_label(name));
    }
    let (port_name, number) = (text(&service["port"]["name"]), service["port"]["number"].as_i64().unwrap_or(0));
    match (port_name.is_empty(), number) {
        (false, 1..) => findings.invalid(path, "", "cannot set both port name & port number"),
        (false, _) => {
            findings.invalid_each(&format!("{path}.service.port.name"), port_name, names::port_name(port_name));
        }
        (true, 0) => findings.required(path, "port name or number is required"),
        (true, number) => {
            for words in names::port_number(number) {
                findings.invalid(&format!("{path}.service.port.number"), number, words);
            }
        }
    }
}

fn network_policy(spec: &Value, findings: &mut Findings) {
    selector::check(&spec["podSelector"], "spec.podSelector", findings);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in list(&spec[direction]).iter().enumerate() {
            let path = format!("spec.{direction}[{index}]");
            for (index, port) in list(&rule["ports"]).iter().enumerate() {
                if !port["port"].is_null() {
                    pod::port_number_or_name(&port["port"], &format!("{path}.ports[{index}].port"), findings);
                }
                end_port(port, &format!("{path}.ports[{index}].endPort"), findings);
            }
            for (index, peer) in list(&rule[peers]).iter().enumerate() {
                let path = format!("{path}.{peers}[{index}]");
                let selects = ["podSelector", "namespaceSelector"].iter().any(|field| peer[*field].is_object());
                for field in ["podSelector", "namespaceSelector"] {
                    selector::check(&peer[field], &format!("{path}.{field}"), findings);
                }
                if !selects && peer["ipBlock"].is_null() {
                    findings.required(&path, "must specify a peer");
                } else if selects && peer["ipBlock"].is_object() {
                    findings.forbidden(&path, "may not specify both ipBlock and another peer");
                }
            }
        }
    }
    for (index, policy) in list(&spec["policyTypes"]).iter().map(text).enumerate() {
        if !["Ingress", "Egress"].contains(&policy) {
            findings.not_supported(&format!("spec.policyTypes[{index}]"), policy, ["Ingress", "Egress"]);
        }
    }
    if list(&spec["policyTypes"]).len() > 2 {
        findings.invalid("spec.policyTypes", spec["policyTypes"].clone(), "may not specify more than two policyTypes");
    }
}

fn end_port(port: &Value, path: &str, findings: &mut Findings) {
    let Some(end) = port["endPort"].as_i64() else { return };
    match &port["port"] {
        Value::Null => findings.invalid(path, end, "may not be specified when `port` is not specified"),
        Value::String(_) => findings.invalid(path, end, "may not be specified when `port` is non-numeric"),
        number if number.as_i64().is_some_and(|number| number > end) => {
            findings.invalid(path, number.clone(), "must be greater than or equal to `port`");
        }
        _ => {}
    }
}
