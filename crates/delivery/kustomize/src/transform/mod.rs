//! The transformers, in kustomize's order. One file a transformer.

mod images;
mod labels;
mod names;
mod namespace;
mod patches;
mod replicas;
mod select;

use crate::accumulate::Context;
use crate::error::Error;
use crate::fieldspec::WalkError;
use crate::kustomization::Kustomization;
use crate::resource::Resource;
use crate::tables;

pub(crate) fn all(
    context: &Context<'_>,
    directory: &str,
    file: &str,
    kustomization: &Kustomization,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    let walked = |result: Result<(), WalkError>| result.map_err(|error| context.at(error.mark, error.message));
    let source = patches::Source { context, directory, file };
    patches::strategic_merge_files(&source, &kustomization.patches_strategic_merge, resources)?;
    patches::all(&source, &kustomization.patches, resources)?;
    if let Some(name) = &kustomization.namespace {
        namespace::set(&name.value, resources).map_err(|error| {
            let mark = if error.mark.line > 0 { error.mark } else { name.mark };
            context.at(mark, error.message)
        })?;
    }
    names::add(&kustomization.name_prefix, &kustomization.name_suffix, resources);
    for labels in &kustomization.labels {
        walked(labels::add(&labels.pairs, &labels::fields(labels), resources))?;
    }
    walked(labels::add(&kustomization.common_labels, &tables::COMMON_LABELS, resources))?;
    walked(labels::add(&kustomization.common_annotations, &tables::COMMON_ANNOTATIONS, resources))?;
    patches::all(&source, &kustomization.patches_json6902, resources)?;
    for replica in &kustomization.replicas {
        replicas::set(replica, resources).map_err(|error| context.at(error.mark, error.message))?;
    }
    for image in &kustomization.images {
        walked(images::set(image, resources))?;
    }
    Ok(())
}
