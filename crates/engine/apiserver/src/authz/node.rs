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

    fn judge(&self, node: &str, asked: &Attributes<'_>) -> Result<(), String> {
        let reads = matches!(asked.verb, "get" | "list" | "watch");
        let no_path = |what: &str| Err(format!("no relationship found between node '{node}' and this object: {what}"));
        match (asked.api_group, asked.resource, asked.subresource) {
            ("", "secrets" | "configmaps" | "persistentvolumeclaims", "") => {
                if !reads || asked.name.is_empty() {
                    return Err("can only read resources of this type by name".to_owned());
                }
                match self.pods(node).any(|pod| refers(&pod, asked.resource, asked.namespace, asked.name)) {
                    true => Ok(()),
                    false => no_path(asked.name),
                }
            }
            ("", "persistentvolumes", "") => match asked.verb == "get" && self.uses_volume(node, asked.name) {
                true => Ok(()),
                false => no_path(asked.name),
            },
            ("", "serviceaccounts", "token") if asked.verb == "create" => {
                let runs_as = |pod: &Value| {
                    object::namespace(pod) == asked.namespace && pod["spec"]["serviceAccountName"] == asked.name
                };
                match self.pods(node).any(|pod| runs_as(&pod)) {
                    true => Ok(()),
                    false => no_path(asked.name),
                }
            }
            ("coordination.k8s.io", "leases", "") => {
                let is_own = asked.namespace == LEASES && (asked.name == node || asked.verb == "create");
                if is_own {
                    self.by_rules(asked)
                } else {
                    Err(format!("can only access leases in {LEASES} named {node}"))
                }
            }
            ("storage.k8s.io", "csinodes", "") if asked.name != node && asked.verb != "create" => {
                Err(format!("can only access CSINode with the name {node}"))
            }
            ("", "nodes", _) if asked.verb == "get" && asked.name != node => {
                Err("node is not allowed to read other nodes".to_owned())
            }
            _ => self.by_rules(asked),
        }
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
        let verdict = if node.is_empty() { Err("unknown node".to_owned()) } else { self.judge(node, asked) };
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

fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

/// Whether a pod names a secret, a config map or a claim anywhere.
fn refers(pod: &Value, resource: &str, namespace: &str, name: &str) -> bool {
    if object::namespace(pod) != namespace {
        return false;
    }
    let spec = &pod["spec"];
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
    use crate::authz::rbac::Rbac;

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
    }
}
