//! Walking to the fields a transformer changes.

use std::sync::OnceLock;

use coracle_yaml::{Node, Value};

use crate::error::Trouble;
use crate::id::Gvk;

/// A field of some kinds of objects; empty parts of the kind fit all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub gvk: Gvk,
    /// Names between slashes; lists on the way are walked through, `\/` is a slash within a name.
    pub path: String,
    /// The path taken apart, once somebody goes it: most of the built-in ones nobody ever does.
    steps: OnceLock<Box<[String]>>,
    /// Make what is missing on the way.
    pub create: bool,
}

impl FieldSpec {
    pub fn new(gvk: Gvk, path: &str, create: bool) -> Self {
        FieldSpec { gvk, path: path.to_owned(), steps: OnceLock::new(), create }
    }

    fn steps(&self) -> &[String] {
        self.steps.get_or_init(|| split(&self.path, '/').into())
    }

    /// A field of any kind of object.
    pub fn of_all(path: &str, create: bool) -> Self {
        FieldSpec::new(Gvk::default(), path, create)
    }

    /// A field of a kind written as `Kind`, `group.Kind`, `/version.Kind` or `group/version.Kind`.
    pub fn short(kind: &str, path: &str, create: bool) -> Self {
        FieldSpec::new(short_gvk(kind), path, create)
    }

    /// Whether a spec says no more than one that is known: its field, for no more kinds.
    pub fn covers(&self, other: &FieldSpec) -> bool {
        self.gvk.is_selected_by(&other.gvk) && self.path == other.path
    }
}

pub(crate) fn short_gvk(kind: &str) -> Gvk {
    let (group_version, kind) = kind.rsplit_once('.').unwrap_or(("", kind));
    let (group, version) = group_version.split_once('/').unwrap_or((group_version, ""));
    Gvk { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
}

/// What is made where a path ends in nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Nothing,
    Scalar,
    Mapping,
}

impl Make {
    fn node(self) -> Node {
        if self == Make::Mapping { Node::mapping() } else { Node::plain("") }
    }
}

/// What the walk does at the end of a path.
pub(crate) type Visit<'a> = dyn FnMut(&mut Node) -> Result<(), Trouble> + 'a;

/// Calls `visit` on every node `spec` leads to in `node`, if the object is of its kind.
pub(crate) fn walk(node: &mut Node, spec: &FieldSpec, make: Make, visit: &mut Visit<'_>) -> Result<(), Trouble> {
    if !fits(node, &spec.gvk) {
        return Ok(());
    }
    walk_any(node, spec, make, visit)
}

/// Calls `visit` on every node `spec` leads to, whatever kind the object is of.
pub(crate) fn walk_any(node: &mut Node, spec: &FieldSpec, make: Make, visit: &mut Visit<'_>) -> Result<(), Trouble> {
    let make = if spec.create { make } else { Make::Nothing };
    descend(node, spec.steps(), make, visit).map_err(|mut trouble| {
        trouble.message = format!("field {}: {}", spec.path, trouble.message);
        trouble
    })
}

fn fits(node: &Node, wanted: &Gvk) -> bool {
    let text = |key: &str| node.get(key).and_then(Node::as_text).unwrap_or_default();
    if !wanted.kind.is_empty() && wanted.kind != text("kind") {
        return false;
    }
    let api_version = text("apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    (wanted.group.is_empty() || wanted.group == group) && (wanted.version.is_empty() || wanted.version == version)
}

/// The steps of a path; a delimiter behind a backslash is part of a name.
pub(crate) fn split(path: &str, delimiter: char) -> Vec<String> {
    let mut parts: Vec<&str> = path.split(delimiter).collect();
    if parts.len() > 1 && parts[0].is_empty() {
        parts.remove(0);
    }
    let mut steps: Vec<String> = Vec::with_capacity(parts.len());
    for part in parts {
        match steps.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push(delimiter);
                last.push_str(part);
            }
            _ => steps.push(part.to_owned()),
        }
    }
    steps
}

/// The steps of a field path in which brackets may hold the delimiter: `a.[name=x.y].b`, `a.[b.c/d].e`.
pub(crate) fn split_brackets(path: &str, delimiter: char) -> Vec<String> {
    let mut steps = Vec::new();
    let mut parts = split(path, delimiter).into_iter();
    while let Some(part) = parts.next() {
        if !part.starts_with('[') || part.ends_with(']') {
            steps.push(part);
            continue;
        }
        let mut whole = part;
        for next in parts.by_ref() {
            whole.push(delimiter);
            whole.push_str(&next);
            if next.ends_with(']') {
                break;
            }
        }
        steps.push(if whole.contains('=') { whole } else { whole.trim_matches(['[', ']']).to_owned() });
    }
    steps
}

fn descend(node: &mut Node, steps: &[String], make: Make, visit: &mut Visit<'_>) -> Result<(), Trouble> {
    let Some((first, rest)) = steps.split_first() else { return visit(node) };
    if node.is_null() {
        return Ok(());
    }
    let mark = node.mark;
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().try_for_each(|item| descend(item, steps, make, visit)),
        Value::Mapping(mapping) => {
            let list = first.strip_suffix("[]");
            let field = list.unwrap_or(first);
            if field.is_empty() {
                return Err(Trouble::new(mark, "a field without a name cannot be set"));
            }
            let made = if rest.is_empty() { make } else { Make::Mapping };
            let child = match make {
                Make::Nothing => mapping.get_mut(field),
                _ if list.is_some() => mapping.get_mut(field),
                _ => Some(mapping.get_or_insert_with(field, || made.node())),
            };
            let Some(child) = child else { return Ok(()) };
            if child.is_null() {
                if list.is_some() {
                    child.value = Value::Sequence(Vec::new());
                } else if make != Make::Nothing && made == Make::Mapping {
                    *child = made.node().at(child.mark);
                } else if make == Make::Scalar {
                    return if rest.is_empty() { visit(child) } else { Ok(()) };
                }
            }
            descend(child, rest, make, visit)
        }
        Value::Scalar(_) => {
            Err(Trouble::new(mark, format!("expected a mapping or a list here, found {}", node.describe())))
        }
    }
}

/// Field specs merge: a spec that is covered by a known one adds nothing, but has to agree on creating.
pub(crate) fn merge_specs(known: &mut Vec<FieldSpec>, incoming: &[FieldSpec]) -> Result<(), String> {
    for spec in incoming {
        match known.iter().find(|own| own.covers(spec)) {
            Some(own) if own.create != spec.create => {
                return Err(format!("field specs for {} contradict each other on create", spec.path));
            }
            Some(_) => {}
            None => known.push(spec.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{split, split_brackets};

    #[test]
    fn paths_split_at_delimiters_outside_names() {
        assert_eq!(split(r"metadata/annotations/a.b\/c", '/'), ["metadata", "annotations", "a.b/c"]);
        assert_eq!(split("/a/b", '/'), ["a", "b"]);
        assert_eq!(split_brackets("a.[name=x.y].b", '.'), ["a", "[name=x.y]", "b"]);
        assert_eq!(split_brackets("metadata.annotations.[a.b/c]", '.'), ["metadata", "annotations", "a.b/c"]);
    }
}
