//! The order documents come out in.

use crate::resource::{Gvk, Resource};

/// How a build orders its documents, where the kustomization does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they were read.
    Fifo,
    /// By kind, so that what others need comes first (`kubectl kustomize`'s way).
    Legacy,
}

const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

pub(crate) fn sort(resources: &mut [Resource]) {
    resources.sort_by_cached_key(|resource| {
        let id = resource.id();
        let name = |text: &str, missing: &str| if text.is_empty() { missing.to_owned() } else { text.to_owned() };
        let string = format!(
            "{}.{}.{}|{}|{}",
            id.gvk.kind,
            name(&id.gvk.version, "[noVer]"),
            name(&id.gvk.group, "[noGrp]"),
            name(&id.namespace, "~X"),
            name(&id.name, "~N")
        );
        (rank(&id.gvk.kind), gvk_key(&id.gvk), string)
    });
}

fn rank(kind: &str) -> i32 {
    let place = |list: &[&str]| list.iter().position(|name| *name == kind).map(|at| i32::try_from(at).unwrap_or(0));
    match (place(&FIRST), place(&LAST)) {
        (Some(at), _) => at - i32::try_from(FIRST.len()).unwrap_or(0),
        (None, Some(at)) => at + 1,
        (None, None) => 0,
    }
}

fn gvk_key(gvk: &Gvk) -> String {
    let part = |text: &str, missing: &str| if text.is_empty() { missing.to_owned() } else { text.to_owned() };
    format!("{}_{}_{}", part(&gvk.group, "~G"), part(&gvk.version, "~V"), gvk.kind)
}
