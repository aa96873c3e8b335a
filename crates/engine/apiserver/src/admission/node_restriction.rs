//! A node writes about itself only: its own node, the pods bound to it, its own lease.

use serde_json::{Map, Value};

use super::{Admission, Attributes, Operation};
use crate::{
    authn::User,
    object,
    status::{Failure, GroupResource},
};

const NODES: &str = "system:nodes";
const NODE: &str = "system:node:";
const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
/// Labels below kubernetes.io and k8s.io that a node may set on itself; all others there are somebody else's.
const OWN_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];
const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const FORBIDDEN_DOMAIN: &str = "node-restriction.kubernetes.io";

/// See the module.
#[derive(Debug)]
pub struct NodeRestriction;

/// The node a user is; `None` for those who are none, an empty name for a member of the group without one.
pub fn node_of(user: &User) -> Option<&str> {
    user.in_group(NODES).then(|| user.name.strip_prefix(NODE).unwrap_or_default())
}

impl Admission for NodeRestriction {
    fn validate(&self, request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
        // Masters are asked nothing: the engine's own agent is one of them.
        let Some(node) = node_of(request.user).filter(|_| !request.user.in_group(crate::authn::MASTERS)) else {
            return Ok(());
        };
        let kind = &request.resource.kind;
        let outcome = match (&*kind.group, &*kind.plural) {
            _ if node.is_empty() => Err(format!("could not determine node from user {:?}", request.user.name)),
            ("", "pods") => pod(request, node, object),
            ("", "nodes") => own_node(request, node, object),
            ("", "persistentvolumeclaims") if request.subresource != "status" => {
                Err("may only update PVC status".to_owned())
            }
            ("coordination.k8s.io", "leases") => lease(request, node, object),
            ("storage.k8s.io", "csinodes") if object::name(object) != node => {
                Err("can only access CSINode with the same name as the requesting node".to_owned())
            }
            _ => Ok(()),
        };
        outcome.map_err(|why| request.forbidden(&why))
    }
}

fn pod(request: &Attributes<'_>, node: &str, pod: &Value) -> Result<(), String> {
    let is_own = |pod: &Value| pod["spec"]["nodeName"] == node;
    match (request.operation, request.subresource) {
        (Operation::Create, "") => mirror_pod(request, node, pod),
        (Operation::Create, "eviction") => {
            let evicted = request.server.store.get(&request.resource.key(request.namespace, request.name));
            match evicted.is_none_or(|evicted| evicted.field("spec.nodeName") == Some(node)) {
                true => Ok(()),
                false => Err(format!("node {node:?} can only evict pods with spec.nodeName set to itself")),
            }
        }
        (Operation::Delete, _) if is_own(pod) => Ok(()),
        (Operation::Delete, _) => Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself")),
        (Operation::Update, "status") => {
            let old = request.old.unwrap_or(&Value::Null);
            if !is_own(old) {
                return Err(format!(
                    "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
                ));
            }
            match old["metadata"]["labels"] == pod["metadata"]["labels"] {
                true => Ok(()),
                false => Err(format!("node {node:?} cannot update labels through pod status")),
            }
        }
        (Operation::Connect, _) => Ok(()),
        (_, "") => {
            Err(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"))
        }
        (_, other) => Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")),
    }
}

fn mirror_pod(request: &Attributes<'_>, node: &str, pod: &Value) -> Result<(), String> {
    if pod["metadata"]["annotations"][MIRROR].is_null() {
        return Err(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if pod["spec"]["nodeName"] != node {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let record = request.server.store.get(&format!("/core/nodes/{node}"));
    let uid = record.as_ref().map(|record| record.uid()).unwrap_or_default();
    let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_node = |owner: &Value| owner["kind"] == "Node" && owner["apiVersion"] == "v1" && owner["name"] == node;
    match owners {
        [owner] if is_node(owner) && owner["controller"] == Value::Bool(true) && owner["uid"] == uid => {}
        _ => return Err(format!("node {node:?} can only create pods with an owner reference set to itself")),
    }
    let spec = &pod["spec"];
    let refers = |volume: &Value| {
        ["secret", "configMap", "persistentVolumeClaim", "projected", "ephemeral", "csi"]
            .iter()
            .any(|kind| !volume[kind].is_null())
    };
    let account = spec["serviceAccountName"].as_str().is_some_and(|name| !name.is_empty());
    if account || spec["volumes"].as_array().into_iter().flatten().any(refers) {
        return Err(format!("node {node:?} can not create pods that reference other API objects"));
    }
    Ok(())
}

fn own_node(request: &Attributes<'_>, node: &str, object: &Value) -> Result<(), String> {
    let named = object::name(object);
    if named != node {
        return Err(format!("node {node:?} is not allowed to modify node {named:?}"));
    }
    let empty = Map::new();
    let labels = |object: &'_ Value| object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    match (request.operation, request.old) {
        (Operation::Create, _) => {
            let wrong = foreign_labels(&labels(object), &empty);
            match wrong.is_empty() {
                true => Ok(()),
                false => Err(format!("node {node:?} is not allowed to set the following labels: {}", wrong.join(", "))),
            }
        }
        (Operation::Update, Some(old)) => {
            if old["spec"]["taints"] != object["spec"]["taints"] {
                return Err(format!("node {node:?} is not allowed to modify taints"));
            }
            if old["metadata"]["ownerReferences"] != object["metadata"]["ownerReferences"] {
                return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
            }
            let wrong = foreign_labels(&labels(object), &labels(old));
            match wrong.is_empty() {
                true => Ok(()),
                false => Err(format!("is not allowed to modify labels: {}", wrong.join(", "))),
            }
        }
        _ => Ok(()),
    }
}

/// Labels that changed and that are not a node's to change.
fn foreign_labels(now: &Map<String, Value>, before: &Map<String, Value>) -> Vec<String> {
    let keys = now.keys().chain(before.keys());
    let mut changed: Vec<String> = keys.filter(|key| now.get(*key) != before.get(*key)).cloned().collect();
    changed.sort();
    changed.dedup();
    changed.retain(|key| !is_own_label(key));
    changed
}

fn is_own_label(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return true };
    let within = |of: &str| domain == of || domain.ends_with(&format!(".{of}"));
    if within(FORBIDDEN_DOMAIN) {
        return false;
    }
    let is_kubernetes = within("kubernetes.io") || within("k8s.io");
    !is_kubernetes || OWN_LABELS.contains(&key) || OWN_DOMAINS.iter().any(|domain| within(domain))
}

fn lease(request: &Attributes<'_>, node: &str, object: &Value) -> Result<(), String> {
    if request.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    match object::name(object) == node {
        true => Ok(()),
        false => Err("can only access node lease with the same name as the requesting node".to_owned()),
    }
}

/// Refuses a node's request for a token that is for no pod of its own.
pub fn check_token(user: &User, account: &str, pod: Option<&Value>) -> Result<(), Failure> {
    let Some(node) = node_of(user).filter(|_| !user.in_group(crate::authn::MASTERS)) else { return Ok(()) };
    let refused =
        |why: &str| Err(Failure::forbidden(GroupResource { group: "", resource: "serviceaccounts" }, account, why));
    match pod {
        None => refused("node requested token not bound to a pod"),
        Some(pod) if pod["spec"]["nodeName"] != node => {
            refused("node requested token bound to a pod scheduled on a different node")
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_kubernetes_are_not_a_nodes_but_for_some() {
        for (key, is_own) in [
            ("tier", true),
            ("example.com/tier", true),
            ("kubernetes.io/hostname", true),
            ("kubernetes.io/role", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("kubelet.kubernetes.io/x", true),
            ("node.kubernetes.io/exclude-from-external-load-balancers", true),
            ("node-restriction.kubernetes.io/x", false),
            ("foo.node-restriction.kubernetes.io/x", false),
            ("foo.k8s.io/x", false),
        ] {
            assert_eq!(is_own_label(key), is_own, "{key}");
        }
    }
}
