//! `patches`, `patchesStrategicMerge` and `patchesJson6902`.

use coracle_yaml::decode::Located;
use coracle_yaml::{Mark, Node};

use super::select::select;
use crate::accumulate::Context;
use crate::error::Error;
use crate::jsonpatch::{self, Operation};
use crate::kustomization::Patch;
use crate::merge;
use crate::resource::{Id, Resource};

/// Where the patches of a kustomization come from.
pub(super) struct Source<'a> {
    pub context: &'a Context<'a>,
    pub directory: &'a str,
    pub file: &'a str,
}

enum Content {
    StrategicMerge(Vec<Node>),
    Operations(Vec<Operation>),
}

/// Each entry is a file, or patches written in place.
pub(super) fn strategic_merge_files(
    source: &Source<'_>,
    entries: &[Located<String>],
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    for entry in entries {
        let documents = if entry.value.contains('\n') || entry.value.contains(": ") {
            source.inline(entry)?
        } else {
            let (path, text) = source.context.named_file(source.directory, entry)?;
            source.context.documents(&text, &path)?
        };
        for patch in documents {
            source.apply_by_name(&patch, (false, false), resources)?;
        }
    }
    Ok(())
}

pub(super) fn all(source: &Source<'_>, patches: &[Patch], resources: &mut Vec<Resource>) -> Result<(), Error> {
    for patch in patches {
        source.apply(patch, resources)?;
    }
    Ok(())
}

impl Source<'_> {
    /// Documents written inside the kustomization; their marks are moved to where the text begins.
    fn inline(&self, text: &Located<String>) -> Result<Vec<Node>, Error> {
        let shifted = |mark: Mark| Mark { line: text.mark.line + mark.line, ..mark };
        let mut documents = self.context.documents(&text.value, self.file).map_err(|mut error| {
            error.line += text.mark.line;
            error
        })?;
        for document in &mut documents {
            shift(document, &shifted);
        }
        Ok(documents)
    }

    fn content(&self, patch: &Patch) -> Result<Content, Error> {
        let error = |message: &str| self.context.at(patch.mark, message);
        let documents = match (&patch.path, &patch.patch) {
            (Some(path), None) => {
                let (path, text) = self.context.named_file(self.directory, path)?;
                self.context.documents(&text, &path)?
            }
            (None, Some(text)) => self.inline(text)?,
            (None, None) => return Err(error("a patch needs a path or a patch")),
            (Some(_), Some(_)) => return Err(error("a patch has either a path or a patch, not both")),
        };
        match documents.as_slice() {
            [] => Err(error("the patch is empty")),
            [only] if only.as_sequence().is_some() => {
                let operations = jsonpatch::read(only).map_err(|error| self.context.at(error.mark, error.message))?;
                Ok(Content::Operations(operations))
            }
            _ => Ok(Content::StrategicMerge(documents)),
        }
    }

    fn apply(&self, patch: &Patch, resources: &mut Vec<Resource>) -> Result<(), Error> {
        let allow = (patch.allow_name_change, patch.allow_kind_change);
        let selected = match &patch.target {
            None => None,
            Some(target) => {
                Some(select(target, resources).map_err(|error| self.context.at(error.mark, error.message))?)
            }
        };
        match (self.content(patch)?, selected) {
            (Content::StrategicMerge(documents), None) => {
                documents.iter().try_for_each(|document| self.apply_by_name(document, allow, resources))
            }
            (Content::StrategicMerge(documents), Some(selected)) => {
                let [document] = documents.as_slice() else {
                    return Err(self.context.at(patch.mark, "a patch with a target has to be a single document"));
                };
                self.apply_to(&selected, &with_text_metadata(document), allow, resources)
            }
            (Content::Operations(_), None) => Err(self.context.at(patch.mark, "a list of operations needs a target")),
            (Content::Operations(operations), Some(selected)) => {
                for index in selected {
                    resources[index].store_previous();
                    jsonpatch::apply(&mut resources[index].node, &operations)
                        .map_err(|error| self.context.at(error.mark, error.message))?;
                }
                Ok(())
            }
        }
    }

    fn apply_by_name(&self, patch: &Node, allow: (bool, bool), resources: &mut Vec<Resource>) -> Result<(), Error> {
        let id = Resource::new(patch.clone()).id();
        let found: Vec<usize> =
            (0..resources.len()).filter(|index| resources[*index].any_id(|known| known.same_as(&id))).collect();
        match found.as_slice() {
            [_] => self.apply_to(&found, patch, allow, resources),
            [] => Err(self.context.at(patch.mark, no_target(&id, resources))),
            _ => Err(self.context.at(patch.mark, format!("the patch for {id} fits several objects"))),
        }
    }

    fn apply_to(
        &self,
        selected: &[usize],
        patch: &Node,
        (allow_name_change, allow_kind_change): (bool, bool),
        resources: &mut Vec<Resource>,
    ) -> Result<(), Error> {
        let mut deleted = Vec::new();
        for index in selected {
            let resource = &mut resources[*index];
            let id = resource.id();
            if allow_name_change || allow_kind_change {
                resource.store_previous();
            }
            let kept =
                merge::merge(&mut resource.node, patch).map_err(|error| self.context.at(error.mark, error.message))?;
            if !kept || resource.is_empty() {
                deleted.push(*index);
                continue;
            }
            let root = resource.node.as_mapping_mut().expect("the merge of two objects is one");
            root.insert("apiVersion", Node::string(&id.gvk.api_version()));
            if !allow_kind_change {
                root.insert("kind", Node::string(&id.gvk.kind));
            }
            if !allow_name_change {
                resource.set_name(&id.name);
            }
            resource.set_namespace(&id.namespace);
        }
        for index in deleted.into_iter().rev() {
            resources.remove(index);
        }
        Ok(())
    }
}

/// With a target, kustomize passes labels and annotations through a map of strings, so that a null there no longer
/// removes the entry but sets it to the word: kept, since trees in use have been rendered so.
fn with_text_metadata(patch: &Node) -> Node {
    let mut patch = patch.clone();
    for field in ["labels", "annotations"] {
        let Some(map) = patch.get_mut("metadata").and_then(|metadata| metadata.get_mut(field)) else { continue };
        for entry in map.as_mapping_mut().into_iter().flat_map(coracle_yaml::Mapping::iter_mut) {
            if let Some(text) = entry.value.as_text() {
                entry.value = Node::string(text).at(entry.value.mark);
            }
        }
    }
    patch
}

fn no_target(id: &Id, resources: &[Resource]) -> String {
    let same_kind: Vec<String> = resources
        .iter()
        .map(Resource::original_id)
        .filter(|known| known.gvk.kind == id.gvk.kind)
        .map(|known| known.to_string())
        .collect();
    match same_kind.as_slice() {
        [] => format!("nothing to patch: there is no {id}"),
        known => format!("nothing to patch: there is no {id}; there is {}", known.join(", ")),
    }
}

fn shift(node: &mut Node, shifted: &dyn Fn(Mark) -> Mark) {
    node.mark = shifted(node.mark);
    if let Some(items) = node.as_sequence_mut() {
        items.iter_mut().for_each(|item| shift(item, shifted));
    } else if let Some(mapping) = node.as_mapping_mut() {
        for entry in mapping.iter_mut() {
            entry.key_mark = shifted(entry.key_mark);
            shift(&mut entry.value, shifted);
        }
    }
}
