//! What nodes may do: what the role `system:node` says, and of secrets, config maps, volumes and tokens only those that
//! pods bound to the node refer to.

use coracle_store::{Snapshot, Store};
use serde_json::Value;

use super::{Attributes, Authorizer, Decision, Rules, default_roles, rbac::PolicyRule};
use crate::{admission::node_of, authn::User, object};

const LEASES: &str = "kube-node-lease";

/// Answers for nodes, and asks `inner` about everybody else, and about nodes where it does not itself allow it.
pub struct NodeOr<A> {
    store: Store,
    rules: Vec<PolicyRule>,
    inner: A,
}

impl<A: Authorizer> NodeOr<A> {
    /// An authorizer that knows from `store` which pods are bound where.
    pub fn new(store: Store, inner: A) -> Self {
        Self { store, rules: default_roles::rules_of("system:node"), inner }
    }

    /// The error says why not; it is empty where there is nothing to add.
    fn judge(&self, node: &str, asked: &Attributes<'_>) -> Result<(), String> {
        let reads = matches!(asked.verb, "get" | "list" | "watch");
        match (asked.api_group, asked.resource, asked.subresource) {
            ("", "secrets" | "configmaps", _) => {
                check(reads, "can only read resources of this type")?;
                check(asked.subresource.is_empty(), "cannot read subresource")?;
                check(!asked.namespace.is_empty(), "can only read namespaced object of this type")?;
                self.related(node, asked)
            }
            ("", "persistentvolumeclaims", "status") => {
                check(matches!(asked.verb, "update" | "patch"), "can only get/update/patch this type")?;
                self.related(node, asked)
            }
            ("", "persistentvolumeclaims" | "persistentvolumes", _)
            | ("resource.k8s.io", "resourceclaims", _)
            | ("storage.k8s.io", "volumeattachments", _) => {
                check(asked.verb == "get", "can only get individual resources of this type")?;
                check(asked.subresource.is_empty(), "cannot get subresource")?;
                self.related(node, asked)
            }
            ("", "serviceaccounts", "") if asked.verb == "get" => {
                check(!asked.namespace.is_empty(), "can only read namespaced object of this type")?;
                self.related(node, asked)
            }
            ("", "serviceaccounts", part) => {
                let is_for_one = asked.verb == "create" && !asked.name.is_empty();
                check(is_for_one, "can only create tokens for individual service accounts")?;
                check(part == "token", "can only create token subresource of serviceaccount")?;
                self.related(node, asked)
            }
            ("coordination.k8s.io", "leases", _) => {
                check(writes_own(asked.verb), "can only get, create, update, patch, or delete a node lease")?;
                check(
                    asked.namespace == LEASES,
                    &format!("can only access leases in the {LEASES:?} system namespace"),
                )?;
                let is_own = asked.verb == "create" || asked.name == node;
                check(is_own, "can only access node lease with the same name as the requesting node")
            }
            ("storage.k8s.io", "csinodes", part) => {
                check(writes_own(asked.verb), "can only get, create, update, patch, or delete a CSINode")?;
                check(part.is_empty(), "cannot authorize CSINode subresources")?;
                let is_own = asked.verb == "create" || asked.name == node;
                check(is_own, "can only access CSINode with the same name as the requesting node")
            }
            ("resource.k8s.io", "resourceslices", part) => {
                check(part.is_empty(), "cannot authorize ResourceSlice subresources")?;
                self.slice(node, asked)
            }
            ("", "nodes", part) => own_node(node, asked, part),
            ("", "pods", part) => self.pod(node, asked, part),
            _ => self.by_rules(asked),
        }
    }

    /// One pod that runs here, or a collection that holds no others. What a node may write is admission's to look at.
    fn pod(&self, node: &str, asked: &Attributes<'_>, part: &str) -> Result<(), String> {
        match (part, asked.verb) {
            ("", "get") => self.related(node, asked),
            ("", "list" | "watch") if is_narrowed(asked, node) => Ok(()),
            ("", "list" | "watch") if !asked.name.is_empty() => self.related(node, asked),
            ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".to_owned()),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => Err(String::new()),
        }
    }

    fn slice(&self, node: &str, asked: &Attributes<'_>) -> Result<(), String> {
        match asked.verb {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(node, asked),
            "watch" | "list" | "deletecollection" => check(
                is_narrowed(asked, node),
                "can only list/watch/deletecollection resourceslices with nodeName field selector",
            ),
            _ => Err("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection".to_owned()),
        }
    }

    /// Whether something has to do with a node: it says so itself, or a pod that is bound there names it.
    fn related(&self, node: &str, asked: &Attributes<'_>) -> Result<(), String> {
        let (namespace, name) = (asked.namespace, asked.name);
        check(!name.is_empty(), "No Object name found")?;
        let is_related = match asked.resource {
            "pods" => {
                let pod = self.store.get(&format!("/core/pods/{namespace}/{name}"));
                pod.is_some_and(|pod| pod.field("spec.nodeName") == Some(node))
            }
            "volumeattachments" => self.is_of(node, &format!("/storage.k8s.io/volumeattachments/{name}")),
            "resourceslices" => self.is_of(node, &format!("/resource.k8s.io/resourceslices/{name}")),
            "persistentvolumes" => self.uses_volume(node, name),
            "serviceaccounts" => self
                .pods(node)
                .any(|pod| object::namespace(&pod) == namespace && pod["spec"]["serviceAccountName"] == name),
            resource => self.pods(node).any(|pod| refers(&pod, resource, namespace, name)),
        };
        check(is_related, &format!("no relationship found between node '{node}' and this object"))
    }

    /// Whether an object names the node as its own.
    fn is_of(&self, node: &str, key: &str) -> bool {
        let object = self.store.get(key).and_then(|record| object::decode(&record).ok());
        object.is_some_and(|object| object["spec"]["nodeName"] == node)
    }

    fn by_rules(&self, asked: &Attributes<'_>) -> Result<(), String> {
        match self.rules.iter().any(|rule| rule.allows(asked)) {
            true => Ok(()),
            false => Err(String::new()),
        }
    }

    fn pods(&self, node: &str) -> impl Iterator<Item = Value> {
        let snapshot: Snapshot = self.store.snapshot();
        let bound: Vec<_> =
            snapshot.list("/core/pods/").filter(|pod| pod.field("spec.nodeName") == Some(node)).cloned().collect();
        bound.into_iter().filter_map(|pod| object::decode(&pod).ok())
    }

    fn uses_volume(&self, node: &str, volume: &str) -> bool {
        self.pods(node).any(|pod| {
            claims(&pod).any(|claim| {
                let key = format!("/core/persistentvolumeclaims/{}/{claim}", object::namespace(&pod));
                let claim = self.store.get(&key).and_then(|record| object::decode(&record).ok());
                claim.is_some_and(|claim| claim["spec"]["volumeName"] == volume)
            })
        })
    }
}

impl<A: Authorizer> Authorizer for NodeOr<A> {
    fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let Some(node) = node_of(asked.user) else { return self.inner.authorize(asked) };
        let verdict = if node.is_empty() {
            Err(format!("unknown node for user {:?}", asked.user.name))
        } else {
            self.judge(node, asked)
        };
        match verdict {
            Ok(()) => Decision::Allow { reason: String::new() },
            // Roles may allow nodes more.
            Err(why) => match self.inner.authorize(asked) {
                Decision::NoOpinion { reason } if reason.is_empty() => Decision::NoOpinion { reason: why },
                other => other,
            },
        }
    }

    fn rules(&self, user: &User, namespace: &str) -> Rules {
        let mut rules = self.inner.rules(user, namespace);
        if node_of(user).is_some() {
            rules.incomplete = true;
            rules.error = "node authorizer does not support user rule resolution".to_owned();
        }
        rules
    }
}

fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn writes_own(verb: &str) -> bool {
    matches!(verb, "get" | "create" | "update" | "patch" | "delete")
}

/// Whether a collection is asked for with a selector that leaves what is on this node only.
fn is_narrowed(asked: &Attributes<'_>, node: &str) -> bool {
    asked.selectors.fields.is_some_and(|fields| fields.requires("spec.nodeName", node))
}

/// A node reads itself, even before it is there; whom it writes is admission's to look at.
fn own_node(node: &str, asked: &Attributes<'_>, part: &str) -> Result<(), String> {
    match (part, asked.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") => match asked.name {
            "" => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name => check(name == node, &format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => Err(String::new()),
    }
}

fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

/// The claims of devices that a pod names, and those that were made for it.
fn resource_claims(pod: &Value) -> impl Iterator<Item = &str> {
    let named = pod["spec"]["resourceClaims"].as_array().into_iter().flatten();
    let made = pod["status"]["resourceClaimStatuses"].as_array().into_iter().flatten();
    let extended = &pod["status"]["extendedResourceClaimStatus"]["resourceClaimName"];
    named.chain(made).filter_map(|claim| claim["resourceClaimName"].as_str()).chain(extended.as_str())
}

/// Whether a pod names a secret, a config map or a claim anywhere.
fn refers(pod: &Value, resource: &str, namespace: &str, name: &str) -> bool {
    if object::namespace(pod) != namespace {
        return false;
    }
    let spec = &pod["spec"];
    if resource == "resourceclaims" {
        return resource_claims(pod).any(|claim| claim == name);
    }
    if resource == "persistentvolumeclaims" {
        let ephemeral = spec["volumes"].as_array().into_iter().flatten().any(|volume| {
            !volume["ephemeral"].is_null()
                && name == format!("{}-{}", object::name(pod), volume["name"].as_str().unwrap_or_default())
        });
        return ephemeral || claims(pod).any(|claim| claim == name);
    }
    let pulls = spec["imagePullSecrets"].as_array().into_iter().flatten();
    if resource == "secrets" && pulls.into_iter().any(|secret| secret["name"] == name) {
        return true;
    }
    let within = ["volumes", "containers", "initContainers", "ephemeralContainers"];
    within.iter().any(|part| names(&spec[*part], resource == "secrets", name))
}

/// Whether somewhere within there is a reference of the kind: volumes, environments and drivers each have their own form.
fn names(value: &Value, secret: bool, name: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| names(item, secret, name)),
        Value::Object(fields) => fields.iter().any(|(key, inner)| {
            let is_reference = match key.as_str() {
                "secretName" => secret && inner == name,
                "secret" | "secretRef" | "secretKeyRef" | "nodePublishSecretRef" => secret && inner["name"] == name,
                "configMap" | "configMapRef" | "configMapKeyRef" => !secret && inner["name"] == name,
                _ => false,
            };
            is_reference || names(inner, secret, name)
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use coracle_store::{Change, Meta};
    use serde_json::json;

    use super::*;
    use crate::{
        authz::{Selectors, rbac::Rbac},
        request::selector::FieldSelector,
    };

    struct Nobody(Rbac);

    impl Authorizer for Nobody {
        fn authorize(&self, asked: &Attributes<'_>) -> Decision {
            self.0.authorize(asked)
        }

        fn rules(&self, _: &User, _: &str) -> Rules {
            Rules::default()
        }
    }

    #[tokio::test]
    async fn a_node_reaches_what_its_pods_name_and_nothing_else() {
        let store = Store::in_memory();
        let pod = json!({"metadata": {"name": "p", "namespace": "a"}, "spec": {
            "nodeName": "n1", "serviceAccountName": "robot", "imagePullSecrets": [{"name": "pull"}],
            "volumes": [{"name": "v", "secret": {"secretName": "volume"}}, {"name": "w", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}}],
            "containers": [{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "from"}}]}],
        }});
        let meta = Meta { fields: vec![("spec.nodeName".into(), "n1".into())], ..Meta::default() };
        store.commit(vec![Change::create("/core/pods/a/p", meta, object::encode(&pod))]).await.unwrap();
        let claim = json!({"metadata": {"name": "claim", "namespace": "a"}, "spec": {"volumeName": "pv"}});
        let change = Change::create("/core/persistentvolumeclaims/a/claim", Meta::default(), object::encode(&claim));
        store.commit(vec![change]).await.unwrap();
        let authorizer = NodeOr::new(store, Nobody(Rbac::default()));
        let user = |node: &str| User::new(format!("system:node:{node}"), ["system:nodes"]);
        let check = |node: &str, verb: &str, what: &str, namespace: &str, name: &str, expected: bool| {
            let (what, selector) = what.split_once('?').unwrap_or((what, ""));
            let fields = FieldSelector::parse(selector).unwrap();
            let (path, subresource) = what.split_once('/').unwrap_or((what, ""));
            let (resource, group) = path.split_once('.').unwrap_or((path, ""));
            let asked = Attributes {
                user: &user(node),
                verb,
                api_group: group,
                api_version: "v1",
                resource,
                subresource,
                namespace,
                name,
                path: "",
                resource_request: true,
                selectors: Selectors { fields: Some(&fields), labels: None },
            };
            let is_allowed = matches!(authorizer.authorize(&asked), Decision::Allow { .. });
            assert_eq!(is_allowed, expected, "{node} {verb} {what} {namespace}/{name}");
        };
        for secret in ["pull", "volume", "env"] {
            check("n1", "get", "secrets", "a", secret, true);
            check("n2", "get", "secrets", "a", secret, false);
            check("n1", "get", "secrets", "b", secret, false);
        }
        check("n1", "list", "secrets", "a", "", false);
        check("n1", "update", "secrets", "a", "env", false);
        check("n1", "get", "secrets", "a", "projected", false);
        check("n1", "get", "configmaps", "a", "projected", true);
        check("n1", "get", "configmaps", "a", "from", true);
        check("n1", "get", "persistentvolumeclaims", "a", "claim", true);
        check("n1", "get", "persistentvolumes", "", "pv", true);
        check("n2", "get", "persistentvolumes", "", "pv", false);
        check("n1", "create", "serviceaccounts/token", "a", "robot", true);
        check("n1", "create", "serviceaccounts/token", "a", "default", false);
        check("n1", "update", "leases.coordination.k8s.io", "kube-node-lease", "n1", true);
        check("n1", "update", "leases.coordination.k8s.io", "kube-node-lease", "n2", false);
        check("n1", "get", "nodes", "", "n1", true);
        check("n1", "get", "nodes", "", "n2", false);
        check("n1", "patch", "pods/status", "a", "p", true);
        check("n1", "create", "deployments.apps", "a", "", false);
        check("n1", "list", "pods?spec.nodeName=n1", "", "", true);
        check("n1", "watch", "pods?status.phase!=Failed,spec.nodeName==n1", "a", "", true);
        check("n1", "list", "pods?spec.nodeName=n2", "", "", false);
        check("n1", "list", "pods?spec.nodeName!=n1", "", "", false);
        check("n1", "list", "pods", "a", "", false);
        check("n1", "watch", "pods?metadata.name=p", "a", "p", true);
        check("n2", "watch", "pods?metadata.name=p", "a", "p", false);
        check("n1", "get", "pods", "a", "p", true);
        check("n2", "get", "pods", "a", "p", false);
        check("n1", "list", "nodes", "", "", false);
        check("n1", "watch", "nodes?metadata.name=n1", "", "n1", true);
        check("n1", "get", "serviceaccounts", "a", "robot", true);
        check("n1", "deletecollection", "resourceslices.resource.k8s.io?spec.nodeName=n1", "", "", true);
        check("n1", "deletecollection", "resourceslices.resource.k8s.io", "", "", false);
    }
}
