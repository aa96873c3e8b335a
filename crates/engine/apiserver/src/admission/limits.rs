//! LimitRanges: what containers get when they do not say, and the bounds of what they, their pods and volume claims may ask.

use coracle_schema::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::{Admission, Attributes, Operation};
use crate::{object, status::Failure};

/// See the module.
#[derive(Debug)]
pub struct LimitRanger;

impl Admission for LimitRanger {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        if !request.is(Operation::Create, "", "pods") {
            return Ok(());
        }
        let mut notes = Vec::new();
        for range in ranges(request)? {
            for limit in limits(&range, "Container") {
                fill_in(&mut object["spec"], limit, &mut notes);
            }
        }
        if !notes.is_empty() {
            let annotations = object::metadata_mut(object).entry("annotations").or_insert_with(|| json!({}));
            annotations["kubernetes.io/limit-ranger"] = json!(format!("LimitRanger plugin set: {}", notes.join("; ")));
        }
        Ok(())
    }

    fn validate(&self, request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
        let pod = request.is(Operation::Create, "", "pods");
        let claim = request.is(Operation::Create, "", "persistentvolumeclaims");
        if !pod && !claim {
            return Ok(());
        }
        let mut problems = Vec::new();
        for range in ranges(request)? {
            if claim {
                let asked = Asked { requests: map(&object["spec"]["resources"]["requests"]), limits: Map::new() };
                limits(&range, "PersistentVolumeClaim")
                    .for_each(|limit| check(limit, "PersistentVolumeClaim", &asked, &mut problems));
                continue;
            }
            for container in containers(&object["spec"]) {
                let resources = &container["resources"];
                let asked = Asked { requests: map(&resources["requests"]), limits: map(&resources["limits"]) };
                limits(&range, "Container").for_each(|limit| check(limit, "Container", &asked, &mut problems));
            }
            let asked = pod_total(&object["spec"]);
            limits(&range, "Pod").for_each(|limit| check(limit, "Pod", &asked, &mut problems));
        }
        match problems.as_slice() {
            [] => Ok(()),
            [one] => Err(request.forbidden(one)),
            many => Err(request.forbidden(&format!("[{}]", many.join(", ")))),
        }
    }
}

/// What something asks for.
struct Asked {
    requests: Map<String, Value>,
    limits: Map<String, Value>,
}

fn ranges(request: &Attributes<'_>) -> Result<Vec<Value>, Failure> {
    let snapshot = request.server.store.snapshot();
    let prefix = format!("/core/limitranges/{}/", request.namespace);
    snapshot.list(&prefix).map(|record| object::decode(record)).collect()
}

fn limits<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    range["spec"]["limits"].as_array().into_iter().flatten().filter(move |limit| limit["type"] == kind)
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|list| spec[list].as_array().into_iter().flatten())
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn fill_in(spec: &mut Value, limit: &Value, notes: &mut Vec<String>) {
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            for (from, to) in [("default", "limits"), ("defaultRequest", "requests")] {
                let set = set_missing(container, &limit[from], to);
                if !set.is_empty() {
                    let name = container["name"].as_str().unwrap_or_default();
                    notes.push(format!("{} {} for container {name}", set.join(", "), to.trim_end_matches('s')));
                }
            }
        }
    }
}

fn set_missing(container: &mut Value, values: &Value, to: &str) -> Vec<String> {
    let mut set = Vec::new();
    for (name, value) in values.as_object().into_iter().flatten() {
        if container["resources"][to].get(name).is_none() {
            // A limit that is there already bounds the default request.
            container["resources"][to][name] = value.clone();
            set.push(name.clone());
        }
    }
    set
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

fn check(limit: &Value, kind: &str, asked: &Asked, problems: &mut Vec<String>) {
    let each = |field: &str| limit[field].as_object().cloned().into_iter().flatten();
    for (name, bound) in each("min") {
        for (what, have) in [("request", asked.requests.get(&name)), ("limit", asked.limits.get(&name))] {
            match (have.and_then(quantity), quantity(&bound)) {
                (Some(have), Some(least)) if have < least => problems.push(format!(
                    "minimum {name} usage per {kind} is {}, but {what} is {}",
                    text(&bound),
                    have_text(have_of(asked, what, &name))
                )),
                (None, Some(_)) if what == "request" => {
                    problems
                        .push(format!("minimum {name} usage per {kind} is {}.  No request is specified", text(&bound)));
                }
                _ => {}
            }
        }
    }
    for (name, bound) in each("max") {
        let of_claims = kind == "PersistentVolumeClaim";
        for (what, have) in [("limit", asked.limits.get(&name)), ("request", asked.requests.get(&name))] {
            match (have.and_then(quantity), quantity(&bound)) {
                (Some(have), Some(most)) if have > most => problems.push(format!(
                    "maximum {name} usage per {kind} is {}, but {what} is {}",
                    text(&bound),
                    have_text(have_of(asked, what, &name))
                )),
                (None, Some(_)) if what == "limit" && !of_claims => {
                    problems
                        .push(format!("maximum {name} usage per {kind} is {}.  No limit is specified", text(&bound)));
                }
                _ => {}
            }
        }
    }
}

fn have_of<'a>(asked: &'a Asked, what: &str, name: &str) -> Option<&'a Value> {
    if what == "limit" { asked.limits.get(name) } else { asked.requests.get(name) }
}

fn have_text(value: Option<&Value>) -> String {
    value.map(text).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// All containers together, as far as each of them says something.
fn pod_total(spec: &Value) -> Asked {
    let sum = |field: &str| -> Map<String, Value> {
        let mut total: std::collections::BTreeMap<String, Quantity> = Default::default();
        for container in spec["containers"].as_array().into_iter().flatten() {
            for (name, value) in container["resources"][field].as_object().into_iter().flatten() {
                if let Some(value) = quantity(value) {
                    let sum = match total.remove(name) {
                        Some(so_far) => so_far + value,
                        None => value,
                    };
                    total.insert(name.clone(), sum);
                }
            }
        }
        total.into_iter().map(|(name, sum)| (name, json!(sum.to_string()))).collect()
    };
    Asked { requests: sum("requests"), limits: sum("limits") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_without_a_word_get_the_defaults() {
        let mut spec = json!({"containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "2"}}}]});
        let mut notes = Vec::new();
        fill_in(&mut spec, &json!({"default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}}), &mut notes);
        assert_eq!(spec["containers"][0]["resources"], json!({"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}));
        assert_eq!(spec["containers"][1]["resources"]["limits"]["cpu"], "2");
        assert_eq!(
            notes.join("; "),
            "cpu limit for container a; cpu request for container a; cpu request for container b"
        );
    }

    #[test]
    fn bounds_are_kept() {
        let limit = json!({"min": {"cpu": "100m"}, "max": {"cpu": "1"}});
        let problems = |requests: Value, limits: Value| {
            let mut problems = Vec::new();
            check(&limit, "Container", &Asked { requests: map(&requests), limits: map(&limits) }, &mut problems);
            problems.join(" | ")
        };
        assert_eq!(problems(json!({"cpu": "200m"}), json!({"cpu": "1000m"})), "");
        assert_eq!(
            problems(json!({"cpu": "50m"}), json!({"cpu": "2"})),
            "minimum cpu usage per Container is 100m, but request is 50m | maximum cpu usage per Container is 1, but limit is 2"
        );
    }

    #[test]
    fn a_pod_asks_for_what_its_containers_ask_for() {
        let spec = json!({"containers": [{"resources": {"requests": {"cpu": "500m"}}}, {"resources": {"requests": {"cpu": "1"}}}]});
        assert_eq!(pod_total(&spec).requests, map(&json!({"cpu": "1500m"})));
    }
}
