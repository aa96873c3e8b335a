//! What other servers serve, in the shape of aggregated discovery.

use serde_json::{Value, json};

use super::Foreign;

/// The entries of `resources`, each with its subresources, from the plain list in which these stand beside each other.
pub fn aggregated(foreign: &Foreign, resources: &[Value]) -> Vec<Value> {
    let name = |resource: &Value| resource["name"].as_str().unwrap_or_default().to_owned();
    let main = resources.iter().filter(|resource| !name(resource).contains('/'));
    main.map(|resource| {
        let plural = name(resource);
        let mut entry = json!({
            "resource": plural,
            "responseKind": response_kind(foreign, resource),
            "scope": if resource["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": resource["singularName"].as_str().unwrap_or_default(),
            "verbs": resource["verbs"],
        });
        for field in ["shortNames", "categories"] {
            if resource[field].is_array() {
                entry[field] = resource[field].clone();
            }
        }
        let parts = resources.iter().filter_map(|part| {
            let name = name(part);
            let (_, subresource) = name.split_once('/').filter(|(parent, _)| *parent == plural)?;
            let kind = response_kind(foreign, part);
            Some(json!({"subresource": subresource, "responseKind": kind, "verbs": part["verbs"]}))
        });
        let parts: Vec<Value> = parts.collect();
        if !parts.is_empty() {
            entry["subresources"] = parts.into();
        }
        entry
    })
    .collect()
}

fn response_kind(foreign: &Foreign, resource: &Value) -> Value {
    let or = |field: &str, otherwise: &str| {
        resource[field].as_str().filter(|text| !text.is_empty()).unwrap_or(otherwise).to_owned()
    };
    json!({"group": or("group", &foreign.group), "version": or("version", &foreign.version), "kind": resource["kind"]})
}
