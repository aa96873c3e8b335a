//! `configurations`: files that add field specs.

use coracle_yaml::Node;
use coracle_yaml::decode::{DecodeError, Fields, Manner};

use super::{Config, Reference};
use crate::read::{field_specs, gvk};

pub(crate) fn from_file(node: &Node) -> Result<Config, DecodeError> {
    if node.is_null() {
        return Ok(Config::default());
    }
    let mut fields = Fields::read(node, "", Manner::Json)?;
    let mut config = Config {
        name_prefix: field_specs(&mut fields, "namePrefix")?,
        name_suffix: field_specs(&mut fields, "nameSuffix")?,
        namespace: field_specs(&mut fields, "namespace")?,
        common_labels: field_specs(&mut fields, "commonLabels")?,
        labels: field_specs(&mut fields, "labels")?,
        template_labels: field_specs(&mut fields, "templateLabels")?,
        volume_claim_template_labels: field_specs(&mut fields, "volumeClaimTemplateLabels")?,
        common_annotations: field_specs(&mut fields, "commonAnnotations")?,
        var_reference: field_specs(&mut fields, "varReference")?,
        images: field_specs(&mut fields, "images")?,
        replicas: field_specs(&mut fields, "replicas")?,
        references: Vec::new(),
    };
    for (index, node) in fields.list("nameReference")?.iter().enumerate() {
        let mut reference = Fields::read(node, &format!("nameReference[{index}]"), Manner::Json)?;
        let target = gvk(&mut reference)?;
        config.references.push(Reference { target, referrers: field_specs(&mut reference, "fieldSpecs")? });
        reference.finish()?;
    }
    fields.finish()?;
    config.sort();
    Ok(config)
}
