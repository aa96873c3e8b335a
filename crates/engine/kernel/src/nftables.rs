//! nf_tables over nfnetlink, as far as service load balancing needs it: no helper binary, one transaction a change.

mod expression;
mod ruleset;
mod transaction;
mod wire;

use std::net::Ipv4Addr;

pub use expression::{Expression, Field, Register};
pub use ruleset::{ListedElement, ListedRule, Ruleset};
pub use transaction::Transaction;
use wire::{TYPE_IPV4, TYPE_PORT, TYPE_PROTOCOL};

/// The hooks of the IPv4 packet path, with their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Prerouting = 0,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// What a base chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainType {
    Filter,
    Nat,
}

/// A key of a set: its parts, each padded to whole words as the kernel has them in registers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<u8>);

impl Key {
    /// address . protocol . port
    pub fn service(address: Ipv4Addr, protocol: u8, port: u16) -> Self {
        let port = port.to_be_bytes();
        Self([&address.octets()[..], &[protocol, 0, 0, 0], &port, &[0, 0]].concat())
    }

    /// protocol . port
    pub fn port(protocol: u8, port: u16) -> Self {
        let port = port.to_be_bytes();
        Self(vec![protocol, 0, 0, 0, port[0], port[1], 0, 0])
    }

    /// address . address
    pub fn pair(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self([source.octets(), destination.octets()].concat())
    }
}

/// What the keys of a named set are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// [`Key::service`]
    Service,
    /// [`Key::port`]
    Port,
    /// [`Key::pair`]
    Pair,
}

impl KeyType {
    /// The number that userspace lists a concatenation under: six bits a part.
    fn number(self) -> u32 {
        match self {
            Self::Service => (TYPE_IPV4 << 12) | (TYPE_PROTOCOL << 6) | TYPE_PORT,
            Self::Port => (TYPE_PROTOCOL << 6) | TYPE_PORT,
            Self::Pair => (TYPE_IPV4 << 6) | TYPE_IPV4,
        }
    }

    fn length_bytes(self) -> u32 {
        match self {
            Self::Service => 12,
            Self::Port | Self::Pair => 8,
        }
    }
}
