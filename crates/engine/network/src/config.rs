//! The addresses of a node.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

/// What the addresses of this node are. The default is what this command's clusters have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where pods get their addresses from. The first one is the node's own.
    pub pod_cidr: Ipv4Net,
    /// Where services have their virtual addresses.
    pub service_cidr: Ipv4Net,
    /// Where DNS answers: an address of `service_cidr` that is the node's, so it needs no translation.
    pub dns_ip: Ipv4Addr,
    /// The domain that cluster names end in, without a closing dot.
    pub cluster_domain: String,
    /// On which of the host's addresses NodePorts listen too; `None`: only inside the node's namespace.
    pub node_port_bind: Option<IpAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pod_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 42, 0, 0), 16),
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 43, 0, 0), 16),
            dns_ip: Ipv4Addr::new(10, 43, 0, 10),
            cluster_domain: "cluster.local".to_owned(),
            node_port_bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        }
    }
}

impl Config {
    /// The node's own address: the first of the pods' range.
    pub fn node_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.pod_cidr.network().to_bits() + 1)
    }

    /// Whether an address belongs to pods or services.
    pub fn is_cluster(&self, ip: Ipv4Addr) -> bool {
        self.pod_cidr.contains(&ip) || self.service_cidr.contains(&ip)
    }
}
