//! What differs between a live object and what applying its manifest would make of it, and who made it differ.
//!
//! The server itself says what applying would do (a dry run): it knows defaults, canonical forms of quantities and
//! which fields are ours, so that nothing is called different that is not.

use serde_json::{Map, Value};

use crate::application::{Drift, MANAGER};

/// Differences shown for one object; more than these help nobody.
const SHOWN_LIMIT: usize = 10;
/// Values longer than this are cut in what is shown.
const VALUE_LIMIT: usize = 60;

/// The parts of an object that applying a manifest can change.
fn relevant(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"] {
                metadata.remove(field);
            }
        }
    }
    object
}

/// The part of an object whose change makes a new comparison necessary.
pub(crate) fn fingerprint(object: &Value) -> String {
    relevant(object).to_string()
}

/// The fields in which `live` is not what applying would make it.
pub fn drift(live: &Value, applied: &Value) -> Vec<Drift> {
    let mut drifts = Vec::new();
    let mut path = Vec::new();
    compare(&relevant(live), &relevant(applied), &mut path, &mut drifts);
    for (path, drift) in &mut drifts {
        drift.manager = manager_of(live, path).unwrap_or_default();
    }
    drifts.into_iter().map(|(_, drift)| drift).collect()
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(usize),
}

fn compare(live: &Value, applied: &Value, path: &mut Vec<Step>, drifts: &mut Vec<(Vec<Step>, Drift)>) {
    if live == applied || drifts.len() >= SHOWN_LIMIT {
        return;
    }
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            let mut keys: Vec<&String> = live.keys().chain(applied.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let null = Value::Null;
                path.push(Step::Field(key.clone()));
                compare(live.get(key).unwrap_or(&null), applied.get(key).unwrap_or(&null), path, drifts);
                path.pop();
            }
        }
        (Value::Array(live), Value::Array(applied)) if live.len() == applied.len() => {
            for (index, (live, applied)) in live.iter().zip(applied).enumerate() {
                path.push(Step::Index(index));
                compare(live, applied, path, drifts);
                path.pop();
            }
        }
        (live, applied) => {
            let drift =
                Drift { field: field_path(path), desired: shown(applied), live: shown(live), manager: String::new() };
            drifts.push((path.clone(), drift));
        }
    }
}

fn field_path(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Field(name) if name.contains(['.', '/']) => text.push_str(&format!("[{name}]")),
            Step::Field(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
        }
    }
    text
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Who owns the field, by the newest entry of another manager that covers it.
fn manager_of(live: &Value, path: &[Step]) -> Option<String> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let mut owners: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["manager"] != MANAGER)
        .filter(|entry| entry["fieldsV1"].as_object().is_some_and(|fields| covers(fields, live, path)))
        .collect();
    owners.sort_by_key(|entry| entry["time"].as_str().unwrap_or_default().to_owned());
    owners.last()?["manager"].as_str().map(str::to_owned)
}

fn covers(fields: &Map<String, Value>, live: &Value, path: &[Step]) -> bool {
    let Some((step, rest)) = path.split_first() else { return true };
    // A leaf that is a whole map or an atomic list covers everything below it.
    if fields.is_empty() || (fields.len() == 1 && fields.contains_key(".")) {
        return true;
    }
    let child = match step {
        Step::Field(name) => fields.get(&format!("f:{name}")).map(|child| (child, &live[name])),
        Step::Index(index) => {
            let item = &live[*index];
            fields.iter().find(|(key, _)| names_item(key, item)).map(|(_, child)| (child, item))
        }
    };
    child.is_some_and(|(child, live)| child.as_object().is_some_and(|child| covers(child, live, rest)))
}

/// Whether a key of a field set (`k:{"name":"web"}`, `v:"x"`) names this list item.
fn names_item(key: &str, item: &Value) -> bool {
    if let Some(keys) = key.strip_prefix("k:") {
        let Ok(Value::Object(keys)) = serde_json::from_str(keys) else { return false };
        return keys.iter().all(|(name, value)| item.get(name) == Some(value));
    }
    key.strip_prefix("v:")
        .and_then(|value| serde_json::from_str::<Value>(value).ok())
        .is_some_and(|value| value == *item)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::drift;

    fn check(live: &Value, applied: &Value, expected: Expect) {
        let lines: Vec<String> = drift(live, applied)
            .into_iter()
            .map(|drift| format!("{}: {} -> {} by {:?}", drift.field, drift.desired, drift.live, drift.manager))
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    fn deployment(replicas: u32, image: &str) -> Value {
        json!({
            "metadata": {"name": "web", "resourceVersion": replicas.to_string(), "managedFields": [
                {"manager": "coracle", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}},
                {"manager": "kubectl", "time": "2026-01-01T00:00:01Z", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "kubectl-edit", "time": "2026-01-01T00:00:02Z", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:image": {}}}}}}}},
            ]},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
            "status": {"replicas": replicas},
        })
    }

    #[test]
    fn a_difference_names_the_field_and_who_made_it() {
        check(&deployment(3, "a"), &deployment(3, "a"), expect![""]);
        check(&deployment(5, "a"), &deployment(3, "a"), expect![[r#"spec.replicas: 3 -> 5 by "kubectl""#]]);
        check(
            &deployment(3, "b"),
            &deployment(3, "a"),
            expect![[r#"spec.template.spec.containers[0].image: a -> b by "kubectl-edit""#]],
        );
        check(
            &json!({"metadata": {"labels": {"a.b/c": "x"}}}),
            &json!({"metadata": {"labels": {"a.b/c": "y", "d": "e"}}}),
            expect![[r#"
                metadata.labels[a.b/c]: y -> x by ""
                metadata.labels.d: e -> nothing by """#]],
        );
    }
}
