//! The built-in transformers: each a file, made from a field of the kustomization or from an object of its kind.

mod affixes;
mod images;
mod metadata;
mod namespace;
pub(crate) mod patches;
mod replacements;
mod replacements_text;
mod replicas;
mod values;

use crate::error::Error;
use crate::fieldspec::FieldSpec;
use crate::hash;
use crate::load::Session;
use crate::merge::Types;
use crate::origin::{Origin, add_transformation};
use crate::read::replacements::Replacement;
use crate::read::{Image, Replica};
use crate::resources::Resources;

pub(crate) use namespace::{SubjectMode, Subjects};
pub(crate) use patches::{JsonPatch, PatchTransformer};
pub(crate) use values::{ValueAdd, ValueTarget};

/// What changes resources.
pub(crate) enum Transformer {
    Annotations {
        annotations: Vec<(String, String)>,
        fields: Vec<FieldSpec>,
    },
    Labels {
        labels: Vec<(String, String)>,
        fields: Vec<FieldSpec>,
    },
    Namespace(SubjectMode),
    Prefix {
        prefix: String,
        fields: Vec<FieldSpec>,
    },
    Suffix {
        suffix: String,
        fields: Vec<FieldSpec>,
    },
    PrefixSuffix {
        prefix: String,
        suffix: String,
        fields: Vec<FieldSpec>,
    },
    Hash,
    Image {
        image: Image,
        fields: Vec<FieldSpec>,
    },
    Patch(PatchTransformer),
    /// `patchesStrategicMerge`: each patch finds its object by name.
    StrategicMerge(Vec<crate::resource::Resource>),
    Json6902(JsonPatch),
    Replicas {
        replica: Replica,
        fields: Vec<FieldSpec>,
    },
    Replacements(Vec<Replacement>),
    ValueAdd(ValueAdd),
}

/// A transformer, and where it came from if that is to be noted.
pub(crate) struct Step {
    pub transformer: Transformer,
    pub origin: Option<Origin>,
}

/// What transformers need besides the resources.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub session: &'a Session<'a>,
    pub types: &'a Types,
}

/// Runs transformers one after the other; what they empty is gone.
pub(crate) fn run(around: Around<'_>, steps: &mut [Step], resources: &mut Resources) -> Result<(), Error> {
    for step in steps {
        step.transformer.apply(around, resources)?;
        if let Some(origin) = &step.origin {
            resources.list.iter_mut().for_each(|resource| add_transformation(resource, origin));
        }
        resources.drop_empty();
    }
    Ok(())
}

impl Transformer {
    pub fn apply(&mut self, around: Around<'_>, resources: &mut Resources) -> Result<(), Error> {
        let result = match self {
            Transformer::Annotations { annotations, fields } => {
                metadata::set_entries(annotations, fields, &mut resources.list)
            }
            Transformer::Labels { labels, fields } => metadata::set_entries(labels, fields, &mut resources.list),
            Transformer::Namespace(mode) => namespace::set(mode, resources),
            Transformer::Prefix { prefix, fields } => affixes::add_prefix(prefix, fields, &mut resources.list),
            Transformer::Suffix { suffix, fields } => affixes::add_suffix(suffix, fields, &mut resources.list),
            Transformer::PrefixSuffix { prefix, suffix, fields } => {
                affixes::add_prefix(prefix, fields, &mut resources.list)
                    .and_then(|()| affixes::add_suffix(suffix, fields, &mut resources.list))
            }
            Transformer::Hash => {
                add_hashes(resources);
                Ok(())
            }
            Transformer::Image { image, fields } => images::set(image, fields, &mut resources.list),
            Transformer::Patch(patch) => patch.apply(around.types, resources),
            Transformer::StrategicMerge(patches) => patches::by_name(around.types, patches, resources),
            Transformer::Json6902(patch) => patch.apply(resources),
            Transformer::Replicas { replica, fields } => replicas::set(replica, fields, resources),
            Transformer::Replacements(replacements) => replacements::all(replacements, &mut resources.list),
            Transformer::ValueAdd(add) => add.apply(&mut resources.list),
        };
        result.map_err(|trouble| around.session.error(trouble))
    }
}

/// Generated objects are called by their content.
pub(crate) fn add_hashes(resources: &mut Resources) {
    for resource in resources.list.iter_mut().filter(|resource| resource.needs_hash()) {
        let name = format!("{}-{}", resource.name(), hash::suffix(&resource.node));
        resource.store_previous();
        resource.set_name(&name);
    }
}
