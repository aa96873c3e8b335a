//! Rendered texts as objects, and where two lists of objects differ.

use std::{collections::BTreeMap, fmt};

use coracle_yaml::{FileId, parse_one};
use serde_json::Value;

/// A place where two renders differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// `Deployment/name`, or what else names it.
    pub object: String,
    /// The fields on the way, joined by dots; empty for the object itself.
    pub path: String,
    pub theirs: Option<Value>,
    pub ours: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                let cut: String = text.chars().take(120).collect();
                if cut.len() < text.len() { format!("{cut}…") } else { text }
            }
        };
        write!(f, "{} {}: {} is {} here", self.object, self.path, shown(&self.theirs), shown(&self.ours))
    }
}

/// More differences of one render than this help nobody.
const SHOWN: usize = 20;

/// Where `ours` says something else than `theirs`, fields left out that `theirs` itself says differently in another of
/// its `runs`.
pub fn differences(theirs: &str, runs: &[String], ours: &str) -> Vec<Difference> {
    let (theirs, ours) = (objects(theirs), objects(ours));
    let random: Vec<_> = runs.iter().map(|run| between(&theirs, &objects(run))).collect();
    let is_random = |found: &Difference| {
        random.iter().flatten().any(|other| other.object == found.object && found.path.starts_with(&other.path))
    };
    between(&theirs, &ours).into_iter().filter(|found| !is_random(found)).take(SHOWN).collect()
}

fn between(theirs: &[(String, Value)], ours: &[(String, Value)]) -> Vec<Difference> {
    let mut found = Vec::new();
    let by_name: BTreeMap<&str, &Value> = ours.iter().map(|(name, value)| (name.as_str(), value)).collect();
    for (name, value) in theirs {
        match by_name.get(name.as_str()) {
            Some(other) => compare(name, String::new(), Some(value), Some(other), &mut found),
            None => compare(name, String::new(), Some(value), None, &mut found),
        }
    }
    let known = |name: &str| theirs.iter().any(|(other, _)| other == name);
    for (name, value) in ours.iter().filter(|(name, _)| !known(name)) {
        compare(name, String::new(), None, Some(value), &mut found);
    }
    let names = |objects: &[(String, Value)]| objects.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if found.is_empty() && names(theirs) != names(ours) {
        let order = |objects| Some(names(objects).into());
        found.push(Difference { object: "the order".into(), path: String::new(), theirs: order(theirs), ours: order(ours) });
    }
    found
}

fn compare(object: &str, path: String, theirs: Option<&Value>, ours: Option<&Value>, found: &mut Vec<Difference>) {
    match (theirs, ours) {
        (Some(theirs), Some(ours)) if theirs == ours => {}
        (Some(Value::Object(theirs)), Some(Value::Object(ours))) => {
            let keys = theirs.keys().chain(ours.keys().filter(|key| !theirs.contains_key(*key)));
            for key in keys {
                compare(object, format!("{path}.{key}"), theirs.get(key), ours.get(key), found);
            }
        }
        (Some(Value::Array(theirs)), Some(Value::Array(ours))) => {
            for index in 0..theirs.len().max(ours.len()) {
                compare(object, format!("{path}[{index}]"), theirs.get(index), ours.get(index), found);
            }
        }
        (theirs, ours) => found.push(Difference {
            object: object.to_owned(),
            path: path.trim_start_matches('.').to_owned(),
            theirs: theirs.cloned(),
            ours: ours.cloned(),
        }),
    }
}

/// The documents of a render by name, each name once. What is no YAML is its text.
fn objects(text: &str) -> Vec<(String, Value)> {
    let mut objects: Vec<(String, Value)> = Vec::new();
    for document in split(text) {
        let value = match parse_one(&document, FileId::default()) {
            Ok(node) => node.to_json(),
            Err(_) => Value::String(document.clone()),
        };
        if value.is_null() {
            continue;
        }
        let name = name(&value, &document);
        let times = objects.iter().filter(|(other, _)| other.split('#').next() == Some(&*name)).count();
        objects.push((if times > 0 { format!("{name}#{times}") } else { name }, value));
    }
    objects
}

fn name(object: &Value, document: &str) -> String {
    let field = |path: &str| object.pointer(path).and_then(Value::as_str);
    match (field("/kind"), field("/metadata/name")) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        _ => document.lines().next().unwrap_or_default().to_owned(),
    }
}

fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
        }
    }
    documents
}

#[cfg(test)]
mod tests {
    use super::differences;

    fn check(theirs: &str, again: &str, ours: &str, expected: &[&str]) {
        let found: Vec<String> =
            differences(theirs, &[again.to_owned()], ours).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_are_named_and_random_ones_are_not() {
        let theirs = "---\nkind: A\nmetadata: {name: x}\nspec: {a: 1, b: [1, 2], token: q}\n";
        let again = theirs.replace('q', "w");
        check(theirs, &again, &theirs.replace('q', "e"), &[]);
        check(theirs, &again, &theirs.replace("a: 1", "a: 2"), &["A/x spec.a: 1 is 2 here"]);
        check(theirs, &again, &theirs.replace("[1, 2]", "[1]"), &["A/x spec.b[1]: 2 is nothing here"]);
    }
}
