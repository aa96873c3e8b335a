//! What a namespace says of its own end.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// What one look at a namespace's content came to.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) discovery_failure: Option<String>,
    pub(super) failures: Vec<String>,
    /// Objects that are left, by kind.
    pub(super) remaining: BTreeMap<String, usize>,
    /// Objects that a finalizer holds back, by finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
}

impl Findings {
    pub(super) fn is_clean(&self) -> bool {
        self.discovery_failure.is_none() && self.failures.is_empty() && self.remaining.is_empty()
    }

    /// Type, whether it holds, reason and message of each condition.
    fn conditions(&self) -> [(&'static str, bool, &'static str, String); 5] {
        let counts = |counts: &BTreeMap<String, usize>, of: &str| {
            let each = counts.iter().map(|(what, count)| format!("{what} {of} {count} resource instances"));
            each.collect::<Vec<_>>().join(", ")
        };
        let discovery = match &self.discovery_failure {
            None => (false, "ResourcesDiscovered", "All resources successfully discovered".to_owned()),
            Some(error) => (true, "DiscoveryFailed", format!("Discovery failed for some groups: {error}")),
        };
        let deletion = if self.failures.is_empty() {
            (false, "ContentDeleted", "All content successfully deleted, may be waiting on finalization".to_owned())
        } else {
            let message = format!(
                "Failed to delete all resource types, {} remaining: {}",
                self.failures.len(),
                self.failures.join(", ")
            );
            (true, "ContentDeletionFailed", message)
        };
        let content = if self.remaining.is_empty() {
            (false, "ContentRemoved", "All content successfully removed".to_owned())
        } else {
            (true, "SomeResourcesRemain", format!("Some resources are remaining: {}", counts(&self.remaining, "has")))
        };
        let finalizers = if self.finalizers.is_empty() {
            (false, "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
        } else {
            let message =
                format!("Some content in the namespace has finalizers remaining: {}", counts(&self.finalizers, "in"));
            (true, "SomeFinalizersRemain", message)
        };
        let parsed = (false, "ParsedGroupVersions", "All legacy kube types successfully parsed".to_owned());
        let typed = |type_, (holds, reason, message)| (type_, holds, reason, message);
        [
            typed("NamespaceDeletionDiscoveryFailure", discovery),
            typed("NamespaceDeletionGroupVersionParsingFailure", parsed),
            typed("NamespaceDeletionContentFailure", deletion),
            typed("NamespaceContentRemaining", content),
            typed("NamespaceFinalizersRemaining", finalizers),
        ]
    }
}

/// Brings the conditions up to date; a time only moves with the status it is about.
pub(super) fn update(
    mut conditions: Vec<NamespaceCondition>,
    findings: &Findings,
    now: Timestamp,
) -> Vec<NamespaceCondition> {
    for (type_, holds, reason, message) in findings.conditions() {
        let status = if holds { "True" } else { "False" };
        let new = NamespaceCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            last_transition_time: Some(Time(now)),
            reason: Some(reason.to_owned()),
            message: Some(message),
        };
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            None => conditions.push(new),
            Some(old) => {
                let since =
                    if old.status == new.status { old.last_transition_time.clone() } else { new.last_transition_time };
                *old = NamespaceCondition { last_transition_time: since, ..new };
            }
        }
    }
    conditions
}
