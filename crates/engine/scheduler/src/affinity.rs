//! Required affinity and anti-affinity between pods.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Namespace, Node, Pod, PodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::{Selector, SelectorExt};

/// Everybody who is placed already, and where.
pub(crate) struct Placed {
    pub(crate) pods: Vec<(Arc<Pod>, String)>,
    pub(crate) nodes: BTreeMap<String, Arc<Node>>,
    pub(crate) namespaces: BTreeMap<String, Arc<Namespace>>,
}

impl Placed {
    fn domain(&self, node: &str, topology_key: &str) -> Option<&String> {
        self.nodes.get(node)?.metadata.labels.as_ref()?.get(topology_key)
    }

    /// Whether `other` is one of those that a term of a pod in `namespace` is about.
    fn concerns(&self, term: &PodAffinityTerm, namespace: &str, other: &Pod) -> bool {
        let other_namespace = other.metadata.namespace.as_deref().unwrap_or_default();
        let named = term.namespaces.iter().flatten().any(|named| named == other_namespace);
        let selected = term.namespace_selector.as_ref().is_some_and(|selector| {
            let labels = self.namespaces.get(other_namespace).and_then(|namespace| namespace.metadata.labels.clone());
            matches(selector, &labels.unwrap_or_default())
        });
        let own = term.namespaces.as_ref().is_none_or(Vec::is_empty) && term.namespace_selector.is_none();
        let in_scope = named || selected || (own && other_namespace == namespace);
        let labels = other.metadata.labels.clone().unwrap_or_default();
        // A term without a selector is about nobody.
        in_scope && term.label_selector.as_ref().is_some_and(|selector| matches(selector, &labels))
    }

    /// Whether somebody the term is about is in the same domain as `node`.
    fn has_company(&self, term: &PodAffinityTerm, namespace: &str, node: &str) -> bool {
        let domain = self.domain(node, &term.topology_key);
        domain.is_some()
            && self.pods.iter().any(|(other, at)| {
                self.domain(at, &term.topology_key) == domain && self.concerns(term, namespace, other)
            })
    }

    /// Whether all the company the pod requires is there. The first of a group that wants to be together may start one.
    pub(crate) fn has_wanted_company(&self, pod: &Pod, node: &str) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_affinity.as_ref());
        let terms =
            affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default();
        terms.iter().all(|term| {
            let starts_it = || {
                self.domain(node, &term.topology_key).is_some()
                    && self.concerns(term, namespace, pod)
                    && !self.pods.iter().any(|(other, _)| self.concerns(term, namespace, other))
            };
            self.has_company(term, namespace, node) || starts_it()
        })
    }

    /// Whether the pod would be with somebody it must not be with.
    pub(crate) fn has_unwanted_company(&self, pod: &Pod, node: &str) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        anti_terms(pod).iter().any(|term| self.has_company(term, namespace, node))
    }

    /// Whether somebody there does not want to be with the pod.
    pub(crate) fn is_unwanted(&self, pod: &Pod, node: &str) -> bool {
        self.pods.iter().any(|(other, at)| {
            let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
            anti_terms(other).iter().any(|term| {
                let domain = self.domain(at, &term.topology_key);
                domain.is_some()
                    && domain == self.domain(node, &term.topology_key)
                    && self.concerns(term, namespace, pod)
            })
        })
    }
}

fn anti_terms(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
    affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}
