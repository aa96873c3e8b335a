//! Plain manifests: the YAML and JSON files of a directory.

use std::sync::Arc;

use coracle_yaml::{FileId, Mark, Node};

use super::{RenderError, settings};
use crate::manifest::Manifest;
use crate::source::Tree;

/// The objects in a directory's files, in the order of their paths. With `only_objects`, files are passed over that
/// hold no Kubernetes object at all: at a repository's root there may be YAML of any kind.
pub(super) fn read(
    tree: &dyn Tree,
    paths: &[String],
    directory: &str,
    recurse: bool,
    only_objects: bool,
) -> Result<Vec<Manifest>, RenderError> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let wanted: Vec<&String> = paths
        .iter()
        .filter(|path| path.starts_with(&prefix))
        .filter(|path| recurse || !path[prefix.len()..].contains('/'))
        .filter(|path| [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end)))
        .filter(|path| *path != settings::FILE && !path[prefix.len()..].starts_with('.'))
        .collect();
    let names = Arc::new(wanted.iter().map(|path| (*path).clone()).collect::<Vec<_>>());
    let mut manifests = Vec::new();
    for (index, path) in wanted.into_iter().enumerate() {
        let Some(bytes) = tree.read(path)? else { continue };
        let text = String::from_utf8(bytes).map_err(|_| at(path, Mark::default(), "the file is not UTF-8 text"))?;
        let documents = match coracle_yaml::parse(&text, FileId(u32::try_from(index).unwrap_or(u32::MAX))) {
            Ok(documents) => documents,
            Err(error) if only_objects && !looks_like_an_object(&text) => {
                tracing::debug!(path, %error, "passing over a file that is not YAML");
                continue;
            }
            Err(error) => return Err(at(path, error.mark, format!("this is not YAML: {error}"))),
        };
        if only_objects && !documents.iter().any(is_object) {
            continue;
        }
        for node in documents.into_iter().filter(|node| !node.is_null()) {
            add(node, path, &names, &mut manifests)?;
        }
    }
    Ok(manifests)
}

fn add(node: Node, path: &str, names: &Arc<Vec<String>>, manifests: &mut Vec<Manifest>) -> Result<(), RenderError> {
    if !is_object(&node) {
        let message = match node.as_mapping() {
            None => format!("expected a Kubernetes object, found {}", node.describe()),
            Some(mapping) if mapping.get("kind").is_none() => "the object has no kind".to_owned(),
            Some(_) => "the object has no apiVersion".to_owned(),
        };
        return Err(at(path, node.mark, message));
    }
    if node.get("kind").and_then(Node::as_text) == Some("List")
        && let Some(items) = node.get("items").and_then(Node::as_sequence)
    {
        return items.iter().try_for_each(|item| add(item.clone(), path, names, manifests));
    }
    let named = node.at_path(&["metadata", "name"]).and_then(Node::as_text).is_some_and(|name| !name.is_empty());
    if !named {
        return Err(at(path, node.mark, "the object has no metadata.name"));
    }
    manifests.push(Manifest::written(node, names.clone()));
    Ok(())
}

fn is_object(node: &Node) -> bool {
    let has = |key: &str| node.get(key).and_then(Node::as_text).is_some_and(|text| !text.is_empty());
    has("apiVersion") && has("kind")
}

/// Whether a text that does not parse was meant to be an object.
fn looks_like_an_object(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("apiVersion:")) && text.lines().any(|line| line.starts_with("kind:"))
}

fn at(path: &str, mark: Mark, message: impl Into<String>) -> RenderError {
    RenderError { file: path.to_owned(), line: mark.line, column: mark.column, message: message.into() }
}
