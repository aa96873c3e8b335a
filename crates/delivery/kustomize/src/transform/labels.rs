//! `labels`, `commonLabels` and `commonAnnotations`.

use coracle_yaml::Node;
use coracle_yaml::decode::Located;

use crate::fieldspec::{FieldSpec, WalkError, walk};
use crate::kustomization::Labels;
use crate::resource::Resource;
use crate::tables;

/// The fields an entry of `labels` asks for.
pub(super) fn fields(labels: &Labels) -> Vec<FieldSpec> {
    let mut fields = labels.fields.clone();
    if labels.include_selectors {
        fields.extend(tables::COMMON_LABELS.iter().cloned());
        return fields;
    }
    if labels.include_templates {
        fields.extend(tables::TEMPLATE_LABELS.iter().cloned());
    }
    if labels.include_volume_claim_templates {
        fields.extend(tables::VOLUME_CLAIM_TEMPLATE_LABELS.iter().cloned());
    }
    fields.push(FieldSpec::new("", "metadata/labels", true));
    fields
}

pub(super) fn add(
    pairs: &[(String, Located<String>)],
    fields: &[FieldSpec],
    resources: &mut [Resource],
) -> Result<(), WalkError> {
    if pairs.is_empty() {
        return Ok(());
    }
    for resource in resources {
        for spec in fields {
            walk(&mut resource.node, spec, Some(Node::mapping), &mut |node| {
                let (mark, found) = (node.mark, node.describe());
                let Some(mapping) = node.as_mapping_mut() else {
                    return Err(WalkError { mark, message: format!("expected a mapping here, found {found}") });
                };
                for (key, value) in pairs {
                    mapping.insert(key, Node::string(&value.value).at(value.mark));
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}
