//! Revisions: which set is the new one, what it is called, and the numbers `kubectl rollout` goes by.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::numbers::{DESIRED, MAX, desired, max_surge};
use crate::{
    owner::{controller_reference, name, namespace},
    template::{HASH_LABEL, canonical, template_hash},
};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The longest list of former revisions a set carries, in characters.
const REVISION_HISTORY_CHARS: usize = 2000;

/// The deployment's annotations that are not handed on to its sets.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

pub(super) type Annotations = BTreeMap<String, String>;

pub(super) fn revision(annotations: Option<&Annotations>) -> i64 {
    annotations.and_then(|annotations| annotations.get(REVISION)).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn template_of(set: &ReplicaSet) -> PodTemplateSpec {
    set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default()
}

/// The oldest set whose template is the deployment's.
pub(super) fn find_new(deployment: &Deployment, sets: &[ReplicaSet]) -> Option<usize> {
    let template = canonical(&deployment.spec.as_ref()?.template);
    let fits = |(_, set): &(usize, &ReplicaSet)| canonical(&template_of(set)) == template;
    let age = |set: &ReplicaSet| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone());
    sets.iter().enumerate().filter(fits).min_by_key(|(_, set)| age(set)).map(|(index, _)| index)
}

/// A set for the deployment's template, with no pods yet.
pub(super) fn new_set(deployment: &Deployment) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template;
    let mut meta = template.metadata.unwrap_or_default();
    meta.labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = meta.labels.clone();
    template.metadata = Some(meta);
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name(deployment))),
            namespace: Some(namespace(deployment).to_owned()),
            labels,
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// Brings the new set's annotations up to date with the deployment and its revision.
pub(super) fn annotate_new(deployment: &Deployment, set: &mut ReplicaSet, new_revision: i64, exists: bool) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !OWN_ANNOTATIONS.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let old = annotations.get(REVISION).cloned();
    if revision(Some(annotations)) < new_revision {
        annotations.insert(REVISION.to_owned(), new_revision.to_string());
        if let Some(old) = old.filter(|old| !old.is_empty()) {
            let history = annotations.entry(REVISION_HISTORY.to_owned()).or_default();
            *history = lengthened(history, &old);
        }
    }
    if !exists {
        annotate_size(deployment, annotations);
    }
}

/// A comma-separated list with one more entry at the end, and fewer at the start where it would get too long.
fn lengthened(list: &str, entry: &str) -> String {
    let mut entries: Vec<&str> = list.split(',').filter(|entry| !entry.is_empty()).collect();
    entries.push(entry);
    while entries.len() > 1 && entries.iter().map(|entry| entry.len() + 1).sum::<usize>() > REVISION_HISTORY_CHARS {
        entries.remove(0);
    }
    entries.join(",")
}

/// Notes what a set was sized for.
pub(super) fn annotate_size(deployment: &Deployment, annotations: &mut Annotations) {
    annotations.insert(DESIRED.to_owned(), desired(deployment).to_string());
    annotations.insert(MAX.to_owned(), (desired(deployment) + max_surge(deployment)).to_string());
}
