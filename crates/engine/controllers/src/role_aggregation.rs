//! ClusterRoles that are the sum of others: those whose labels their aggregation rule selects.

use std::sync::Arc;

use coracle_client::{Cache, Key};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::{Api, ResourceExt, api::Patch};
use serde_json::json;

use crate::{
    control::{Action, Context, Controller, Error},
    owner::{Matcher, patch_params},
};

/// Runs the controller.
pub async fn run(context: Context) {
    let roles: Cache<ClusterRole> = context.caches.of();
    let all = roles.clone();
    // Any role may be, or may have been, a part of any that aggregates.
    let aggregated = move |_: &_| {
        let aggregates = |role: &Arc<ClusterRole>| role.aggregation_rule.is_some();
        all.all().iter().filter(|role| aggregates(role)).map(|role| Key::of(&**role)).collect()
    };
    let controller = Controller::new("clusterrole-aggregation-controller").watch(&roles, aggregated);
    roles.filled().await;
    controller
        .run(|key| {
            let (context, roles) = (context.clone(), roles.clone());
            async move { reconcile(&context, &roles, key).await }
        })
        .await;
}

async fn reconcile(context: &Context, roles: &Cache<ClusterRole>, key: Key) -> Result<Action, Error> {
    let Some(role) = roles.get(&key) else { return Ok(Action::Done) };
    let rules = sum(&role, roles.all().iter().map(|role| &**role));
    if role.aggregation_rule.is_none() || role.rules.as_deref().unwrap_or_default() == rules {
        return Ok(Action::Done);
    }
    let patch = json!({"metadata": {"resourceVersion": role.metadata.resource_version}, "rules": rules});
    let api: Api<ClusterRole> = Api::all(context.client.clone());
    roles.observe(api.patch(&key.name, &patch_params(), &Patch::Merge(patch)).await?);
    Ok(Action::Done)
}

/// The rules of all roles that a role's aggregation rule selects, each once, in the order of the roles' names.
fn sum<'a>(role: &ClusterRole, all: impl Iterator<Item = &'a ClusterRole>) -> Vec<PolicyRule> {
    let selectors = role.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_deref());
    let selectors: Vec<Matcher> = selectors.unwrap_or_default().iter().map(Matcher::new).collect();
    let selects = |other: &&ClusterRole| {
        other.metadata.name != role.metadata.name
            && selectors.iter().any(|selector| selector.matches(other.metadata.labels.as_ref()))
    };
    let mut selected: Vec<&ClusterRole> = all.filter(selects).collect();
    selected.sort_by_key(|role| role.name_any());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in selected.into_iter().flat_map(|role| role.rules.iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, label: &str, verbs: &[&str]) -> ClusterRole {
        let rules: Vec<_> = verbs.iter().map(|verb| json!({"verbs": [verb]})).collect();
        let role = json!({"metadata": {"name": name, "labels": {"part": label}}, "rules": rules});
        serde_json::from_value(role).unwrap()
    }

    #[test]
    fn a_role_is_the_sum_of_those_it_selects() {
        let mut whole = role("whole", "a", &["old"]);
        let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {"part": "a"}}, {"matchExpressions": [{"key": "part", "operator": "In", "values": ["b"]}]}]});
        whole.aggregation_rule = serde_json::from_value(selectors).unwrap();
        let others = [
            role("z", "b", &["get", "list"]),
            role("m", "a", &["list", "watch"]),
            role("x", "c", &["delete"]),
            whole.clone(),
        ];
        let verbs: Vec<String> = sum(&whole, others.iter()).into_iter().flat_map(|rule| rule.verbs).collect();
        assert_eq!(verbs, ["list", "watch", "get"]);
    }
}
