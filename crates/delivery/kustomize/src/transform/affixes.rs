//! `namePrefix` and `nameSuffix`.

use coracle_yaml::Node;

use crate::error::Trouble;
use crate::fieldspec::{FieldSpec, Make, walk};
use crate::id::Gvk;
use crate::resource::Resource;
use crate::scalars::{set_text, text};

/// Whose names mean something to the whole cluster.
fn keeps_its_name(gvk: &Gvk) -> bool {
    matches!(gvk.kind.as_str(), "CustomResourceDefinition" | "Namespace")
        || (gvk.kind == "APIService" && gvk.group == "apiregistration.k8s.io")
}

pub(super) fn add_prefix(prefix: &str, fields: &[FieldSpec], resources: &mut [Resource]) -> Result<(), Trouble> {
    add(fields, resources, !prefix.is_empty(), |resource| resource.add_prefix(prefix), |name| format!("{prefix}{name}"))
}

pub(super) fn add_suffix(suffix: &str, fields: &[FieldSpec], resources: &mut [Resource]) -> Result<(), Trouble> {
    add(fields, resources, !suffix.is_empty(), |resource| resource.add_suffix(suffix), |name| format!("{name}{suffix}"))
}

fn add(
    fields: &[FieldSpec],
    resources: &mut [Resource],
    changes: bool,
    note: impl Fn(&mut Resource),
    renamed: impl Fn(&str) -> String,
) -> Result<(), Trouble> {
    for resource in resources {
        let original = resource.original_id().gvk;
        if keeps_its_name(&original) {
            continue;
        }
        let mark = resource.mark();
        for spec in fields.iter().filter(|spec| original.is_selected_by(&spec.gvk)) {
            if spec.path == "metadata/name" {
                note(resource);
                if changes {
                    resource.store_previous();
                }
            }
            let mut rename = |node: &mut Node| {
                if node.as_text().is_none() {
                    return Err(Trouble::new(node.mark, format!("expected a name, found {}", node.describe())));
                }
                let name = renamed(text(node));
                set_text(node, &name);
                Ok(())
            };
            walk(&mut resource.node, spec, Make::Scalar, &mut rename).map_err(|trouble| trouble.or_at(mark))?;
        }
    }
    Ok(())
}
