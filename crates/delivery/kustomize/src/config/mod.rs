//! Which fields of which kinds hold names, labels, images and the like: kustomize's built-in configuration, and what
//! kustomizations add to it by `configurations` and `crds`.

mod crds;
mod defaults;
mod read;
mod references;

use std::sync::{Arc, LazyLock};

use crate::fieldspec::{FieldSpec, merge_specs};
use crate::id::Gvk;
use crate::order::gvk_rank;

pub(crate) use crds::from_crds;
pub(crate) use read::from_file;

/// A kind whose names others refer to, and where they do.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub target: Gvk,
    pub referrers: Vec<FieldSpec>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    pub name_prefix: Vec<FieldSpec>,
    pub name_suffix: Vec<FieldSpec>,
    pub namespace: Vec<FieldSpec>,
    pub common_labels: Vec<FieldSpec>,
    pub labels: Vec<FieldSpec>,
    pub template_labels: Vec<FieldSpec>,
    pub volume_claim_template_labels: Vec<FieldSpec>,
    pub common_annotations: Vec<FieldSpec>,
    pub var_reference: Vec<FieldSpec>,
    pub images: Vec<FieldSpec>,
    pub replicas: Vec<FieldSpec>,
    pub references: Vec<Reference>,
}

/// The built-in configuration.
pub(crate) static DEFAULT: LazyLock<Arc<Config>> = LazyLock::new(|| Arc::new(defaults::config()));

impl Config {
    fn lists(&mut self) -> [&mut Vec<FieldSpec>; 11] {
        [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.volume_claim_template_labels,
            &mut self.common_annotations,
            &mut self.var_reference,
            &mut self.images,
            &mut self.replicas,
        ]
    }

    fn sort(&mut self) {
        for list in self.lists() {
            list.sort_by_cached_key(|spec| gvk_rank(&spec.gvk));
        }
        self.references.sort_by_cached_key(|reference| gvk_rank(&reference.target));
    }

    fn add(&mut self, other: &Config) -> Result<(), String> {
        let mut other = other.clone();
        for (own, incoming) in self.lists().into_iter().zip(other.lists()) {
            merge_specs(own, incoming)?;
        }
        for reference in &other.references {
            self.add_reference(reference)?;
        }
        Ok(())
    }

    fn add_reference(&mut self, reference: &Reference) -> Result<(), String> {
        match self.references.iter_mut().find(|own| own.target == reference.target) {
            Some(own) => merge_specs(&mut own.referrers, &reference.referrers),
            None => {
                self.references.push(reference.clone());
                Ok(())
            }
        }
    }
}

/// Both in one. Most builds only ever have the built-in one, which is shared.
pub(crate) fn merge(own: Arc<Config>, other: &Arc<Config>) -> Result<Arc<Config>, String> {
    if Arc::ptr_eq(&own, other) {
        return Ok(own);
    }
    let mut merged = Arc::unwrap_or_clone(own);
    merged.add(other)?;
    merged.sort();
    Ok(Arc::new(merged))
}
