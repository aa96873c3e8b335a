//! The rules that are always there: the way into the services' maps, hairpin, egress, and what is refused.
//!
//! ```text
//! prerouting, output  -> services: address.protocol.port -> chain of that service port -> its pods
//!                     -> egress: TCP to anywhere else goes to the proxy
//! forward, output     -> refuse: a service address that no rule translated has no endpoint
//! postrouting         -> a pod that reaches itself through a service gets the node's address as source
//! ```

use std::net::Ipv4Addr;

use coracle_kernel::{
    netlink::Error,
    nftables::{ChainType, Expression, Field, Hook, Key, KeyType, Register, Ruleset, Transaction},
};
use ipnet::Ipv4Net;

use crate::{config::Config, node::EGRESS_IP};

/// The one table of this engine in the node's namespace.
pub(crate) const TABLE: &str = "coracle";
/// address . protocol . port -> chain
pub(crate) const SERVICES: &str = "services";
/// protocol . port -> chain, for the node's own address
pub(crate) const NODE_PORTS: &str = "node_ports";
/// Pod addresses as source . destination, both the same.
const HAIRPIN: &str = "hairpin";
/// Unlikely to be taken by a pod on the host's network.
pub(crate) const EGRESS_PORT: u16 = 43_117;

pub(crate) const TCP: u8 = 6;
const PORT_UNREACHABLE: u8 = 3;
const ADMINISTRATIVELY_PROHIBITED: u8 = 13;
const PRIORITY_DESTINATION: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SOURCE: i32 = 100;
/// The bits "established" and "related" of a connection's state.
const CONNECTION_KNOWN: u32 = 2 | 4;

/// What the base rules were made from; kept with the table, so that another layout or range is noticed.
pub(crate) fn version(config: &Config) -> Vec<u8> {
    let Config { pod_cidr, service_cidr, dns_ip, .. } = config;
    format!("coracle network 1 {pod_cidr} {service_cidr} {dns_ip}").into_bytes()
}

/// Makes the table if there is none. One of another version stays until the first full set of services replaces it.
pub(crate) fn ensure_base(ruleset: &mut Ruleset, config: &Config) -> Result<(), Error> {
    if ruleset.table(TABLE)?.is_some() {
        return Ok(());
    }
    let mut transaction = Transaction::new(TABLE);
    add_base(&mut transaction, config, &[]);
    ruleset.commit(transaction)
}

/// The whole base, for a table that does not exist (any more) in this transaction.
pub(crate) fn add_base(transaction: &mut Transaction, config: &Config, pods: &[Ipv4Addr]) {
    transaction.add_table(&version(config));
    transaction.add_verdict_map(SERVICES, KeyType::Service);
    transaction.add_verdict_map(NODE_PORTS, KeyType::Port);
    transaction.add_set(HAIRPIN, KeyType::Pair);
    for chain in ["services", "egress", "refuse"] {
        transaction.add_chain(chain);
    }
    let nat = ChainType::Nat;
    transaction.add_base_chain("prerouting", nat, Hook::Prerouting, PRIORITY_DESTINATION);
    transaction.add_base_chain("output", nat, Hook::Output, PRIORITY_DESTINATION);
    transaction.add_base_chain("postrouting", nat, Hook::Postrouting, PRIORITY_SOURCE);
    transaction.add_base_chain("forward", ChainType::Filter, Hook::Forward, PRIORITY_FILTER);
    transaction.add_base_chain("output_filter", ChainType::Filter, Hook::Output, PRIORITY_FILTER);
    for (from, to) in [
        ("prerouting", "services"),
        ("prerouting", "egress"),
        ("output", "services"),
        ("output", "egress"),
        ("forward", "refuse"),
        ("output_filter", "refuse"),
    ] {
        transaction.add_rule(from, &[], &[Expression::Jump { chain: to.to_owned() }]);
    }
    add_services_rules(transaction, config);
    add_egress_rule(transaction, config);
    add_hairpin_rule(transaction, config);
    add_refuse_rules(transaction, config);
    let hairpins: Vec<_> = pods.iter().map(|ip| Key::pair(*ip, *ip)).collect();
    transaction.add_keys(HAIRPIN, &hairpins);
}

/// Lets the pod reach itself through a service.
pub(crate) fn add_pod(ruleset: &mut Ruleset, ip: Ipv4Addr) -> Result<(), Error> {
    let mut transaction = Transaction::new(TABLE);
    transaction.add_keys(HAIRPIN, &[Key::pair(ip, ip)]);
    ruleset.commit(transaction)
}

/// Undoes [`add_pod`].
pub(crate) fn remove_pod(ruleset: &mut Ruleset, ip: Ipv4Addr) -> Result<(), Error> {
    let mut transaction = Transaction::new(TABLE);
    transaction.delete_keys(HAIRPIN, &[Key::pair(ip, ip)]);
    match ruleset.commit(transaction) {
        Err(Error::Refused { errno: nix::errno::Errno::ENOENT, .. }) => Ok(()),
        other => other,
    }
}

fn add_services_rules(transaction: &mut Transaction, config: &Config) {
    let by_address = [
        Expression::Load { field: Field::DestinationAddress, into: Register::FIRST },
        Expression::LoadProtocol { into: Register::SECOND },
        Expression::Load { field: Field::DestinationPort, into: Register::THIRD },
        Expression::VerdictOf { map: SERVICES.to_owned(), key: Register::FIRST },
    ];
    let by_node_port = [
        Expression::Load { field: Field::DestinationAddress, into: Register::FIRST },
        Expression::Equal { register: Register::FIRST, value: config.node_ip().octets().to_vec() },
        Expression::LoadProtocol { into: Register::FIRST },
        Expression::Load { field: Field::DestinationPort, into: Register::SECOND },
        Expression::VerdictOf { map: NODE_PORTS.to_owned(), key: Register::FIRST },
    ];
    transaction.add_rule("services", &[], &by_address);
    transaction.add_rule("services", &[], &by_node_port);
}

fn add_egress_rule(transaction: &mut Transaction, config: &Config) {
    let mut rule = vec![
        Expression::LoadProtocol { into: Register::FIRST },
        Expression::Equal { register: Register::FIRST, value: vec![TCP] },
    ];
    let link_local = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    for range in [config.pod_cidr, config.service_cidr, link_local, loopback] {
        rule.extend(destination_outside(range));
    }
    rule.extend([
        Expression::Constant { into: Register::FIRST, value: EGRESS_IP.octets().to_vec() },
        Expression::Constant { into: Register::SECOND, value: EGRESS_PORT.to_be_bytes().to_vec() },
        Expression::DestinationNat { address: Register::FIRST, port: Register::SECOND },
    ]);
    transaction.add_rule("egress", &[], &rule);
}

fn add_hairpin_rule(transaction: &mut Transaction, config: &Config) {
    let rule = [
        Expression::Load { field: Field::SourceAddress, into: Register::FIRST },
        Expression::Load { field: Field::DestinationAddress, into: Register::SECOND },
        Expression::Contained { set: HAIRPIN.to_owned(), key: Register::FIRST },
        Expression::Constant { into: Register::FIRST, value: config.node_ip().octets().to_vec() },
        Expression::SourceNat { address: Register::FIRST },
    ];
    transaction.add_rule("postrouting", &[], &rule);
}

fn add_refuse_rules(transaction: &mut Transaction, config: &Config) {
    let known = [
        Expression::LoadConnectionState { into: Register::FIRST },
        Expression::Mask { register: Register::FIRST, mask: CONNECTION_KNOWN.to_ne_bytes().to_vec() },
        Expression::Differ { register: Register::FIRST, value: vec![0; 4] },
        Expression::Accept,
    ];
    // The node's own addresses, DNS among them, are reached over loopback.
    let local = [
        Expression::LoadOutputDevice { into: Register::FIRST },
        Expression::Equal { register: Register::FIRST, value: 1u32.to_ne_bytes().to_vec() },
        Expression::Accept,
    ];
    let mut service_tcp = destination_inside(config.service_cidr);
    let mut service_other = service_tcp.clone();
    service_tcp.extend([
        Expression::LoadProtocol { into: Register::FIRST },
        Expression::Equal { register: Register::FIRST, value: vec![TCP] },
        Expression::RejectReset,
    ]);
    service_other.push(Expression::RejectUnreachable { code: PORT_UNREACHABLE });
    // The node's own packets to the egress proxy still seem to leave by the bridge here.
    let mut outside = vec![
        Expression::Load { field: Field::DestinationAddress, into: Register::FIRST },
        Expression::Differ { register: Register::FIRST, value: EGRESS_IP.octets().to_vec() },
    ];
    outside.extend(destination_outside(config.pod_cidr));
    outside.push(Expression::RejectUnreachable { code: ADMINISTRATIVELY_PROHIBITED });
    for rule in [&known[..], &local, &service_tcp, &service_other, &outside] {
        transaction.add_rule("refuse", &[], rule);
    }
}

fn destination_inside(range: Ipv4Net) -> Vec<Expression> {
    let mut expressions = masked_destination(range);
    expressions.push(Expression::Equal { register: Register::FIRST, value: range.network().octets().to_vec() });
    expressions
}

fn destination_outside(range: Ipv4Net) -> Vec<Expression> {
    let mut expressions = masked_destination(range);
    expressions.push(Expression::Differ { register: Register::FIRST, value: range.network().octets().to_vec() });
    expressions
}

fn masked_destination(range: Ipv4Net) -> Vec<Expression> {
    vec![
        Expression::Load { field: Field::DestinationAddress, into: Register::FIRST },
        Expression::Mask { register: Register::FIRST, mask: range.netmask().octets().to_vec() },
    ]
}
