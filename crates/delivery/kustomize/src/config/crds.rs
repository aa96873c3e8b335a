//! `crds`: OpenAPI definitions of custom kinds, whose extensions say which fields are labels, annotations, names and
//! references to names.

use coracle_yaml::Node;

use super::{Config, Reference};
use crate::fieldspec::FieldSpec;
use crate::id::Gvk;
use crate::scalars::text;

/// Definitions that refer to each other deeper than this are taken for a circle.
const DEPTH_LIMIT: usize = 32;

pub(crate) fn from_crds(definitions: &Node) -> Result<Config, String> {
    let mut config = Config::default();
    let Some(mapping) = definitions.as_mapping() else { return Ok(config) };
    for entry in mapping.iter() {
        let Some(properties) = properties(&entry.value) else { continue };
        let is_object = ["kind", "apiVersion", "metadata"].iter().all(|field| properties.get(field).is_some());
        if is_object {
            let kind = entry.key.rsplit('.').next().unwrap_or_default();
            let gvk = Gvk { kind: kind.to_owned(), ..Gvk::default() };
            Walk { definitions, gvk, config: &mut config }.definition(&entry.key, &[])?;
        }
    }
    config.sort();
    Ok(config)
}

/// Names are taken in any case, as the original's decoder does.
fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let entries = node.as_mapping()?.iter();
    entries.filter(|entry| entry.key.eq_ignore_ascii_case(name)).last().map(|entry| &entry.value)
}

fn properties(definition: &Node) -> Option<&Node> {
    field(definition, "schema")?.get("properties")
}

struct Walk<'a> {
    definitions: &'a Node,
    gvk: Gvk,
    config: &'a mut Config,
}

impl Walk<'_> {
    fn definition(&mut self, name: &str, path: &[&str]) -> Result<(), String> {
        if path.len() > DEPTH_LIMIT {
            return Err(format!("the definition of {name:?} goes in circles"));
        }
        let definitions = self.definitions;
        let Some(properties) = definitions.get(name).and_then(properties).and_then(Node::as_mapping) else {
            return Ok(());
        };
        for entry in properties.iter() {
            let mut path = path.to_vec();
            path.push(&entry.key);
            self.property(&entry.value, &path)?;
            if let Some(reference) = entry.value.get("$ref") {
                self.definition(text(reference), &path)?;
            }
        }
        Ok(())
    }

    fn property(&mut self, property: &Node, path: &[&str]) -> Result<(), String> {
        let says = |extension: &str| property.get(extension).and_then(Node::as_text);
        let spec = FieldSpec::new(self.gvk.clone(), &path.join("/"), false);
        let one = std::slice::from_ref(&spec);
        if says("x-kubernetes-annotation").is_some() {
            crate::fieldspec::merge_specs(&mut self.config.common_annotations, one)?;
        }
        if says("x-kubernetes-label-selector").is_some() {
            crate::fieldspec::merge_specs(&mut self.config.common_labels, one)?;
        }
        if says("x-kubernetes-identity").is_some() {
            crate::fieldspec::merge_specs(&mut self.config.name_prefix, one)?;
        }
        let version = says("x-kubernetes-object-ref-api-version");
        if let (Some(version), Some(kind)) = (version, says("x-kubernetes-object-ref-kind")) {
            let name = says("x-kubernetes-object-ref-name-key").unwrap_or("name");
            let spec = FieldSpec::new(self.gvk.clone(), &format!("{}/{name}", path.join("/")), false);
            let target = Gvk { version: version.to_owned(), kind: kind.to_owned(), ..Gvk::default() };
            self.config.add_reference(&Reference { target, referrers: vec![spec] })?;
        }
        Ok(())
    }
}
