//! The roles and bindings that every cluster has from the start, as a table.
//!
//! They are written when they are absent, and completed when the annotation
//! `rbac.authorization.kubernetes.io/autoupdate` is `true`, as Kubernetes' reference on RBAC describes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::rbac::PolicyRule;

const GROUP: &str = "rbac.authorization.k8s.io";
const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const READ_WRITE: &str = "create delete deletecollection get list patch update watch";

/// Verbs, API groups (`core` is the unnamed one) and resources, each separated by spaces; or verbs and URLs, where groups is
/// `URL`. Resources may end with `@` and the only names that are meant.
type Rule = (&'static str, &'static str, &'static str);

struct Role {
    name: &'static str,
    /// Labels `rbac.authorization.k8s.io/aggregate-to-LABEL: "true"`.
    aggregate_to: &'static str,
    rules: &'static [Rule],
}

const fn role(name: &'static str, rules: &'static [Rule]) -> Role {
    Role { name, aggregate_to: "", rules }
}

const HEALTH_URLS: &str = "/healthz /livez /readyz /version /version/";
const DISCOVERY_URLS: &str = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";

const ROLES: &[Role] = &[
    role("cluster-admin", &[("*", "*", "*"), ("*", "URL", "*")]),
    role("system:discovery", &[("get", "URL", DISCOVERY_URLS)]),
    role("system:public-info-viewer", &[("get", "URL", HEALTH_URLS)]),
    role(
        "system:monitoring",
        &[("get", "URL", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")],
    ),
    role(
        "system:basic-user",
        &[
            ("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
            ("create", "authentication.k8s.io", "selfsubjectreviews"),
        ],
    ),
    role(
        "system:auth-delegator",
        &[
            ("create", "authentication.k8s.io", "tokenreviews"),
            ("create", "authorization.k8s.io", "subjectaccessreviews"),
        ],
    ),
    role(
        "system:service-account-issuer-discovery",
        &[(
            "get",
            "URL",
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
        )],
    ),
    role(
        "system:node",
        &[
            ("create", "authentication.k8s.io", "tokenreviews"),
            ("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
            (READ, "core", "services"),
            ("create get list watch", "core", "nodes"),
            ("patch update", "core", "nodes nodes/status"),
            ("create delete get list watch", "core", "pods"),
            ("patch update", "core", "pods/status"),
            ("create", "core", "pods/eviction"),
            ("get list watch", "core", "configmaps secrets"),
            ("get", "core", "persistentvolumeclaims persistentvolumes serviceaccounts"),
            ("get patch update", "core", "persistentvolumeclaims/status"),
            ("get", "core", "endpoints"),
            ("create patch update", "core events.k8s.io", "events"),
            ("create", "core", "serviceaccounts/token"),
            ("create delete get patch update", "coordination.k8s.io", "leases"),
            ("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
            (READ, "node.k8s.io", "runtimeclasses"),
            (READ, "storage.k8s.io", "csidrivers"),
            ("get", "storage.k8s.io", "volumeattachments"),
            ("create delete get patch update", "storage.k8s.io", "csinodes"),
            ("get", "resource.k8s.io", "resourceclaims"),
            ("deletecollection", "resource.k8s.io", "resourceslices"),
        ],
    ),
    role(
        "system:node-proxier",
        &[
            (READ, "core", "endpoints services nodes"),
            (READ, "discovery.k8s.io", "endpointslices"),
            (READ, "networking.k8s.io", "servicecidrs"),
            ("create patch update", "core events.k8s.io", "events"),
        ],
    ),
    role(
        "system:kube-scheduler",
        &[
            ("create patch update", "core events.k8s.io", "events"),
            ("create get list patch update watch", "coordination.k8s.io", "leases"),
            (READ, "core", "nodes"),
            ("delete get list watch", "core", "pods"),
            ("create", "core", "bindings pods/binding"),
            ("patch update", "core", "pods/status"),
            (READ, "core", "namespaces replicationcontrollers services"),
            (READ, "apps", "replicasets statefulsets"),
            (READ, "policy", "poddisruptionbudgets"),
            ("get list patch update watch", "core", "persistentvolumeclaims persistentvolumes"),
            (READ, "storage.k8s.io", "csidrivers csinodes csistoragecapacities storageclasses volumeattachments"),
            ("create", "authentication.k8s.io", "tokenreviews"),
            ("create", "authorization.k8s.io", "subjectaccessreviews"),
            (READ, "resource.k8s.io", "deviceclasses resourceclaims resourceslices"),
            ("patch update", "resource.k8s.io", "resourceclaims resourceclaims/status"),
        ],
    ),
    role(
        "system:kube-controller-manager",
        &[
            ("create patch update", "core events.k8s.io", "events"),
            ("create get list patch update watch", "coordination.k8s.io", "leases"),
            ("create", "core", "secrets serviceaccounts serviceaccounts/token"),
            ("delete", "core", "secrets"),
            ("get", "core", "configmaps namespaces secrets serviceaccounts"),
            ("update", "core", "secrets serviceaccounts"),
            ("create", "authentication.k8s.io", "tokenreviews"),
            ("create", "authorization.k8s.io", "subjectaccessreviews"),
            ("list watch", "*", "*"),
        ],
    ),
    role("system:node-bootstrapper", &[("create get list watch", "certificates.k8s.io", "certificatesigningrequests")]),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient")],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient")],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &[("approve", "certificates.k8s.io", "signers@kubernetes.io/kube-apiserver-client")],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &[("approve", "certificates.k8s.io", "signers@kubernetes.io/kube-apiserver-client-kubelet")],
    ),
    role(
        "system:certificates.k8s.io:kubelet-serving-approver",
        &[("approve", "certificates.k8s.io", "signers@kubernetes.io/kubelet-serving")],
    ),
    role(
        "system:certificates.k8s.io:legacy-unknown-approver",
        &[("approve", "certificates.k8s.io", "signers@kubernetes.io/legacy-unknown")],
    ),
    role(
        "system:kubelet-api-admin",
        &[
            (READ, "core", "nodes"),
            ("proxy", "core", "nodes"),
            (
                "*",
                "core",
                "nodes/checkpoint nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
            ),
        ],
    ),
    Role {
        name: "system:aggregate-to-admin",
        aggregate_to: "admin",
        rules: &[
            ("create", "authorization.k8s.io", "localsubjectaccessreviews"),
            (READ_WRITE, GROUP, "rolebindings roles"),
        ],
    },
    Role {
        name: "system:aggregate-to-edit",
        aggregate_to: "edit",
        rules: &[
            (READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
            ("impersonate", "core", "serviceaccounts"),
            (WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
            ("create", "core", "pods/eviction"),
            (
                WRITE,
                "core",
                "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
            ),
            ("create", "core", "serviceaccounts/token"),
            (
                WRITE,
                "apps",
                "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
            ),
            (WRITE, "autoscaling", "horizontalpodautoscalers"),
            (WRITE, "batch", "cronjobs jobs"),
            (WRITE, "policy", "poddisruptionbudgets"),
            (WRITE, "networking.k8s.io", "ingresses networkpolicies"),
            (READ_WRITE, "coordination.k8s.io", "leases"),
        ],
    },
    Role {
        name: "system:aggregate-to-view",
        aggregate_to: "view",
        rules: &[
            (
                READ,
                "core",
                "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
            ),
            (
                READ,
                "core",
                "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
            ),
            (READ, "core", "namespaces"),
            (READ, "discovery.k8s.io", "endpointslices"),
            (
                READ,
                "apps",
                "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
            ),
            (READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
            (READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
            (READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
            (READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
        ],
    },
];

/// The three roles for people, each the union of the roles that carry its label.
const AGGREGATED: &[(&str, &[&str], &str)] =
    &[("admin", &["admin"], ""), ("edit", &["edit"], "admin"), ("view", &["view"], "edit")];

/// Role, then the subjects that hold it: `group:NAME` or `user:NAME`.
const BINDINGS: &[(&str, &[&str])] = &[
    ("cluster-admin", &["group:system:masters"]),
    ("system:monitoring", &["group:system:monitoring"]),
    ("system:discovery", &["group:system:authenticated"]),
    ("system:basic-user", &["group:system:authenticated"]),
    ("system:public-info-viewer", &["group:system:authenticated", "group:system:unauthenticated"]),
    ("system:service-account-issuer-discovery", &["group:system:serviceaccounts"]),
    ("system:node-proxier", &["user:system:kube-proxy"]),
    // Nodes are the node authorizer's.
    ("system:node", &[]),
    ("system:kube-controller-manager", &["user:system:kube-controller-manager"]),
    ("system:kube-scheduler", &["user:system:kube-scheduler"]),
];

/// Every default ClusterRole and ClusterRoleBinding, ready to be created.
pub fn objects() -> Vec<Value> {
    let plain = ROLES.iter().map(cluster_role);
    let aggregated = AGGREGATED.iter().map(|(name, labels, also_to)| aggregated_role(name, labels, also_to));
    let bindings = BINDINGS.iter().map(|(role, subjects)| cluster_role_binding(role, subjects));
    plain.chain(aggregated).chain(bindings).collect()
}

/// The rules of one of the roles.
pub fn rules_of(name: &str) -> Vec<PolicyRule> {
    let found = ROLES.iter().find(|role| role.name == name);
    let rules = found.into_iter().flat_map(|role| role.rules).map(policy_rule);
    rules.filter_map(|rule| PolicyRule::deserialize(rule).ok()).collect()
}

fn metadata(name: &str, aggregate_to: &str) -> Value {
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    if !aggregate_to.is_empty() {
        labels[format!("{GROUP}/aggregate-to-{aggregate_to}")] = json!("true");
    }
    json!({
        "name": name,
        "labels": labels,
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn cluster_role(role: &Role) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ClusterRole",
        "metadata": metadata(role.name, role.aggregate_to),
        "rules": role.rules.iter().map(policy_rule).collect::<Vec<_>>(),
    })
}

fn aggregated_role(name: &str, labels: &[&str], also_to: &str) -> Value {
    let selectors: Vec<Value> =
        labels.iter().map(|label| json!({"matchLabels": {format!("{GROUP}/aggregate-to-{label}"): "true"}})).collect();
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ClusterRole",
        "metadata": metadata(name, also_to),
        "aggregationRule": {"clusterRoleSelectors": selectors},
        "rules": aggregate(name),
    })
}

/// What aggregation will find among the default roles: `edit` holds what `view` holds, `admin` what `edit` holds.
fn aggregate(name: &str) -> Vec<Value> {
    let own = ROLES.iter().filter(|role| role.aggregate_to == name).flat_map(|role| role.rules.iter().map(policy_rule));
    let inherited =
        AGGREGATED.iter().filter(|(_, _, also_to)| *also_to == name).flat_map(|(lower, _, _)| aggregate(lower));
    own.chain(inherited).collect()
}

fn cluster_role_binding(role: &str, subjects: &[&str]) -> Value {
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|subject| {
            let (kind, name) = subject.split_once(':').expect("the table writes every subject as kind:name");
            let kind = if kind == "user" { "User" } else { "Group" };
            json!({"apiGroup": GROUP, "kind": kind, "name": name})
        })
        .collect();
    let mut binding = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": metadata(role, ""),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
    });
    if !subjects.is_empty() {
        binding["subjects"] = json!(subjects);
    }
    binding
}

fn policy_rule((verbs, groups, what): &Rule) -> Value {
    let words =
        |text: &str| text.split(' ').map(|w| if w == "core" { "" } else { w }).map(str::to_owned).collect::<Vec<_>>();
    if *groups == "URL" {
        json!({"verbs": words(verbs), "nonResourceURLs": words(what)})
    } else {
        let (resources, names) = what.split_once('@').unwrap_or((what, ""));
        let mut rule = json!({"verbs": words(verbs), "apiGroups": words(groups), "resources": words(resources)});
        if !names.is_empty() {
            rule["resourceNames"] = json!(words(names));
        }
        rule
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::rbac::Rbac, *};
    use crate::{
        authn::User,
        authz::{Attributes, Decision, Selectors},
    };

    fn can(user: &str, groups: &[&str], verb: &str, group: &str, resource: &str) -> bool {
        let mut rbac = Rbac::default();
        for object in objects() {
            rbac.apply(object["kind"].as_str().unwrap(), &object);
        }
        rbac.apply(
            "RoleBinding",
            &json!({"metadata": {"name": "ann-edits", "namespace": "shop"}, "roleRef": {"kind": "ClusterRole", "name": "edit"},
                "subjects": [{"kind": "User", "name": "ann"}]}),
        );
        let user =
            User { name: user.to_owned(), groups: groups.iter().map(|g| (*g).to_owned()).collect(), ..User::default() };
        let asked = Attributes {
            user: &user,
            verb,
            api_group: group,
            api_version: "v1",
            resource,
            subresource: "",
            namespace: "shop",
            name: "",
            path: "",
            resource_request: true,
            selectors: Selectors::default(),
        };
        matches!(rbac.authorize(&asked), Decision::Allow { .. })
    }

    #[test]
    fn an_editor_edits_and_views_but_does_not_grant() {
        assert!(can("ann", &[], "update", "apps", "deployments"));
        assert!(can("ann", &[], "get", "", "pods"));
        assert!(!can("ann", &[], "create", GROUP, "rolebindings"));
        assert!(!can("bob", &[], "get", "", "pods"));
    }

    #[test]
    fn names() {
        let names: Vec<String> = objects()
            .iter()
            .map(|o| format!("{} {}", o["kind"].as_str().unwrap(), o["metadata"]["name"].as_str().unwrap()))
            .collect();
        expect![[r#"
            ClusterRole cluster-admin
            ClusterRole system:discovery
            ClusterRole system:public-info-viewer
            ClusterRole system:monitoring
            ClusterRole system:basic-user
            ClusterRole system:auth-delegator
            ClusterRole system:service-account-issuer-discovery
            ClusterRole system:node
            ClusterRole system:node-proxier
            ClusterRole system:kube-scheduler
            ClusterRole system:kube-controller-manager
            ClusterRole system:node-bootstrapper
            ClusterRole system:certificates.k8s.io:certificatesigningrequests:nodeclient
            ClusterRole system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
            ClusterRole system:certificates.k8s.io:kube-apiserver-client-approver
            ClusterRole system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
            ClusterRole system:certificates.k8s.io:kubelet-serving-approver
            ClusterRole system:certificates.k8s.io:legacy-unknown-approver
            ClusterRole system:kubelet-api-admin
            ClusterRole system:aggregate-to-admin
            ClusterRole system:aggregate-to-edit
            ClusterRole system:aggregate-to-view
            ClusterRole admin
            ClusterRole edit
            ClusterRole view
            ClusterRoleBinding cluster-admin
            ClusterRoleBinding system:monitoring
            ClusterRoleBinding system:discovery
            ClusterRoleBinding system:basic-user
            ClusterRoleBinding system:public-info-viewer
            ClusterRoleBinding system:service-account-issuer-discovery
            ClusterRoleBinding system:node-proxier
            ClusterRoleBinding system:node
            ClusterRoleBinding system:kube-controller-manager
            ClusterRoleBinding system:kube-scheduler"#]]
        .assert_eq(&names.join("\n"));
    }
}
