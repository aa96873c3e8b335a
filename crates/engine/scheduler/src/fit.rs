//! The decision: where a pod goes, or why nowhere. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    affinity::Placed,
    resources::{Amounts, add, allocatable, requested},
    selectors::{is_cordoned, preference, untolerated, wants},
};

/// The state pods are put into: everybody's place, and what that uses up.
pub(crate) struct Board {
    pub(crate) placed: Placed,
    used: BTreeMap<String, Amounts>,
    pods_on: BTreeMap<String, i128>,
    ports: BTreeMap<String, BTreeSet<HostPort>>,
}

/// A port of the node itself: protocol, address, number.
type HostPort = (String, String, i32);

const ANY_ADDRESS: &str = "0.0.0.0";

impl Board {
    pub(crate) fn new(placed: Placed) -> Self {
        let pods = placed.pods.clone();
        let nothing = Placed { pods: Vec::new(), ..placed };
        let mut board =
            Self { placed: nothing, used: BTreeMap::new(), pods_on: BTreeMap::new(), ports: BTreeMap::new() };
        for (pod, node) in pods {
            board.place(pod, &node);
        }
        board
    }

    /// Puts a pod onto a node.
    pub(crate) fn place(&mut self, pod: std::sync::Arc<Pod>, node: &str) {
        add(self.used.entry(node.to_owned()).or_default(), &requested(&pod));
        *self.pods_on.entry(node.to_owned()).or_default() += 1;
        self.ports.entry(node.to_owned()).or_default().extend(host_ports(&pod));
        self.placed.pods.push((pod, node.to_owned()));
    }

    /// The best node for the pod, or why there is none, in the words of `kubectl describe`.
    pub(crate) fn find(&self, pod: &Pod) -> Result<String, String> {
        if self.placed.nodes.is_empty() {
            return Err("no nodes available to schedule pods".to_owned());
        }
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut best: Option<(i64, &String)> = None;
        for (name, node) in &self.placed.nodes {
            let objections = self.objections(pod, name, node);
            if objections.is_empty() {
                let score = self.score(pod, name, node);
                if best.is_none_or(|(best, _)| score > best) {
                    best = Some((score, name));
                }
            }
            for objection in objections {
                *reasons.entry(objection).or_default() += 1;
            }
        }
        best.map(|(_, name)| name.clone()).ok_or_else(|| {
            let mut counted: Vec<String> =
                reasons.into_iter().map(|(reason, nodes)| format!("{nodes} {reason}")).collect();
            counted.sort();
            format!("0/{} nodes are available: {}.", self.placed.nodes.len(), counted.join(", "))
        })
    }

    /// Why the pod cannot go to a node. As upstream: the first objection counts, except that all missing resources are
    /// named together.
    fn objections(&self, pod: &Pod, name: &str, node: &Node) -> Vec<String> {
        let one = |objection: &str| vec![objection.to_owned()];
        if is_cordoned(pod, node) {
            return one("node(s) were unschedulable");
        }
        if let Some(taint) = untolerated(pod, node) {
            let value = taint.value.as_deref().unwrap_or_default();
            return vec![format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)];
        }
        if !wants(pod, node) {
            return one("node(s) didn't match Pod's node affinity/selector");
        }
        if self.ports_taken(pod, name) {
            return one("node(s) didn't have free ports for the requested pod ports");
        }
        let missing = self.missing(pod, name, node);
        if !missing.is_empty() {
            return missing;
        }
        if !self.placed.has_wanted_company(pod, name) {
            return one("node(s) didn't match pod affinity rules");
        }
        if self.placed.has_unwanted_company(pod, name) {
            return one("node(s) didn't match pod anti-affinity rules");
        }
        if self.placed.is_unwanted(pod, name) {
            return one("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Vec::new()
    }

    fn missing(&self, pod: &Pod, name: &str, node: &Node) -> Vec<String> {
        let allocatable = allocatable(node);
        let nothing = Amounts::new();
        let used = self.used.get(name).unwrap_or(&nothing);
        let mut missing = Vec::new();
        let pods_allowed = allocatable.get("pods").map(|milli| milli / 1000);
        if pods_allowed.is_some_and(|allowed| self.pods_on.get(name).copied().unwrap_or(0) >= allowed) {
            missing.push("Too many pods".to_owned());
        }
        for (resource, wanted) in requested(pod).iter().filter(|(_, wanted)| **wanted > 0) {
            let free = allocatable.get(resource).unwrap_or(&0) - used.get(resource).unwrap_or(&0);
            if *wanted > free {
                missing.push(format!("Insufficient {resource}"));
            }
        }
        missing
    }

    fn ports_taken(&self, pod: &Pod, name: &str) -> bool {
        let Some(taken) = self.ports.get(name) else { return false };
        let clashes = |(protocol, address, port): &HostPort| {
            taken.iter().any(|(other_protocol, other_address, other_port)| {
                let same_address =
                    [address, other_address].iter().any(|address| *address == ANY_ADDRESS) || address == other_address;
                protocol == other_protocol && port == other_port && same_address
            })
        };
        host_ports(pod).iter().any(clashes)
    }

    /// Preference first, then the node with the larger share of free processor and memory.
    fn score(&self, pod: &Pod, name: &str, node: &Node) -> i64 {
        let (allocatable, wanted) = (allocatable(node), requested(pod));
        let free_share = |resource: &str| {
            let total = allocatable.get(resource).copied().unwrap_or(0);
            let used = self.used.get(name).and_then(|used| used.get(resource)).copied().unwrap_or(0);
            let free = total - used - wanted.get(resource).copied().unwrap_or(0);
            if total > 0 { i64::try_from(free * 100 / total).unwrap_or(0) } else { 0 }
        };
        preference(pod, node) * 1000 + free_share("cpu") + free_share("memory")
    }
}

fn host_ports(pod: &Pod) -> BTreeSet<HostPort> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let host_port = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.clone().filter(|address| !address.is_empty());
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some((protocol, address.unwrap_or_else(|| ANY_ADDRESS.to_owned()), number))
    };
    ports.filter_map(host_port).collect()
}
