//! `ValueAddTransformer`: one value into many fields, maybe as a part of a path that is there.

use coracle_yaml::{Mark, Node, Value};

use super::namespace::SubjectMode;
use crate::error::Trouble;
use crate::fieldspec::split;
use crate::resource::Resource;
use crate::scalars::{set_text, text};
use crate::select::{Selector, select};

#[derive(Debug, Default)]
pub(crate) struct ValueAdd {
    pub value: String,
    pub targets: Vec<ValueTarget>,
}

#[derive(Debug)]
pub(crate) struct ValueTarget {
    pub mark: Mark,
    pub selector: Option<Selector>,
    pub field_path: String,
    /// Where in a path the value goes, from 1; 0 replaces the field.
    pub position: usize,
}

impl ValueAdd {
    pub(super) fn apply(&self, resources: &mut [Resource]) -> Result<(), Trouble> {
        for target in &self.targets {
            let selected = match &target.selector {
                None => (0..resources.len()).collect(),
                Some(selector) => select(selector, resources)?,
            };
            for index in selected {
                self.add(target, &mut resources[index]).map_err(|trouble| trouble.or_at(target.mark))?;
            }
        }
        Ok(())
    }

    fn add(&self, target: &ValueTarget, resource: &mut Resource) -> Result<(), Trouble> {
        if target.field_path == "metadata/namespace" {
            let mode = SubjectMode { namespace: self.value.clone(), ..SubjectMode::default() };
            return mode.set_in(resource);
        }
        let mut node = &mut resource.node;
        for step in split(&target.field_path, '/').iter().filter(|step| !step.trim().is_empty()) {
            let (mark, found) = (node.mark, node.describe());
            node = match &mut node.value {
                Value::Mapping(mapping) => mapping.get_or_insert_with(step, Node::mapping),
                Value::Sequence(items) => {
                    let index = step.parse::<usize>().ok();
                    let item = index.and_then(|index| items.get_mut(index));
                    item.ok_or_else(|| Trouble::new(mark, format!("there is no element {step:?}")))?
                }
                Value::Scalar(_) => {
                    let message = format!("field {}: expected a mapping, found {found}", target.field_path);
                    return Err(Trouble::new(mark, message));
                }
            };
        }
        if node.as_mapping().is_some_and(coracle_yaml::Mapping::is_empty) {
            *node = Node::plain("");
        }
        if node.as_text().is_none() {
            let message = format!("field {}: expected a scalar, found {}", target.field_path, node.describe());
            return Err(Trouble::new(node.mark, message));
        }
        let value = match target.position {
            0 => self.value.clone(),
            position => with_part(text(node), position - 1, &self.value),
        };
        set_text(node, &value);
        Ok(())
    }
}

/// A path with one part more; a part at its end if it has fewer.
fn with_part(path: &str, position: usize, part: &str) -> String {
    if part.is_empty() {
        return path.to_owned();
    }
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.insert(position.min(parts.len()), part);
    format!("{}{}", if is_absolute { "/" } else { "" }, parts.join("/"))
}
