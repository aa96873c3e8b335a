//! `facts/older.txt`: definitions that `k8s-openapi` has no longer, made from those it has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{Facts, FieldFacts, TypeFacts};

/// One definition, with what makes it differ from the one it is like.
struct Older {
    name: String,
    like: String,
    without: Vec<String>,
    /// Field, type, number.
    with: Vec<(String, String, u8)>,
}

/// Adds the older definitions and their facts to the others.
pub fn add(text: &str, definitions: &mut BTreeMap<String, Value>, facts: &mut Facts) {
    let all = parse(text);
    let names: BTreeSet<String> = all.iter().map(|older| older.name.clone()).collect();
    for older in &all {
        let mut definition = definitions[&older.like].clone();
        let like = facts.types.get(&older.like);
        let mut fields = like.map(|like| like.fields.clone()).unwrap_or_default();
        let attributes = like.map(|like| like.attributes.clone()).unwrap_or_default();
        for field in older.without.iter().chain(older.with.iter().map(|(field, _, _)| field)) {
            if let Some(properties) = definition["properties"].as_object_mut() {
                properties.remove(field);
            }
            if let Some(required) = definition["required"].as_array_mut() {
                required.retain(|name| name != field);
            }
            fields.remove(field);
        }
        for (field, of, number) in &older.with {
            definition["properties"][field] = schema(of.trim_end_matches('!'));
            if of.ends_with('!') {
                match definition["required"].as_array_mut() {
                    Some(required) => required.push(json!(field)),
                    None => definition["required"] = json!([field]),
                }
            }
            fields.insert(field.clone(), FieldFacts { number: [*number, 0, 0], ..FieldFacts::default() });
        }
        let (own, others) = (package(&older.name), package(&older.like));
        refer_to_own(&mut definition, &format!("{others}."), &format!("{own}."), &names);
        definitions.insert(older.name.clone(), definition);
        facts.types.insert(older.name.clone(), TypeFacts { attributes, fields });
    }
}

fn parse(text: &str) -> Vec<Older> {
    let mut all: Vec<Older> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), all.last_mut()) {
            ([name, "like", like], _) => {
                let (without, with) = (Vec::new(), Vec::new());
                all.push(Older { name: full(name), like: full(like), without, with });
            }
            (["-", field], Some(older)) => older.without.push((*field).to_owned()),
            ([field, of, number], Some(older)) => {
                let number = number.parse().expect("a field's number");
                older.with.push(((*field).to_owned(), (*of).to_owned(), number));
            }
            _ => panic!("facts/older.txt: `{line}`"),
        }
    }
    all
}

/// The OpenAPI name of `policy.v1.PodDisruptionBudget`.
fn full(name: &str) -> String {
    match name.strip_prefix("meta.") {
        Some(rest) => format!("io.k8s.apimachinery.pkg.apis.meta.{rest}"),
        None => format!("io.k8s.api.{name}"),
    }
}

fn package(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(package, _)| package)
}

fn schema(of: &str) -> Value {
    match of {
        "string" => json!({"type": "string"}),
        "int32" => json!({"type": "integer", "format": "int32"}),
        "map" => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        "quantity" => reference("io.k8s.apimachinery.pkg.api.resource.Quantity"),
        "int-or-string" => reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
        definition => reference(&full(definition)),
    }
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/definitions/{definition}")})
}

/// Turns references to another package's types to those of the same names in the definition's own package.
fn refer_to_own(value: &mut Value, others: &str, own: &str, names: &BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let target = text.rsplit('/').next().unwrap_or_default();
            let moved = target.strip_prefix(others).map(|name| format!("{own}{name}"));
            if let Some(moved) = moved.filter(|moved| text.starts_with('#') && names.contains(moved)) {
                *text = format!("#/definitions/{moved}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer_to_own(item, others, own, names)),
        Value::Object(members) => members.values_mut().for_each(|member| refer_to_own(member, others, own, names)),
        _ => {}
    }
}
