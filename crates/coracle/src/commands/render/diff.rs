//! Two renders side by side: which objects came, went or changed, and in which fields.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use coracle_yaml::{FileId, Node, Value};

use crate::print::{Colour, coloured};

/// Values longer than this are shown by their beginning.
const SHOWN_LIMIT: usize = 120;

/// Prints how `after` differs from the manifests in the file `other` (`-` is standard input), and tells whether it does.
pub fn show_against(other: &Path, after: &str) -> anyhow::Result<bool> {
    let before = if other == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("standard input")?
    } else {
        std::fs::read_to_string(other).with_context(|| other.display().to_string())?
    };
    show(&before, after)
}

/// Prints how one text of manifests differs from another, and tells whether it does.
pub fn show(before: &str, after: &str) -> anyhow::Result<bool> {
    let lines =
        compare(&objects(before).context("the manifests before")?, &objects(after).context("the manifests after")?);
    for line in &lines {
        println!("{}", line.coloured());
    }
    Ok(!lines.is_empty())
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Object(String),
    Added(String),
    Removed(String),
}

impl Line {
    fn coloured(&self) -> String {
        match self {
            Line::Object(text) => coloured(Colour::Bold, text),
            Line::Added(text) => coloured(Colour::Green, text),
            Line::Removed(text) => coloured(Colour::Red, text),
        }
    }
}

type Objects = BTreeMap<String, Node>;

/// The objects of a text of manifests, by what people call them.
fn objects(text: &str) -> anyhow::Result<Objects> {
    let documents = coracle_yaml::parse(text, FileId::default())?;
    let mut objects = Objects::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let name = name(&document);
        let mut unique = name.clone();
        let mut count = 1;
        while objects.contains_key(&unique) {
            count += 1;
            unique = format!("{name} ({count})");
        }
        objects.insert(unique, document);
    }
    Ok(objects)
}

fn name(object: &Node) -> String {
    let field = |path: &[&str]| object.at_path(path).and_then(Node::as_text).unwrap_or_default().to_owned();
    let namespace = field(&["metadata", "namespace"]);
    let name = field(&["metadata", "name"]);
    let place = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
    format!("{} {place} ({})", field(&["kind"]), field(&["apiVersion"]))
}

fn compare(before: &Objects, after: &Objects) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, object) in before {
        match after.get(name) {
            None => lines.push(Line::Removed(format!("- {name}"))),
            Some(new) => {
                let mut fields = Vec::new();
                changes(String::new(), object, new, &mut fields);
                if !fields.is_empty() {
                    lines.push(Line::Object(format!("~ {name}")));
                    lines.append(&mut fields);
                }
            }
        }
    }
    let added = after.keys().filter(|name| !before.contains_key(*name));
    lines.extend(added.map(|name| Line::Added(format!("+ {name}"))));
    lines
}

/// The fields in which two nodes differ, by path.
fn changes(path: String, before: &Node, after: &Node, lines: &mut Vec<Line>) {
    match (&before.value, &after.value) {
        (Value::Mapping(old), Value::Mapping(new)) => {
            for entry in old.iter() {
                let path = format!("{path}.{}", entry.key);
                match new.get(&entry.key) {
                    Some(value) => changes(path, &entry.value, value, lines),
                    None => lines.push(removed(&path, &entry.value)),
                }
            }
            let fresh = new.iter().filter(|entry| old.get(&entry.key).is_none());
            lines.extend(fresh.map(|entry| added(&format!("{path}.{}", entry.key), &entry.value)));
        }
        (Value::Sequence(old), Value::Sequence(new)) => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                changes(format!("{path}[{}]", label(old, index)), old, new, lines);
            }
            let gone = old.iter().enumerate().skip(new.len());
            lines.extend(gone.map(|(index, item)| removed(&format!("{path}[{}]", label(item, index)), item)));
            let fresh = new.iter().enumerate().skip(old.len());
            lines.extend(fresh.map(|(index, item)| added(&format!("{path}[{}]", label(item, index)), item)));
        }
        _ if before.to_json() == after.to_json() => {}
        _ => {
            lines.push(removed(&path, before));
            lines.push(added(&path, after));
        }
    }
}

/// A list's item by its name, where it has one.
fn label(item: &Node, index: usize) -> String {
    item.get("name").and_then(Node::as_text).map_or_else(|| index.to_string(), str::to_owned)
}

fn removed(path: &str, node: &Node) -> Line {
    Line::Removed(format!("  - {}: {}", path.trim_start_matches('.'), shown(node)))
}

fn added(path: &str, node: &Node) -> Line {
    Line::Added(format!("  + {}: {}", path.trim_start_matches('.'), shown(node)))
}

fn shown(node: &Node) -> String {
    let text = node.to_json().to_string();
    match text.char_indices().nth(SHOWN_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{Line, compare, objects};

    fn check(before: &str, after: &str, expected: Expect) {
        let lines = compare(&objects(before).expect("YAML"), &objects(after).expect("YAML"));
        let text: Vec<&str> = lines
            .iter()
            .map(|line| match line {
                Line::Object(text) | Line::Added(text) | Line::Removed(text) => text.as_str(),
            })
            .collect();
        expected.assert_eq(&text.join("\n"));
    }

    #[test]
    fn fields_and_objects_that_differ_are_named() {
        check(
            "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{name: http, port: 80}]}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: gone}\n",
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {a: b}}\nspec: {ports: [{name: http, port: 81}]}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: new, namespace: n}\n",
            expect![[r#"
                - Secret gone (v1)
                ~ Service web (v1)
                  + metadata.labels: {"a":"b"}
                  - spec.ports[http].port: 80
                  + spec.ports[http].port: 81
                + ConfigMap n/new (v1)"#]],
        );
    }

    #[test]
    fn the_same_said_differently_is_no_difference() {
        check("kind: A\na: 1\nb: x\n", "b: \"x\"\na: 1\nkind: A\n", expect![""]);
    }
}
