//! Claims of devices, their classes, and what drivers offer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::field::Findings;
use super::{list, names, rules, text};
use crate::kinds::Kind;

const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
const VALUES: [(&str, &str); 4] =
    [("int", "IntValue"), ("bool", "BoolValue"), ("string", "StringValue"), ("version", "VersionValue")];

pub(super) fn check(kind: &Kind, object: &Value, findings: &mut Findings) {
    match kind.kind.as_ref() {
        "ResourceClaim" => claim(&object["spec"]["devices"], "spec.devices", findings),
        "ResourceClaimTemplate" => {
            let metadata = &object["spec"]["metadata"];
            super::metadata::labels_and_annotations(metadata, "spec.metadata", findings);
            claim(&object["spec"]["spec"]["devices"], "spec.spec.devices", findings);
        }
        "ResourceSlice" => slice(&object["spec"], findings),
        _ => {}
    }
}

fn claim(devices: &Value, path: &str, findings: &mut Findings) {
    rules::check_part("DeviceClaim", devices, path, findings);
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (index, request) in list(&devices["requests"]).iter().enumerate() {
        let name = text(&request["name"]);
        known.insert(name.to_owned());
        known.extend(list(&request["firstAvailable"]).iter().map(|sub| format!("{name}/{}", text(&sub["name"]))));
        self::request(request, &format!("{path}.requests[{index}]"), findings);
    }
    for field in ["constraints", "config"] {
        for (index, item) in list(&devices[field]).iter().enumerate() {
            for (at, name) in list(&item["requests"]).iter().map(text).enumerate() {
                if !known.contains(name) {
                    let words = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
                    findings.invalid(&format!("{path}.{field}[{index}].requests[{at}]"), name, words);
                }
            }
        }
    }
}

fn request(request: &Value, path: &str, findings: &mut Findings) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    let exactly = &request["exactly"];
    match (exactly.is_null(), list(&request["firstAvailable"]).is_empty()) {
        (true, true) => findings.required(path, ONE),
        (false, false) => findings.invalid(path, Value::Null, format!("{ONE}, but multiple fields are set")),
        _ => {}
    }
    let count = exactly["count"].as_i64().unwrap_or(0);
    match text(&exactly["allocationMode"]) {
        "All" if count != 0 => {
            let words = "must not be specified when allocationMode is 'All'";
            findings.invalid(&format!("{path}.exactly.count"), count, words);
        }
        "ExactCount" if count <= 0 => {
            findings.invalid(&format!("{path}.exactly.count"), count, "must be greater than zero");
        }
        _ => {}
    }
}

fn slice(spec: &Value, findings: &mut Findings) {
    let places = PLACES.map(|place| format!("`{place}`")).join(", ");
    let one = format!("exactly one of {places} is required");
    let is_set = |place: &&&str| !matches!(&spec[**place], Value::Null | Value::Bool(false)) && spec[**place] != "";
    let set: Vec<String> = PLACES.iter().filter(is_set).map(|place| format!("`{place}`")).collect();
    match set.len() {
        0 => findings.required("spec", &one),
        1 => {}
        _ => {
            let value = format!("{{{}}}", set.join(", "));
            findings.invalid("spec", value, format!("{one}, but multiple fields are set"));
        }
    }
    for (index, device) in list(&spec["devices"]).iter().enumerate() {
        for (name, value) in device["attributes"].as_object().into_iter().flatten() {
            attribute(name, value, &format!("spec.devices[{index}].attributes[{name}]"), findings);
        }
    }
}

fn attribute(name: &str, value: &Value, path: &str, findings: &mut Findings) {
    let id = name.split_once('/').map_or(name, |(domain, id)| {
        findings.invalid_each(path, domain, names::dns_1123_subdomain(domain));
        id
    });
    findings.invalid_each(path, id, names::c_identifier(id));
    match VALUES.iter().filter(|(field, _)| !value[*field].is_null()).count() {
        0 => findings.invalid(path, "", "exactly one value must be specified"),
        1 => {}
        _ => {
            let shown: serde_json::Map<String, Value> =
                VALUES.iter().map(|(field, gos)| ((*gos).to_owned(), value[*field].clone())).collect();
            findings.invalid(path, json!(shown), "exactly one value must be specified");
        }
    }
}
