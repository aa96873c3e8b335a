//! Manifests as bytes to resources, document by document, lists taken apart.

use std::collections::VecDeque;

use coracle_yaml::{Mark, Node, Repeated, Value};

use crate::error::{Error, Trouble};
use crate::load::Session;
use crate::resource::Resource;
use crate::scalars::{is_nothing, text};

/// Where a text stands: its file's name, and the line before its first one.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub file: &'a str,
    pub line_before: u32,
}

/// The resources of a text.
pub(crate) fn resources(session: &Session<'_>, content: &str, place: Place<'_>) -> Result<Vec<Resource>, Error> {
    let nodes = nodes(session, content, place)?;
    let checked = checked(nodes).and_then(unpacked_lists);
    Ok(checked.map_err(|trouble| session.error(trouble))?.into_iter().map(Resource::new).collect())
}

fn nodes(session: &Session<'_>, content: &str, place: Place<'_>) -> Result<Vec<Node>, Error> {
    let joined;
    let content = if content.contains("\r\n") {
        joined = content.replace("\r\n", "\n");
        joined.as_str()
    } else {
        content
    };
    let file = session.file_id(place.file, content);
    let mut nodes = Vec::new();
    let parts = split(content).map_err(|line| {
        let mark = Mark { file, line: place.line_before + line, column: 1 };
        session.at(mark, "nothing but a comment may follow the --- between documents")
    })?;
    let is_single = parts.len() == 1;
    for (line, part) in parts {
        let start = Mark { file, line: place.line_before + line, column: 1 };
        let parsed = coracle_yaml::parse_first(part, start, Repeated::Refused);
        let node = parsed.map_err(|error| session.at(error.mark, format!("this is not YAML: {}", error.message)))?;
        let Some(node) = node.filter(|node| !node.is_null()) else { continue };
        let kind = node.get("kind").map(text).unwrap_or_default();
        let wraps = node.get("items").is_some() || node.get("functionConfig").is_some();
        if is_single && matches!(kind, "List" | "ResourceList") && wraps {
            nodes.extend(node.get("items").and_then(Node::as_sequence).unwrap_or_default().iter().cloned());
        } else {
            nodes.push(node);
        }
    }
    Ok(nodes)
}

/// The parts between lines that begin with `---`, each with the number of its first line; an error is the number of a
/// line that has more than a comment behind the dashes.
fn split(content: &str) -> Result<Vec<(u32, &str)>, u32> {
    let mut parts = Vec::new();
    let (mut start, mut start_line) = (0, 1u32);
    let (mut from, mut line) = (0, 1u32);
    // A separator takes the line break before it and the one behind it, so two in a row are one and a text.
    while let Some(found) = content[from..].find('\n') {
        let at = from + found;
        line += 1;
        from = at + 1;
        let Some(rest) = content[from..].strip_prefix("---") else { continue };
        let Some(length) = rest.find('\n') else { continue };
        let behind = rest[..length].trim();
        if !behind.is_empty() && !behind.starts_with('#') {
            return Err(line);
        }
        parts.push((start_line, &content[start..=at]));
        start = from + 3 + length + 1;
        line += 1;
        start_line = line;
        from = start;
    }
    parts.push((start_line, &content[start..]));
    Ok(parts)
}

/// Drops what is empty and refuses what is no object.
fn checked(nodes: Vec<Node>) -> Result<Vec<Node>, Trouble> {
    let mut objects = Vec::with_capacity(nodes.len());
    for node in nodes {
        if is_nothing(&node) {
            continue;
        }
        check(&node)?;
        objects.push(node);
    }
    Ok(objects)
}

/// An object needs a kind and a name; a list needs no name.
pub(crate) fn check(node: &Node) -> Result<(), Trouble> {
    let value = |path: &[&str]| node.at_path(path).filter(|value| !is_nothing(value)).map(text).unwrap_or_default();
    if node.as_mapping().is_none() {
        return Err(Trouble::new(node.mark, format!("expected a Kubernetes object, found {}", node.describe())));
    }
    let kind = value(&["kind"]);
    if kind.is_empty() {
        return Err(Trouble::new(node.mark, "the object has no kind"));
    }
    if value(&["metadata", "name"]).is_empty() && !kind.ends_with("List") {
        return Err(Trouble::new(node.mark, format!("the {kind} has no metadata.name")));
    }
    Ok(())
}

/// Takes lists of objects apart; what was in them comes after all else.
fn unpacked_lists(nodes: Vec<Node>) -> Result<Vec<Node>, Trouble> {
    let mut queue: VecDeque<Node> = nodes.into();
    let mut objects = Vec::with_capacity(queue.len());
    while let Some(mut node) = queue.pop_front() {
        let is_list = node.get("kind").map(text).is_some_and(|kind| kind.ends_with("List"));
        let Some(items) = node.get_mut("items").filter(|_| is_list) else {
            objects.push(node);
            continue;
        };
        if items.is_null() {
            continue;
        }
        match &mut items.value {
            Value::Sequence(items) => queue.extend(checked(std::mem::take(items))?),
            _ => {
                let found = items.describe();
                return Err(Trouble::new(items.mark, format!("items: expected a list, found {found}")));
            }
        }
    }
    Ok(objects)
}

/// The first place in a tree where a key is no string, below the top: the original cannot write such a mapping.
pub(crate) fn bare_key(node: &Node) -> Option<(Mark, &str)> {
    fn below(node: &Node, is_top: bool) -> Option<(Mark, &str)> {
        match &node.value {
            Value::Scalar(_) => None,
            Value::Sequence(items) => items.iter().find_map(|item| below(item, false)),
            Value::Mapping(mapping) => mapping.iter().find_map(|entry| {
                let is_bare = !is_top && entry.key_is_bare();
                if is_bare { Some((entry.key_mark, &*entry.key)) } else { below(&entry.value, false) }
            }),
        }
    }
    below(node, true)
}

#[cfg(test)]
mod tests {
    use super::split;

    fn check(text: &str, expected: &[(u32, &str)]) {
        assert_eq!(split(text), Ok(expected.to_vec()), "{text:?}");
    }

    #[test]
    fn documents_are_split_at_lines_of_dashes() {
        check("a\n", &[(1, "a\n")]);
        check("---\na\n---\nb\n", &[(1, "---\na\n"), (4, "b\n")]);
        check("a\n--- # x\nb\n---", &[(1, "a\n"), (3, "b\n---")]);
        check("a\n---\n---\nb\n", &[(1, "a\n"), (3, "---\nb\n")]);
        check("", &[(1, "")]);
        assert_eq!(split("a\n--- b\nc"), Err(2));
    }
}
