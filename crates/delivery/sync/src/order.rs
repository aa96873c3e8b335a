//! The order objects are applied in: what others need comes first; they go in the reverse order.

use serde_json::Value;

use crate::manifest::{Kind, text};

/// An object's place among the app's own waves.
const WAVE: &str = "/metadata/annotations/argocd.argoproj.io~1sync-wave";

const FIRST: [&str; 27] = [
    "Namespace",
    "CustomResourceDefinition",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PriorityClass",
    "PodDisruptionBudget",
    "Secret",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "Ingress",
];

/// Sorts by this put objects in order.
pub(crate) fn place(object: &Value) -> (i64, usize, String) {
    let wave = text(object, WAVE).parse().unwrap_or(0);
    let kind = Kind::of(object).kind;
    let rank = FIRST.iter().position(|known| *known == kind).unwrap_or(FIRST.len());
    (wave, rank, text(object, "/metadata/name").to_owned())
}
