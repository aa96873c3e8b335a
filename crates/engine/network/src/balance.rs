//! From a service and its endpoints to what the kernel shall do with a packet: pure, one entry a service port.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use coracle_kernel::nftables::Key;

use crate::cluster::{Cluster, ObjectName, Reach, Service, ServicePort, protocol_name};

/// A sticky service's clients are spread over this many slots, and the slots over its endpoints.
const STICKY_SLOTS: u32 = 256;

/// One port of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Balanced {
    pub(crate) protocol: u8,
    /// address . protocol . port
    pub(crate) keys: Vec<Key>,
    /// protocol . port on the node's own address
    pub(crate) node_port: Option<Key>,
    /// Sorted, without doubles, not empty.
    pub(crate) backends: Vec<SocketAddrV4>,
    pub(crate) sticky: bool,
}

impl Balanced {
    /// What the chain's rule does, in one number: the same text gives the same rule.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::new();
        hash.write(&[u8::from(self.sticky)]);
        for backend in &self.backends {
            hash.write(&backend.ip().octets());
            hash.write(&backend.port().to_be_bytes());
        }
        hash.0
    }

    /// Which endpoint each number stands for.
    pub(crate) fn targets(&self) -> Vec<SocketAddrV4> {
        if self.sticky { (0..STICKY_SLOTS).map(|slot| self.preferred(slot)).collect() } else { self.backends.clone() }
    }

    /// The endpoint of a slot: when endpoints come or go, only the slots of those change hands.
    fn preferred(&self, slot: u32) -> SocketAddrV4 {
        let weight = |backend: &SocketAddrV4| {
            let mut hash = Fnv::new();
            hash.write(&slot.to_be_bytes());
            hash.write(&backend.ip().octets());
            hash.write(&backend.port().to_be_bytes());
            hash.mixed()
        };
        *self.backends.iter().max_by_key(|backend| weight(backend)).expect("a balanced service has endpoints")
    }
}

/// The chain of a service port.
pub(crate) fn chain_name(service: &ObjectName, port: &ServicePort) -> String {
    format!("{}{}/{}", chain_prefix(service), protocol_name(port.protocol), port.port)
}

/// What all chains of a service start with.
pub(crate) fn chain_prefix(service: &ObjectName) -> String {
    format!("service/{service}/")
}

/// Adds the chains of one service to `chains`. Ports without endpoints have none: what has no chain is refused.
pub(crate) fn add_service(
    chains: &mut BTreeMap<String, Balanced>,
    cluster: &Cluster,
    name: &ObjectName,
    dns_ip: Ipv4Addr,
) {
    let Some(service) = cluster.service(name) else { return };
    let Reach::ClusterIp(ip) = service.reach else { return };
    // The DNS address is the node's own: its packets are answered where they arrive.
    if ip == dns_ip {
        return;
    }
    for port in &service.ports {
        let backends = backends(cluster, name, port);
        if !backends.is_empty() {
            chains.insert(chain_name(name, port), balanced(service, ip, port, backends));
        }
    }
}

fn balanced(service: &Service, ip: Ipv4Addr, port: &ServicePort, backends: Vec<SocketAddrV4>) -> Balanced {
    let addresses = std::iter::once(&ip).chain(&service.other_ips);
    Balanced {
        protocol: port.protocol,
        keys: addresses.map(|address| Key::service(*address, port.protocol, port.port)).collect(),
        node_port: port.node_port.map(|node_port| Key::port(port.protocol, node_port)),
        backends,
        sticky: service.sticky,
    }
}

/// The ready endpoints, or, where there is none, those that still answer while they end.
fn backends(cluster: &Cluster, name: &ObjectName, port: &ServicePort) -> Vec<SocketAddrV4> {
    let (mut ready, mut draining) = (Vec::new(), Vec::new());
    for slice in cluster.slices(name) {
        let same = |it: &&crate::cluster::SlicePort| it.name == port.name && it.protocol == port.protocol;
        let Some(target) = slice.ports.iter().find(same) else { continue };
        for endpoint in &slice.endpoints {
            let address = SocketAddrV4::new(endpoint.ip, target.port);
            match (endpoint.ready, endpoint.draining) {
                (true, _) => ready.push(address),
                (false, true) => draining.push(address),
                (false, false) => {}
            }
        }
    }
    let mut chosen = if ready.is_empty() { draining } else { ready };
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// FNV-1a: small, and the same in every release, as what is kept in the kernel must be.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The last bytes written barely reach FNV's high bits; comparing sizes needs them all stirred.
    fn mixed(&self) -> u64 {
        let stirred = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let stirred = (stirred ^ (stirred >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        stirred ^ (stirred >> 33)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn service(spec: serde_json::Value) -> k8s_openapi::api::core::v1::Service {
        serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec})).unwrap()
    }

    /// `endpoints` are `IP` or `IP:ready,serving,terminating` with a letter for each that is true.
    fn slice(name: &str, endpoints: &[&str]) -> k8s_openapi::api::discovery::v1::EndpointSlice {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|text| {
                let (ip, conditions) = text.split_once(':').unwrap_or((text, "rs"));
                let has = |letter| conditions.contains(letter);
                json!({"addresses": [ip], "conditions": {"ready": has('r'), "serving": has('s'), "terminating": has('t')}})
            })
            .collect();
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        }))
        .unwrap()
    }

    fn check(spec: serde_json::Value, slices: &[&[&str]], expected: &Expect) {
        let mut cluster = Cluster::default();
        cluster.put_service(&service(spec));
        for (index, endpoints) in slices.iter().enumerate() {
            cluster.put_slice(&slice(&format!("web-{index}"), endpoints));
        }
        let mut chains = BTreeMap::new();
        add_service(&mut chains, &cluster, &ObjectName::new("shop", "web"), Ipv4Addr::new(10, 43, 0, 10));
        let lines = chains.iter().map(|(chain, it)| {
            let backends: Vec<_> = it.backends.iter().map(ToString::to_string).collect();
            let sticky = if it.sticky { " sticky" } else { "" };
            let node_port = if it.node_port.is_some() { " node port" } else { "" };
            format!("{chain} keys {}{node_port}{sticky} -> {}\n", it.keys.len(), backends.join(" "))
        });
        expected.assert_eq(&lines.collect::<String>());
    }

    fn http() -> serde_json::Value {
        json!({"clusterIP": "10.43.0.7", "ports": [{"name": "http", "port": 80}]})
    }

    #[test]
    fn ready_endpoints_of_all_slices_are_balanced() {
        check(
            http(),
            &[&["10.42.0.4", "10.42.0.3"], &["10.42.0.3", "10.42.0.9:s"]],
            &expect![[r#"
            service/shop/web/tcp/80 keys 1 -> 10.42.0.3:8080 10.42.0.4:8080
        "#]],
        );
    }

    #[test]
    fn a_terminating_endpoint_gets_nothing_while_another_is_ready() {
        check(
            http(),
            &[&["10.42.0.4:st", "10.42.0.3"]],
            &expect![[r#"
            service/shop/web/tcp/80 keys 1 -> 10.42.0.3:8080
        "#]],
        );
    }

    #[test]
    fn terminating_endpoints_that_still_answer_are_the_last_resort() {
        check(
            http(),
            &[&["10.42.0.4:st", "10.42.0.3:t", "10.42.0.5:"]],
            &expect![[r#"
            service/shop/web/tcp/80 keys 1 -> 10.42.0.4:8080
        "#]],
        );
    }

    #[test]
    fn services_without_endpoints_or_virtual_address_have_no_chain() {
        check(http(), &[&["10.42.0.5:"]], &expect![""]);
        check(json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}), &[&["10.42.0.5"]], &expect![""]);
        check(json!({"type": "ExternalName", "externalName": "example.org"}), &[&["10.42.0.5"]], &expect![""]);
        check(
            json!({"clusterIP": "10.43.0.10", "ports": [{"name": "http", "port": 80}]}),
            &[&["10.42.0.5"]],
            &expect![""],
        );
    }

    #[test]
    fn ports_are_matched_by_name_and_protocol() {
        let spec = json!({"clusterIP": "10.43.0.7", "sessionAffinity": "ClientIP", "externalIPs": ["192.0.2.7"], "ports": [
            {"name": "http", "port": 80, "nodePort": 30080},
            {"name": "http", "port": 80, "protocol": "UDP"},
            {"name": "other", "port": 81},
        ]});
        check(
            spec,
            &[&["10.42.0.5"]],
            &expect![[r#"
            service/shop/web/tcp/80 keys 2 node port sticky -> 10.42.0.5:8080
        "#]],
        );
    }

    #[test]
    fn an_endpoint_that_comes_takes_its_share_from_the_others_only() {
        let sticky = |last: u8| Balanced {
            protocol: 6,
            keys: Vec::new(),
            node_port: None,
            backends: (1..=last).map(|n| SocketAddrV4::new(Ipv4Addr::new(10, 42, 0, n), 80)).collect(),
            sticky: true,
        };
        let (before, after) = (sticky(4).targets(), sticky(5).targets());
        let newcomer = sticky(5).backends[4];
        assert!(before.iter().zip(&after).all(|(old, new)| old == new || *new == newcomer));
        for backend in &sticky(5).backends {
            let slots = after.iter().filter(|target| *target == backend).count();
            assert!((30..=75).contains(&slots), "{backend} has {slots} of 256 slots");
        }
    }
}
