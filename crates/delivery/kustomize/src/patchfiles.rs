//! Patches and replacements from their files or from where they are written.

use coracle_yaml::{Mark, Node, Repeated};

use crate::documents::{self, Place};
use crate::error::{Error, Trouble};
use crate::jsonpatch::{self, Operation};
use crate::load::Root;
use crate::plugins::replacements_file;
use crate::read::replacements::Replacement;
use crate::read::{Patch, Text};
use crate::resource::Resource;
use crate::transform::patches::PatchContent;
use crate::transform::{JsonPatch, PatchTransformer, Transformer};

/// A text with where it stands.
struct Content {
    file: String,
    text: String,
    line_before: u32,
}

impl Content {
    fn place(&self) -> Place<'_> {
        Place { file: &self.file, line_before: self.line_before }
    }

    fn start(&self, root: &Root<'_>) -> Mark {
        Mark { file: root.session.file_id(&self.file, &self.text), line: self.line_before + 1, column: 1 }
    }
}

/// Text written in a kustomization; a block is marked at its first own line.
fn inline(root: &Root<'_>, text: &Text) -> Content {
    let line_before = text.mark.line.saturating_sub(1);
    Content { file: root.file.clone(), text: text.value.clone(), line_before }
}

fn content(root: &Root<'_>, patch: &Patch) -> Result<Content, Error> {
    let error = |message: &str| root.session.at(patch.mark, message);
    match (&patch.path, &patch.patch) {
        (Some(path), None) => {
            let (file, text) = root.named_text(path)?;
            Ok(Content { file, text, line_before: 0 })
        }
        (None, Some(text)) => {
            let mut content = inline(root, text);
            let trimmed = content.text.trim_start();
            let skipped = content.text[..content.text.len() - trimmed.len()].matches('\n').count();
            content.line_before += u32::try_from(skipped).unwrap_or(0);
            content.text = trimmed.trim_end().to_owned();
            Ok(content)
        }
        (None, None) => Err(error("a patch needs a path or a patch")),
        (Some(_), Some(_)) => Err(error("a patch has either a path or a patch, not both")),
    }
}

/// A JSON document begins with a bracket; anything else is read as YAML, of which only the first document counts.
fn operations(root: &Root<'_>, content: &Content) -> Result<Option<Vec<Operation>>, Error> {
    let start = content.start(root);
    if content.text.starts_with('[') && serde_json::from_str::<serde_json::Value>(&content.text).is_err() {
        return Err(root.session.at(start, "a patch that begins with [ has to be JSON"));
    }
    let parsed = coracle_yaml::parse_first(&content.text, start, Repeated::LastWins);
    let node = parsed.map_err(|error| root.session.at(error.mark, format!("this is not YAML: {}", error.message)))?;
    let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(Some(Vec::new())) };
    if node.as_sequence().is_none() {
        return Ok(None);
    }
    jsonpatch::read(&node).map(Some).map_err(|trouble| root.session.error(trouble))
}

/// An entry of `patches`: a list of operations, or objects to merge.
pub(crate) fn patch(root: &Root<'_>, patch: &Patch) -> Result<Transformer, Error> {
    let content = content(root, patch)?;
    let is_list = matches!(first_sign(&content.text), Some('-' | '['));
    let parsed = documents::resources(root.session, &content.text, content.place());
    let content = match parsed {
        Ok(mut patches) => {
            for resource in &mut patches {
                resource.allow_changes(patch.allow_name_change, patch.allow_kind_change);
            }
            PatchContent::StrategicMerge(patches)
        }
        Err(error) => match operations(root, &content) {
            Ok(Some(operations)) => PatchContent::Operations(operations),
            Err(other) if is_list => return Err(other),
            _ => return Err(error),
        },
    };
    Ok(Transformer::Patch(PatchTransformer { mark: patch.mark, content, target: patch.target.clone() }))
}

/// The first character that is no comment and no separator.
fn first_sign(text: &str) -> Option<char> {
    let mut lines = text.lines().map(str::trim_start);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("---"))?;
    line.chars().next()
}

/// `patchesStrategicMerge`: each entry is patches written in place, or a file of them.
pub(crate) fn strategic_merge(
    root: &Root<'_>,
    mark: Mark,
    entries: &[Text],
    patches: Option<&Text>,
) -> Result<Transformer, Error> {
    let mut all: Vec<Resource> = Vec::new();
    for entry in entries {
        let written = inline(root, entry);
        match documents::resources(root.session, &written.text, written.place()) {
            Ok(patches) => all.extend(patches),
            Err(error) if entry.value.contains('\n') => return Err(error),
            Err(_) => {
                let (file, text) = root.named_text(entry)?;
                let place = Place { file: &file, line_before: 0 };
                all.extend(documents::resources(root.session, &text, place)?);
            }
        }
    }
    if let Some(text) = patches {
        let written = inline(root, text);
        all.extend(documents::resources(root.session, &written.text, written.place())?);
    }
    if all.is_empty() {
        return Err(root.session.at(mark, "there are no patches here"));
    }
    Ok(Transformer::StrategicMerge(all))
}

/// An entry of `patchesJson6902`.
pub(crate) fn json6902(root: &Root<'_>, patch: &Patch) -> Result<Transformer, Error> {
    let error = |message: &str| root.session.at(patch.mark, message);
    let target = patch.target.clone().filter(|target| !target.name.is_empty());
    let target = target.ok_or_else(|| error("a JSON patch needs a target with a name"))?;
    let content = content(root, patch)?;
    match operations(root, &content)? {
        Some(operations) if !operations.is_empty() => Ok(Transformer::Json6902(JsonPatch { operations, target })),
        Some(_) => Err(error("the patch is empty")),
        None => Err(error("expected a list of operations")),
    }
}

/// The only document of a file.
pub(crate) fn document(root: &Root<'_>, name: &Text) -> Result<Node, Error> {
    let (file, text) = root.named_text(name)?;
    let start = Mark { file: root.session.file_id(&file, &text), line: 1, column: 1 };
    let parsed = coracle_yaml::parse_first(&text, start, Repeated::LastWins);
    let node = parsed.map_err(|error| root.session.at(error.mark, format!("this is not YAML: {}", error.message)))?;
    Ok(node.unwrap_or_else(Node::null))
}

/// All replacements, those in files read.
pub(crate) fn replacements(
    root: &Root<'_>,
    entries: &[(Replacement, Option<Text>)],
) -> Result<Vec<Replacement>, Error> {
    let mut all = Vec::new();
    for (replacement, file) in entries {
        let Some(file) = file else {
            all.push(replacement.clone());
            continue;
        };
        if replacement.source.is_some() || replacement.targets.as_ref().is_some_and(|targets| !targets.is_empty()) {
            let trouble = Trouble::new(replacement.mark, "an entry is either a path or a replacement, not both");
            return Err(root.session.error(trouble));
        }
        let node = document(root, file)?;
        all.extend(replacements_file(&node).map_err(|trouble| root.session.error(trouble))?);
    }
    Ok(all)
}
