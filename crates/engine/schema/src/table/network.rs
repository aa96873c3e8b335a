//! Rows of services, endpoints, ingresses and their like.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::text::{SHOWN, joined, labels, list, or, selector, text, with_more, words};
use crate::kinds::Kind;

pub(super) fn service(object: &Value, age: Value) -> Vec<Value> {
    let spec = &object["spec"];
    let kind = text(&spec["type"]);
    let external_ips = list(&spec["externalIPs"]);
    let external = match kind {
        "ClusterIP" | "NodePort" if external_ips.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => joined(external_ips, ","),
        "LoadBalancer" => {
            let balanced = load_balancer(&object["status"]);
            let all: Vec<&str> = balanced.iter().map(String::as_str).chain(external_ips.iter().map(text)).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    };
    let port = |port: &Value| {
        let node_port = port["nodePort"].as_i64().filter(|port| *port > 0).map(|port| format!(":{port}"));
        format!("{}{}/{}", port["port"], node_port.unwrap_or_default(), text(&port["protocol"]))
    };
    let ports: Vec<String> = list(&spec["ports"]).iter().map(port).collect();
    let ports = if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") };
    vec![
        object["metadata"]["name"].clone(),
        json!(kind),
        or(&spec["clusterIPs"][0], "<none>"),
        json!(external),
        json!(ports),
        age,
        json!(labels(&spec["selector"])),
    ]
}

fn load_balancer(status: &Value) -> BTreeSet<String> {
    let entries = list(&status["loadBalancer"]["ingress"]).iter();
    let shown =
        entries.map(|entry| if text(&entry["ip"]).is_empty() { text(&entry["hostname"]) } else { text(&entry["ip"]) });
    shown.filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

pub(super) fn endpoints(subsets: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(subsets) {
        let addresses = || list(&subset["addresses"]).iter().map(|address| text(&address["ip"]));
        let ports = list(&subset["ports"]);
        if ports.is_empty() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            all.extend(addresses().map(|ip| {
                let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
                format!("{ip}:{}", port["port"])
            }));
        }
    }
    let total = all.len();
    all.truncate(SHOWN);
    with_more(all, total)
}

pub(super) fn endpoint_slice(object: &Value, age: Value) -> Vec<Value> {
    let number = |port: &Value| match (&port["port"], &port["name"]) {
        (Value::Null, Value::String(name)) => name.clone(),
        (Value::Null, _) => "*".to_owned(),
        (number, _) => number.to_string(),
    };
    let short = |mut all: Vec<String>| {
        let total = all.len();
        all.truncate(SHOWN);
        json!(if total == 0 { "<unset>".to_owned() } else { with_more(all, total) })
    };
    let ports = short(list(&object["ports"]).iter().map(number).collect());
    let addresses = list(&object["endpoints"]).iter().flat_map(|endpoint| list(&endpoint["addresses"]));
    let addresses = short(addresses.map(|address| text(address).to_owned()).collect());
    vec![object["metadata"]["name"].clone(), words(&object["addressType"]), ports, addresses, age]
}

pub(super) fn network(kind: &Kind, object: &Value, age: Value) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let spec = &object["spec"];
    match kind.kind.as_ref() {
        "Ingress" => {
            let mut hosts: Vec<String> = list(&spec["rules"])
                .iter()
                .map(|rule| text(&rule["host"]).to_owned())
                .filter(|host| !host.is_empty())
                .collect();
            let total = hosts.len();
            hosts.truncate(SHOWN);
            let hosts = if total == 0 { "*".to_owned() } else { with_more(hosts, total) };
            let address: Vec<String> = load_balancer(&object["status"]).into_iter().collect();
            let ports = if list(&spec["tls"]).is_empty() { "80" } else { "80, 443" };
            vec![
                name,
                or(&spec["ingressClassName"], "<none>"),
                json!(hosts),
                json!(address.join(",")),
                json!(ports),
                age,
            ]
        }
        "IngressClass" => {
            let parameters = &spec["parameters"];
            let shown = if parameters.is_object() {
                let group = text(&parameters["apiGroup"]);
                let group = if group.is_empty() { String::new() } else { format!(".{group}") };
                format!("{}{group}/{}", text(&parameters["kind"]), text(&parameters["name"]))
            } else {
                "<none>".to_owned()
            };
            vec![name, words(&spec["controller"]), json!(shown), age]
        }
        "NetworkPolicy" => vec![name, json!(selector(&spec["podSelector"])), age],
        "ServiceCIDR" => vec![name, json!(joined(list(&spec["cidrs"]), ",")), age],
        _ => {
            let parent = &spec["parentRef"];
            let (group, namespace) = (text(&parent["group"]), text(&parent["namespace"]));
            let mut shown = text(&parent["resource"]).to_owned();
            if !group.is_empty() {
                shown += &format!(".{group}");
            }
            if !namespace.is_empty() {
                shown += &format!("/{namespace}");
            }
            let shown = format!("{}/{}", shown.to_lowercase(), text(&parent["name"]));
            vec![name, json!(if parent.is_object() { shown } else { "<none>".to_owned() }), age]
        }
    }
}
