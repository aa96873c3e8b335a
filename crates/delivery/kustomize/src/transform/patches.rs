//! `patches`, `patchesStrategicMerge` and `patchesJson6902`.

use coracle_yaml::Mark;

use crate::error::Trouble;
use crate::jsonpatch::{self, Operation};
use crate::merge::{Types, merge};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::select::{Selector, select};

/// An entry of `patches`.
#[derive(Debug)]
pub(crate) struct PatchTransformer {
    pub mark: Mark,
    pub content: PatchContent,
    pub target: Option<Selector>,
}

#[derive(Debug)]
pub(crate) enum PatchContent {
    StrategicMerge(Vec<Resource>),
    Operations(Vec<Operation>),
}

/// An entry of `patchesJson6902`.
#[derive(Debug)]
pub(crate) struct JsonPatch {
    pub operations: Vec<Operation>,
    pub target: Selector,
}

impl PatchTransformer {
    pub(super) fn apply(&self, types: &Types, resources: &mut Resources) -> Result<(), Trouble> {
        match (&self.content, &self.target) {
            (PatchContent::StrategicMerge(patches), None) => {
                for patch in patches {
                    let index = resources
                        .by_any_id(&patch.original_id())
                        .map_err(|reason| Trouble::new(patch.mark(), format!("nothing to patch: {reason}")))?;
                    merge_into(types, &mut resources.list[index], patch.clone())?;
                }
                Ok(())
            }
            (PatchContent::StrategicMerge(patches), Some(target)) => {
                let [patch] = patches.as_slice() else {
                    return match patches.len() {
                        0 => Ok(()),
                        _ => Err(Trouble::new(self.mark, "a patch with a target has to be a single document")),
                    };
                };
                let selected = select(target, &resources.list)?;
                merge_into_all(types, &selected, patch, resources)
            }
            (PatchContent::Operations(operations), None) if operations.is_empty() => Ok(()),
            (PatchContent::Operations(_), None) => Err(Trouble::new(self.mark, "a list of operations needs a target")),
            (PatchContent::Operations(operations), Some(target)) => {
                for index in select(target, &resources.list)? {
                    resources.list[index].store_previous();
                    resources.list[index].keeping_state(|node| jsonpatch::apply(node, operations))?;
                }
                Ok(())
            }
        }
    }
}

impl JsonPatch {
    pub(super) fn apply(&self, resources: &mut Resources) -> Result<(), Trouble> {
        for index in select(&self.target, &resources.list)? {
            resources.list[index].keeping_state(|node| jsonpatch::apply(node, &self.operations))?;
        }
        Ok(())
    }
}

/// Patches that find their objects by name.
pub(super) fn by_name(types: &Types, patches: &[Resource], resources: &mut Resources) -> Result<(), Trouble> {
    for patch in patches {
        let index = resources
            .by_any_id(&patch.original_id())
            .map_err(|reason| Trouble::new(patch.mark(), format!("nothing to patch: {reason}")))?;
        merge_into_all(types, &[index], patch, resources)?;
    }
    Ok(())
}

fn merge_into_all(
    types: &Types,
    selected: &[usize],
    patch: &Resource,
    resources: &mut Resources,
) -> Result<(), Trouble> {
    for &index in selected {
        let target = &mut resources.list[index];
        let mut own = patch.clone();
        // As in the original, labels and annotations go through maps of strings here, so that a null no longer takes
        // an entry away but sets it to the word.
        for field in ["labels", "annotations"] {
            let entries = own.metadata_map(field);
            own.set_metadata_map(field, entries);
        }
        own.set_field("apiVersion", target.api_version());
        merge_into(types, target, own)?;
    }
    resources.drop_empty();
    resources.check_unique("patching")
}

/// The object keeps its kind and name unless the patch may change them, and always its namespace.
fn merge_into(types: &Types, target: &mut Resource, patch: Resource) -> Result<(), Trouble> {
    let id = target.id();
    let (allow_name, allow_kind) = (patch.name_change_allowed(), patch.kind_change_allowed());
    if allow_name || allow_kind {
        target.store_previous();
    }
    if !merge(types, &mut target.node, patch.node)? {
        target.node = coracle_yaml::Node::null().at(target.node.mark);
    }
    if target.is_empty() {
        return Ok(());
    }
    target.settle_state();
    if !allow_kind {
        target.set_field("kind", &id.gvk.kind);
    }
    if !allow_name {
        target.set_name(&id.name);
    }
    target.set_namespace(&id.namespace);
    Ok(())
}
