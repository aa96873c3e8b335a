//! Nobody gives what they do not have: a role may hold, and a binding may pass on, only what its author may do; unless
//! they may `escalate` roles or `bind` them.

use serde::Deserialize;
use serde_json::Value;

use super::{Admission, Attributes, Operation};
use crate::{
    authz::{
        self, Decision, Rules,
        rbac::{PolicyRule, Rbac},
    },
    object,
    status::Failure,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// See the module.
#[derive(Debug)]
pub struct Escalation;

impl Admission for Escalation {
    fn validate(&self, request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || request.resource.kind.group != GROUP || !request.subresource.is_empty() {
            return Ok(());
        }
        let (granted, verb, plural, name) = match &*request.resource.kind.plural {
            plural @ ("roles" | "clusterroles") => (rules_of(object), "escalate", plural, request.name.to_owned()),
            "rolebindings" | "clusterrolebindings" => {
                let (plural, rules) = referenced(request, &object["roleRef"])?;
                (rules, "bind", plural, object["roleRef"]["name"].as_str().unwrap_or_default().to_owned())
            }
            _ => return Ok(()),
        };
        let unchanged =
            request.old.is_some_and(|old| old["rules"] == object["rules"] && old["subjects"] == object["subjects"]);
        if unchanged || may(request, verb, plural, &name) {
            return Ok(());
        }
        let held = policy_rules(request.server.authorizer.rules(request.user, request.namespace));
        let lacking = Rbac::uncovered(&held, &granted);
        if lacking.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = lacking.iter().map(describe).collect();
        Err(request.forbidden(&format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            request.user.name,
            request.user.groups,
            shown.join("\n")
        )))
    }
}

fn rules_of(role: &Value) -> Vec<PolicyRule> {
    Vec::<PolicyRule>::deserialize(&role["rules"]).unwrap_or_default()
}

/// The rules of the role a binding names.
fn referenced(request: &Attributes<'_>, role_ref: &Value) -> Result<(&'static str, Vec<PolicyRule>), Failure> {
    let name = role_ref["name"].as_str().unwrap_or_default();
    let (plural, key) = match role_ref["kind"].as_str() {
        Some("Role") => ("roles", format!("/{GROUP}/roles/{}/{name}", request.namespace)),
        _ => ("clusterroles", format!("/{GROUP}/clusterroles/{name}")),
    };
    match request.server.store.get(&key) {
        Some(record) => Ok((plural, rules_of(&object::decode(&record)?))),
        None if may(request, "bind", plural, name) => Ok((plural, Vec::new())),
        None => Err(request.forbidden(&format!("{}.{GROUP} {name:?} not found", plural.trim_end_matches('s')))),
    }
}

fn may(request: &Attributes<'_>, verb: &str, plural: &str, name: &str) -> bool {
    let asked = authz::Attributes {
        user: request.user,
        verb,
        api_group: GROUP,
        api_version: "v1",
        resource: plural,
        subresource: "",
        namespace: request.namespace,
        name,
        path: "",
        resource_request: true,
        selectors: authz::Selectors::default(),
    };
    matches!(request.server.authorizer.authorize(&asked), Decision::Allow { .. })
}

fn policy_rules(rules: Rules) -> Vec<PolicyRule> {
    let resources = rules.resource.into_iter().map(|rule| PolicyRule {
        verbs: rule.verbs,
        api_groups: rule.api_groups,
        resources: rule.resources,
        resource_names: rule.resource_names,
        non_resource_urls: Vec::new(),
    });
    let paths = rules.non_resource.into_iter().map(|rule| PolicyRule {
        verbs: rule.verbs,
        non_resource_urls: rule.paths,
        ..PolicyRule::default()
    });
    resources.chain(paths).collect()
}

/// A rule the way upstream writes it in this message.
fn describe(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Verbs", &rule.verbs),
    ];
    let shown: Vec<String> =
        parts.iter().filter(|(_, items)| !items.is_empty()).map(|(name, items)| format!("{name}:{items:?}")).collect();
    format!("{{{}}}", shown.join(", "))
}
