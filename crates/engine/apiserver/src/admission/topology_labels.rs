//! A pod that gets a node gets the labels that say where the node stands, for its containers to read.

use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::{object, status::Failure};

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// See the module.
#[derive(Debug)]
pub struct PodTopologyLabels;

impl Admission for PodTopologyLabels {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        let kind = &request.resource.kind;
        if request.operation != Operation::Create || kind.plural != "pods" || !kind.group.is_empty() {
            return Ok(());
        }
        let node = match request.subresource {
            "" => &object["spec"]["nodeName"],
            "binding" if object["target"]["kind"] == "Node" => &object["target"]["name"],
            _ => return Ok(()),
        };
        let Some(node) = node.as_str().filter(|node| !node.is_empty()) else { return Ok(()) };
        let Some(node) = request.server.store.get(&format!("/core/nodes/{node}")) else { return Ok(()) };
        for label in LABELS {
            if let Some(text) = node.label(label) {
                let labels = &mut object::metadata_mut(object).entry("labels").or_insert_with(|| json!({}));
                labels[label] = json!(text);
            }
        }
        Ok(())
    }
}
