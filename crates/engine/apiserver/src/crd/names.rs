//! Names of custom resources: each may be taken once in a group, and conditions tell who has them.

use std::collections::HashMap;

use serde_json::{Value, json};

/// The names taken so far, by group.
#[derive(Debug, Default)]
pub struct Taken(HashMap<(String, &'static str, String), String>);

/// Why a definition's names cannot be accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict {
    reason: &'static str,
    message: String,
}

impl Taken {
    /// Takes all names of a definition, or says which of them somebody else has.
    pub fn claim(&mut self, definition: &Value, is_built_in: impl Fn(&str) -> bool) -> Option<Conflict> {
        let spec = &definition["spec"];
        let group = spec["group"].as_str().unwrap_or_default();
        let owner = crate::object::name(definition);
        if is_built_in(group) {
            let message = format!("group {group:?} is served by the server itself");
            return Some(Conflict { reason: "GroupConflict", message });
        }
        let wanted = wanted(&spec["names"]);
        for (scope, reason, name) in &wanted {
            let key = (group.to_owned(), *scope, name.clone());
            if self.0.get(&key).is_some_and(|other| other != owner) {
                return Some(Conflict { reason, message: format!("{name:?} is already in use") });
            }
        }
        for (scope, _, name) in wanted {
            self.0.insert((group.to_owned(), scope, name), owner.to_owned());
        }
        None
    }
}

/// (name space, reason for a conflict, name). Resource names of all sorts share one space, kinds another.
fn wanted(names: &Value) -> Vec<(&'static str, &'static str, String)> {
    let text = |field: &str| names[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let mut all = Vec::new();
    all.extend(text("plural").map(|name| ("resource", "PluralConflict", name)));
    all.extend(text("singular").map(|name| ("resource", "SingularConflict", name)));
    let short = names["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.extend(short.map(|name| ("resource", "ShortNamesConflict", name.to_owned())));
    all.extend(text("kind").map(|name| ("kind", "KindConflict", name)));
    all.extend(text("listKind").map(|name| ("kind", "ListKindConflict", name)));
    all
}

/// The status a definition should have.
pub fn status(definition: &Value, conflict: Option<&Conflict>, now: &str) -> Value {
    let mut status = match definition["status"].is_object() {
        true => definition["status"].clone(),
        false => json!({}),
    };
    let accepted = match conflict {
        None => condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
        Some(conflict) => condition("NamesAccepted", "False", conflict.reason, &conflict.message),
    };
    let was_established = is(&status, "Established", "True");
    let established = match (conflict, was_established) {
        (None, _) => condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
        (Some(_), true) => {
            condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
        }
        (Some(_), false) => condition("Established", "False", "NotAccepted", "not all names are accepted"),
    };
    set_condition(&mut status, accepted, now);
    set_condition(&mut status, established, now);
    if crate::object::is_deleting(definition) && !is(&status, "Terminating", "True") {
        set_condition(
            &mut status,
            condition(
                "Terminating",
                "True",
                "InstanceDeletionPending",
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
            ),
            now,
        );
    }
    if conflict.is_none() {
        status["acceptedNames"] = definition["spec"]["names"].clone();
    } else if !status["acceptedNames"].is_object() {
        status["acceptedNames"] = json!({"plural": "", "kind": ""});
    }
    remember_storage(&mut status, definition);
    status
}

/// Every version objects were ever stored in.
fn remember_storage(status: &mut Value, definition: &Value) {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let storage =
        versions.into_iter().find(|version| version["storage"] == json!(true)).map(|version| version["name"].clone());
    let mut stored = status["storedVersions"].as_array().cloned().unwrap_or_default();
    if let Some(storage) = storage.filter(|storage| !stored.contains(storage)) {
        stored.push(storage);
    }
    status["storedVersions"] = stored.into();
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

fn is(status: &Value, kind: &str, value: &str) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == kind && condition["status"] == value)
}

/// Puts a condition in, keeping the time of its last change where nothing changed.
pub fn set_condition(status: &mut Value, mut condition: Value, now: &str) {
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let at = conditions.iter().position(|known| known["type"] == condition["type"]);
    let since = at.map(|at| &conditions[at]).filter(|known| known["status"] == condition["status"]);
    condition["lastTransitionTime"] = match since.map(|known| known["lastTransitionTime"].clone()) {
        Some(Value::String(since)) => json!(since),
        _ => json!(now),
    };
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
    status["conditions"] = conditions.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, plural: &str, kind: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"group": "g", "names": {"plural": plural, "kind": kind}, "versions": [{"name": "v1", "storage": true}]}})
    }

    #[test]
    fn names_are_taken_once() {
        let mut taken = Taken::default();
        assert_eq!(taken.claim(&definition("a.g", "a", "A"), |_| false), None);
        assert_eq!(taken.claim(&definition("a.g", "a", "A"), |_| false), None);
        assert_eq!(taken.claim(&definition("b.g", "b", "A"), |_| false).unwrap().reason, "KindConflict");
        assert_eq!(taken.claim(&definition("c.g", "a", "C"), |_| false).unwrap().reason, "PluralConflict");
    }

    #[test]
    fn a_status_that_is_right_stays_as_it_is() {
        let mut definition = definition("a.g", "a", "A");
        definition["status"] = status(&definition, None, "t1");
        assert_eq!(status(&definition, None, "t2"), definition["status"]);
        assert!(is(&definition["status"], "Established", "True"));
        assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    }
}
