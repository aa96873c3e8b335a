//! The order documents come out in.

use crate::id::{Gvk, Id};
use crate::resource::Resource;

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

/// Which kinds come first and which last.
pub(crate) struct Kinds {
    pub first: Vec<String>,
    pub last: Vec<String>,
}

impl Default for Kinds {
    fn default() -> Self {
        let owned = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Kinds { first: owned(&FIRST), last: owned(&LAST) }
    }
}

impl Kinds {
    fn rank(&self, kind: &str) -> i64 {
        // A kind listed twice stands where it was listed last.
        let place =
            |list: &[String]| list.iter().rposition(|name| name == kind).map(|at| i64::try_from(at).unwrap_or(0));
        match (place(&self.first), place(&self.last)) {
            (_, Some(at)) => at + 1,
            (Some(at), None) => at - i64::try_from(self.first.len()).unwrap_or(0),
            (None, None) => 0,
        }
    }
}

pub(crate) fn sort(resources: &mut [Resource], kinds: &Kinds) {
    resources.sort_by_cached_key(|resource| {
        let id = resource.id();
        // Namespaces of the core group come after those of others, all else the other way round.
        let core_namespace = id.gvk.kind == "Namespace" && id.gvk.group.is_empty();
        (kinds.rank(&id.gvk.kind), core_namespace, gvk_key(&id.gvk), id_key(&id))
    });
}

/// The order field specs and references are worked off in.
pub(crate) fn gvk_rank(gvk: &Gvk) -> (i64, String) {
    thread_local! {
        static KINDS: Kinds = Kinds::default();
    }
    (KINDS.with(|kinds| kinds.rank(&gvk.kind)), gvk_key(gvk))
}

fn part<'a>(text: &'a str, missing: &'a str) -> &'a str {
    if text.is_empty() { missing } else { text }
}

fn gvk_key(gvk: &Gvk) -> String {
    format!("{}_{}_{}", part(&gvk.group, "~G"), part(&gvk.version, "~V"), part(&gvk.kind, "~K"))
}

fn id_key(id: &Id) -> String {
    format!("{}|{}|{}", id.gvk, part(&id.namespace, "~X"), part(&id.name, "~N"))
}
