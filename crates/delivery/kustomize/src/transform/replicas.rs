//! `replicas`: counts for workloads by name.

use coracle_yaml::Node;

use crate::fieldspec::{WalkError, walk};
use crate::kustomization::Replica;
use crate::resource::Resource;
use crate::tables;

pub(super) fn set(replica: &Replica, resources: &mut [Resource]) -> Result<(), WalkError> {
    let mut found = false;
    for spec in tables::REPLICAS.iter() {
        for resource in resources.iter_mut() {
            let named = resource.any_id(|id| id.name == replica.name && spec.fits(&id.gvk));
            if !named {
                continue;
            }
            found = true;
            walk(&mut resource.node, spec, Some(Node::null), &mut |node| {
                *node = Node::plain(&replica.count.to_string()).at(node.mark);
                Ok(())
            })?;
        }
    }
    if found {
        return Ok(());
    }
    let message = format!("replicas: there is no workload called {:?}", replica.name);
    Err(WalkError { mark: replica.mark, message })
}
