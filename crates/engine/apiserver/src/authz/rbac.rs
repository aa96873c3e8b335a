//! RBAC: who may do what, decided from the roles and bindings alone.
//!
//! [`Rbac`] is a cache of the four RBAC kinds, kept by whoever watches them; every question is answered from memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Attributes, Decision};
use crate::authn::User;

/// One rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// What may be done; `*` is everything.
    pub verbs: Vec<String>,
    /// In which API groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// To which resources, as `pods`, `pods/log`, `*/scale` or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// To which objects; empty is all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// To which paths outside the resources; `*` at the end matches what follows.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

impl PolicyRule {
    /// Whether it allows something.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        if !has(&self.verbs, asked.verb) {
            return false;
        }
        if !asked.resource_request {
            return self.non_resource_urls.iter().any(|url| url_matches(url, asked.path));
        }
        has(&self.api_groups, asked.api_group)
            && self.resources.iter().any(|r| resource_matches(r, asked.resource, asked.subresource))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == asked.name))
    }
}

/// A role or cluster role, by namespace (empty for cluster roles) and name.
type RoleKey = (String, String);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Debug, Clone)]
struct Binding {
    role: RoleKey,
    subjects: Vec<Subject>,
    /// How a reason names it, as upstream does.
    described: String,
}

/// The roles and bindings in force.
#[derive(Debug, Clone, Default)]
pub struct Rbac {
    roles: HashMap<RoleKey, Vec<PolicyRule>>,
    bindings: HashMap<RoleKey, Binding>,
    by_subject: HashMap<Subject, BTreeSet<RoleKey>>,
}

impl Rbac {
    /// Takes in a Role, ClusterRole, RoleBinding or ClusterRoleBinding as it now stands.
    pub fn apply(&mut self, kind: &str, object: &Value) {
        let key = key_of(object);
        match kind {
            "Role" | "ClusterRole" => {
                let rules = Vec::<PolicyRule>::deserialize(&object["rules"]).unwrap_or_default();
                self.roles.insert(key, rules);
            }
            "RoleBinding" | "ClusterRoleBinding" => self.bind(kind, key, object),
            _ => {}
        }
    }

    /// Forgets an object of one of the four kinds.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        match kind {
            "Role" | "ClusterRole" => drop(self.roles.remove(&key)),
            "RoleBinding" | "ClusterRoleBinding" => self.unbind(&key),
            _ => {}
        }
    }

    fn bind(&mut self, kind: &str, key: RoleKey, object: &Value) {
        self.unbind(&key);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let role_ref = &object["roleRef"];
        let role_namespace = if role_ref["kind"] == "Role" { key.0.clone() } else { String::new() };
        let subjects: Vec<Subject> =
            object["subjects"].as_array().into_iter().flatten().filter_map(|s| subject_of(s, &key.0)).collect();
        let shown =
            if key.0.is_empty() { format!("{:?}", key.1) } else { format!("{:?}", format!("{}/{}", key.1, key.0)) };
        let described = format!("{kind} {shown} of {} {:?}", text(&role_ref["kind"]), text(&role_ref["name"]));
        for subject in &subjects {
            self.by_subject.entry(subject.clone()).or_default().insert(key.clone());
        }
        self.bindings.insert(key, Binding { role: (role_namespace, text(&role_ref["name"])), subjects, described });
    }

    fn unbind(&mut self, key: &RoleKey) {
        let Some(old) = self.bindings.remove(key) else { return };
        for subject in &old.subjects {
            if let Some(keys) = self.by_subject.get_mut(subject) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_subject.remove(subject);
                }
            }
        }
    }

    /// Whether the roles allow it, with the reason upstream gives.
    pub fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        for (subject, binding) in self.bindings_of(asked.user, asked.namespace) {
            let rules = self.roles.get(&binding.role);
            if rules.is_some_and(|rules| rules.iter().any(|rule| rule.allows(asked))) {
                let to = match subject {
                    Subject::User(name) => format!("User {name:?}"),
                    Subject::Group(name) => format!("Group {name:?}"),
                };
                return Decision::Allow { reason: format!("RBAC: allowed by {} to {to}", binding.described) };
            }
        }
        Decision::NoOpinion { reason: self.why_not(asked) }
    }

    /// A binding to a role that does not exist is worth telling.
    fn why_not(&self, asked: &Attributes<'_>) -> String {
        let missing: BTreeSet<String> = self
            .bindings_of(asked.user, asked.namespace)
            .filter(|(_, binding)| !self.roles.contains_key(&binding.role))
            .map(|(_, binding)| match binding.role.0.as_str() {
                "" => format!("clusterrole.rbac.authorization.k8s.io {:?} not found", binding.role.1),
                _ => format!("role.rbac.authorization.k8s.io {:?} not found", binding.role.1),
            })
            .collect();
        match missing.len() {
            0 => String::new(),
            1 => format!("RBAC: {}", Vec::from_iter(missing).join("")),
            _ => format!("RBAC: [{}]", Vec::from_iter(missing).join(", ")),
        }
    }

    /// Every rule in force for a user in a namespace, cluster-wide ones included.
    pub fn rules_for(&self, user: &User, namespace: &str) -> Vec<PolicyRule> {
        self.bindings_of(user, namespace)
            .filter_map(|(_, binding)| self.roles.get(&binding.role))
            .flatten()
            .cloned()
            .collect()
    }

    /// The rules of `wanted` that somebody who holds `held` does not have: granting them would be escalation.
    pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
        wanted.iter().flat_map(split).filter(|one| !held.iter().any(|rule| covers(rule, one))).collect()
    }

    /// The rules of a role, if it exists; `namespace` is empty for cluster roles.
    pub fn role(&self, namespace: &str, name: &str) -> Option<&[PolicyRule]> {
        self.roles.get(&(namespace.to_owned(), name.to_owned())).map(Vec::as_slice)
    }

    fn bindings_of<'a>(&'a self, user: &User, namespace: &'a str) -> impl Iterator<Item = (&'a Subject, &'a Binding)> {
        let subjects = std::iter::once(Subject::User(user.name.clone()))
            .chain(user.groups.iter().cloned().map(Subject::Group))
            .collect::<Vec<_>>();
        let mut found = BTreeMap::new();
        for subject in &subjects {
            let Some((subject, keys)) = self.by_subject.get_key_value(subject) else { continue };
            for key in keys.iter().filter(|key| key.0.is_empty() || key.0 == namespace) {
                found.entry(key).or_insert(subject);
            }
        }
        found.into_iter().map(|(key, subject)| (subject, &self.bindings[key]))
    }
}

fn key_of(object: &Value) -> RoleKey {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn subject_of(subject: &Value, binding_namespace: &str) -> Option<Subject> {
    let name = subject["name"].as_str()?;
    match subject["kind"].as_str()? {
        "User" => Some(Subject::User(name.to_owned())),
        "Group" => Some(Subject::Group(name.to_owned())),
        "ServiceAccount" => {
            let namespace = subject["namespace"].as_str().filter(|n| !n.is_empty()).unwrap_or(binding_namespace);
            Some(Subject::User(format!("system:serviceaccount:{namespace}:{name}")))
        }
        _ => None,
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        _ if rule == "*" => true,
        Some(("*", sub)) => sub == subresource,
        Some((res, sub)) => res == resource && sub == subresource,
        None => rule == resource && subresource.is_empty(),
    }
}

fn url_matches(rule: &str, path: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => rule == path,
    }
}

/// A rule as one rule for each combination of verb, group, resource and name.
fn split(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |item: &String| vec![item.clone()];
    let names: Vec<Vec<String>> =
        if rule.resource_names.is_empty() { vec![vec![]] } else { rule.resource_names.iter().map(one).collect() };
    let mut all = Vec::new();
    for verb in &rule.verbs {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                all.extend(names.iter().map(|names| PolicyRule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    resource_names: names.clone(),
                    non_resource_urls: vec![],
                }));
            }
        }
        all.extend(rule.non_resource_urls.iter().map(|url| PolicyRule {
            verbs: one(verb),
            non_resource_urls: one(url),
            ..PolicyRule::default()
        }));
    }
    all
}

/// Whether `held` gives all that the single-valued rule `wanted` gives.
fn covers(held: &PolicyRule, wanted: &PolicyRule) -> bool {
    let all = |have: &[String], want: &[String]| want.iter().all(|w| has(have, w));
    let resource = |want: &String| {
        let (resource, subresource) = want.split_once('/').unwrap_or((want, ""));
        held.resources.iter().any(|have| have == want || resource_matches(have, resource, subresource))
    };
    let url = |want: &String| {
        held.non_resource_urls.iter().any(|have| have == want || url_matches(have, want.trim_end_matches('*')))
    };
    all(&held.verbs, &wanted.verbs)
        && all(&held.api_groups, &wanted.api_groups)
        && wanted.resources.iter().all(resource)
        && (held.resource_names.is_empty()
            || (!wanted.resource_names.is_empty() && all(&held.resource_names, &wanted.resource_names)))
        && wanted.non_resource_urls.iter().all(url)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::authz::Selectors;

    fn rbac() -> Rbac {
        let mut rbac = Rbac::default();
        rbac.apply(
            "ClusterRole",
            &json!({"metadata": {"name": "viewer"}, "rules": [
                {"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods", "pods/log", "deployments", "*/scale"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]},
            ]}),
        );
        rbac.apply(
            "Role",
            &json!({"metadata": {"name": "one-secret", "namespace": "shop"}, "rules": [
                {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["tls"]},
            ]}),
        );
        rbac.apply(
            "ClusterRoleBinding",
            &json!({"metadata": {"name": "everyone-views"}, "roleRef": {"kind": "ClusterRole", "name": "viewer"},
                "subjects": [{"kind": "Group", "name": "staff"}]}),
        );
        rbac.apply(
            "RoleBinding",
            &json!({"metadata": {"name": "tls", "namespace": "shop"}, "roleRef": {"kind": "Role", "name": "one-secret"},
                "subjects": [{"kind": "ServiceAccount", "name": "web"}]}),
        );
        rbac.apply(
            "RoleBinding",
            &json!({"metadata": {"name": "dangling", "namespace": "shop"}, "roleRef": {"kind": "Role", "name": "gone"},
                "subjects": [{"kind": "User", "name": "eve"}]}),
        );
        rbac
    }

    fn user(name: &str, groups: &[&str]) -> User {
        User { name: name.to_owned(), groups: groups.iter().map(|g| (*g).to_owned()).collect(), ..User::default() }
    }

    /// `user[,group] verb group/resource[/subresource] namespace/name`, or `user verb /path`.
    fn check(question: &str, expected: Expect) {
        let words: Vec<&str> = question.split(' ').collect();
        let (name, group) = words[0].split_once(',').unwrap_or((words[0], ""));
        let asking = user(name, &[group]);
        let mut asked = Attributes { user: &asking, verb: words[1], ..nothing(&asking) };
        if words[2].starts_with('/') {
            asked.path = words[2];
        } else {
            let mut parts = words[2].splitn(3, '/');
            asked.api_group = parts.next().unwrap_or_default();
            asked.resource = parts.next().unwrap_or_default();
            asked.subresource = parts.next().unwrap_or_default();
            (asked.namespace, asked.name) = words[3].split_once('/').unwrap();
            asked.resource_request = true;
        }
        let said = match rbac().authorize(&asked) {
            Decision::Allow { reason } => format!("yes {reason}"),
            Decision::Deny { reason } | Decision::NoOpinion { reason } => format!("no {reason}"),
        };
        expected.assert_eq(&said);
    }

    fn nothing(user: &User) -> Attributes<'_> {
        Attributes {
            user,
            verb: "",
            api_group: "",
            api_version: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            path: "",
            resource_request: false,
            selectors: Selectors::default(),
        }
    }

    #[test]
    fn decisions() {
        check(
            "ann,staff get apps/deployments shop/web",
            expect![[
                r#"yes RBAC: allowed by ClusterRoleBinding "everyone-views" of ClusterRole "viewer" to Group "staff""#
            ]],
        );
        check(
            "ann,staff get apps/deployments/scale shop/web",
            expect![[
                r#"yes RBAC: allowed by ClusterRoleBinding "everyone-views" of ClusterRole "viewer" to Group "staff""#
            ]],
        );
        check("ann,staff get apps/deployments/status shop/web", expect!["no "]);
        check("ann,staff delete apps/deployments shop/web", expect!["no "]);
        check("ann,staff get batch/jobs shop/web", expect!["no "]);
        check(
            "ann,staff get /api/v1",
            expect![[
                r#"yes RBAC: allowed by ClusterRoleBinding "everyone-views" of ClusterRole "viewer" to Group "staff""#
            ]],
        );
        check("ann,staff get /metrics", expect!["no "]);
        check(
            "eve get apps/deployments shop/web",
            expect![[r#"no RBAC: role.rbac.authorization.k8s.io "gone" not found"#]],
        );
    }

    #[test]
    fn a_named_rule_holds_for_that_name_in_that_namespace_only() {
        let web = user("system:serviceaccount:shop:web", &[]);
        let ask = |namespace: &str, name: &str| {
            let asked = Attributes {
                verb: "get",
                resource: "secrets",
                namespace,
                name,
                resource_request: true,
                selectors: Selectors::default(),
                ..nothing(&web)
            };
            matches!(rbac().authorize(&asked), Decision::Allow { .. })
        };
        assert_eq!((ask("shop", "tls"), ask("shop", "other"), ask("bank", "tls")), (true, false, false));
    }

    #[test]
    fn a_removed_binding_gives_nothing() {
        let mut rbac = rbac();
        rbac.remove("ClusterRoleBinding", "", "everyone-views");
        assert!(rbac.rules_for(&user("ann", &["staff"]), "shop").is_empty());
    }

    #[test]
    fn what_nobody_holds_nobody_grants() {
        let rule = |text: &str| -> PolicyRule {
            let words: Vec<Vec<String>> = text
                .split(' ')
                .map(|w| w.split(',').filter(|i| !i.is_empty()).map(|i| i.trim_matches('"').to_owned()).collect())
                .collect();
            PolicyRule {
                verbs: words[0].clone(),
                api_groups: words[1].clone(),
                resources: words[2].clone(),
                ..PolicyRule::default()
            }
        };
        let held = [rule("get,list apps *"), rule("* batch jobs,*/scale")];
        assert!(
            Rbac::uncovered(&held, &[rule("get apps deployments"), rule("delete batch jobs,cronjobs/scale")])
                .is_empty()
        );
        assert_eq!(Rbac::uncovered(&held, &[rule("get,delete apps deployments")]), [rule("delete apps deployments")]);
        assert_eq!(Rbac::uncovered(&held, &[rule("* apps deployments")]), [rule("* apps deployments")]);
        assert_eq!(Rbac::uncovered(&held, &[rule("get batch *")]), [rule("get batch *")]);
    }
}
