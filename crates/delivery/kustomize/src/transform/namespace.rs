//! `namespace`: everything that lives in a namespace moves into this one.

use coracle_yaml::{Mark, Node};

use crate::fieldspec::{WalkError, walk};
use crate::resource::Resource;
use crate::tables;

pub(super) fn set(namespace: &str, resources: &mut [Resource]) -> Result<(), WalkError> {
    for index in 0..resources.len() {
        let resource = &mut resources[index];
        resource.store_previous();
        let gvk = resource.gvk();
        if !gvk.is_cluster_scoped() {
            resource.set_namespace(namespace);
        }
        if matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
            set_default_subjects(&mut resource.node, namespace);
        }
        for spec in tables::NAMESPACE.iter() {
            if spec.path == "metadata/name" && gvk.api_version() != "v1" {
                continue;
            }
            walk(&mut resource.node, spec, Some(empty), &mut |node| {
                *node = Node::string(namespace).at(node.mark);
                Ok(())
            })?;
        }
        let id = resources[index].id();
        if resources.iter().filter(|other| other.id().same_as(&id)).count() > 1 {
            let message = format!("setting the namespace makes two objects called {id}");
            return Err(WalkError { mark: Mark::default(), message });
        }
    }
    Ok(())
}

fn empty() -> Node {
    Node::string("")
}

/// Of a binding's subjects only those called `default` are certain to be meant to move along.
fn set_default_subjects(node: &mut Node, namespace: &str) {
    let Some(subjects) = node.get_mut("subjects").and_then(Node::as_sequence_mut) else { return };
    for subject in subjects {
        if subject.get("name").and_then(Node::as_text) == Some("default")
            && let Some(mapping) = subject.as_mapping_mut()
        {
            mapping.insert("namespace", Node::string(namespace));
        }
    }
}
