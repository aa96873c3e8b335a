//! Brings the kernel's service chains to what is wanted: by differences, each set of changes in one transaction.
//!
//! The rules outlive the engine. One that starts again reads back which chains there are and what they do (each rule
//! carries a fingerprint), and then changes only what is different: traffic never meets a moment without rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
    sync::Arc,
};

use coracle_kernel::{
    conntrack,
    netlink::Error,
    nftables::{Expression, Field, Key, Register, Ruleset, Transaction},
};
use parking_lot::Mutex;

use crate::{
    balance::{self, Balanced},
    cluster::{Cluster, ObjectName, UDP},
    config::Config,
    node::Node,
    ruleset::{self, NODE_PORTS, SERVICES, TABLE},
};

/// Any constant: the same client shall meet the same endpoint after every change.
const STICKY_SEED: u32 = 0x636f_7261;

/// What of the services shall be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Only(BTreeSet<ObjectName>),
}

/// A chain as it is in the kernel.
#[derive(Debug, Clone, Default)]
struct Programmed {
    fingerprint: u64,
    keys: BTreeSet<Key>,
    node_ports: BTreeSet<Key>,
    /// Empty for a chain that was found and not yet compared.
    backends: Vec<SocketAddrV4>,
}

/// The service chains of the node.
#[derive(Debug)]
pub(crate) struct Balancer {
    config: Config,
    node: Node,
    ruleset: Arc<Mutex<Ruleset>>,
    /// What is in the kernel; `None` when that has to be read first.
    programmed: Option<BTreeMap<String, Programmed>>,
}

impl Balancer {
    pub(crate) fn new(node: &Node) -> Self {
        Self { config: node.config().clone(), node: node.clone(), ruleset: node.ruleset(), programmed: None }
    }

    /// Brings the chains of `scope` to what `cluster` asks for. After an error all must be brought up to date again.
    pub(crate) fn apply(&mut self, cluster: &Cluster, scope: &Scope) -> Result<(), Error> {
        let done = match (self.programmed.take(), scope) {
            (Some(programmed), scope) => self.change(cluster, programmed, scope),
            (None, _) => self.adopt().and_then(|programmed| self.change(cluster, programmed, &Scope::All)),
        };
        self.programmed = Some(done?);
        Ok(())
    }

    /// What is in the kernel; a table of another version is replaced by an empty one in the same transaction as the
    /// first chains.
    fn adopt(&mut self) -> Result<BTreeMap<String, Programmed>, Error> {
        let mut ruleset = self.ruleset.lock();
        let mut chains = BTreeMap::<String, Programmed>::new();
        if ruleset.table(TABLE)? != Some(ruleset::version(&self.config)) {
            return Ok(chains);
        }
        for rule in ruleset.rules(TABLE)? {
            if let Some(fingerprint) = read_fingerprint(&rule.userdata) {
                chains.entry(rule.chain).or_default().fingerprint = fingerprint;
            }
        }
        for element in ruleset.gotos(TABLE, SERVICES)? {
            chains.entry(element.chain).or_default().keys.insert(element.key);
        }
        for element in ruleset.gotos(TABLE, NODE_PORTS)? {
            chains.entry(element.chain).or_default().node_ports.insert(element.key);
        }
        Ok(chains)
    }

    fn change(
        &self,
        cluster: &Cluster,
        mut programmed: BTreeMap<String, Programmed>,
        scope: &Scope,
    ) -> Result<BTreeMap<String, Programmed>, Error> {
        let wanted = self.wanted(cluster, scope);
        let mut transaction = Transaction::new(TABLE);
        let mut ruleset = self.ruleset.lock();
        if *scope == Scope::All && ruleset.table(TABLE)? != Some(ruleset::version(&self.config)) {
            tracing::info!("replacing service rules of another version");
            transaction.add_table(b"");
            transaction.delete_table();
            ruleset::add_base(&mut transaction, &self.config, &self.node.pod_ips());
            programmed.clear();
        }
        let mut difference = Difference { transaction, programmed, udp: false };
        let obsolete = difference.obsolete(&wanted, scope);
        obsolete.iter().for_each(|chain| difference.remove(chain));
        wanted.iter().for_each(|(chain, balanced)| difference.give_up_keys(chain, balanced));
        wanted.iter().for_each(|(chain, balanced)| difference.put(chain, balanced));
        ruleset.commit(difference.transaction)?;
        if difference.udp {
            forget_udp_flows(&mut ruleset, &difference.programmed)?;
        }
        Ok(difference.programmed)
    }

    fn wanted(&self, cluster: &Cluster, scope: &Scope) -> BTreeMap<String, Balanced> {
        let mut wanted = BTreeMap::new();
        let mut add = |name| balance::add_service(&mut wanted, cluster, name, self.config.dns_ip);
        match scope {
            Scope::All => cluster.services().for_each(|(name, _)| add(name)),
            Scope::Only(names) => names.iter().for_each(add),
        }
        wanted
    }
}

/// A transaction in the making, with the state it leads to.
struct Difference {
    transaction: Transaction,
    programmed: BTreeMap<String, Programmed>,
    udp: bool,
}

impl Difference {
    fn obsolete(&self, wanted: &BTreeMap<String, Balanced>, scope: &Scope) -> Vec<String> {
        let gone = |chain: &&String| !wanted.contains_key(*chain);
        match scope {
            Scope::All => self.programmed.keys().filter(gone).cloned().collect(),
            Scope::Only(names) => {
                let prefixes = names.iter().map(balance::chain_prefix);
                let chains = prefixes.flat_map(|prefix| {
                    let from = self.programmed.range(prefix.clone()..).map(|(chain, _)| chain);
                    from.take_while(move |chain| chain.starts_with(&prefix))
                });
                chains.filter(gone).cloned().collect()
            }
        }
    }

    fn remove(&mut self, chain: &str) {
        let Some(old) = self.programmed.remove(chain) else { return };
        self.udp |= chain.contains("/udp/");
        self.transaction.delete_keys(SERVICES, &Vec::from_iter(old.keys));
        self.transaction.delete_keys(NODE_PORTS, &Vec::from_iter(old.node_ports));
        self.transaction.flush_chain(chain);
        self.transaction.delete_chain(chain);
    }

    /// Takes out the keys that a chain no longer has, before any chain gets new ones: a key may change hands.
    fn give_up_keys(&mut self, chain: &str, wanted: &Balanced) {
        let Some(old) = self.programmed.get_mut(chain) else { return };
        let keys: Vec<_> = old.keys.iter().filter(|key| !wanted.keys.contains(key)).cloned().collect();
        let node_ports = old.node_ports.iter().filter(|key| wanted.node_port.as_ref() != Some(*key));
        let node_ports: Vec<_> = node_ports.cloned().collect();
        old.keys.retain(|key| !keys.contains(key));
        old.node_ports.retain(|key| !node_ports.contains(key));
        self.udp |= wanted.protocol == UDP && !(keys.is_empty() && node_ports.is_empty());
        self.transaction.delete_keys(SERVICES, &keys);
        self.transaction.delete_keys(NODE_PORTS, &node_ports);
    }

    fn put(&mut self, chain: &str, wanted: &Balanced) {
        let keys = self.free_keys(chain, &wanted.keys, |it| &it.keys);
        let node_ports = self.free_keys(chain, wanted.node_port.as_slice(), |it| &it.node_ports);
        let fingerprint = wanted.fingerprint();
        let old = self.programmed.get(chain).map(|old| old.fingerprint);
        if old.is_none() {
            self.transaction.add_chain(chain);
        }
        if old != Some(fingerprint) {
            self.udp |= wanted.protocol == UDP;
            self.transaction.flush_chain(chain);
            add_balancing_rule(&mut self.transaction, chain, wanted, fingerprint);
        }
        self.transaction.add_gotos(SERVICES, &keys, chain);
        self.transaction.add_gotos(NODE_PORTS, &node_ports, chain);
        let new = self.programmed.entry(chain.to_owned()).or_default();
        new.fingerprint = fingerprint;
        new.backends.clone_from(&wanted.backends);
        new.keys.extend(keys);
        new.node_ports.extend(node_ports);
    }

    /// Those of `keys` that the chain lacks, without those that another chain holds: the first comer keeps them.
    fn free_keys(&self, chain: &str, keys: &[Key], of: impl Fn(&Programmed) -> &BTreeSet<Key>) -> Vec<Key> {
        let lacks = |key: &&Key| !self.programmed.get(chain).is_some_and(|it| of(it).contains(*key));
        let holder = |key: &Key| self.programmed.iter().find(|(_, it)| of(it).contains(key)).map(|(name, _)| name);
        let lacking = keys.iter().filter(lacks);
        let free = lacking.filter(|key| match holder(key) {
            Some(other) => {
                tracing::warn!(chain, other, "another service has the same address and port; left to it");
                false
            }
            None => true,
        });
        free.cloned().collect()
    }
}

fn add_balancing_rule(transaction: &mut Transaction, chain: &str, balanced: &Balanced, fingerprint: u64) {
    let targets = balanced.targets();
    let modulus = u32::try_from(targets.len()).expect("endpoints are counted in thousands");
    let map_id = transaction.add_targets(&targets);
    let mut rule = if balanced.sticky {
        vec![
            Expression::Load { field: Field::SourceAddress, into: Register::SECOND },
            Expression::Hash { of: Register::SECOND, modulus, seed: STICKY_SEED, into: Register::FIRST },
        ]
    } else {
        vec![Expression::Random { modulus, into: Register::FIRST }]
    };
    rule.extend([
        Expression::Translate { map_id, key: Register::FIRST, into: Register::FIRST },
        Expression::DestinationNat { address: Register::FIRST, port: Register::SECOND },
    ]);
    transaction.add_rule(chain, &write_fingerprint(fingerprint), &rule);
}

/// As a comment, in the form in which listing programs show it.
fn write_fingerprint(fingerprint: u64) -> Vec<u8> {
    let text = format!("{fingerprint:016x}\0");
    let length = u8::try_from(text.len()).expect("seventeen bytes");
    [&[0, length], text.as_bytes()].concat()
}

fn read_fingerprint(userdata: &[u8]) -> Option<u64> {
    let text = userdata.strip_prefix(&[0, 17])?.strip_suffix(b"\0")?;
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// A UDP "connection" goes on for as long as its client sends: what was sent to an endpoint that is no more must be
/// forgotten, or the client would never reach another.
fn forget_udp_flows(ruleset: &mut Ruleset, programmed: &BTreeMap<String, Programmed>) -> Result<(), Error> {
    let flows = conntrack::list(ruleset.socket())?;
    let translated = flows.iter().filter(|flow| flow.protocol == UDP && flow.answering != flow.destination);
    for flow in translated {
        let by_address = Key::service(*flow.destination.ip(), UDP, flow.destination.port());
        let by_port = Key::port(UDP, flow.destination.port());
        let mut chains = programmed.values();
        let chain = chains.find(|it| it.keys.contains(&by_address) || it.node_ports.contains(&by_port));
        if !chain.is_some_and(|it| it.backends.contains(&flow.answering)) {
            conntrack::delete(ruleset.socket(), flow)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_was_written() {
        assert_eq!(read_fingerprint(&write_fingerprint(0x12ab)), Some(0x12ab));
        assert_eq!(read_fingerprint(b"\x00\x03abc"), None);
        assert_eq!(read_fingerprint(b""), None);
    }
}
