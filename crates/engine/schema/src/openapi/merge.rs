//! Version 2 documents of other servers, laid into one's own: what they say of the paths they answer for, and the
//! definitions this needs. A definition that is another one here under the same name is renamed, as upstream's aggregator does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

const DEFINITIONS: &str = "#/definitions/";
const PARAMETERS: &str = "#/parameters/";
/// Which kinds a definition stands for: no part of what it says, and joined where definitions are the same.
const KINDS: &str = "x-kubernetes-group-version-kind";

/// Lays into `document` what `other` says of the paths below `prefix`. Paths that are there already stay as they are.
pub fn merge_v2(document: &mut Value, mut other: Value, prefix: &str) {
    let Some(Value::Object(mut paths)) = other.get_mut("paths").map(Value::take) else { return };
    let mut definitions = match other.get_mut("definitions").map(Value::take) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    // Documents here have no parameters that are shared.
    let shared = &other["parameters"];
    paths.values_mut().for_each(|path| inline_parameters(path, shared));
    let used_before = used(&paths, &definitions);
    paths.retain(|path, _| path.starts_with(prefix) && document["paths"].get(path).is_none());
    if paths.is_empty() {
        return;
    }
    let used_now = used(&paths, &definitions);
    definitions.retain(|name, _| used_now.contains(name) || !used_before.contains(name));
    let renames = renames(&definitions, &document["definitions"]);
    paths.values_mut().chain(definitions.values_mut()).for_each(|value| rename(value, &renames));
    for (name, definition) in definitions {
        let name = renames.get(&name).unwrap_or(&name);
        match document["definitions"].get_mut(name) {
            Some(present) => join_kinds(present, &definition),
            None => document["definitions"][name] = definition,
        }
    }
    for (path, item) in paths {
        document["paths"][path] = item;
    }
}

fn inline_parameters(value: &mut Value, shared: &Value) {
    match value {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(PARAMETERS));
            match name.and_then(|name| shared.get(name)) {
                Some(parameter) => *value = parameter.clone(),
                None => members.values_mut().for_each(|member| inline_parameters(member, shared)),
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| inline_parameters(item, shared)),
        _ => {}
    }
}

/// The definitions that paths lead to.
fn used(paths: &Map<String, Value>, definitions: &Map<String, Value>) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<&Value> = paths.values().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                let name = members.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(DEFINITIONS));
                if let Some(name) = name.filter(|name| !found.contains(*name)) {
                    found.insert(name.to_owned());
                    open.extend(definitions.get(name));
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    found
}

/// New names for definitions whose own stand for something else here.
fn renames(definitions: &Map<String, Value>, present: &Value) -> BTreeMap<String, String> {
    let mut renames: BTreeMap<String, String> = BTreeMap::new();
    for (name, definition) in definitions {
        if present.get(name).is_none_or(|there| same(there, definition)) {
            continue;
        }
        let fits = |name: &String| match present.get(name) {
            Some(there) => same(there, definition),
            None => !definitions.contains_key(name) && !renames.values().any(|taken| taken == name),
        };
        let numbered = (2..).map(|number| format!("{name}_v{number}"));
        renames.extend(numbered.into_iter().find(fits).map(|new| (name.clone(), new)));
    }
    renames
}

fn same(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return one == other };
    let without = |members: &Map<String, Value>| members.len() - usize::from(members.contains_key(KINDS));
    let equal = |(key, value): (&String, &Value)| key == KINDS || other.get(key) == Some(value);
    without(one) == without(other) && one.iter().all(equal)
}

fn rename(value: &mut Value, renames: &BTreeMap<String, String>) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(key, member)| match member {
            Value::String(path) if key == "$ref" => {
                if let Some(new) = path.strip_prefix(DEFINITIONS).and_then(|name| renames.get(name)) {
                    *path = format!("{DEFINITIONS}{new}");
                }
            }
            member => rename(member, renames),
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renames)),
        _ => {}
    }
}

fn join_kinds(present: &mut Value, other: &Value) {
    let Some(more) = other[KINDS].as_array().filter(|_| present.is_object()) else { return };
    let mut kinds = present[KINDS].as_array().cloned().unwrap_or_default();
    let known = kinds.len();
    for kind in more {
        if !kinds.contains(kind) {
            kinds.push(kind.clone());
        }
    }
    if kinds.len() > known {
        let text = |kind: &Value, field: &str| kind[field].as_str().unwrap_or_default().to_owned();
        kinds.sort_by_key(|kind| format!("{}/{}.{}", text(kind, "group"), text(kind, "version"), text(kind, "kind")));
        present[KINDS] = kinds.into();
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(other: Value, expected: Expect) {
        let mut document = json!({
            "paths": {"/apis/a/v1/": {"get": {}}},
            "definitions": {
                "Meta": {"type": "object"},
                "Options": {"type": "object", KINDS: [{"group": "b", "version": "v1", "kind": "Options"}]},
            },
        });
        merge_v2(&mut document, other, "/apis/x/v1/");
        expected.assert_eq(&serde_json::to_string_pretty(&document).unwrap());
    }

    fn refers(to: &str) -> Value {
        json!({"$ref": format!("{DEFINITIONS}{to}")})
    }

    #[test]
    fn what_is_needed_comes_along_and_nothing_else() {
        check(
            json!({
                "paths": {
                    "/apis/": {"get": refers("Groups")},
                    "/apis/x/v1/things": {"get": refers("Thing"), "parameters": [{"$ref": "#/parameters/pretty"}]},
                    "/apis/x/v2/things": {"get": refers("Newer")},
                },
                "parameters": {"pretty": {"name": "pretty", "in": "query"}},
                "definitions": {
                    "Groups": {}, "Newer": {}, "Unused": {},
                    "Thing": {"properties": {"metadata": refers("Meta"), "part": refers("Part"), "self": refers("Thing")}},
                    "Part": {"properties": {"options": refers("Options")}},
                    "Meta": {"type": "object", "description": "another"},
                    "Options": {"type": "object", KINDS: [{"group": "a", "version": "v1", "kind": "Options"}]},
                },
            }),
            expect![[r##"
                {
                  "definitions": {
                    "Meta": {
                      "type": "object"
                    },
                    "Meta_v2": {
                      "description": "another",
                      "type": "object"
                    },
                    "Options": {
                      "type": "object",
                      "x-kubernetes-group-version-kind": [
                        {
                          "group": "a",
                          "kind": "Options",
                          "version": "v1"
                        },
                        {
                          "group": "b",
                          "kind": "Options",
                          "version": "v1"
                        }
                      ]
                    },
                    "Part": {
                      "properties": {
                        "options": {
                          "$ref": "#/definitions/Options"
                        }
                      }
                    },
                    "Thing": {
                      "properties": {
                        "metadata": {
                          "$ref": "#/definitions/Meta_v2"
                        },
                        "part": {
                          "$ref": "#/definitions/Part"
                        },
                        "self": {
                          "$ref": "#/definitions/Thing"
                        }
                      }
                    },
                    "Unused": {}
                  },
                  "paths": {
                    "/apis/a/v1/": {
                      "get": {}
                    },
                    "/apis/x/v1/things": {
                      "get": {
                        "$ref": "#/definitions/Thing"
                      },
                      "parameters": [
                        {
                          "in": "query",
                          "name": "pretty"
                        }
                      ]
                    }
                  }
                }"##]],
        );
    }

    #[test]
    fn documents_without_anything_of_use_change_nothing() {
        let nothing = expect![[r#"
            {
              "definitions": {
                "Meta": {
                  "type": "object"
                },
                "Options": {
                  "type": "object",
                  "x-kubernetes-group-version-kind": [
                    {
                      "group": "b",
                      "kind": "Options",
                      "version": "v1"
                    }
                  ]
                }
              },
              "paths": {
                "/apis/a/v1/": {
                  "get": {}
                }
              }
            }"#]];
        check(json!({"paths": {"/apis/a/v1/": {"get": refers("Meta")}}, "definitions": {"Meta": {}}}), nothing);
    }
}
